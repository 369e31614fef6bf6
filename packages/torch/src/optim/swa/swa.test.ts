import assert from "node:assert/strict";
import { test } from "node:test";
import { ArgumentError, manualSeed, nn, noGrad, ones, optim, randn, tensor, type Tensor } from "../../index.js";

const { AveragedModel, getEmaAvgFn, getEmaMultiAvgFn, getSwaAvgFn, getSwaMultiAvgFn, updateBn } = optim.swaUtils;
class Net extends nn.Module {
  readonly fc = new nn.Linear(2, 3);
  readonly bn = new nn.BatchNorm1d(3);
  override forward(x: Tensor): Tensor {
    return this.bn.forward(this.fc.forward(x));
  }
}
const bits = (t: Tensor): readonly number[] => t.detach().double().reshape([-1]).tolist() as number[];
function grow(model: nn.Module, n: number): void {
  noGrad(() => model.parameters().forEach((p, i) => void p.add_(0.1 * (n + 1) * (i + 1))));
}

test("a copy, which keeps its own weights; keys are PyTorch's", () => {
  const model = new Net();
  const averaged = new AveragedModel(model);
  assert.deepEqual(
    [...averaged.stateDict().keys()],
    ["n_averaged", ...[...model.stateDict().keys()].map((key) => `module.${key}`)],
  );
  const before = bits(model.fc.weight);
  grow(model, 0);
  assert.deepEqual(bits(averaged.module.fc.weight), before);
  averaged.updateParameters(model);
  assert.deepEqual(bits(averaged.module.fc.weight), bits(model.fc.weight));
  assert.equal(averaged.nAveraged.item(), 1);
  assert.equal(averaged.nAveraged.dtype, "int64");
  const x = randn([4, 2]);
  averaged.eval();
  model.eval();
  assert.deepEqual(bits(averaged.call(x as never) as Tensor), bits(model.forward(x)));
});

test("means of all weights: one by one and over lists", () => {
  for (const dtype of ["float32", "float64", "bfloat16"] as const)
    for (const options of [{}, { multiAvgFn: getSwaMultiAvgFn() }, { avgFn: getSwaAvgFn() }]) {
      const model = new nn.Linear(2, 2).to(dtype);
      const averaged = new AveragedModel(model, options);
      const seen: (readonly number[])[] = [];
      for (let n = 0; n < 5; n++) {
        grow(model, n);
        averaged.updateParameters(model);
        seen.push(bits(model.weight));
      }
      const mean = seen[0]?.map((_, i) => seen.reduce((sum, w) => sum + (w[i] as number), 0) / seen.length) ?? [];
      const tolerance = { float32: 1e-6, float64: 1e-7, bfloat16: 5e-2 }[dtype];
      bits(averaged.module.weight).forEach((v, i) => assert.ok(Math.abs(v - (mean[i] as number)) < tolerance));
      assert.equal(averaged.module.weight.dtype, dtype);
    }
});

test("exponential averages, whose results autocast sees anew", () => {
  const model = new nn.Linear(2, 2, { bias: false });
  const averaged = new AveragedModel(model, { multiAvgFn: getEmaMultiAvgFn(0.75) });
  const single = new AveragedModel(model, null, getEmaAvgFn({ decay: 0.75 }));
  let expected: readonly number[] = [];
  for (let n = 0; n < 4; n++) {
    grow(model, n);
    averaged.updateParameters(model);
    single.updateParameters(model);
    const now = bits(model.weight);
    expected = n === 0 ? now : expected.map((v, i) => 0.75 * v + 0.25 * (now[i] as number));
  }
  for (const each of [averaged, single])
    bits(each.module.weight).forEach((v, i) => assert.ok(Math.abs(v - (expected[i] as number)) < 1e-6));
});

test("buffers are copied, or averaged with useBuffers", () => {
  const model = new Net();
  const [copied, mean] = [new AveragedModel(model), new AveragedModel(model, { useBuffers: true })];
  for (let n = 0; n < 3; n++) {
    model.forward(randn([8, 2]));
    copied.updateParameters(model);
    mean.updateParameters(model);
  }
  const buffer = (of: nn.Module): readonly number[] => bits((of as Net).bn.runningMean as Tensor);
  assert.deepEqual(buffer(copied.module), buffer(model));
  assert.notDeepEqual(buffer(mean.module), buffer(model));
  assert.equal(mean.module.bn.numBatchesTracked?.dtype, "int64");
});

test("updateBn: statistics of all batches alike; momentum and mode stay", async () => {
  manualSeed(1);
  const model = new Net();
  model.eval();
  const batches = [randn([8, 2]), randn([8, 2]), randn([8, 2])];
  const means = batches.map((x) => bits(model.fc.forward(x).mean([0])));
  const expected = means[0]?.map((_, i) => means.reduce((sum, m) => sum + (m[i] as number), 0) / 3) ?? [];
  updateBn(
    batches.map((x) => [x, 1]),
    model,
  );
  bits(model.bn.runningMean as Tensor).forEach((v, i) => assert.ok(Math.abs(v - (expected[i] as number)) < 1e-6));
  assert.deepEqual([model.bn.momentum, model.training, model.bn.numBatchesTracked?.item()], [0.1, false, 3]);
  async function* slow(): AsyncGenerator<Tensor> {
    await Promise.resolve();
    yield* batches;
  }
  await updateBn({ loader: slow(), model });
  assert.equal(model.bn.numBatchesTracked?.item(), 3);
  assert.throws(() => updateBn([1], model), ArgumentError);
  assert.deepEqual([model.bn.momentum, model.training], [0.1, false]);
  updateBn([1], new nn.Linear(1, 1)); // nothing to do
});

test("wrong arguments are refused", () => {
  const model = new nn.Linear(2, 2);
  const fn = getSwaAvgFn();
  assert.throws(() => new AveragedModel(model, { avgFn: fn, multiAvgFn: getSwaMultiAvgFn() }), ArgumentError);
  assert.throws(() => new AveragedModel(3 as never), ArgumentError);
  assert.throws(() => new AveragedModel(model).updateParameters(new nn.Linear(3, 2)), ArgumentError);
  assert.throws(() => new AveragedModel(model).updateParameters(new nn.Linear(2, 2, { bias: false })), ArgumentError);
  assert.throws(() => getEmaAvgFn(1.5), ArgumentError);
  assert.throws(() => new optim.swaUtils.SWALR(new optim.SGD([tensor([1]), ones([1])], 1), [1, 1]), ArgumentError);
});
