/** Argument values as descriptions that can be printed, shrunk and made real: right kinds, wrong kinds, and things that only look right. */
import fc from "fast-check";
import { aten, device, full, Generator, inferenceMode, scope, tensor, Tensor, viewAsReal, zeros, type DType } from "@nbit/torch";
import type { ArgumentSchema } from "./surface.js";

export type Flavor = "plain" | "grad" | "transposed" | "expanded" | "disposed" | "meta" | "sparse" | "csr" | "csc" | "bsr" | "bsc" | "mkldnn" | "zero" | "conjugate" | "negated" | "real part" | "overlapping" | "large" | "nan" | "inference";
export type Value =
  | { readonly kind: "tensor"; readonly shape: readonly number[]; readonly dtype: DType; readonly flavor: Flavor }
  | { readonly kind: "list"; readonly items: readonly Value[] }
  | { readonly kind: "plain"; readonly value: number | bigint | boolean | string | null | undefined }
  | { readonly kind: "odd"; readonly what: (typeof ODD)[number] };

/** Things that are no argument of any operator. */
const ODD = [
  "object", "function", "symbol", "date", "fake tensor", "bare prototype", "cycle", "proxy", "typed array", "sparse array", "generator", "device", "NaN string", "throwing getter", "map", "set", "promise",
  "class instance", "revoked proxy", "array subclass", "detached array", "shared array", "huge bigint", "deep array", "very long array", "busy getter", "busy list", "busy value", "busy proxy", "lone surrogate", "frozen list",
] as const;
const SHAPES: readonly (readonly number[])[] = [[], [0], [1], [3], [4], [2, 3], [3, 3], [3, 2], [1, 1], [2, 0, 3], [2, 3, 4], [3, 3, 3], [1, 3, 8, 8], [2, 3, 4, 4], [4, 1, 3, 3], [1, 2, 3, 4, 5]];
const DTYPES: readonly DType[] = ["float64", "float16", "bfloat16", "int64", "int32", "int16", "int8", "uint8", "bool", "complex64", "complex128", "float8_e4m3fn", "float8_e5m2", "uint16", "uint64"];
const FLAVORS: readonly Flavor[] = ["grad", "transposed", "expanded", "disposed", "meta", "sparse", "csr", "csc", "bsr", "bsc", "mkldnn", "zero", "conjugate", "negated", "real part", "overlapping", "large", "nan", "inference"];
const INTEGERS = [0, 1, 2, 3, 4, -1, -2, 5, 7, -100, 65536, 2 ** 31 - 1, -(2 ** 31), 2 ** 53 - 1, -(2 ** 53), (1n << 63n) - 1n, -(1n << 63n), (1n << 62n) + 1n];
const FLOATS = [0, 1, -1, 0.5, 0.1, 2.5, -0, 1e-30, 1e30, NaN, Infinity, -Infinity];
const STRINGS = ["mean", "sum", "none", "reflect", "constant", "same", "valid", "ij", "xy", "fro", "nuc", "floor", "trunc", "tanh", "left", "L", "reduced", "ii->i", "ij,jk->ik", "", "bogus", "\u0000", "ﬁ".repeat(300)];
const DTYPE_NAMES = ["float32", "float64", "bfloat16", "int64", "bool", "complex64", "uint64", "quint8", "nonsense"];
const DEVICES = ["cpu", "meta", "cuda", "cuda:99", "cpu:1", "xpu", "nonsense:-1"];
const FORMATS = ["contiguousFormat", "channelsLast", "channelsLast3d", "preserveFormat", "strided", "sparseCoo", "mkldnn", "bogus"];

const mostly = <T>(usual: fc.Arbitrary<T>, rare: fc.Arbitrary<T>, weight = 5): fc.Arbitrary<T> => fc.oneof({ weight, arbitrary: usual }, { weight: 1, arbitrary: rare });
const plain = (values: readonly (number | bigint | boolean | string | null | undefined)[]): fc.Arbitrary<Value> => fc.constantFrom(...values).map((value) => ({ kind: "plain" as const, value }));

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
  mostly(fc.array(items, size === undefined ? { maxLength: 4 } : { minLength: size, maxLength: size }), fc.array(items, { maxLength: 6 })).map((list) => ({ kind: "list" as const, items: list }));

const wrong: fc.Arbitrary<Value> = fc.oneof(
  fc.constantFrom(...ODD).map((what) => ({ kind: "odd" as const, what })),
  plain([null, undefined, "text", true, NaN, 1n << 70n]),
  tensors,
  listOf(fc.oneof(tensors, scalars, fc.constantFrom(...ODD).map((what) => ({ kind: "odd" as const, what }))), undefined),
);

