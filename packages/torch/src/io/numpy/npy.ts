/** The header of a `.npy` file, read and written. */
import { Buffer } from "node:buffer";
import { quoted } from "../../plain-text.js";
import type { DType } from "../../tensor/index.js";
import { numpyName, numpyType, type NumpyType } from "./dtypes.js";

export interface NpyHeader {
  readonly type: NumpyType;
  readonly shape: readonly number[];
  /** Whether the first index runs fastest. */
  readonly fortran: boolean;
  /** Where the elements begin, and how many bytes they are. */
  readonly start: number;
  readonly length: number;
}
type Fault = (code: "NUMPY_FORMAT" | "NUMPY_TRUNCATED" | "NUMPY_TRAILING" | "NUMPY_DTYPE", message: string) => Error;

/** How every file begins: a byte, the name, and a version. */
const MAGIC = "\x93NUMPY";
/** Bytes before a header's text, at most. */
export const NPY_PREFIX = 12;
const LONGEST_HEADER = 1 << 16;
/** Dimensions that libtorch's operators can walk. */
const MAX_DIMS = 64;
const ENTRY = /\s*'(descr|fortran_order|shape)'\s*:\s*(?:'([^']*)'|(True|False)|\(([\dL,\s]*)\))\s*(?:,|$)/gy;

/**
 * Where the elements begin, by the first bytes.
 * @param size - Of the file.
 */
export function npyStart(first: Uint8Array, size: number, fault: Fault): number {
  const text = Buffer.from(first.buffer, first.byteOffset, first.length);
  if (first.length < 10 || text.toString("latin1", 0, 6) !== MAGIC) throw wrongMagic(text, fault);
  const major = text.readUInt8(6);
  if (major < 1 || major > 3) throw fault("NUMPY_FORMAT", `expected version 1, 2 or 3. Received: ${major}.`);
  if (major > 1 && first.length < NPY_PREFIX)
    throw fault("NUMPY_TRUNCATED", `expected a header. Received: a file of ${size} bytes.`);
  const length = major === 1 ? text.readUInt16LE(8) : text.readUInt32LE(8);
  if (length > LONGEST_HEADER)
    throw fault("NUMPY_FORMAT", `expected a header of at most ${LONGEST_HEADER} bytes. Received: ${length}.`);
  const start = (major === 1 ? 10 : NPY_PREFIX) + length;
  if (start > size)
    throw fault("NUMPY_TRUNCATED", `expected a header of ${length} bytes. Received: a file of ${size} bytes.`);
  return start;
}
function wrongMagic(first: Buffer, fault: Fault): Error {
  const pickled = first[0] === 0x80 ? " That is a pickle: numpy.save does not write one." : "";
  return fault(
    "NUMPY_FORMAT",
    `expected a file of numpy.save. Received: ${quoted(first.toString("latin1", 0, 6))}.${pickled}`,
  );
}

/**
 * @param head - All bytes before the elements.
 * @param size - Of the file.
 */
export function readNpyHeader(head: Uint8Array, size: number, fault: Fault): NpyHeader {
  const at = (head[6] ?? 1) === 1 ? 10 : NPY_PREFIX;
  const { descr, fortran, shape } = literal(Buffer.from(head.subarray(at)).toString("utf8"), fault);
  const type = numpyType(descr);
  if (type === null) throw unknown(descr, fault);
  const start = head.length;
  const length = shape.reduce((n, s) => n * BigInt(s), BigInt(type.width));
  if (BigInt(size - start) !== length)
    throw fault(
      BigInt(size - start) < length ? "NUMPY_TRUNCATED" : "NUMPY_TRAILING",
      `expected ${length} bytes for ${descr} of shape [${shape.join(", ")}]. Received: ${size - start}.`,
    );
  if (shape.length > MAX_DIMS || shape.reduce((n, s) => n * Math.max(s, 1), 1) > Number.MAX_SAFE_INTEGER)
    throw fault("NUMPY_FORMAT", `expected at most ${MAX_DIMS} sizes whose product is below 2^53.`);
  return { type, shape, fortran, start, length: Number(length) };
}

/** The text of a header: a dict of Python's with three names, whose order is free. */
function literal(text: string, fault: Fault): { descr: string; fortran: boolean; shape: number[] } {
  const dict = /^\s*\{(.*)\}\s*$/s.exec(text)?.[1];
  const found = new Map<string, readonly (string | undefined)[]>();
  if (dict !== undefined) {
    if (/'descr'\s*:\s*[[(]/.test(dict))
      throw fault("NUMPY_DTYPE", `expected elements of one type. Received: records, ${quoted(dict.slice(0, 60))}.`);
    let end = 0;
    for (const match of dict.trimEnd().matchAll(ENTRY)) {
      found.set(match[1] ?? "", match);
      end = match.index + match[0].length;
    }
    if (end < dict.trimEnd().length) found.clear();
  }
  const [descr, fortran, shape] = ["descr", "fortran_order", "shape"].map((name) => found.get(name));
  const sizes = shape?.[4]?.split(",").map((s) => s.trim().replace(/L$/, ""));
  if (sizes?.at(-1) === "") sizes.pop();
  if (
    found.size !== 3 ||
    descr?.[2] === undefined ||
    fortran?.[3] === undefined ||
    sizes === undefined ||
    !sizes.every((s) => /^\d{1,16}$/.test(s) && Number.isSafeInteger(Number(s)))
  )
    throw fault(
      "NUMPY_FORMAT",
      `expected a header with descr, fortran_order and shape. Received: ${quoted(text.slice(0, 80).trimEnd())}.`,
    );
  return { descr: descr[2], fortran: fortran[3] === "True", shape: sizes.map(Number) };
}

function unknown(descr: string, fault: Fault): Error {
  const kind = /O/.test(descr)
    ? "Python's objects, which are pickled code"
    : /[US]/.test(descr)
      ? "texts"
      : /V/.test(descr)
        ? "bytes without a type, such as bfloat16 of ml_dtypes"
        : "a type that no tensor has";
  return fault("NUMPY_DTYPE", `expected numbers or booleans. Received: ${quoted(descr)}, ${kind}.`);
}

/** The header of a file in this machine's order of bytes; the elements behind it begin at a multiple of 64. */
export function writeNpyHeader(dtype: DType, shape: readonly number[]): Buffer {
  const sizes = shape.length === 1 ? `${shape[0]},` : shape.join(", ");
  const text = `{'descr': '${numpyName(dtype)}', 'fortran_order': False, 'shape': (${sizes}), }`;
  const length = Math.ceil((10 + text.length + 1) / 64) * 64;
  const bytes = Buffer.alloc(length, 0x20);
  bytes.write(MAGIC, 0, "latin1");
  bytes.writeUInt8(1, 6);
  bytes.writeUInt8(0, 7);
  bytes.writeUInt16LE(length - 10, 8);
  bytes.write(text, 10, "latin1");
  bytes.write("\n", length - 1, "latin1");
  return bytes;
}
