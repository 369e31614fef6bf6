/** Element types of tensors, and PJRT's numbers for them. */
import type { DType } from "@nbit/torch";
import { XlaError } from "./errors.js";

// In PJRT's order; what libtorch has no type for is left out.
const NUMBERS = {
  bool: 1,
  int8: 2,
  int16: 3,
  int32: 4,
  int64: 5,
  uint8: 6,
  uint16: 7,
  uint32: 8,
  uint64: 9,
  float16: 10,
  float32: 11,
  float64: 12,
  bfloat16: 13,
  complex64: 14,
  complex128: 15,
  float8_e5m2: 16,
  float8_e4m3fn: 17,
} as const satisfies Partial<Record<DType, number>>;

const STABLEHLO = {
  bool: "i1",
  int8: "i8",
  int16: "i16",
  int32: "i32",
  int64: "i64",
  uint8: "ui8",
  uint16: "ui16",
  uint32: "ui32",
  uint64: "ui64",
  float16: "f16",
  float32: "f32",
  float64: "f64",
  bfloat16: "bf16",
  complex64: "complex<f32>",
  complex128: "complex<f64>",
  float8_e5m2: "f8E5M2",
  float8_e4m3fn: "f8E4M3FN",
} as const satisfies Record<keyof typeof NUMBERS, string>;

/** A dtype that buffers of a PJRT device may have. */
export type XlaDType = keyof typeof NUMBERS;
/** Every one of them. */
export const XLA_DTYPES = Object.keys(NUMBERS) as readonly XlaDType[];

const byNumber = new Map<number, XlaDType>(XLA_DTYPES.map((dtype) => [NUMBERS[dtype], dtype]));
const byName = new Map<string, XlaDType>(XLA_DTYPES.map((dtype) => [STABLEHLO[dtype], dtype]));

export const isXlaDType = (value: unknown): value is XlaDType =>
  typeof value === "string" && Object.hasOwn(NUMBERS, value);

export const numberOf = (dtype: XlaDType): number => NUMBERS[dtype];
/** @throws {XlaError} `XLA_DTYPE` for an element type that libtorch has not. */
export function dtypeOf(number: number): XlaDType {
  const dtype = byNumber.get(number);
  if (dtype === undefined)
    throw new XlaError(`a buffer of PJRT's element type ${number}, which libtorch has no dtype for.`, "XLA_DTYPE");
  return dtype;
}
/** `bf16` → `bfloat16`; null for a type that libtorch has not. */
export const dtypeOfStableHlo = (name: string): XlaDType | null => byName.get(name) ?? null;
