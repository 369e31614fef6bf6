/**
 * Argument values as descriptions that can be printed, shrunk and made real: right kinds, wrong kinds, and things that
 * only look right.
 */
import fc from "fast-check";
import {
  aten,
  device,
  full,
  Generator,
  inferenceMode,
  scope,
  tensor,
  Tensor,
  viewAsReal,
  zeros,
  type DType,
} from "@nbit/torch";
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
  | { readonly kind: "odd"; readonly what: (typeof ODD)[number] };

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

interface Made {
  readonly made: Tensor;
  readonly values: Float64Array;
  readonly shape: readonly number[];
  readonly dtype: DType;
}
const isCompressible = ({ shape, values, dtype }: Made): boolean =>
  shape.length >= 2 && values.length > 0 && /^(float(32|64)|int64|complex)/.test(dtype);
const conj = (t: Tensor): Tensor => aten["conj"]?.(t) ?? t;
/** By flavor, what becomes of a plain tensor; itself where it cannot have the flavor. */
const FLAVORED: Readonly<Record<Flavor, (of: Made) => Tensor>> = {
  plain: ({ made }) => made,
  nan: ({ made }) => made,
  inference: ({ made }) => made,
  meta: ({ shape, dtype }) => zeros(shape, { dtype, device: "meta" }),
  grad: ({ made }) => (made.isFloatingPoint() || made.isComplex() ? made.requiresGrad_() : made),
  transposed: ({ made, shape }) => (shape.length >= 2 ? made.transpose(0, -1) : made),
  expanded: ({ made, shape }) => made.unsqueeze(0).expand([2, ...shape]),
  disposed: ({ made }) => {
    made.dispose();
    return made;
  },
  sparse: ({ made, shape, dtype }) =>
    shape.length > 0 && dtype.startsWith("float") && !dtype.startsWith("float8") ? made.toSparse() : made,
  csr: (of) => (isCompressible(of) ? of.made.toSparseCsr() : of.made),
  csc: (of) => (isCompressible(of) ? of.made.toSparseCsc() : of.made),
  bsr: (of) => (isCompressible(of) ? of.made.toSparseBsr([1, 1]) : of.made),
  bsc: (of) => (isCompressible(of) ? of.made.toSparseBsc([1, 1]) : of.made),
  mkldnn: ({ made, shape, values, dtype }) =>
    dtype === "float32" && shape.length > 0 && values.length > 0 ? made.toMkldnn() : made,
  zero: ({ made, shape, dtype }) => aten["_efficientzerotensor"]?.(shape, { dtype }) ?? made,
  conjugate: ({ made }) => (made.isComplex() ? conj(made) : made),
  negated: ({ made }) => (made.isComplex() ? viewAsReal(conj(made)).select(-1, 1) : made),
  "real part": ({ made }) => (made.isComplex() ? viewAsReal(made).select(-1, 0) : made),
  overlapping: ({ made, shape, values, dtype }) =>
    made.isFloatingPoint() && values.length > 1
      ? tensor(values)
          .to(dtype)
          .asStrided(
            shape,
            shape.map(() => 1),
          )
      : made,
  large: ({ made, shape, dtype }) =>
    dtype === "int64" || dtype === "int32"
      ? full(shape, dtype === "int64" ? -(1n << 63n) : -(2 ** 31), { dtype })
      : made,
};

function makeTensor(shape: readonly number[], dtype: DType, flavor: Flavor): Tensor {
  const count = shape.reduce((a, b) => a * b, 1);
  const values = Float64Array.from({ length: count }, (_, i) =>
    flavor === "nan" && i % 3 === 0 ? NaN : ((i * 7) % 11) - 3 + (i % 2) * 0.25,
  );
  const make = (): Tensor => tensor(values).reshape(shape).to(dtype);
  return FLAVORED[flavor]({ made: flavor === "inference" ? inferenceMode(make) : make(), values, shape, dtype });
}

/** Runs operators in the middle of another call: gives back what it was asked for. */
function busy<T>(value: T): T {
  scope(() => {
    tensor([1, 2, 3]).add(1).sum([0]).item();
    try {
      tensor([1, 2]).add(tensor([1, 2, 3]));
    } catch {
      // that it fails is part of it
    }
  });
  return value;
}

const MAKE_ODD: Readonly<Record<(typeof ODD)[number], () => unknown>> = {
  object: () => ({ unknownOption: 1 }),
  function: () => () => 1,
  symbol: () => Symbol("x"),
  date: () => new Date(0),
  "fake tensor": () => ({ shape: [2], dtype: "float32", device: "cpu" }),
  "bare prototype": () => Object.create(Tensor.prototype),
  cycle: () => {
    const list: unknown[] = [1];
    list.push(list);
    return list;
  },
  proxy: () =>
    new Proxy(
      scope(() => tensor([1])),
      {},
    ),
  "typed array": () => new Float32Array(4),
  "sparse array": () => Object.assign(new Array<number>(3), { 1: 2 }),
  generator: () => new Generator(),
  device: () => device("cpu"),
  "NaN string": () => "NaN",
  map: () => new Map([["dim", 1]]),
  set: () => new Set([1]),
  promise: () => Promise.resolve(1),
  "class instance": () =>
    new (class Own {
      dim = 1;
    })(),
  "revoked proxy": () => {
    const { proxy, revoke } = Proxy.revocable({}, {});
    revoke();
    return proxy;
  },
  "array subclass": () => new (class List extends Array<number> {})(1, 2),
  "detached array": () => {
    const array = new Float32Array(4);
    structuredClone(array.buffer, { transfer: [array.buffer] });
    return array;
  },
  "shared array": () => new Float64Array(new SharedArrayBuffer(16)),
  "huge bigint": () => 1n << 100_000n,
  "deep array": () => {
    let list: unknown = 1;
    for (let i = 0; i < 20_000; i++) list = [list];
    return list;
  },
  "very long array": () => new Array<number>(2 ** 32 - 1),
  "busy getter": () => ({
    get dtype() {
      return busy("float32");
    },
    get dim() {
      return busy(0);
    },
    get keepdim() {
      return busy(true);
    },
  }),
  "busy list": () => Object.defineProperty([1, 2], 1, { get: () => busy(2) }),
  "busy value": () => ({
    valueOf: () => busy(1),
    toString: () => busy("1"),
    [Symbol.toPrimitive]: () => busy(1),
    [Symbol.iterator]: () => busy([1][Symbol.iterator]()),
  }),
  "busy proxy": () =>
    new Proxy([1, 2], {
      get: (target, key) => busy(Reflect.get(target, key) as unknown),
      has: (target, key) => busy(Reflect.has(target, key)),
      ownKeys: (target) => busy(Reflect.ownKeys(target)),
    }),
  "lone surrogate": () => "\ud800",
  "frozen list": () => Object.freeze([1, 2]),
  "throwing getter": () => ({
    get dim(): number {
      throw Object.assign(new Error("from a getter"), { code: "FROM_GETTER" });
    },
  }),
};

/** The real thing. */
export function materialize(value: Value): unknown {
  switch (value.kind) {
    case "tensor":
      return makeTensor(value.shape, value.dtype, value.flavor);
    case "list":
      return value.items.map(materialize);
    case "plain":
      return value.value;
    case "odd":
      return MAKE_ODD[value.what]();
  }
}

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
