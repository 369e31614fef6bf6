/** Values of random calls as the real things: tensors of every flavor, and objects that are no argument of anything. */
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
import type { Flavor, Odd, Value } from "./values.js";

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

const MAKE_ODD: Readonly<Record<Odd, () => unknown>> = {
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
