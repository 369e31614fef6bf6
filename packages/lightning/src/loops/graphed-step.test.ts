/**
 * The order of work around CUDA graphs, on the CPU: a Trainer whose batches go through GraphedStep, with recordings
 * that run their step again where a graph would launch kernels. Like graphs they leave everything as it was while
 * recording, know the memory of gradients and results, and spoil the results of those that they share memory with.
 * Replays must give what eager steps give, to the last bit.
 */
import assert from "node:assert/strict";
import { test } from "node:test";
import { inspect } from "node:util";
import {
  NbitError,
  nn,
  noGrad,
  optim,
  outsideScopes,
  randn,
  relu,
  scope,
  seedEverything,
  setNumThreads,
  Tensor,
} from "@nbit/torch";
import { Callback } from "../callbacks/callback.js";
import { GradientAccumulationScheduler } from "../callbacks/gradient-accumulation-scheduler.js";
import { Logger, type Metrics } from "../loggers/logger.js";
import { LightningModule } from "../module.js";
import { FullPrecision } from "../precision/full.js";
import { MixedPrecision } from "../precision/mixed.js";
import { Run } from "../run.js";
import { Trainer } from "../trainer.js";
import type { TrainerOptions } from "../trainer-options.js";
import type { TrainerView } from "../trainer-view.js";
import type { StepOutcome } from "../types.js";
import { GraphedStep } from "./graphed-step.js";
import type { OptimizerConfiguration } from "./optimizer-configuration.js";
import type { GraphMaker, StepGraph } from "./recording.js";

setNumThreads(1);

/** Everything that a step may change. */
function stateOf(run: Run): Tensor[] {
  const tensors: Tensor[] = [...run.module.parameters(), ...run.module.buffers()];
  for (const p of run.module.parameters()) if (p.grad !== null) tensors.push(p.grad);
  for (const optimizer of run.optimizers)
    for (const state of optimizer.state.values())
      for (const value of Object.values(state)) if (value instanceof Tensor) tensors.push(value);
  const { precision } = run;
  if (precision instanceof MixedPrecision && precision.scaler !== null) tensors.push(precision.scaler.scaleTensor);
  return tensors;
}

/** A recording that is replayed by running its function again. */
class Rerun implements StepGraph {
  readonly #run: Run;
  readonly #pool: Rerun[];
  #fn: (() => unknown) | null = null;
  #outputs: Tensor[] = [];
  #gradients: (number | undefined)[] = [];
  #windowOpen = false;
  disposed = false;

