/** Models of every layer, with inputs, for ONNX: written by write.ts, run by check.py, and looked at by export.test.ts. */
import {
  arange,
  cat,
  manualSeed,
  nn,
  rand,
  randint,
  randn,
  tensor,
  type DType,
  type onnx,
  type Tensor,
} from "@nbit/torch";

export interface Case {
  readonly name: string;
  readonly model: () => nn.Module;
  readonly inputs: () => readonly (Tensor | readonly Tensor[])[];
  readonly dynamicAxes?: onnx.DynamicAxes;
  readonly opsetVersion?: number;
}

const F = nn.functional;
/** A function as a module. */
class Fn extends nn.Module {
  readonly fn: (...args: Tensor[]) => unknown;
  constructor(fn: (...args: Tensor[]) => unknown) {
    super();
    this.fn = fn;
  }
  forward(...args: Tensor[]): unknown {
    return this.fn(...args);
  }
}
const fn = (f: (...args: Tensor[]) => unknown) => (): nn.Module => new Fn(f);
const BATCH: onnx.DynamicAxes = { input: { 0: "batch" } };
const x =
  (...shape: number[]) =>
  (): readonly Tensor[] => [randn(shape)];

/** Layers of one input, whose batch is free. */
const layers: readonly (readonly [string, () => nn.Module, () => readonly Tensor[]])[] = [
  ["Linear", () => new nn.Linear(4, 3), x(2, 4)],
  ["Linear, 3 dimensions", () => new nn.Linear(4, 3, { bias: false }), x(2, 5, 4)],
  ["Conv1d", () => new nn.Conv1d(2, 3, 3, { padding: 1 }), x(2, 2, 9)],
  ["Conv2d", () => new nn.Conv2d(2, 4, 3, { stride: 2, padding: [1, 2], dilation: 1, groups: 2 }), x(2, 2, 8, 9)],
  ["Conv2d, same", () => new nn.Conv2d(2, 3, 4, { padding: "same", dilation: 2 }), x(2, 2, 8, 9)],
  ["Conv2d, circular", () => new nn.Conv2d(2, 3, 3, { padding: 1, paddingMode: "circular" }), x(2, 2, 8, 9)],
  ["Conv3d", () => new nn.Conv3d(1, 2, [2, 3, 3], { bias: false }), x(2, 1, 4, 6, 5)],
  ["ConvTranspose1d", () => new nn.ConvTranspose1d(2, 3, 3, { stride: 2, outputPadding: 1 }), x(2, 2, 6)],
  ["ConvTranspose2d", () => new nn.ConvTranspose2d(4, 2, 3, { stride: 2, padding: 1, groups: 2 }), x(2, 4, 5, 6)],
  ["ConvTranspose3d", () => new nn.ConvTranspose3d(1, 2, 2, { dilation: 2 }), x(2, 1, 3, 4, 5)],
  ["BatchNorm1d", () => new nn.BatchNorm1d(4), x(3, 4)],
  ["BatchNorm2d", () => new nn.BatchNorm2d(4, { eps: 1e-3 }), x(2, 4, 3, 3)],
  ["BatchNorm2d, without statistics", () => new nn.BatchNorm2d(4, { trackRunningStats: false }), x(2, 4, 3, 3)],
  ["BatchNorm3d", () => new nn.BatchNorm3d(2, { affine: false }), x(2, 2, 3, 3, 3)],
  ["InstanceNorm1d", () => new nn.InstanceNorm1d(3), x(2, 3, 8)],
  ["InstanceNorm2d", () => new nn.InstanceNorm2d(3, { affine: true }), x(2, 3, 4, 5)],
  ["InstanceNorm3d", () => new nn.InstanceNorm3d(2, { trackRunningStats: true }), x(2, 2, 3, 4, 5)],
  ["GroupNorm", () => new nn.GroupNorm(2, 4, { eps: 1e-3 }), x(2, 4, 5, 3)],
  ["LayerNorm", () => new nn.LayerNorm(6), x(2, 5, 6)],
  ["LayerNorm, 2 dimensions", () => new nn.LayerNorm([5, 6], { elementwiseAffine: false }), x(2, 5, 6)],
  ["RMSNorm", () => new nn.RMSNorm(6), x(2, 5, 6)],
  ["LocalResponseNorm", () => new nn.LocalResponseNorm(3, { alpha: 0.5 }), x(2, 5, 4, 4)],
  ["CrossMapLRN2d", () => new nn.CrossMapLRN2d(3, 0.5, 0.7, 1), x(2, 5, 4, 4)],
  ["MaxPool1d", () => new nn.MaxPool1d(3, { stride: 2, padding: 1 }), x(2, 3, 9)],
  ["MaxPool2d", () => new nn.MaxPool2d(3, { stride: 2, ceilMode: true }), x(2, 3, 8, 9)],
  ["MaxPool3d", () => new nn.MaxPool3d(2, { dilation: 2 }), x(2, 1, 5, 6, 7)],
  ["AvgPool1d", () => new nn.AvgPool1d(3, { padding: 1 }), x(2, 3, 9)],
  ["AvgPool2d", () => new nn.AvgPool2d(3, { stride: 2, padding: 1, countIncludePad: false }), x(2, 3, 8, 9)],
  ["AvgPool2d, divisor", () => new nn.AvgPool2d(2, { divisorOverride: 3 }), x(2, 3, 8, 9)],
  ["AvgPool3d", () => new nn.AvgPool3d(2), x(2, 1, 4, 6, 6)],
  ["AdaptiveAvgPool1d", () => new nn.AdaptiveAvgPool1d(3), x(2, 3, 8)],
  ["AdaptiveAvgPool2d", () => new nn.AdaptiveAvgPool2d([3, 1]), x(2, 3, 8, 9)],
  ["AdaptiveAvgPool3d", () => new nn.AdaptiveAvgPool3d(2), x(2, 1, 4, 5, 6)],
  ["AdaptiveMaxPool1d", () => new nn.AdaptiveMaxPool1d(3), x(2, 3, 8)],
  ["AdaptiveMaxPool2d", () => new nn.AdaptiveMaxPool2d([3, 4]), x(2, 3, 8, 9)],
  ["AdaptiveMaxPool3d", () => new nn.AdaptiveMaxPool3d(2), x(2, 1, 4, 5, 6)],
  ["LPPool1d", () => new nn.LPPool1d(2, 3), x(2, 3, 9)],
  ["LPPool2d", () => new nn.LPPool2d(2, 2), x(2, 3, 8, 8)],
  ["LPPool3d", () => new nn.LPPool3d(2, 2), x(2, 1, 4, 4, 4)],
  ["ConstantPad1d", () => new nn.ConstantPad1d(2, 0.5), x(2, 3, 4)],
  ["ConstantPad2d", () => new nn.ConstantPad2d([1, 2, -1, 3], 0.5), x(2, 3, 4, 4)],
  ["ConstantPad3d", () => new nn.ConstantPad3d(1, -1), x(2, 1, 2, 3, 4)],
  ["ZeroPad1d", () => new nn.ZeroPad1d(2), x(2, 3, 4)],
  ["ZeroPad2d", () => new nn.ZeroPad2d([1, 0, 2, 1]), x(2, 3, 4, 4)],
  ["ZeroPad3d", () => new nn.ZeroPad3d(1), x(2, 1, 2, 3, 4)],
  ["ReflectionPad1d", () => new nn.ReflectionPad1d([2, 1]), x(2, 3, 4)],
  ["ReflectionPad2d", () => new nn.ReflectionPad2d([1, 2, 2, 1]), x(2, 3, 4, 4)],
  ["ReflectionPad3d", () => new nn.ReflectionPad3d(1), x(2, 1, 2, 3, 4)],
  ["ReplicationPad1d", () => new nn.ReplicationPad1d([2, 1]), x(2, 3, 4)],
  ["ReplicationPad2d", () => new nn.ReplicationPad2d([1, 2, 2, 1]), x(2, 3, 4, 4)],
  ["ReplicationPad3d", () => new nn.ReplicationPad3d(1), x(2, 1, 2, 3, 4)],
  ["CircularPad1d", () => new nn.CircularPad1d([2, 1]), x(2, 3, 4)],
  ["CircularPad2d", () => new nn.CircularPad2d([1, 2, 2, 1]), x(2, 3, 4, 4)],
  ["CircularPad3d", () => new nn.CircularPad3d(1), x(2, 1, 2, 3, 4)],
  ["ReLU", () => new nn.ReLU(), x(2, 5)],
  ["ReLU, in place", () => new nn.Sequential(new nn.Linear(5, 5), new nn.ReLU({ inplace: true })), x(2, 5)],
  ["ReLU6", () => new nn.ReLU6(), x(2, 50)],
  ["Hardtanh", () => new nn.Hardtanh(-0.5, 0.7), x(2, 5)],
  ["LeakyReLU", () => new nn.LeakyReLU(0.2), x(2, 5)],
  ["PReLU", () => new nn.PReLU(5), x(2, 5, 3)],
  ["RReLU", () => new nn.RReLU(), x(2, 5)],
  ["ELU", () => new nn.ELU(0.5), x(2, 5)],
  ["SELU", () => new nn.SELU(), x(2, 5)],
  ["CELU", () => new nn.CELU(0.7), x(2, 5)],
  ["GELU", () => new nn.GELU(), x(2, 5)],
  ["GELU, tanh", () => new nn.GELU({ approximate: "tanh" }), x(2, 5)],
  ["SiLU", () => new nn.SiLU(), x(2, 5)],
  ["Mish", () => new nn.Mish(), x(2, 5)],
  ["Sigmoid", () => new nn.Sigmoid(), x(2, 5)],
  ["LogSigmoid", () => new nn.LogSigmoid(), x(2, 5)],
  ["Tanh", () => new nn.Tanh(), x(2, 5)],
  ["Tanhshrink", () => new nn.Tanhshrink(), x(2, 5)],
  ["Hardsigmoid", () => new nn.Hardsigmoid(), () => [randn([2, 50]).mul(3)]],
  ["Hardswish", () => new nn.Hardswish(), () => [randn([2, 50]).mul(3)]],
  ["Softplus", () => new nn.Softplus(2, 1), x(2, 50)],
  ["Softsign", () => new nn.Softsign(), x(2, 5)],
  ["Softshrink", () => new nn.Softshrink(0.3), x(2, 5)],
  ["Hardshrink", () => new nn.Hardshrink(0.3), x(2, 5)],
  ["Threshold", () => new nn.Threshold(0.1, -2), x(2, 5)],
  ["GLU", () => new nn.GLU(1), x(2, 6, 3)],
  ["Softmax", () => new nn.Softmax({ dim: 1 }), x(2, 6, 3)],
  ["Softmax2d", () => new nn.Softmax2d(), x(2, 6, 3, 3)],
  ["Softmin", () => new nn.Softmin({ dim: -1 }), x(2, 6, 3)],
  ["LogSoftmax", () => new nn.LogSoftmax({ dim: 1 }), x(2, 6)],
  [
    "Dropout",
    () => new nn.Sequential(new nn.Dropout(0.5), new nn.Dropout2d(0.5), new nn.AlphaDropout(0.5)),
    x(2, 3, 4, 4),
  ],
  ["Flatten", () => new nn.Flatten(), x(2, 3, 4)],
  ["Unflatten", () => new nn.Unflatten(1, [2, 3]), x(2, 6, 4)],
  ["Fold", () => new nn.Fold([4, 5], [2, 3]), x(2, 12, 9)],
  ["Unfold", () => new nn.Unfold([2, 3], { dilation: 1, padding: 1, stride: [2, 1] }), x(2, 2, 5, 6)],
  ["PixelShuffle", () => new nn.PixelShuffle(2), x(2, 8, 3, 4)],
  ["PixelUnshuffle", () => new nn.PixelUnshuffle(2), x(2, 2, 4, 6)],
  ["ChannelShuffle", () => new nn.ChannelShuffle(2), x(2, 6, 3, 3)],
  ["Upsample, nearest", () => new nn.Upsample({ scaleFactor: 2 }), x(2, 3, 4, 5)],
  ["Upsample, nearest-exact", () => new nn.Upsample({ size: [7, 9], mode: "nearest-exact" }), x(2, 3, 4, 5)],
  ["Upsample, linear", () => new nn.Upsample({ scaleFactor: 2, mode: "linear" }), x(2, 3, 5)],
  [
    "Upsample, bilinear",
    () => new nn.Upsample({ scaleFactor: 2, mode: "bilinear", alignCorners: true }),
    x(2, 3, 4, 5),
  ],
  ["Upsample, bicubic", () => new nn.Upsample({ size: [8, 10], mode: "bicubic" }), x(2, 3, 4, 5)],
  ["Upsample, trilinear", () => new nn.Upsample({ scaleFactor: 2, mode: "trilinear" }), x(2, 1, 3, 4, 5)],
  ["UpsamplingNearest2d", () => new nn.UpsamplingNearest2d({ scaleFactor: 3 }), x(2, 3, 4, 5)],
  ["UpsamplingBilinear2d", () => new nn.UpsamplingBilinear2d({ size: [7, 6] }), x(2, 3, 4, 5)],
  ["MaxUnpool2d", fn((t) => unpooled(2, t)), x(2, 3, 4, 6)],
  ["MaxUnpool1d", fn((t) => unpooled(1, t)), x(2, 3, 6)],
  ["MaxUnpool3d", fn((t) => unpooled(3, t)), x(2, 1, 4, 4, 4)],
  ["RNN", () => new nn.RNN(4, 3, { numLayers: 2, batchFirst: true }), x(2, 5, 4)],
  ["RNN, relu", () => new nn.RNN(4, 3, { nonlinearity: "relu", bidirectional: true, batchFirst: true }), x(2, 5, 4)],
  ["LSTM", () => new nn.LSTM(4, 3, { numLayers: 2, bidirectional: true, batchFirst: true }), x(2, 5, 4)],
  ["LSTM, without biases", () => new nn.LSTM(4, 3, { bias: false, batchFirst: true }), x(2, 5, 4)],
  ["GRU", () => new nn.GRU(4, 3, { numLayers: 2, batchFirst: true, bidirectional: true }), x(2, 5, 4)],
  ["RNNCell", () => new nn.RNNCell(4, 3), x(2, 4)],
  ["LSTMCell", () => new nn.LSTMCell(4, 3), x(2, 4)],
  ["GRUCell", () => new nn.GRUCell(4, 3), x(2, 4)],
  [
    "Embedding",
    () => new nn.Embedding(10, 3),
    () => [
      tensor(
        [
          [1, 2, 4],
          [4, 3, 9],
        ],
        { dtype: "int64" },
      ),
    ],
  ],
  [
    "EmbeddingBag",
    () => new nn.EmbeddingBag(10, 3, { mode: "mean" }),
    () => [
      tensor(
        [
          [1, 2, 4],
          [4, 3, 9],
        ],
        { dtype: "int64" },
      ),
    ],
  ],
];

