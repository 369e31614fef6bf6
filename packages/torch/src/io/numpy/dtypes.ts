/** NumPy's types of elements, as texts such as `<f4`, and ours. */
import { Buffer } from "node:buffer";
import type { DType } from "../../tensor/index.js";

/** A type of elements, and how they lie in a file. */
export interface NumpyType {
  readonly dtype: DType;
  /** Bytes of an element, and of what has an order of bytes in it: half of a complex number. */
  readonly width: number;
  readonly swapped: number;
  readonly bigEndian: boolean;
}

const TYPES: Readonly<Record<string, readonly [dtype: DType, width: number, swapped: number]>> = {
  b1: ["bool", 1, 1],
  i1: ["int8", 1, 1],
  i2: ["int16", 2, 2],
  i4: ["int32", 4, 4],
  i8: ["int64", 8, 8],
  u1: ["uint8", 1, 1],
  u2: ["uint16", 2, 2],
  u4: ["uint32", 4, 4],
  u8: ["uint64", 8, 8],
  f2: ["float16", 2, 2],
  f4: ["float32", 4, 4],
  f8: ["float64", 8, 8],
  c8: ["complex64", 8, 4],
  c16: ["complex128", 16, 8],
};
const NAMES = new Map<DType, string>(
  Object.entries(TYPES).map(([name, [dtype, width]]) => [dtype, `${width === 1 ? "|" : "<"}${name}`]),
);

/** By its text; null for a type that no tensor has. `=` and none mean the order of this machine's bytes. */
export function numpyType(text: string): NumpyType | null {
  const match = /^([<>|=]?)([a-z]\d+)$/.exec(text);
  const found = match === null ? undefined : TYPES[match[2] ?? ""];
  if (match === null || found === undefined) return null;
  const [dtype, width, swapped] = found;
  return { dtype, width, swapped, bigEndian: match[1] === ">" };
}

/** The text of a dtype; undefined for one that NumPy lacks. */
export function numpyName(dtype: DType): string | undefined {
  return NAMES.get(dtype);
}
export const numpyDtypes: readonly DType[] = [...NAMES.keys()];

/** From the file's order of bytes into the machine's, in place. */
export function swapBytes(bytes: Uint8Array, width: number): void {
  const buffer = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  if (width === 2) buffer.swap16();
  else if (width === 4) buffer.swap32();
  else if (width === 8) buffer.swap64();
}
