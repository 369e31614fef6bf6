/**
 * What every operator of our own answers to arguments that do not fit: a value, or an error with a code that says what
 * was expected. Never a crash, never a read beyond a tensor.
 */
import assert from "node:assert/strict";
import { test } from "node:test";
import * as torch from "../index.js";
import {
  aten,
  arange,
  isTensor,
  NbitError,
  noGrad,
  ones,
  operatorNames,
  operators,
  rand,
  scope,
  tensor,
  zeros,
  type DType,
  type Tensor,
} from "../index.js";
import { describe } from "../errors.js";
import { schemasOf, type Argument } from "./schema.js";

type Values = Record<string, unknown>;
interface Row {
  /** Arguments that fit, by their names in the schema. */
  readonly args: () => Values;
  /** Where alone its kernels are. Default: on the CPU, and on a GPU where there is one. */
  readonly on?: "cpu" | "cuda";
  /** Arguments of any size: nothing else says how large they are. */
  readonly free?: readonly string[];
}

const device = torch.cuda.isAvailable() ? "cuda" : "cpu";
const map256 = (): Tensor => arange(256).div(127.5).sub(1);
const matrix = (): Tensor => rand([4, 8]).sub(0.5);
const image = (): Tensor => rand([2, 8, 2, 2]).sub(0.5).contiguous({ memoryFormat: "channelsLast" });
const rates = { lr: 0.1, beta1: 0.9, beta2: 0.99, eps: 1e-8, weight_decay: 0.01 };
const lowBit = (): Values => ({
  p: matrix(),
  g: matrix(),
  states: [zeros([4, 8], { dtype: "uint8" }), zeros([4, 8], { dtype: "uint8" })],
  absmax: [ones([2]), ones([2])],
  maps: [map256(), map256()],
  family: 5,
  hyperparameters: [0.1, 0.9, 0.99, 0, 0, 1e-8, 0.01, 1, 0],
  nesterov: false,
  block_size: 16,
  keep_positive: true,
});

const heads = (): Tensor => rand([2, 3, 4, 8]).sub(0.5);

