import assert from "node:assert/strict";
import { test } from "node:test";
import * as torch from "../index.js";
import { memory } from "../index.js";

const { HeldGradients, nn, ones, scope, tensor, zeros } = torch;

/** Two parameters with gradients of 1 and 2, and one without. */
function parameters(): readonly [torch.Tensor, torch.Tensor, torch.Tensor] {
  const [a, b, unused] = [
    new nn.Parameter(zeros([2])),
    new nn.Parameter(zeros([2])),
    new nn.Parameter(zeros([2])),
  ] as const;
  scope(() => a.sum().add(b.sum().mul(2)).backward());
  return [a, b, unused];
}
const pointers = (ps: readonly torch.Tensor[]): (number | undefined)[] => scope(() => ps.map((p) => p.grad?.dataPtr()));
const values = (p: torch.Tensor): unknown => scope(() => p.grad?.tolist());

test("held gradients are restored to their parameters, whatever was done to the parameters' gradients", () => {
  const [a, b, unused] = parameters();
  const held = new HeldGradients([a, b, unused]);
  const before = pointers([a, b, unused]);
  assert.equal(held.length, 2);
  assert.equal(held.link(true), 0);

  a.grad = null;
  b.grad = tensor([5, 6]);
  assert.equal(held.link(false), 2);
  assert.deepEqual(pointers([a, b, unused]), before);
  assert.deepEqual(
    [values(a), values(b)],
    [
      [1, 1],
      [2, 2],
    ],
  );

  a.grad = null;
  b.grad = tensor([5, 6]);
  assert.equal(held.link(true), 2);
  assert.deepEqual(pointers([a, b, unused]), before);
  assert.deepEqual(
    [values(a), values(b)],
    [
      [0, 0],
      [5, 6],
    ],
  );

  scope(() => b.sum().backward()); // goes on in the same memory
  assert.deepEqual(pointers([a, b, unused]), before);
  assert.deepEqual(values(b), [6, 7]);
  held.dispose();
});

test("a parameter's first gradient is noticed before anything is changed, and can be undone", () => {
  const [a, b, unused] = parameters();
  using held = new HeldGradients([a, b, unused]);
  const before = pointers([a, b, unused]);
  a.grad = null;
  unused.grad = ones([2]);
  assert.equal(held.link(true), null);
  assert.equal(a.grad, null);
  held.undo();
  assert.deepEqual(pointers([a, b, unused]), before);
  assert.deepEqual([values(a), values(unused)], [[1, 1], undefined]);
});

test("held gradients live until they are released", () => {
  const [a, b, unused] = parameters();
  const start = memory().unreleased;
  const held = new HeldGradients([a, b, unused]);
  assert.equal(memory().unreleased, start + 2);
  held.dispose();
  assert.equal(memory().unreleased, start);
  assert.deepEqual(values(a), [1, 1]);
});

test("gradients filled with zeros stay where they are", () => {
  const [a, b, unused] = parameters();
  const before = pointers([a, b, unused]);
  const optimizer = new torch.optim.SGD([a, b, unused], { lr: 1 });
  a.grad = tensor([NaN, Infinity]);
  const own = pointers([a]);
  optimizer.zeroGrad({ setToNone: false });
  assert.deepEqual(pointers([a, b, unused]), [...own, ...before.slice(1)]);
  assert.deepEqual([values(a), values(b), values(unused)], [[0, 0], [0, 0], undefined]);
  optimizer.zeroGrad();
  assert.deepEqual(pointers([a, b, unused]), [undefined, undefined, undefined]);
  optimizer.zeroGrad({ setToNone: false }); // nobody has one
});
