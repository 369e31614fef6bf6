/** Data types, named as in PyTorch. */
import { ArgumentError } from "../errors.js";
import { nearest } from "../names.js";
import { info } from "../native.js";
import { atMost } from "../options.js";

// libtorch's own names, and ours (PyTorch's Python names); codes are positions in the libtorch that is loaded.
const NAMES = {
  Byte: "uint8",
  Char: "int8",
  Short: "int16",
  Int: "int32",
  Long: "int64",
  Half: "float16",
  Float: "float32",
  Double: "float64",
  ComplexHalf: "complex32",
  ComplexFloat: "complex64",
  ComplexDouble: "complex128",
  Bool: "bool",
  BFloat16: "bfloat16",
  QInt8: "qint8",
  QUInt8: "quint8",
  QInt32: "qint32",
  QUInt4x2: "quint4x2",
  QUInt2x4: "quint2x4",
  Float8_e5m2: "float8_e5m2",
  Float8_e4m3fn: "float8_e4m3fn",
  Float8_e5m2fnuz: "float8_e5m2fnuz",
  Float8_e4m3fnuz: "float8_e4m3fnuz",
  Float8_e8m0fnu: "float8_e8m0fnu",
  Float4_e2m1fn_x2: "float4_e2m1fn_x2",
  UInt16: "uint16",
  UInt32: "uint32",
  UInt64: "uint64",
  UInt1: "uint1",
  UInt2: "uint2",
  UInt3: "uint3",
  UInt4: "uint4",
  UInt5: "uint5",
  UInt6: "uint6",
  UInt7: "uint7",
  Int1: "int1",
  Int2: "int2",
  Int3: "int3",
  Int4: "int4",
  Int5: "int5",
  Int6: "int6",
  Int7: "int7",
  Bits1x8: "bits1x8",
  Bits2x4: "bits2x4",
  Bits4x2: "bits4x2",
  Bits8: "bits8",
  Bits16: "bits16",
} as const;

/** A tensor's element type: PyTorch's name without the `torch.` before it. */
export type DType = (typeof NAMES)[keyof typeof NAMES];

const names: readonly string[] = info.dtypes
  .split(" ")
  .map((n) => (NAMES as Record<string, string>)[n] ?? n.toLowerCase());
const codes = new Map<string, number>();
names.forEach((name, code) => codes.set(name, code));

/** @internal */
export function dtypeName(code: number): DType {
  return names[code] as DType;
}

/** What Python, NumPy and others call them. */
const ALIASES: ReadonlyMap<string, DType> = new Map(
  Object.entries({
    half: "float16",
    fp16: "float16",
    bf16: "bfloat16",
    float: "float32",
    fp32: "float32",
    single: "float32",
    double: "float64",
    fp64: "float64",
    number: "float32",
    byte: "uint8",
    char: "int8",
    short: "int16",
    int: "int32",
    integer: "int64",
    long: "int64",
    boolean: "bool",
    fp8: "float8_e4m3fn",
    float8: "float8_e4m3fn",
  } as const),
);
/** @internal `Did you mean "float16"?`, for a dtype's name elsewhere or one that is misspelt; else nothing. */
export function dtypeMeant(dtype: unknown): string {
  if (typeof dtype !== "string") return "";
  const plain = dtype.replace(/^torch\./, "");
  const meant = ALIASES.get(plain.toLowerCase()) ?? (codes.has(plain) ? plain : nearest(plain, codes.keys()));
  return meant === null ? "" : `Did you mean ${JSON.stringify(meant)}?`;
}

/** @internal The code of a dtype, or an ArgumentError naming `fn`. */
export function dtypeCode(dtype: unknown, fn: string): number {
  const code = typeof dtype === "string" ? codes.get(dtype) : undefined;
  if (code === undefined)
    throw new ArgumentError(
      fn,
      `dtype to be one of ${[...codes.keys()].slice(0, 12).join(", ")}, float8_e4m3fn, …`,
      dtype,
      dtypeMeant(dtype),
    );
  return code;
}

export function isDType(value: unknown): value is DType {
  return typeof value === "string" && codes.has(value);
}

const FLOATS = new Set<string>([
  "float16",
  "bfloat16",
  "float32",
  "float64",
  "float8_e5m2",
  "float8_e4m3fn",
  "float8_e5m2fnuz",
  "float8_e4m3fnuz",
  "float8_e8m0fnu",
  "float4_e2m1fn_x2",
]);
const COMPLEX = new Set<string>(["complex32", "complex64", "complex128"]);

