/** Saving by several processes: each writes its own parts, then one says which files make up the whole. */
import { Buffer } from "node:buffer";
import { mkdirSync, readdirSync, rmdirSync, rmSync, statSync } from "node:fs";
import { join } from "node:path";
import { ArgumentError } from "../errors.js";
import { atMost } from "../options.js";
import { isTensor, type DType, type Tensor } from "../tensor/index.js";
import { checkPath, withFile } from "./errors.js";
import { replaceFile, writeAll } from "./replace.js";
import { saveSafetensors } from "./safetensors-write.js";
import { checkParts, isShardName, MANIFEST, manifestText, shardName, type ManifestTensor } from "./sharded-manifest.js";

/** Elements of a tensor `name` in row-major order, from `start` until before `end`. */
export interface TensorPart {
  readonly name: string;
  readonly start: number;
  readonly end: number;
  /** Those, of any shape. */
  readonly data: Tensor;
}
/** What a process has written. */
export interface Shard {
  readonly file: string;
  readonly bytes: number;
  readonly parts: readonly { readonly name: string; readonly start: number; readonly end: number }[];
}
export interface ShardedState {
  /** Of the whole, by name. */
  readonly tensors: Readonly<Record<string, { readonly dtype: DType; readonly shape: readonly number[] }>>;
  /** Everything else, as `packState` has it. */
  readonly json: string;
  readonly metadata?: Readonly<Record<string, string>>;
}

/** @internal The name of a part in its file. */
export const partName = (name: string, start: number): string => `${name}@${start}`;

/**
 * Write one process's parts of a sharded checkpoint, as a file of its own in the folder, which is made when missing.
 * The checkpoint that the folder holds stays what it is until {@link writeManifest}.
 *
 * @param folder - The same for all processes, on a file system that all share.
 * @param save - 16 hexadecimal digits, the same for all processes and new for each save.
 * @throws {FileError} where it cannot be written.
 */
export function writeShard(folder: string, save: string, rank: number, parts: readonly TensorPart[]): Shard {
  const fn = "writeShard";
  atMost(fn, arguments, 4);
  checkPath(fn, folder);
  const file = shardName(save, rank);
  if (!isShardName(file)) throw new ArgumentError(fn, "save to be 16 hexadecimal digits", save);
  const tensors = parts.map(({ name, start, end, data }) => {
    if (!isTensor(data) || data.numel() !== end - start)
      throw new ArgumentError(fn, `${end - start} elements of ${name}`, data);
    return [partName(name, start), data] as const;
  });
  withFile(fn, "make the folder", folder, () => mkdirSync(folder, { recursive: true }));
  const path = join(folder, file);
  saveSafetensors(path, tensors);
  const bytes = withFile(fn, "read", path, () => statSync(path)).size;
  return { file, bytes, parts: parts.map(({ name, start, end }) => ({ name, start, end })) };
}

/**
 * Say which files make up the checkpoint of a folder: from here on it holds this one, and no earlier. One process calls
 * it, when all have written their parts. Files of earlier saves, complete or not, are removed.
 *
 * @throws {CheckpointError} `CHECKPOINT_STATE` where the parts of a tensor do not make up all of it.
 */
export function writeManifest(folder: string, shards: readonly Shard[], state: ShardedState): void {
  const fn = "writeManifest";
  atMost(fn, arguments, 3);
  checkPath(fn, folder);
  const given: readonly (Partial<Shard> | null)[] = Array.isArray(shards) ? shards : [null];
  if (!given.every((shard) => Array.isArray(shard?.parts)))
    throw new ArgumentError(fn, "shards to be what writeShard returned, of every process", shards);
  const { tensors: described, json } = (state as Partial<ShardedState> | undefined | null) ?? {};
  if (typeof described !== "object" || typeof json !== "string")
    throw new ArgumentError(fn, "state to have tensors, by name, and json", state);
  const path = join(folder, MANIFEST);
  const tensors = Object.fromEntries(
    Object.entries(state.tensors).map(([name, { dtype, shape }]): [string, ManifestTensor] => [
      name,
      { dtype, shape, parts: [] },
    ]),
  );
  const parts = shards.flatMap((shard, file) => shard.parts.map((part) => ({ file, ...part })));
  for (const { name, file, start, end } of parts.sort((a, b) => a.start - b.start || a.end - b.end)) {
    const tensor = tensors[name];
    if (tensor === undefined) throw new ArgumentError(fn, "parts of tensors that the state has", name);
    tensors[name] = { ...tensor, parts: [...tensor.parts, { file, start, end }] };
  }
  for (const [name, tensor] of Object.entries(tensors)) checkParts(path, name, tensor, shards.length);
  const files = shards.map(({ file, bytes }) => ({ name: file, bytes }));
  const text = manifestText({ files, tensors, state: state.json, metadata: state.metadata ?? {} });
  replaceFile(fn, path, (fd) => writeAll(fd, Buffer.from(text)), true);
  const kept = new Set(shards.map(({ file }) => file));
  for (const name of readdirSync(folder))
    if (isShardName(name) && !kept.has(name)) rmSync(join(folder, name), { force: true });
}

/** Remove a sharded checkpoint: the manifest first, then its files, and the folder where nothing else is in it. */
export function removeSharded(folder: string): void {
  const fn = "removeSharded";
  atMost(fn, arguments, 1);
  checkPath(fn, folder);
  withFile(fn, "remove", folder, () => {
    rmSync(join(folder, MANIFEST), { force: true });
    for (const name of readdirSync(folder)) if (isShardName(name)) rmSync(join(folder, name), { force: true });
    if (readdirSync(folder).length === 0) rmdirSync(folder);
  });
}
