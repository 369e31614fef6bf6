import { mkdirSync, statSync } from "node:fs";
import { dirname } from "node:path";
import {
  atMost,
  checkOptions,
  checkPath,
  deviceKind,
  isFloatingPoint,
  kinds,
  loadCheckpoint,
  type OptionNames,
  saveCheckpoint,
  ShardedCheckpoint,
  withFile,
} from "@nbit/torch";
import type { DeviceLike, DType, Tensor } from "@nbit/torch";
import { isPlainObject } from "../collections.js";
import { MisconfigurationError } from "../errors.js";
import { CHECKPOINT_FORMAT, checkpointFormat, type CheckpointFormat } from "./format.js";
import { checkCheckpoint } from "./schema.js";
import { StoredCheckpoint } from "./stored.js";
import type { Checkpoint } from "./format.js";

export interface SaveCheckpointOptions {
  /** The model only, without the state of training. Default false. */
  readonly weightsOnly?: boolean;
  /** Save weights in this dtype. Default: as they are. */
  readonly dtype?: DType;
  /** Texts for the file's header, by name. */
  readonly metadata?: Readonly<Record<string, string>>;
  /** For a `CheckpointIO` of your own, which is given it. The Trainer's takes none. */
  readonly storageOptions?: unknown;
  /** "lightning": a file that Lightning reads in Python. Default: as the `CheckpointIO` of the Trainer has it. */
  readonly format?: CheckpointFormat;
}

/** @internal */
export const SAVE: OptionNames<SaveCheckpointOptions> = {
  weightsOnly: kinds.flag,
  dtype: true,
  metadata: kinds.record,
  storageOptions: true,
  format: checkpointFormat,
};
export interface ReadCheckpointOptions {
  /** Where its tensors shall be. Default: the CPU. */
  readonly device?: DeviceLike;
  /** Weights are cast to it; the rest stays as it was saved. */
  readonly dtype?: DType;
}
/** @internal */
export const READ: OptionNames<ReadCheckpointOptions> = { device: deviceKind, dtype: true };

/**
 * Write a checkpoint as one safetensors file. Atomic: the file is complete or absent. Its folder is made when missing.
 */
export function writeCheckpoint(
  path: string,
  checkpoint: Checkpoint,
  metadata: Readonly<Record<string, string>> = {},
): void {
  atMost("writeCheckpoint", arguments, 3);
  checkPath("saveCheckpoint", path);
  makeFolderOf(path);
  saveCheckpoint(path, checkpoint, { metadata });
}

/** @internal */
export function makeFolderOf(path: string): void {
  withFile("saveCheckpoint", "make the folder of", path, () => mkdirSync(dirname(path), { recursive: true }));
}

/** Floating point weights in another dtype; null: as they are. */
export function castStateDict(state: Record<string, Tensor>, dtype: DType | null): Record<string, Tensor> {
  if (dtype === null) return state;
  return Object.fromEntries(
    Object.entries(state).map(([name, t]) => [name, t.isFloatingPoint() ? t.detach().to(dtype) : t]),
  );
}

/** @throws {MisconfigurationError} for anything but a floating point dtype, null or undefined. */
export function checkWeightsDtype(where: string, name: string, dtype: unknown): DType | null {
  if (dtype === undefined || dtype === null) return null;
  if (
    typeof dtype === "string" &&
    ["float16", "bfloat16", "float32", "float64"].includes(dtype) &&
    isFloatingPoint(dtype as DType)
  )
    return dtype as DType;
  throw new MisconfigurationError(
    where,
    `${name} to be "float16", "bfloat16", "float32" or "float64"`,
    dtype,
    undefined,
    "ERR_CHECKPOINT_DTYPE",
  );
}

/**
 * Read a checkpoint that a Trainer wrote: a file, or the folder of a sharded one.
 *
 * All of it that the Trainer reads is checked: kinds, ranges, and what numbers must have to do with each other.
 *
 * @throws {MisconfigurationError} `readCheckpoint: expected a checkpoint of a Trainer, format 1 or below. Received: …`
 * @throws {CheckpointError} `CHECKPOINT_STATE` when a part of it is not what it must be; the message names the part.
 */
export function readCheckpoint(path: string, options: ReadCheckpointOptions = {}): Checkpoint {
  atMost("readCheckpoint", arguments, 2);
  checkOptions("readCheckpoint", options, READ);
  const { dtype, ...rest } = options;
  const target = checkWeightsDtype("readCheckpoint", "dtype", dtype);
  const checkpoint = checked(path, isFolder(path) ? readFolder(path, rest) : loadCheckpoint(path, rest));
  if (target !== null) checkpoint.stateDict = castStateDict(checkpoint.stateDict, target);
  return checkpoint;
}

/**
 * @internal The same, with placeholders for weights, optimizers' states and the gradients of an open window: a process
 * reads what it needs of them, until `stored` is closed.
 */
export function openCheckpointInPart(path: string): {
  readonly checkpoint: Checkpoint;
  readonly stored: StoredCheckpoint;
} {
  const stored = StoredCheckpoint.open(path, isFolder(path));
  try {
    // Where processes have gradients of their own, their mean is needed.
    const oneGradient = !stored.names.some((name) => /^ranks\.\d+\.loops\.gradients\./.test(name));
    const stays = (name: string, dtype: DType): boolean =>
      name.startsWith("optimizerStates.") ||
      (oneGradient && name.startsWith("loops.gradients.")) ||
      (name.startsWith("stateDict.") && isFloatingPoint(dtype));
    return { checkpoint: checked(path, stored.state(stays)), stored };
  } catch (error) {
    stored.close();
    throw error;
  }
}

function checked(path: string, state: unknown): Checkpoint {
  if (!isCheckpoint(state)) {
    throw new MisconfigurationError(
      "readCheckpoint",
      `a checkpoint of a Trainer, format ${CHECKPOINT_FORMAT} or below`,
      state,
      `Check ${path}.`,
      "ERR_CHECKPOINT_FORMAT",
    );
  }
  checkCheckpoint(path, state);
  return state;
}

/** Of a sharded checkpoint, all of it. */
function readFolder(path: string, place: Pick<ReadCheckpointOptions, "device">): unknown {
  const checkpoint = ShardedCheckpoint.open(path);
  try {
    return checkpoint.state(place);
  } finally {
    checkpoint.close();
  }
}
function isFolder(path: unknown): boolean {
  return typeof path === "string" && statSync(path, { throwIfNoEntry: false })?.isDirectory() === true;
}

/** Whether it is one at all, of a format that this version knows; {@link checkCheckpoint} checks the rest. */
function isCheckpoint(state: unknown): state is Checkpoint {
  return (
    isPlainObject(state) &&
    Number.isInteger(state.format) &&
    (state.format as number) >= 1 &&
    (state.format as number) <= CHECKPOINT_FORMAT
  );
}
