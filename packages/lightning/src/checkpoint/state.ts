import { withFloat8Histories } from "@nbit/lowbit";
import { NbitError, noGrad, optim, plainText, scope, verbatim } from "@nbit/torch";
import type { DType, nn, Tensor } from "@nbit/torch";
import { stateOfDatamodule } from "./datamodule-state.js";
import { castStateDict } from "./file.js";
import { MisconfigurationError } from "../errors.js";
import { AT_ONCE, mustEnd } from "../promises.js";
import { checkRng, rngState, type RngState } from "../rng.js";
import { logStates } from "../loggers/states.js";
import type { Run } from "../run.js";
import { warn } from "../warnings.js";
import { CHECKPOINT_FORMAT } from "./format.js";
import type { Checkpoint } from "./format.js";
import type { SplitState } from "./split-state.js";
import { damaged } from "./schema.js";
import { placedIn } from "./world-size.js";
import { Undo } from "./undo.js";

/**
 * Gathers what a checkpoint holds. Tensors are the live ones: write it before anything changes them.
 * @param split - Weights and optimizers' states as they are saved in parts.
 */
export function dumpCheckpoint(
  run: Run,
  weightsOnly: boolean,
  dtype: DType | null = null,
  split: Pick<SplitState, "stateDict" | "optimizerStates"> | null = null,
): Checkpoint {
  const { module, trainer } = run;
  const checkpoint: Checkpoint = {
    format: CHECKPOINT_FORMAT,
    epoch: trainer.currentEpoch,
    globalStep: trainer.globalStep,
    stateDict:
      split?.stateDict ??
      castStateDict(
        Object.fromEntries(run.strategy.stateDict?.(module) ?? module.stateDict({ keepVars: true })),
        dtype,
      ),
    hyperparameters: { ...module.hparams },
    moduleName: module.constructor.name,
    ...datamoduleOf(run),
    ...(weightsOnly ? {} : trainingState(run, split)),
  };
  if (!weightsOnly)
    for (const callback of run.callbacks)
      mustEnd("onSaveCheckpoint", callback.onSaveCheckpoint(trainer, module, checkpoint), AT_ONCE);
  mustEnd("onSaveCheckpoint", module.onSaveCheckpoint(checkpoint), AT_ONCE);
  return checkpoint;
}

function datamoduleOf({ data: { datamodule } }: Run): Pick<Checkpoint, "datamodule"> {
  if (datamodule === null) return {};
  const state = mustEnd("stateDict", datamodule.stateDict(), AT_ONCE);
  const hyperparameters = { ...datamodule.hparams };
  if (Object.keys(state).length + Object.keys(hyperparameters).length === 0) return {};
  return { datamodule: { name: datamodule.constructor.name, hyperparameters, state } };
}

function trainingState(run: Run, split: Pick<SplitState, "optimizerStates"> | null): Partial<Checkpoint> {
  const callbacks: Record<string, Record<string, unknown>> = {};
  for (const callback of run.callbacks) {
    const state = mustEnd("stateDict", callback.stateDict(), AT_ONCE);
    if (Object.keys(state).length > 0) callbacks[callback.stateKey] = state;
  }
  const { fit } = run;
  return {
    precision: { name: run.precision.name, state: run.precision.stateDict() },
    optimizerStates:
      split?.optimizerStates ??
      run.optimizers.map((optimizer) => ({
        ...(run.strategy.optimizerState?.(run.module, optimizer) ?? optimizer.stateDict()),
      })),
    lrSchedulers: run.schedulers.map(({ scheduler }) => ({ ...mustEnd("stateDict", scheduler.stateDict(), AT_ONCE) })),
    callbacks,
    rng: rngOf(run),
    ...(fit === null
      ? {}
      : {
          loops: {
            progress: fit.progress.stateDict(),
            fetcher: fit.fetcher.stateDict(),
            batchSize: fit.fetcher.batchSize,
            metrics: fit.results.stateDict(),
            metricObjects: fit.results.objectStates(),
            callbackMetrics: run.metricStore.stateDict(),
            ...(run.options.reloadDataloadersEveryNEpochs === 0 ? {} : { loaded: fit.loop.loaded }),
            gradients: fit.progress.windowOpen ? gradientsOf(run) : null,
            ...(run.strategy.bucketOrder == null ? {} : { bucketOrder: run.strategy.bucketOrder }),
            ...(run.validation === null ? {} : { validation: run.validation.stateDict() }),
          },
          ...(run.loggers.length === 0 ? {} : { loggers: run.validation?.logsBefore ?? logStates(run.loggers) }),
        }),
  };
}

