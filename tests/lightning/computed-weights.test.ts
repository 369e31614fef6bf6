/** Weights that are parametrized, normalized or pruned, in the Trainer: as in a plain loop, in 16 bits, and resumed. */
import assert from "node:assert/strict";
import { join } from "node:path";
import { test } from "node:test";
import { LightningModule, Trainer, type TrainerOptions } from "@nbit/lightning";
import { manualSeed, nn, noGrad, optim, randn, setNumThreads, type Tensor } from "@nbit/torch";
import { temporaryFolder } from "../helpers/temporary-folder.js";
import { QUIET } from "../helpers/training.js";

setNumThreads(1);
const { parametrizations, prune, spectralNorm, weightNorm } = nn.utils;

class Net extends LightningModule {
  readonly layers = new nn.Sequential(
    parametrizations.orthogonal(new nn.Linear(4, 4)),
    new nn.Tanh(),
    parametrizations.spectralNorm(new nn.Linear(4, 6)),
    parametrizations.weightNorm(new nn.Linear(6, 6)),
    new nn.Tanh(),
    spectralNorm(new nn.Linear(6, 6)),
    weightNorm(new nn.Linear(6, 6)),
    prune.l1Unstructured(new nn.Linear(6, 2), "weight", 5),
  );
  readonly losses: number[] = [];
  override forward(x: Tensor): Tensor {
    return this.layers.call(x);
  }
  override trainingStep(x: Tensor): Tensor {
    const loss = this.forward(x).float().pow(2).mean();
    this.losses.push(loss.item());
    return loss;
  }
  override configureOptimizers(): optim.Optimizer {
    return new optim.AdamW(this.parameters(), { lr: 0.01 });
  }
}
const made = (): Net => {
  manualSeed(3);
  return new Net();
};
const batches = (): Tensor[] => {
  manualSeed(4);
  return Array.from({ length: 6 }, () => randn([8, 4]));
};
const fit = (net: Net, options: TrainerOptions = {}, ckptPath: string | null = null): Promise<void> =>
  new Trainer({ ...QUIET, maxEpochs: 2, ...options }).fit(net, { trainDataloaders: batches(), ckptPath });
const masked = (net: Net): number => Number((net.layers[7] as nn.Linear).weight.eq(0).sum().item());

test("a fit is a plain loop", async () => {
  const [fitted, plain] = [made(), made()];
  await fit(fitted);
  const optimizer = plain.configureOptimizers();
  for (let epoch = 0; epoch < 2; epoch++)
    for (const x of batches()) {
      const loss = plain.trainingStep(x);
      optimizer.zeroGrad();
      loss.backward();
      optimizer.step();
    }
  assert.deepEqual(fitted.losses, plain.losses);
  for (const [key, value] of plain.stateDict()) assert.ok(fitted.stateDict().get(key)?.equal(value), key);
  assert.equal(masked(fitted), 5);
  const [orthogonal] = fitted.layers;
  const q = noGrad(() => (orthogonal as nn.Linear).weight);
  assert.ok(q.matmul(q.t()).sub(q.matmul(q.t()).round()).abs().max().item() < 1e-5);
});

test("in 16 bits the weights stay what they are kept to be", async () => {
  for (const precision of ["bf16-mixed", "bf16-true"] as const) {
    const net = made();
    await fit(net, { precision });
    assert.ok(net.losses.every(Number.isFinite), precision);
    assert.equal(masked(net), 5);
  }
});

test("a run goes on where it was saved", async () => {
  const folder = temporaryFolder("computed-weights");
  const whole = made();
  await fit(whole);
  const first = made();
  const trainer = new Trainer({ ...QUIET, maxEpochs: 1 });
  await trainer.fit(first, { trainDataloaders: batches() });
  const path = join(folder, "half.ckpt");
  trainer.saveCheckpoint(path);
  const second = made();
  await fit(second, {}, path);
  assert.deepEqual([...first.losses, ...second.losses], whole.losses);
});
