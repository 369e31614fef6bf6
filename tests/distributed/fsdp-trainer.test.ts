/** Strategy "fsdp" in the Trainer: 2 processes come to one process's losses, in every stage and precision. */
import assert from "node:assert/strict";
import { existsSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import {
  DataLoader,
  device,
  DistributedSampler,
  manualSeed,
  mseLoss,
  nn,
  optim,
  randn,
  relu,
  TensorDataset,
  type Tensor,
} from "@nbit/torch";
import { AdamW8bit, addLora, loraParameters } from "@nbit/lowbit";
import * as dist from "@nbit/torch/distributed";
import {
  Float8Precision,
  FSDPStrategy,
  LightningModule,
  QuantizedPrecision,
  Trainer,
  type FSDPOptions,
  type TrainerOptions,
} from "@nbit/lightning";
import { testRanks, type RankCase } from "../helpers/ranks.js";
import { SILENT } from "../helpers/training.js";

const [ROWS, BATCH, WIDTH] = [64, 16, 80];

class Block extends nn.Module {
  readonly norm = new nn.LayerNorm(WIDTH);
  readonly fc = new nn.Linear(WIDTH, WIDTH);
  forward(x: Tensor): Tensor {
    return x.add(relu(this.fc.forward(this.norm.forward(x))));
  }
}
type Make = (params: Tensor[]) => optim.Optimizer;
class Net extends LightningModule {
  readonly losses: number[] = [];
  readonly validated: number[] = [];
  readonly first = new nn.Linear(12, WIDTH);
  readonly blocks = new nn.ModuleList([new Block(), new Block()]);
  readonly last = new nn.Linear(WIDTH, 5);

  constructor(
    readonly make: Make,
    readonly overflowAt: number | null,
  ) {
    super();
  }
  override configureOptimizers(): optim.Optimizer | optim.Optimizer[] {
    return this.make([...this.parameters()]);
  }
  predict(x: Tensor): Tensor {
    let h = this.first.forward(x);
    for (const block of this.blocks) h = block.forward(h);
    return this.last.forward(h);
  }
  override trainingStep(batch: unknown): Tensor {
    const [x, y] = batch as [Tensor, Tensor];
    const loss = mseLoss(this.predict(x), y);
    this.losses.push(loss.item());
    const { globalStep, globalRank, worldSize } = this.trainer;
    return this.overflowAt === globalStep && globalRank === worldSize - 1 ? loss.mul(Infinity) : loss;
  }
  override validationStep(batch: unknown): void {
    const [x, y] = batch as [Tensor, Tensor];
    this.validated.push(mseLoss(this.predict(x), y).item());
  }
}

interface Setup {
  readonly trainer?: TrainerOptions;
  readonly fsdp?: FSDPOptions;
  readonly overflowAt?: number;
  readonly make?: Make;
  readonly ckptPath?: string;
}
/** What keeps its losses. */
type Kept = LightningModule & { readonly losses: number[]; readonly validated: number[] };
interface Fitted<M> {
  readonly module: M;
  readonly losses: number[];
  readonly validated: number[];
  readonly trainer: Trainer;
}
const adam: Make = (params) => new optim.AdamW(params, { lr: 0.005 });

async function train(parallel: boolean, setup: Setup): Promise<Fitted<Net>>;
async function train<M extends Kept>(parallel: boolean, setup: Setup & { readonly module: M }): Promise<Fitted<M>>;
async function train(
  parallel: boolean,
  { trainer: options = {}, fsdp = {}, overflowAt, make = adam, module: given, ckptPath }: Setup & { module?: Kept },
): Promise<Fitted<Kept>> {
  const accumulate = options.accumulateGradBatches ?? 1;
  const { rank, world } = parallel ? { rank: dist.getRank(), world: dist.getWorldSize() } : { rank: 0, world: 1 };
  manualSeed(1);
  const data = new TensorDataset(randn([ROWS, 12]), randn([ROWS, 5]));
  const batchSize = BATCH / accumulate / world;
  const loader = (): DataLoader<[Tensor, Tensor], Tensor[]> =>
    new DataLoader(data, {
      batchSize,
      sampler: new DistributedSampler(data, { numReplicas: world, rank, shuffle: false }),
    });
  manualSeed(7 + rank); // weights differ until process 0's are everybody's
  const module = given ?? new Net(make, overflowAt ?? null);
  const trainer = new Trainer({
    accelerator: "cpu",
    strategy: parallel ? new FSDPStrategy(device("cpu"), fsdp) : "single_device",
    maxEpochs: 3,
    ...SILENT,
    numSanityValSteps: 0,
    ...options,
  });
  await trainer.fit(module, {
    trainDataloaders: loader(),
    valDataloaders: loader(),
    ...(ckptPath === undefined ? {} : { ckptPath }),
  });
  const all = (list: number[]): number[] => (parallel ? mean(dist.allGatherObject(list)) : list);
  return { module, losses: all(module.losses), validated: all(module.validated), trainer };
}
const mean = (all: number[][]): number[] =>
  (all[0] ?? []).map((_, i) => all.reduce((sum, one) => sum + (one[i] ?? NaN), 0) / all.length);
const windows = (losses: readonly number[], n: number): number[] =>
  Array.from({ length: losses.length / n }, (_, i) => losses.slice(i * n, (i + 1) * n).reduce((a, b) => a + b) / n);

function close(got: readonly number[], expected: readonly number[], tolerance: number, what: string): void {
  assert.equal(got.length, expected.length, what);
  got.forEach((v, i) => {
    const e = expected[i] ?? NaN;
    assert.ok(Math.abs(v - e) <= tolerance * Math.max(1, Math.abs(e)), `${what} ${i}: ${v} against ${e}`);
  });
}
const flatOf = (module: Net): number[] =>
  module.parameters().flatMap((p) => [...(p.detach().double().view([-1]).tolist() as number[])]);

async function equalsOneProcess(setup: Setup, tolerance: number): Promise<Trainer> {
  const two = await train(true, setup);
  const weights = dist.allGatherObject(flatOf(two.module));
  assert.deepEqual(weights[1], weights[0], "weights of the ranks after the fit");
  if (dist.getRank() === 0) {
    const one = await train(false, setup);
    const n = setup.trainer?.accumulateGradBatches ?? 1;
    close(windows(two.losses, n), windows(one.losses, n), tolerance, "training");
    close(two.validated.slice(-1), one.validated.slice(-1), Math.max(tolerance, 1e-6), "validation");
  }
  dist.barrier();
  return two.trainer;
}

const [EXACT64, EXACT32] = [1e-12, 1e-6];
const cases: Record<string, RankCase> = {};
for (const stage of [1, 2, 3] as const) {
  const fsdp = { stage };
  cases[`stage ${stage}: float32, float64, windows and clipping`] = async () => {
    await equalsOneProcess({ fsdp, trainer: { precision: 32, gradientClipVal: 0.5 } }, EXACT32);
    await equalsOneProcess(
      { fsdp, trainer: { precision: 64, accumulateGradBatches: 2, gradientClipVal: 0.05 } },
      EXACT64,
    );
    const byValue = { gradientClipVal: 0.01, gradientClipAlgorithm: "value" } as const;
    await equalsOneProcess({ fsdp, trainer: { precision: 64, ...byValue } }, EXACT64);
  };
  cases[`stage ${stage}: an overflow on one rank skips the step on all, also of a rank without a shard`] = async () => {
    const trainer = await equalsOneProcess({ fsdp, trainer: { precision: 16 }, overflowAt: 4 }, 3e-3);
    assert.equal(trainer.skippedSteps, 1);
    assert.equal(trainer.lossScale, 32768);
    // All but rank 0 have nothing of this optimizer's parameters.
    const few: Make = (params) => new optim.SGD(params.slice(1, 2), { lr: 0.01 });
    const again = await equalsOneProcess(
      { fsdp, make: few, trainer: { precision: 16, accumulateGradBatches: 2 }, overflowAt: 2 },
      3e-3,
    );
    assert.equal(again.skippedSteps, 1);
    assert.equal(again.lossScale, 32768);
  };
  cases[`stage ${stage}: bfloat16 mixed and true, float16 true, 8-bit state`] = async () => {
    await equalsOneProcess({ fsdp, trainer: { precision: "bf16" } }, 1e-2);
    await equalsOneProcess({ fsdp: { ...fsdp, paramDtype: "bfloat16" }, trainer: { precision: "bf16" } }, 2e-2);
    await equalsOneProcess({ fsdp, trainer: { precision: "bf16-true" } }, 5e-2);
    await equalsOneProcess(
      { fsdp, trainer: { precision: "16-true" }, make: (p) => new optim.SGD(p, { lr: 0.01 }) },
      1e-2,
    );
    await equalsOneProcess({ fsdp, make: (p) => new AdamW8bit(p, { lr: 0.005 }) }, 1e-3);
  };
  cases[`stage ${stage}: a checkpoint is that of one process, and goes on`] = async (rank) => {
    const folder = dist.broadcastObject(rank === 0 ? mkdtempSync(join(tmpdir(), "fsdp-")) : "");
    const path = join(folder, "two.ckpt");
    const whole = await train(true, { fsdp, trainer: { precision: 64, maxEpochs: 3 } });
    class Saving extends Net {
      override onTrainEpochEnd(): void {
        if (this.trainer.currentEpoch === 0) this.trainer.saveCheckpoint(path);
      }
    }
    manualSeed(7 + rank);
    await train(true, { fsdp, trainer: { precision: 64, maxEpochs: 1 }, module: new Saving(adam, null) });
    dist.barrier();
    assert.ok(existsSync(path));
    const resumed = await train(true, { fsdp, trainer: { precision: 64, maxEpochs: 3 }, ckptPath: path });
    assert.deepEqual(resumed.losses, whole.losses.slice(-resumed.losses.length));
    // In parts, which another stage reads.
    const parts = join(folder, "parts");
    class SavingParts extends Net {
      override onTrainEpochEnd(): void {
        if (this.trainer.currentEpoch === 0) this.trainer.saveCheckpoint(parts);
      }
    }
    manualSeed(7 + rank);
    const trainer = { precision: 64, maxEpochs: 1 } as const;
    await train(true, { fsdp: { stage, stateDictType: "sharded" }, trainer, module: new SavingParts(adam, null) });
    const other = { stage: stage === 3 ? 1 : 3 } as const;
    const again = await train(true, { fsdp: other, trainer: { precision: 64, maxEpochs: 3 }, ckptPath: parts });
    close(again.losses, whole.losses.slice(-again.losses.length), EXACT64, "from parts");
    dist.barrier();
    if (rank === 0) rmSync(folder, { recursive: true });
  };
}
for (const fsdp of [{ stage: 1 }, { stage: 3 }, { stage: 3, reduceEveryBatch: false }] as const)
  cases[`${JSON.stringify(fsdp)}: a checkpoint within an accumulation window has its gradients`] = async (rank) => {
    const folder = dist.broadcastObject(rank === 0 ? mkdtempSync(join(tmpdir(), "fsdp-")) : "");
    const path = join(folder, "window.ckpt");
    const trainer = { precision: 64, accumulateGradBatches: 4, maxEpochs: 1 } as const;
    const whole = await train(true, { fsdp, trainer });
    class Saving extends Net {
      override onTrainBatchEnd(_: unknown, __: unknown, batchIdx: number): void {
        if (batchIdx === 5) this.trainer.saveCheckpoint(path);
      }
    }
    manualSeed(7 + rank);
    await train(true, { fsdp, trainer, module: new Saving(adam, null) });
    const resumed = await train(true, { fsdp, trainer, ckptPath: path });
    assert.equal(resumed.losses.length, whole.losses.length - 6);
    close(resumed.losses, whole.losses.slice(6), EXACT64, "resumed");
    dist.barrier();
    if (rank === 0) rmSync(folder, { recursive: true });
  };
cases["float8 with delayed scaling: every process has the histories of all"] = async () => {
  for (const stage of [2, 3] as const) {
    const plugins = (): TrainerOptions => ({ plugins: new Float8Precision({ recipe: "delayed" }) });
    const { module, losses } = await train(true, { fsdp: { stage }, trainer: plugins() });
    const histories = [...module.namedBuffers()].filter(([name]) => name.includes("amax_history"));
    assert.ok(histories.length > 0);
    const all = dist.allGatherObject(histories.map(([, h]) => h.tolist()));
    assert.deepEqual(all[1], all[0]);
    if (dist.getRank() === 0) close(losses, (await train(false, { trainer: plugins() })).losses, 0.1, "training");
    dist.barrier();
  }
};
cases["frozen nf4 weights and their adapters: losses of one process"] = async () => {
  class Adapted extends Net {
    override configureModel(): void {
      addLora(this, { rank: 4 });
    }
    override configureOptimizers(): optim.Optimizer {
      return new optim.AdamW(loraParameters(this), { lr: 0.01 });
    }
  }
  const plugins = (): TrainerOptions => ({ plugins: new QuantizedPrecision("nf4") });
  const make = (): Adapted => {
    manualSeed(7);
    return new Adapted(adam, null);
  };
  for (const stage of [1, 3] as const) {
    const { losses } = await train(true, { fsdp: { stage }, trainer: plugins(), module: make() });
    if (dist.getRank() === 0)
      close(losses, (await train(false, { trainer: plugins(), module: make() })).losses, 2e-2, "training");
    dist.barrier();
  }
};
cases["validationPrecision: what is gathered is in its dtype; the fit goes on as without it, to the bit"] =
  async () => {
    for (const stage of [1, 2, 3] as const) {
      const setup = (trainer: TrainerOptions = {}): Setup => ({
        fsdp: { stage },
        trainer: { maxEpochs: 2, ...trainer },
      });
      const narrow = { validationPrecision: "bf16-true" } as const;
      const [plain, other] = [await train(true, setup()), await train(true, setup(narrow))];
      assert.deepEqual(flatOf(other.module), flatOf(plain.module));
      assert.deepEqual(other.losses, plain.losses);
      // bfloat16 has 8 bits: what is validated is not what float32 would say, and as near to it as in one process.
      assert.notDeepEqual(other.validated, plain.validated);
      close(other.validated, plain.validated, 2e-2, `stage ${stage}, validation`);
      if (dist.getRank() === 0)
        close(other.validated, (await train(false, setup(narrow))).validated, 1e-2, `stage ${stage}, one process`);
      dist.barrier();
    }
  };
/** What APEX calls a model is one of the module's children: tensors are cast where they come in and go out. */
class Inner extends nn.Module {
  readonly first = new nn.Linear(12, WIDTH);
  readonly norm = new nn.BatchNorm1d(WIDTH);
  readonly blocks = new nn.ModuleList([new Block(), new Block()]);
  readonly last = new nn.Linear(WIDTH, 5);
  readonly seen = new Set<string>();
  constructor(readonly normed: boolean) {
    super();
  }
  forward(x: Tensor): Tensor {
    let h = this.first.forward(x);
    if (this.normed) h = this.norm.forward(h);
    this.seen.add([x, this.first.weight, this.norm.weight, this.norm.runningMean].map((t) => t?.dtype).join(" "));
    for (const block of this.blocks) h = block.forward(h);
    return this.last.forward(h);
  }
}
class Outer extends LightningModule {
  readonly losses: number[] = [];
  readonly validated: number[] = [];
  readonly stepped = new Set<string>();
  readonly inner: Inner;
  constructor(
    readonly overflowAt: number | null,
    normed = false,
  ) {
    super();
    this.inner = new Inner(normed);
  }
  override configureOptimizers(): optim.Optimizer {
    return new optim.SGD(this.parameters(), { lr: 0.01 });
  }
  override trainingStep(batch: unknown): Tensor {
    const [x, y] = batch as [Tensor, Tensor];
    const loss = mseLoss(this.inner.forward(x).float(), y.float());
    this.losses.push(loss.item());
    const { globalStep, globalRank, worldSize } = this.trainer;
    if (this.overflowAt !== globalStep || globalRank !== worldSize - 1) return loss;
    // Of one small gradient alone, which lies on one rank.
    const { bias } = this.inner.last;
    return bias === null ? loss : loss.add(bias.float().mul(Infinity).sum());
  }
  override validationStep(batch: unknown): void {
    const [x, y] = batch as [Tensor, Tensor];
    this.validated.push(mseLoss(this.inner.forward(x).float(), y.float()).item());
  }
  override onBeforeOptimizerStep(optimizer: optim.Optimizer): void {
    for (const { params } of optimizer.paramGroups) for (const p of params) this.stepped.add(p.dtype);
  }
}

for (const ampLevel of ["O0", "O1", "O2", "O3"] as const)
  cases[`APEX ${ampLevel}: one process's losses, skipped steps and scales in every stage, and float32 weights after`] =
    async () => {
      const dynamic = ampLevel === "O1" || ampLevel === "O2";
      const within = ampLevel === "O0" ? EXACT32 : 1e-2;
      const fit = async (parallel: boolean, stage: 1 | 2 | 3, accumulate: number): Promise<Fitted<Outer>> => {
        manualSeed(7);
        const trainer = { precision: 16, ampBackend: "apex", ampLevel, accumulateGradBatches: accumulate } as const;
        return train(parallel, { fsdp: { stage }, trainer, module: new Outer(dynamic ? 2 : null) });
      };
      for (const accumulate of [1, 2]) {
        const one = dist.getRank() === 0 ? await fit(false, 1, accumulate) : null;
        dist.barrier();
        for (const stage of [1, 2, 3] as const) {
          const { module, losses, validated, trainer } = await fit(true, stage, accumulate);
          assert.equal(trainer.skippedSteps, dynamic ? 1 : 0);
          assert.equal(trainer.lossScale, one?.trainer.lossScale ?? trainer.lossScale);
          if (one !== null) {
            close(windows(losses, accumulate), windows(one.losses, accumulate), within, `stage ${stage}`);
            close(validated.slice(-1), one.validated.slice(-1), within, `stage ${stage}, validation`);
          }
          // Weights of a 16-bit model without masters are float16; all are whole and float32 when the fit is over.
          assert.deepEqual([...module.stepped], [ampLevel === "O3" ? "float16" : "float32"]);
          assert.ok(module.parameters().every((p) => p.dtype === "float32"));
          assert.equal(module.inner.first.weight.ndim, 2);
          assert.equal(module.inner.forward(randn([3, 12])).dtype, "float32");
        }
      }
    };
cases["APEX O2: BatchNorm is float32 in a model that is gathered in float16"] = async () => {
  for (const stage of [1, 3] as const) {
    manualSeed(7);
    const trainer = { precision: 16, ampBackend: "apex", ampLevel: "O2", maxEpochs: 1 } as const;
    const { module } = await train(true, { fsdp: { stage }, trainer, module: new Outer(null, true) });
    assert.deepEqual([...module.inner.seen], ["float16 float16 float32 float32"]);
  }
};
cases["manual optimization of two optimizers"] = async () => {
  class Manual extends Net {
    override automaticOptimization = false;
    override configureOptimizers(): optim.Optimizer[] {
      return [
        new optim.SGD([...this.first.parameters(), ...this.blocks.parameters()], { lr: 0.01 }),
        new optim.SGD(this.last.parameters(), { lr: 0.02 }),
      ];
    }
    override trainingStep(batch: unknown): Tensor {
      const [x, y] = batch as [Tensor, Tensor];
      for (const optimizer of [this.optimizers()].flat()) {
        optimizer.zeroGrad();
        const loss = mseLoss(this.predict(x), y);
        this.losses.push(loss.item());
        this.manualBackward(loss);
        optimizer.step();
      }
      return x;
    }
  }
  for (const stage of [1, 3] as const) {
    const run = async (parallel: boolean): Promise<number[]> => {
      manualSeed(7);
      const { losses } = await train(parallel, {
        fsdp: { stage },
        trainer: { precision: 64 },
        module: new Manual(adam, null),
      });
      return losses;
    };
    const two = await run(true);
    if (dist.getRank() === 0) close(two, await run(false), EXACT64, "training");
    dist.barrier();
  }
};
cases["what does not go together is refused when the Trainer is made"] = () => {
  const make =
    (options: TrainerOptions, fsdp: FSDPOptions = {}): (() => unknown) =>
    () =>
      new Trainer({ accelerator: "cpu", logger: false, ...options, strategy: new FSDPStrategy(device("cpu"), fsdp) });
  assert.throws(make({ ampBackend: "apex" }, { paramDtype: "bfloat16" }), { code: "ERR_STRATEGY_PRECISION" });
  assert.throws(make({}, { stage: 2, cpuOffload: true }), { code: "ERR_STRATEGY_OPTION" });
  assert.equal(new Trainer({ accelerator: "cpu", logger: false, strategy: "fsdp" }).strategy.name, "fsdp");
};

testRanks(import.meta.url, 2, cases);