function unpooled(rank: 1 | 2 | 3, t: Tensor): Tensor {
  if (rank === 1) {
    const [values, indices] = F.maxPool1dWithIndices(t, 2);
    return F.maxUnpool1d(values, indices, 2);
  }
  if (rank === 2) {
    const [values, indices] = F.maxPool2dWithIndices(t, 2);
    return F.maxUnpool2d(values, indices, 2);
  }
  const [values, indices] = F.maxPool3dWithIndices(t, 2);
  return F.maxUnpool3d(values, indices, 2);
}

class Block extends nn.Module {
  readonly norm = new nn.LayerNorm(8);
  readonly qkv = new nn.Linear(8, 24);
  readonly out = new nn.Linear(8, 8);
  readonly up = new nn.Linear(8, 16);
  readonly down = new nn.Linear(16, 8);
  readonly causal: boolean;
  constructor(causal: boolean) {
    super();
    this.causal = causal;
  }
  forward(t: Tensor): Tensor {
    const [b, l, d] = t.shape as readonly [number, number, number];
    const heads = (part: Tensor): Tensor => part.view([b, l, 2, d / 2]).transpose(1, 2);
    const [q, k, v] = this.qkv.forward(this.norm.forward(t)).split(8, -1) as [Tensor, Tensor, Tensor];
    const y = F.scaledDotProductAttention(heads(q), heads(k), heads(v), { isCausal: this.causal });
    const sum = t.add(this.out.forward(y.transpose(1, 2).contiguous().view([b, l, d])));
    return sum.add(this.down.forward(F.gelu(this.up.forward(sum))));
  }
}
/** A small GPT: its sizes come from its input, in JavaScript. */
class Gpt extends nn.Module {
  readonly tokens = new nn.Embedding(20, 8);
  readonly places = new nn.Embedding(16, 8);
  readonly blocks = new nn.ModuleList([new Block(true), new Block(true)]);
  readonly head = new nn.Linear(8, 20, { bias: false });
  forward(ids: Tensor): Tensor {
    const at = arange(0, ids.size(1), { dtype: "int64" });
    let t = this.tokens.forward(ids).add(this.places.forward(at));
    for (const block of this.blocks) t = (block as Block).forward(t);
    return this.head.forward(t);
  }
}
class Residual extends nn.Module {
  readonly a = new nn.Sequential(
    new nn.Conv2d(3, 8, 3, { padding: 1 }),
    new nn.BatchNorm2d(8),
    new nn.ReLU({ inplace: true }),
    new nn.MaxPool2d(2),
  );
  readonly b = new nn.Conv2d(8, 8, 3, { padding: 1 });
  readonly head = new nn.Linear(8, 10);
  forward(t: Tensor): Tensor {
    const y = this.a.forward(t) as Tensor;
    const z = F.relu(this.b.forward(y).add(y));
    return this.head.forward(F.adaptiveAvgPool2d(z, 1).flatten(1));
  }
}

