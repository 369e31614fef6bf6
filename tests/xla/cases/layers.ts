import * as torch from "@nbit/torch";
import type { Case } from "./case.js";

const float: Partial<Case> = { dtypes: ["float32"] };
const loose: Partial<Case> = { within: { bfloat16: 2 ** -6 } };

export const convolutions: readonly Case[] = [
  {
    name: "conv1d",
    inputs: { x: [2, 4, 9], w: [6, 4, 3], b: [6] },
    run: ({ x, w, b }) => torch.conv1d(x, w, b, 2, 1),
    ...loose,
  },
  {
    name: "conv2d",
    inputs: { x: [2, 4, 9, 8], w: [6, 4, 3, 3], b: [6] },
    run: ({ x, w, b }) => torch.conv2d(x, w, b),
    ...loose,
  },
  {
    name: "conv2d with stride, padding, dilation",
    inputs: { x: [2, 4, 11, 10], w: [6, 4, 3, 2] },
    run: ({ x, w }) => torch.conv2d(x, w, null, [2, 3], [2, 1], [1, 2]),
    ...loose,
  },
  {
    name: "conv2d in groups",
    inputs: { x: [2, 4, 7, 7], w: [6, 2, 3, 3], b: [6] },
    run: ({ x, w, b }) => torch.conv2d(x, w, b, 2, 1, 1, 2),
    ...loose,
  },
  {
    name: "conv2d by channel",
    inputs: { x: [2, 4, 7, 7], w: [4, 1, 3, 3] },
    run: ({ x, w }) => torch.conv2d(x, w, null, 1, 1, 1, 4),
    ...loose,
  },
  {
    name: "conv3d",
    inputs: { x: [1, 2, 5, 6, 4], w: [3, 2, 2, 3, 2], b: [3] },
    run: ({ x, w, b }) => torch.conv3d(x, w, b, [1, 2, 1], [1, 0, 1]),
    ...loose,
  },
  {
    name: "convTranspose2d",
    inputs: { x: [2, 4, 5, 6], w: [4, 3, 3, 2], b: [3] },
    run: ({ x, w, b }) => torch.convTranspose2d(x, w, b, 2, 1, 1),
    ...loose,
  },
  {
    name: "convTranspose2d in groups, dilated",
    inputs: { x: [2, 4, 5, 6], w: [4, 3, 3, 3] },
    run: ({ x, w }) => torch.convTranspose2d(x, w, null, [2, 1], [1, 2], [1, 0], 2, [1, 2]),
    ...loose,
  },
  {
    name: "convTranspose1d",
    inputs: { x: [2, 3, 6], w: [3, 2, 4] },
    run: ({ x, w }) => torch.convTranspose1d(x, w, null, 2),
    ...loose,
  },
];

