/** Training steps that return null within windows of accumulation: weights as Lightning leaves them, on a plane loss. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { LightningModule, Trainer } from "@nbit/lightning";
import { DataLoader, nn, optim, tensor, zeros, type Tensor } from "@nbit/torch";
import { QUIET } from "../helpers/training.js";

/** Its gradient is the batch's value, whatever the weight. */
class Plane extends LightningModule {
  readonly weight = new nn.Parameter(zeros([1]));
  readonly before: number[] = [];
  readonly nulls: readonly number[];
  constructor(nulls: readonly number[]) {
    super();
    this.nulls = nulls;
  }
  override trainingStep(x: Tensor, batchIdx: number): Tensor | null {
    return this.nulls.includes(batchIdx) ? null : this.weight.mul(x).sum();
  }
  override onBeforeOptimizerStep(): void {
    this.before.push(this.weight.grad?.item() ?? Number.NaN);
  }
  override configureOptimizers(): optim.Optimizer {
    return new optim.SGD(this.parameters(), { lr: 1 });
  }
}

const batches = [1, 2, 4, 8].map((value) => tensor([value]));
/** Batches without a loss, of windows of two; the weight, and the gradients of each step, of Lightning 2.6 in float32. */
const CASES = [
  { nulls: [1], weight: -6.5, gradients: [0.5, 6] },
  { nulls: [0], weight: -7, gradients: [1, 6] },
  { nulls: [0, 1], weight: -6, gradients: [6] },
  { nulls: [2, 3], weight: -1.5, gradients: [1.5] },
  { nulls: [1, 3], weight: -2.5, gradients: [0.5, 2] },
];

for (const precision of [32, "16-mixed", "bf16-mixed"] as const)
  test(`a window that ends without a loss steps with what its other batches left: ${precision}`, async () => {
    for (const { nulls, weight, gradients } of CASES) {
      const net = new Plane(nulls);
      const trainer = new Trainer({ ...QUIET, maxEpochs: 1, accumulateGradBatches: 2, precision });
      await trainer.fit(net, { trainDataloaders: new DataLoader(batches, { batchSize: null }) });
      assert.deepEqual([net.weight.item(), net.before], [weight, gradients], String(nulls));
      assert.equal(trainer.globalStep, gradients.length);
    }
  });