function rngOf({ strategy, fit }: Run): RngState {
  const state = rngState(strategy.rootDevice);
  return fit?.compiled == null ? state : { ...state, device: fit.compiled.randomState() };
}

function gradientsOf(run: Run): Record<string, Tensor> {
  const whole = run.strategy.gradientDict?.(run.module);
  if (whole !== undefined) return Object.fromEntries(whole);
  const gradients: Record<string, Tensor> = {};
  for (const [name, parameter] of run.module.namedParameters()) {
    const gradient = run.precision.gradients.of(parameter);
    if (gradient !== null) gradients[name] = gradient;
  }
  return gradients;
}

/**
 * Weights and callbacks: when the module has its dtypes, before it goes to its device and its optimizers are made. What
 * is refused leaves both as they were.
 */
export function restoreModule(run: Run, checkpoint: Checkpoint): void {
  const { module, trainer } = run;
  if (run.fn === "fit") checkWindow(run, checkpoint);
  mustEnd("onLoadCheckpoint", module.onLoadCheckpoint(checkpoint), AT_ONCE);
  const { stored } = run;
  // Process 0's weights are everybody's as soon as the module is set up.
  const read = (placeholder: Tensor): Tensor | null =>
    run.collectives === null || run.strategy.isGlobalZero ? (stored?.whole(placeholder) ?? placeholder) : null;
  const options = { strict: module.strictLoading, ...(stored === null ? {} : { read }) };
  const undo = new Undo();
  // Only a fit goes on to what may still be refused: the state of training.
  if (run.fn === "fit") undo.keepWeights(module);
  run.restoring = undo;
  undo.guard(() => {
    try {
      module.loadStateDict(withFloat8Histories(module, checkpoint.stateDict), options);
    } catch (error) {
      throw explainFrozen(error, module, checkpoint);
    }
    restoreDatamodule(run, checkpoint, undo);
    for (const callback of run.callbacks) {
      mustEnd("onLoadCheckpoint", callback.onLoadCheckpoint(trainer, module, checkpoint), AT_ONCE);
      const state = checkpoint.callbacks?.[callback.stateKey];
      if (state === undefined) continue;
      const before = mustEnd("stateDict", callback.stateDict(), AT_ONCE);
      undo.add(() => {
        mustEnd("loadStateDict", callback.loadStateDict(before), AT_ONCE);
      });
      mustEnd("loadStateDict", callback.loadStateDict(state), AT_ONCE);
    }
  });
}

function restoreDatamodule({ data: { datamodule } }: Run, checkpoint: Checkpoint, undo: Undo): void {
  if (datamodule === null) return;
  const state = stateOfDatamodule(checkpoint, datamodule.constructor.name);
  if (Object.keys(state).length === 0) return;
  const before = mustEnd("stateDict", datamodule.stateDict(), AT_ONCE);
  undo.add(() => {
    mustEnd("loadStateDict", datamodule.loadStateDict(before), AT_ONCE);
  });
  mustEnd("loadStateDict", datamodule.loadStateDict(state), AT_ONCE);
}