function right(arg: ArgumentSchema): fc.Arbitrary<Value> {
  const one: Readonly<Record<string, fc.Arbitrary<Value>>> = {
    t: tensors, i: integers, f: plain(FLOATS), s: scalars, b: plain([true, false]), S: plain(STRINGS), d: plain(DTYPE_NAMES), D: plain(DEVICES), l: plain(FORMATS), m: plain(FORMATS),
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

function makeTensor(shape: readonly number[], dtype: DType, flavor: Flavor): Tensor {
  const count = shape.reduce((a, b) => a * b, 1);
  const values = Float64Array.from({ length: count }, (_, i) => (flavor === "nan" && i % 3 === 0 ? NaN : ((i * 7) % 11) - 3 + (i % 2) * 0.25));
  if (flavor === "meta") return zeros(shape, { dtype, device: "meta" });
  const make = (): Tensor => tensor(values).reshape(shape).to(dtype);
  const made = flavor === "inference" ? inferenceMode(make) : make();
  const compressible = shape.length >= 2 && count > 0 && /^(float(32|64)|int64|complex)/.test(dtype);
  switch (flavor) {
    case "grad":
      return made.isFloatingPoint() || made.isComplex() ? made.requiresGrad_() : made;
    case "transposed":
      return shape.length >= 2 ? made.transpose(0, -1) : made;
    case "expanded":
      return made.unsqueeze(0).expand([2, ...shape]);
    case "disposed":
      made.dispose();
      return made;
    case "sparse":
      return shape.length > 0 && dtype.startsWith("float") && !dtype.startsWith("float8") ? made.toSparse() : made;
    case "csr":
      return compressible ? made.toSparseCsr() : made;
    case "csc":
      return compressible ? made.toSparseCsc() : made;
    case "bsr":
      return compressible ? made.toSparseBsr([1, 1]) : made;
    case "bsc":
      return compressible ? made.toSparseBsc([1, 1]) : made;
    case "mkldnn":
      return dtype === "float32" && shape.length > 0 && count > 0 ? made.toMkldnn() : made;
    case "zero":
      return aten["_efficientzerotensor"]?.(shape, { dtype }) ?? made;
    case "conjugate":
      return made.isComplex() ? (aten["conj"]?.(made) ?? made) : made;
    case "negated":
      return made.isComplex() ? viewAsReal(aten["conj"]?.(made) ?? made).select(-1, 1) : made;
    case "real part":
      return made.isComplex() ? viewAsReal(made).select(-1, 0) : made;
    case "overlapping":
      return made.isFloatingPoint() && count > 1 ? tensor(values).to(dtype).asStrided(shape, shape.map(() => 1)) : made;
    case "large":
      return dtype === "int64" || dtype === "int32" ? full(shape, dtype === "int64" ? -(1n << 63n) : -(2 ** 31), { dtype }) : made;
    default:
      return made;
  }
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

function makeOdd(what: (typeof ODD)[number]): unknown {
  switch (what) {
    case "object":
      return { unknownOption: 1 };
    case "function":
      return () => 1;
    case "symbol":
      return Symbol("x");
    case "date":
      return new Date(0);
    case "fake tensor":
      return { shape: [2], dtype: "float32", device: "cpu" };
    case "bare prototype":
      return Object.create(Tensor.prototype);
    case "cycle": {
      const list: unknown[] = [1];
      list.push(list);
      return list;
    }
    case "proxy":
      return new Proxy(scope(() => tensor([1])), {});
    case "typed array":
      return new Float32Array(4);
    case "sparse array":
      return Object.assign(new Array<number>(3), { 1: 2 });
    case "generator":
      return new Generator();
    case "device":
      return device("cpu");
    case "NaN string":
      return "NaN";
    case "map":
      return new Map([["dim", 1]]);
    case "set":
      return new Set([1]);
    case "promise":
      return Promise.resolve(1);
    case "class instance":
      return new (class Own {
        dim = 1;
      })();
    case "revoked proxy": {
      const { proxy, revoke } = Proxy.revocable({}, {});
      revoke();
      return proxy;
    }
    case "array subclass":
      return new (class List extends Array<number> {})(1, 2);
    case "detached array": {
      const array = new Float32Array(4);
      structuredClone(array.buffer, { transfer: [array.buffer] });
      return array;
    }
    case "shared array":
      return new Float64Array(new SharedArrayBuffer(16));
    case "huge bigint":
      return 1n << 100_000n;
    case "deep array": {
      let list: unknown = 1;
      for (let i = 0; i < 20_000; i++) list = [list];
      return list;
    }
    case "very long array":
      return new Array<number>(2 ** 32 - 1);
    case "busy getter":
      return { get dtype() { return busy("float32"); }, get dim() { return busy(0); }, get keepdim() { return busy(true); } };
    case "busy list":
      return Object.defineProperty([1, 2], 1, { get: () => busy(2) });
    case "busy value":
      return { valueOf: () => busy(1), toString: () => busy("1"), [Symbol.toPrimitive]: () => busy(1), [Symbol.iterator]: () => busy([1][Symbol.iterator]()) };
    case "busy proxy":
      return new Proxy([1, 2], { get: (target, key) => busy(Reflect.get(target, key) as unknown), has: (target, key) => busy(Reflect.has(target, key)), ownKeys: (target) => busy(Reflect.ownKeys(target)) });
    case "lone surrogate":
      return "\ud800";
    case "frozen list":
      return Object.freeze([1, 2]);
    case "throwing getter":
      return { get dim(): number { throw Object.assign(new Error("from a getter"), { code: "FROM_GETTER" }); } };
  }
}

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
      return makeOdd(value.what);
  }
}

export function show(value: Value): string {
  switch (value.kind) {
    case "tensor":
      return `${value.dtype}[${value.shape.join(",")}]${value.flavor === "plain" ? "" : ` ${value.flavor}`}`;
    case "list":
      return `[${value.items.map(show).join("; ")}]`;
    case "plain":
      return typeof value.value === "bigint" ? `${value.value}n` : typeof value.value === "string" ? JSON.stringify(value.value.slice(0, 20)) : Object.is(value.value, -0) ? "-0" : String(value.value);
    case "odd":
      return `<${value.what}>`;
  }
}