const ROWS: Readonly<Record<string, Row>> = {
  fused_adam_: {
    args: () => ({
      p: [matrix()],
      g: [matrix()],
      m: [zeros([4, 8])],
      v: [ones([4, 8])],
      state_steps: [tensor(2)],
      lr_tensor: tensor(0.1),
      ...rates,
      decoupled: true,
      maximize: false,
      grad_scale: tensor(1),
      found_inf: tensor(0),
    }),
  },
  join_heads: { args: () => ({ q: heads(), k: heads(), v: heads(), keep_sums: true }) },
  remember_gelu: { args: () => ({ out: matrix(), x: matrix(), bias: ones([8]), tanh: true, need_bias: true }) },
  remember_norm: {
    args: () => ({
      out: matrix(),
      sum: matrix(),
      weight: ones([8]),
      bias: zeros([8]),
      columns: 8,
      eps: 1e-5,
      rms: false,
    }),
  },
  bias_gelu: { free: ["x"], args: () => ({ x: matrix(), bias: ones([8]), tanh: true }) },
  bias_gelu_backward: {
    args: () => ({ grad: matrix(), x: matrix(), bias: ones([8]), tanh: false, need_bias: true, need_out: true }),
  },
  add_norm: {
    args: () => ({
      x: matrix(),
      residual: matrix(),
      weight: ones([8]),
      bias: zeros([8]),
      columns: 8,
      eps: 1e-5,
      rms: false,
      dtype: "float32",
    }),
  },
  add_norm_backward: {
    args: () => ({
      grad: matrix(),
      grad_sum: matrix(),
      sum: matrix(),
      weight: ones([8]),
      mean: zeros([4]),
      rstd: ones([4]),
      columns: 8,
      x_dtype: "float32",
      residual_dtype: "bfloat16",
      rms: false,
      need_weight: true,
      need_bias: true,
      keep_sums: true,
    }),
  },
  takes_column_sums: { free: ["x"], args: () => ({ x: matrix() }) },
  batch_norm_relu: {
    args: () => ({
      x: image(),
      residual: image(),
      weight: ones([8]),
      bias: zeros([8]),
      running_mean: zeros([8]),
      running_var: ones([8]),
      momentum: 0.1,
      eps: 1e-5,
      relu: true,
    }),
  },
  batch_norm_relu_backward: {
    args: () => ({
      grad: image(),
      x: image(),
      mask: ones([8], { dtype: "uint8" }),
      weight: ones([8]),
      bias: zeros([8]),
      mean: zeros([8]),
      rstd: ones([8]),
      grad_more: image(),
      relu: true,
      need_residual: true,
      need_weight: true,
      need_bias: true,
    }),
  },
  quantize_blockwise: { free: ["x"], args: () => ({ x: matrix(), map: map256(), block_size: 16 }) },
  dequantize_blockwise: {
    args: () => ({ codes: zeros([2, 8], { dtype: "uint8" }), absmax: ones([2]), map: map256(), block_size: 8 }),
  },
  quantize_small: {
    on: "cpu",
    free: ["x", "map"],
    args: () => ({ x: matrix(), map: arange(16).float(), block_size: 16, keep_positive: true }),
  },
  dequantize_small: {
    on: "cpu",
    free: ["map"],
    args: () => ({
      codes: zeros([16], { dtype: "uint8" }),
      absmax: ones([2]),
      map: arange(16).float(),
      block_size: 16,
      shape: [4, 8],
    }),
  },
  adam8bit_: {
    on: "cpu",
    args: () => ({
      p: matrix(),
      g: matrix(),
      codes1: zeros([4, 8], { dtype: "uint8" }),
      codes2: zeros([4, 8], { dtype: "uint8" }),
      absmax1: ones([2]),
      absmax2: ones([2]),
      map1: map256(),
      map2: map256(),
      ...rates,
      decoupled: true,
      correction1: 0.1,
      correction2: 0.01,
      block_size: 16,
      keep_positive: true,
    }),
  },
  one_state8bit_: {
    on: "cpu",
    args: () => ({
      p: matrix(),
      g: matrix(),
      codes: zeros([4, 8], { dtype: "uint8" }),
      absmax: ones([2]),
      map: map256(),
      kind: 1,
      ...rates,
      first: false,
      nesterov: false,
      block_size: 16,
      keep_positive: false,
    }),
  },
  low_bit_step_: { on: "cpu", args: () => ({ ...lowBit(), step: 2, sums: ones([2], { dtype: "float64" }) }) },
  low_bit_sums: { on: "cpu", args: () => ({ ...lowBit(), family: 6, step: 2 }) },
  low_bit_kernels: { args: () => ({}) },
  use_low_bit_kernels: { args: () => ({ which: 0 }) },
  low_bit_step_device_: {
    on: "cuda",
    args: () => ({
      ...lowBit(),
      step: tensor(2),
      lr_tensor: tensor(0.1),
      grad_scale: tensor(1),
      found_inf: tensor(0),
      sums: ones([2], { dtype: "float64" }),
    }),
  },
  low_bit_steps_device_: {
    on: "cuda",
    args: () => {
      const { p, g, ...rest } = lowBit();
      return {
        ...rest,
        p: [p],
        g: [g],
        steps: [tensor(2)],
        lr_tensor: tensor(0.1),
        grad_scale: tensor(1),
        found_inf: tensor(0),
      };
    },
  },
  low_bit_sums_device: {
    on: "cuda",
    args: () => ({ ...lowBit(), family: 6, step: tensor(2), grad_scale: tensor(1), found_inf: tensor(0) }),
  },
  cross_entropy_rows: {
    on: "cuda",
    args: () => ({ logits: matrix().to("bfloat16"), target: arange(4, { dtype: "int64" }), ignore_index: -100 }),
  },
  cross_entropy_gradient_: {
    on: "cuda",
    args: () => ({
      logits: matrix().to("bfloat16"),
      target: arange(4, { dtype: "int64" }),
      lse: zeros([4]),
      scale: tensor(1),
      ignore_index: -100,
    }),
  },
  float8_cast: {
    on: "cuda",
    args: () => ({
      x: matrix(),
      amax_rows: ones([4]),
      amax_columns: ones([8]),
      e5m2: false,
      rows: true,
      columns: true,
    }),
  },
};
const listed = operatorNames("nbit");

