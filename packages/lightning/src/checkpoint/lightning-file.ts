/**
 * Checkpoints that Lightning wrote in Python, or this package in its format: files of torch.save, with weights,
 * hyperparameters and the state of training.
 */
import { Buffer } from "node:buffer";
import { closeSync, openSync, readSync, statSync } from "node:fs";
import {
  checkPath,
  isTensor,
  load,
  loadBesideThePickle,
  unpackState,
  withFile,
  type DeviceLike,
  type DType,
  type Tensor,
} from "@nbit/torch";
import { isPlainObject } from "../collections.js";
import { MisconfigurationError } from "../errors.js";
import { castStateDict, checkWeightsDtype } from "./file.js";
import { CHECKPOINT_FORMAT, type Checkpoint } from "./format.js";
import { callbacksToOurs } from "./lightning-callbacks.js";
import { loopsOf } from "./lightning-loops.js";
import { inCamelCase } from "./lightning-names.js";
import { HEADER, OWN, OWN_VERSION } from "./lightning-write.js";
import { checkCheckpoint } from "./schema.js";

type Fields = Readonly<Record<string, unknown>>;

/** What Lightning's Trainer puts into a checkpoint; anything else is a hook's. */
const THEIRS: ReadonlySet<string> = new Set([
  "epoch",
  "global_step",
  "pytorch-lightning_version",
  "state_dict",
  "loops",
  "callbacks",
  "optimizer_states",
  "lr_schedulers",
  "MixedPrecision",
  "native_amp_scaling_state",
  "hparams_name",
  "hyper_parameters",
  "hparams_type",
  "datamodule_hparams_name",
  "datamodule_hyper_parameters",
  "current_model_state",
  "averaging_state",
  OWN,
]);

export interface ReadLightningOptions {
  /** Where its tensors shall be. Default: the CPU. */
  readonly device?: DeviceLike | undefined;
  /** Of weights. Default: as they were saved. */
  readonly dtype?: DType | undefined;
  /** With the state of training. Default false. */
  readonly toGoOn?: boolean;
}

/** @internal Null: it is no file of torch.save. */
export function readLightningFile(
  path: string,
  { device = "cpu", dtype, toGoOn = false }: ReadLightningOptions = {},
): Checkpoint | null {
  checkPath("loadFromCheckpoint", path);
  if (!isTorchFile(path)) return null;
  const target = checkWeightsDtype("loadFromCheckpoint", "dtype", dtype);
  const file = load(path, { mapLocation: device });
  const state: unknown = isPlainObject(file) ? file["state_dict"] : undefined;
  const entries: readonly (readonly [unknown, unknown])[] =
    state instanceof Map ? [...state] : isPlainObject(state) ? Object.entries(state) : [];
  if (!isPlainObject(file) || entries.length === 0 || !entries.every(isWeight))
    throw new MisconfigurationError(
      "loadFromCheckpoint",
      "a checkpoint of Lightning, with state_dict",
      file,
      "Of a state dict alone: model.loadStateDict(load(path)).",
      "ERR_CHECKPOINT_FORMAT",
    );
  const stateDict = castStateDict(Object.fromEntries(entries), target);
  const added = Object.fromEntries(Object.entries(file).filter(([name]) => !THEIRS.has(name)));
  const own = ownState(path, file);
  const checkpoint: Checkpoint =
    own === null
      ? { ...added, ...averagesOf(file), stateDict, ...baseOf(file), ...(toGoOn ? trainingState(path, file) : {}) }
      : { ...added, ...currentOf(file), ...own, stateDict, ...(toGoOn ? optimizersOf(file) : {}) };
  if (own !== null) checkCheckpoint(path, checkpoint);
  return checkpoint;
}

type Base = Pick<Checkpoint, "format" | "epoch" | "globalStep" | "hyperparameters" | "datamodule">;

/** What this package added for itself: everything but weights, and states of optimizers and schedulers; null: nothing. */
function ownState(path: string, file: Fields): Base | null {
  const own = file[OWN];
  if (!isPlainObject(own)) return null;
  const { version, state, tensors } = own;
  if (version !== OWN_VERSION || typeof state !== "string" || !isPlainObject(tensors))
    throw new MisconfigurationError(
      "readCheckpoint",
      `a checkpoint whose own part is of version ${OWN_VERSION} or below`,
      version,
      `Read ${path} with a newer nbit.`,
      "ERR_CHECKPOINT_FORMAT",
    );
  const found: unknown = unpackState({ json: state, tensors: tensors as Record<string, Tensor> });
  const format: unknown = isPlainObject(found) ? found["format"] : undefined;
  if (!isPlainObject(found) || typeof format !== "number" || !(format >= 1 && format <= CHECKPOINT_FORMAT))
    throw new MisconfigurationError(
      "readCheckpoint",
      `a checkpoint of a Trainer, format ${CHECKPOINT_FORMAT} or below`,
      format,
      `Check ${path}.`,
      "ERR_CHECKPOINT_FORMAT",
    );
  return found as Base; // checked as a whole by the caller
}

