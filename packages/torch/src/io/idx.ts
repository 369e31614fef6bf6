/** The IDX format, in which MNIST is distributed: big-endian arrays of one dtype. */
import { Buffer } from "node:buffer";
import { closeSync, fstatSync, openSync, readFileSync } from "node:fs";
import { gunzipSync } from "node:zlib";
import { ArgumentError, NbitError } from "../errors.js";
import { atMost, checkOptions } from "../options.js";
import { isError, isUint8Array } from "../realm.js";
import { empty } from "../ops/index.js";
import { scope, type DType, type Tensor } from "../tensor/index.js";
import { checkReadable, withFile } from "./errors.js";
import { PIECE, readAt } from "./pieces.js";
import { fillFrom, PLACE, type PlaceOptions } from "./safetensors-read.js";

/** An IDX file that cannot be read. */
export class IdxError extends NbitError {
  constructor(code: "IDX_MAGIC" | "IDX_TRUNCATED" | "IDX_TRAILING" | "IDX_COMPRESSION", message: string) {
    super(`idx: ${message}`, code);
  }
}

/** A typed array in the machine's byte order, and its shape. For a tensor, {@link loadIdx}. */
export type IdxArray =
  | { readonly dtype: "uint8"; readonly shape: readonly number[]; readonly data: Uint8Array }
  | { readonly dtype: "int8"; readonly shape: readonly number[]; readonly data: Int8Array }
  | { readonly dtype: "int16"; readonly shape: readonly number[]; readonly data: Int16Array }
  | { readonly dtype: "int32"; readonly shape: readonly number[]; readonly data: Int32Array }
  | { readonly dtype: "float32"; readonly shape: readonly number[]; readonly data: Float32Array }
  | { readonly dtype: "float64"; readonly shape: readonly number[]; readonly data: Float64Array };

type IdxDType = IdxArray["dtype"];
const DTYPES: Readonly<Record<number, readonly [dtype: IdxDType & DType, width: number]>> = {
  0x08: ["uint8", 1],
  0x09: ["int8", 1],
  0x0b: ["int16", 2],
  0x0c: ["int32", 4],
  0x0d: ["float32", 4],
  0x0e: ["float64", 8],
};

/** A file of a megabyte can unpack to a gigabyte: beyond this it is no data set. */
const MOST_BYTES = 2 ** 32;
/** No header is longer: four bytes, and as many for each of 255 sizes. */
const LONGEST_HEADER = 4 + 4 * 255;

interface Header {
  readonly dtype: IdxDType;
  readonly width: number;
  readonly shape: readonly number[];
  /** Where the elements begin. */
  readonly start: number;
}

/** The header of a file of `size` bytes that begins with `head`. */
function headerOf(head: Uint8Array, size: number): Header {
  if (size < 4) throw new IdxError("IDX_TRUNCATED", `expected at least 4 bytes. Received: ${size}.`);
  const [zero, alsoZero, type = 0, ndim = 0] = head;
  const found = DTYPES[type];
  if (zero !== 0 || alsoZero !== 0 || found === undefined) {
    throw new IdxError(
      "IDX_MAGIC",
      `expected two zero bytes and a dtype (8, 9, 11, 12, 13 or 14). Received: ${[...head.subarray(0, 4)].join(" ")}.`,
    );
  }
  const [dtype, width] = found;
  const start = 4 + 4 * ndim;
  if (size < start)
    throw new IdxError("IDX_TRUNCATED", `expected ${start} bytes for ${ndim} sizes. Received: ${size}.`);
  const view = new DataView(head.buffer, head.byteOffset, head.byteLength);
  const shape = Array.from({ length: ndim }, (_, i) => view.getUint32(4 + 4 * i));
  const expected = shape.reduce((n, s) => n * BigInt(s), BigInt(width)) + BigInt(start);
  if (BigInt(size) !== expected)
    throw new IdxError(
      BigInt(size) < expected ? "IDX_TRUNCATED" : "IDX_TRAILING",
      `expected ${expected} bytes for the shape [${shape.join(", ")}]. Received: ${size}.`,
    );
  return { dtype, width, shape, start };
}

/**
 * Read an IDX array: two zero bytes, the dtype, the number of dimensions, their sizes (32 bits each), the elements.
 *
 * @param bytes - The whole file, gzipped or not. The result shares no memory with it, except uint8 and int8 data of
 * files that are not compressed.
 * @throws {IdxError} `IDX_MAGIC`, `IDX_TRUNCATED`, `IDX_TRAILING` or `IDX_COMPRESSION`.
 * @example
 * const { data, shape } = readIdx("train-images.idx3-ubyte"); // shape [60000, 28, 28]
 */
