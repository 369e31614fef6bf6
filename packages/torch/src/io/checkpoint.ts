/** A checkpoint is one safetensors file: tensors by name, and everything else as JSON in its metadata. */
import { ArgumentError } from "../errors.js";
import { atMost, checkOptions } from "../options.js";
import { scope, type Tensor } from "../tensor/index.js";
import { CheckpointError } from "./errors.js";
import { PLACE, SafetensorsFile, type PlaceOptions } from "./safetensors-read.js";
import { copyOfSafetensors, SAVE, saveSafetensors, type SaveOptions } from "./safetensors-write.js";
import { packState, unpackState } from "./state.js";

/** Version of the layout; a reader refuses newer ones. */
export const CHECKPOINT_VERSION = 1;
const VERSION_KEY = "nbit.checkpoint";
const STATE_KEY = "nbit.state";

/**
 * Save a nested state as one file, in one atomic step. Any safetensors reader can read its tensors.
 *
 * @param path - Its directory must exist. By custom, the name ends in `.safetensors`.
 * @param state - What {@link packState} takes.
 * @param options.metadata - More texts for the header. `format` is "pt" unless given.
 * @throws {ArgumentError} as {@link packState}.
 * @example saveCheckpoint("last.safetensors", { epoch: 3, model: model.stateDict(), optimizer: optimizer.stateDict() });
 */
export function saveCheckpoint(path: string, state: unknown, options: SaveOptions = {}): void {
  atMost("saveCheckpoint", arguments, 3);
  checkOptions("saveCheckpoint", options, SAVE);
  scope(() => {
    const { tensors, metadata } = laidOut(state, options.metadata);
    saveSafetensors(path, tensors, { ...options, metadata });
  });
}

/**
 * @internal The file that {@link saveCheckpoint} writes, with what the state is now: pieces with memory of their own.
 */
export function copyOfCheckpoint(
  state: unknown,
  metadata?: Readonly<Record<string, string>> | null,
): Uint8Array<ArrayBuffer>[] {
  atMost("copyOfCheckpoint", arguments, 2);
  return scope(() => {
    const laid = laidOut(state, metadata);
    return copyOfSafetensors(laid.tensors, { metadata: laid.metadata });
  });
}

function laidOut(
  state: unknown,
  given: Readonly<Record<string, string>> | null | undefined,
): { readonly tensors: Readonly<Record<string, Tensor>>; readonly metadata: Readonly<Record<string, string>> } {
  for (const key of [VERSION_KEY, STATE_KEY])
    if (Object.hasOwn(given ?? {}, key))
      throw new ArgumentError("saveCheckpoint", `metadata without the key ${key}`, given);
  const { tensors, json } = packState(state);
  return { tensors, metadata: checkpointMetadata(json, given) };
}

/** @internal Of a checkpoint's header. */
export function checkpointMetadata(
  json: string,
  metadata: Readonly<Record<string, string>> | null | undefined,
): Readonly<Record<string, string>> {
  return { format: "pt", ...metadata, [VERSION_KEY]: String(CHECKPOINT_VERSION), [STATE_KEY]: json };
}

/**
 * Read a state that {@link saveCheckpoint} saved, exactly as it was.
 *
 * @param options.device - Where its tensors shall be. Default: the CPU, wherever they were.
 * @throws {CheckpointError} `CHECKPOINT_FORMAT` when the file is not a checkpoint; `CHECKPOINT_VERSION` when it was
 * written by a newer version; `CHECKPOINT_STATE` when
 *   it is damaged inside.
 * @throws {SafetensorsError} when the file itself is damaged.
 */
export function loadCheckpoint(path: string, options: PlaceOptions = {}): unknown {
  atMost("loadCheckpoint", arguments, 2);
  checkOptions("loadCheckpoint", options, PLACE);
  const { file, json } = openCheckpoint(path);
  try {
    return scope(() => {
      const tensors = Object.fromEntries(file.names.map((name) => [name, file.get(name, options)]));
      return unpackState({ tensors, json });
    });
  } finally {
    file.close();
  }
}

/** @internal The file of {@link saveCheckpoint}, checked, and the state's text, as `packState` has it. */
export function openCheckpoint(path: string): { readonly file: SafetensorsFile; readonly json: string } {
  atMost("openCheckpoint", arguments, 1);
  const file = SafetensorsFile.open(path);
  try {
    return { file, json: stateOf(path, file) };
  } catch (error) {
    file.close();
    throw error;
  }
}
function stateOf(path: string, { metadata }: SafetensorsFile): string {
  const version = metadata[VERSION_KEY];
  const json = metadata[STATE_KEY];
  if (version === undefined || json === undefined)
    throw new CheckpointError(
      "CHECKPOINT_FORMAT",
      `${path}: expected a checkpoint of nbit. Received: a safetensors file without ${VERSION_KEY} in its metadata. Read its tensors with loadSafetensors.`,
    );
  if (!/^\d+$/.test(version) || Number(version) > CHECKPOINT_VERSION)
    throw new CheckpointError(
      "CHECKPOINT_VERSION",
      `${path}: expected a checkpoint of version ${CHECKPOINT_VERSION} or below. Received: ${JSON.stringify(version)}. Read it with a newer nbit.`,
    );
  return json;
}
