import assert from "node:assert/strict";
import { test } from "node:test";
import * as torch from "../index.js";

const count = (): number => torch.memory().unreleased;

test("a scope frees what was made inside, except what it returns", () => {
  const before = count();
  const kept = torch.scope(() => {
    const x = torch.ones([3]);
    return { sum: x.add(1).sum(), list: [x.mul(2)], map: new Map([["m", x.mul(3)]]) };
  });
  assert.equal(count(), before + 3);
  assert.equal(kept.sum.item(), 6);
  assert.deepEqual(kept.list[0]?.tolist(), [2, 2, 2]);
  assert.deepEqual(kept.map.get("m")?.tolist(), [3, 3, 3]);
  kept.sum.dispose();
  kept.list[0]?.dispose();
  kept.map.get("m")?.dispose();
  assert.equal(count(), before);
});

test("what an inner scope returns belongs to the outer scope", () => {
  const before = count();
  torch.scope(() => {
    const inner = torch.scope(() => torch.ones([2]).mul(2));
    assert.deepEqual(inner.tolist(), [2, 2]);
    assert.equal(count(), before + 1);
  });
  assert.equal(count(), before);
});

test("returning an outer tensor from an inner scope leaves it with its own scope", () => {
  const before = count();
  torch.scope(() => {
    const outer = torch.ones([2]);
    torch.scope(() => {
      torch.scope(() => outer);
    });
    assert.equal(outer.disposed, false);
    assert.deepEqual(outer.tolist(), [1, 1]);
  });
  assert.equal(count(), before);
});

test("an exception closes the scope and frees its tensors", () => {
  const before = count();
  let leaked: torch.Tensor | null = null;
  assert.throws(
    () =>
      torch.scope(() => {
        leaked = torch.ones([2]);
        throw new RangeError("mine");
      }),
    { name: "RangeError", message: "mine" },
  );
  assert.equal(count(), before);
  assert.throws(() => (leaked as torch.Tensor | null)?.item(), { code: "TENSOR_DISPOSED" });
});

test("keep lets a tensor out of every scope", () => {
  const before = count();
  let out: torch.Tensor | undefined;
  torch.scope(() => {
    torch.scope(() => {
      out = torch.keep(torch.ones([1]));
    });
  });
  assert.equal(out?.item(), 1);
  out?.dispose();
  assert.equal(count(), before);
});

test("an asynchronous scope is an error that says why", () => {
  const before = count();
  assert.throws(() => torch.scope(async () => torch.ones([1])), { code: "SCOPE_ASYNC" });
  assert.equal(count(), before);
});

test("disposed tensors are JavaScript errors everywhere, also in lists and options", () => {
  const a = torch.ones([2]);
  const b = torch.ones([2]);
  b.dispose();
  b.dispose();
  const disposed = { code: "TENSOR_DISPOSED" };
  assert.throws(() => a.add(b), disposed);
  assert.throws(() => torch.cat([a, b]), disposed);
  assert.throws(() => torch.linear(a, a.view([1, 2]), b), disposed);
  assert.throws(() => torch.clamp(a, { min: b }), disposed);
  assert.throws(() => b.shape, disposed);
  assert.throws(() => b.dtype, disposed);
  assert.throws(() => b.item(), disposed);
  assert.throws(() => b.backward(), disposed);
  assert.throws(() => (a.grad = b), disposed);
  assert.throws(() => torch.TensorList.of([a, b]), disposed);
  assert.equal(String(b), "tensor(disposed)");
});

test("a stale handle in a TensorList is an error, not another tensor", () => {
  const a = torch.ones([2]);
  const list = torch.TensorList.of([a]);
  a.dispose();
  torch.scope(() => {
    // The slot is used again: its generation tells the difference.
    torch.zeros([2]);
    assert.throws(() => torch.aten["_foreach_mul_"]?.(list, 2), { code: "TENSOR_DISPOSED" });
  });
});

test("foreign objects with a tensor's prototype are not tensors", () => {
  const fake: unknown = Object.create(torch.Tensor.prototype);
  const a = torch.ones([2]);
  assert.throws(() => a.add(fake as torch.Tensor), { code: "ERR_ARGUMENT" });
  assert.throws(() => torch.Tensor.prototype.add.call(fake as torch.Tensor, a), { code: "ERR_ARGUMENT" });
  assert.equal(torch.isTensor(fake), false);
});

test("using disposes at the end of a block", () => {
  const before = count();
  {
    using x = torch.ones([2]);
    assert.equal(x.numel(), 2);
  }
  assert.equal(count(), before);
});

test("memory counts bytes, and peaks", () => {
  torch.scope(() => {
    const wide = 4 * (1 << 18);
    const before = torch.memory().bytes;
    torch.resetPeakMemory();
    const big = torch.zeros([1 << 18]);
    assert.ok(torch.memory().bytes > before + wide / 2); // half: the garbage collector may free what earlier tests left at any time
    big.dispose();
    assert.ok(torch.memory().bytes < before + wide / 2);
    assert.ok(torch.memory().peakBytes > before + wide / 2);
    assert.ok(torch.memory().cachedBytes >= wide);
    torch.trimMemory();
    assert.ok(torch.memory().cachedBytes < wide);
  });
});

test("tensors escape at any depth, in fields of any object, and through cycles", () => {
  const before = count();
  class Batch {
    readonly x = torch.ones([2]);
    readonly inner = { list: [new Set([torch.ones([3])]), new Map([[torch.ones([4]), 1]])] };
    self: Batch | null = null;
  }
  interface Chain {
    readonly next: Chain | Batch;
  }
  const chain = torch.scope(() => {
    const batch = new Batch();
    batch.self = batch;
    torch.ones([5]);
    let chain: Chain | Batch = batch;
    for (let i = 0; i < 100_000; i++) chain = { next: chain };
    return chain;
  });
  let at: Chain | Batch = chain;
  while ("next" in at) at = at.next;
  const found = [
    at.x,
    ...(at.inner.list[0] as Set<torch.Tensor>),
    ...(at.inner.list[1] as Map<torch.Tensor, number>).keys(),
  ];
  assert.deepEqual(
    found.map((t) => t.shape),
    [[2], [3], [4]],
  );
  assert.equal(count(), before + 3);
  for (const t of found) t.dispose();
});

test("a result whose getters throw, open scopes and keep leaves nothing behind, and the scopes around in order", () => {
  const before = count();
  const mine = new Error("mine");
  let kept: torch.Tensor | null = null;
  torch.scope(() => {
    const outer = torch.ones([1]);
    assert.throws(
      () =>
        torch.scope(() => ({
          x: torch.ones([2]),
          get y(): never {
            throw mine;
          },
        })),
      (error) => error === mine,
    );
    assert.throws(
      () =>
        torch.scope(() => ({
          get then(): never {
            throw mine;
          },
        })),
      (error) => error === mine,
    );
    const result = torch.scope(() => {
      const x = torch.ones([3]);
      return {
        x,
        get y() {
          return torch.scope(() => [x, outer, torch.ones([4])]);
        },
        get z() {
          return (kept ??= torch.keep(x));
        },
      };
    });
    assert.deepEqual([result.x.disposed, outer.disposed], [false, false]);
    torch.ones([5]);
  });
  assert.deepEqual((kept as torch.Tensor | null)?.tolist(), [1, 1, 1]);
  (kept as torch.Tensor | null)?.dispose();
  assert.equal(count(), before);
});
