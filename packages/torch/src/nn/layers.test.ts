/** Argument forms, errors, keys and edges of layers and their functions; the numbers are the toolbox's to compare. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { manualSeed, nn, noGrad, ones, randn, tensor, zeros, type Tensor } from "@nbit/torch";

const F = nn.functional;
const refused = (run: () => unknown, message: RegExp): void => assert.throws(run, { code: "ERR_ARGUMENT", message });
const keysOf = (module: nn.Module): string[] => [...module.stateDict().keys()];

test("a layer's arguments by position, by name, and mixed", () => {
  const shapes = [
    new nn.Conv2d(2, 4, 3, 2, 1),
    new nn.Conv2d(2, 4, 3, { stride: 2, padding: 1 }),
    new nn.Conv2d(2, { outChannels: 4, kernelSize: 3, stride: 2, padding: 1 }),
    new nn.Conv2d({ inChannels: 2, outChannels: 4, kernelSize: 3, stride: [2, 2], padding: 1 }),
  ].map((conv) => [String(conv), conv.forward(zeros([1, 2, 5, 5])).shape]);
  for (const shape of shapes) assert.deepEqual(shape, shapes[0]);
  assert.equal(new nn.MaxPool2d({ kernelSize: 3 }).stride[0], 3);
  assert.equal(new nn.BatchNorm2d(3, { bias: false }).bias, null);
  assert.equal(new nn.SyncBatchNorm(3, 1e-3, 0.2, true, true, null).eps, 1e-3);
  assert.deepEqual(new nn.ConstantPad2d({ padding: 1, value: 2 }).padding, [1, 1, 1, 1]);
});

test("a function's arguments by position, by name, and mixed", () => {
  const x = randn([1, 2, 4, 4]);
  const all = [
    F.maxPool2d(x, 2, 1),
    F.maxPool2d(x, 2, { stride: 1 }),
    F.maxPool2d(x, { kernelSize: 2, stride: 1 }),
    F.maxPool2d({ input: x, kernelSize: 2, stride: 1 }),
  ].map((y) => y.tolist());
  for (const each of all) assert.deepEqual(each, all[0]);
  const weight = ones([3, 2]);
  const [y, z]: readonly Tensor[] = [F.linear(ones([1, 2]), { weight }), F.linear({ input: ones([1, 2]), weight })];
  assert.deepEqual([y?.tolist(), z?.tolist()], [[[2, 2, 2]], [[2, 2, 2]]]);
  assert.equal(F.conv2d(x, { weight: ones([1, 2, 2, 2]), stride: 2 }).shape[2], 2);
  assert.equal(F.sigmoid({ input: zeros([]) }).item(), 0.5);
  assert.deepEqual(F.gelu({ input: ones([1]), approximate: "tanh" }).shape, [1]);
});

test("functions have PyTorch's order where ATen has another", () => {
  const table = tensor([[1], [2], [3]]);
  assert.deepEqual(F.embedding(tensor([2, 0], { dtype: "int64" }), table).tolist(), [[3], [1]]);
  refused(() => F.embedding(table, tensor([2], { dtype: "int64" })), /Give the indices first: \(input, weight\)/);
  const x = tensor([[1], [3]]);
  const normed = F.batchNorm(x, tensor([1]), tensor([4]), tensor([10]), tensor([0.5]), { eps: 0 });
  assert.deepEqual(normed.tolist(), [[0.5], [10.5]]);
  manualSeed(0);
  assert.notDeepEqual(F.dropout(ones([64])).tolist(), ones([64]).tolist());
  assert.deepEqual(F.dropout(ones([64]), 0.5, false).tolist(), ones([64]).tolist());
  assert.deepEqual(F.alphaDropout(ones([8])).tolist(), ones([8]).tolist());
});

test("what returns indices says so by its type", () => {
  const [output, indices]: [Tensor, Tensor] = new nn.MaxPool2d(2, { returnIndices: true }).forward(ones([1, 4, 4]));
  assert.equal(indices.dtype, "int64");
  assert.deepEqual(new nn.MaxUnpool2d(2).forward(output, indices).shape, [1, 4, 4]);
  const plain: Tensor = new nn.MaxPool2d(2).forward(ones([1, 4, 4]));
  assert.deepEqual(plain.shape, output.shape);
  const [, places]: [Tensor, Tensor] = F.adaptiveMaxPool1d(ones([1, 4]), 2, true);
  assert.deepEqual(places.tolist(), [[0, 2]]);
});

const WRONG: readonly (readonly [run: () => unknown, message: RegExp])[] = [
  [
    () => new nn.Conv2d(3, 4, 3, { groups: 2 }),
    /Conv2d: expected inChannels \(3\) to be divisible by groups\. Received: 2/,
  ],
  [() => new nn.Conv2d(2, 4, [3, 3, 3]), /Conv2d: expected kernelSize to be .* 2 of them\. Received: \[3, 3, 3\]/],
  [
    () => new nn.Conv2d(2, 4, 3, { padding_mode: "reflect" } as never),
    /the option paddingMode\. Received: "padding_mode"/,
  ],
  [() => new nn.Conv2d(2, 4, 3, { paddingMode: "mirror" as never }), /one of zeros, reflect, replicate, circular/],
  [() => new nn.ConvTranspose2d(2, 4, 3, { paddingMode: "reflect" as never }), /paddingMode to be "zeros"/],
  [
    () => new nn.ConvTranspose2d(1, 1, 3, 2).forward(ones([1, 1, 3, 3]), [9, 9]),
    /ConvTranspose2d\.forward: expected outputSize\[0\] from 7 to 8\. Received: 9/,
  ],
  [() => new nn.MaxPool2d(2, { returnIndices: 1 as never }), /returnIndices to be true or false/],
  [() => new nn.AvgPool1d(2, { divisorOverride: 2 } as never), /AvgPool1d: .*Received: "divisorOverride"/],
  [() => new nn.AdaptiveAvgPool2d([1, 2, 3]), /AdaptiveAvgPool2d: expected outputSize/],
  [() => new nn.FractionalMaxPool2d(2), /FractionalMaxPool2d: expected either outputSize or outputRatio/],
  [() => new nn.FractionalMaxPool2d(2, { outputRatio: 1.5 }), /outputRatio to be a number in \(0, 1\)/],
  [() => new nn.Hardtanh(1, -1), /Hardtanh: expected maxVal > minVal \(1\)\. Received: -1/],
  [() => new nn.GroupNorm(3, 4), /numChannels \(4\) to be divisible by numGroups/],
  [() => new nn.Embedding(3, 2, 3), /Embedding: expected paddingIdx within ±3\. Received: 3/],
  [() => new nn.Embedding(3, 2, { _weight: ones([2, 2]) }), /_weight of shape \[3, 2\]/],
  [() => new nn.InstanceNorm2d(3).forward(ones([2, 2])), /InstanceNorm2d: expected an input of 3 or 4 dimensions/],
  [() => new nn.InstanceNorm1d(3).forward(ones([1, 3, 1])), /more than one element per channel of a sample/],
  [() => new nn.BatchNorm1d(3).forward(ones([1, 3])), /more than one value per channel in training/],
  [() => new nn.Softmax2d().forward(ones([2, 2])), /Softmax2d: expected an input of 3 or 4 dimensions/],
  [() => new nn.ReflectionPad2d([1, 2, 3]), /ReflectionPad2d: expected padding to be .* 4 of them/],
  [() => new nn.CircularPad1d(1).forward(ones([2])), /CircularPad1d: expected an input of 2 or 3 dimensions/],
  [() => F.interpolate(ones([1, 1, 2, 2])), /interpolate: expected either size or scaleFactor/],
  [() => F.interpolate(ones([1, 1, 2, 2]), 4, 2), /interpolate: expected either size or scaleFactor/],
  [() => F.interpolate(ones([1, 1, 2]), { size: 4, mode: "bilinear" }), /of the dimensions that "bilinear" is for/],
  [
    () => F.interpolate(ones([1, 1, 2, 2]), { size: 4, alignCorners: true }),
    /alignCorners to be left out with mode "nearest"/,
  ],
  [
    () => F.gridSample(ones([1, 1, 2, 2]), ones([1, 1, 1, 2]), { mode: 0 as never }),
    /one of bilinear, nearest, bicubic/,
  ],
  [() => F.affineGrid(ones([1, 2, 2]), [1, 1, 2, 2]), /theta to be of floats, \[N, 2, 3\]/],
  [() => F.embeddingBag(tensor([1], { dtype: "int64" }), ones([2, 2])), /offsets of 1 dimension/],
  [() => F.dropout(ones([1]), 1.5), /dropout: expected p to be a number in \[0, 1\]\. Received: 1\.5/],
  [() => F.dropout1d(ones([1, 1, 1, 1])), /dropout1d: expected an input of 2 or 3 dimensions/],
  [
    () => F.maxUnpool2d(ones([1, 2, 2]), zeros([1, 2, 2], { dtype: "int64" }), 2, { outputSize: [9, 9] }),
    /between 2 and 6/,
  ],
  [() => Reflect.apply(F.relu, null, [ones([1]), false, 1] as never), /relu: expected input, inplace by position/],
  [() => F.relu({ inplace: true } as never), /relu: expected input to be a tensor\. Received: undefined/],
];
for (const [run, message] of WRONG) test(`refused: ${String(message)}`, () => refused(run, message));

test("state dicts have PyTorch's keys", () => {
  assert.deepEqual(keysOf(new nn.InstanceNorm2d(2, { affine: true, trackRunningStats: true })), [
    "weight",
    "bias",
    "running_mean",
    "running_var",
    "num_batches_tracked",
  ]);
  assert.deepEqual(keysOf(new nn.Bilinear(2, 3, 4)), ["weight", "bias"]);
  assert.deepEqual(keysOf(new nn.PReLU()), ["weight"]);
  assert.deepEqual(keysOf(new nn.FractionalMaxPool2d(2, 3, { _randomSamples: zeros([1, 1, 2]) })), ["_random_samples"]);
});

test("in place: the input itself changes, and is the result", () => {
  for (const layer of [new nn.ReLU(true), new nn.Hardtanh(0, 9, true), new nn.Threshold(0, 0, { inplace: true })]) {
    const x = tensor([-1, 2]);
    const y = layer.forward(x);
    assert.deepEqual(
      [x.tolist(), y.tolist()],
      [
        [0, 2],
        [0, 2],
      ],
    );
  }
  const x = ones([4]);
  assert.equal(F.relu_(x).dataPtr(), x.dataPtr());
});

test("Embedding.fromPretrained shares and freezes its rows", () => {
  const rows = tensor([
    [1, 2],
    [3, 4],
  ]);
  const frozen = nn.Embedding.fromPretrained(rows);
  assert.equal(frozen.weight.requiresGrad, false);
  assert.equal(frozen.weight.dataPtr(), rows.dataPtr());
  const bag = nn.EmbeddingBag.fromPretrained(rows, { freeze: false, mode: "sum" });
  assert.equal(bag.weight.requiresGrad, true);
  assert.deepEqual(bag.forward(tensor([[0, 1]], { dtype: "int64" })).tolist(), [[4, 6]]);
  refused(() => nn.Embedding.fromPretrained(ones([3])), /embeddings to have 2 dimensions/);
});

test("CrossMapLRN2d is LocalResponseNorm for odd sizes, with its gradients", () => {
  const [a, b] = [0, 1].map(() => {
    manualSeed(1);
    return randn([2, 7, 3, 3], { requiresGrad: true });
  }) as [Tensor, Tensor];
  const [x, y] = [new nn.CrossMapLRN2d(3, 0.5).forward(a), new nn.LocalResponseNorm(3, 0.5).forward(b)];
  assert.deepEqual(x.tolist(), y.tolist());
  x.square().sum().backward();
  y.square().sum().backward();
  assert.deepEqual(a.grad?.tolist(), b.grad?.tolist());
});

test("a running norm's statistics start anew", () => {
  const norm = new nn.BatchNorm1d(2);
  noGrad(() => norm.forward(randn([4, 2])));
  assert.equal(norm.numBatchesTracked?.item(), 1);
  norm.resetRunningStats();
  assert.deepEqual(
    [norm.runningMean?.tolist(), norm.runningVar?.tolist(), norm.numBatchesTracked?.item()],
    [[0, 0], [1, 1], 0],
  );
});
