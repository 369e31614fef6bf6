/** Networks that people begin with, under every precision that a TPU has: losses and updates are libtorch's. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { Learner, MODELS } from "./trainer-models.js";
import { needsPlugin, train, updateError, worstLossError, type Given } from "./train.js";

/** What is asked for, what the host runs beside it, and how far losses and updates may be apart. */
const PRECISIONS = [
  [32, 32, 1e-5, 1e-4],
  ["bf16", "bf16", 2e-3, 0.02],
  [16, "bf16", 2e-3, 0.02],
  ["bf16-true", "bf16-true", 2e-2, 0.1],
] as const;

for (const [name, known] of Object.entries(MODELS))
  for (const [precision, onHost, losses, update] of PRECISIONS)
    test(`${name}, precision ${precision}`, needsPlugin, async () => {
      const make = (): Given => ({ module: new Learner(known), batches: Array.from({ length: 6 }, known.batch) });
      const host = await train(make, { accelerator: "cpu", precision: onHost });
      const device = await train(make, { accelerator: "xla", precision });
      assert.equal(device.trainer.replayedBatches, 5);
      assert.ok(worstLossError(device, host) <= losses, `losses differ by ${worstLossError(device, host)}`);
      assert.ok(updateError(device, host) <= update, `updates differ by ${updateError(device, host)}`);
    });
