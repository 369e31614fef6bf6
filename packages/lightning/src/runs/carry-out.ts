/** The course of a run: set-up, what it is for, and its end, however that comes. */
import { cuda, NbitError, nn, scope, trimMemory } from "@nbit/torch";
import type { DType } from "@nbit/torch";
import { isError } from "@nbit/torch/realm";
import { isDeepStrictEqual } from "node:util";
import { Callback } from "../callbacks/callback.js";
import { withCallbacksOf } from "../callbacks/configure.js";
import { PrecisionLintError } from "../callbacks/precision-lint.js";
import { AsyncCheckpointIO } from "../checkpoint/async-checkpoint-io.js";
import { restoreModule, restoreTraining } from "../checkpoint/state.js";
import { inAll } from "../checkpoint/together.js";
import { NonFiniteError } from "../diagnostics/non-finite.js";
import { forecastCheckpointsWith, type CheckpointForecast } from "../diagnostics/checkpoint-forecast.js";
import { observeCheckpoints } from "../diagnostics/observe-checkpoints.js";
import { inTraining, observeBatch } from "../diagnostics/observe-step.js";
import { observeWith } from "../diagnostics/report.js";
import { vanishingEps } from "../diagnostics/vanishing.js";
import { attachTrainer, LightningDataModule, recordedIn } from "../datamodule.js";
import { MisconfigurationError } from "../errors.js";
import { warnOfMisspeltHooks } from "../hook-names.js";
import type { Hyperparameters } from "../hyperparameters.js";
import { attachHost, hyperparametersOf, LightningModule } from "../module.js";
import type { ModuleClass } from "../module-classes.js";
import { BEFORE_TRAINING, isPromise, mustEnd, named } from "../promises.js";
import { warnTogether } from "../ranks/common-findings.js";
import type { Run } from "../run.js";
import type { Batch } from "../types.js";
import { CompiledForwards } from "../loops/compiled-forwards.js";
import { DeviceMemory } from "../loops/device-memory.js";
import { isStepCompiler } from "../strategies/step-compiler.js";
import { XLAStrategy } from "../strategies/xla.js";
import { InterruptSignal, onAbort, onInterrupt, signalsDelivered } from "../signals.js";
import { saveInterrupted } from "./interrupted.js";
import { prepareData } from "./prepare-data.js";
import { setSwitches } from "./switches.js";

export interface Course<T> {
  /** The checkpoint to go on from. */
  readonly checkpointPath: string | null;
  /** In which its weights are read; null: as they were saved. */
  readonly checkpointDtype: DType | null;
  /** Asks the run to end; null: nothing but signals to the process does. */
  readonly signal: AbortSignal | null;
  /** Makes the loops. The module is converted, restored and on its device. */
  readonly prepare: (run: Run) => void;
  /** What the run is for. */
  readonly body: (run: Run) => Promise<T>;
}

/** @throws what ended the run, after all that must be closed is closed. */
export async function carryOut<T>(run: Run, course: Course<T>): Promise<T> {
  attachHost(run.module, run);
  if (run.data.datamodule !== null) attachTrainer(run.data.datamodule, run.trainer);
  run.profiling?.setup({
    stage: run.fn,
    localRank: run.strategy.worldSize > 1 ? (run.strategy.localRank ?? 0) : null,
    logDir: run.owner.loggers.find(({ logDir }) => logDir !== null)?.logDir ?? null,
    module: run.module,
    totalSteps: () => stepsOf(run),
  });
  const stopListening = onInterrupt(run);
  const stopObeying = onAbort(run, course.signal);
  const restoreSwitches = setSwitches(run.options);
  try {
    // Aborted before: nothing begins. Several processes part at a vote only.
    if (run.collectives === null) run.checkInterrupt();
    await setUp(run, course);
    run.prepared = true;
    const result = await course.body(run);
    await endInTurn(run);
    await run.close();
    endSaving(run);
    if (run.fn === "fit") await run.hooks.get("onFitEnd").run();
    const { datamodule } = run.data;
    if (datamodule !== null) await callDataHook(run, "teardown", () => datamodule.teardown(run.fn));
    await run.hooks.get("teardown").run(run.fn);
    for (const logger of run.loggers) await logger.finalize("success");
    run.profiling?.describe();
    await signalsDelivered();
    run.status = "finished";
    return result;
  } catch (error) {
    throw await fail(run, error, course.signal?.reason);
  } finally {
    stopListening();
    stopObeying();
    restoreSwitches();
    run.profiling?.end(run.fn);
    release(run);
    run.stage = null;
  }
}

