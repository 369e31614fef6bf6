/**
 * A loss that is not finite while its gradients are: no step is skipped for it, so it is reported, under a loss scale
 * as elsewhere.
 */
import assert from "node:assert/strict";
import { test } from "node:test";
import { ApexPrecision, LightningModule, MixedPrecision, Trainer } from "@nbit/lightning";
import type { TrainerOptions } from "@nbit/lightning";
import { nn, ones, optim, setNumThreads } from "@nbit/torch";
import type { Tensor } from "@nbit/torch";
import { QUIET } from "../helpers/training.js";

setNumThreads(1);
const OPTIONS: TrainerOptions = { ...QUIET, maxEpochs: 1 };

class Net extends LightningModule {
  readonly layer = new nn.Linear(2, 1);
  constructor(
    readonly added: number,
    readonly manual: boolean,
    readonly factor = 1,
  ) {
    super();
    this.automaticOptimization = !manual;
  }
  override trainingStep(x: Tensor, batchIdx: number): Tensor | null {
    const loss = this.layer
      .forward(x)
      .float()
      .sum()
      .mul(this.factor)
      .add(batchIdx === 1 ? this.added : 0);
    if (!this.manual) return loss;
    const [optimizer] = [this.optimizers()].flat();
    optimizer?.zeroGrad();
    this.manualBackward(loss);
    optimizer?.step();
    return null;
  }
  override configureOptimizers(): optim.Optimizer {
    return new optim.SGD(this.parameters(), { lr: 0.5 });
  }
}
const run = (net: Net, options: TrainerOptions): Promise<void> =>
  new Trainer({ ...OPTIONS, ...options }).fit(net, { trainDataloaders: [ones([1, 2]), ones([1, 2]), ones([1, 2])] });
const precisions: readonly (() => TrainerOptions)[] = [
  () => ({ precision: 32 }),
  () => ({ plugins: new MixedPrecision({ scaler: { initScale: 64 } }) }),
  () => ({ plugins: new MixedPrecision({ scaler: { initScale: 64, lazy: true } }) }),
  () => ({ plugins: new ApexPrecision({ optLevel: "O1", maxLossScale: 64 }) }),
  () => ({ plugins: new ApexPrecision({ optLevel: "O2", maxLossScale: 64 }) }),
];

test("NaN or infinity in the loss with finite gradients ends the run at that batch", async () => {
  for (const precision of precisions)
    for (const manual of [false, true])
      for (const [added, said] of [
        [NaN, "NaN"],
        [Infinity, "Infinity"],
      ] as const)
        await assert.rejects(
          run(new Net(added, manual), precision()),
          (error) =>
            error instanceof Error &&
            new RegExp(`^fit: expected a finite loss\\. Received: ${said}, at step 1 \\(epoch 0, batch 1\\)`).test(
              error.message,
            ),
        );
});

test("with gradients that are not finite either, a loss scaler skips the step and goes on", async () => {
  for (const precision of precisions.slice(1)) {
    const net = new Net(0, false, 3e38);
    await run(net, precision());
    assert.ok(Number.isFinite(net.layer.weight.float().sum().item()));
  }
});

test("detectNonFinite: false trains on through NaN and infinity", async () => {
  for (const precision of precisions) await run(new Net(NaN, false), { ...precision(), detectNonFinite: false });
});
