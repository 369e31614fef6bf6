import assert from "node:assert/strict";
import { test } from "node:test";
import * as torch from "../index.js";
import { native } from "../native.js";
import { AutogradFunction, type FunctionContext, type Tensor } from "../index.js";

class Square extends AutogradFunction {
  static forward(ctx: FunctionContext, x: Tensor): Tensor {
    ctx.saveForBackward(x);
    return x.mul(x);
  }
  static backward(ctx: FunctionContext, g: Tensor): Tensor {
    return g.mul(ctx.saved(0)).mul(2);
  }
}

const leaf = (values: number[]): Tensor => torch.tensor(values, { requiresGrad: true });

test("backward accumulates; zeroing starts again", () => {
  const x = leaf([1, 2]);
  x.mul(3).sum().backward();
  x.mul(3).sum().backward();
  assert.deepEqual(x.grad?.tolist(), [6, 6]);
  x.grad = null;
  assert.equal(x.grad, null);
  x.grad = torch.tensor([5, 5]);
  assert.deepEqual(x.grad?.tolist(), [5, 5]);
  assert.throws(() => (x.grad = torch.tensor([1])), /shape/);
  assert.throws(() => (x.grad = torch.tensor([1, 2], { dtype: "float64" })), /dtype/);
  assert.throws(() => x.mul(2).backward(), /grad can be implicitly created only for scalar outputs/);
});

test("a graph is used once, unless kept", () => {
  const x = leaf([2]);
  const y = x.mul(x);
  y.backward({ retainGraph: true });
  y.backward();
  assert.deepEqual(x.grad?.tolist(), [8]);
  assert.throws(() => y.backward(), { code: "TORCH", message: /second time/ });
});

test("grad returns instead of accumulating, and twice", () => {
  const x = leaf([3]);
  const [g] = torch.grad(x.pow(3), x, { createGraph: true });
  assert.equal(g?.item(), 27);
  const [h] = torch.grad(g as Tensor, x);
  assert.equal(h?.item(), 18);
  assert.equal(x.grad, null);
  const unused = leaf([1]);
  assert.deepEqual(torch.grad(x.mul(2), [unused], { allowUnused: true }), [null]);
  assert.throws(() => torch.grad(x.mul(2), unused), { code: "TORCH" });
});

test("noGrad, enableGrad and inferenceMode set and restore their modes", () => {
  const x = leaf([1]);
  assert.equal(torch.noGrad(() => x.mul(2)).requiresGrad, false);
  assert.equal(torch.noGrad(() => torch.enableGrad(() => x.mul(2))).requiresGrad, true);
  const inferred = torch.inferenceMode(() => x.mul(2));
  assert.equal(inferred.isInference, true);
  assert.throws(() => inferred.mul(x).sum().backward(), { code: "TORCH" });
  assert.throws(
    () =>
      torch.noGrad(() => {
        throw new Error("out");
      }),
    /out/,
  );
  assert.equal(torch.isGradEnabled(), true);
  assert.throws(() => torch.noGrad(async () => 1), { code: "ERR_ASYNC_MODE" });
});

test("a custom function is differentiated once and twice", () => {
  const x = leaf([1, 2, 3]);
  const y = Square.apply(x);
  assert.equal(y.gradFn, "SquareBackward");
  y.sum().backward();
  assert.deepEqual(x.grad?.tolist(), [2, 4, 6]);
  const [g] = torch.grad(Square.apply(x).sum(), x, { createGraph: true });
  const [h] = torch.grad((g as Tensor).sum(), x);
  assert.deepEqual(h?.tolist(), [2, 2, 2]);
  assert.equal(torch.noGrad(() => Square.apply(x)).requiresGrad, false);
});

