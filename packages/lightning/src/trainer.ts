import {
  atMost,
  autograd,
  checkArguments,
  checkOptions,
  getDefaultDevice,
  kinds,
  setDefaultDevice,
  verbatim,
} from "@nbit/torch";
import type { Accelerator } from "./accelerators/accelerator.js";
import { resolveAccelerator } from "./accelerators/registry.js";
import type { Callback } from "./callbacks/callback.js";
import { Finder, type Trials } from "./callbacks/finder.js";
import { configureCallbacks } from "./callbacks/configure.js";
import type { CheckpointIO } from "./checkpoint/checkpoint-io.js";
import { checkWeightsDtype, SAVE } from "./checkpoint/file.js";
import type { SaveCheckpointOptions } from "./checkpoint/file.js";
import { countFit } from "./checkpoint/launch-mark.js";
import { checkCheckpointIO, takeCheckpointIO } from "./checkpoint/resolve-io.js";
import { selectAfterRestart } from "./checkpoint/restart.js";
import { saveRun } from "./checkpoint/save.js";
import { selectCheckpoint } from "./checkpoint/select.js";
import { byRankZero } from "./checkpoint/together.js";
import type { LightningDataModule } from "./datamodule.js";
import { MisconfigurationError } from "./errors.js";
import { EventHub, type EventsOptions } from "./events/event-hub.js";
import type { TrainerEvent } from "./events/trainer-event.js";
import { configureLoggers } from "./loggers/configure.js";
import type { Logger } from "./loggers/logger.js";
import type { EvaluationKind, EvaluationResult } from "./loops/evaluation.js";
import { MetricStore } from "./logging/metric-store.js";
import { attachHost, hostOf, type LightningModule } from "./module.js";
import type { Precision } from "./precision/precision.js";
import { resolvePrecision, resolveValidationPrecision } from "./precision/resolve.js";
import { gatherPredictions } from "./ranks/gather-predictions.js";
import { resolveOptions } from "./resolve-options.js";
import type { ResolvedOptions } from "./resolve-options.js";
import { restoreRng } from "./rng.js";
import { Run } from "./run.js";
import { noteRun } from "./run-access.js";
import { checkCall, datamoduleOf } from "./run-checks.js";
import type { EvaluateOptions, FitOptions, MetricOptions, PredictOptions } from "./run-options.js";
import { carryOut, type Course } from "./runs/carry-out.js";
import { saveInterrupted } from "./runs/interrupted.js";
import { evaluationLoop, predictLoop, sanityCheck } from "./runs/prepare-evaluation.js";
import { prepareFit } from "./runs/prepare-fit.js";
import { configureProfiler } from "./profilers/configure.js";
import { PassThroughProfiler, type Profiler } from "./profilers/profiler.js";
import { mustEnd } from "./promises.js";
import { currentRehearsal } from "./rehearsal/rehearse.js";
import { resolveProcesses, tellOfProcesses } from "./strategies/processes.js";
import { resolveStrategy } from "./strategies/registry.js";
import { isStepCompiler } from "./strategies/step-compiler.js";
import type { Strategy } from "./strategies/strategy.js";
import { superviseRanks } from "./strategies/supervise.js";
import type { TrainerOptions } from "./trainer-options.js";
import { TrainerState } from "./trainer-state.js";
import { evaluationTable } from "./ui/evaluation-table.js";
import type { Trial } from "./tuner/trial.js";
import type { TrainerFn } from "./types.js";

/** How to try out what a call would do. For searches before a run only. */
export let trialsOf: (
  trainer: Trainer,
  fn: TrainerFn,
  module: LightningModule,
  options: FitOptions | EvaluateOptions | PredictOptions,
) => Trials;