/** Batches of a run: of training in a fit. */
function stepsOf({ fn, trainer }: Run): number {
  if (fn === "fit") {
    const epochs = trainer.maxEpochs === -1 ? Infinity : trainer.maxEpochs;
    const batches = trainer.maxSteps === -1 ? Infinity : trainer.maxSteps * trainer.accumulateGradBatches;
    return Math.min(batches, trainer.numTrainingBatches * epochs);
  }
  const { numValBatches, numTestBatches, numPredictBatches } = trainer;
  const own = fn === "validate" ? numValBatches : fn === "test" ? numTestBatches : numPredictBatches;
  return own.reduce((sum, n) => sum + n, 0);
}

/** From the module as it is given to one that is converted, restored, placed and connected. */
async function setUp<T>(run: Run, { checkpointPath, checkpointDtype, prepare }: Course<T>): Promise<void> {
  const { fn, module, precision, strategy } = run;
  const { datamodule } = run.data;
  if (run.owner.trial === null)
    run.useCallbacks(run.within("configureCallbacks", () => withCallbacksOf(module, run.callbacks)));
  warnOfHookNames(run);
  await startLoggers(run);
  shareVersions(run);
  await prepareData(run);
  if (datamodule !== null) await callDataHook(run, "setup", () => datamodule.setup(fn));
  await run.hooks.get("setup").run(fn);
  precision.moduleInit(() =>
    run.within("configureModel", () => mustEnd("configureModel", module.configureModel(), BEFORE_TRAINING)),
  );
  if (run.options.syncBatchnorm && run.collectives !== null) nn.SyncBatchNorm.convertSyncBatchnorm(module);
  // Converted first: a float64 checkpoint would lose its digits in a module that is still float32.
  scope(() => precision.convertModule(module));
  if (checkpointPath !== null) restoreModule(run, run.open(checkpointPath, checkpointDtype));
  await logGraph(run);
  run.metricStore.reset();
  scope(() => strategy.setupModule(module));
  module.zeroGrad();
  await openDevice(run);
  prepare(run);
  if (fn === "fit") strategy.setupOptimizers?.(module, run.optimizers);
  const reduceFoundInf = fn === "fit" ? (strategy.reduceFoundInf ?? null) : null;
  precision.connect(module, run.optimizers, { reduceFoundInf }, fn === "fit" && run.options.cudaGraph);
  if (fn === "fit") strategy.setupGradients?.(module, !module.automaticOptimization);
  run.varyRandomNumbers();
  observeWith(precision, (batch) => observeBatch(module, precision, batch, strategy));
  forecastCheckpointsWith(precision, (batch, classes) => forecastOn(run, batch, classes));
  if (fn === "fit") {
    warnTogether(run.collectives, vanishingEps(run.optimizers));
    await run.hooks.get("onFitStart").run();
    await logHyperparams(run);
    if (run.checkpoint !== null) await restoreTraining(run, run.checkpoint);
  }
  await endInTurn(run); // signals that were sent during set-up
}

/** Where steps are compiled: the device, and what runs there that does not train. */
async function openDevice(run: Run): Promise<void> {
  const { module, strategy, warnings } = run;
  const { accelerator } = run.owner;
  if (!isStepCompiler(accelerator)) return;
  const devices = strategy instanceof XLAStrategy ? strategy.devices : 1;
  const device = await accelerator.openStepDevice(devices);
  run.deviceMemory = new DeviceMemory(device);
  run.forwards = new CompiledForwards({
    module,
    host: run,
    warnings,
    memory: run.deviceMemory,
    partitions: devices === -1 ? device.count : devices,
    float32MatmulPrecision: accelerator.float32MatmulPrecision,
  });
}

/** Of the classes of the Trainer's option, or of others. */
function forecastOn(run: Run, batch: Batch, classes: readonly ModuleClass[] | null): CheckpointForecast {
  const { module, precision, strategy, options } = run;
  const forecast = (): CheckpointForecast =>
    inTraining({ module, precision, batch, strategy }, (parts) => {
      const wait = (): void => {
        if (parts.device.type === "cuda") cuda.synchronize(parts.device);
      };
      return observeCheckpoints(parts, classes ?? options.activationCheckpointing, wait);
    });
  return run.activations?.without(forecast) ?? forecast();
}

/** All processes are here: one that was told to end ends all of them. */
async function endInTurn(run: Run): Promise<void> {
  await signalsDelivered();
  run.vote();
  run.checkInterrupt();
}

