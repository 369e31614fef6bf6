/** A step that all ranks skip says on which of them it overflowed first, and where: the same on all. */
import assert from "node:assert/strict";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import {
  ApexPrecision,
  Callback,
  DDPStrategy,
  FSDPStrategy,
  LightningModule,
  LossScaleMonitor,
  MixedPrecision,
  NonFiniteError,
  RunLog,
  Trainer,
  type StepOutcome,
  type TrainerOptions,
  type TrainerView,
} from "@nbit/lightning";
import { device, manualSeed, nn, optim, randn, type Tensor } from "@nbit/torch";
import * as dist from "@nbit/torch/distributed";
import { testRanks, type RankCase } from "../helpers/ranks.js";
import { SILENT } from "../helpers/training.js";

/** What goes wrong in this process, in which batch. */
type Fault = "none" | "forward" | "backward" | "batch";
class Planted extends nn.Module {
  fault: Fault = "none";
  forward(x: Tensor): Tensor {
    return this.fault === "forward" ? x.float().mul(1e7) : x;
  }
}
class Net extends LightningModule {
  readonly first = new nn.Linear(4, 16);
  readonly norm: nn.Identity | nn.SyncBatchNorm;
  readonly middle = new Planted();
  readonly last = new nn.Linear(16, 1);
  calls = 0;
  constructor(
    readonly faultOf: (batchIdx: number) => Fault,
    norm: nn.Identity | nn.SyncBatchNorm = new nn.Identity(),
  ) {
    super();
    this.norm = norm;
  }
  override configureOptimizers(): optim.Optimizer {
    return new optim.AdamW(this.parameters(), { lr: 0.01 });
  }
  override trainingStep(batch: Tensor, batchIdx: number): Tensor {
    this.calls++;
    const fault = this.faultOf(batchIdx);
    this.middle.fault = fault;
    const h = this.middle.forward(this.norm.forward(this.first.forward(batch)));
    const loss = this.last.forward(h).square().mean();
    return fault === "backward" ? loss.mul(1e5) : loss;
  }
}

class Outcomes extends Callback {
  readonly all: (StepOutcome | null)[] = [];
  override onTrainBatchEnd(trainer: TrainerView): void {
    this.all.push(trainer.lastOutcome);
  }
  get skips(): Pick<StepOutcome, "ranks" | "nonFinite">[] {
    return this.all.flatMap((o) => (o?.skipped === true ? [{ ranks: o.ranks, nonFinite: o.nonFinite }] : []));
  }
}

interface Run {
  readonly net: Net;
  readonly seen: Outcomes;
  readonly monitor: LossScaleMonitor;
}
const BATCHES = 4;
async function train(
  strategy: "ddp" | 1 | 2 | 3,
  faultOf: (batchIdx: number) => Fault,
  options: TrainerOptions = {},
  norm?: nn.SyncBatchNorm,
): Promise<Run> {
  manualSeed(3);
  const net = new Net(faultOf, norm);
  const [seen, monitor] = [new Outcomes(), new LossScaleMonitor()];
  const cpu = device("cpu");
  manualSeed(10 + dist.getRank());
  const rows = Array.from({ length: BATCHES }, (_, i) => {
    const x = randn([3, 4]);
    return faultOf(i) === "batch" ? x.div(0) : x;
  });
  await new Trainer({
    accelerator: "cpu",
    strategy: strategy === "ddp" ? new DDPStrategy(cpu) : new FSDPStrategy(cpu, { stage: strategy }),
    maxEpochs: 1,
    ...("plugins" in options ? {} : { plugins: new MixedPrecision({ scaler: { initScale: 256 } }) }),
    useDistributedSampler: false,
    detectNonFinite: "step",
    ...SILENT,
    ...options,
    callbacks: [seen, monitor, ...[options.callbacks ?? []].flat()],
  }).fit(net, { trainDataloaders: rows });
  return { net, seen, monitor };
}

/** All ranks have the same to say, which is returned. */
function common<T>(mine: T): T {
  const [first] = dist.allGatherObject(mine);
  assert.deepEqual(mine, first);
  return mine;
}
/** What the first rank of the only skip says of it. */
function firstOf(run: Run, rank: number): NonNullable<StepOutcome["ranks"]>[number] {
  const [skip, ...others] = common(run.seen.skips);
  assert.deepEqual(others, []);
  assert.deepEqual(
    skip?.ranks?.map((one) => one.rank),
    [rank],
  );
  const weights = run.net.parameters().map((p) => p.tolist());
  common(weights);
  const [first] = skip?.ranks ?? [];
  assert.ok(first !== undefined);
  return first;
}

