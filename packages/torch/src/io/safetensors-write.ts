/** Writing safetensors files. */
import { Buffer } from "node:buffer";
import { ArgumentError, OutOfMemoryError } from "../errors.js";
import { filled, flag, isPlain, orNull, such } from "../kinds.js";
import { atMost, checkArguments, checkOptions, type OptionNames } from "../options.js";
import { iterated } from "../read-once.js";
import { isTensor, type Tensor } from "../tensor/index.js";
import { writeAtomically } from "./atomic.js";
import { eachChunk } from "./chunks.js";
import { writeAll } from "./replace.js";
import {
  bytesIn,
  indexText,
  inShards,
  earlierFiles,
  removeFiles,
  shardNames,
  shardSizeKind,
  type ShardSize,
} from "./safetensors-shards.js";
import { formatOf, MAX_HEADER, storableDtypes, writeHeader, type TensorInfo } from "./safetensors-header.js";

/** Tensors by name: a plain object, a Map, or pairs. */
export type NamedTensors = Readonly<Record<string, Tensor>> | Iterable<readonly [string, Tensor]>;

export interface SaveOptions {
  /** Texts stored in the header. `{ format: "pt" }` is what PyTorch's ecosystem expects. */
  readonly metadata?: Readonly<Record<string, string>> | null;
  /** False: do not wait until the file has reached the disk. Default true. */
  readonly sync?: boolean;
}

export interface SaveSafetensorsOptions extends SaveOptions {
  /**
   * Bytes of tensors in one file, such as "5GB": what is more is written as several files, `model-00001-of-00002.safetensors`
   * and so on, and an index, `model.safetensors.index.json`, as Hugging Face's. Default: one file.
   */
  readonly maxShardSize?: ShardSize | null;
}

const SERIALIZE: OptionNames<Pick<SaveOptions, "metadata">> = {
  metadata: orNull(
    such<Readonly<Record<string, string>>>(
      "an object of strings",
      (v) => isPlain(v) && Object.values(v).every((e) => typeof e === "string"),
    ),
  ),
};
/** @internal */
export const SAVE: OptionNames<SaveOptions> = { ...SERIALIZE, sync: flag };
const SAVE_SAFETENSORS: OptionNames<SaveSafetensorsOptions> = { ...SAVE, maxShardSize: orNull(shardSizeKind) };

/**
 * Save tensors to a safetensors file, in one atomic step: the path holds the old file or the whole new one.
 *
 * Tensors on a GPU, views and non-contiguous tensors are written as their values; two names of one memory are written
 * twice. No more than 4 MiB are copied at a time, for tensors that are contiguous on the CPU. The bytes are those of
 * the Python package (metadata of several keys aside, whose order it leaves open).
 *
 * @param path - Its directory must exist. With `maxShardSize`, each file and the index is whole, the index written last.
 * @param tensors - Any dtype but complex32, complex128 and quantized ones.
 * @throws {ArgumentError} `saveSafetensors: expected the dtype of "x" to be one of bool, …. Received: "complex128".`
 * @example saveSafetensors("model.safetensors", { weight: randn([2, 3]) }, { metadata: { format: "pt" } });
 */
export function saveSafetensors(path: string, tensors: NamedTensors, options: SaveSafetensorsOptions = {}): void {
  const fn = "saveSafetensors";
  atMost(fn, arguments, 3);
  checkArguments(fn, { path }, { path: filled });
  checkOptions(fn, options, SAVE_SAFETENSORS);
  const { maxShardSize, sync = true } = options;
  if (maxShardSize === undefined || maxShardSize === null) {
    write(path, layOut(fn, tensors, options), sync);
    return;
  }
  const entries = entriesOf(fn, tensors);
  // Every name and dtype is looked at before the first file is written.
  layOut(fn, entries, options);
  const shards = inShards(entries, bytesIn(maxShardSize));
  const { files, index } = shards.length === 1 ? { files: [path], index: null } : shardNames(path, shards.length);
  const earlier = earlierFiles(path);
  files.forEach((file, i) => write(file, layOut(fn, shards[i] ?? [], options), sync));
  // The index comes last: until then readers have what was there before, but for files of the same names.
  if (index !== null) writeAtomically(index, (fd) => writeAll(fd, Buffer.from(indexText(files, shards))), { sync, fn });
  removeFiles(earlier, index === null ? files : [...files, index]);
}

function write(path: string, plan: Plan, sync: boolean): void {
  writeAtomically(
    path,
    (fd) => {
      writeAll(fd, plan.header);
      for (const [, tensor] of plan.tensors) eachChunk(tensor, (bytes) => writeAll(fd, bytes));
    },
    { sync, fn: "saveSafetensors" },
  );
}

/** Bytes of a piece that many small tensors share. */
const PIECE = 4 << 20;

/**
 * @internal What {@link saveSafetensors} writes into one file, as it is now: pieces with memory of their own, in order.
 */
export function copyOfSafetensors(tensors: NamedTensors, options: SaveOptions = {}): Uint8Array<ArrayBuffer>[] {
  atMost("copyOfSafetensors", arguments, 2);
  const plan = layOut("saveSafetensors", tensors, options);
  const pieces: Uint8Array<ArrayBuffer>[] = [plan.header.slice()];
  let open = new Uint8Array(0);
  let used = 0;
  const close = (): void => {
    if (used > 0) pieces.push(open.subarray(0, used));
    [open, used] = [new Uint8Array(0), 0];
  };
  for (const [, tensor] of plan.tensors) {
    eachChunk(tensor, (chunk) => {
      if (chunk.length >= PIECE / 4) {
        close();
        pieces.push(chunk);
        return;
      }
      if (used + chunk.length > open.length) {
        close();
        open = new Uint8Array(PIECE);
      }
      open.set(chunk, used);
      used += chunk.length;
    });
  }
  close();
  return pieces;
}

