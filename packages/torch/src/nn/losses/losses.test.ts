import assert from "node:assert/strict";
import { test } from "node:test";
import { memory, nn, noGrad, ones, rand, scope, tensor, zeros, type Tensor } from "../../index.js";

const F = nn.functional;
const refused = (call: () => unknown, message: RegExp): void =>
  assert.throws(call, (error: Error & { readonly code?: string }) => {
    assert.equal(error.code, "ERR_ARGUMENT");
    assert.match(error.message, message);
    return true;
  });
const x = rand([3, 4]);

test("what a loss cannot be computed of is refused, with what would do", () => {
  refused(() => F.binaryCrossEntropy(x, ones([3])), /target to have the shape of input \(\[3, 4\]\)/);
  refused(() => F.binaryCrossEntropyWithLogits(x, ones([3, 1])), /target to have the shape of input/);
  refused(() => F.mseLoss(x, x, { weight: ones([4]) }), /weight to have the shape of input/);
  refused(() => F.gaussianNllLoss(x, x, ones([3, 4]).neg()), /var without negative elements/);
  refused(() => F.gaussianNllLoss(x, x, -1), /var to be a number ≥ 0|var to be a finite number ≥ 0/);
  refused(() => F.gaussianNllLoss(x, x, ones([4])), /var to have the shape of input \(\[3, 4\]\), or 1/);
  refused(() => F.marginRankingLoss(x, x, ones([3])), /inputs of the same number of dimensions \(2\)/);
  refused(() => F.tripletMarginLoss(x, x, x, { margin: 0 }), /margin to be a finite number > 0/);
  refused(() => F.multiMarginLoss(x, zeros([3]), { weight: x }), /weight to be a tensor of one dimension/);
  refused(() => new nn.MultiMarginLoss(3 as 1), /p to be one of 1, 2/);
  refused(() => new nn.KLDivLoss({ reduction: "batch" as "sum" }), /one of none, mean, sum, batchmean/);
  refused(() => F.ctcLoss(x, x, [1.5], [1]), /inputLengths to be a tensor, or an array/);
  refused(() => Reflect.construct(nn.GaussianNLLLoss, [true]), /no arguments by position/);
  refused(() => F.multilabelSoftMarginLoss(tensor(1), tensor(1)), /at least one dimension/);
});

test("class indices may be whole numbers of any dtype", () => {
  const classes = tensor([0, 3, 1]);
  const losses: readonly ((input: Tensor, target: Tensor) => Tensor)[] = [F.crossEntropy, F.nllLoss, F.multiMarginLoss];
  for (const loss of losses) assert.equal(loss(x, classes).item(), loss(x, classes.long()).item());
  const adaptive = new nn.AdaptiveLogSoftmaxWithLoss(4, 6, [2]);
  assert.equal(adaptive.forward(x, classes).loss.item(), adaptive.forward(x, classes.long())[1].item());
});

test("a shape that is broadcast is told once", async () => {
  const warnings: Error[] = [];
  const listen = (warning: Error): void => void warnings.push(warning);
  process.on("warning", listen);
  const broadcast = F.smoothL1Loss(x, ones([3, 1]));
  F.smoothL1Loss(x, ones([4]));
  await new Promise(setImmediate);
  process.off("warning", listen);
  assert.equal(warnings.length, 1);
  assert.match(String(warnings[0]?.message), /^smoothL1Loss: target has shape \[3, 1\], input \[3, 4\]/);
  assert.equal(broadcast.item(), F.smoothL1Loss(x, ones([3, 4])).item());
});