export function parseIdx(bytes: Uint8Array): IdxArray {
  atMost("parseIdx", arguments, 1);
  if (!isUint8Array(bytes)) throw new ArgumentError("parseIdx", "bytes to be a Uint8Array", bytes);
  const file = isGzip(bytes) ? inflate(bytes) : bytes;
  const { dtype, width, shape, start } = headerOf(file, file.length);
  const elements = file.subarray(start);
  if (dtype === "uint8") return { dtype, shape, data: elements };
  if (dtype === "int8")
    return { dtype, shape, data: new Int8Array(elements.buffer, elements.byteOffset, elements.length) };
  const { buffer } = swapBytes(new Uint8Array(elements), width);
  switch (dtype) {
    case "int16":
      return { dtype, shape, data: new Int16Array(buffer) };
    case "int32":
      return { dtype, shape, data: new Int32Array(buffer) };
    case "float32":
      return { dtype, shape, data: new Float32Array(buffer) };
    case "float64":
      return { dtype, shape, data: new Float64Array(buffer) };
  }
}

/** {@link parseIdx} of a file, gzipped or not. */
export function readIdx(path: string): IdxArray {
  atMost("readIdx", arguments, 1);
  checkReadable("readIdx", path);
  return parseIdx(withFile("readIdx", "read", path, () => readFileSync(path)));
}

/**
 * The tensor of an IDX file, gzipped or not, read straight into its memory.
 *
 * @param options.device - Where it shall be. Default: the CPU.
 * @returns Shape and dtype of the file: uint8, int8, int16, int32, float32 or float64. A file that is not compressed
 * needs no memory besides the tensor's; one that is, its bytes and what they unpack to, while it is read.
 * @throws {IdxError} as {@link parseIdx}.
 * @throws {FileError} when the file cannot be read at all.
 * @example const images = loadIdx("train-images.idx3-ubyte").float().div_(255); // shape [60000, 28, 28]
 */
export function loadIdx(path: string, options: PlaceOptions = {}): Tensor {
  const fn = "loadIdx";
  atMost(fn, arguments, 2);
  checkOptions(fn, options, PLACE);
  checkReadable(fn, path);
  const fd = withFile(fn, "read", path, () => openSync(path, "r"));
  try {
    return scope(() => {
      const made = tensorOf(fn, path, fd);
      return options.device === undefined ? made : made.to({ device: options.device });
    });
  } finally {
    closeSync(fd);
  }
}

function tensorOf(fn: string, path: string, fd: number): Tensor {
  const size = fstatSync(fd).size;
  const head = new Uint8Array(Math.min(size, LONGEST_HEADER));
  readAt(fn, path, fd, head, 0);
  if (isGzip(head)) {
    const file = inflate(withFile(fn, "read", path, () => readFileSync(path)));
    const { dtype, width, shape, start } = headerOf(file, file.length);
    const made = empty(shape, { dtype, device: "cpu" });
    fillFrom(made, (take) => take(swapBytes(file.subarray(start), width)));
    return made;
  }
  const { dtype, width, shape, start } = headerOf(head, size);
  const made = empty(shape, { dtype, device: "cpu" });
  fillFrom(made, (take) => {
    const memory = new Uint8Array(Math.min(PIECE, size - start));
    for (let at = start; at < size; at += PIECE) {
      const piece = memory.subarray(0, Math.min(PIECE, size - at));
      const done = readAt(fn, path, fd, piece, at);
      if (done < piece.length) throw new IdxError("IDX_TRUNCATED", `expected ${size} bytes. Received: ${at + done}.`);
      take(swapBytes(piece, width));
    }
  });
  return made;
}

/** From the file's order of bytes into the machine's, in place. */
function swapBytes(bytes: Uint8Array, width: number): Uint8Array {
  const buffer = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  if (width === 2) buffer.swap16();
  else if (width === 4) buffer.swap32();
  else if (width === 8) buffer.swap64();
  return bytes;
}

const isGzip = (bytes: Uint8Array): boolean => bytes[0] === 0x1f && bytes[1] === 0x8b;

/** Deflate makes data at most so many times smaller. */
const DENSEST = 1032;

function inflate(bytes: Uint8Array): Uint8Array {
  // The last four bytes say how many there were, so that they are not put together of many parts. They may be wrong.
  const said = bytes.length < 4 ? 0 : new DataView(bytes.buffer, bytes.byteOffset).getUint32(bytes.length - 4, true);
  const chunkSize = Math.max(1 << 14, Math.min(said, bytes.length * DENSEST));
  try {
    return gunzipSync(bytes, { chunkSize, maxOutputLength: MOST_BYTES });
  } catch (error) {
    throw new IdxError(
      "IDX_COMPRESSION",
      `expected gzip data. Received: ${isError(error) ? error.message : String(error)}.`,
    );
  }
}
