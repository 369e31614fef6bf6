/**
 * Sparse gradients, duplicates included, and parameters without one: under every precision, clipping, detector and
 * report they count as dense ones do.
 */
import assert from "node:assert/strict";
import { test } from "node:test";
import {
  ApexPrecision,
  LightningModule,
  LossScaleMonitor,
  MixedPrecision,
  PrecisionLint,
  PrecisionReport,
  Trainer,
} from "@nbit/lightning";
import type { TrainerOptions } from "@nbit/lightning";
import { nn, noGrad, optim, setNumThreads, tensor } from "@nbit/torch";
import type { Tensor } from "@nbit/torch";
import { QUIET } from "../helpers/training.js";

setNumThreads(1);
const OPTIONS: TrainerOptions = { ...QUIET, maxEpochs: 2 };

class Net extends LightningModule {
  readonly table: nn.Embedding;
  readonly unused = new nn.Linear(2, 2);
  constructor(
    sparse: boolean,
    readonly overflowAt = -1,
  ) {
    super();
    this.table = new nn.Embedding(8, 2, { sparse });
    noGrad(() => this.table.weight.fill_(1));
  }
  override trainingStep(indices: Tensor, batchIdx: number): Tensor {
    return this.table
      .forward(indices)
      .float()
      .sum()
      .mul(batchIdx === this.overflowAt ? 3e38 : 0.5);
  }
  override configureOptimizers(): optim.Optimizer {
    return new optim.SGD(this.parameters(), { lr: 0.25 });
  }
}
const batches = [
  [1, 1, 3],
  [5, 1, 5],
  [0, 7, 3],
  [1, 2, 2],
].map((row) => tensor(row, { dtype: "int64" }));

async function train(
  sparse: boolean,
  options: TrainerOptions,
  overflowAt = -1,
): Promise<{ readonly weights: number[]; readonly skipped: number }> {
  const net = new Net(sparse, overflowAt);
  const trainer = new Trainer({ ...OPTIONS, ...options });
  await trainer.fit(net, { trainDataloaders: batches });
  trainer.precision.explain({ print: false });
  return {
    weights: net.stateDict().get("table.weight")?.float().flatten().tolist() as number[],
    skipped: trainer.skippedSteps,
  };
}

const apex = (optLevel: "O1" | "O2" | "O3"): TrainerOptions => ({
  plugins: new ApexPrecision({ optLevel, maxLossScale: 64 }),
});
const PRECISIONS: readonly (readonly [string, () => TrainerOptions])[] = [
  ["32", () => ({ precision: 32 })],
  ["16", () => ({ plugins: new MixedPrecision({ scaler: { initScale: 1024 } }) })],
  ["16, lazy", () => ({ plugins: new MixedPrecision({ scaler: { initScale: 1024, lazy: true } }) })],
  ["bf16", () => ({ precision: "bf16" })],
  ["O1", () => apex("O1")],
  ["O2", () => apex("O2")],
  ["O3", () => apex("O3")],
];
const silent = { write: (): boolean => true };
const WAYS: readonly (readonly [string, () => TrainerOptions])[] = [
  ["plainly", () => ({})],
  ["two batches to a step", () => ({ accumulateGradBatches: 2 })],
  ["clipped by norm", () => ({ gradientClipVal: 0.5 })],
  ["clipped by value", () => ({ gradientClipVal: 0.75, gradientClipAlgorithm: "value" })],
  ["with a detector", () => ({ detectNonFinite: "gradients" })],
  [
    "with a lint, a report and a monitor",
    () => ({ callbacks: [new PrecisionLint({ stream: silent }), new PrecisionReport(), new LossScaleMonitor()] }),
  ],
];
for (const [name, precision] of PRECISIONS)
  test(`${name}: sparse gradients train as dense ones`, async () => {
    for (const [way, options] of WAYS) {
      const dense = await train(false, { ...precision(), ...options() });
      const sparse = await train(true, { ...precision(), ...options() });
      assert.ok(
        sparse.weights.some((w) => w !== 1),
        way,
      );
      sparse.weights.forEach((w, i) =>
        assert.ok(
          Math.abs(w - (dense.weights[i] as number)) <= (name === "O3" ? 2e-3 : 1e-6),
          `${way}: ${sparse.weights.join(" ")} for ${dense.weights.join(" ")}`,
        ),
      );
    }
  });

for (const [name, precision] of PRECISIONS.filter(([n]) => n.startsWith("16") || n === "O1" || n === "O2"))
  test(`${name}: an overflow in a sparse gradient skips its step`, async () => {
    const { weights, skipped } = await train(true, precision(), 1);
    assert.equal(skipped, 2);
    assert.ok(weights.every(Number.isFinite));
  });