test("weights are buffers, with PyTorch's keys; a distance that is a module is a child", () => {
  const weight = ones([4]);
  for (const loss of [
    new nn.CrossEntropyLoss({ weight }),
    new nn.NLLLoss(weight),
    new nn.NLLLoss2d({ weight }),
    new nn.BCELoss({ weight }),
    new nn.MultiMarginLoss(1, 1, weight),
    new nn.MultiLabelSoftMarginLoss(weight),
  ]) {
    assert.deepEqual([...loss.stateDict().keys()], ["weight"]);
    assert.equal(loss.to("float64").weight?.dtype, "float64");
  }
  class Scaled extends nn.Module {
    readonly scale = new nn.Parameter(ones([1]));
    forward(a: Tensor, b: Tensor): Tensor {
      return a.sub(b).abs().sum(1).mul(this.scale);
    }
  }
  const distance = new Scaled();
  const loss = new nn.TripletMarginWithDistanceLoss({ distanceFunction: distance, swap: true });
  assert.deepEqual([...loss.stateDict().keys()], ["distance_function.scale"]);
  const [a, b, c] = [rand([2, 4]), rand([2, 4]), rand([2, 4])];
  const byFunction = F.tripletMarginWithDistanceLoss(a, b, c, {
    distanceFunction: (p, q) => p.sub(q).abs().sum(1),
    swap: true,
  });
  assert.equal(loss.forward(a, b, c).item(), byFunction.item());
});

test("losses print as PyTorch's", () => {
  assert.equal(String(new nn.CrossEntropyLoss({ weight: ones([2]) })), "CrossEntropyLoss()");
  assert.equal(
    String(new nn.TripletMarginWithDistanceLoss()),
    "TripletMarginWithDistanceLoss(\n  (distance_function): PairwiseDistance()\n)",
  );
  assert.equal(
    String(new nn.LinearCrossEntropyLoss(3, 4, { outFeatures: [2], labelSmoothing: 0.5 })),
    "LinearCrossEntropyLoss(\n  in_features=3, num_classes=4, out_features=(2,), bias=False, reduction=mean, ignore_index=None, label_smoothing=0.5, options=None\n  (linear): Linear(in_features=3, out_features=8, bias=False)\n)",
  );
});

test("losses made of several operators leave nothing behind but their result", () => {
  const live = (): number => Number(memory().tensors);
  scope(() => {
    const before = live();
    noGrad(() => {
      F.gaussianNllLoss(x, x, 0.5).dispose();
      F.multilabelSoftMarginLoss(x, x).dispose();
      F.klDiv(x, x, { reduction: "batchmean" }).dispose();
      F.mseLoss(x, x, { weight: x }).dispose();
    });
    assert.equal(live(), before);
  });
});

test("AdaptiveLogSoftmaxWithLoss: log probabilities of all classes, and the likeliest", () => {
  const layer = new nn.AdaptiveLogSoftmaxWithLoss(8, 10, [3, 6], { divValue: 2, headBias: true });
  assert.deepEqual(
    [...layer.stateDict().keys()],
    ["head.weight", "head.bias", "tail.0.0.weight", "tail.0.1.weight", "tail.1.0.weight", "tail.1.1.weight"],
  );
  const inputs = rand([20, 8]).mul(6);
  const all = layer.logProb(inputs);
  assert.deepEqual([...all.shape], [20, 10]);
  assert.ok(all.exp().sum(1).sub(1).abs().max().item() < 1e-5);
  assert.deepEqual(layer.predict(inputs).tolist(), all.argmax(1).tolist());
  const target = tensor(Array.from({ length: 20 }, (_, i) => i % 10));
  const { output, loss } = layer.forward(inputs, target);
  const expected = all.gather(1, target.long().unsqueeze(1)).squeeze(1);
  assert.ok(output.sub(expected).abs().max().item() < 1e-5);
  assert.ok(Math.abs(loss.item() + expected.mean().item()) < 1e-5);
  refused(() => layer.forward(inputs, tensor(new Array<number>(20).fill(10))), /target to be classes from 0 to 9/);
  refused(() => layer.forward(inputs, zeros([2])), /input \[N, 8\] and target \[N\]/);
  refused(() => new nn.AdaptiveLogSoftmaxWithLoss(8, 10, [3, 3]), /each greater than the one before/);
  refused(() => new nn.AdaptiveLogSoftmaxWithLoss(8, 10, [3, 10]), /cutoffs below nClasses \(10\)/);
});