const P = { x: [2, 3, 9, 8] };
export const pools: readonly Case[] = [
  {
    name: "maxPool2d",
    inputs: P,
    run: ({ x }) => [torch.maxPool2d(x, [2, 2]), torch.maxPool2d(x, [3, 3], [2, 2], [1, 1])],
  },
  { name: "maxPool2d, ceiling", inputs: P, run: ({ x }) => torch.maxPool2d(x, [3, 2], [2, 3], 0, 1, true) },
  { name: "maxPool2d, dilated", inputs: P, run: ({ x }) => torch.maxPool2d(x, [3, 2], [2, 1], [1, 0], [2, 3]) },
  {
    name: "maxPool2d of ties",
    inputs: { k: [1, 2, 6, 6] },
    run: ({ k }) => torch.maxPool2d(k.relu(), [3, 3], [2, 2], [1, 1]),
  },
  {
    name: "maxPool2dWithIndices",
    inputs: { x: { shape: [2, 3, 9, 8], of: "plain" } },
    run: ({ x }) => torch.maxPool2dWithIndices(x, [3, 2], [2, 2], [1, 1]) as unknown as torch.Tensor[],
    backward: false,
  },
  { name: "maxPool3d", inputs: { x: [1, 2, 5, 6, 4] }, run: ({ x }) => torch.maxPool3d(x, [2, 2, 2]) },
  {
    name: "avgPool2d",
    inputs: P,
    run: ({ x }) => [
      torch.avgPool2d(x, [2, 2]),
      torch.avgPool2d(x, [3, 2], [2, 1], [1, 1]),
      torch.avgPool2d(x, [3, 3], [2, 2], [1, 1], false, false),
    ],
    ...loose,
  },
  {
    name: "avgPool2d, ceiling, another divisor",
    inputs: P,
    run: ({ x }) => [
      torch.avgPool2d(x, [2, 3], [2, 3], [0, 1], true, true),
      torch.avgPool2d(x, [2, 3], [2, 3], [0, 1], true, false),
      torch.avgPool2d(x, [2, 2], [2, 2], 0, false, true, 3),
    ],
    ...loose,
  },
  {
    name: "avgPool1d, avgPool3d",
    inputs: { x: [2, 3, 8], y: [1, 2, 4, 6, 4] },
    run: ({ x, y }) => [torch.avgPool1d(x, [2]), torch.avgPool3d(y, [2, 2, 2])],
    ...float,
  },
  {
    name: "adaptiveAvgPool2d",
    inputs: P,
    run: ({ x }) => [
      torch.adaptiveAvgPool2d(x, [1, 1]),
      torch.adaptiveAvgPool2d(x, [3, 4]),
      torch.adaptiveAvgPool2d(x, [5, 3]),
    ],
    ...loose,
  },
  {
    name: "upsampleNearest2d",
    inputs: { x: [2, 3, 4, 5] },
    run: ({ x }) => [
      torch.upsampleNearest2d(x, [8, 10]),
      torch.upsampleNearest2d(x, [7, 11]),
      torch.upsampleNearest2d(x, [3, 2]),
    ],
    ...loose,
  },
  {
    name: "upsampleBilinear2d",
    inputs: { x: [2, 3, 4, 5] },
    run: ({ x }) => [
      torch.upsampleBilinear2d(x, [8, 10], false),
      torch.upsampleBilinear2d(x, [7, 11], true),
      torch.upsampleBilinear2d(x, [3, 2], false),
    ],
    within: { float32: 1e-5, bfloat16: 2 ** -6 },
  },
  {
    name: "upsampleLinear1d",
    inputs: { x: [2, 3, 4] },
    run: ({ x }) => torch.upsampleLinear1d(x, [9], false),
    within: { float32: 1e-5, bfloat16: 2 ** -6 },
  },
];

export const norms: readonly Case[] = [
  {
    name: "batchNorm in training",
    inputs: {
      x: [4, 3, 5, 2],
      w: [3],
      b: [3],
      m: { shape: [3], of: "plain", dtype: "float32" },
      v: { shape: [3], of: "plain", dtype: "float32" },
    },
    run: ({ x, w, b, m, v }) => [torch.batchNorm(x, w, b, m, v.square(), true, 0.2, 1e-4, false), m, v],
    ...float,
  },
  {
    name: "batchNorm in evaluation",
    inputs: { x: [4, 3, 5], w: [3], b: [3], m: { shape: [3], of: "plain" }, v: { shape: [3], of: "plain" } },
    run: ({ x, w, b, m, v }) => torch.batchNorm(x, w, b, m, v.square(), false, 0.2, 1e-4, false),
    ...float,
  },
  {
    name: "batchNorm without parameters",
    inputs: { x: [6, 3] },
    run: ({ x }) => torch.batchNorm(x, null, null, null, null, true, 0.1, 1e-5, false),
    ...float,
  },
  {
    name: "batchNorm in bfloat16",
    inputs: {
      x: [4, 3, 5, 2],
      w: { shape: [3], of: "plain", dtype: "float32" },
      m: { shape: [3], of: "plain", dtype: "float32" },
      v: { shape: [3], of: "plain", dtype: "float32" },
    },
    run: ({ x, w, m, v }) => [torch.batchNorm(x, w, w, m, v.square(), true, 0.2, 1e-4, false), m],
    dtypes: ["bfloat16"],
    within: { bfloat16: 2 ** -6 },
  },
  {
    name: "layerNorm",
    inputs: { x: [4, 3, 8], w: [8], b: [8] },
    run: ({ x, w, b }) => [torch.layerNorm(x, [8], w, b, 1e-4), torch.layerNorm(x, [3, 8])],
    within: { float32: 5e-6, bfloat16: 2 ** -6 },
  },
  {
    name: "groupNorm",
    inputs: { x: [2, 6, 3, 4], w: [6], b: [6] },
    run: ({ x, w, b }) => [torch.groupNorm(x, 3, w, b, 1e-4), torch.groupNorm(x, 2)],
    within: { float32: 5e-6, bfloat16: 2 ** -6 },
  },
  {
    name: "rmsNorm",
    inputs: { x: [4, 3, 8], w: [8] },
    run: ({ x, w }) => [torch.rmsNorm(x, [8], w, 1e-4)],
    within: { float32: 5e-6, bfloat16: 2 ** -5 },
  },
  {
    name: "instanceNorm",
    inputs: { x: [2, 3, 4, 5] },
    run: ({ x }) => torch.instanceNorm(x, null, null, null, null, true, 0.1, 1e-5, false),
    within: { float32: 5e-6 },
    ...float,
  },
];