test("a custom function takes and returns several tensors and other values", () => {
  class Split extends AutogradFunction {
    static forward(ctx: FunctionContext, a: Tensor, scale: number, b: Tensor): [Tensor, Tensor, Tensor] {
      ctx.values["scale"] = scale;
      const index = a.argmax();
      ctx.markNonDifferentiable(index);
      return [a.mul(scale), b.mul(2), index];
    }
    static backward(ctx: FunctionContext, ga: Tensor, gb: Tensor): [Tensor, null, Tensor | null] {
      assert.deepEqual(ctx.needsInputGrad, [true, false, false]);
      return [ga.mul(ctx.values["scale"] as number), null, gb];
    }
  }
  const a = leaf([1, 5]);
  const [x, , i] = Split.apply(a, 4, torch.tensor([1, 1]));
  assert.equal(i.item(), 1);
  assert.equal(i.requiresGrad, false);
  x.sum().backward();
  assert.deepEqual(a.grad?.tolist(), [4, 4]);
});

test("an output can be saved without a cycle", () => {
  class Exp extends AutogradFunction {
    static forward(ctx: FunctionContext, x: Tensor): Tensor {
      const y = x.exp();
      ctx.saveForBackward(y);
      return y;
    }
    static backward(ctx: FunctionContext, g: Tensor): Tensor {
      return g.mul(ctx.saved(0));
    }
  }
  const before = native.javascriptNodeCount();
  const x = leaf([0]);
  torch.scope(() => {
    for (let i = 0; i < 50; i++) {
      Exp.apply(x).sum().backward();
      Exp.apply(x); // never used: the node must die with its tensor
    }
  });
  assert.deepEqual(x.grad?.tolist(), [50]);
  assert.ok(native.javascriptNodeCount() <= before); // fewer where the garbage collector came by and took the few of earlier tests
});

test("an exception in backward keeps its identity and leaves no tensor behind", () => {
  const mine = new TypeError("from backward");
  class Bad extends AutogradFunction {
    static forward(_: FunctionContext, x: Tensor): Tensor {
      return x.clone();
    }
    static backward(): Tensor {
      torch.ones([10]);
      throw mine;
    }
  }
  const x = leaf([1]);
  const before = torch.memory().unreleased;
  for (let i = 0; i < 3; i++)
    assert.throws(
      () => torch.scope(() => Bad.apply(x).sum().backward()),
      (e) => e === mine,
    );
  assert.equal(torch.memory().unreleased, before);
  x.mul(2).sum().backward();
  assert.deepEqual(x.grad?.tolist(), [2]);
});

test("autograd is the only owner of what backward returns: it becomes the leaf's gradient without a copy, and is freed while backward goes on", () => {
  let address = 0;
  const before = torch.memory().unreleased;
  const alive: number[] = [];
  class Watched extends AutogradFunction {
    static forward(_: FunctionContext, x: Tensor): Tensor {
      return x.clone();
    }
    static backward(_: FunctionContext, g: Tensor): Tensor {
      alive.push(torch.memory().unreleased - before);
      const own = g.mul(2);
      address = own.dataPtr();
      return own;
    }
  }
  const x = leaf([1, 2]);
  torch.scope(() => {
    let y = x;
    for (let i = 0; i < 5; i++) y = Watched.apply(y);
    y.sum().backward();
    assert.equal(x.grad?.dataPtr(), address);
  });
  assert.deepEqual(x.grad?.tolist(), [32, 32]);
  // What the first nodes returned is gone when the last one runs.
  assert.equal(alive.at(-1), alive[0]);
  x.mul(1).sum().backward();
  assert.deepEqual(x.grad.tolist(), [33, 33]);
});

test("a gradient that backward keeps stays its own", () => {
  let kept: Tensor | null = null;
  class Keeps extends AutogradFunction {
    static forward(_: FunctionContext, x: Tensor): Tensor {
      return x.clone();
    }
    static backward(_: FunctionContext, g: Tensor): Tensor {
      return torch.keep((kept = g.mul(2)));
    }
  }
  const x = leaf([1, 2]);
  torch.scope(() => Keeps.apply(x).sum().backward());
  x.grad?.add_(1);
  assert.deepEqual((kept as unknown as Tensor).tolist(), [2, 2]);
});

