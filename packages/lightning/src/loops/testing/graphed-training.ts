/**
 * The order of work around CUDA graphs, on the CPU: a Trainer whose batches go through GraphedStep, with recordings
 * that run their step again where a graph would launch kernels. Like graphs they leave everything as it was while
 * recording, know the memory of gradients and results, and spoil the results of those that they share memory with.
 * Replays must give what eager steps give, to the last bit.
 */
import assert from "node:assert/strict";
import { nn, noGrad, optim, outsideScopes, randn, relu, scope, seedEverything, Tensor } from "@nbit/torch";
import { Callback } from "../../callbacks/callback.js";
import { Logger, type Metrics } from "../../loggers/logger.js";
import { LightningModule } from "../../module.js";
import { MixedPrecision } from "../../precision/mixed.js";
import { Run } from "../../run.js";
import { Trainer } from "../../trainer.js";
import type { TrainerOptions } from "../../trainer-options.js";
import type { TrainerView } from "../../trainer-view.js";
import { GraphedStep } from "../graphed-step.js";
import type { OptimizerConfiguration } from "../optimizer-configuration.js";
import type { GraphMaker, StepGraph } from "../recording.js";

/** Everything that a step may change. */
export function stateOf(run: Run): Tensor[] {
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
export class Rerun implements StepGraph {
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
export class Graphed extends Callback {
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

export class Rows extends Logger {
  readonly name = "rows";
  readonly version = 0;
  readonly rows: (readonly [number, Metrics])[] = [];
  override logMetrics(metrics: Metrics, step: number): void {
    this.rows.push([step, { ...metrics }]);
  }
}

/** Keeps losses and outcomes, and may do what a user's code does between batches. */
export class Watch extends Callback {
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

export class Net extends LightningModule {
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

export interface Course {
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

export async function train(
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
