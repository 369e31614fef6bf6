/** Checkpoints as Lightning writes them in Python: it reads them, and so does this package, with all that it needs. */
import { Buffer } from "node:buffer";
import { checkPath, packState, saveTorchFile, scope, tensor } from "@nbit/torch";
import { isPlainObject } from "../collections.js";
import { makeFolderOf } from "./file.js";
import type { Checkpoint } from "./format.js";
import { callbacksToTheirs } from "./lightning-callbacks.js";
import { lightningLoops } from "./lightning-loops.js";
import { inSnakeCase } from "./lightning-names.js";

/** The layout below is that of Lightning 2.0 and later. */
const LIGHTNING = "2.0.0";
/** What only this package reads, and under which name; a reader refuses newer ones. */
export const OWN = "nbit";
export const OWN_VERSION = 1;
/** In the archive, beside the pickle: texts of the header. */
export const HEADER = "nbit.json";

/** Atomic: the file is complete or absent. Its folder is made when missing. */
export function writeLightningFile(
  path: string,
  checkpoint: Checkpoint,
  metadata: Readonly<Record<string, string>> = {},
): void {
  checkPath("saveCheckpoint", path);
  makeFolderOf(path);
  scope(() => {
    const beside = { [HEADER]: Buffer.from(JSON.stringify(metadata)) };
    saveTorchFile("saveCheckpoint", toLightning(checkpoint), path, { beside });
  });
}

/** Names of optimizers' and schedulers' states are PyTorch's once they are in the file. */
function toLightning(checkpoint: Checkpoint): Record<string, unknown> {
  const { format, epoch, globalStep, stateDict, hyperparameters, moduleName, datamodule, ...rest } = checkpoint;
  const { precision, optimizerStates, lrSchedulers, callbacks, loops, loggers, rng, ranks, rankBuffers, ...added } =
    rest;
  const training = loops !== undefined && optimizerStates !== undefined && lrSchedulers !== undefined;
  const scaler = scalerOf(precision?.state);
  const own = {
    format,
    epoch,
    globalStep,
    hyperparameters,
    moduleName,
    datamodule,
    averagingState: added["averagingState"],
  };
  const state = { precision, callbacks, loops, loggers, rng, ranks, rankBuffers };
  return {
    ...averages(added),
    epoch,
    global_step: globalStep,
    "pytorch-lightning_version": LIGHTNING,
    state_dict: new Map(Object.entries(stateDict)),
    ...(training
      ? {
          loops: lightningLoops(loops),
          callbacks: callbacksToTheirs(callbacks ?? {}),
          optimizer_states: optimizerStates,
          lr_schedulers: lrSchedulers,
        }
      : {}),
    ...(scaler === null ? {} : { MixedPrecision: scaler }),
    ...(Object.keys(hyperparameters).length === 0
      ? {}
      : { hparams_name: "kwargs", hyper_parameters: inSnakeCase(hyperparameters) }),
    ...(datamodule === undefined
      ? {}
      : {
          ...(Object.keys(datamodule.hyperparameters).length === 0
            ? {}
            : {
                datamodule_hparams_name: "kwargs",
                datamodule_hyper_parameters: inSnakeCase(datamodule.hyperparameters),
              }),
          ...(Object.keys(datamodule.state).length === 0 ? {} : { [datamodule.name]: inSnakeCase(datamodule.state) }),
        }),
    [OWN]: { version: OWN_VERSION, ...packed({ ...own, ...state }) },
  };
}

/** What has no place in Lightning's file. Tensors that stand in both take their room once. */
function packed(state: Readonly<Record<string, unknown>>): Readonly<Record<string, unknown>> {
  const { json, tensors } = packState(Object.fromEntries(Object.entries(state).filter(([, v]) => v !== undefined)));
  return { state: json, tensors };
}

function scalerOf(state: Readonly<Record<string, unknown>> | null | undefined): Record<string, unknown> | null {
  if (state?.["growthFactor"] === undefined) return null;
  const { scale, growthFactor, backoffFactor, growthInterval, growthTracker } = state;
  return {
    scale,
    growth_factor: growthFactor,
    backoff_factor: backoffFactor,
    growth_interval: growthInterval,
    _growth_tracker: growthTracker,
  };
}

/** What hooks added, among it weights beside their averages. */
function averages({ currentModelState, averagingState, ...added }: Readonly<Record<string, unknown>>): object {
  if (!isPlainObject(averagingState)) return added;
  const nAveraged = tensor(Number(averagingState["nAveraged"]), { dtype: "int64" });
  return { ...added, current_model_state: currentModelState, averaging_state: { n_averaged: nAveraged } };
}
