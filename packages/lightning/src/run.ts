import { Generator, initialSeed, manualSeed, plainText, setGradEnabled, verbatim } from "@nbit/torch";
import type { DType, Tensor, optim } from "@nbit/torch";
import type { Accelerator } from "./accelerators/accelerator.js";
import type { CheckpointedModules } from "./activations.js";
import { Callback } from "./callbacks/callback.js";
import type { CheckpointIO } from "./checkpoint/checkpoint-io.js";
import { openCheckpointInPart } from "./checkpoint/file.js";
import type { Checkpoint } from "./checkpoint/format.js";
import { isTorchFile } from "./checkpoint/lightning-file.js";
import { isCustom } from "./checkpoint/resolve-io.js";
import { forRank } from "./checkpoint/rank-state.js";
import type { StoredCheckpoint } from "./checkpoint/stored.js";
import type { Undo } from "./checkpoint/undo.js";
import { MisconfigurationError } from "./errors.js";
import type { EventHub } from "./events/event-hub.js";
import { RunEvents } from "./events/run-events.js";
import { Hooks, isOverridden } from "./hooks.js";
import { isPromise } from "./promises.js";
import type { MetricStore } from "./logging/metric-store.js";
import type { LogValue } from "./logging/metric.js";
import type { LogSink } from "./logging/log-sink.js";
import type { PendingNumber } from "./logging/pending-number.js";
import type { LogOptions, Results } from "./logging/results.js";
import type { Logger } from "./loggers/logger.js";
import type { LoopContext } from "./loops/context.js";
import type { EvaluationLoop } from "./loops/evaluation.js";
import type { BatchSource } from "./loops/batch-source.js";
import type { CompiledForwards } from "./loops/compiled-forwards.js";
import type { CompiledSteps } from "./loops/compiled-steps.js";
import type { DeviceMemory } from "./loops/device-memory.js";
import type { GraphedStep } from "./loops/graphed-step.js";
import type { FitLoop } from "./loops/fit.js";
import { LightningOptimizer } from "./loops/lightning-optimizer.js";
import type { LRSchedulerConfig } from "./loops/optimizer-configuration.js";
import type { SchedulerStepper } from "./loops/schedulers.js";
import type { StepReplays } from "./loops/step-replays.js";
import type { PredictLoop } from "./loops/predict.js";
import type { FitProgress } from "./loops/progress.js";
import type { TrainStep } from "./loops/train-step.js";
import type { LightningDataModule } from "./datamodule.js";
import type { LightningModule, ModuleHost } from "./module.js";
import type { Precision } from "./precision/precision.js";
import { InterruptSignal } from "./signals.js";
import type { Ending } from "./signals.js";
import { computeTogether, objectsToCompute, sharesOf, takeShares } from "./logging/reduce.js";
import type { Profiler } from "./profilers/profiler.js";
import { Profiling } from "./profilers/profiling.js";
import type { NewsOfRanks } from "./ranks/news.js";
import { RunData } from "./runs/run-data.js";
import { StopVotes, type Wish } from "./ranks/stop-votes.js";
import type { Collectives, Strategy } from "./strategies/strategy.js";
import type { TrainerView } from "./trainer-view.js";
import type { ResolvedOptions } from "./resolve-options.js";
import type { Trial } from "./tuner/trial.js";
import type { RunningStage, TrainerFn, TrainerStatus } from "./types.js";
import { WarnOnce } from "./warnings.js";

/** The parts of a run that only a fit has. */
export interface FitParts {
  readonly progress: FitProgress;
  readonly fetcher: BatchSource;
  /** The training loaders, in the structure in which they were given. */
  readonly dataloaders: unknown;
  readonly results: Results;
  readonly step: TrainStep;
  readonly replays: StepReplays | null;
  readonly graph: GraphedStep | null;
  readonly compiled: CompiledSteps | null;
  readonly schedulers: SchedulerStepper;
  readonly loop: FitLoop;
}

/** What a run takes from its Trainer. */
export interface RunOwner {
  readonly view: TrainerView;
  readonly precision: Precision;
  /** Of validation; null: as training. */
  readonly validationPrecision: Precision | null;
  readonly strategy: Strategy;
  readonly accelerator: Accelerator;
  readonly checkpointIO: CheckpointIO;
  readonly loggers: readonly Logger[];
  readonly callbacks: readonly Callback[];
  /** Null: loaders are passed, or the module's. */
  readonly datamodule: LightningDataModule | null;
  readonly profiler: Profiler;
  readonly options: ResolvedOptions;
  readonly events: EventHub;
  /** Where the fit before this run stands: what comes after it reports its step and epoch. */
  readonly lastFit: FitProgress | null;
  /** What the run tries out; null: it is the user's. */
  readonly trial: Trial | null;
}

