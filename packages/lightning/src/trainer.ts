import {
  atMost,
  checkOptions,
  getSwitch,
  nn,
  scope,
  setSwitch,
  trimMemory,
  useDeterministicAlgorithms,
  verbatim,
} from "@nbit/torch";
import type { DType } from "@nbit/torch";
import type { Accelerator } from "./accelerators/accelerator.js";
import { resolveAccelerator } from "./accelerators/registry.js";
import type { Callback } from "./callbacks/callback.js";
import { configureCallbacks } from "./callbacks/configure.js";
import { checkWeightsDtype, SAVE, writeCheckpoint } from "./checkpoint/file.js";
import type { SaveCheckpointOptions } from "./checkpoint/file.js";
import type { Checkpoint } from "./checkpoint/format.js";
import { ModelCheckpoint } from "./checkpoint/model-checkpoint.js";
import { selectCheckpoint } from "./checkpoint/select.js";
import { dumpCheckpoint, restoreModule, restoreTraining } from "./checkpoint/state.js";
import { countFit } from "./checkpoint/launch-mark.js";
import { selectAfterRestart } from "./checkpoint/restart.js";
import { saveSharded } from "./checkpoint/sharded.js";
import { byRankZero, saveTogether } from "./checkpoint/together.js";
import { observeBatch } from "./diagnostics/observe-step.js";
import { observeWith } from "./diagnostics/report.js";
import { InterruptError, MisconfigurationError } from "./errors.js";
import { isOverridden } from "./hooks.js";
import { BEFORE_TRAINING, mustEnd } from "./promises.js";
import { Results } from "./logging/results.js";
import { CSVLogger } from "./loggers/csv.js";
import { Logger } from "./loggers/logger.js";
import { EvaluationLoop } from "./loops/evaluation.js";
import type { EvaluationKind, EvaluationResult } from "./loops/evaluation.js";
import { asLoaders, Fetcher } from "./loops/fetch.js";
import type { Loader } from "./loops/fetch.js";
import { FitLoop } from "./loops/fit.js";
import { NonFiniteWatch } from "./loops/non-finite-watch.js";
import { configureOptimizers } from "./loops/optimizers.js";
import { PredictLoop } from "./loops/predict.js";
import { FitProgress } from "./loops/progress.js";
import { SchedulerStepper } from "./loops/schedulers.js";
import { GraphedStep } from "./loops/graphed-step.js";
import { TrainStep } from "./loops/train-step.js";
import { attachHost } from "./module.js";
import type { LightningModule } from "./module.js";
import type { Precision } from "./precision/precision.js";
import { resolvePrecision, resolveValidationPrecision } from "./precision/resolve.js";
import { warnVanishingEps } from "./diagnostics/vanishing.js";
import { captureRng, disposeRng, restoreRng } from "./rng.js";
import { Run } from "./run.js";
import { checkCall, warnOfGaps, warnOfHiddenParameters } from "./run-checks.js";
import type { EvaluateOptions, FitOptions, Loaders, PredictOptions } from "./run-options.js";
import { InterruptSignal, onInterrupt, signalsDelivered } from "./signals.js";
import type { EndingSignal } from "./signals.js";
import { gatherPredictions } from "./ranks/gather-predictions.js";
import { mayRepeat, splitLoader, type LoaderUse } from "./ranks/split-loaders.js";
import { resolveProcesses } from "./strategies/processes.js";
import { resolveStrategy } from "./strategies/registry.js";
import type { Strategy } from "./strategies/strategy.js";
import { superviseRanks } from "./strategies/supervise.js";
import { resolveOptions } from "./resolve-options.js";
import type { ResolvedOptions } from "./resolve-options.js";
import type { TrainerOptions } from "./trainer-options.js";
import { TrainerState } from "./trainer-state.js";
import type { RunningStage, TrainerFn } from "./types.js";
import { isError } from "@nbit/torch/realm";

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
  readonly precision: Precision;
  /** Of validation, where `validationPrecision` was given; null: as training. */
  readonly validationPrecision: Precision | null;
  readonly strategy: Strategy;
  readonly accelerator: Accelerator;
  readonly loggers: readonly Logger[];
  readonly callbacks: readonly Callback[];
  protected readonly resolved: ResolvedOptions;
  /** Processes that a run starts before it begins, where nobody has; null: none. */
  readonly #toLaunch: number | null;

  constructor(options: TrainerOptions = {}) {
    super();
    atMost("Trainer", arguments, 1);
    this.resolved = resolveOptions(options);
    const {
      accelerator,
      strategy,
      precision,
      validationPrecision,
      ampBackend,
      ampLevel,
      plugins: given = [],
    } = this.resolved;
    this.accelerator = resolveAccelerator(accelerator);
    const plugins = Array.isArray(given) ? given : [given];
    const { count, deviceIndex, toLaunch } = resolveProcesses(this.resolved, this.accelerator);
    this.#toLaunch = toLaunch;
    const settings = { precision, ampBackend, ampLevel, plugins, accelerator: this.accelerator, deviceIndex };
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
    this.strategy = resolveStrategy(strategy, this.accelerator.device(deviceIndex), count);
    this.strategy.checkPrecision?.(this.precision, this.validationPrecision);
    this.callbacks = configureCallbacks(this.resolved);
    this.loggers = configureLoggers(this.resolved);
  }

  // What is asked of a trainer.

  /** Train. Resolves when training has ended; rejects with what ended it otherwise. */
  async fit(model: LightningModule, options: FitOptions = {}): Promise<void> {
    atMost("fit", arguments, 2);
    await this.#start(
      "fit",
      model,
      options,
      async (run) => {
        await this.#sanityCheck(run);
        if (run.checkpoint?.rng !== undefined) restoreRng(run.checkpoint.rng, this.rootDevice);
        this.#setStage("train");
        run.module.train();
        await run.fit?.loop.run();
      },
      (run) => this.#prepareFit(run, options),
    );
  }

  /** Run the validation step. @returns one record of metrics per loader. */
  async validate(model?: LightningModule, options: EvaluateOptions = {}): Promise<EvaluationResult[]> {
    atMost("validate", arguments, 2);
    return this.#evaluate("validate", model, options);
  }

  /** Run the test step. @returns one record of metrics per loader. */
  async test(model?: LightningModule, options: EvaluateOptions = {}): Promise<EvaluationResult[]> {
    atMost("test", arguments, 2);
    return this.#evaluate("test", model, options);
  }

  /**
   * Run the predict step. @returns what it returned per batch, on the CPU; per loader and batch when there are several
   * loaders. Of several processes each returns its share, or with `gather: true` all of it.
   */
  async predict(model?: LightningModule, options: PredictOptions = {}): Promise<unknown[]> {
    atMost("predict", arguments, 2);
    const predictions = await this.#start(
      "predict",
      model,
      options,
      async (run) => {
        const mine = (await run.prediction?.run()) ?? [];
        const { collectives } = run;
        return options.gather !== true || collectives === null
          ? mine
          : mine.map((of) => gatherPredictions(collectives, of));
      },
      (run) => {
        const loaders = this.#loaders("predict", options.dataloaders, loadersOf(run.module, "predictDataloader"));
        run.prediction = new PredictLoop(
          run,
          loaders.map((loader) => this.#split(run, loader, "predict")),
          this.resolved.limitPredictBatches,
          options.returnPredictions ?? true,
        );
      },
    );
    return predictions.length === 1 ? (predictions[0] ?? []) : predictions;
  }

  async #evaluate(
    kind: EvaluationKind,
    model: LightningModule | undefined,
    options: EvaluateOptions,
  ): Promise<EvaluationResult[]> {
    return this.#start(
      kind,
      model,
      options,
      (run) => (kind === "test" ? run.test : run.validation)?.run(false) ?? Promise.resolve([]),
      (run) => {
        const loop = this.#evaluationLoop(run, kind, options.dataloaders, null);
        if (kind === "test") run.test = loop;
        else run.validation = loop;
      },
    );
  }

  /**
   * Write a checkpoint. Atomic: the file is complete or absent. With `dtype: "bfloat16"` weights take half of float32's
   * room; a run that resumes from it goes on from rounded ones.
   *
   * Of several processes, every one calls it: each has a part of what is saved. Process 0 writes the file, at its
   * `path`; where that fails, it fails in all. With `stateDictType: "sharded"` of the strategy `path` is a folder, to
   * which all write, and that all must reach.
   *
   * @throws {DistributedError} `ERR_DIST_MISMATCH`: `saveCheckpoint: expected every process to call it, …`
   */
  saveCheckpoint(path: string, options: SaveCheckpointOptions = {}): void {
    atMost("Trainer.saveCheckpoint", arguments, 2);
    checkOptions("Trainer.saveCheckpoint", options, SAVE);
    const dtype = checkWeightsDtype("saveCheckpoint", "dtype", options.dtype);
    if (this.active === null)
      throw new MisconfigurationError(
        "saveCheckpoint",
        "a module, attached by fit, validate, test or predict",
        verbatim("none"),
        undefined,
        "ERR_NOT_ATTACHED",
      );
    const { active } = this;
    const weightsOnly = options.weightsOnly ?? false;
    const dump = (): Checkpoint => dumpCheckpoint(active, weightsOnly, dtype);
    const writeFile = (checkpoint: Checkpoint): void => writeCheckpoint(path, checkpoint, options.metadata);
    // After a failure there is nobody to gather from: what process 0 has is better than nothing.
    const collectives = active.failed ? null : this.strategy.collectives;
    if (collectives == null && !this.isGlobalZero) return;
    const write = (): void =>
      scope(() => {
        if (collectives == null) writeFile(dump());
        else if (this.strategy.stateDictType === "sharded")
          saveSharded(active, collectives, { path, weightsOnly, dtype, metadata: options.metadata ?? {} });
        else saveTogether(active, collectives, !weightsOnly, dump, writeFile);
      });
    const temporary = active.validation?.temporaryDtype ?? null;
    if (temporary === null) write();
    else temporary.suspended(write);
  }

  // The course of a run.

  async #start<T>(
    fn: TrainerFn,
    model: LightningModule | undefined,
    options: FitOptions | EvaluateOptions,
    body: (run: Run) => Promise<T>,
    prepare: (run: Run) => void,
  ): Promise<T> {
    checkCall(fn, model, options);
    const { ckptPath } = options;
    const module = model ?? this.attached;
    if (module === null || module === undefined)
      throw new MisconfigurationError(fn, "a module, since there was no fit before", model, undefined, "ERR_NO_MODULE");
    if (this.status === "running")
      throw new MisconfigurationError(
        fn,
        "a Trainer that is not running",
        this.state.fn ?? verbatim("one that joins the other processes"),
        "Wait for the first call, or use another Trainer.",
        "ERR_RUNNING",
      );
    const ckptDtype = checkWeightsDtype(fn, "ckptDtype", options.ckptDtype);
    const { path, run } = await this.#join(() => {
      if (fn === "fit") countFit(this);
      const path = byRankZero("ckptPath", this.strategy.collectives, this.globalRank, () =>
        ckptPath == null && fn === "fit" ? selectAfterRestart(this) : selectCheckpoint(this, ckptPath),
      );
      return { path, run: this.#newRun(fn, module) };
    });
    const result = await this.#carryOut(run, path, ckptDtype, body, prepare);
    // Nothing is left to end, but whoever sent the signal wants no more of this process.
    if (run.endingSignal !== null) throw this.#saveInterrupted(run, run.endingSignal);
    return result;
  }

  #newRun(fn: TrainerFn, module: LightningModule): Run {
    const { callbacks, precision, strategy, loggers, resolved: options } = this;
    return new Run(fn, module, { view: this, callbacks, precision, strategy, loggers, options }, this.metricStore);
  }

  /** Join the other processes, then do what they do together. Nothing has run where that fails. */
  async #join<T>(then: () => T): Promise<T> {
    const before = this.status;
    this.status = "running"; // from here on: others may call while this waits
    try {
      if (this.#toLaunch !== null) await superviseRanks(this.#toLaunch);
      await this.strategy.connect?.();
      return then();
    } catch (error) {
      this.status = before;
      throw error;
    }
  }

  async #carryOut<T>(
    run: Run,
    path: string | null,
    ckptDtype: DType | null,
    body: (run: Run) => Promise<T>,
    prepare: (run: Run) => void,
  ): Promise<T> {
    const { fn, module } = run;
    this.attached = module;
    this.lastFit = this.active?.fit?.progress ?? this.lastFit;
    this.active = run;
    this.shouldStop = false;
    attachHost(module, run);
    const stopListening = onInterrupt(run);
    const restoreSwitches = this.#setSwitches();
    try {
      shareVersions(run);
      await run.hooks.get("setup").run(fn);
      this.precision.moduleInit(() =>
        run.within("configureModel", () => mustEnd("configureModel", module.configureModel(), BEFORE_TRAINING)),
      );
      if (this.resolved.syncBatchnorm && run.collectives !== null) nn.SyncBatchNorm.convertSyncBatchnorm(module);
      // Converted first: a float64 checkpoint would lose its digits in a module that is still float32.
      scope(() => this.precision.convertModule(module));
      if (path !== null) restoreModule(run, run.open(path, ckptDtype));
      this.metricStore.reset();
      scope(() => this.strategy.setupModule(module));
      module.zeroGrad();
      prepare(run);
      if (fn === "fit") this.strategy.setupOptimizers?.(module, run.optimizers);
      this.precision.shareFoundInf(fn === "fit" ? (this.strategy.reduceFoundInf ?? null) : null);
      this.precision.connect(module, run.optimizers);
      if (fn === "fit") this.strategy.setupGradients?.(module, !module.automaticOptimization);
      run.varyRandomNumbers();
      observeWith(this.precision, (batch) => observeBatch(module, this.precision, batch));
      if (fn === "fit") {
        warnVanishingEps(run.optimizers);
        await run.hooks.get("onFitStart").run();
        await this.#logHyperparams(run);
        if (run.checkpoint !== null) await restoreTraining(run, run.checkpoint);
      }
      await signalsDelivered(); // sent during set-up
      run.vote();
      run.checkInterrupt();
      run.prepared = true;
      const result = await body(run);
      await signalsDelivered();
      run.vote();
      run.checkInterrupt();
      await run.close();
      if (fn === "fit") await run.hooks.get("onFitEnd").run();
      await run.hooks.get("teardown").run(fn);
      for (const logger of run.loggers) await logger.finalize("success");
      await signalsDelivered();
      this.status = "finished";
      return result;
    } catch (error) {
      throw await this.#fail(run, error);
    } finally {
      stopListening();
      restoreSwitches();
      this.#release(run);
      run.stage = null;
    }
  }

  /** What a run held beyond its end goes, so that the device holds what it held before and what others keep. */
  #release(run: Run): void {
    this.precision.endRun();
    trimMemory();
    try {
      run.fit?.graph?.end();
      this.strategy.endRun?.();
      this.accelerator.teardown?.();
    } catch (error) {
      // A device that is lost gives nothing back; the run's own error says what became of it.
      if (this.status !== "interrupted") throw error;
    }
  }

  /** Ends a run that failed or was interrupted, in order. Returns the error to throw. */
  async #fail(run: Run, error: unknown): Promise<unknown> {
    this.status = "interrupted";
    const interrupted = error instanceof InterruptSignal;
    run.failed = !interrupted;
    const reason = interrupted ? this.#saveInterrupted(run, error.signal) : error;
    if (!interrupted) this.strategy.fail?.(error);
    const attempt = async (end: () => unknown): Promise<void> => {
      try {
        await end();
      } catch (second) {
        if (isError(reason) && reason.cause === undefined) reason.cause = second;
      }
    };
    for (const callback of this.callbacks) await attempt(() => callback.onException(this, run.module, reason));
    await attempt(() => run.close());
    for (const logger of run.loggers) await attempt(() => logger.finalize(interrupted ? "interrupted" : "failed"));
    return reason;
  }

  #saveInterrupted(run: Run, signal: EndingSignal): InterruptError {
    const goOn = (path: string): string => `Go on with trainer.fit(model, { ckptPath: ${JSON.stringify(path)} }).`;
    if (run.fn !== "fit") return new InterruptError(`${run.fn}: interrupted.`, null, signal);
    if (!run.prepared) {
      const from = run.checkpointPath;
      return new InterruptError(
        `fit: interrupted before training began. ${from === null ? "Start it again: nothing is lost." : goOn(from)}`,
        from,
        signal,
      );
    }
    const file = this.callbacks.find((callback) => callback instanceof ModelCheckpoint)?.interruptedFile(this) ?? null;
    const steps = `${this.globalStep} steps`;
    if (file === null || this.resolved.fastDevRun !== false)
      return new InterruptError(
        `fit: interrupted after ${steps}. There is no checkpoint, since checkpointing is off.`,
        null,
        signal,
      );
    const { path, metadata } = file;
    try {
      this.saveCheckpoint(path, { metadata });
    } catch (cause) {
      const lost = new InterruptError(
        `fit: interrupted after ${steps}. Its checkpoint could not be written: ${isError(cause) ? cause.message : String(cause)}`,
        null,
        signal,
      );
      lost.cause = cause;
      return lost;
    }
    return new InterruptError(`fit: interrupted after ${steps}. ${goOn(path)}`, path, signal);
  }

  #prepareFit(run: Run, options: FitOptions): void {
    const { module } = run;
    if (!isOverridden(module, "trainingStep"))
      throw new MisconfigurationError(
        "fit",
        `${module.constructor.name || "the module"} to have a trainingStep`,
        verbatim("none"),
        undefined,
        "ERR_NO_STEP",
      );
    const [loader, second] = this.#loaders("fit", options.trainDataloaders, loadersOf(module, "trainDataloader"));
    if (loader === undefined || second !== undefined)
      throw new MisconfigurationError(
        "fit",
        "one loader of training batches",
        options.trainDataloaders,
        undefined,
        "ERR_LOADERS",
      );
    const progress = new FitProgress();
    const results = new Results(true, run.warnings);
    const mine = this.#split(run, loader, "train");
    const fetcher = new Fetcher(mine, this.resolved.limitTrainBatches, "limitTrainBatches");
    equalLengths(run, fetcher);
    run.preparing = { progress, fetcher };

    warnOfHiddenParameters(module, run.warnings);
    const configured = run.within("configureOptimizers", () => configureOptimizers(module));
    run.optimizers = configured.optimizers;
    run.schedulers = configured.schedulers;
    const mode = this.resolved.detectNonFinite;
    const watch =
      mode === false
        ? null
        : new NonFiniteWatch({
            module,
            precision: this.precision,
            device: this.strategy.rootDevice,
            progress,
            mode,
            sharded: this.strategy.stateDict !== undefined,
          });
    const step = new TrainStep({
      module,
      hooks: run.hooks,
      host: run,
      precision: this.precision,
      optimizers: configured.optimizers,
      progress,
      warnings: run.warnings,
      gradientClipVal: this.resolved.gradientClipVal,
      gradientClipAlgorithm: this.resolved.gradientClipAlgorithm,
      watch,
      strategy: this.strategy,
    });
    step.accumulate = this.#checkAccumulation(module);
    run.validation = isOverridden(module, "validationStep")
      ? this.#evaluationLoop(run, "validate", options.valDataloaders, progress)
      : null;
    warnOfGaps(
      {
        module,
        fetcher,
        optimizers: configured.optimizers,
        validationLoaders: options.valDataloaders ?? loadersOf(module, "valDataloader"),
        options: this.resolved,
        hasLoggers: this.loggers.length > 0,
        steps: this.estimatedSteppingBatches,
        resumes: run.checkpoint !== null,
      },
      run.warnings,
    );
    const schedulers = new SchedulerStepper(configured.schedulers, module, this.metricStore, run.collectives);
    const graph = this.resolved.cudaGraph
      ? new GraphedStep({
          step,
          module,
          hooks: run.hooks,
          host: run,
          precision: this.precision,
          optimizers: configured.optimizers,
          progress,
          warnings: run.warnings,
          device: this.strategy.rootDevice.toString(),
          exchange: {
            streamChanged: () => this.strategy.gradients?.streamChanged?.(),
            obstacle: this.strategy.graphObstacle ?? null,
          },
        })
      : null;
    const loop = new FitLoop(run, {
      step,
      graph,
      fetcher,
      validation: run.validation,
      schedulers,
      progress,
      results,
      mayRepeat: this.resolved.useDistributedSampler && mayRepeat(mine),
    });
    run.fit = { progress, fetcher, results, step, graph, loop };
  }

  #checkAccumulation(module: LightningModule): number {
    if (!module.automaticOptimization && this.resolved.accumulateGradBatches !== 1) {
      throw new MisconfigurationError(
        "fit",
        "accumulateGradBatches: 1 with manual optimization",
        this.resolved.accumulateGradBatches,
        "Step the optimizers in every n-th trainingStep instead.",
        "ERR_MANUAL_OPTIMIZATION",
      );
    }
    if (!module.automaticOptimization && this.resolved.gradientClipVal !== null) {
      throw new MisconfigurationError(
        "fit",
        "no gradientClipVal with manual optimization",
        this.resolved.gradientClipVal,
        "Call this.clipGradients(optimizer, { gradientClipVal }) in trainingStep instead.",
        "ERR_MANUAL_OPTIMIZATION",
      );
    }
    return this.resolved.accumulateGradBatches;
  }

  #evaluationLoop(run: Run, kind: EvaluationKind, given: Loaders, fit: FitProgress | null): EvaluationLoop | null {
    const own = kind === "validate" ? loadersOf(run.module, "valDataloader") : loadersOf(run.module, "testDataloader");
    const loaders = asLoaders(given ?? own);
    const stepName = kind === "validate" ? "validationStep" : "testStep";
    if (fit === null) {
      if (!isOverridden(run.module, stepName))
        throw new MisconfigurationError(
          kind,
          `${run.module.constructor.name || "the module"} to have a ${stepName}`,
          verbatim("none"),
          undefined,
          "ERR_NO_STEP",
        );
      this.#loaders(kind, given, own);
    } else if (loaders.length === 0) return null;
    const limit = kind === "validate" ? this.resolved.limitValBatches : this.resolved.limitTestBatches;
    const mine = loaders.map((loader) => this.#split(run, loader, "evaluate"));
    return new EvaluationLoop(run, {
      kind,
      loaders: mine,
      mayRepeat: mine.map((loader) => this.resolved.useDistributedSampler && mayRepeat(loader)),
      limit,
      precision: kind === "validate" ? this.validationPrecision : null,
      results: new Results(false, run.warnings),
      fit,
      counts: fit ?? this.lastFit,
    });
  }

  /** What this process reads of a loader. */
  #split(run: Run, loader: Loader, use: LoaderUse): Loader {
    if (run.collectives === null || !this.resolved.useDistributedSampler) return loader;
    const { worldSize: numReplicas, globalRank: rank } = this.strategy;
    const evenBatches = use === "evaluate" && run.fn === "fit" && this.strategy.forwardExchanges === true;
    return splitLoader(loader, { use, numReplicas, rank, seed: run.seed, evenBatches, warnings: run.warnings });
  }

  #loaders(fn: TrainerFn, given: Loaders, own: unknown): Loader[] {
    const loaders = asLoaders(given ?? own);
    if (loaders.length === 0)
      throw new MisconfigurationError(
        fn,
        "a loader: an iterable (or async iterable) of batches",
        given ?? own,
        "Pass it, or define it on the module.",
        "ERR_LOADERS",
      );
    return loaders;
  }

  /**
   * A few validation batches before training, so that a mistake there is found now. Random numbers are as if it had not
   * been.
   */
  async #sanityCheck(run: Run): Promise<void> {
    const { validation } = run;
    if (validation === null || this.resolved.numSanityValSteps === 0 || run.checkpoint !== null) return;
    if (validation.numSanityBatches.every((n) => n === 0)) return;
    const rng = captureRng(this.rootDevice);
    try {
      this.#setStage("sanity_check");
      await run.hooks.get("onSanityCheckStart").run();
      await validation.run(true);
      this.#setStage("sanity_check");
      await run.hooks.get("onSanityCheckEnd").run();
      this.metricStore.reset();
    } finally {
      restoreRng(rng, this.rootDevice);
      disposeRng(rng);
    }
  }

  async #logHyperparams({ module, loggers }: Run): Promise<void> {
    if (Object.keys(module.hparams).length === 0) return;
    for (const logger of loggers) await logger.logHyperparams(module.hparams);
  }

  #setStage(stage: RunningStage): void {
    if (this.active !== null) this.active.stage = stage;
  }

  #setSwitches(): () => void {
    const { deterministic, benchmark } = this.resolved;
    const before = { deterministic: getSwitch("deterministicAlgorithms"), benchmark: getSwitch("cudnnBenchmark") };
    if (deterministic !== false) useDeterministicAlgorithms(true, { warnOnly: deterministic === "warn" });
    if (benchmark !== undefined) setSwitch("cudnnBenchmark", benchmark);
    return () => {
      if (deterministic !== false) useDeterministicAlgorithms(before.deterministic);
      if (benchmark !== undefined) setSwitch("cudnnBenchmark", before.benchmark);
    };
  }
}