function baseOf(file: Fields): Base {
  const [epoch, steps] = [file["epoch"], file["global_step"]];
  return {
    format: CHECKPOINT_FORMAT,
    epoch: typeof epoch === "number" ? epoch : 0,
    globalStep: typeof steps === "number" ? steps : 0,
    hyperparameters: inCamelCase(file["hyper_parameters"]),
    // Its state is under the name of its class, whichever that is.
    datamodule: { name: "", hyperparameters: inCamelCase(file["datamodule_hyper_parameters"]), state: {} },
  };
}

/** Of a whole checkpoint; nothing of one of weights only. Optimizers and schedulers read PyTorch's states themselves. */
function trainingState(path: string, file: Fields): Partial<Checkpoint> {
  const optimizers = optimizersOf(file);
  const { loops, global_step: steps, MixedPrecision: scaler = file["native_amp_scaling_state"] } = file;
  if (loops === undefined || optimizers.optimizerStates === undefined) return {};
  return {
    ...optimizers,
    loops: loopsOf(path, loops, typeof steps === "number" ? steps : 0),
    callbacks: callbacksToOurs(file["callbacks"]),
    // Lightning does not say which; one with a loss scale reads PyTorch's state itself.
    precision: { name: "", state: isPlainObject(scaler) ? scaler : null },
  };
}
function optimizersOf(file: Fields): Pick<Checkpoint, "optimizerStates" | "lrSchedulers"> {
  const { optimizer_states: optimizerStates, lr_schedulers: lrSchedulers } = file;
  return isList(optimizerStates) && isList(lrSchedulers) ? { optimizerStates, lrSchedulers } : {};
}
function isList(value: unknown): value is Record<string, unknown>[] {
  return Array.isArray(value) && value.every(isPlainObject);
}

/** Of a run whose weights were averaged: the weights themselves, beside the averages that `state_dict` has. */
function currentOf(file: Fields): { readonly currentModelState?: unknown } {
  const current: unknown = file["current_model_state"];
  return current === undefined
    ? {}
    : { currentModelState: current instanceof Map ? Object.fromEntries(current) : current };
}
function averagesOf(file: Fields): object {
  const { currentModelState } = currentOf(file);
  const averaging: unknown = file["averaging_state"];
  const state: unknown = averaging instanceof Map ? averaging.get("n_averaged") : undefined;
  const count: unknown = isPlainObject(averaging) ? averaging["n_averaged"] : state;
  if (!isPlainObject(currentModelState) || !isTensor(count)) return {};
  return { currentModelState, averagingState: { nAveraged: count.item(), names: Object.keys(currentModelState) } };
}

function isWeight(entry: readonly [unknown, unknown]): entry is readonly [string, Tensor] {
  return typeof entry[0] === "string" && isTensor(entry[1]);
}

/** @internal What a file that this package wrote in Lightning's format says of itself; null: it is another's. */
export function headerOfTorchFile(path: string): Readonly<Record<string, string>> | null {
  const bytes = loadBesideThePickle("readCheckpoint", path, HEADER);
  if (bytes === null) return null;
  const header: unknown = JSON.parse(Buffer.from(bytes).toString());
  return isPlainObject(header)
    ? Object.fromEntries(
        Object.entries(header).filter((entry): entry is [string, string] => typeof entry[1] === "string"),
      )
    : null;
}

/** @internal By its first bytes: an archive, or a pickle. */
export function isTorchFile(path: string): boolean {
  return withFile("loadFromCheckpoint", "read", path, () => {
    if (!statSync(path).isFile()) return false;
    const first = new Uint8Array(4);
    const fd = openSync(path, "r");
    try {
      readSync(fd, first, 0, 4, 0);
    } finally {
      closeSync(fd);
    }
    const [a, b, c, d] = first;
    return (a === 0x50 && b === 0x4b && c === 3 && d === 4) || (a === 0x80 && b === 2 && c === 0x8a);
  });
}