function materialized(): nn.Module {
  const lazy = new nn.LazyLinear(3);
  lazy.forward(randn([1, 4]));
  return lazy;
}

const ids = (): readonly Tensor[] => [
  tensor(
    [
      [1, 2, 3, 4],
      [5, 6, 7, 8],
    ],
    { dtype: "int64" },
  ),
];
const functions: readonly Case[] = [
  {
    name: "GPT, free batch and time",
    model: () => new Gpt(),
    inputs: ids,
    dynamicAxes: { input: { 0: "batch", 1: "time" }, output: { 0: "batch", 1: "time" } },
  },
  { name: "residual network", model: () => new Residual(), inputs: x(2, 3, 8, 8), dynamicAxes: BATCH },
  {
    name: "Bilinear",
    model: () => new nn.Bilinear(3, 4, 5),
    inputs: () => [randn([2, 3]), randn([2, 4])],
    dynamicAxes: { input: [0], input_1: [0] },
  },
  { name: "CosineSimilarity", model: () => new nn.CosineSimilarity(), inputs: () => [randn([2, 3]), randn([2, 3])] },
  { name: "PairwiseDistance", model: () => new nn.PairwiseDistance(3), inputs: () => [randn([2, 3]), randn([2, 3])] },
  {
    name: "LSTM, with a state",
    model: () => new nn.LSTM(4, 3),
    inputs: () => [randn([5, 2, 4]), [randn([1, 2, 3]), randn([1, 2, 3])]],
  },
  {
    name: "attention with a mask",
    model: fn((q, k, v, mask) =>
      F.scaledDotProductAttention(q as Tensor, k as Tensor, v as Tensor, { attnMask: (mask as Tensor).gt(0) }),
    ),
    inputs: () => [
      randn([2, 2, 3, 4]),
      randn([2, 2, 5, 4]),
      randn([2, 2, 5, 4]),
      cat([rand([3, 4]), rand([3, 1]).sub(1)], 1),
    ],
  },
  {
    name: "MultiheadAttention",
    model: () => {
      const attention = new nn.MultiheadAttention(8, 2, { batchFirst: true });
      return new Fn((q, k) => attention.forward(q as Tensor, k as Tensor, k as Tensor));
    },
    inputs: () => [randn([2, 3, 8]), randn([2, 5, 8])],
    dynamicAxes: { input: { 0: "batch" }, input_1: { 0: "batch" } },
  },
  {
    name: "TransformerEncoder",
    model: () => new nn.TransformerEncoder(new nn.TransformerEncoderLayer(8, 2, 16, { batchFirst: true }), 2),
    inputs: x(2, 5, 8),
    dynamicAxes: BATCH,
  },
  {
    name: "Transformer",
    model: () =>
      new nn.Transformer({
        dModel: 8,
        nhead: 2,
        numEncoderLayers: 1,
        numDecoderLayers: 1,
        dimFeedforward: 16,
        activation: "gelu",
        normFirst: true,
      }),
    inputs: () => [randn([5, 2, 8]), randn([3, 2, 8])],
    dynamicAxes: { input: { 1: "batch" }, input_1: { 1: "batch" } },
  },
  { name: "LazyLinear, materialized", model: () => materialized(), inputs: x(2, 4), dynamicAxes: BATCH },
  {
    name: "arithmetic",
    model: fn((a, b) => [
      (a as Tensor)
        .add(b as Tensor, { alpha: 2 })
        .sub(1)
        .mul(b as Tensor)
        .div(3),
      (a as Tensor)
        .pow(2)
        .add((b as Tensor).abs().sqrt())
        .exp()
        .log1p(),
      (a as Tensor)
        .clamp(-0.5, 0.5)
        .maximum(b as Tensor)
        .floor(),
      (a as Tensor).gt(b as Tensor),
      (a as Tensor).where((a as Tensor).le(0), b as Tensor),
      (a as Tensor).maskedFill((a as Tensor).ne(0).logicalAnd((b as Tensor).ge(0)), 3),
      (a as Tensor).remainder(0.7),
      (a as Tensor).div(b as Tensor, { roundingMode: "floor" }),
    ]),
    inputs: () => [randn([2, 3]), randn([2, 3])],
    dynamicAxes: { input: { 0: "n" }, input_1: { 0: "n" } },
  },
  {
    name: "reductions",
    model: fn((t) => {
      const a = t as Tensor;
      const [values, places] = a.max(1);
      const [top, at] = a.topk(2, -1);
      return [
        a.sum(),
        a.mean(1),
        a.amax([1], true),
        values,
        places,
        top,
        at,
        a.argmax(1),
        a.var(1),
        a.std(1),
        a.norm(2, [1]),
        a.logsumexp([1]),
        a.cumsum(1),
        a.prod(1),
        a.gt(0).any(),
        a.gt(-9).all(1),
      ];
    }),
    inputs: x(2, 5),
    dynamicAxes: BATCH,
  },
  {
    name: "shapes",
    model: fn((t) => {
      const a = t as Tensor;
      const [n] = a.shape as readonly [number];
      return [
        a.view([n, -1]),
        a.view([n * 3, 4]),
        a.reshape([-1, 2]),
        a.permute([2, 0, 1]),
        a.transpose(1, 2).contiguous(),
        a.unsqueeze(1).squeeze(1),
        a.unsqueeze(0).expand([2, n, 3, 4]),
        a.repeat([1, 2, 1]),
        cat([a, a.neg()], 2),
        a.chunk(2, 2)[1],
        a.select(1, 2),
        a.at(":", "1:3", "::2"),
        a.flip([1]),
        a.roll([1], [2]),
        a.tril(),
        a.narrow(2, 1, 2),
        a.at(":", [2, 0]),
        a.at(":", [2, 0], [1, 3]),
        a.indexSelect(2, tensor([3, 0], { dtype: "int64" })),
        a.movedim(0, 2),
      ];
    }),
    inputs: x(2, 3, 4),
    dynamicAxes: BATCH,
  },
  { name: "opset 11", model: () => new Residual(), inputs: x(2, 3, 8, 8), dynamicAxes: BATCH, opsetVersion: 11 },
  {
    name: "opset 13, LayerNorm",
    model: () => new Block(false),
    inputs: x(2, 5, 8),
    dynamicAxes: BATCH,
    opsetVersion: 13,
  },
  { name: "opset 23", model: () => new Block(true), inputs: x(2, 5, 8), dynamicAxes: BATCH, opsetVersion: 23 },
  {
    name: "AvgPool2d, ceil",
    model: () => new nn.AvgPool2d(2, { ceilMode: true }),
    inputs: x(2, 3, 5, 5),
    opsetVersion: 19,
  },
  ...(["float64", "float16", "bfloat16"] as const satisfies readonly DType[]).map((dtype): Case => ({
    name: `residual network, ${dtype}`,
    model: () => new Residual().to(dtype),
    inputs: () => [randn([2, 3, 8, 8]).to(dtype)],
    dynamicAxes: BATCH,
    // Convolutions know bfloat16 from 22 on.
    ...(dtype === "bfloat16" ? { opsetVersion: 22 } : {}),
  })),
];