const ALL = ["first.weight", "first.bias", "last.weight", "last.bias"];
const cases: Record<string, RankCase> = {};
for (const strategy of ["ddp", 1, 2, 3] as const) {
  const name = strategy === "ddp" ? "ddp" : `fsdp, stage ${strategy}`;
  cases[`${name}: the forward of one rank`] = async (rank, worldSize) => {
    const bad = worldSize - 1;
    const run = await train(strategy, (i) => (rank === bad && i === 1 ? "forward" : "none"));
    const first = firstOf(run, bad);
    assert.deepEqual(
      [first.origin?.phase, first.origin?.module, first.origin?.inside],
      ["forward", "last", "the cast float32 → float16"],
    );
    assert.match(
      first.text,
      /^It began in module last \(Linear\), in the forward of operator linear, at the cast float32 → float16/,
    );
    assert.ok(first.parameters.includes("last.weight"), first.parameters.join());
    assert.deepEqual(run.seen.skips[0]?.nonFinite, first.parameters);
    // Four batches and one replay: a step in which nothing is wrong is not made twice.
    assert.equal(run.net.calls, BATCHES + 1);
    assert.deepEqual(run.monitor.overflows[0]?.ranks, run.seen.skips[0]?.ranks);
  };
  cases[`${name}: unless asked for, no step is replayed, and all name the same parameters`] = async (rank) => {
    const fault = (i: number): Fault => (rank === 1 && i === 2 ? "forward" : "none");
    const { net, seen } = await train(strategy, fault, { detectNonFinite: true });
    assert.equal(net.calls, BATCHES);
    assert.deepEqual(common(seen.skips), [{ ranks: undefined, nonFinite: ALL }]);
  };
  cases[`${name}: the backward of one rank`] = async (rank, worldSize) => {
    const bad = worldSize - 2;
    const run = await train(strategy, (i) => (rank === bad && i === 2 ? "backward" : "none"));
    const first = firstOf(run, bad);
    assert.equal(first.origin?.phase, "backward");
    assert.match(first.text, /in the backward/);
    assert.deepEqual(run.seen.skips[0]?.nonFinite, first.parameters);
  };
  cases[`${name}: batches that hold infinity come before what operators make`] = async (rank) => {
    const faults: readonly Fault[] = ["forward", "batch"];
    const run = await train(strategy, (i) => (i === 1 ? (faults[rank] ?? "none") : "none"));
    const [skip] = common(run.seen.skips);
    assert.deepEqual(
      skip?.ranks?.map((one) => one.rank),
      [1, 0],
    );
    assert.equal(skip.ranks?.[0]?.text, "The batch itself holds NaN or infinity.");
    assert.deepEqual(skip?.nonFinite, ALL);
  };
  if (strategy !== 1)
    cases[`${name}: an earlier batch of a window`] = async (rank) => {
      const run = await train(strategy, (i) => (rank === 1 && i === 0 ? "forward" : "none"), {
        accumulateGradBatches: 2,
      });
      assert.equal(firstOf(run, 1).origin?.module, "last");
    };
}
Object.assign(cases, {
  "a layer that exchanges its statistics: infinity that came from another rank is not this one's": async (rank) => {
    const run = await train("ddp", (i) => (rank === 1 && i === 1 ? "batch" : "none"), {}, new nn.SyncBatchNorm(16));
    const [skip] = common(run.seen.skips);
    assert.deepEqual(
      skip?.ranks?.map((one) => one.rank),
      [1],
    );
  },
  "a sum that overflows although no rank's gradient does": async () => {
    // Each is 55,000 when it is scaled; two of them, each divided by √2, are beyond float16's 65,504.
    const strategy = new DDPStrategy(device("cpu"), { reduceDtype: "float16" });
    class Large extends Net {
      override trainingStep(batch: Tensor): Tensor {
        this.calls++;
        const none = this.last.forward(this.first.forward(batch)).float().sum().mul(0);
        return this.last.weight
          .sum()
          .mul(55_000 / 65_536)
          .add(none);
      }
    }
    const seen = new Outcomes();
    await new Trainer({
      accelerator: "cpu",
      strategy,
      precision: 16,
      maxEpochs: 1,
      ...SILENT,
      detectNonFinite: "step",
      useDistributedSampler: false,
      callbacks: [seen],
    }).fit(new Large(() => "none"), { trainDataloaders: [randn([2, 4])] });
    assert.deepEqual(common(seen.skips), [{ ranks: [], nonFinite: ["last.weight"] }]);
  },
  APEX: async (rank) => {
    const plugins = new ApexPrecision({ optLevel: "O2", maxLossScale: 256 });
    const run = await train("ddp", (i) => (rank === 1 && i === 1 ? "backward" : "none"), { plugins });
    assert.equal(firstOf(run, 1).origin?.phase, "backward");
  },
  "the log of a run and a scaler that reads late have it too": async (rank) => {
    const root = dist.broadcastObject(rank === 0 ? mkdtempSync(join(tmpdir(), "nbit-overflow-")) : "");
    const path = join(root, "run.jsonl");
    const plugins = new MixedPrecision({ scaler: { lazy: true, initScale: 256 } });
    const options = { plugins, logEveryNSteps: 1, callbacks: [new RunLog({ path })] };
    const run = await train("ddp", (i) => (rank === 1 && i === 1 ? "forward" : "none"), options);
    assert.equal(firstOf(run, 1).origin?.module, "last");
    dist.barrier();
    if (rank === 0) {
      const lines = readFileSync(path, "utf8")
        .trim()
        .split("\n")
        .map((line) => JSON.parse(line) as Record<string, unknown>);
      const skip = lines.find(({ type }) => type === "skip");
      assert.deepEqual(skip?.["ranks"], [1]);
      assert.equal(skip["where"], `On rank 1: ${run.seen.skips[0]?.ranks?.at(0)?.text}`);
      rmSync(root, { recursive: true });
    }
  },
  "the floor of the scale names the rank, in the same error everywhere": async (rank) => {
    const plugins = new MixedPrecision({ scaler: { initScale: 2, minScale: 1 } });
    let caught: unknown = null;
    await train("ddp", () => (rank === 1 ? "forward" : "none"), { plugins }).catch(
      (error: unknown) => (caught = error),
    );
    assert.ok(caught instanceof NonFiniteError, String(caught));
    assert.equal(caught.code, "LOSS_SCALE_FLOOR");
    assert.equal(caught.rank, 1);
    // The group is broken by now: each looks at its own.
    assert.match(caught.message, /On rank 1: It began in module last \(Linear\)/);
  },
} satisfies Record<string, RankCase>);

testRanks(import.meta.url, 2, cases);
const ofFour = ["ddp: the forward of one rank", "fsdp, stage 3: the backward of one rank"];
testRanks(import.meta.url, 4, Object.fromEntries(Object.entries(cases).filter(([name]) => ofFour.includes(name))));
