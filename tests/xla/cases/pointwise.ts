import * as torch from "@nbit/torch";
import type { Tensor } from "@nbit/torch";
import { each, type Case } from "./case.js";

type Unary = (x: Tensor) => Tensor;
type Binary = (x: Tensor, y: Tensor | number) => Tensor;
const unary = torch as unknown as Readonly<Record<string, Unary>>;
const binary = torch as unknown as Readonly<Record<string, Binary>>;
const X = { x: [3, 5] };
const XY = { x: [3, 5], y: [3, 5] };
const float: Partial<Case> = { dtypes: ["float32"] };

export const pointwise: readonly Case[] = [
  ...each(
    [
      "neg",
      "abs",
      "sign",
      "exp",
      "expm1",
      "exp2",
      "square",
      "sin",
      "cos",
      "tanh",
      "sinh",
      "cosh",
      "atan",
      "erf",
      "erfc",
    ],
    X,
    (name) =>
      ({ x }) =>
        unary[name](x),
  ),
  ...each(
    ["floor", "ceil", "round", "trunc", "frac"],
    X,
    (name) =>
      ({ x }) =>
        unary[name](x.mul(3)),
  ),
  ...each(
    ["log", "log1p", "log2", "log10", "sqrt", "rsqrt", "reciprocal"],
    { x: { shape: [3, 5], of: "positive" } },
    (name) =>
      ({ x }) =>
        unary[name](x),
  ),
  { name: "tan", inputs: { x: { shape: [3, 5], of: "unit" } }, run: ({ x }) => torch.tan(x) },
  {
    name: "erfinv",
    inputs: { x: { shape: [3, 5], of: "unit" } },
    run: ({ x }) => torch.erfinv(x),
    within: { float32: 1e-5 },
    ...float,
  },
  ...each(
    ["add", "sub", "mul", "div", "maximum", "minimum", "atan2", "hypot"],
    XY,
    (name) =>
      ({ x, y }) =>
        binary[name](x, y),
  ),
  ...each(
    ["add", "mul", "div", "maximum"],
    { x: [2, 1, 5], y: [3, 1] },
    (name) =>
      ({ x, y }) =>
        binary[name](x, y),
  ).map((c) => ({ ...c, name: `${c.name}, broadcast` })),
  ...each(
    ["add", "sub", "mul", "div", "pow", "fmod", "remainder", "rsub"],
    X,
    (name) =>
      ({ x }) =>
        binary[name](name === "pow" ? x.abs().add(0.1) : x, 2.5),
  ).map((c) => ({ ...c, name: `${c.name} with a number` })),
  ...each(
    ["fmod", "remainder"],
    { x: [3, 5], y: { shape: [3, 5], of: "positive" } },
    (name) =>
      ({ x, y }) =>
        binary[name](x.mul(4), y.detach()),
    float,
  ),
  {
    name: "floorDivide",
    inputs: { x: [3, 5], y: { shape: [3, 5], of: "positive" } },
    run: ({ x, y }) => torch.floorDivide(x.detach(), y.detach()),
    backward: false,
    ...float,
  },
  {
    name: "floorDivide, whole",
    inputs: { x: { shape: [9], of: "whole", low: -9, high: 9 }, y: { shape: [9], of: "whole", low: 1, high: 4 } },
    run: ({ x, y }) => [
      torch.floorDivide(x, y),
      torch.floorDivide(x, y.neg()),
      torch.remainder(x, y.neg()),
      torch.fmod(x, y),
    ],
    backward: false,
    ...float,
  },
  ...each(
    ["trunc", "floor"],
    XY,
    (roundingMode) =>
      ({ x, y }) =>
        torch.div(x.mul(4).detach(), y.abs().add(0.5).detach(), { roundingMode }),
    { backward: false, ...float },
  ),
  { name: "add with alpha", inputs: XY, run: ({ x, y }) => x.add(y, { alpha: 0.3 }) },
  { name: "sub with alpha", inputs: XY, run: ({ x, y }) => x.sub(y, { alpha: -2 }) },
  { name: "rsub with alpha", inputs: XY, run: ({ x, y }) => torch.rsub(x, y, { alpha: 1.5 }) },
  ...[2, 3, 0.5, -1, -0.5, 1, 0, 1.7].map((p): Case => ({
    name: `pow ${p}`,
    inputs: { x: { shape: [3, 5], of: "positive" } },
    run: ({ x }) => x.pow(p),
  })),
  { name: "pow of tensors", inputs: { x: { shape: [3, 5], of: "positive" }, y: [3, 5] }, run: ({ x, y }) => x.pow(y) },
  { name: "pow of a number", inputs: X, run: ({ x }) => torch.pow(2, x) },
  {
    name: "xlogy",
    inputs: { x: { shape: [3, 5], of: "positive" }, y: { shape: [3, 5], of: "positive" } },
    run: ({ x, y }) => torch.xlogy(x, y),
  },
  {
    name: "addcmul",
    inputs: { x: [3, 5], y: [3, 5], z: [5] },
    run: ({ x, y, z }) => torch.addcmul(x, y, z, { value: 0.7 }),
  },
  {
    name: "addcdiv",
    inputs: { x: [3, 5], y: [3, 5], z: { shape: [3, 5], of: "positive" } },
    run: ({ x, y, z }) => torch.addcdiv(x, y, z, { value: 0.7 }),
  },
  { name: "lerp", inputs: XY, run: ({ x, y }) => [torch.lerp(x, y, 0.2), torch.lerp(x, y, 0.9)] },
  {
    name: "lerp by a tensor",
    inputs: { x: [3, 5], y: [3, 5], w: { shape: [3, 5], of: "unit" } },
    run: ({ x, y, w }) => torch.lerp(x, y, w),
  },
  {
    name: "clamp",
    inputs: X,
    run: ({ x }) => [x.clamp(-0.5, 0.4), torch.clampMin(x, 0.1), torch.clampMax(x, -0.1), x.clamp(null, 0.2)],
  },
  {
    name: "clamp by tensors",
    inputs: { x: [3, 5], low: { shape: [5], of: "plain" }, high: { shape: [3, 5], of: "plain" } },
    run: ({ x, low, high }) => torch.clamp(x, low, high),
  },
  {
    name: "whole numbers",
    inputs: { x: { shape: [7], of: "whole" }, y: { shape: [7], of: "whole", low: 1 } },
    run: ({ x, y }) => [x.add(y), x.mul(3), x.sub(y, { alpha: 2 }), x.div(y), x.neg(), x.mul(2.5), x.pow(2), x.abs()],
    backward: false,
    ...float,
  },
  {
    name: "dtypes meet",
    inputs: {
      x: [3, 5],
      y: { shape: [5], of: "plain", dtype: "bfloat16" },
      n: { shape: [], of: "plain", dtype: "float64" },
      k: { shape: [5], of: "whole" },
    },
    run: ({ x, y, n, k }) => [x.mul(y), x.mul(n), x.add(k), y.mul(n), k.mul(n)],
    ...float,
  },
  { name: "nothing in it", inputs: { x: [0, 3] }, run: ({ x }) => [x.mul(2), x.exp(), x.add(x)] },
  { name: "one number", inputs: { x: [], y: [] }, run: ({ x, y }) => [x.mul(y), x.exp(), x.add(1)] },
  {
    name: "in place",
    inputs: { x: { shape: [3, 5], of: "plain" }, y: { shape: [3, 5], of: "plain" } },
    run: ({ x, y }) => [x.mul_(2).add_(y, { alpha: 0.5 }), y.neg_().exp_().clamp_(0.1, 1), torch.addcmul(x, y, y)],
    backward: false,
  },
];