/**
 * Trains, validates, tests and predicts with a LightningModule.
 *
 * Everything that can be wrong about its options is an error here, in the constructor.
 *
 * @throws {MisconfigurationError} `Trainer: expected precision to be one of 32, "32", … Received: 8.`
 * @example
 * const trainer = new Trainer({ accelerator: "cpu", precision: "bf16", maxEpochs: 3 });
 * await trainer.fit(model, { trainDataloaders: new DataLoader(train, { batchSize: 64, shuffle: true }) });
 */
export class Trainer extends TrainerState {
  static {
    trialsOf = (trainer, fn, module, options) => trainer.#trialsOf(fn, module, options);
  }

  readonly precision: Precision;
  /** Of validation, where `validationPrecision` was given; null: as training. */
  readonly validationPrecision: Precision | null;
  readonly strategy: Strategy;
  readonly accelerator: Accelerator;
  readonly checkpointIO: CheckpointIO;
  readonly loggers: readonly Logger[];
  /** Times what a run does; one that does nothing where none was asked for. */
  readonly profiler: Profiler;
  protected readonly devices: readonly number[];
  /** Those of the constructor. */
  readonly #callbacks: readonly Callback[];
  protected readonly resolved: ResolvedOptions;
  /** Processes that a run starts before it begins, where nobody has; null: none. */
  readonly #toLaunch: number | null;
  readonly #events = new EventHub();
  /** What runs try out; null: they are the user's. */
  #trial: Trial | null = null;

  constructor(options: TrainerOptions = {}) {
    super();
    atMost("Trainer", arguments, 1);
    this.resolved = resolveOptions(currentRehearsal()?.options(options) ?? options);
    const {
      accelerator,
      strategy,
      precision,
      validationPrecision,
      ampBackend,
      ampLevel,
      plugins: given = [],
      cpuKernels,
    } = this.resolved;
    this.accelerator = resolveAccelerator(accelerator);
    const { checkpointIO, others: plugins } = takeCheckpointIO(Array.isArray(given) ? given : [given]);
    this.checkpointIO = checkpointIO;
    const { count, deviceIndex, toLaunch, devices, onMachine } = resolveProcesses(this.resolved, this.accelerator);
    this.#toLaunch = toLaunch;
    this.devices = onMachine;
    const settings = {
      precision,
      ampBackend,
      ampLevel,
      plugins,
      accelerator: this.accelerator,
      deviceIndex,
      cpuKernels,
    };
    this.precision = resolvePrecision(settings);
    const forValidation = {
      ...settings,
      precision: validationPrecision,
      ampBackend: undefined,
      ampLevel: undefined,
      plugins: [],
    };
    this.validationPrecision =
      validationPrecision === undefined ? null : resolveValidationPrecision(forValidation, this.precision);
    this.strategy = isStepCompiler(this.accelerator)
      ? this.accelerator.strategyFor(strategy, devices)
      : resolveStrategy(strategy, this.accelerator.device(deviceIndex), count);
    checkCheckpointIO(checkpointIO, this.strategy);
    tellOfProcesses(this.precision, this.strategy, count);
    this.strategy.checkPrecision?.(this.precision, this.validationPrecision);
    this.#callbacks = configureCallbacks(this.resolved);
    this.loggers = configureLoggers(this.resolved);
    this.profiler = configureProfiler(this.resolved.profiler);
  }

  /** Those of the constructor, with those that the module of the latest run configures. */
  get callbacks(): readonly Callback[] {
    return this.active?.callbacks ?? this.#callbacks;
  }

  /**
   * Run `fn`, which builds a module, so that its parameters are made on this Trainer's device and in the dtype of its
   * precision: a large model is not made in float32 on the CPU first.
   *
   * @returns What `fn` returns.
   */
  initModule<T>(fn: () => T): T {
    atMost("Trainer.initModule", arguments, 1);
    checkArguments("Trainer.initModule", { fn }, { fn: kinds.callable });
    const before = getDefaultDevice();
    setDefaultDevice(this.rootDevice);
    try {
      return this.precision.moduleInit(() => mustEnd("initModule", fn(), "Wait for what it needs before."));
    } finally {
      setDefaultDevice(before);
    }
  }

