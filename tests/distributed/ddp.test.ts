/** Data-parallel training with the Trainer: 2 processes come to one process's losses, in every precision. */
import assert from "node:assert/strict";
import {
  DataLoader,
  DistributedSampler,
  manualSeed,
  mseLoss,
  nn,
  optim,
  randn,
  TensorDataset,
  type Tensor,
} from "@nbit/torch";
import * as dist from "@nbit/torch/distributed";
import { DDPStrategy, LightningModule, Trainer, type DDPOptions, type TrainerOptions } from "@nbit/lightning";
import { device } from "@nbit/torch";
import { testRanks, type RankCase } from "../helpers/ranks.js";
import { SILENT } from "../helpers/training.js";

const ROWS = 64;
const BATCH = 16;

class Net extends LightningModule {
  readonly losses: number[] = [];
  readonly net = new nn.Sequential(
    new nn.Linear(12, 24),
    new nn.Tanh(),
    new nn.Linear(24, 24),
    new nn.Tanh(),
    new nn.Linear(24, 5),
  );
  readonly unused = new nn.Linear(3, 3);

  constructor(
    readonly useAll: boolean,
    readonly overflowAt: number | null = null,
  ) {
    super();
    if (useAll) for (const p of this.unused.parameters()) p.requiresGrad = false;
  }
  override configureOptimizers(): optim.Optimizer {
    return new optim.AdamW(
      [...this.parameters()].filter((p) => p.requiresGrad),
      { lr: 0.01 },
    );
  }
  override trainingStep(batch: unknown): Tensor {
    const [x, y] = batch as [Tensor, Tensor];
    const loss = mseLoss(this.net.forward(x), y);
    this.losses.push(loss.item());
    const { globalStep, globalRank, worldSize } = this.trainer;
    return this.overflowAt === globalStep && globalRank === worldSize - 1 ? loss.mul(Infinity) : loss;
  }
}

interface Setup {
  readonly trainer?: TrainerOptions;
  readonly ddp?: DDPOptions;
  readonly overflowAt?: number;
  readonly useAll?: boolean;
}

/** @returns losses of whole batches, and the weights. */
async function train(
  parallel: boolean,
  { trainer: options = {}, ddp = {}, overflowAt, useAll = true }: Setup,
): Promise<{ losses: number[]; weights: Tensor[]; trainer: Trainer }> {
  const accumulate = options.accumulateGradBatches ?? 1;
  const { rank, world } = parallel ? { rank: dist.getRank(), world: dist.getWorldSize() } : { rank: 0, world: 1 };
  manualSeed(1);
  const data = new TensorDataset(randn([ROWS, 12]), randn([ROWS, 5]));
  const batchSize = BATCH / accumulate / world;
  const sampler = new DistributedSampler(data, { numReplicas: world, rank, shuffle: false });
  manualSeed(7 + (parallel ? rank : 0)); // weights differ until process 0's are everybody's
  const module = new Net(useAll, overflowAt ?? null);
  const trainer = new Trainer({
    accelerator: "cpu",
    strategy: parallel ? new DDPStrategy(device("cpu"), ddp) : "single_device",
    maxEpochs: 3,
    ...SILENT,
    ...options,
  });
  await trainer.fit(module, { trainDataloaders: new DataLoader(data, { batchSize, sampler }) });
  const losses = parallel ? mean(dist.allGatherObject(module.losses)) : module.losses;
  return { losses, weights: [...module.parameters()], trainer };
}
const mean = (all: number[][]): number[] =>
  (all[0] ?? []).map((_, i) => all.reduce((sum, one) => sum + (one[i] ?? NaN), 0) / all.length);

/** Over windows: a batch of one process is spread differently over the batches of a window than those of two. */
function windows(losses: readonly number[], n: number): number[] {
  return Array.from(
    { length: losses.length / n },
    (_, i) => losses.slice(i * n, (i + 1) * n).reduce((a, b) => a + b) / n,
  );
}

async function equalsOneProcess(setup: Setup, tolerance: number): Promise<Trainer> {
  const two = await train(true, setup);
  const same = two.weights.map((w) => {
    const most = w.detach().double().clone();
    dist.allReduce(most, { op: "max" });
    return most.sub(w.detach().double()).abs().max().item();
  });
  assert.equal(Math.max(...same), 0, "weights of the ranks");
  if (dist.getRank() === 0) {
    const one = await train(false, setup);
    const n = setup.trainer?.accumulateGradBatches ?? 1;
    const [a, b] = [windows(two.losses, n), windows(one.losses, n)];
    assert.equal(a.length, b.length);
    a.forEach((loss, i) => {
      const expected = b[i] ?? NaN;
      assert.ok(
        Math.abs(loss - expected) <= tolerance * Math.max(1, Math.abs(expected)),
        `step ${i}: ${loss} against ${expected}`,
      );
    });
  }
  dist.barrier();
  return two.trainer;
}

const EXACT64 = 1e-12;
const EXACT32 = 1e-6;

const cases: Record<string, RankCase> = {
  "float32 and float64": async () => {
    await equalsOneProcess({ trainer: { precision: 32 } }, EXACT32);
    await equalsOneProcess({ trainer: { precision: 64 } }, EXACT64);
  },
  "an accumulation window exchanges gradients at its end": async () => {
    await equalsOneProcess({ trainer: { precision: 64, accumulateGradBatches: 2 } }, EXACT64);
  },
  "clipping by norm and by value": async () => {
    await equalsOneProcess({ trainer: { precision: 64, gradientClipVal: 0.05 } }, EXACT64);
    await equalsOneProcess(
      { trainer: { precision: 64, gradientClipVal: 0.01, gradientClipAlgorithm: "value" } },
      EXACT64,
    );
  },
  "an overflow on one rank skips the step on all": async () => {
    const trainer = await equalsOneProcess({ trainer: { precision: 16 }, overflowAt: 4 }, 3e-3);
    assert.equal(trainer.skippedSteps, 1);
    assert.equal(trainer.lossScale, 32768);
  },
  "bfloat16 mixed and true, float16 true": async () => {
    await equalsOneProcess({ trainer: { precision: "bf16" } }, 1e-2);
    await equalsOneProcess({ trainer: { precision: "bf16-true" } }, 3e-2);
  },
  "APEX levels": async () => {
    for (const ampLevel of ["O0", "O1", "O2"] as const)
      await equalsOneProcess(
        { trainer: { precision: 16, ampBackend: "apex", ampLevel } },
        ampLevel === "O0" ? EXACT32 : 1e-2,
      );
  },
  "gradients that travel in 16 bits, or as factors": async () => {
    await equalsOneProcess({ trainer: { precision: 32 }, ddp: { reduceDtype: "bfloat16" } }, 2e-2);
    await equalsOneProcess({ trainer: { precision: 32 }, ddp: { commHook: "fp16_compress" } }, 5e-3);
    await equalsOneProcess(
      { trainer: { precision: 32 }, ddp: { commHook: "powerSGD", powerSGDRank: 5, powerSGDStart: 2 } },
      0.3,
    );
  },
  "parameters that a backward does not reach are found, or named": async () => {
    await equalsOneProcess({ trainer: { precision: 64 }, useAll: false, ddp: { findUnusedParameters: true } }, EXACT64);
    await equalsOneProcess({ trainer: { precision: 64 }, useAll: false, ddp: { staticGraph: true } }, EXACT64);
    await assert.rejects(train(true, { useAll: false }), {
      code: "ERR_DIST_UNUSED_PARAMETERS",
      message: /unused\.weight, unused\.bias/,
    });
  },
};
testRanks(import.meta.url, 2, cases);