const labels = (classes: number, ...shape: number[]): Tensor => randint(0, classes, shape);
const of = (...shape: number[]): Tensor => randn(shape);
type Loss = readonly [name: string, model: () => nn.Module, inputs: () => readonly Tensor[]];
const losses: readonly Loss[] = [
  ["MSELoss", () => new nn.MSELoss(), () => [of(2, 3), of(2, 3)]],
  ["MSELoss, sum", () => new nn.MSELoss({ reduction: "sum" }), () => [of(2, 3), of(2, 3)]],
  ["L1Loss, none", () => new nn.L1Loss({ reduction: "none" }), () => [of(2, 3), of(2, 3)]],
  ["SmoothL1Loss", () => new nn.SmoothL1Loss({ beta: 0.5 }), () => [of(2, 3), of(2, 3)]],
  ["HuberLoss", () => new nn.HuberLoss({ delta: 0.7 }), () => [of(2, 3), of(2, 3)]],
  ["BCELoss", () => new nn.BCELoss({ weight: tensor([1, 2, 0.5]) }), () => [rand([2, 3]), rand([2, 3])]],
  ["BCEWithLogitsLoss", () => new nn.BCEWithLogitsLoss(), () => [of(2, 3).mul(50), rand([2, 3])]],
  [
    "BCEWithLogitsLoss, weights",
    () => new nn.BCEWithLogitsLoss({ weight: tensor([1, 2, 0.5]), posWeight: tensor([3, 1, 0.5]) }),
    () => [of(2, 3), rand([2, 3])],
  ],
  [
    "KLDivLoss",
    () => new nn.KLDivLoss({ reduction: "batchmean" }),
    () => [of(2, 3).logSoftmax(1), of(2, 3).softmax(1)],
  ],
  [
    "KLDivLoss, logarithms",
    () => new nn.KLDivLoss({ reduction: "sum", logTarget: true }),
    () => [of(2, 3).logSoftmax(1), of(2, 3).logSoftmax(1)],
  ],
  ["SoftMarginLoss", () => new nn.SoftMarginLoss(), () => [of(2, 3), of(2, 3).sign()]],
  ["NLLLoss", () => new nn.NLLLoss(), () => [of(4, 5).logSoftmax(1), labels(5, 4)]],
  [
    "NLLLoss, images",
    () => new nn.NLLLoss({ weight: tensor([1, 2, 0.5]), ignoreIndex: 1 }),
    () => [of(2, 3, 4, 4).logSoftmax(1), labels(3, 2, 4, 4)],
  ],
  ["CrossEntropyLoss", () => new nn.CrossEntropyLoss(), () => [of(4, 5), labels(5, 4)]],
  [
    "CrossEntropyLoss, weights",
    () => new nn.CrossEntropyLoss({ weight: tensor([1, 2, 0.5, 1, 3]), ignoreIndex: 2, reduction: "sum" }),
    () => [of(4, 5), labels(5, 4)],
  ],
  [
    "CrossEntropyLoss, images",
    () => new nn.CrossEntropyLoss({ reduction: "none" }),
    () => [of(2, 3, 4), labels(3, 2, 4)],
  ],
  ["PoissonNLLLoss", () => new nn.PoissonNLLLoss(), () => [of(2, 3), rand([2, 3])]],
  ["GaussianNLLLoss", () => new nn.GaussianNLLLoss(), () => [of(2, 3), of(2, 3), rand([2, 3]).add(0.1)]],
  ["HingeEmbeddingLoss", () => new nn.HingeEmbeddingLoss(), () => [of(2, 3), of(2, 3).sign()]],
  ["MarginRankingLoss", () => new nn.MarginRankingLoss({ margin: 0.1 }), () => [of(4), of(4), of(4).sign()]],
  ["CosineEmbeddingLoss", () => new nn.CosineEmbeddingLoss(), () => [of(3, 4), of(3, 4), of(3).sign()]],
  ["TripletMarginLoss", () => new nn.TripletMarginLoss(), () => [of(3, 4), of(3, 4), of(3, 4)]],
  ["TripletMarginWithDistanceLoss", () => new nn.TripletMarginWithDistanceLoss(), () => [of(3, 4), of(3, 4), of(3, 4)]],
  ["MultiLabelSoftMarginLoss", () => new nn.MultiLabelSoftMarginLoss(), () => [of(3, 4), labels(2, 3, 4).float()]],
];
export const CASES: readonly Case[] = [
  ...layers.map(([name, model, inputs]): Case => ({ name, model, inputs, dynamicAxes: BATCH })),
  ...functions,
  ...losses.map(([name, model, inputs]): Case => ({ name, model, inputs })),
];

/** The model and its inputs, always the same; in evaluation, with running statistics that are no longer those of the beginning. */
export function made({ model, inputs }: Case): {
  readonly model: nn.Module;
  readonly args: readonly (Tensor | readonly Tensor[])[];
} {
  manualSeed(7);
  const built = model();
  for (const [name, buffer] of built.namedBuffers())
    if (name.endsWith("running_mean") || name.endsWith("runningMean")) buffer.copy_(randn([...buffer.shape]).mul(0.3));
  return { model: built.eval(), args: inputs() };
}