export function isFloatingPoint(dtype: DType): boolean {
  return FLOATS.has(dtype);
}
export function isComplex(dtype: DType): boolean {
  return COMPLEX.has(dtype);
}

const SIZES: Partial<Record<DType, number>> = {
  uint8: 1,
  int8: 1,
  bool: 1,
  int16: 2,
  uint16: 2,
  float16: 2,
  bfloat16: 2,
  int32: 4,
  uint32: 4,
  float32: 4,
  complex32: 4,
  int64: 8,
  uint64: 8,
  float64: 8,
  complex64: 8,
  complex128: 16,
  float8_e5m2: 1,
  float8_e4m3fn: 1,
  float8_e5m2fnuz: 1,
  float8_e4m3fnuz: 1,
  float8_e8m0fnu: 1,
  float4_e2m1fn_x2: 1,
  qint8: 1,
  quint8: 1,
  qint32: 4,
};

/** Bytes of one element. */
export function itemSize(dtype: DType): number {
  atMost("itemSize", arguments, 1);
  if (typeof dtype !== "string") throw new ArgumentError("itemSize", 'a dtype such as "float32"', dtype);
  return SIZES[dtype] ?? 1;
}

/** Numeric limits as `torch.finfo`: `eps` is the gap after 1, `tiny` the smallest normal number. */
export interface FInfo {
  readonly bits: number;
  readonly eps: number;
  readonly max: number;
  readonly min: number;
  readonly tiny: number;
  readonly smallestSubnormal: number;
}
function limits(bits: number, mantissa: number, minExponent: number, max: number): FInfo {
  return Object.freeze({
    bits,
    eps: 2 ** -mantissa,
    max,
    min: -max,
    tiny: 2 ** minExponent,
    smallestSubnormal: 2 ** (minExponent - mantissa),
  });
}
const FINFO: Partial<Record<DType, FInfo>> = {
  float64: limits(64, 52, -1022, Number.MAX_VALUE),
  float32: limits(32, 23, -126, (2 - 2 ** -23) * 2 ** 127),
  float16: limits(16, 10, -14, 65504),
  bfloat16: limits(16, 7, -126, (2 - 2 ** -7) * 2 ** 127),
  float8_e4m3fn: limits(8, 3, -6, 448),
  float8_e5m2: limits(8, 2, -14, 57344),
};

/**
 * Limits of a floating point dtype.
 * @throws {ArgumentError} `finfo: expected dtype to be a floating point dtype. Received: "int64".`
 * @example finfo("bfloat16").eps; // 0.0078125
 */
export function finfo(dtype: DType): FInfo {
  atMost("finfo", arguments, 1);
  const found = typeof dtype === "string" ? FINFO[dtype] : undefined;
  if (found === undefined) throw new ArgumentError("finfo", "dtype to be a floating point dtype", dtype);
  return found;
}

/** Numeric limits as `torch.iinfo`. Those of 64 bits are what a number holds of them: `max` of int64 is 2^63. */
export interface IInfo {
  readonly bits: number;
  readonly max: number;
  readonly min: number;
  readonly dtype: DType;
}
const INTEGERS = ["int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64"] as const;

/**
 * Limits of an integer dtype.
 * @throws {ArgumentError} `iinfo: expected dtype to be an integer dtype. Received: "float32".`
 * @example iinfo("int8").min; // -128
 */
export function iinfo(dtype: DType): IInfo {
  atMost("iinfo", arguments, 1);
  if (!(INTEGERS as readonly unknown[]).includes(dtype))
    throw new ArgumentError("iinfo", "dtype to be an integer dtype", dtype);
  const bits = 8 * itemSize(dtype);
  return dtype.startsWith("u")
    ? { bits, max: 2 ** bits - 1, min: 0, dtype }
    : { bits, max: 2 ** (bits - 1) - 1, min: -(2 ** (bits - 1)), dtype };
}

export const uint8 = "uint8",
  int8 = "int8",
  int16 = "int16",
  int32 = "int32",
  int64 = "int64",
  uint16 = "uint16",
  uint32 = "uint32",
  uint64 = "uint64";
export const float16 = "float16",
  bfloat16 = "bfloat16",
  float32 = "float32",
  float64 = "float64",
  complex32 = "complex32",
  complex64 = "complex64",
  complex128 = "complex128";
export const float8_e4m3fn = "float8_e4m3fn",
  float8_e5m2 = "float8_e5m2",
  bool = "bool";
export const half = float16,
  float = float32,
  double = float64,
  short = int16,
  int = int32,
  long = int64,
  cfloat = complex64,
  cdouble = complex128;
