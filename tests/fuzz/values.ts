/**
 * Argument values as descriptions that can be printed, shrunk and made real: right kinds, wrong kinds, and things that
 * only look right.
 */
import fc from "fast-check";
import type { DType } from "@nbit/torch";
import type { ArgumentSchema } from "./surface.js";

export type Flavor =
  | "plain"
  | "grad"
  | "transposed"
  | "expanded"
  | "disposed"
  | "meta"
  | "sparse"
  | "csr"
  | "csc"
  | "bsr"
  | "bsc"
  | "mkldnn"
  | "zero"
  | "conjugate"
  | "negated"
  | "real part"
  | "overlapping"
  | "large"
  | "nan"
  | "inference";
export type Value =
  | { readonly kind: "tensor"; readonly shape: readonly number[]; readonly dtype: DType; readonly flavor: Flavor }
  | { readonly kind: "list"; readonly items: readonly Value[] }
  | { readonly kind: "plain"; readonly value: number | bigint | boolean | string | null | undefined }
  | { readonly kind: "odd"; readonly what: Odd };

/** Things that are no argument of any operator. */
const ODD = [
  "object",
  "function",
  "symbol",
  "date",
  "fake tensor",
  "bare prototype",
  "cycle",
  "proxy",
  "typed array",
  "sparse array",
  "generator",
  "device",
  "NaN string",
  "throwing getter",
  "map",
  "set",
  "promise",
  "class instance",
  "revoked proxy",
  "array subclass",
  "detached array",
  "shared array",
  "huge bigint",
  "deep array",
  "very long array",
  "busy getter",
  "busy list",
  "busy value",
  "busy proxy",
  "lone surrogate",
  "frozen list",
] as const;
export type Odd = (typeof ODD)[number];
const SHAPES: readonly (readonly number[])[] = [
  [],
  [0],
  [1],
  [3],
  [4],
  [2, 3],
  [3, 3],
  [3, 2],
  [1, 1],
  [2, 0, 3],
  [2, 3, 4],
  [3, 3, 3],
  [1, 3, 8, 8],
  [2, 3, 4, 4],
  [4, 1, 3, 3],
  [1, 2, 3, 4, 5],
];
const DTYPES: readonly DType[] = [
  "float64",
  "float16",
  "bfloat16",
  "int64",
  "int32",
  "int16",
  "int8",
  "uint8",
  "bool",
  "complex64",
  "complex128",
  "float8_e4m3fn",
  "float8_e5m2",
  "uint16",
  "uint64",
];
const FLAVORS: readonly Flavor[] = [
  "grad",
  "transposed",
  "expanded",
  "disposed",
  "meta",
  "sparse",
  "csr",
  "csc",
  "bsr",
  "bsc",
  "mkldnn",
  "zero",
  "conjugate",
  "negated",
  "real part",
  "overlapping",
  "large",
  "nan",
  "inference",
];
const INTEGERS = [
  0,
  1,
  2,
  3,
  4,
  -1,
  -2,
  5,
  7,
  -100,
  65536,
  2 ** 31 - 1,
  -(2 ** 31),
  2 ** 53 - 1,
  -(2 ** 53),
  (1n << 63n) - 1n,
  -(1n << 63n),
  (1n << 62n) + 1n,
];
const FLOATS = [0, 1, -1, 0.5, 0.1, 2.5, -0, 1e-30, 1e30, NaN, Infinity, -Infinity];
const STRINGS = [
  "mean",
  "sum",
  "none",
  "reflect",
  "constant",
  "same",
  "valid",
  "ij",
  "xy",
  "fro",
  "nuc",
  "floor",
  "trunc",
  "tanh",
  "left",
  "L",
  "reduced",
  "ii->i",
  "ij,jk->ik",
  "",
  "bogus",
  "\u0000",
  "ﬁ".repeat(300),
];
const DTYPE_NAMES = ["float32", "float64", "bfloat16", "int64", "bool", "complex64", "uint64", "quint8", "nonsense"];
const DEVICES = ["cpu", "meta", "cuda", "cuda:99", "cpu:1", "xpu", "nonsense:-1"];
const FORMATS = [
  "contiguousFormat",
  "channelsLast",
  "channelsLast3d",
  "preserveFormat",
  "strided",
  "sparseCoo",
  "mkldnn",
  "bogus",
];