  // What is asked of a trainer.

  /** Train. Resolves when training has ended; rejects with what ended it otherwise. */
  async fit(model: LightningModule, options: FitOptions = {}): Promise<void> {
    atMost("fit", arguments, 2);
    const fit = (): Promise<void> => this.#fit(model, options);
    await (currentRehearsal()?.fit(this, fit) ?? fit());
  }

  async #fit(model: LightningModule, options: FitOptions): Promise<void> {
    await this.#start("fit", model, options, {
      prepare: (run) => prepareFit(run, options),
      body: async (run) => {
        await sanityCheck(run);
        const rng = run.checkpoint?.rng;
        if (rng !== undefined) restoreRng(rng, this.rootDevice);
        if (rng?.device != null) run.fit?.compiled?.loadRandomState(rng.device);
        run.stage = "train";
        run.module.train();
        await this.#watchingAnomalies(async () => run.fit?.loop.run());
      },
    });
  }

  async #watchingAnomalies(train: () => Promise<void>): Promise<void> {
    if (!this.resolved.detectAnomaly || autograd.isAnomalyEnabled()) return train();
    autograd.setDetectAnomaly(true);
    try {
      await train();
    } finally {
      autograd.setDetectAnomaly(false);
    }
  }

  /** Run the validation step. @returns one record of metrics per loader. */
  async validate(model?: LightningModule, options: MetricOptions = {}): Promise<EvaluationResult[]> {
    atMost("validate", arguments, 2);
    return this.#evaluate("validate", model, options);
  }

  /** Run the test step. @returns one record of metrics per loader. */
  async test(model?: LightningModule, options: MetricOptions = {}): Promise<EvaluationResult[]> {
    atMost("test", arguments, 2);
    return this.#evaluate("test", model, options);
  }

  /**
   * Run the predict step. @returns what it returned per batch, on the CPU; per loader and batch when there are several
   * loaders. Of several processes each returns its share, or with `gather: true` all of it.
   */
  async predict(model?: LightningModule, options: PredictOptions = {}): Promise<unknown[]> {
    atMost("predict", arguments, 2);
    const predictions = await this.#start("predict", model, options, {
      prepare: (run) => {
        run.prediction = predictLoop(run, options);
      },
      body: async (run) => {
        const mine = (await run.prediction?.run()) ?? [];
        const { collectives } = run;
        return options.gather !== true || collectives === null
          ? mine
          : mine.map((of) => gatherPredictions(collectives, of));
      },
    });
    return predictions.length === 1 ? (predictions[0] ?? []) : predictions;
  }

  async #evaluate(
    kind: EvaluationKind,
    model: LightningModule | undefined,
    options: MetricOptions,
  ): Promise<EvaluationResult[]> {
    const place = kind === "test" ? "test" : "validation";
    const { verbose = false, ...rest } = options;
    const results = await this.#start(kind, model, options, {
      prepare: (run) => {
        run[place] = evaluationLoop(run, kind, rest.dataloaders, null);
      },
      body: (run) => run[place]?.run(false) ?? Promise.resolve([]),
    });
    if (verbose && this.isGlobalZero) console.log(evaluationTable(kind, results));
    return results;
  }

  /**
   * Write a checkpoint. Atomic: the file is complete or absent. With `dtype: "bfloat16"` weights take half of float32's
   * room; a run that resumes from it goes on from rounded ones.
   *
   * Of several processes, every one calls it: each has a part of what is saved. Process 0 writes the file, at its
   * `filepath`; where that fails, it fails in all. With `stateDictType: "sharded"` of the strategy that is a folder, to
   * which all write, and that all must reach.
   *
   * With `format: "lightning"` it is a file that Lightning reads in Python, whatever the name: weights, optimizers,
   * schedules, callbacks, hyperparameters and the place in the epoch, in PyTorch's names.
   *
   * @throws {DistributedError} `ERR_DIST_MISMATCH`: `saveCheckpoint: expected every process to call it, …`
   */
  saveCheckpoint(filepath: string, options: SaveCheckpointOptions = {}): void {
    atMost("Trainer.saveCheckpoint", arguments, 2);
    checkOptions("Trainer.saveCheckpoint", options, SAVE);
    const dtype = checkWeightsDtype("saveCheckpoint", "dtype", options.dtype);
    const { active } = this;
    if (active === null)
      throw new MisconfigurationError(
        "saveCheckpoint",
        "a module, attached by fit, validate, test or predict",
        verbatim("none"),
        undefined,
        "ERR_NOT_ATTACHED",
      );
    const { weightsOnly = false, metadata, storageOptions, format } = options;
    const save = (): void => {
      saveRun(active, { path: filepath, weightsOnly, dtype, metadata, storageOptions, format });
    };
    const tell = active.events.savesCheckpoint(filepath);
    if (active.profiling === null) save();
    else active.profiling.run("save_checkpoint", save);
    this.checkpointIO.whenSaved(tell);
  }

  /**
   * What happens in the run in progress, or, where there is none, in the next: stages, batches with their metrics,
   * checkpoints, skipped steps, warnings, the end, after which it is over. Each call is one reader, who may leave at any
   * time by `break`. A run waits for nobody: of more than `bufferSize` events that nobody has read, the oldest batches
   * are dropped, which a `dropped` event tells. Searches before a run are no part of it.
   *
   * Read it beside the run that it is of. Costs nothing while nobody reads; a reader of batches waits for a GPU at each
   * `batchEnd` (`everyNBatches` makes them fewer).
   *
   * @throws {MisconfigurationError} `ERR_EVENTS`: `Trainer.events: expected everyNBatches to be …`
   * @example
   * const show = async () => {
   *   for await (const event of trainer.events())
   *     if (event.type === "epochEnd") console.log(event.epoch, event.metrics.loss);
   * };
   * await Promise.all([trainer.fit(model, { trainDataloaders }), show()]);
   */
  events(options: EventsOptions = {}): AsyncIterableIterator<TrainerEvent> {
    atMost("Trainer.events", arguments, 1);
    return this.#events.open(options);
  }

  /** A call, after which its events are over; those of trials are none. */
  async #start<T>(
    fn: TrainerFn,
    model: LightningModule | undefined,
    options: FitOptions | EvaluateOptions,
    course: Pick<Course<T>, "prepare" | "body">,
  ): Promise<T> {
    if (this.#trial !== null || this.state.status === "running") return this.#call(fn, model, options, course);
    try {
      const result = await this.#call(fn, model, options, course);
      await this.#events.end({ type: "end", fn, status: "finished" });
      return result;
    } catch (error) {
      await this.#events.end({ type: "end", fn, status: "interrupted", error });
      throw error;
    }
  }

  /** What each call does: checks, the other processes, the checkpoint to go on from, and the run. */
  async #call<T>(
    fn: TrainerFn,
    model: LightningModule | undefined,
    options: FitOptions | EvaluateOptions,
    course: Pick<Course<T>, "prepare" | "body">,
  ): Promise<T> {
    checkCall(fn, model, options);
    const datamodule = datamoduleOf(fn, options);
    const module = model ?? this.attached;
    if (module === null || module === undefined)
      throw new MisconfigurationError(fn, "a module, since there was no fit before", model, undefined, "ERR_NO_MODULE");
    if (this.state.status === "running")
      throw new MisconfigurationError(
        fn,
        "a Trainer that is not running",
        this.joining ? verbatim("one that joins the other processes") : this.state.fn,
        "Wait for the first call, or use another Trainer.",
        "ERR_RUNNING",
      );
    const checkpointDtype = checkWeightsDtype(fn, "ckptDtype", options.ckptDtype);
    const { begun, checkpointPath } = await this.#join(() => {
      if (this.#trial !== null) return { begun: this.#newRun(fn, module, datamodule), checkpointPath: null };
      if (fn === "fit") countFit(this);
      const checkpointPath = byRankZero("ckptPath", this.strategy.collectives, this.globalRank, () =>
        options.ckptPath == null && fn === "fit" ? selectAfterRestart(this) : selectCheckpoint(this, options.ckptPath),
      );
      const anew = fn !== "fit" || checkpointPath === null;
      const searches = anew && this.callbacks.some((callback) => callback instanceof Finder);
      return { begun: searches ? null : this.#newRun(fn, module, datamodule), checkpointPath };
    });
    const run = begun ?? (await this.#newRunAfterSearches(fn, module, options));
    run.events.start();
    const signal = options.signal ?? null;
    const result = await carryOut(run, { ...course, signal, checkpointPath, checkpointDtype });
    // Nothing is left to end, but whoever sent the signal wants no more of this process.
    if (run.endingSignal !== null) throw saveInterrupted(run, run.endingSignal, signal?.reason);
    return result;
  }

  /** Join the other processes, then do what they do together. Nothing has run where that fails. */
  async #join<T>(then: () => T): Promise<T> {
    this.joining = true; // others may call while this waits
    try {
      if (this.#toLaunch !== null) await superviseRanks(this.#toLaunch);
      await this.strategy.connect?.();
      return then();
    } finally {
      this.joining = false;
    }
  }

  async #newRunAfterSearches(
    fn: TrainerFn,
    module: LightningModule,
    options: FitOptions | EvaluateOptions,
  ): Promise<Run> {
    for (const callback of this.callbacks)
      if (callback instanceof Finder) await callback.search(this.#trialsOf(fn, module, options));
    return this.#newRun(fn, module, datamoduleOf(fn, options));
  }
  #trialsOf(fn: TrainerFn, module: LightningModule, given: FitOptions | EvaluateOptions | PredictOptions): Trials {
    const { ckptPath: _path, ckptDtype: _dtype, ...options } = given;
    const run = (trial: Trial): Promise<void> => this.#tryOut(trial, fn, module, options);
    return { trainer: this, module, datamodule: datamoduleOf(fn, given), fn, options, run };
  }
  /** A run between others, which know nothing of it. */
  async #tryOut(trial: Trial, fn: TrainerFn, module: LightningModule, options: object): Promise<void> {
    const { active, attached, lastFit, shouldStop } = this;
    const host = hostOf(module);
    this.#trial = trial;
    try {
      await this[fn](module, fn === "predict" ? { ...options, returnPredictions: false } : options);
    } finally {
      this.#trial = null;
      Object.assign(this, { active, attached, lastFit, shouldStop });
      noteRun(this, active);
      attachHost(module, host);
    }
  }

  #newRun(fn: TrainerFn, module: LightningModule, datamodule: LightningDataModule | null): Run {
    const { precision, validationPrecision, strategy, accelerator, checkpointIO } = this;
    const trial = this.#trial;
    // A trial is no part of the run that it is for.
    const profiler = trial === null ? this.profiler : new PassThroughProfiler();
    const { loggers, callbacks } = trial === null ? this : { loggers: [], callbacks: trial.callbacks };
    const options = trial === null ? this.resolved : { ...this.resolved, ...trial.options };
    this.lastFit = this.active?.fit?.progress ?? this.lastFit;
    const { lastFit } = this;
    const owner = {
      view: this,
      precision,
      validationPrecision,
      strategy,
      accelerator,
      checkpointIO,
      loggers,
      callbacks,
      datamodule,
      profiler,
      options,
      events: trial === null ? this.#events : new EventHub(),
      lastFit,
      trial,
    };
    this.attached = module;
    this.shouldStop = false;
    this.active = new Run(fn, module, owner, trial === null ? this.metricStore : new MetricStore());
    noteRun(this, this.active);
    return this.active;
  }
}
