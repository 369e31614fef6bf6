import assert from "node:assert/strict";
import { test } from "node:test";
import { ArgumentError, autocast, nn, ones, tensor, zeros, type Tensor } from "../index.js";

const says = (text: string) => (error: unknown) => error instanceof ArgumentError && error.message.includes(text);

test("what arrays have and tensors do not says what to write", () => {
  const t = zeros([2, 3]) as unknown as Record<string, unknown>;
  assert.throws(() => t["0"], says("expected t.at(0)"));
  assert.throws(() => t["-1"], says("expected t.at(-1)"));
  assert.throws(() => t["length"], says("t.size(0)"));
  assert.throws(() => {
    t["0"] = 1;
  }, says("t.setAt([0], value)"));
  const p = new nn.Parameter(zeros([2])) as unknown as Record<string, unknown>;
  assert.throws(() => p["1"], says("t.at(1)"));
});

test("other names that nobody knows are undefined, as anywhere", async () => {
  const t = zeros([1]) as unknown as Record<string, unknown>;
  assert.equal(t["then"], undefined);
  assert.equal("1" in t, false);
  t["tag"] = "mine";
  assert.equal(t["tag"], "mine");
  assert.equal(await Promise.resolve(t), t);
});

test("for…of walks along the first dimension, with gradients", () => {
  const t = tensor(
    [
      [1, 2],
      [3, 4],
    ],
    { requiresGrad: true },
  );
  let total: Tensor = zeros([]);
  for (const row of t) total = total.add(row.prod());
  total.backward();
  assert.deepEqual(t.grad?.tolist(), [
    [2, 1],
    [4, 3],
  ]);
  assert.throws(() => [...tensor(1)], says("a dimension to walk along"));
});

test("data is the same memory outside of autograd", () => {
  const layer = new nn.Linear(2, 2, { bias: false });
  layer.weight.data.fill_(1);
  assert.equal(layer.weight.data.requiresGrad, false);
  const x = ones([1, 2]);
  const [before, after] = autocast({ deviceType: "cpu", dtype: "bfloat16" }, () => {
    const first = layer.forward(x);
    layer.weight.data.mul_(2); // what a region keeps of weights is made anew
    return [first, layer.forward(x)] as const;
  });
  assert.deepEqual([before.tolist(), after.tolist()], [[[2, 2]], [[4, 4]]]);
  assert.throws(() => {
    layer.weight.data = zeros([2, 2]);
  }, says("t.data.copy_(value)"));
});

test("typed arrays take a shape", () => {
  assert.deepEqual(tensor(Float64Array.of(1, 2, 3, 4), { shape: [2, 2] }).tolist<number[][]>(), [
    [1, 2],
    [3, 4],
  ]);
  assert.deepEqual(tensor([1, 2], { shape: [2, 1], requiresGrad: true }).shape, [2, 1]);
  assert.throws(() => tensor(Float32Array.of(1, 2), { shape: [3] }), says("as many elements as the data (2)"));
});

test("backward takes a gradient by position", () => {
  const t = ones([2], { requiresGrad: true });
  t.mul(3).backward(tensor([1, 10]));
  assert.deepEqual(t.grad?.tolist(), [3, 30]);
});
