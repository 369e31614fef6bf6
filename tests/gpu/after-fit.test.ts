/** What a fit leaves on the device: what was there before, and what its caller keeps. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import { cuda } from "@nbit/torch";
import { Trainer, type TrainerOptions } from "@nbit/lightning";
import { SILENT } from "../helpers/training.js";
import { options, SmallGpt } from "./support.js";

setFlagsFromString("--expose-gc");
const collect = runInNewContext("gc") as () => void;

/** Trains, and lets go of everything. */
async function fit(settings: TrainerOptions): Promise<void> {
  await new Trainer({ accelerator: "gpu", maxEpochs: 1, ...SILENT, ...settings }).fit(new SmallGpt(), {
    trainDataloaders: SmallGpt.batches(24),
  });
}
/** After every finalizer has run: they may need a turn of the event loop. */
async function held(): Promise<{ readonly allocated: number; readonly reserved: number }> {
  for (let i = 0; i < 4; i++) {
    collect();
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
  cuda.synchronize();
  cuda.emptyCache();
  const { allocated, reserved } = cuda.memoryStats();
  return { allocated, reserved };
}

for (const [name, settings] of [
  ["eager float32", { precision: 32 }],
  ["eager float16", { precision: 16 }],
  ["float16 as a CUDA graph", { precision: 16, cudaGraph: true }],
  ["bfloat16 as CUDA graphs of windows", { precision: "bf16", cudaGraph: true, accumulateGradBatches: 4 }],
  [
    "float16, steps that cannot be recorded",
    { precision: 16, cudaGraph: true, ampBackend: "apex", ampLevel: "O2", accumulateGradBatches: 2 },
  ],
] satisfies readonly (readonly [string, TrainerOptions])[])
  test(`after a fit the device holds what it held before: ${name}`, options, async () => {
    const before = await held();
    for (let i = 0; i < 3; i++) {
      await fit(settings);
      const after = await held();
      // Kernels that are compiled at their first use, constants of the process and the like may stay from the first
      // one.
      if (i > 0 || before.allocated > 0) assert.deepEqual(after, before, `after fit ${i + 1}`);
      else Object.assign(before, after);
    }
  });

test("gradients and what the last step did outlive the graph that made them", options, async () => {
  const module = new SmallGpt();
  const trainer = new Trainer({
    accelerator: "gpu",
    maxEpochs: 1,
    ...SILENT,
    precision: 16,
    cudaGraph: true,
    gradientClipVal: 1,
  });
  await trainer.fit(module, { trainDataloaders: SmallGpt.batches(12) });
  assert.ok(trainer.replayedBatches > 0);
  const norm = Math.sqrt(
    [...module.parameters()].reduce((sum, p) => sum + (p.grad?.float().square().sum().item() ?? NaN), 0),
  );
  assert.ok(norm > 0 && norm < 1.001, `the clipped gradients' norm is ${norm}`);
  const { lastOutcome } = trainer;
  assert.ok(
    lastOutcome !== null && lastOutcome.stepped && (lastOutcome.gradNorm ?? 0) > 0 && lastOutcome.lossScale >= 1,
  );
});
