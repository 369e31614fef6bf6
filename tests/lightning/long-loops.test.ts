/**
 * Loops of the GPU campaign, shorter and on the CPU, with a loss scaler that reads its outcomes as late as on a GPU:
 * the same code, on every change.
 */
import assert from "node:assert/strict";
import { test } from "node:test";
import { setNumThreads } from "@nbit/torch";
import { nameOf, runLoop, type Loop } from "../gpu/campaign/loop.js";
import { MODES } from "../gpu/campaign/net.js";
import { LOW_BIT, PRECISIONS, WHOLE, type PrecisionCase } from "../gpu/campaign/precisions.js";
import { resumes } from "../gpu/campaign/resume.js";

setNumThreads(1);
const precision = (name: string): PrecisionCase => PRECISIONS.find((p) => p.name === name) as PrecisionCase;

// More steps than outcomes may wait to be read.
for (const mode of MODES)
  for (const callbacks of [false, true]) {
    const loop: Loop = { precision: precision("16"), graph: false, callbacks, mode, steps: 400, device: "cpu" };
    test(`steps, skips and holds what it should: ${nameOf(loop)}`, async () => {
      const { wrong } = await runLoop(loop);
      assert.deepEqual(wrong, []);
    });
  }

for (const name of ["32", "16", "bf16-true", "16-true"])
  test(`every optimizer resumes to the last bit in ${name}`, async () => {
    for (const [optimizer, make] of Object.entries({ ...WHOLE, ...LOW_BIT }))
      assert.equal(await resumes(precision(name), make, false, "cpu"), null, optimizer);
  });
