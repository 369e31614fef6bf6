/** Reading safetensors files. */
import { closeSync, fstatSync, openSync } from "node:fs";
import { ArgumentError } from "../errors.js";
import { listOf, text } from "../kinds.js";
import { itemSize } from "../tensor/dtype.js";
import { deviceKind } from "../tensor/kinds.js";
import { atMost, checkOptions, type OptionNames } from "../options.js";
import { empty } from "../ops/index.js";
import { scope, type DeviceLike, type Tensor } from "../tensor/index.js";
import { checkPath, checkReadable, SafetensorsError, withFile } from "./errors.js";
import { headerLength, parseHeader, type Header, type TensorInfo } from "./safetensors-header.js";
import { besideIndex, findIndex, notIn, type ShardIndex } from "./safetensors-shards.js";
import { PIECE, readAt } from "./pieces.js";
import { isUint8Array } from "../realm.js";

export interface LoadOptions {
  /** Where the tensors shall be. Default: the CPU. */
  readonly device?: DeviceLike;
  /** Only these; others are not read. */
  readonly names?: readonly string[];
}

export type PlaceOptions = Pick<LoadOptions, "device">;
/** @internal */
export const PLACE: OptionNames<PlaceOptions> = { device: deviceKind };
const LOAD: OptionNames<LoadOptions> = { ...PLACE, names: listOf(text) };

/** Fills `into` with the bytes from `at` of the file. */
type ReadAt = (into: Uint8Array, at: number) => void;

/**
 * A safetensors file, opened and checked. Tensors are read when they are asked for, straight into their own memory.
 *
 * @example
 * using file = SafetensorsFile.open("model.safetensors");
 * const weight = file.get("weight", { device: "cuda" });
 */
export class SafetensorsFile {
  readonly path: string | null;
  readonly metadata: Readonly<Record<string, string>>;
  readonly #header: Header;
  readonly #infos: ReadonlyMap<string, TensorInfo>;
  readonly #read: ReadAt;
  #fd: number | null;

  private constructor(path: string | null, header: Header, read: ReadAt, fd: number | null) {
    this.path = path;
    this.metadata = header.metadata;
    this.#header = header;
    this.#infos = new Map(header.tensors.map((t) => [t.name, t]));
    this.#read = read;
    this.#fd = fd;
  }

  /**
   * Open a file and check all of its header; no tensor is read.
   * @throws {SafetensorsError} with a code for each way in which a file can be wrong.
   * @throws {FileError} when it cannot be read at all.
   */
  static open(path: string): SafetensorsFile {
    const fn = "SafetensorsFile.open";
    atMost(fn, arguments, 1);
    checkReadable(fn, path);
    const fd = withFile(fn, "read", path, () => openSync(path, "r"));
    try {
      const size = fstatSync(fd).size;
      const read: ReadAt = (into, at) => {
        const done = readAt(fn, path, fd, into, at);
        if (done < into.length)
          throw new SafetensorsError(
            "SAFETENSORS_TRUNCATED",
            `expected ${into.length} bytes at ${at}. Received: ${done}. Was the file changed while it was read?`,
            path,
          );
      };
      return new SafetensorsFile(path, readHeader(read, size, path), read, fd);
    } catch (error) {
      closeSync(fd);
      throw error;
    }
  }

  /** The same, over bytes. They must not change. */
  static over(bytes: Uint8Array): SafetensorsFile {
    atMost("SafetensorsFile.over", arguments, 1);
    if (!isUint8Array(bytes)) throw new ArgumentError("SafetensorsFile.over", "bytes to be a Uint8Array", bytes);
    const read: ReadAt = (into, at) => into.set(bytes.subarray(at, at + into.length));
    return new SafetensorsFile(null, readHeader(read, bytes.length, null), read, null);
  }

  /** Names, in the order of their data. */
  get names(): string[] {
    return this.#header.tensors.map((t) => t.name);
  }
  has(name: string): boolean {
    atMost("SafetensorsFile.has", arguments, 1);
    return this.#infos.has(name);
  }
  /** Dtype, shape and place of a tensor, without reading it. */
  info(name: string): TensorInfo {
    atMost("SafetensorsFile.info", arguments, 1);
    if (typeof name !== "string") throw new ArgumentError("SafetensorsFile.info", "the name of a tensor", name);
    const found = this.#infos.get(name);
    if (found === undefined)
      throw new SafetensorsError(
        "SAFETENSORS_MISSING",
        `expected a tensor ${JSON.stringify(name)}. Received: a file with ${summary(this.names)}.`,
        this.path,
      );
    return found;
  }

  /** Read one tensor. */
  get(name: string, options: PlaceOptions = {}): Tensor {
    atMost("SafetensorsFile.get", arguments, 2);
    checkOptions("SafetensorsFile.get", options, PLACE);
    const info = this.info(name);
    this.#checkOpen();
    return scope(() => {
      const tensor = this.#fill(info);
      return options.device === undefined ? tensor : tensor.to({ device: options.device });
    });
  }

  /** Elements of a tensor in row-major order, from `start` until before `end`, in one dimension; others are not read. */
  read(name: string, start: number, end: number, options: PlaceOptions = {}): Tensor {
    const fn = "SafetensorsFile.read";
    atMost(fn, arguments, 4);
    checkOptions(fn, options, PLACE);
    const { dtype, shape } = this.info(name);
    this.#checkOpen();
    checkRange(fn, name, shape, start, end);
    const size = itemSize(dtype);
    return scope(() => {
      const tensor = empty([end - start], { dtype, device: "cpu" });
      fillFrom(tensor, (take) => this.eachBytes(name, start * size, end * size, take));
      return options.device === undefined ? tensor : tensor.to({ device: options.device });
    });
  }

