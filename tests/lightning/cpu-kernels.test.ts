/** The Trainer's cpuKernels: while a run lasts, and in what it explains. */
import assert from "node:assert/strict";
import { afterEach, test } from "node:test";
import { Callback, Trainer } from "@nbit/lightning";
import { getCpuKernels, randn, setCpuKernels } from "@nbit/torch";
import { QUIET } from "../helpers/training.js";
import { Line, type Pair } from "./line-model.js";

const batches = (n: number): Pair[] => Array.from({ length: n }, () => [randn([4, 3]), randn([4, 1])]);
afterEach(() => setCpuKernels("fast"));

/** Notes the kernels of every batch. */
class Kernels extends Callback {
  readonly seen: string[] = [];
  override onTrainBatchStart(): void {
    this.seen.push(getCpuKernels());
  }
}

test("a run has the kernels that it asks for, and leaves those that were", async () => {
  for (const before of ["fast", "libtorch"] as const)
    for (const cpuKernels of ["fast", "libtorch", undefined] as const) {
      setCpuKernels(before);
      const kernels = new Kernels();
      const trainer = new Trainer({ ...QUIET, maxEpochs: 1, precision: "bf16", cpuKernels, callbacks: kernels });
      await trainer.fit(new Line(), { trainDataloaders: batches(2) });
      const during = cpuKernels ?? before;
      assert.deepEqual(kernels.seen, [during, during]);
      assert.equal(getCpuKernels(), before);
    }
});

test("a run that fails leaves them, too", async () => {
  class Failing extends Line {
    override trainingStep(): never {
      throw new RangeError("on purpose");
    }
  }
  const trainer = new Trainer({ ...QUIET, cpuKernels: "libtorch" });
  await assert.rejects(trainer.fit(new Failing(), { trainDataloaders: batches(1) }), RangeError);
  assert.equal(getCpuKernels(), "fast");
});

test("explain() names them where operators in 16 bits run on a CPU", () => {
  const explained = (options: object): [string | null, boolean] => {
    const explanation = new Trainer({ ...QUIET, ...options }).precision.explain({ print: false });
    return [explanation.cpuKernels, /^CPU kernels +(fast|libtorch)$/m.test(explanation.toString())];
  };
  assert.deepEqual(explained({ precision: "bf16" }), ["fast", true]);
  assert.deepEqual(explained({ precision: "bf16", cpuKernels: "libtorch" }), ["libtorch", true]);
  assert.deepEqual(explained({ precision: 32, cpuKernels: "libtorch" }), [null, false]);
  setCpuKernels("libtorch");
  assert.deepEqual(explained({ precision: "bf16-true" }), ["libtorch", true]);
});

test("other words are refused before anything starts", () => {
  assert.throws(() => new Trainer({ ...QUIET, cpuKernels: "own" as "fast" }), {
    message: /expected cpuKernels to be one of "fast", "libtorch"\. Received: "own"\./,
  });
});