  constructor(run: Run, shares: Rerun | null) {
    this.#run = run;
    this.#pool = shares === null ? [] : shares.#pool;
    this.#pool.push(this);
  }
  warmUp<T>(fn: () => T): T {
    return fn();
  }
  #where(): (number | undefined)[] {
    return [...this.#run.module.parameters()].map((p) => p.grad?.dataPtr());
  }
  /** What `fn` returns and logs, as long as the memory of both is known. */
  #observed<T>(fn: () => T): { readonly result: T; readonly tensors: Tensor[] } {
    const tensors: Tensor[] = [];
    const { log } = this.#run;
    this.#run.log = (name, value, options) => {
      if (value instanceof Tensor) tensors.push(value);
      log.call(this.#run, name, value, options);
    };
    try {
      const result = fn();
      for (const value of Object.values(result as object)) if (value instanceof Tensor) tensors.push(value);
      return { result, tensors };
    } finally {
      this.#run.log = log;
    }
  }
  capture<T>(fn: () => T): T {
    const progress = this.#run.fit?.progress;
    assert.ok(progress !== undefined && this.#fn === null && !this.disposed);
    this.#windowOpen = progress.windowOpen;
    this.#gradients = this.#where();
    const before = scope(() =>
      stateOf(this.#run).map(
        (t) => [outsideScopes(() => t.detach()), outsideScopes(() => t.detach().clone())] as const,
      ),
    );
    const { result, tensors } = this.#observed(fn);
    this.#outputs = outsideScopes(() => tensors.map((t) => t.detach()));
    noGrad(() => before.forEach(([t, was]) => t.copy_(was)));
    for (const t of before.flat()) t.dispose();
    this.#fn = fn;
    return result;
  }
  replay(): void {
    const progress = this.#run.fit?.progress;
    assert.ok(progress !== undefined && this.#fn !== null && !this.disposed);
    if (this.#run.fit?.step.accumulate !== 1)
      assert.deepEqual(this.#where(), this.#gradients, "gradients lie where the graph writes them");
    const now = { globalStep: progress.globalStep, windowOpen: progress.windowOpen };
    progress.windowOpen = this.#windowOpen;
    const { log } = this.#run;
    this.#run.log = () => undefined;
    scope(() => {
      const { tensors } = this.#observed(this.#fn as () => unknown);
      for (const other of this.#pool) if (other !== this) for (const t of other.#outputs) t.fill_(NaN);
      tensors.forEach((t, i) => this.#outputs[i]?.copy_(t.detach()));
    });
    this.#run.log = log;
    Object.assign(progress, now);
  }
  dispose(): void {
    this.disposed = true;
    for (const t of this.#outputs) t.dispose();
    this.#outputs = [];
  }
}

/** Sends the batches of a Trainer through GraphedStep. */
class Graphed extends Callback {
  step: GraphedStep | null = null;
  override onFitStart(trainer: TrainerView): void {
    const run: unknown = Reflect.get(trainer, "active");
    assert.ok(run instanceof Run && run.fit !== null);
    const { step, progress } = run.fit;
    const graphs: GraphMaker = {
      make: (pool) => new Rerun(run, pool instanceof Rerun ? pool : null),
      emptyCache: () => undefined,
    };
    const graphed = new GraphedStep({
      step,
      module: run.module,
      hooks: run.hooks,
      host: run,
      precision: run.precision,
      optimizers: run.optimizers,
      progress,
      warnings: run.warnings,
      device: "cpu",
      graphs,
    });
    const eager = step.run.bind(step);
    let inside = false;
    step.run = (batch, batchIdx, windowEnds) => {
      if (inside) return eager(batch, batchIdx, windowEnds);
      inside = true;
      try {
        return graphed.run(batch, batchIdx, windowEnds);
      } finally {
        inside = false;
      }
    };
    this.step = graphed;
  }
  override onFitEnd(): void {
    this.step?.end();
  }
  override onException(): void {
    this.step?.end();
  }
}

class Rows extends Logger {
  readonly name = "rows";
  readonly version = 0;
  readonly rows: (readonly [number, Metrics])[] = [];
  override logMetrics(metrics: Metrics, step: number): void {
    this.rows.push([step, { ...metrics }]);
  }
}

/** Keeps losses and outcomes, and may do what a user's code does between batches. */
class Watch extends Callback {
  readonly losses: number[] = [];
  readonly outcomes: string[] = [];
  readonly kept: Tensor[] = [];
  constructor(
    readonly meddle: ((module: Net, batch: number) => void) | undefined,
    readonly readsOutcomes: boolean,
  ) {
    super();
  }
  override onTrainBatchEnd(
    trainer: TrainerView,
    module: LightningModule,
    outputs: Readonly<Record<string, unknown>>,
    _batch: unknown,
    batchIdx: number,
  ): void {
    const loss = outputs["loss"] as Tensor;
    this.losses.push(loss.item());
    this.kept.push(outsideScopes(() => loss.detach()));
    const { stepped, skipped } = (this.readsOutcomes ? trainer.lastOutcome : null) ?? {
      stepped: false,
      skipped: false,
    };
    this.outcomes.push(`${trainer.globalStep} ${stepped ? "stepped" : skipped ? "skipped" : "-"}`);
    this.meddle?.(module as Net, batchIdx);
  }
}

class Net extends LightningModule {
  readonly first = new nn.Linear(6, 8);
  readonly norm = new nn.BatchNorm1d(8);
  readonly head = new nn.Linear(8, 6);
  readonly unused = new nn.Linear(2, 2);
  /** Its gradients are nobody's to clear. */
  readonly outside = new nn.Parameter(randn([6]));
  override trainingStep(x: Tensor): Tensor {
    const y = this.head
      .forward(relu(this.norm.forward(this.first.forward(x))))
      .float()
      .add(this.outside);
    const loss = y.sub(x).square().mean();
    this.log("loss", loss, { onStep: true, onEpoch: true });
    return loss;
  }
  override validationStep(x: Tensor): void {
    this.log(
      "val",
      this.head
        .forward(relu(this.norm.forward(this.first.forward(x))))
        .float()
        .square()
        .mean(),
    );
  }
  override configureOptimizers(): OptimizerConfiguration {
    const params = [
      ...this.first.parameters(),
      ...this.norm.parameters(),
      ...this.head.parameters(),
      ...this.unused.parameters(),
    ];
    const optimizer = new optim.AdamW(params, { lr: 2 ** -5, fused: true });
    return { optimizer, lrScheduler: { scheduler: new optim.StepLR(optimizer, 5, 0.5), interval: "step" } };
  }
}

interface Course {
  /** Made anew for each run: plugins remember. */
  readonly options?: () => TrainerOptions;
  /** Of an epoch; a number is the length of a batch. */
  readonly lengths?: readonly number[];
  readonly epochs?: number;
  /** Batches of the run with an infinite input. */
  readonly infinite?: readonly number[];
  readonly meddle?: (module: Net, batch: number) => void;
  readonly make?: () => Net;
  /** Default true. */
  readonly readsOutcomes?: boolean;
}

async function train(
  {
    options = () => ({}),
    lengths = Array.from({ length: 11 }, () => 5),
    epochs = 3,
    infinite = [],
    meddle,
    make = () => new Net(),
    readsOutcomes = true,
  }: Course,
  graphed: Graphed | null,
) {
  seedEverything(11);
  const net = make();
  const batches = lengths.map((n) => randn([n, 6]));
  let given = 0;
  const loader = {
    length: batches.length,
    *[Symbol.iterator]() {
      for (const batch of batches) yield infinite.includes(given++) ? batch.mul(Infinity) : batch;
    },
  };
  const watch = new Watch(meddle, readsOutcomes);
  const rows = new Rows();
  const settings = options();
  const own = settings.callbacks === undefined ? [] : [settings.callbacks].flat();
  const trainer = new Trainer({
    accelerator: "cpu",
    enableCheckpointing: false,
    enableProgressBar: false,
    enableModelSummary: false,
    logEveryNSteps: 1,
    numSanityValSteps: 0,
    maxEpochs: epochs,
    logger: rows,
    ...settings,
    callbacks: [...(graphed === null ? [] : [graphed]), ...own, watch],
  });
  await trainer.fit(net, { trainDataloaders: loader, valDataloaders: batches.slice(0, 2) });
  const weights = [...net.parameters(), ...net.buffers()].map((t) => t.detach().tolist());
  return {
    losses: watch.losses,
    outcomes: watch.outcomes,
    kept: watch.kept.map((t) => t.item()),
    rows: rows.rows,
    weights,
    globalStep: trainer.globalStep,
    skipped: trainer.skippedSteps,
    scale: trainer.precision.lossScale,
  };
}

/** Trains eagerly and with recordings, and compares everything. Returns the part of it that the caller looks at. */
async function compare(course: Course) {
  const eager = await train(course, null);
  const graphed = new Graphed();
  const replayed = await train(course, graphed);
  assert.deepEqual(replayed.losses, eager.losses);
  assert.deepEqual(replayed.outcomes, eager.outcomes);
  assert.deepEqual(replayed.rows, eager.rows);
  assert.deepEqual(replayed.weights, eager.weights);
  assert.deepEqual(
    [replayed.globalStep, replayed.skipped, replayed.scale],
    [eager.globalStep, eager.skipped, eager.scale],
  );
  assert.ok(graphed.step !== null);
  return { step: graphed.step, eager, replayed };
}

const half = (): MixedPrecision => new MixedPrecision({ scaler: { initScale: 256, lazy: true } });
const precisions: readonly (readonly [string, () => TrainerOptions])[] = [
  ["32", () => ({ precision: 32 })],
  ["bf16", () => ({ precision: "bf16" })],
  ["16", () => ({ plugins: half() })],
  ["bf16-true", () => ({ precision: "bf16-true" })],
];

// 11 batches: windows of one to the end of an epoch with 2 to a step, of three with 4. Validation forgets gradients
// after every epoch.
for (const [name, options] of precisions)
  for (const [accumulate, replays] of [
    [1, 30],
    [2, 26],
    [4, 29],
  ] as const)
    test(`replays give what eager steps give: ${name}, ${accumulate} to a step`, async () => {
      const { step, replayed } = await compare({
        options: () => ({ ...options(), accumulateGradBatches: accumulate, gradientClipVal: 0.5 }),
      });
      assert.equal(step.reason, null);
      assert.equal(step.replayed, replays);
      // Losses that a callback keeps are its own with windows; with one batch to a step they lie in the graph's memory.
      if (accumulate > 1) assert.deepEqual(replayed.kept, replayed.losses);
    });

test("an overflow inside a window skips its step, and counts once", async () => {
  const { step, eager } = await compare({
    options: () => ({ plugins: half(), accumulateGradBatches: 2 }),
    infinite: [14, 24, 31],
  });
  assert.equal(step.reason, null);
  assert.equal(eager.skipped, 3);
  assert.equal(step.replayed, 26);
});

test("an overflow in the last step counts once, in a batch that runs eagerly too", async () => {
  assert.equal(
    (
      await compare({
        options: () => ({ plugins: half(), accumulateGradBatches: 2 }),
        lengths: [5, 5, 5, 5],
        infinite: [11],
      })
    ).eager.skipped,
    1,
  );
  assert.equal(
    (await compare({ options: () => ({ plugins: half() }), lengths: [5, 5, 5, 5, 5, 3], infinite: [11, 17] })).eager
      .skipped,
    2,
  );
});

test("a replayed batch's outcome is read before the next batch, or says that it is too late", async () => {
  const late: (readonly [number, StepOutcome])[] = [];
  const read: (readonly [StepOutcome, string])[] = [];
  class Keep extends Callback {
    #batches = 0;
    override onTrainBatchEnd({ lastOutcome }: TrainerView): void {
      assert.ok(lastOutcome !== null);
      if (this.#batches++ % 2 === 0) late.push([this.#batches, lastOutcome]);
      else read.push([lastOutcome, inspect(lastOutcome)]);
    }
  }
  const graphed = new Graphed();
  await train(
    {
      options: () => ({ plugins: half(), accumulateGradBatches: 2, callbacks: new Keep() }),
      infinite: [14],
      readsOutcomes: false,
    },
    graphed,
  );
  let refused = 0;
  for (const [batch, outcome] of late) {
    try {
      assert.ok(outcome.lossScale > 0, `batch ${batch}`);
    } catch (error) {
      assert.ok(error instanceof NbitError && error.code === "OUTCOME_OVERWRITTEN", String(error));
      refused++;
    }
  }
  assert.ok(refused >= 10 && refused < late.length, String(refused));
  for (const [outcome, was] of read) assert.equal(inspect(outcome), was);
});

test("replays with cached weight casts give what eager steps give", async () => {
  for (const accumulateGradBatches of [1, 2, 4]) {
    const { step } = await compare({
      options: () => ({
        plugins: new MixedPrecision({ precision: "bf16-mixed", cacheWeightCasts: true }),
        accumulateGradBatches,
      }),
    });
    assert.ok(step.replayed > 25);
  }
});

test("batches of another shape run eagerly within windows whose others are replayed", async () => {
  const { step } = await compare({
    options: () => ({ accumulateGradBatches: 4 }),
    lengths: [5, 5, 5, 5, 5, 3, 5, 5, 3, 5, 5, 5],
  });
  assert.equal(step.reason, null);
  assert.equal(step.replayed, 6 + 10 + 10);
});

test("changes of gradients between batches are part of the step", async () => {
  const meddle = (net: Net, batch: number): void => {
    if (batch % 4 === 1) net.head.weight.grad = null;
    if (batch % 4 === 2) {
      const { grad } = net.first.weight;
      if (grad !== null) net.first.weight.grad = outsideScopes(() => grad.mul(3));
    }
    if (batch % 4 === 3) net.zeroGrad();
  };
  const { step } = await compare({ options: () => ({ accumulateGradBatches: 4 }), meddle });
  assert.equal(step.replayed, 29);
});

test("another number of batches to a step is recorded again", async () => {
  const changes: Readonly<Record<number, number>> = { 0: 2, 2: 4, 4: 1, 5: 2 };
  const course: Course = {
    options: () => ({ callbacks: new GradientAccumulationScheduler(changes) }),
    epochs: 7,
    lengths: [5, 5, 5, 5, 5, 5, 5, 5],
  };
  const eager = await train(course, null);
  const graphed = new Graphed();
  const replayed = await train(course, graphed);
  assert.deepEqual(replayed.losses, eager.losses);
  assert.deepEqual(replayed.weights, eager.weights);
  assert.equal(graphed.step?.reason, null);
  assert.equal(graphed.step?.replayed, 4 + 8 + 4 + 8 + 5 + 4 + 8);
});

/** From batch 20 on another layer learns, too. */
class Late extends Net {
  #batches = 0;
  override trainingStep(x: Tensor): Tensor {
    const loss = super.trainingStep(x);
    // Only eager batches of length 3 reach it.
    return this.#batches++ > 5 && x.shape[0] === 3
      ? loss.add(
          this.unused
            .forward(x.narrow(1, 0, 2))
            .square()
            .mean(),
        )
      : loss;
  }
}
test("a parameter's first gradient starts over, with what its window holds", async () => {
  const course: Course = {
    options: () => ({ accumulateGradBatches: 2 }),
    make: () => new Late(),
    lengths: [5, 5, 5, 5, 5, 5, 5, 3, 5, 5, 5, 5],
  };
  const eager = await train({ ...course, epochs: 1 }, null);
  const graphed = new Graphed();
  const replayed = await train({ ...course, epochs: 1 }, graphed);
  assert.deepEqual(replayed.losses.slice(0, 8), eager.losses.slice(0, 8));
  assert.equal(graphed.step?.reason, null);
  assert.equal(graphed.step?.replayed, 3);
});

class OwnZeroGrad extends Net {
  override optimizerZeroGrad(_: number, __: number, optimizer: optim.Optimizer): void {
    optimizer.zeroGrad();
  }
}
class Lossless extends Net {
  #batches = 0;
  override trainingStep(x: Tensor): Tensor {
    return this.#batches++ === 4 ? (null as unknown as Tensor) : super.trainingStep(x);
  }
}
/** A plugin of the version before. */
class FormerPlugin extends FullPrecision {
  get windowObstacle(): string {
    return "said under its former name";
  }
}
/** Replaces a gradient in the middle of the step. */
class Replaces extends Net {
  #batches = 0;
  override trainingStep(x: Tensor): Tensor {
    const loss = super.trainingStep(x);
    if (this.#batches++ > 3) this.head.weight.grad = outsideScopes(() => this.head.weight.grad?.clone() ?? null);
    return loss;
  }
}
test("a step that cannot be recorded warns with the reason, and training goes on eagerly", async () => {
  const cases: readonly (readonly [() => Net, TrainerOptions, RegExp])[] = [
    [
      () => new OwnZeroGrad(),
      {},
      /optimizerZeroGrad is overridden, and accumulated gradients must stay where they lie/,
    ],
    [() => new Net(), { ampBackend: "apex", ampLevel: "O0" }, /APEX moves gradients/],
    [() => new Lossless(), {}, /trainingStep returned no loss/],
    [() => new Net(), { plugins: new FormerPlugin() }, /^said under its former name$/],
    [() => new Replaces(), {}, /it made new gradients/],
  ];
  for (const [make, options, reason] of cases) {
    const graphed = new Graphed();
    const course: Course = {
      options: () => ({ ...options, accumulateGradBatches: 2, logger: false }),
      make,
      lengths: Array.from({ length: 8 }, () => 5),
      epochs: 1,
    };
    const replayed = await train(course, graphed);
    // A step method that counts its calls was called once more, to record.
    if (!(make() instanceof Lossless)) assert.deepEqual(replayed.weights, (await train(course, null)).weights);
    assert.match(graphed.step?.reason ?? "none", reason);
    assert.equal(graphed.step?.replayed, 0);
  }
});

/** Logs with an option that does not exist while its step is recorded. */
class LogsWrongly extends Net {
  #batches = 0;
  override trainingStep(x: Tensor): Tensor {
    if (this.#batches++ === 3) this.log("wrong", 1, { often: true } as object);
    return super.trainingStep(x);
  }
}
function logsFromOutside(net: Net): void {
  assert.throws(() => net.log("late", 1), { code: "ERR_LOG_HOOK", message: /Received: "?a call from outside/ });
}
test("a log that throws while a step is recorded leaves no hook behind: the step runs eagerly", async () => {
  const net = new LogsWrongly();
  const graphed = new Graphed();
  await train({ make: () => net, lengths: [5, 5, 5, 5, 5, 5], epochs: 1 }, graphed);
  assert.match(graphed.step?.reason ?? "none", /log: expected/);
  logsFromOutside(net);
});
test("a log that throws while a step is replayed ends the run, and leaves no hook behind", async () => {
  const net = new Net();
  let run: Run | null = null;
  class Breaks extends Callback {
    override onTrainBatchEnd(
      trainer: TrainerView,
      _module: LightningModule,
      _outputs: unknown,
      _batch: unknown,
      batchIdx: number,
    ): void {
      const active: unknown = Reflect.get(trainer, "active");
      if (batchIdx !== 5 || !(active instanceof Run)) return;
      run = active;
      active.log = () => {
        throw new Error("no room for numbers");
      };
    }
  }
  const graphed = new Graphed();
  await assert.rejects(
    train(
      { make: () => net, options: () => ({ callbacks: new Breaks() }), lengths: [5, 5, 5, 5, 5, 5, 5, 5], epochs: 1 },
      graphed,
    ),
    /no room for numbers/,
  );
  assert.ok(run !== null && (graphed.step?.replayed ?? 0) > 0);
  Reflect.deleteProperty(run, "log");
  logsFromOutside(net);
});