const G = { x: [4, 6] };
export const activations: readonly Case[] = [
  ...each(
    [
      "relu",
      "sigmoid",
      "silu",
      "mish",
      "gelu",
      "elu",
      "softplus",
      "leakyRelu",
      "hardtanh",
      "hardsigmoid",
      "hardswish",
      "selu",
      "logSigmoid",
      "relu6",
    ],
    G,
    (name) =>
      ({ x }) =>
        unary[name](x.mul(3)),
  ),
  { name: "gelu by tanh", inputs: G, run: ({ x }) => torch.gelu(x, { approximate: "tanh" }) },
  { name: "elu with its numbers", inputs: G, run: ({ x }) => torch.elu(x, 0.7, 1.2, 0.9) },
  { name: "softplus with its numbers", inputs: G, run: ({ x }) => torch.softplus(x.mul(5), 2, 3) },
  { name: "leakyRelu with its slope", inputs: G, run: ({ x }) => torch.leakyRelu(x, 0.3) },
  { name: "hardtanh with its limits", inputs: G, run: ({ x }) => torch.hardtanh(x, -0.4, 0.6) },
  { name: "threshold", inputs: G, run: ({ x }) => torch.threshold(x, 0.2, -3) },
  { name: "prelu", inputs: { x: [2, 3, 4], w: [3] }, run: ({ x, w }) => torch.prelu(x, w) },
  { name: "glu", inputs: G, run: ({ x }) => x.chunk(2, 1).reduce((a, b) => a.mul(b.sigmoid())) },
];

const B = {
  x: { shape: [3, 5], of: "plain" },
  y: { shape: [3, 5], of: "plain" },
  k: { shape: [3, 5], of: "whole", high: 3 },
  j: { shape: [5], of: "whole", high: 3 },
  m: { shape: [3, 5], of: "flags" },
} as const;
export const comparisons: readonly Case[] = [
  ...each(
    ["eq", "ne", "lt", "le", "gt", "ge"],
    B,
    (name) =>
      ({ x, y, k, j }) => [
        binary[name](x, y),
        binary[name](x, 0.1),
        binary[name](k, j),
        binary[name](k, 1),
        binary[name](k, 0.5),
        binary[name](x, k),
      ],
    { backward: false },
  ),
  {
    name: "logic",
    inputs: B,
    run: ({ x, k, m }) => [
      torch.logicalAnd(k, m),
      torch.logicalOr(k, m),
      torch.logicalXor(k, x),
      torch.logicalNot(k),
      torch.bitwiseAnd(k, 1),
      torch.bitwiseOr(k, k),
      torch.bitwiseXor(m, m),
      torch.bitwiseNot(m),
      torch.bitwiseNot(k),
      torch.bitwiseLeftShift(k, 2),
      torch.bitwiseRightShift(k.sub(3), 1),
      torch.bitwiseRightShift(k.to("uint8"), 1),
    ],
    backward: false,
  },
  {
    name: "what is finite",
    inputs: { x: { shape: [5], of: "plain" } },
    run: ({ x }) => {
      const y = x.div(x.gt(0));
      return [y.isnan(), y.isinf(), torch.isfinite(y), torch.nanToNum(y), torch.nanToNum(y, 1, 2, -3)];
    },
    backward: false,
  },
  {
    name: "where",
    inputs: { x: [3, 5], y: [5], m: { shape: [3, 1], of: "flags" } },
    run: ({ x, y, m }) => [torch.where(m, x, y), torch.where(m, x, 0.5), torch.where(m, 2, y)],
  },
  {
    name: "maskedFill",
    inputs: { x: [3, 5], m: { shape: [5], of: "flags" }, v: [] },
    run: ({ x, m, v }) => [x.maskedFill(m, -1.5), x.maskedFill(m, v.detach()), x.maskedFill(m, -Infinity).detach()],
  },
];
