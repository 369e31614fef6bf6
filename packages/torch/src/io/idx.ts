/** The IDX format, in which MNIST is distributed: big-endian arrays of one dtype. */
import { readFileSync } from "node:fs";
import { gunzipSync } from "node:zlib";
import { ArgumentError, NbitError } from "../errors.js";
import { checkReadable, withFile } from "./errors.js";
import { atMost } from "../options.js";
import { isError, isUint8Array } from "../realm.js";

/** An IDX file that cannot be read. */
export class IdxError extends NbitError {
  constructor(code: "IDX_MAGIC" | "IDX_TRUNCATED" | "IDX_TRAILING" | "IDX_COMPRESSION", message: string) {
    super(`idx: ${message}`, code);
  }
}

/** A typed array in the machine's byte order, and its shape. Make a tensor of it with `tensor(data).view(shape)`. */
export type IdxArray =
  | { readonly dtype: "uint8"; readonly shape: readonly number[]; readonly data: Uint8Array }
  | { readonly dtype: "int8"; readonly shape: readonly number[]; readonly data: Int8Array }
  | { readonly dtype: "int16"; readonly shape: readonly number[]; readonly data: Int16Array }
  | { readonly dtype: "int32"; readonly shape: readonly number[]; readonly data: Int32Array }
  | { readonly dtype: "float32"; readonly shape: readonly number[]; readonly data: Float32Array }
  | { readonly dtype: "float64"; readonly shape: readonly number[]; readonly data: Float64Array };

const WIDTHS: Readonly<Record<number, number>> = { 0x08: 1, 0x09: 1, 0x0b: 2, 0x0c: 4, 0x0d: 4, 0x0e: 8 };

/** A file of a megabyte can unpack to a gigabyte: beyond this it is no data set. */
const MOST_BYTES = 2 ** 32;

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
  const file = bytes[0] === 0x1f && bytes[1] === 0x8b ? inflate(bytes) : bytes;
  if (file.length < 4) throw new IdxError("IDX_TRUNCATED", `expected at least 4 bytes. Received: ${file.length}.`);
  const [zero, alsoZero, type, ndim] = file as unknown as [number, number, number, number];
  const width = WIDTHS[type];
  if (zero !== 0 || alsoZero !== 0 || width === undefined) {
    throw new IdxError(
      "IDX_MAGIC",
      `expected two zero bytes and a dtype (8, 9, 11, 12, 13 or 14). Received: ${[...file.subarray(0, 4)].join(" ")}.`,
    );
  }
  const start = 4 + 4 * ndim;
  if (file.length < start)
    throw new IdxError("IDX_TRUNCATED", `expected ${start} bytes for ${ndim} sizes. Received: ${file.length}.`);
  const view = new DataView(file.buffer, file.byteOffset, file.byteLength);
  const shape = Array.from({ length: ndim }, (_, i) => view.getUint32(4 + 4 * i));
  const expected = shape.reduce((n, s) => n * BigInt(s), BigInt(width)) + BigInt(start);
  if (BigInt(file.length) < expected)
    throw new IdxError(
      "IDX_TRUNCATED",
      `expected ${expected} bytes for the shape [${shape.join(", ")}]. Received: ${file.length}.`,
    );
  if (BigInt(file.length) > expected)
    throw new IdxError(
      "IDX_TRAILING",
      `expected ${expected} bytes for the shape [${shape.join(", ")}]. Received: ${file.length}.`,
    );
  const count = (file.length - start) / width;
  const read = <A extends { [i: number]: number }>(data: A, at: (offset: number) => number): A => {
    for (let i = 0; i < count; i++) data[i] = at(start + i * width);
    return data;
  };
  switch (type) {
    case 0x08:
      return { dtype: "uint8", shape, data: file.subarray(start) };
    case 0x09:
      return { dtype: "int8", shape, data: new Int8Array(file.buffer, file.byteOffset + start, count) };
    case 0x0b:
      return { dtype: "int16", shape, data: read(new Int16Array(count), (o) => view.getInt16(o)) };
    case 0x0c:
      return { dtype: "int32", shape, data: read(new Int32Array(count), (o) => view.getInt32(o)) };
    case 0x0d:
      return { dtype: "float32", shape, data: read(new Float32Array(count), (o) => view.getFloat32(o)) };
    default:
      return { dtype: "float64", shape, data: read(new Float64Array(count), (o) => view.getFloat64(o)) };
  }
}

/** {@link parseIdx} of a file, gzipped or not. */
export function readIdx(path: string): IdxArray {
  atMost("readIdx", arguments, 1);
  checkReadable("readIdx", path);
  return parseIdx(withFile("readIdx", "read", path, () => readFileSync(path)));
}

function inflate(bytes: Uint8Array): Uint8Array {
  try {
    return gunzipSync(bytes, { maxOutputLength: MOST_BYTES });
  } catch (error) {
    throw new IdxError(
      "IDX_COMPRESSION",
      `expected gzip data. Received: ${isError(error) ? error.message : String(error)}.`,
    );
  }
}