/** What may stand for a tensor: `size` marks those that fit no more, which no operator may take. */
interface Other {
  readonly name: string;
  readonly size?: true;
  readonly make: (fits: Tensor) => unknown;
}
const doubled = (t: Tensor): Tensor => torch.stack([t, t], -1).flatten();
const OTHERS: readonly Other[] = [
  { name: "undefined", make: () => undefined },
  { name: "a number", make: () => 1 },
  {
    name: "a disposed tensor",
    make: (t) => {
      const gone = t.clone();
      gone.dispose();
      return gone;
    },
  },
  { name: "without elements", size: true, make: (t) => zeros([0], { dtype: t.dtype, device: t.device.toString() }) },
  { name: "no row", size: true, make: (t) => (t.ndim === 0 ? t.reshape([1]).narrow(0, 0, 0) : t.narrow(0, 0, 0)) },
  {
    name: "one row fewer",
    size: true,
    make: (t) => (t.ndim === 0 ? t.reshape([1]).narrow(0, 0, 0) : t.narrow(0, 0, (t.shape[0] as number) - 1)),
  },
  {
    name: "one element",
    size: true,
    make: (t) => (t.numel() === 1 ? zeros([0], { dtype: t.dtype }) : t.flatten().narrow(0, 0, 1)),
  },
  { name: "twice as many", size: true, make: doubled },
  { name: "one more dimension, of 3", size: true, make: (t) => t.unsqueeze(0).expand([3, ...t.shape]) },
  { name: "not contiguous", make: (t) => torch.stack([t, t], -1).select(-1, 0) },
  { name: "expanded", make: (t) => (t.ndim === 0 ? t : t.narrow(0, 0, 1).expand([...t.shape])) },
  {
    name: "all one element",
    make: (t) =>
      t
        .flatten()
        .narrow(0, 0, 1)
        .reshape(new Array<number>(t.ndim).fill(1))
        .expand([...t.shape]),
  },
  { name: "another device", make: (t) => t.to("meta") },
  ...(
    [
      "float64",
      "float16",
      "bfloat16",
      "int64",
      "int32",
      "uint8",
      "bool",
      "complex64",
      "float8_e4m3fn",
    ] satisfies DType[]
  ).map((dtype) => ({ name: dtype, make: (t: Tensor) => t.to(dtype) })),
  { name: "requires a gradient", make: (t) => (t.isFloatingPoint() ? t.detach().clone().requiresGrad_() : t) },
  { name: "sparse", make: (t) => t.toSparse() },
  { name: "sparse rows", make: (t) => (t.ndim === 2 ? t.toSparseCsr() : t.toSparse()) },
  {
    name: "mkldnn",
    make: (t) => (t.isFloatingPoint() && t.ndim > 0 && t.device.type === "cpu" ? t.float().toMkldnn() : t.toSparse()),
  },
  {
    name: "zero everywhere, without memory",
    make: (t) => aten["_efficientzerotensor"]?.([...t.shape], { dtype: t.dtype }),
  },
  { name: "a conjugate view", make: (t) => aten["conj"]?.(t.to("complex64")) },
  { name: "a negated view", make: (t) => (t.isFloatingPoint() ? aten["_neg_view"]?.(t) : t) },
];
const NUMBERS: Readonly<Record<string, readonly unknown[]>> = {
  i: [0, -1, 1, 3, 4097, 2 ** 31, 2 ** 53, (1n << 63n) - 1n, -(1n << 63n)],
  f: [0, -1, NaN, Infinity, -Infinity],
  d: ["int64", "bool", "complex64", "float8_e4m3fn", "float64", "nonsense"],
};

function placed(row: Row): Values {
  const place = (v: unknown): unknown =>
    isTensor(v) ? v.to(row.on === "cpu" ? "cpu" : device) : Array.isArray(v) ? v.map(place) : v;
  return Object.fromEntries(Object.entries(row.args()).map(([name, v]) => [name, place(v)]));
}

interface Call {
  readonly what: string;
  readonly args: Values;
  readonly mustFail: boolean;
}

/** Another tensor in the place of one argument, or the memory of another argument. */
function* tensorCalls(row: Row, schema: readonly Argument[], a: Argument): Generator<Call> {
  for (const other of OTHERS) {
    const args = placed(row);
    yield {
      what: `${a.name}: ${other.name}`,
      args: { ...args, [a.name]: other.make(args[a.name] as Tensor) },
      mustFail: other.size === true && !(row.free ?? []).includes(a.name),
    };
  }
  for (const b of schema) {
    if (b === a || b.kind !== "t") continue;
    const args = placed(row);
    const same = Array.isArray(args[b.name]) ? (args[b.name] as unknown[])[0] : args[b.name];
    yield { what: `${a.name}: the memory of ${b.name}`, args: { ...args, [a.name]: same }, mustFail: false };
  }
}

