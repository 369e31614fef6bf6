import assert from "node:assert/strict";
import { test } from "node:test";
import { nn, optim, TensorDisposedError, zeros, type Tensor } from "../index.js";

const parameter = (): Tensor => new nn.Parameter(zeros([2]));
function accumulate(...params: readonly Tensor[]): void {
  for (const p of params) p.sum().backward();
}

for (const make of [
  (params: Tensor[]) => new optim.SGD(params, { lr: 0.1 }),
  (params: Tensor[]) => new optim.AdamW(params, { fused: true }),
]) {
  const { name } = make([parameter()]).constructor;

  test(`${name}: zeroGrad after a step clears the parameters that its groups hold now`, () => {
    const [a, b, c, d] = [parameter(), parameter(), parameter(), parameter()] as const;
    const optimizer = make([a, b]);
    accumulate(a, b);
    optimizer.step();
    const [group] = optimizer.paramGroups;
    assert.ok(group !== undefined);
    group.params[1] = c;
    group.params.push(d);
    accumulate(c, d);
    optimizer.zeroGrad();
    assert.deepEqual([a.grad, c.grad, d.grad], [null, null, null]);
    assert.deepEqual(b.grad?.tolist(), [1, 1], "b is the group's no more");
    accumulate(a, c);
    optimizer.zeroGrad(false);
    assert.deepEqual([a.grad?.tolist(), c.grad?.tolist(), d.grad], [[0, 0], [0, 0], null]);
  });

  test(`${name}: zeroGrad says what is wrong with the parameters of a group, also after a step`, () => {
    const [a, b] = [parameter(), parameter()];
    const optimizer = make([a, b]);
    accumulate(a, b);
    optimizer.step();
    b.dispose();
    assert.throws(() => optimizer.zeroGrad(), TensorDisposedError);
    assert.throws(() => optimizer.zeroGrad(false), TensorDisposedError);
    Reflect.set(optimizer.paramGroups[0] as object, "params", null);
    assert.throws(() => optimizer.zeroGrad(), /expected tensors to be an array of tensors\. Received: null/);
    assert.throws(() => optimizer.step(), /expected params of a group to be an array of tensors\. Received: null/);
  });
}