/** One call of fit, validate, test or predict: what its loops share, and what its module may ask for. */
export class Run implements LoopContext, ModuleHost {
  readonly data: RunData;
  readonly metricStore: MetricStore;
  readonly warnings = new WarnOnce();
  readonly trainer: TrainerView;
  #hooks: Hooks;
  #callbacks: readonly Callback[];
  /** Null: nothing is profiled. */
  readonly profiling: Profiling | null;
  #hook: string | null = null;
  #sink: LogSink | null = null;
  #gradients = true;
  status: TrainerStatus = "running";
  #stage: RunningStage | null = null;
  optimizers: readonly optim.Optimizer[] = [];
  schedulers: readonly LRSchedulerConfig[] = [];
  fit: FitParts | null = null;
  /** Of the device that steps are compiled for; null: they run where the tensors are. */
  deviceMemory: DeviceMemory | null = null;
  forwards: CompiledForwards | null = null;
  /** Modules that run again in backward. */
  activations: CheckpointedModules | null = null;
  validation: EvaluationLoop | null = null;
  test: EvaluationLoop | null = null;
  prediction: PredictLoop | null = null;
  /** The checkpoint that this run goes on from. */
  checkpoint: Checkpoint | null = null;
  checkpointPath: string | null = null;
  /** Where tensors are of which the checkpoint has placeholders; null: it has all of them. */
  stored: StoredCheckpoint | null = null;
  /** How to take back what was restored of it, while the rest may still be refused. */
  restoring: Undo | null = null;
  /** What exists of a fit before its optimizers do: `configureOptimizers` may ask how long training will be. */
  preparing: { readonly progress: FitProgress; readonly fetcher: BatchSource } | null = null;
  /** What asked the run to end; acted on between batches. */
  interrupted: Ending | null = null;
  /** Everything is made and restored: a checkpoint from here on says where the run stands. */
  prepared = false;
  /** It ends by an error: processes have nothing more to tell each other. */
  failed = false;
  /** Of several processes; null: this one runs alone. */
  readonly collectives: Collectives | null;
  readonly #votes: StopVotes | null;

  readonly events: RunEvents;

  constructor(
    readonly fn: TrainerFn,
    readonly module: LightningModule,
    readonly owner: RunOwner,
    metricStore: MetricStore,
  ) {
    this.trainer = owner.view;
    this.metricStore = metricStore;
    this.events = new RunEvents(owner.events, this);
    this.profiling = Profiling.of({
      profiler: owner.profiler,
      overrides: (name) => isOverridden(module, name),
      module: module.constructor.name,
      strategy: owner.strategy.constructor.name,
      onGpu: owner.strategy.rootDevice.type === "cuda",
      replayed: () => this.fit?.replays?.summary.replayed ?? 0,
    });
    this.data = new RunData(module, owner.datamodule, this.warnings);
    this.#callbacks = owner.callbacks;
    this.#hooks = new Hooks(owner.view, module, owner.callbacks, this);
    this.collectives = owner.strategy.collectives ?? null;
    const wish = (): Wish => ({ stop: owner.view.shouldStop, signal: this.interrupted });
    this.#votes = this.collectives === null ? null : new StopVotes(this.collectives, wish);
  }