/** Codes of frozen weights have one form only. */
function explainFrozen(error: unknown, module: nn.Module, { stateDict }: Checkpoint): unknown {
  const frozen = (keys: Iterable<string>): boolean => [...keys].some((key) => /(^|\.)weight_absmax$/.test(key));
  if (
    !(error instanceof NbitError) ||
    error.code !== "STATE_DICT_MISMATCH" ||
    !(frozen(Object.keys(stateDict)) || frozen(module.stateDict({ keepVars: true }).keys()))
  )
    return error;
  return new NbitError(
    `${error.message} Weights that are frozen in nf4, fp4 or int8 go on in the QuantizedPrecision that they were saved in; for another, load the weights that they were made from into the module, and begin without ckptPath.`,
    error.code,
    { cause: error },
  );
}

/**
 * Precision, optimizers, schedulers and the place in the epoch: once all of them exist. Random numbers come last, when
 * nothing draws any more. What is refused leaves weights and callbacks as they were before the run.
 */
export async function restoreTraining(run: Run, checkpoint: Checkpoint): Promise<void> {
  const undo = run.restoring ?? new Undo();
  run.restoring = null;
  await undo.guardAsync(() => restoreAll(run, checkpoint));
  undo.forget();
  run.forgetCheckpoint();
}

async function restoreAll(run: Run, checkpoint: Checkpoint): Promise<void> {
  const { fit } = run;
  if (fit === null) return;
  const { optimizerStates, lrSchedulers, precision, ...training } = trainingOf(run, checkpoint);
  const loops = placedIn(run, checkpoint, training.loops);
  const { progress, fetcher } = loops;
  if (precision.name !== "" && precision.name !== run.precision.name) {
    warn(
      "WARN_RESUME_PRECISION",
      plainText(
        `fit: the checkpoint was made with precision ${precision.name}; training goes on with ${run.precision.name}.`,
      ),
    );
  }
  if (precision.state !== null) run.precision.loadStateDict(precision.state);
  for (const [name, parameter] of run.module.namedParameters()) optim.setParameterName(parameter, name);
  run.optimizers.forEach((optimizer, i) => {
    const state = optimizerStates[i] ?? {};
    if (run.strategy.loadOptimizerState === undefined) optimizer.loadStateDict(state);
    else run.strategy.loadOptimizerState(run.module, optimizer, state, run.stored?.read);
  });
  run.schedulers.forEach(({ scheduler }, i) =>
    mustEnd("loadStateDict", scheduler.loadStateDict(lrSchedulers[i] ?? {}), AT_ONCE),
  );

  fit.results.loadStateDict(loops.metrics);
  fit.results.loadObjectStates(loops.metricObjects ?? [], run.module);
  run.metricStore.loadStateDict(loops.callbackMetrics);
  if (loops.gradients !== null) restoreGradients(run, loops.gradients);
  run.strategy.restoreBucketOrder?.(loops.bucketOrder ?? null);
  restoreBuffers(run, checkpoint.rankBuffers ?? {});
  if (progress.phase === "between_epochs" || progress.phase === "epoch_end") fit.fetcher.resumeBetweenEpochs(fetcher);
  else await fit.fetcher.resume(fetcher, progress.epoch);
  fit.progress.loadStateDict(progress);
  if (loops.loaded !== undefined) fit.loop.loaded = loops.loaded;
  if (loops.validation !== undefined) run.validation?.loadStateDict(loops.validation);
  // Last, as it cannot be taken back: logs are cut back to where the checkpoint was.
  checkpoint.loggers?.forEach(({ name, state }, i) => {
    const logger = run.loggers[i];
    if (logger?.constructor.name === name) mustEnd("loadStateDict", logger.loadStateDict(state), AT_ONCE);
  });
}

/**
 * The state of training in a checkpoint. @throws {MisconfigurationError} where there is none, or where it is of another
 * training.
 */
