import assert from "node:assert/strict";
import { test } from "node:test";
import { nn, ones, tensor, zeros, type Tensor } from "../../index.js";

const { prune } = nn.utils;
const refused = (call: () => unknown, message: RegExp): void =>
  assert.throws(call, (error: Error & { readonly code?: string }) => {
    assert.equal(error.code, "ERR_ARGUMENT", error.stack);
    assert.match(error.message, message);
    return true;
  });
const zerosOf = (t: Tensor | null): number => Number(t?.eq(0).sum().item());

class EveryOther extends prune.BasePruningMethod {
  readonly PRUNING_TYPE = "unstructured";
  computeMask(_t: Tensor, defaultMask: Tensor): Tensor {
    const mask = defaultMask.clone();
    mask.view([-1]).slice(0, 0, null, 2).fill_(0);
    return mask;
  }
}

test("a method of one's own, and another behind it", () => {
  const layer = new nn.Linear(4, 2);
  const { weight } = layer;
  const method = EveryOther.apply(layer, "weight");
  assert.ok(method instanceof EveryOther);
  assert.equal(method.tensorName, "weight");
  assert.deepEqual([...layer.stateDict().keys()], ["bias", "weight_orig", "weight_mask"]);
  assert.deepEqual(
    Array.from(layer.namedParameters(), ([name]) => name),
    ["bias", "weight_orig"],
  );
  assert.equal(zerosOf(layer.weight), 4);
  const both = prune.L1Unstructured.apply(layer, "weight", 0.5);
  assert.ok(both instanceof prune.PruningContainer);
  assert.deepEqual([both.length, both.at(0), both.at(-1) instanceof prune.L1Unstructured], [2, method, true]);
  assert.equal(zerosOf(layer.weight), 6);
  layer
    .forward(ones([1, 4]))
    .sum()
    .backward();
  assert.equal(zerosOf(weight.grad), 6);
  assert.ok(prune.isPruned(new nn.Sequential(layer)));
  prune.remove(layer, "weight");
  assert.equal(layer.weight, weight);
  assert.equal(zerosOf(weight), 6);
  assert.equal(prune.isPruned(layer), false);
  assert.deepEqual([...layer.stateDict().keys()], ["bias", "weight"]);
});

test("prune, apart from a module, and importance scores", () => {
  const t = tensor([1, 2, 3, 4]);
  assert.deepEqual(new prune.L1Unstructured(2).prune(t).tolist(), [0, 0, 3, 4]);
  assert.deepEqual(new prune.L1Unstructured({ amount: 0.5 }).prune(t, null, t.neg().exp()).tolist(), [1, 2, 0, 0]);
  assert.deepEqual(new prune.CustomFromMask(tensor([1, 0, 1, 0])).prune(t).tolist(), [1, 0, 3, 0]);
  const layer = new nn.Linear(2, 1);
  prune.L1Unstructured.apply(layer, "weight", { amount: 1, importanceScores: tensor([[2, 1]]) });
  assert.equal(Math.abs(layer.weight.at(0, 1).item()), 0);
});

test("halves are rounded to even counts, as in Python; 1 is one, not all", () => {
  const of = (amount: number, n: number): number => zerosOf(new prune.L1Unstructured(amount).prune(ones([n])));
  assert.deepEqual([of(0.5, 5), of(0.5, 7), of(0.5, 3), of(1, 4), of(0, 4), of(4, 4)], [2, 4, 2, 1, 0, 4]);
});

test("what cannot be pruned is refused, and the module stays as it was", () => {
  const layer = new nn.Linear(2, 2);
  refused(() => prune.l1Unstructured(layer, "weights", 1), /a parameter of Linear \(weight, bias\)/);
  refused(() => prune.l1Unstructured(layer, "weight", 5), /an amount of at most 4/);
  refused(() => prune.l1Unstructured(layer, "weight", -1), /a share in \[0, 1\], or a whole number/);
  refused(() => prune.l1Unstructured(layer, "weight", 1.5), /a share in \[0, 1\], or a whole number/);
  refused(() => prune.randomStructured(layer, "bias", 1, 0), /at least two dimensions/);
  refused(() => prune.lnStructured(layer, "weight", 1, 2, 2), /dim from -2 to 1/);
  refused(() => prune.customFromMask(layer, "weight", zeros([2])), /a mask of shape \[2, 2\]/);
  refused(
    () => prune.l1Unstructured(layer, "weight", { amount: 1, importanceScores: zeros([2]) }),
    /importanceScores of the shape/,
  );
  refused(() => prune.remove(layer, "weight"), /name to be pruned/);
  refused(
    () => prune.globalUnstructured([[layer, "weight"]], { pruningMethod: prune.RandomStructured, amount: 1 }),
    /of type "unstructured"/,
  );
  refused(
    () => new prune.PruningContainer(new prune.Identity(), new EveryOther()).addPruningMethod(other()),
    /prunes null/,
  );
  assert.deepEqual([...layer.stateDict().keys()], ["weight", "bias"]);
});
function other(): InstanceType<typeof prune.Identity> {
  const method = new prune.Identity();
  method.tensorName = "bias";
  return method;
}