export const softmaxes: readonly Case[] = [
  { name: "softmax", inputs: { x: [3, 4, 5] }, run: ({ x }) => [torch.softmax(x, -1), torch.softmax(x, 0)] },
  {
    name: "logSoftmax",
    inputs: { x: [3, 4, 5] },
    run: ({ x }) => [torch.logSoftmax(x, 1), torch.logSoftmax(x.mul(30), -1)],
  },
  {
    name: "softmax into float32",
    inputs: { x: [3, 5] },
    run: ({ x }) => torch.softmax(x, -1, { dtype: "float32" }),
    dtypes: ["bfloat16"],
  },
  { name: "softmax of one number", inputs: { x: [] }, run: ({ x }) => torch.softmax(x, 0), ...float },
];

const Q = { q: [2, 2, 6, 8], k: [2, 2, 6, 8], v: [2, 2, 6, 8] };
export const attention: readonly Case[] = [
  {
    name: "attention",
    inputs: Q,
    run: ({ q, k, v }) => torch.scaledDotProductAttention(q, k, v),
    within: { bfloat16: 2 ** -5 },
  },
  {
    name: "attention, causal, with its scale",
    inputs: Q,
    run: ({ q, k, v }) => torch.scaledDotProductAttention(q, k, v, null, 0, true, { scale: 0.3 }),
    within: { bfloat16: 2 ** -5 },
  },
  {
    name: "attention, masked",
    inputs: { ...Q, m: { shape: [6, 6], of: "plain" } },
    run: ({ q, k, v, m }) => torch.scaledDotProductAttention(q, k, v, m),
    within: { bfloat16: 2 ** -5 },
  },
  {
    name: "attention, masked by flags",
    inputs: { ...Q, m: { shape: [6, 6], of: "flags" } },
    run: ({ q, k, v, m }) => torch.scaledDotProductAttention(q, k, v, torch.logicalOr(m, torch.eye(6).to("bool"))),
    ...float,
  },
  {
    name: "attention between lengths",
    inputs: { q: [2, 2, 4, 8], k: [2, 2, 7, 8], v: [2, 2, 7, 8] },
    run: ({ q, k, v }) => torch.scaledDotProductAttention(q, k, v),
    within: { bfloat16: 2 ** -5 },
  },
];

const R = { x: [4, 2, 3], h: [1, 2, 5], a: [20, 3], b: [20, 5], c: [20], d: [20] };
const G = { x: [4, 2, 3], h: [1, 2, 5], a: [15, 3], b: [15, 5], c: [15], d: [15] };
export const recurrent: readonly Case[] = [
  {
    name: "lstm",
    inputs: R,
    run: ({ x, h, a, b, c, d }) =>
      torch.lstm(x, [h, h.mul(0.5)], [a, b, c, d], true, 1, 0, true, false, false) as unknown as torch.Tensor[],
    within: { float32: 5e-6 },
    ...float,
  },
  {
    name: "lstm without biases",
    inputs: { x: R.x, h: R.h, a: R.a, b: R.b },
    run: ({ x, h, a, b }) =>
      torch.lstm(x, [h, h], [a, b], false, 1, 0, true, false, false) as unknown as torch.Tensor[],
    within: { float32: 5e-6 },
    ...float,
  },
  {
    name: "gru",
    inputs: G,
    run: ({ x, h, a, b, c, d }) =>
      torch.gru(x, h, [a, b, c, d], true, 1, 0, true, false, false) as unknown as torch.Tensor[],
    within: { float32: 5e-6 },
    ...float,
  },
  {
    name: "rnnTanh",
    inputs: { x: [4, 2, 3], h: [1, 2, 5], a: [5, 3], b: [5, 5], c: [5], d: [5] },
    run: ({ x, h, a, b, c, d }) =>
      torch.rnnTanh(x, h, [a, b, c, d], true, 1, 0, true, false, false) as unknown as torch.Tensor[],
    within: { float32: 5e-6 },
    ...float,
  },
];