/** Another tensor in one place of a list, or another list. */
function* tensorListCalls(row: Row, a: Argument, given: readonly unknown[]): Generator<Call> {
  for (const [i] of given.entries())
    for (const other of OTHERS) {
      const args = placed(row);
      const list = [...(args[a.name] as Tensor[])];
      const made = other.make(list[i] as Tensor);
      yield {
        what: `${a.name}[${i}]: ${other.name}`,
        args: { ...args, [a.name]: list.map((t, j) => (i === j ? made : t)) },
        mustFail: other.size === true,
      };
    }
  for (const list of [[], given.slice(1), [...given, ...given], [null, null], given.map(() => given[0] as Tensor)])
    yield { what: `${a.name}: ${describe(list)}`, args: { ...placed(row), [a.name]: list }, mustFail: false };
}

/** Every call that differs from one that fits in one place, and every choice of absent optional arguments. */
function* calls(row: Row, schema: readonly Argument[]): Generator<Call> {
  const fits = (): Values => placed(row);
  for (const a of schema) {
    const given = fits()[a.name];
    if (a.kind === "t" && a.list !== true) yield* tensorCalls(row, schema, a);
    else if (a.kind === "t" && Array.isArray(given)) yield* tensorListCalls(row, a, given);
    else if (a.list === true) {
      for (const list of [[], [0], [-1], [2 ** 40], [2 ** 40, 2 ** 40], [5, 8], [(1n << 63n) - 1n, 2]])
        yield { what: `${a.name}: ${describe(list)}`, args: { ...fits(), [a.name]: list }, mustFail: true };
    } else {
      for (const value of NUMBERS[a.kind] ?? [])
        yield { what: `${a.name}: ${describe(value)}`, args: { ...fits(), [a.name]: value }, mustFail: false };
    }
  }
  const optional = schema.filter((a) => a.optional === true);
  const flags = schema.filter((a) => a.kind === "b");
  for (let absent = 0; absent < 2 ** optional.length; absent++) {
    for (const on of [true, false]) {
      const args = fits();
      for (const [i, a] of optional.entries()) if ((absent >> i) % 2 === 1) args[a.name] = null;
      for (const a of flags) args[a.name] = on;
      yield {
        what: `${
          optional
            .filter((_, i) => (absent >> i) % 2 === 1)
            .map((a) => a.name)
            .join(", ") || "nothing"
        } absent, flags ${on}`,
        args,
        mustFail: false,
      };
    }
  }
}

function numbersOf(result: unknown, args: Values, schema: readonly Argument[]): unknown[] {
  const written = schema.filter((a) => a.write === true).flatMap((a) => args[a.name]);
  return [result, written].flat(2).map((t) => (isTensor(t) ? t.detach().float().tolist() : t));
}

test("every operator of ours has a row here", () => {
  assert.deepEqual(
    listed.filter((name) => ROWS[name] === undefined),
    [],
    "operators without a row",
  );
  assert.deepEqual(
    Object.entries(ROWS)
      .filter(([name, row]) => row.on !== "cuda" && !listed.includes(name))
      .map(([name]) => name),
    [],
    "rows without an operator",
  );
});

for (const [name, row] of Object.entries(ROWS)) {
  const schema = schemasOf(`nbit::${name}`)[0]?.args;
  if (schema === undefined) continue;
  const runs = device === "cuda" || row.on !== "cuda";
  test(`nbit::${name} takes what fits, and says what it expected of everything else`, () => {
    noGrad(() => {
      const call = (args: Values): unknown => operators("nbit")[name]?.(...schema.map((a) => args[a.name]));
      const once = (): unknown[] =>
        scope(() => {
          torch.manualSeed(3);
          const args = placed(row);
          return numbersOf(call(args), args, schema);
        });
      const first = runs ? once() : null;
      const wrong: string[] = [];
      for (const { what, args, mustFail } of calls(row, schema)) {
        try {
          scope(() => {
            const result = call(args);
            numbersOf(result, args, schema);
            if (mustFail || !runs) wrong.push(`${what}: taken`);
          });
        } catch (error) {
          if (!(error instanceof NbitError) || !/expected/.test(error.message) || !/[Rr]eceived/.test(error.message))
            wrong.push(`${what}: ${String(error).slice(0, 200)}`);
        }
      }
      assert.deepEqual(wrong, []);
      if (first !== null && schema.some((a) => a.kind === "t"))
        assert.deepEqual(once(), first, "what fits gives what it gave");
    });
  });
}