function trainingOf(
  run: Run,
  { loops, optimizerStates, lrSchedulers, precision, rng }: Checkpoint,
): Required<Pick<Checkpoint, "loops" | "optimizerStates" | "lrSchedulers" | "precision">> {
  if (loops === undefined || optimizerStates === undefined || lrSchedulers === undefined || precision === undefined) {
    throw new MisconfigurationError(
      "fit",
      "a checkpoint with the state of training",
      verbatim(`${run.checkpointPath}, which holds weights only`),
      "Load it with loadFromCheckpoint, or pass it to validate, test or predict.",
      "ERR_RESUME_WEIGHTS_ONLY",
    );
  }
  if (optimizerStates.length !== run.optimizers.length || lrSchedulers.length !== run.schedulers.length) {
    throw new MisconfigurationError(
      "fit",
      `a checkpoint of ${run.optimizers.length} optimizers and ${run.schedulers.length} schedulers, as configureOptimizers returns`,
      verbatim(`${optimizerStates.length} and ${lrSchedulers.length}`),
      undefined,
      "ERR_RESUME_OPTIMIZERS",
    );
  }
  const { epoch } = loops.progress;
  if (run.options.maxEpochs !== -1 && epoch > run.options.maxEpochs) {
    throw new MisconfigurationError(
      "fit",
      `maxEpochs of at least the ${epoch} epochs that the checkpoint has behind it`,
      run.options.maxEpochs,
      undefined,
      "ERR_RESUME_EPOCHS",
    );
  }
  if (rng !== undefined) checkRng(rng, run.strategy.rootDevice);
  if (loops.gradients !== null) checkGradients(run, loops.gradients);
  return { loops, optimizerStates, lrSchedulers, precision };
}

/** Nothing in a file of format 1 tells whether its gradients are scaled. Only a scale of 1 makes no difference. */
function checkWindow(run: Run, { format, loops, precision }: Checkpoint): void {
  if (format > 1 || Object.keys(loops?.gradients ?? {}).length === 0 || !scaled(precision?.state)) return;
  throw new MisconfigurationError(
    "fit",
    "unscaled gradients in a checkpoint from inside an accumulation window",
    verbatim(`${run.checkpointPath}, of format 1, which may hold them multiplied by the loss scale`),
    "Go on from a checkpoint of the end of a window, or pass this one's weights on with loadFromCheckpoint.",
    "ERR_RESUME_WINDOW",
  );
}
/** Whether a precision's state has a loss scale other than 1: the native scaler's, or one of APEX's. */
function scaled(state: Readonly<Record<string, unknown>> | null | undefined): boolean {
  return Object.entries(state ?? {}).some(
    ([name, value]) =>
      (name === "scale" && value !== 1) ||
      (/^loss_scaler\d+$/.test(name) && (value as { loss_scale?: unknown } | null)?.loss_scale !== 1),
  );
}

function checkGradients(run: Run, gradients: Record<string, Tensor>): void {
  for (const [name, parameter] of run.module.namedParameters()) {
    const gradient = gradients[name];
    const { shape } = optim.shardOf(parameter) ?? parameter;
    if (gradient !== undefined && gradient.shape.join() !== shape.join())
      throw damaged(
        "fit",
        `loops.gradients.${name} to have the shape [${shape.join(", ")}] of its parameter`,
        gradient,
      );
  }
}

/** Running statistics that processes have not exchanged. */
function restoreBuffers(run: Run, buffers: Readonly<Record<string, Tensor>>): void {
  noGrad(() => {
    for (const [name, buffer] of run.module.namedBuffers()) {
      const saved = buffers[name];
      if (saved !== undefined) buffer.detach().copy_(saved);
    }
  });
}

function restoreGradients(run: Run, gradients: Record<string, Tensor>): void {
  noGrad(() => {
    for (const [name, parameter] of run.module.namedParameters()) {
      const gradient = gradients[name];
      if (gradient === undefined) continue;
      scope(() => run.precision.gradients.set(parameter, run.stored?.whole(gradient) ?? gradient));
    }
  });
}
