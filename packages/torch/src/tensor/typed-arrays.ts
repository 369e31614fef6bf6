/** Typed arrays and the dtypes of their elements. */
import { ArgumentError } from "../errors.js";
import { typedArrayName } from "../realm.js";
import type { DType } from "./dtype.js";

export type TypedArray =
  | Float32Array
  | Float64Array
  | Int8Array
  | Uint8Array
  | Uint8ClampedArray
  | Int16Array
  | Uint16Array
  | Int32Array
  | Uint32Array
  | BigInt64Array
  | BigUint64Array
  | Float16Values;

/**
 * What JavaScript calls Float16Array, where it has one (Node 24 and later): named by its shape, so that older compilers
 * and machines do without.
 */
export interface Float16Values extends ArrayBufferView {
  readonly [Symbol.toStringTag]: "Float16Array";
  readonly BYTES_PER_ELEMENT: number;
  readonly length: number;
  [index: number]: number;
  set(source: ArrayLike<number>, at?: number): void;
  [Symbol.iterator](): IterableIterator<number>;
}
/** Whether a value holds numbers of 16 bits, of this realm or another. */
function isFloat16(value: ArrayBufferView): value is Float16Values {
  return typedArrayName(value) === "Float16Array";
}

const ARRAYS = {
  float32: Float32Array,
  float64: Float64Array,
  int8: Int8Array,
  uint8: Uint8Array,
  int16: Int16Array,
  uint16: Uint16Array,
  int32: Int32Array,
  uint32: Uint32Array,
  int64: BigInt64Array,
  uint64: BigUint64Array,
  bool: Uint8Array,
  float16: Uint16Array,
  bfloat16: Uint16Array,
  complex64: Float32Array,
  complex128: Float64Array,
  complex32: Uint16Array,
} as const;

const Float16 = (globalThis as { readonly Float16Array?: new (bytes: ArrayBuffer) => Float16Values }).Float16Array;

/** @internal The natural typed array over a tensor's bytes. */
export function typedArrayOf(dtype: DType, bytes: ArrayBuffer): TypedArray {
  if (dtype === "float16" && Float16 !== undefined) return new Float16(bytes);
  const Type = (ARRAYS as Partial<Record<DType, (typeof ARRAYS)[keyof typeof ARRAYS]>>)[dtype] ?? Uint8Array;
  return new Type(bytes);
}

const DTYPES: Readonly<Record<string, DType>> = {
  Float16Array: "float16",
  Float32Array: "float32",
  Float64Array: "float64",
  Int8Array: "int8",
  Uint8Array: "uint8",
  Uint8ClampedArray: "uint8",
  Int16Array: "int16",
  Uint16Array: "uint16",
  Int32Array: "int32",
  Uint32Array: "uint32",
  BigInt64Array: "int64",
  BigUint64Array: "uint64",
};
export function dtypeOfTypedArray(data: ArrayBufferView): DType {
  const dtype = DTYPES[typedArrayName(data) ?? ""];
  if (dtype === undefined) throw new ArgumentError("tensor", "a typed array", data);
  return dtype;
}

/** @internal Typed arrays that Node-API may not know yet, as plain bytes. */
export function plainBytes(bytes: ArrayBufferView): ArrayBufferView {
  return isFloat16(bytes) ? new Uint8Array(bytes.buffer, bytes.byteOffset, bytes.byteLength) : bytes;
}
