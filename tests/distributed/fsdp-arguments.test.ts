/** Units that are given, and give, several tensors with gradients: one message each, and nothing that piles up. */
import assert from "node:assert/strict";
import { DataLoader, device, manualSeed, memory, nn, optim, randn, TensorDataset, type Tensor } from "@nbit/torch";
import * as dist from "@nbit/torch/distributed";
import { Callback, FSDPStrategy, LightningModule, Trainer } from "@nbit/lightning";
import { testRanks, type RankCase } from "../helpers/ranks.js";
import { SILENT } from "../helpers/training.js";

const WIDTH = 24;
const STEPS = 8;

/** A residual stream, and a branch that is still to be added to it. */
class Block extends nn.Module {
  readonly a = new nn.Linear(WIDTH, WIDTH);
  readonly b = new nn.Linear(WIDTH, WIDTH);
  forward(x: Tensor, branch: Tensor): readonly [Tensor, Tensor] {
    const sum = x.add(branch);
    return [sum, this.b.forward(this.a.forward(sum).tanh())];
  }
}

class Net extends LightningModule {
  readonly blocks = new nn.ModuleList(Array.from({ length: 4 }, () => new Block()));
  readonly losses: number[] = [];
  override trainingStep(batch: unknown): Tensor {
    const [input] = batch as readonly [Tensor];
    let [x, branch]: readonly [Tensor, Tensor] = [input, input.mul(0.5)];
    for (const block of this.blocks) [x, branch] = block.call(x, branch);
    const loss = x.add(branch).pow(2).mean();
    this.losses.push(loss.item());
    return loss;
  }
  // Not Adam, which would not notice gradients that are twice what they should be.
  override configureOptimizers(): optim.Optimizer {
    return new optim.SGD(this.parameters(), { lr: 0.05 });
  }
}

/** Bytes at the start of each batch. */
class Held extends Callback {
  readonly bytes: number[] = [];
  override onTrainBatchStart(): void {
    this.bytes.push(memory().bytes);
  }
}

async function train(stage: 1 | 2 | 3 | null): Promise<{ losses: number[]; bytes: number[] }> {
  manualSeed(5);
  const data = new TensorDataset(randn([STEPS * 8, WIDTH], { dtype: "float64" }));
  const module = new Net();
  const held = new Held();
  const world = stage === null ? 1 : dist.getWorldSize();
  const trainer = new Trainer({
    accelerator: "cpu",
    precision: 64,
    strategy: stage === null ? "single_device" : new FSDPStrategy(device("cpu"), { stage }),
    maxEpochs: 1,
    ...SILENT,
    callbacks: [held],
  });
  await trainer.fit(module, { trainDataloaders: new DataLoader(data, { batchSize: 8 / world }) });
  return { losses: module.losses, bytes: held.bytes };
}

const cases: Record<string, RankCase> = Object.fromEntries(
  ([1, 2, 3] as const).map((stage) => [
    `stage ${stage} equals one process, step by step, and holds as much before every step`,
    async () => {
      const { losses, bytes } = await train(stage);
      const all = dist.allGatherObject(losses);
      const one = await train(null);
      one.losses.forEach((expected, i) => {
        const mean = all.reduce((sum, mine) => sum + (mine[i] ?? NaN), 0) / all.length;
        assert.ok(Math.abs(mean - expected) <= 1e-12, `step ${i}: ${mean}, in one process ${expected}`);
      });
      // One unit more or less may be on its way; gradients of a whole step are four times that.
      assert.ok(Math.abs((bytes.at(-1) ?? NaN) - (bytes[2] ?? NaN)) < 15_000, bytes.join(", "));
    },
  ]),
);
testRanks(import.meta.url, 2, cases);