test("wrong results of backward are errors", () => {
  class TooMany extends AutogradFunction {
    static forward(_: FunctionContext, x: Tensor): Tensor {
      return x.clone();
    }
    static backward(_: FunctionContext, g: Tensor): Tensor[] {
      return [g, g, g];
    }
  }
  class WrongShape extends AutogradFunction {
    static forward(_: FunctionContext, x: Tensor): Tensor {
      return x.clone();
    }
    static backward(): Tensor {
      return torch.ones([7]);
    }
  }
  assert.throws(
    () =>
      TooMany.apply(leaf([1]))
        .sum()
        .backward(),
    /at most one gradient per argument/,
  );
  assert.throws(
    () =>
      WrongShape.apply(leaf([1, 2]))
        .sum()
        .backward(),
    { code: "TORCH" },
  );
});

test("an input changed in place after it was saved is found", () => {
  const x = leaf([1, 2]);
  const y = x.mul(1);
  const z = Square.apply(y);
  y.add_(1);
  assert.throws(() => z.sum().backward(), /modified by an inplace operation/);
});

test("hooks see gradients, change them, throw, and go away", () => {
  const x = leaf([1, 2]);
  const seen: unknown[] = [];
  const hook = x.registerHook((g) => {
    seen.push(g.tolist());
    return g.mul(10);
  });
  x.mul(3).sum().backward();
  assert.deepEqual(seen, [[3, 3]]);
  assert.deepEqual(x.grad?.tolist(), [30, 30]);
  hook.remove();
  torch.TensorList.of([x]).clearGrads();
  x.mul(3).sum().backward();
  assert.deepEqual(x.grad?.tolist(), [3, 3]);
  const mine = new Error("hook");
  const bad = x.registerHook(() => {
    throw mine;
  });
  assert.throws(
    () => x.mul(3).sum().backward(),
    (e) => e === mine,
  );
  bad.remove();
  let after = 0;
  x.registerPostAccumulateGradHook((p) => {
    assert.equal(p, x);
    after++;
  });
  x.mul(2).sum().backward();
  assert.equal(after, 1);
  x.registerPostAccumulateGradHook(null);
  x.mul(2).sum().backward();
  assert.equal(after, 1);
});

test("backward deep inside backward reaches another thread as an error, not a crash", () => {
  class Nest extends AutogradFunction {
    static forward(ctx: FunctionContext, x: Tensor, depth: number): Tensor {
      ctx.values["depth"] = depth;
      ctx.saveForBackward(x);
      return x.clone();
    }
    static backward(ctx: FunctionContext, g: Tensor): [Tensor, null] {
      const depth = ctx.values["depth"] as number;
      if (depth > 0)
        torch.enableGrad(() => {
          const x = leaf([1]);
          Nest.apply(x, depth - 1)
            .sum()
            .backward();
        });
      return [g, null];
    }
  }
  const x = leaf([1]);
  Nest.apply(x, 20).sum().backward();
  assert.deepEqual(x.grad?.tolist(), [1]);
  assert.throws(() => Nest.apply(x, 80).sum().backward(), { code: /AUTOGRAD_THREAD|TORCH/ });
});

test("traces name operators, dtypes and scopes, forward and backward", () => {
  const x = leaf([1, 2]);
  const { events } = torch.traceOperators(() => x.mul(2).sum().backward());
  const mul = events.find((e) => e.name === "aten::mul" && e.scope === "forward");
  assert.equal(mul?.outputs[0]?.dtype, "float32");
  assert.deepEqual(mul?.inputs[0]?.shape, [2]);
  assert.ok(events.some((e) => e.scope === "backward" && /MulBackward0/.test(e.name)));
  assert.throws(() => torch.traceOperators(() => torch.traceOperators(() => 1)), { code: "TRACE_NESTED" });
  assert.equal(torch.traceOperators(() => 1).events.length, 0);
});
