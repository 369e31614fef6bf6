import assert from "node:assert/strict";
import { test } from "node:test";
import { deepcopy, manualSeed, nn, ones, randn, zeros, type Tensor } from "@nbit/torch";

type Forward = nn.Module & { forward(x: Tensor): Tensor };
const PAIRS: readonly (readonly [lazy: () => Forward, plain: () => Forward, shape: readonly number[]])[] = [
  [() => new nn.LazyLinear(3), () => new nn.Linear(5, 3), [2, 5]],
  [() => new nn.LazyConv1d(4, 3, { groups: 2 }), () => new nn.Conv1d(6, 4, 3, { groups: 2 }), [2, 6, 9]],
  [() => new nn.LazyConv2d(4, 3, 2, 1), () => new nn.Conv2d(3, 4, 3, 2, 1), [3, 9, 9]],
  [() => new nn.LazyConv3d(2, 2, { bias: false }), () => new nn.Conv3d(3, 2, 2, { bias: false }), [1, 3, 4, 4, 4]],
  [() => new nn.LazyConvTranspose1d(4, 3), () => new nn.ConvTranspose1d(6, 4, 3), [2, 6, 9]],
  [() => new nn.LazyConvTranspose2d(4, 3, 2, 1, 1, 2), () => new nn.ConvTranspose2d(6, 4, 3, 2, 1, 1, 2), [1, 6, 5, 5]],
  [() => new nn.LazyConvTranspose3d(2, 2), () => new nn.ConvTranspose3d(3, 2, 2), [1, 3, 4, 4, 4]],
  [() => new nn.LazyBatchNorm1d(1e-3), () => new nn.BatchNorm1d(5, 1e-3), [4, 5]],
  [() => new nn.LazyBatchNorm2d(), () => new nn.BatchNorm2d(3), [2, 3, 4, 4]],
  [() => new nn.LazyBatchNorm3d({ affine: false }), () => new nn.BatchNorm3d(3, { affine: false }), [2, 3, 2, 2, 2]],
  [() => new nn.LazyInstanceNorm1d(1e-3, 0.1, true), () => new nn.InstanceNorm1d(5, 1e-3, 0.1, true), [5, 4]],
  [
    () => new nn.LazyInstanceNorm2d({ affine: true, trackRunningStats: true }),
    () => new nn.InstanceNorm2d(3, { affine: true, trackRunningStats: true }),
    [2, 3, 4, 4],
  ],
  [() => new nn.LazyInstanceNorm3d(), () => new nn.InstanceNorm3d(3), [1, 3, 2, 2, 2]],
];

for (const [lazy, plain, shape] of PAIRS)
  test(`${lazy().constructor.name} becomes ${plain().constructor.name}, with its weights`, () => {
    const layer = lazy();
    const x = randn(shape);
    const known = [...layer.parameters()];
    manualSeed(5);
    const y = layer.call(x);
    manualSeed(5);
    const other = plain();
    assert.deepEqual(y.tolist(), other.call(x).tolist());
    assert.equal(layer.constructor, other.constructor);
    assert.equal(String(layer), String(other));
    assert.deepEqual([...layer.parameters()], known);
    const [ours, theirs] = [layer.stateDict(), other.stateDict()];
    assert.deepEqual([...ours.keys()], [...theirs.keys()]);
    for (const [key, t] of ours) assert.deepEqual(t.tolist(), theirs.get(key)?.tolist(), key);
  });

test("before its first input a lazy layer moves, casts, copies and prints; its weights are of no use", () => {
  const layer = new nn.LazyLinear(3).double();
  assert.equal(layer.hasUninitializedParams(), true);
  assert.ok(layer.weight instanceof nn.UninitializedParameter);
  assert.equal(layer.weight.dtype, "float64");
  assert.equal(String(layer), "LazyLinear(in_features=0, out_features=3, bias=True)");
  assert.equal(String(layer.weight), "<UninitializedParameter>");
  const unusable = {
    code: "ERR_ARGUMENT",
    message: /UninitializedParameter: expected to have a shape before it is used/,
  };
  assert.throws(() => layer.weight.sum(), unusable);
  assert.throws(() => layer.weight.shape, unusable);
  assert.throws(() => ones([2]).mul(layer.weight), unusable);
  const copy = deepcopy(layer);
  copy.call(zeros([2, 4], { dtype: "float64" }));
  assert.deepEqual(copy.weight.shape, [3, 4]);
  assert.equal(copy.weight.dtype, "float64");
  assert.equal(layer.hasUninitializedParams(), true);
});