/** The same, as bytes. */
export function serializeSafetensors(tensors: NamedTensors, options: Pick<SaveOptions, "metadata"> = {}): Uint8Array {
  atMost("serializeSafetensors", arguments, 2);
  checkOptions("serializeSafetensors", options, SERIALIZE);
  const plan = layOut("serializeSafetensors", tensors, options);
  const bytes = roomFor("serializeSafetensors", plan.header.length + plan.dataLength);
  bytes.set(plan.header);
  let at = plan.header.length;
  for (const [, tensor] of plan.tensors) {
    eachChunk(tensor, (chunk) => {
      bytes.set(chunk, at);
      at += chunk.length;
    });
  }
  return bytes;
}

function roomFor(fn: string, length: number): Uint8Array<ArrayBuffer> {
  try {
    return new Uint8Array(length);
  } catch (error) {
    if (!(error instanceof RangeError)) throw error;
    throw new OutOfMemoryError(
      `${fn}: expected tensors whose file fits into one Uint8Array. Received: ${length} bytes. Write them with saveSafetensors, or in parts.`,
    );
  }
}

interface Plan {
  readonly header: Uint8Array;
  readonly tensors: readonly (readonly [TensorInfo, Tensor])[];
  readonly dataLength: number;
}

function layOut(fn: string, named: NamedTensors, options: Pick<SaveOptions, "metadata">): Plan {
  const entries = entriesOf(fn, named);
  const names = new Set<string>();
  for (const [name, tensor] of entries) {
    // A lone surrogate has no UTF-8, so it would come back as another name.
    if (typeof name !== "string" || name === "__metadata__" || Buffer.from(name).toString() !== name)
      throw new ArgumentError(fn, "names to be well-formed texts other than __metadata__", name);
    if (names.has(name)) throw new ArgumentError(fn, "every name once", name);
    names.add(name);
    if (!isTensor(tensor)) throw new ArgumentError(fn, `${JSON.stringify(name)} to be a tensor`, tensor);
    if (formatOf(tensor.dtype) === undefined)
      throw new ArgumentError(
        fn,
        `the dtype of ${JSON.stringify(name)} to be one of ${storableDtypes.join(", ")}`,
        tensor.dtype,
      );
    if (tensor.dtype === "float4_e2m1fn_x2" && tensor.ndim === 0)
      throw new ArgumentError(
        fn,
        `${JSON.stringify(name)}, of half bytes, to have a dimension`,
        tensor,
        "The format counts its elements one by one: use shape [1].",
      );
    if (tensor.layout !== "strided" || tensor.device.type === "meta")
      throw new ArgumentError(
        fn,
        `${JSON.stringify(name)} to have its values in strides`,
        tensor,
        "Make it dense first.",
      );
  }
  const metadata = options.metadata ?? null;
  for (const [key, value] of Object.entries(metadata ?? {}))
    if (typeof value !== "string")
      throw new ArgumentError(fn, `metadata to hold texts only, at ${JSON.stringify(key)}`, value);
  const byName = new Map(entries);
  const { header, infos, dataLength } = arrange(
    fn,
    entries.map(([name, { dtype, shape, nbytes }]) => ({ name, dtype, shape, nbytes })),
    metadata,
  );
  const tensors = infos.flatMap((info) => {
    const tensor = byName.get(info.name);
    return tensor === undefined ? [] : [[info, tensor] as const];
  });
  return { header, tensors, dataLength };
}

/** @internal Where tensors lie in a file, and its header. */
export function arrange(
  fn: string,
  entries: readonly (Pick<TensorInfo, "name" | "dtype" | "shape"> & { readonly nbytes: number })[],
  metadata: Readonly<Record<string, string>> | null,
): { readonly header: Uint8Array; readonly infos: readonly TensorInfo[]; readonly dataLength: number } {
  // Wide dtypes first, so that every tensor is aligned to its element size; then by name, byte by byte as Rust
  // compares.
  const ranked = entries.map((entry) => ({
    entry,
    bytes: Buffer.from(entry.name),
    rank: formatOf(entry.dtype)?.rank ?? 0,
  }));
  ranked.sort((a, b) => b.rank - a.rank || Buffer.compare(a.bytes, b.bytes));
  let at = 0;
  const infos = ranked.map(({ entry: { nbytes, ...info } }): TensorInfo => {
    const start = at;
    at += nbytes;
    return { ...info, start, end: at };
  });
  const header = writeHeader(infos, metadata);
  if (header.length - 8 > MAX_HEADER)
    throw new ArgumentError(fn, `names and metadata of at most ${MAX_HEADER} bytes`, header.length - 8);
  return { header, infos, dataLength: at };
}

function entriesOf(fn: string, named: NamedTensors): (readonly [string, Tensor])[] {
  if (typeof named !== "object" || named === null)
    throw new ArgumentError(fn, "tensors to be an object, a Map, or pairs", named);
  if (Symbol.iterator in named)
    return iterated(fn, "tensors", named).map((pair) => {
      if (!Array.isArray(pair) || pair.length !== 2) throw new ArgumentError(fn, "pairs [name, tensor]", pair);
      return pair as unknown as readonly [string, Tensor];
    });
  return Object.entries(named);
}