  get stage(): RunningStage | null {
    return this.#stage;
  }
  set stage(stage: RunningStage | null) {
    const before = this.#stage;
    this.#stage = stage;
    this.events.stage(before, stage);
  }
  get hooks(): Hooks {
    return this.#hooks;
  }
  get callbacks(): readonly Callback[] {
    return this.#callbacks;
  }
  /** Those that the module wants too: before any of them has been called. */
  useCallbacks(callbacks: readonly Callback[]): void {
    if (callbacks === this.#callbacks) return;
    this.#callbacks = callbacks;
    this.#hooks = new Hooks(this.trainer, this.module, callbacks, this);
  }

  /** What the module is attached to. */
  get host(): ModuleHost {
    return this;
  }
  get precision(): Precision {
    return this.owner.precision;
  }
  get strategy(): Strategy {
    return this.owner.strategy;
  }
  /** One process writes. */
  get loggers(): readonly Logger[] {
    return this.owner.strategy.isGlobalZero ? this.owner.loggers : [];
  }
  get options(): ResolvedOptions {
    return this.owner.options;
  }
  /** Of all processes: what any of them has asked for counts from the next vote on. */
  get shouldStop(): boolean {
    return this.#votes === null ? this.trainer.shouldStop : this.#votes.stop;
  }

  /**
   * Call a hook or step under its name, so that `log` knows where it is called from. One that returns a promise keeps
   * its name until the promise settles. The only place where the name is set.
   */
  within<T>(hook: string, fn: () => T): T;
  within(hook: string, fn: () => unknown): unknown {
    const before = this.#hook;
    const restore = (): void => {
      this.#hook = before;
    };
    let settles = false;
    this.#hook = hook;
    const hadGrad = this.#gradients ? null : setGradEnabled(false);
    try {
      const result = this.profiling === null ? fn() : this.profiling.within(hook, fn);
      settles = isPromise(result);
      return isPromise(result) ? Promise.resolve(result).finally(restore) : result;
    } finally {
      if (hadGrad !== null) setGradEnabled(hadGrad);
      if (!settles) restore();
    }
  }

  /**
   * Hooks run without gradients until `fn` is done. Not by a switch that stays off while something is waited for:
   * another run of this process may train then.
   */
  async withoutGradients<T>(fn: () => Promise<T>): Promise<T> {
    const before = this.#gradients;
    this.#gradients = false;
    try {
      return await fn();
    } finally {
      this.#gradients = before;
    }
  }

  /** What `fn` logs goes to `sink`, and not to the metrics: a step that is recorded logs when it is replayed. */
  logTo<T>(sink: LogSink, fn: () => T): T {
    const before = this.#sink;
    this.#sink = sink;
    try {
      return fn();
    } finally {
      this.#sink = before;
    }
  }

  /** Read the checkpoint that this run goes on from: of shares, what this process needs, when it needs it. */
  open(path: string, dtype: DType | null = null): Checkpoint {
    let saved: Checkpoint;
    if (dtype === null && this.#readsInPart && !isTorchFile(path))
      ({ checkpoint: saved, stored: this.stored } = openCheckpointInPart(path));
    else saved = this.owner.checkpointIO.loadCheckpoint(path, dtype === null ? {} : { dtype });
    const checkpoint = forRank(saved, this.strategy);
    this.checkpointPath = path;
    this.checkpoint = checkpoint;
    return checkpoint;
  }
  /** Hooks and methods of the user's see a checkpoint with all of its tensors. */
  get #readsInPart(): boolean {
    const { module, callbacks, strategy } = this;
    return (
      this.fn === "fit" &&
      !isCustom(this.owner.checkpointIO) &&
      strategy.loadOptimizerState !== undefined &&
      !isOverridden(module, "onLoadCheckpoint") &&
      !isOverridden(module, "loadStateDict") &&
      callbacks.every(({ onLoadCheckpoint }) => onLoadCheckpoint === Callback.prototype.onLoadCheckpoint)
    );
  }
  /** All of it is restored: what it holds beyond random numbers goes, instead of staying as long as the run. */
  forgetCheckpoint(): void {
    this.stored?.close();
    this.stored = null;
    if (this.checkpoint === null) return;
    const { format, epoch, globalStep, rng } = this.checkpoint;
    const rest = { format, epoch, globalStep, stateDict: {}, hyperparameters: {} };
    this.checkpoint = rng === undefined ? rest : { ...rest, rng };
  }

  /** Let go of what a run holds beyond its end. */
  async close(): Promise<void> {
    this.stored?.close();
    this.restoring?.forget();
    await this.fit?.fetcher.close();
  }

  #seed: number | null = null;
  /**
   * That of the default generator of process 0: orders of data are drawn from it, equal in all processes. A run that
   * goes on from a checkpoint has the seed of the one before.
   */
  seed(): number {
    const saved = this.checkpoint?.rng?.cpu;
    const mine = saved === undefined ? initialSeed() : new Generator().setState(saved).initialSeed();
    return (this.#seed ??= Number(BigInt.asUintN(32, this.collectives?.broadcastObject(mine) ?? mine)));
  }

  /**
   * Dropout and augmentation differ between processes, which would else draw the same: seed + rank. Weights are equal
   * by now. A generator that was seeded differently already stays.
   */
  varyRandomNumbers(): void {
    const { globalRank } = this.strategy;
    if (this.collectives === null || this.fn !== "fit") return;
    const common = this.collectives.broadcastObject(initialSeed());
    if (globalRank !== 0 && initialSeed() === common) manualSeed(common + BigInt(globalRank));
  }

  /** What ends the run of all processes. */
  get endingSignal(): Ending | null {
    return this.#votes === null ? this.interrupted : this.#votes.signal;
  }

  checkInterrupt(): void {
    if (this.endingSignal !== null) throw new InterruptSignal(this.endingSignal);
  }

  /** All processes are here: they agree on whether to stop. `due`: now, not only now and then. */
  voteAfterBatch(due: boolean): void {
    this.#votes?.afterBatch(due);
    this.#spread();
  }
  vote(): void {
    this.#votes?.vote();
    this.#spread();
  }
  /** Callbacks of this process see what was asked for elsewhere. */
  #spread(): void {
    if (this.#votes?.stop === true) this.trainer.shouldStop = true;
  }

  /**
   * Between batches of evaluation, of which processes have different numbers: whether to leave the others, to vote with
   * them at the end.
   */
  leavesBatches(): boolean {
    if (this.#votes !== null) return this.interrupted !== null || this.endingSignal !== null;
    this.checkInterrupt();
    return false;
  }

  /** All processes are here: metrics become those of all. */
  reduceMetrics(onStep: boolean, riders?: NewsOfRanks): void {
    const results = this.metricStore.active;
    if (this.collectives === null || results === null) return;
    const all = this.collectives.allGatherObject({
      shares: sharesOf(results, onStep),
      objects: onStep ? [] : objectsToCompute(results),
      news: riders?.news() ?? null,
    });
    const shares = all.map((one) => one.shares);
    takeShares(results, shares, onStep);
    computeTogether(
      results,
      all.map((one) => one.objects),
      this.module,
    );
    const news = all.map((one) => one.news);
    riders?.heard(news, this.strategy.globalRank, this.trainer.globalStep);
  }

  /** All processes are here: a metric that callbacks monitor, the same in each. */
  metricOfRanks(name: string): readonly (number | undefined)[] {
    this.reduceMetrics(false);
    const mine = this.trainer.callbackMetrics[name];
    return this.collectives?.allGatherObject(mine) ?? [mine];
  }
  agreedMetric(name: string, all: readonly (number | undefined)[] = this.metricOfRanks(name)): number | undefined {
    if (all.some((one) => !Object.is(one, all[0])))
      this.warnings.warn(
        "WARN_MONITOR_DIFFERS",
        plainText(
          `${JSON.stringify(name)} is monitored, and differs between processes: that of rank 0 counts. Log it with syncDist: true, or with onEpoch: true.`,
        ),
      );
    return all[0];
  }

  /** Other schedulers take the place of those that `configureOptimizers` returned. */
  replaceSchedulers(schedulers: readonly LRSchedulerConfig[]): void {
    this.schedulers = schedulers;
    this.fit?.schedulers.replace(schedulers);
  }

  // What the module asks for.

  log(name: string, value: LogValue | PendingNumber, options: LogOptions): void {
    if (this.options.barebones) {
      this.warnings.warn("WARN_BAREBONES", `log(${JSON.stringify(name)}): barebones logs nothing.`);
      return;
    }
    if (this.#sink !== null) return this.#sink(name, value, options);
    const results = this.metricStore.active;
    const hook = this.#hook;
    if (results === null || hook === null) {
      throw new MisconfigurationError(
        "log",
        "to be called from a step method, or a hook of training, validation or testing",
        hook ?? "a call from outside",
        "Write to the logger itself there: trainer.logger.logMetrics(metrics, step).",
        "ERR_LOG_HOOK",
      );
    }
    results.log(hook, name, value, options, this.module);
  }

  manualBackward(loss: Tensor): void {
    if (this.module.automaticOptimization) {
      throw new MisconfigurationError(
        "manualBackward",
        "automaticOptimization = false",
        verbatim("automatic optimization"),
        "Return the loss from trainingStep instead; the Trainer calls backward.",
        "ERR_MANUAL_OPTIMIZATION",
      );
    }
    this.#step("manualBackward").manualBackward(loss);
  }

  wrappedOptimizers(): readonly LightningOptimizer[] {
    return this.#step("optimizers").wrapped;
  }

  clipGradients(
    optimizer: optim.Optimizer | LightningOptimizer,
    value: number | null,
    algorithm: "norm" | "value" | null,
  ): void {
    const clip = value ?? this.options.gradientClipVal;
    if (clip === null) {
      throw new MisconfigurationError(
        "clipGradients",
        "gradientClipVal, here or in the Trainer",
        null,
        undefined,
        "ERR_CLIP",
      );
    }
    const raw = optimizer instanceof LightningOptimizer ? optimizer.optimizer : optimizer;
    this.#step("clipGradients").clip(raw, clip, algorithm ?? this.options.gradientClipAlgorithm);
  }

  #step(what: string): TrainStep {
    if (this.fit === null)
      throw new MisconfigurationError(what, "a fit that is running", this.fn, undefined, "ERR_NOT_FITTING");
    return this.fit.step;
  }
}
