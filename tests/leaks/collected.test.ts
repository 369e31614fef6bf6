/**
 * What a program drops outside of scopes is collected, also where the graph calls back into JavaScript: functions and
 * hooks hold no tensor that holds them.
 */
import assert from "node:assert/strict";
import { test } from "node:test";
import { native } from "@nbit/native";
import { AutogradFunction, memory, ones, type FunctionContext, type Tensor } from "@nbit/torch";
import { collectGarbage } from "../helpers/collect-garbage.js";

const leaf = (): Tensor => ones([10], { requiresGrad: true });

class Double extends AutogradFunction {
  static forward(_ctx: FunctionContext, x: Tensor): Tensor {
    return x.mul(2);
  }
  static backward(_ctx: FunctionContext, g: Tensor): Tensor {
    return g.mul(2);
  }
}
class Exp extends AutogradFunction {
  static forward(ctx: FunctionContext, x: Tensor): Tensor {
    const y = x.exp();
    ctx.saveForBackward(x, y);
    return y;
  }
  static backward(ctx: FunctionContext, g: Tensor): Tensor {
    return g.mul(ctx.saved(1));
  }
}
class DoubleInPlace extends AutogradFunction {
  static forward(ctx: FunctionContext, x: Tensor): Tensor {
    x.mul_(2);
    ctx.markDirty(x);
    return x;
  }
  static backward(_ctx: FunctionContext, g: Tensor): Tensor {
    return g.mul(2);
  }
}

const CASES: Readonly<Record<string, () => void>> = {
  "a function": () => void Double.apply(leaf()),
  "a function of a graph, with more behind it": () => void Double.apply(leaf().mul(3)).sum(),
  "a function after its backward": () => Double.apply(leaf()).sum().backward(),
  "a function that saves its input and its output": () => void Exp.apply(leaf()),
  "the same after its backward": () => Exp.apply(leaf()).sum().backward(),
  "a function that changes its input in place": () => void DoubleInPlace.apply(leaf().mul(3)),
  "a hook of a leaf": () => void leaf().registerHook((g) => g.mul(2)),
  "a hook of a result, after its backward": () => {
    const y = leaf().mul(2);
    y.registerHook((g) => g.mul(2));
    y.sum().backward();
  },
  "a hook after the accumulation": () => {
    const x = leaf();
    x.registerPostAccumulateGradHook((p) => void p.grad?.mul_(2));
    x.sum().backward();
  },
};

for (const [what, make] of Object.entries(CASES)) {
  test(what, async () => {
    make();
    await collectGarbage();
    const before = [memory().tensors, native.javascriptNodeCount()];
    for (let i = 0; i < 20; i++) make();
    await collectGarbage();
    assert.deepEqual([memory().tensors, native.javascriptNodeCount()], before);
  });
}

test("an input that is not saved is freed while the result lives", async () => {
  const apply = (): Tensor => Double.apply(leaf().mul(3));
  await collectGarbage();
  const before = memory().tensors;
  const results = Array.from({ length: 10 }, apply);
  await collectGarbage();
  assert.equal(memory().tensors - before, results.length);
});

test("a hook after the accumulation goes on where JavaScript has dropped its tensor, and the graph has not", async () => {
  const values: unknown[] = [];
  const build = (): Tensor => {
    const x = leaf();
    x.registerPostAccumulateGradHook((p) => void values.push([p.sum().item(), p.grad?.sum().item()]));
    return x.mul(3).sum();
  };
  const loss = build();
  await collectGarbage();
  loss.backward();
  assert.deepEqual(values, [[10, 30]]);
});
