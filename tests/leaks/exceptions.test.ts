/** Whatever throws, wherever: no tensor stays behind. */
import assert from "node:assert/strict";
import { test } from "node:test";
import {
  AutogradFunction,
  keep,
  memory,
  noGrad,
  randn,
  scope,
  setNumThreads,
  tensor,
  type FunctionContext,
  type Tensor,
} from "@nbit/torch";
import { collectGarbage } from "../helpers/collect-garbage.js";

setNumThreads(1);
const TIMES = 500;

class Expected extends Error {}

/** Runs `attempt`, which must throw what it throws itself, many times over and compares the number of tensors. */
async function withoutTrace(
  attempt: () => unknown,
  expected: new (...args: never[]) => Error = Expected,
): Promise<void> {
  assert.throws(attempt, expected); // the first call may fill caches
  await collectGarbage();
  const before = memory();
  for (let i = 0; i < TIMES; i++) assert.throws(attempt, expected);
  const after = memory();
  assert.equal(after.unreleased, before.unreleased, "tensors");
  assert.equal(after.bytes, before.bytes, "bytes");
}

function fail(): never {
  throw new Expected("on purpose");
}

test("exceptions leave nested scopes empty", () =>
  withoutTrace(() =>
    scope(() => {
      const a = randn([16]);
      return scope(() => {
        const b = a.mul(2);
        return noGrad(() => scope(() => (b.add(a), fail())));
      });
    }),
  ));

test("a caught exception of an inner scope leaves the outer scope's tensors", () => {
  const before = memory().unreleased;
  for (let i = 0; i < TIMES; i++) {
    scope(() => {
      const a = tensor([1, 2]);
      assert.throws(() => scope(() => (a.mul(3), fail())), Expected);
      assert.deepEqual(a.add(1).tolist(), [2, 3]);
    });
  }
  assert.equal(memory().unreleased, before);
});

test("tensors kept before an exception stay alive, and can be disposed", () => {
  const before = memory().unreleased;
  const kept: Tensor[] = [];
  for (let i = 0; i < TIMES; i++)
    assert.throws(() => scope(() => (kept.push(keep(randn([4]))), randn([4]), fail())), Expected);
  assert.equal(memory().unreleased, before + TIMES);
  for (const t of kept) t.dispose();
  assert.equal(memory().unreleased, before);
});

test("operators that fail leave no tensors behind", () =>
  withoutTrace(() => scope(() => randn([2, 3]).matmul(randn([2, 3]))), Error));

test("gradient hooks that throw leave no tensors behind", () => {
  const w = randn([8]).requiresGrad_();
  return withoutTrace(() =>
    scope(() => {
      const y = w.mul(2);
      y.registerHook(() => fail());
      y.sum().backward();
    }),
  );
});

test("hooks that replace gradients, and hooks after accumulation that throw, leave no tensors behind", async () => {
  const w = randn([8]).requiresGrad_();
  await collectGarbage();
  const hook = w.registerHook((g) => g.mul(2).add(1));
  scope(() => w.sum().backward());
  const before = memory().unreleased;
  for (let i = 0; i < TIMES; i++) scope(() => w.mul(w).sum().backward());
  assert.equal(memory().unreleased, before);
  hook.remove();
  w.registerPostAccumulateGradHook(() => fail());
  await withoutTrace(() => scope(() => w.mul(3).sum().backward()));
  w.registerPostAccumulateGradHook(null);
});

class Double extends AutogradFunction {
  static forward(ctx: FunctionContext, x: Tensor, throws: boolean): Tensor {
    ctx.saveForBackward(x);
    if (throws) x.mul(x).add(fail());
    return x.mul(2);
  }
  static backward(ctx: FunctionContext, g: Tensor): (Tensor | null)[] {
    ctx.saved(0).mul(g);
    return [g.mul(2), null];
  }
}
class BadBackward extends AutogradFunction {
  static forward(ctx: FunctionContext, x: Tensor): Tensor {
    ctx.saveForBackward(x, x.mul(3));
    return x.exp();
  }
  static backward(ctx: FunctionContext, g: Tensor): Tensor {
    ctx.saved(1).mul(g);
    return fail();
  }
}
class WrongBackward extends AutogradFunction {
  static forward(_ctx: FunctionContext, x: Tensor): Tensor {
    return x.mul(1);
  }
  static backward(_ctx: FunctionContext, g: Tensor): Tensor {
    return g.repeat([3]).add(1); // of another shape
  }
}

test("a custom function whose forward throws leaves no tensors behind", () => {
  const w = randn([8]).requiresGrad_();
  return withoutTrace(() => scope(() => Double.apply(w, true)));
});

test("a custom function whose backward throws leaves no tensors behind", () => {
  const w = randn([8]).requiresGrad_();
  return withoutTrace(() => scope(() => BadBackward.apply(w.mul(2)).sum().backward()));
});

test("a custom function whose backward returns another shape leaves no tensors behind", () => {
  const w = randn([8]).requiresGrad_();
  return withoutTrace(() => scope(() => WrongBackward.apply(w.mul(2)).sum().backward()), Error);
});

test("ten thousand graphs of custom functions, used or dropped, leave no tensors behind", async () => {
  const w = randn([8]).requiresGrad_();
  scope(() => Double.apply(w, false).sum().backward());
  await collectGarbage();
  const before = memory().unreleased;
  for (let i = 0; i < 10_000; i++) {
    scope(() => {
      const y = Double.apply(w.add(1), false).sum();
      if (i % 2 === 0) y.backward(); // every other graph never runs backward
    });
  }
  assert.equal(memory().unreleased, before);
});

test("tensors outside any scope are freed by the garbage collector", async () => {
  await collectGarbage();
  const before = memory();
  for (let i = 0; i < 5000; i++) randn([4]).mul(2);
  assert.equal(memory().unreleased, before.unreleased + 10_000);
  await collectGarbage();
  const after = memory();
  assert.ok(after.tensors <= before.tensors + 2, `${after.tensors - before.tensors} tensors left`);
  assert.equal(after.tensors + after.collected, after.unreleased);
  assert.equal(after.unreleased, before.unreleased + 10_000);
});