/** All checkpoints are there, or the run has failed in all processes. */
function endSaving({ collectives, owner: { checkpointIO } }: Run): void {
  const end = (): void => {
    checkpointIO.teardown();
  };
  if (collectives !== null && checkpointIO instanceof AsyncCheckpointIO) inAll("fit", collectives, end);
  else end();
}

/** What a run held beyond its end goes, so that the device holds what it held before and what others keep. */
function release(run: Run): void {
  run.precision.endRun();
  run.activations?.end();
  trimMemory();
  try {
    run.fit?.graph?.end();
    run.deviceMemory?.release(!run.failed);
    run.fit?.compiled?.end();
    run.forwards?.end();
    run.fit?.replays?.end();
    run.strategy.endRun?.();
    run.owner.accelerator.teardown?.();
  } catch (error) {
    // A device that is lost gives nothing back; the run's own error says what became of it.
    if (run.status !== "interrupted") throw error;
  }
}

function isOfAllRanks(error: unknown): boolean {
  if (error instanceof PrecisionLintError) return true;
  return error instanceof NonFiniteError
    ? error.ofAllRanks
    : error instanceof NbitError && error.code === "ERR_DIST_LOSS_SCALE";
}

/** Ends a run that failed or was interrupted, in order. Returns the error to throw. */
async function fail(run: Run, error: unknown, why: unknown): Promise<unknown> {
  run.status = "interrupted";
  const interrupted = error instanceof InterruptSignal;
  run.failed = !interrupted;
  const reason = interrupted ? saveInterrupted(run, error.signal, why) : error;
  // What all throw at the same place is news to nobody: processes stay together.
  if (!interrupted && !isOfAllRanks(error)) run.strategy.fail?.(error);
  const attempt = async (end: () => unknown): Promise<void> => {
    try {
      await end();
    } catch (second) {
      if (isError(reason) && reason.cause === undefined) reason.cause = second;
    }
  };
  for (const callback of run.callbacks) await attempt(() => callback.onException(run.trainer, run.module, reason));
  await attempt(() => run.data.datamodule?.onException(reason));
  await attempt(() => run.close());
  await attempt(() => run.owner.checkpointIO.teardown());
  for (const logger of run.loggers) await attempt(() => logger.finalize(interrupted ? "interrupted" : "failed"));
  return reason;
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

async function callDataHook(run: Run, hook: string, call: () => unknown): Promise<void> {
  const result = run.within(hook, call);
  if (isPromise(result)) await named(hook, result);
}

/** Methods of the user's that look like hooks and are none. */
function warnOfHookNames({ module, data, callbacks, warnings }: Run): void {
  warnOfMisspeltHooks(module, LightningModule, warnings);
  if (data.datamodule !== null) warnOfMisspeltHooks(data.datamodule, LightningDataModule, warnings);
  for (const callback of callbacks) warnOfMisspeltHooks(callback, Callback, warnings);
}

/** Those of the module and of the data module. */
async function startLoggers({ fn, loggers }: Run): Promise<void> {
  if (fn !== "predict") for (const logger of loggers) await logger.start();
}

/** While the module is whole, and forward is no matter of all processes. */
async function logGraph({ fn, loggers, module }: Run): Promise<void> {
  if (fn === "fit") for (const logger of loggers) await logger.logGraph(module);
}

async function logHyperparams({ module, data, loggers, options }: Run): Promise<void> {
  const all = options.enableAutologHparams ? hyperparametersFor(module, data.datamodule) : {};
  if (Object.keys(all).length === 0) return;
  for (const logger of loggers) await logger.logHyperparams(all);
}

function hyperparametersFor(module: LightningModule, datamodule: LightningDataModule | null): Hyperparameters {
  const recorded = [hyperparametersOf(module), ...(datamodule === null ? [] : [recordedIn(datamodule)])];
  const [first, second] = recorded.filter(({ logged }) => logged).map(({ initial }) => initial);
  for (const [name, value] of Object.entries(second ?? {}))
    if (first !== undefined && Object.hasOwn(first, name) && !isDeepStrictEqual(first[name], value))
      throw new MisconfigurationError(
        "fit",
        `the hyperparameter ${JSON.stringify(name)} to be the same in module and data module`,
        { module: first[name], datamodule: value },
        "Rename one of them, or save it with logger: false.",
        "ERR_HYPERPARAMETERS",
      );
  return { ...first, ...second };
}
