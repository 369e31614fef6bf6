import assert from "node:assert/strict";
import { test } from "node:test";
import { keep, memory, ones, scope, tensor, zeros, type Tensor } from "../index.js";
import { awaken, defer, isDeferred, undefer } from "./deferred.js";

/** What a device would bring: 7 everywhere, written through another tensor over the same memory. */
function deferredSevens(t: Tensor): { times: number } {
  const told = { times: 0 };
  const memoryOfT = t.detach();
  keep(memoryOfT);
  defer(t, () => {
    told.times++;
    memoryOfT.fill_(7);
  });
  return told;
}

test("values that are elsewhere come when an operator uses the tensor, once", () => {
  const t = zeros([3]);
  const told = deferredSevens(t);
  assert.ok(isDeferred(t));
  assert.deepEqual(ones([3]).add(t).tolist(), [8, 8, 8]);
  assert.deepEqual(t.mul(2).tolist(), [14, 14, 14]);
  assert.equal(told.times, 1);
  assert.equal(isDeferred(t), false);
});

test("shape, dtype and whether it is disposed are known without its values", () => {
  const t = zeros([2, 3], { dtype: "float64" });
  const told = deferredSevens(t);
  assert.deepEqual(
    [t.shape, t.dtype, t.device.toString(), t.numel(), t.disposed],
    [[2, 3], "float64", "cpu", 6, false],
  );
  assert.equal(told.times, 0);
  assert.match(String(t), /7/);
});

test("lists of tensors, item, tolist and assignments into it bring the values", () => {
  const uses: ((t: Tensor) => unknown)[] = [
    (t) => t.item(),
    (t) => t.tolist(),
    (t) => t.add_(1),
    (t) => zeros([1]).copy_(t),
    (t) => t.dataPtr(),
    (t) => t.version,
  ];
  for (const use of uses) {
    const t = zeros([1]);
    const told = deferredSevens(t);
    use(t);
    assert.equal(told.times, 1, String(use));
  }
});

test("who fails to bring them is asked again", () => {
  const t = zeros([1]);
  let times = 0;
  const memoryOfT = t.detach();
  defer(t, () => {
    if (++times === 1) throw new Error("the device is gone");
    memoryOfT.fill_(3);
  });
  assert.throws(() => t.item(), /the device is gone/);
  assert.equal(t.item(), 3);
});

test("a tensor that is deferred again keeps the latest, and undefer takes what lies in memory", () => {
  const t = tensor([1]);
  defer(t, () => assert.fail("not this one"));
  const told = deferredSevensOf(t);
  assert.equal(t.item(), 7);
  assert.equal(told.times, 1);
  defer(t, () => assert.fail("nor this one"));
  undefer(t);
  assert.equal(t.item(), 7);
  awaken(t);
  assert.equal(isDeferred(t), false);
});
/** While it is deferred already: its memory is reached by `undefer` first. */
function deferredSevensOf(t: Tensor): { times: number } {
  undefer(t);
  return deferredSevens(t);
}

test("scopes and dispose free tensors whose values never came", () => {
  const before = memory().tensors;
  scope(() => {
    const t = zeros([100]);
    defer(t, () => assert.fail("nobody asked"));
  });
  const kept = scope(() => {
    const t = zeros([100]);
    defer(t, () => assert.fail("nobody asked"));
    return t;
  });
  assert.equal(memory().tensors, before + 1);
  kept.dispose();
  kept.dispose();
  assert.ok(kept.disposed);
  assert.throws(() => kept.item(), /disposed/);
  assert.equal(memory().tensors, before);
});