/** Every process trains on as many batches as the one that has the fewest. */
function equalLengths(run: Run, fetcher: Fetcher): void {
  if (run.collectives === null) return;
  const all = run.collectives.allGatherObject(fetcher.length);
  const least = Math.min(...all);
  if (all.some((length) => length !== least))
    run.warnings.warn(
      "WARN_DIST_UNEVEN",
      `fit: processes have different numbers of training batches (${all.join(", ")}): each trains on ${least} of them per epoch.`,
    );
  fetcher.limitTo(least);
}

/** Loggers of other processes know where process 0 logs, and write nothing themselves. */
function shareVersions({ fn, collectives, owner }: Run): void {
  if (collectives === null || fn === "predict" || owner.loggers.length === 0) return;
  const { isGlobalZero } = owner.strategy;
  const versions = collectives.broadcastObject(isGlobalZero ? owner.loggers.map((logger) => logger.version) : []);
  if (isGlobalZero) return;
  owner.loggers.forEach((logger, i) => {
    const version = versions[i];
    if (version !== undefined) logger.follow(version);
  });
}

/** The loaders that a module brings itself. */
function loadersOf(
  module: LightningModule,
  name: "trainDataloader" | "valDataloader" | "testDataloader" | "predictDataloader",
): unknown {
  return mustEnd(name, module[name](), BEFORE_TRAINING);
}

function configureLoggers({ logger, defaultRootDir }: ResolvedOptions): readonly Logger[] {
  if (logger === false) return [];
  if (logger === true) return [new CSVLogger(defaultRootDir)];
  const loggers: readonly unknown[] = Array.isArray(logger) ? logger : [logger];
  return loggers.map((each) => {
    if (each instanceof Logger) return each;
    throw new MisconfigurationError(
      "Trainer",
      "logger to be true, false, a Logger or a list of them",
      each,
      'Such as new CSVLogger("logs").',
      "ERR_LOGGER",
    );
  });
}