  #checkOpen(): void {
    if (this.path !== null && this.#fd === null)
      throw new SafetensorsError(
        "SAFETENSORS_CLOSED",
        "expected an open file. Received: one that was closed.",
        this.path,
      );
  }
  #fill(info: TensorInfo): Tensor {
    const tensor = empty(info.shape, { dtype: info.dtype, device: "cpu" });
    fillFrom(tensor, (take) => this.eachBytes(info.name, 0, info.end - info.start, take));
    return tensor;
  }

  /** @internal Bytes of a tensor, from one until before another, piece by piece, in memory that is used again. */
  eachBytes(name: string, from: number, to: number, take: (bytes: Uint8Array) => void): void {
    const { start } = this.info(name);
    const chunk = new Uint8Array(Math.min(PIECE, to - from));
    for (let at = from; at < to; at += PIECE) {
      const piece = chunk.subarray(0, Math.min(PIECE, to - at));
      this.#read(piece, this.#header.dataStart + start + at);
      take(piece);
    }
  }

  /** Close the file. Safe to call twice; the metadata and infos stay. */
  close(): void {
    atMost("SafetensorsFile.close", arguments, 0);
    if (this.#fd === null) return;
    closeSync(this.#fd);
    this.#fd = null;
  }
  [Symbol.dispose](): void {
    this.close();
  }
}

/** @internal */
export function checkRange(fn: string, name: string, shape: readonly number[], start: number, end: number): void {
  const numel = shape.reduce((a, b) => a * b, 1);
  if (!Number.isInteger(start) || !Number.isInteger(end) || start < 0 || end < start || end > numel)
    throw new ArgumentError(fn, `a range within the ${numel} elements of ${name}`, [start, end]);
}

/** @internal Fill a new tensor with bytes that come piece by piece. */
export function fillFrom(tensor: Tensor, each: (take: (piece: Uint8Array) => void) => void): void {
  if (tensor.nbytes === 0) return;
  const bytes = tensor.view([-1]).view("uint8");
  let at = 0;
  each((piece) => {
    // Anything but 0 and 1 in a bool would be undefined behaviour in the operators that meet it.
    if (tensor.dtype === "bool") for (let i = 0; i < piece.length; i++) piece[i] = piece[i] === 0 ? 0 : 1;
    const part = bytes.narrow(0, at, piece.length);
    part.copyFromBytes(piece);
    part.dispose();
    at += piece.length;
  });
}

function readHeader(read: ReadAt, size: number, path: string | null): Header {
  const first = new Uint8Array(8);
  if (size >= 8) read(first, 0);
  const bytes = new Uint8Array(headerLength(first, size, path));
  read(bytes, 8);
  return parseHeader(bytes, size, path);
}

/**
 * Read the tensors of a safetensors file, or of the several files of one model.
 *
 * @param path - The file; or an index, `model.safetensors.index.json`, or a folder with one or with
 * `model.safetensors`, as Hugging Face has them: then the tensors that the index names, of files beside it.
 * @param options.names - Only these.
 * @returns A plain object without prototype, so that any name is safe as a key, in the order of the data.
 * @throws {SafetensorsError} when the file is damaged (nothing is returned then), or a name is not in it.
 * @example const { weight } = loadSafetensors("model.safetensors");
 */
export function loadSafetensors(path: string, options: LoadOptions = {}): Record<string, Tensor> {
  atMost("loadSafetensors", arguments, 2);
  checkOptions("loadSafetensors", options, LOAD);
  checkPath("loadSafetensors", path);
  const found = findIndex("loadSafetensors", path);
  return typeof found === "string" ? readFile(found, options) : readShards(found, options);
}

function readFile(path: string, options: LoadOptions): Record<string, Tensor> {
  const file = SafetensorsFile.open(path);
  try {
    return readAll(file, options);
  } finally {
    file.close();
  }
}

function readShards(index: ShardIndex, options: LoadOptions): Record<string, Tensor> {
  const wanted = options.names === undefined ? null : new Set(options.names);
  const known = new Set([...index.files.values()].flat());
  for (const name of wanted ?? []) if (!known.has(name)) throw notIn(index, name);
  return scope(() => {
    const tensors = Object.create(null) as Record<string, Tensor>;
    for (const [file, all] of index.files) {
      const names = wanted === null ? all : all.filter((name) => wanted.has(name));
      if (names.length > 0) Object.assign(tensors, readFile(besideIndex(index, file), { ...options, names }));
    }
    return tensors;
  });
}

/** The same, from bytes. */
export function parseSafetensors(bytes: Uint8Array, options: LoadOptions = {}): Record<string, Tensor> {
  atMost("parseSafetensors", arguments, 2);
  checkOptions("parseSafetensors", options, LOAD);
  if (!isUint8Array(bytes)) throw new ArgumentError("parseSafetensors", "bytes to be a Uint8Array", bytes);
  return readAll(SafetensorsFile.over(bytes), options);
}

function readAll(file: SafetensorsFile, options: LoadOptions): Record<string, Tensor> {
  const names = options.names ?? file.names;
  for (const name of names) file.info(name);
  const place = options.device === undefined ? {} : { device: options.device };
  return scope(() => {
    const tensors = Object.create(null) as Record<string, Tensor>;
    for (const name of names) tensors[name] = file.get(name, place);
    return tensors;
  });
}

function summary(names: readonly string[]): string {
  return names.length === 0
    ? "no tensors"
    : `${names.slice(0, 5).join(", ")}${names.length > 5 ? `, … (${names.length})` : ""}`;
}
