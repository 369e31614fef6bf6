/** Tensor types of StableHLO, and how they stand to PyTorch's. */
import type { DType } from "@nbit/torch";

export type Element =
  | "i1"
  | "i8"
  | "i16"
  | "i32"
  | "i64"
  | "ui8"
  | "ui16"
  | "ui32"
  | "ui64"
  | "f8E4M3FN"
  | "f8E5M2"
  | "f16"
  | "bf16"
  | "f32"
  | "f64";

/** A value of the program that is being written: it is assigned once. */
export interface Ssa {
  /** As the text names it: `%7`, `%arg0`. */
  readonly name: string;
  readonly element: Element;
  readonly shape: readonly number[];
}
/** What a lowering computes with: a value, or a number that takes the type of what it meets. */
export type Operand = Ssa | number;

const ELEMENTS: Partial<Record<DType, Element>> = {
  bool: "i1",
  int8: "i8",
  int16: "i16",
  int32: "i32",
  int64: "i64",
  uint8: "ui8",
  uint16: "ui16",
  uint32: "ui32",
  uint64: "ui64",
  float8_e4m3fn: "f8E4M3FN",
  float8_e5m2: "f8E5M2",
  float16: "f16",
  bfloat16: "bf16",
  float32: "f32",
  float64: "f64",
};
/** Null where StableHLO has no such type, or XLA does not compute with it. */
export const elementOf = (dtype: DType): Element | null => ELEMENTS[dtype] ?? null;
const DTYPES = new Map(Object.entries(ELEMENTS).map(([dtype, element]) => [element, dtype as DType]));
export const dtypeOf = (element: Element): DType => DTYPES.get(element) as DType;

export const isFloat = (e: Element): boolean => e === "bf16" || e.startsWith("f");
export const isSigned = (e: Element): boolean => e.startsWith("i") && e !== "i1";
export const isUnsigned = (e: Element): boolean => e.startsWith("ui") || e === "i1";
/** Bits of an element in memory, as PyTorch keeps it: a bool is a byte. */
export const bitsOf = (e: Element): number => (e === "i1" || e.startsWith("f8") ? 8 : Number(/\d+/.exec(e)?.[0]));

/** The type that PyTorch's kernels compute in: float32 for half types and float8, everything else in itself. */
export const accumulator = (e: Element): Element => (isFloat(e) && bitsOf(e) < 32 ? "f32" : e);

export const typeText = (element: Element, shape: readonly number[]): string =>
  `tensor<${[...shape, element].join("x")}>`;

export const same = (a: readonly number[], b: readonly number[]): boolean =>
  a.length === b.length && a.every((x, i) => x === b[i]);
export const sizeOf = (shape: readonly number[]): number => shape.reduce((a, b) => a * b, 1);
export const range = (n: number): number[] => Array.from({ length: n }, (_, i) => i);
/** A dimension counted from the end, from the start. */
export const axisOf = (dim: number, rank: number): number => (dim < 0 ? dim + Math.max(rank, 1) : dim);

/** The shape that numpy's broadcasting gives; null: they do not fit. */
export function jointShape(a: readonly number[], b: readonly number[]): number[] | null {
  const rank = Math.max(a.length, b.length);
  const joint = range(rank).map((i) => {
    const [x, y] = [a[i - rank + a.length] ?? 1, b[i - rank + b.length] ?? 1];
    return x === y || y === 1 ? x : x === 1 ? y : -1;
  });
  return joint.includes(-1) ? null : joint;
}
