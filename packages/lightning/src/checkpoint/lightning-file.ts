/** Checkpoints that Lightning wrote in Python: files of torch.save, with weights, hyperparameters and the state of training. */
import { closeSync, openSync, readSync, statSync } from "node:fs";
import { checkPath, isTensor, load, withFile, type DType, type Tensor } from "@nbit/torch";
import { isPlainObject } from "../collections.js";
import { MisconfigurationError } from "../errors.js";
import { castStateDict, checkWeightsDtype } from "./file.js";
import { CHECKPOINT_FORMAT, type Checkpoint } from "./format.js";
import { loopsOf } from "./lightning-loops.js";

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
]);

/** @internal Null: it is no file of torch.save. */
export function readLightningFile(path: string, dtype: DType | undefined, toGoOn = false): Checkpoint | null {
  checkPath("loadFromCheckpoint", path);
  if (!isTorchFile(path)) return null;
  const target = checkWeightsDtype("loadFromCheckpoint", "dtype", dtype);
  const file = load(path, { mapLocation: "cpu" });
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
  const hparams: unknown = file["hyper_parameters"];
  const datamodule: unknown = file["datamodule_hyper_parameters"];
  const [epoch, steps] = [file["epoch"], file["global_step"]];
  const globalStep = typeof steps === "number" ? steps : 0;
  return {
    ...Object.fromEntries(Object.entries(file).filter(([name]) => !THEIRS.has(name))),
    format: CHECKPOINT_FORMAT,
    epoch: typeof epoch === "number" ? epoch : 0,
    globalStep,
    stateDict: castStateDict(Object.fromEntries(entries), target),
    hyperparameters: inCamelCase(hparams),
    ...(datamodule === undefined
      ? {}
      : { datamodule: { name: "", hyperparameters: inCamelCase(datamodule), state: {} } }),
    ...(toGoOn ? trainingState(path, file, globalStep) : {}),
  };
}

/** Of a whole checkpoint; nothing of one of weights only. Optimizers and schedulers read PyTorch's states themselves. */
function trainingState(path: string, file: Readonly<Record<string, unknown>>, globalStep: number): Partial<Checkpoint> {
  const { loops, optimizer_states: optimizers, lr_schedulers: schedulers } = file;
  if (loops === undefined || !isList(optimizers) || !isList(schedulers)) return {};
  return {
    loops: loopsOf(path, loops, globalStep),
    optimizerStates: optimizers,
    lrSchedulers: schedulers,
    // Lightning does not say which; its loss scale begins anew.
    precision: { name: "", state: null },
  };
}
function isList(value: unknown): value is Record<string, unknown>[] {
  return Array.isArray(value) && value.every(isPlainObject);
}

function inCamelCase(hparams: unknown): Record<string, unknown> {
  return isPlainObject(hparams)
    ? Object.fromEntries(Object.entries(hparams).map(([name, value]) => [camel(name), value]))
    : {};
}

function isWeight(entry: readonly [unknown, unknown]): entry is readonly [string, Tensor] {
  return typeof entry[0] === "string" && isTensor(entry[1]);
}
const camel = (name: string): string => name.replaceAll(/_([a-z\d])/g, (_, c: string) => c.toUpperCase());

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
