import { mkdirSync } from "node:fs";
import { dirname } from "node:path";
import { isTensor, loadCheckpoint, saveCheckpoint } from "@nbit/torch";
import type { DeviceLike } from "@nbit/torch";
import { isPlainObject } from "../collections.js";
import { MisconfigurationError } from "../errors.js";
import { CHECKPOINT_FORMAT } from "./format.js";
import type { Checkpoint } from "./format.js";

/** Write a checkpoint as one safetensors file. Atomic: the file is complete or absent. Its folder is made when missing. */
export function writeCheckpoint(path: string, checkpoint: Checkpoint): void {
  mkdirSync(dirname(path), { recursive: true });
  saveCheckpoint(path, checkpoint);
}

/**
 * Read a checkpoint that a Trainer wrote.
 *
 * @throws {MisconfigurationError} `readCheckpoint: expected a checkpoint of a Trainer, format 1 or below. Received: …`
 */
export function readCheckpoint(path: string, options: { readonly device?: DeviceLike } = {}): Checkpoint {
  const state = loadCheckpoint(path, options);
  if (!isCheckpoint(state)) {
    throw new MisconfigurationError("readCheckpoint", `a checkpoint of a Trainer, format ${CHECKPOINT_FORMAT} or below`, state, `Check ${path}.`, "ERR_CHECKPOINT_FORMAT");
  }
  return state;
}

function isCheckpoint(state: unknown): state is Checkpoint {
  return isPlainObject(state) && typeof state.format === "number" && state.format <= CHECKPOINT_FORMAT && isPlainObject(state.stateDict) && Object.values(state.stateDict).every(isTensor) && isPlainObject(state.hyperparameters);
}
