/** Ranks whose losses weigh differently, or that have none. */
import assert from "node:assert/strict";
import { DDPStrategy, FSDPStrategy, LightningModule, Trainer, type TrainerOptions } from "@nbit/lightning";
import { device, manualSeed, mseLoss, nn, optim, randn, tensor, type Tensor } from "@nbit/torch";
import * as dist from "@nbit/torch/distributed";
import { testRanks, type RankCase } from "../helpers/ranks.js";

type Row = readonly [Tensor, Tensor];
class Net extends LightningModule {
  readonly net = new nn.Sequential(new nn.Linear(3, 4), new nn.Tanh(), new nn.Linear(4, 2));
  /** Batches for which there is no loss. */
  constructor(readonly without: (batchIdx: number) => boolean = () => false) {
    super();
  }
  override configureOptimizers(): optim.Optimizer {
    return new optim.AdamW(this.parameters(), { lr: 0.05, weightDecay: 0.1 });
  }
  override trainingStep([x, y]: [Tensor, Tensor], batchIdx: number): Tensor | null {
    const loss = mseLoss(this.net.forward(x), y);
    return this.without(batchIdx) ? null : loss;
  }
}
class Weighted extends Net {
  override lossWeight([x]: [Tensor]): number | Tensor {
    // A number on one rank, a tensor on the other.
    return dist.getRank() === 0 ? x.size(0) : tensor([x.size(0)]);
  }
}

const quiet: TrainerOptions = {
  accelerator: "cpu",
  maxEpochs: 1,
  precision: 64,
  logger: false,
  enableCheckpointing: false,
  enableProgressBar: false,
  enableModelSummary: false,
  useDistributedSampler: false,
};

async function train(module: Net, batches: Row[], options: TrainerOptions = {}, parallel = true): Promise<Tensor[]> {
  manualSeed(2);
  for (const p of module.parameters()) p.detach().copy_(randn([...p.shape]));
  const strategy = parallel ? new DDPStrategy(device("cpu")) : "single_device";
  await new Trainer({ ...quiet, strategy, ...options }).fit(module, { trainDataloaders: batches });
  return module.parameters();
}

/** `sizes[step][rank]` rows; a rank's share of each step, and the whole. */
function data(sizes: readonly (readonly [number, number])[]): { whole: Row[]; mine: Row[] } {
  manualSeed(9);
  const whole = sizes.map(([a, b]): Row => [randn([a + b, 3]).double(), randn([a + b, 2]).double()]);
  const mine = whole.map(([x, y], i): Row => {
    const [a, b] = sizes[i] ?? [0, 0];
    return dist.getRank() === 0 ? [x.narrow(0, 0, a), y.narrow(0, 0, a)] : [x.narrow(0, a, b), y.narrow(0, a, b)];
  });
  return { whole, mine };
}

/** Both ranks have the same weights, and on rank 0 they are those of `expected`. */
async function same(two: readonly Tensor[], expected: () => Promise<Tensor[]>): Promise<void> {
  const [a, b] = dist.allGatherObject(two.map((p) => p.tolist()));
  assert.deepEqual(a, b);
  if (dist.getRank() === 0) {
    const one = await expected();
    one.forEach((p, i) => {
      const distance = two[i]?.detach().sub(p.detach()).abs().max().item() ?? NaN;
      assert.ok(distance <= 1e-12, `parameter ${i}: ${distance}`);
    });
  }
  dist.barrier();
}

const UNEVEN = [
  [3, 1],
  [1, 5],
  [2, 2],
  [6, 1],
] as const;

const cases: Record<string, RankCase> = {
  "lossWeight: batches of uneven size come to the mean over all samples": async () => {
    const { whole, mine } = data(UNEVEN);
    await same(await train(new Weighted(), mine), () => train(new Net(), whole, {}, false));
    // Without it each rank counts the same.
    const [plain] = await train(new Net(), mine);
    const [weighted] = await train(new Weighted(), mine);
    assert.notDeepEqual(plain?.tolist(), weighted?.tolist());
  },
  "a loss that one rank has not is made up for by the others, and all step": async (rank) => {
    const { whole, mine } = data(UNEVEN);
    // Rank 1 has none in the second step: those of rank 0 alone, of whom there is a half.
    const module = new Weighted((i) => rank === 1 && i === 1);
    const lacking = whole.map(([x, y], i): Row => (i === 1 ? [x.narrow(0, 0, 1), y.narrow(0, 0, 1)] : [x, y]));
    await same(await train(module, mine), () => train(new Net(), lacking, {}, false));
  },
  "a loss that none has is no step": async () => {
    const { whole, mine } = data(UNEVEN);
    // In a window that they end, with gradients of all processes or of one, and in a window that has none.
    for (const [accumulateGradBatches, ...none] of [
      [1, 1],
      [2, 1],
      [2, 0, 3],
      [2, 2, 3],
    ]) {
      const without = (i: number): boolean => none.includes(i);
      await same(await train(new Weighted(without), mine, { accumulateGradBatches }), () =>
        train(new Net(without), whole, { accumulateGradBatches }, false),
      );
    }
  },
  "a window that none ends with a loss steps with what one process has": async (rank) => {
    const { whole, mine } = data(UNEVEN);
    const module = new Weighted((i) => i === 1 || (rank === 1 && i === 0));
    const lacking = whole.map(([x, y], i): Row => (i === 0 ? [x.narrow(0, 0, 3), y.narrow(0, 0, 3)] : [x, y]));
    await same(await train(module, mine, { accumulateGradBatches: 2 }), () =>
      train(new Net((i) => i === 1), lacking, { accumulateGradBatches: 2 }, false),
    );
  },
  "within a window too, and in 16 bits": async (rank) => {
    const { mine } = data(UNEVEN);
    const module = new Net((i) => rank === 1 && i % 2 === 1);
    const two = await train(module, mine, { accumulateGradBatches: 2 });
    const [a, b] = dist.allGatherObject(two.map((p) => p.tolist()));
    assert.deepEqual(a, b);
    const half = mine.map(([x, y]): Row => [x.float(), y.float()]);
    const mixed = await train(new Net((i) => rank === 0 && i === 0), half, { precision: 16 });
    const [c, d] = dist.allGatherObject(mixed.map((p) => p.tolist()));
    assert.deepEqual(c, d);
  },
  "sharded, a loss that one rank has not is none for all, and the batch no step": async (rank) => {
    const { whole, mine } = data(UNEVEN);
    // The last of a window leaves its gradients to the next one: those within a window.
    for (const stage of [1, 2, 3] as const)
      for (const [accumulateGradBatches = 1, none] of [
        [1, 1],
        [2, 2],
      ]) {
        const strategy = new FSDPStrategy(device("cpu"), { stage });
        const module = new Weighted((i) => rank === 1 && i === none);
        await same(await train(module, mine, { strategy, accumulateGradBatches }), () =>
          train(new Net((i) => i === none), whole, { accumulateGradBatches }, false),
        );
      }
  },
  "a weight that is none is an error": async () => {
    class Bad extends Net {
      override lossWeight(): number {
        return -1;
      }
    }
    const { mine } = data(UNEVEN);
    await assert.rejects(train(new Bad(), mine), /lossWeight: expected a number ≥ 0/);
  },
};
testRanks(import.meta.url, 2, cases);