const mostly = <T>(usual: fc.Arbitrary<T>, rare: fc.Arbitrary<T>, weight = 5): fc.Arbitrary<T> =>
  fc.oneof({ weight, arbitrary: usual }, { weight: 1, arbitrary: rare });
const plain = (values: readonly (number | bigint | boolean | string | null | undefined)[]): fc.Arbitrary<Value> =>
  fc.constantFrom(...values).map((value) => ({ kind: "plain" as const, value }));

const tensors: fc.Arbitrary<Value> = fc.record({
  kind: fc.constant("tensor" as const),
  shape: fc.constantFrom(...SHAPES),
  dtype: mostly(fc.constant<DType>("float32"), fc.constantFrom(...DTYPES), 2),
  flavor: mostly(fc.constant<Flavor>("plain"), fc.constantFrom(...FLAVORS), 3),
});
// Small ones mostly, so that many calls pass the checks and reach a kernel.
const integers = mostly(plain(INTEGERS.slice(0, 9)), plain(INTEGERS));
const scalars = fc.oneof(plain(FLOATS), integers, plain([true, false]));
const listOf = (items: fc.Arbitrary<Value>, size: number | undefined): fc.Arbitrary<Value> =>
  mostly(
    fc.array(items, size === undefined ? { maxLength: 4 } : { minLength: size, maxLength: size }),
    fc.array(items, { maxLength: 6 }),
  ).map((list) => ({ kind: "list" as const, items: list }));

const wrong: fc.Arbitrary<Value> = fc.oneof(
  fc.constantFrom(...ODD).map((what) => ({ kind: "odd" as const, what })),
  plain([null, undefined, "text", true, NaN, 1n << 70n]),
  tensors,
  listOf(
    fc.oneof(
      tensors,
      scalars,
      fc.constantFrom(...ODD).map((what) => ({ kind: "odd" as const, what })),
    ),
    undefined,
  ),
);

function right(arg: ArgumentSchema): fc.Arbitrary<Value> {
  const one: Readonly<Record<string, fc.Arbitrary<Value>>> = {
    t: tensors,
    i: integers,
    f: plain(FLOATS),
    s: scalars,
    b: plain([true, false]),
    S: plain(STRINGS),
    d: plain(DTYPE_NAMES),
    D: plain(DEVICES),
    l: plain(FORMATS),
    m: plain(FORMATS),
    g: fc.constant({ kind: "odd", what: "generator" }),
  };
  const item = one[arg.kind] ?? plain([null]);
  if (arg.list !== true) return arg.optional === true ? mostly(item, plain([null, undefined]), 3) : item;
  return arg.size === undefined ? listOf(item, undefined) : mostly(listOf(item, arg.size), item, 2);
}

/** A value for one argument: of the right kind five times out of six. */
export function valueFor(arg: ArgumentSchema): fc.Arbitrary<Value> {
  return mostly(right(arg), wrong, 7);
}
export const anyValue = wrong;
export const anyTensor = tensors;

export function show(value: Value): string {
  switch (value.kind) {
    case "tensor":
      return `${value.dtype}[${value.shape.join(",")}]${value.flavor === "plain" ? "" : ` ${value.flavor}`}`;
    case "list":
      return `[${value.items.map(show).join("; ")}]`;
    case "plain":
      return typeof value.value === "bigint"
        ? `${value.value}n`
        : typeof value.value === "string"
          ? JSON.stringify(value.value.slice(0, 20))
          : Object.is(value.value, -0)
            ? "-0"
            : String(value.value);
    case "odd":
      return `<${value.what}>`;
  }
}