test("a state dict gives a lazy layer its shapes", () => {
  for (const [lazy, plain, shape] of PAIRS) {
    const [layer, other] = [lazy(), plain()];
    layer.loadStateDict(other.stateDict());
    const x = randn(shape);
    assert.deepEqual(layer.call(x).tolist(), other.call(x).tolist(), other.constructor.name);
    assert.equal(String(layer), String(other));
  }
  const saved = new nn.LazyLinear(2).stateDict();
  assert.deepEqual([...saved.keys()], ["weight", "bias"]);
  new nn.LazyLinear(2).loadStateDict(saved);
  assert.throws(() => new nn.Linear(3, 2).loadStateDict(saved), /weight has no shape yet, expected \[2, 3\]/);
});

test("half of a state is refused rather than drawn over", () => {
  const layer = new nn.LazyLinear(2);
  layer.loadStateDict({ weight: ones([2, 3]) }, { strict: false });
  assert.throws(() => layer.call(ones([1, 3])), /LazyLinear: expected all of weight, bias to be loaded, or none/);
});

test("hooks of a lazy layer see its input and output", () => {
  const layer = new nn.LazyLinear(2);
  const seen: string[] = [];
  layer.registerForwardPreHook(() => void seen.push("before"));
  layer.registerForwardHook(() => void seen.push("after"));
  layer.forward(ones([1, 3]));
  layer.forward(ones([1, 3]));
  assert.deepEqual(seen, ["before", "after", "before", "after"]);
  assert.ok(!(layer instanceof nn.LazyLinear));
});

test("inputs that cannot be are refused", () => {
  assert.throws(
    () => new nn.LazyConv2d(4, 3).forward(ones([3, 3])),
    /LazyConv2d: expected an input of 3 or 4 dimensions/,
  );
  assert.throws(
    () => new nn.LazyConv2d(4, 3, { groups: 2 }).forward(ones([1, 3, 4, 4])),
    /inChannels \(3\) to be divisible by groups/,
  );
  assert.throws(
    () => new nn.LazyLinear({ inFeatures: 3 } as never),
    /LazyLinear: expected options among outFeatures, bias/,
  );
});

test("materialize makes a parameter or a buffer of a shape, of this object", () => {
  const p = new nn.UninitializedParameter(false, "cpu", "float64");
  p.materialize([2, 3]);
  assert.equal(p.constructor, nn.Parameter);
  assert.deepEqual([p.shape, p.dtype, p.requiresGrad], [[2, 3], "float64", false]);
  const b = new nn.UninitializedBuffer({ persistent: false });
  assert.throws(() => b.sum(), /UninitializedBuffer: expected to have a shape/);
  b.materialize({ shape: [4], dtype: "int64" });
  assert.deepEqual([b.shape, b.dtype, b.persistent], [[4], "int64", false]);
});

test("a field that holds a Buffer is one", () => {
  class Net extends nn.Module {
    mean: Tensor = new nn.Buffer(ones([2]));
    readonly scratch = new nn.Buffer(zeros([1]), { persistent: false });
    forward(): Tensor {
      return this.mean;
    }
  }
  const net = new Net();
  assert.deepEqual([...net.stateDict().keys()], ["mean"]);
  assert.deepEqual(
    [...net.namedBuffers()].map(([name]) => name),
    ["mean", "scratch"],
  );
  net.mean = zeros([2]);
  assert.deepEqual(net.stateDict().get("mean")?.tolist(), [0, 0]);
  assert.equal(net.double().mean.dtype, "float64");
  assert.equal(deepcopy(net).scratch.persistent, false);
});
