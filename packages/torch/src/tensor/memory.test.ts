import assert from "node:assert/strict";
import { test } from "node:test";
import {
  ArgumentError,
  empty,
  full,
  memory,
  ones,
  OutOfMemoryError,
  resetPeakMemory,
  scope,
  setCacheLimit,
  setNumThreads,
  tensor,
  trimMemory,
  TorchError,
  zeros,
  type Tensor,
} from "../index.js";
import { native } from "../native.js";

setNumThreads(1);
const KIB = 1024;
const MIB = 1024 * KIB;

/** The same numbers everywhere: a linear congruential generator. */
function randomly(seed: number): (below: number) => number {
  let state = BigInt(seed);
  return (below) => {
    state = BigInt.asUintN(64, state * 6364136223846793005n + 1442695040888963407n);
    return Number((state >> 33n) % BigInt(below));
  };
}

test("blocks never share a byte, whatever is taken and given back", () => {
  const random = randomly(7);
  const held: { readonly x: Tensor; readonly value: number }[] = [];
  const check = ({ x, value }: { readonly x: Tensor; readonly value: number }): void => {
    scope(() => assert.equal(x.eq(value).sum().item(), x.numel(), `a block of ${x.nbytes} bytes has kept its values`));
    x.dispose();
  };
  for (let i = 0; i < 1500; i++) {
    if (held.length > 60 || (held.length > 0 && random(3) === 0)) {
      const [one] = held.splice(random(held.length), 1);
      assert.ok(one !== undefined);
      check(one);
    } else {
      const bytes = random(10) === 0 ? random(5 * MIB) : random(10) < 3 ? random(64 * KIB) : random(700 * KIB);
      const value = random(251);
      held.push({ x: full([bytes], value, { dtype: "uint8" }), value });
    }
    if (i % 500 === 499) trimMemory();
  }
  for (const one of held) check(one);
});

test("the bytes that tensors hold are counted exactly, and all are freed", () => {
  const random = randomly(8);
  const before = memory().allocatedBytes;
  const held = Array.from({ length: 200 }, () => empty([random(2 * MIB)], { dtype: "uint8" }));
  const held64 = held.reduce((sum, x) => sum + x.nbytes, 0);
  const counted = memory().allocatedBytes - before;
  assert.ok(counted >= held64 && counted < 1.02 * held64, `${counted} bytes for ${held64}`);
  const { allocatedBytes, reservedBytes, cachedBytes, bytes } = memory();
  assert.equal(bytes, allocatedBytes);
  assert.equal(reservedBytes, allocatedBytes + cachedBytes);
  for (const x of held) x.dispose();
  assert.equal(memory().allocatedBytes, before);
});

test("data begins at a multiple of 64 bytes, and an empty tensor takes no memory", () => {
  const before = memory();
  for (const bytes of [
    1,
    63,
    64,
    65,
    1000,
    32 * KIB - 1,
    32 * KIB,
    32 * KIB + 1,
    300 * KIB,
    4 * MIB - 64,
    4 * MIB,
    9 * MIB + 3,
  ]) {
    scope(() => {
      const x = empty([bytes], { dtype: "uint8" });
      assert.equal(x.dataPtr() % 64, 0, `${bytes} bytes`);
      x.fill_(1);
    });
  }
  scope(() => {
    const nothing = zeros([0, 5]);
    assert.equal(nothing.add(1).sum().item(), 0);
    assert.equal(nothing.nbytes, 0);
  });
  assert.equal(memory().allocatedBytes, before.allocatedBytes);
});

test("an allocation larger than memory is an error that names the operator, and changes nothing", () => {
  const kept = ones([64 * KIB]);
  const before = memory();
  for (const size of [2 ** 42, 2 ** 44, 2 ** 50, 2 ** 60]) {
    assert.throws(
      () => empty([size]),
      (e) =>
        e instanceof OutOfMemoryError &&
        e.code === "TORCH_OUT_OF_MEMORY" &&
        /^aten::empty/.test(e.op ?? "") &&
        /^empty.*: .*bytes on the CPU/.test(e.message),
      String(size),
    );
  }
  // Sizes whose bytes no 64-bit number holds are refused by libtorch itself.
  for (const size of [2n ** 61n, 2n ** 62n, 2n ** 63n - 1n])
    assert.throws(
      () => empty([size]),
      (e) => e instanceof TorchError,
      String(size),
    );
  scope(() =>
    assert.throws(
      () => kept.expand([2 ** 30, 64 * KIB]).add(1),
      (e) => e instanceof OutOfMemoryError && /^aten::add/.test(e.op ?? ""),
    ),
  );
  const after = memory();
  assert.deepEqual([after.unreleased, after.allocatedBytes], [before.unreleased, before.allocatedBytes]);
  assert.equal(kept.sum().item(), 64 * KIB);
});

test("the limit of idle memory holds, and is checked", () => {
  for (const wrong of [-1, NaN, "1"]) assert.throws(() => setCacheLimit(wrong as number), ArgumentError);
  try {
    setCacheLimit(0);
    const idle = memory().cachedBytes;
    const many = Array.from({ length: 40 }, () => ones([100 * KIB]));
    for (const [i, x] of many.entries()) if (i % 2 === 0) x.dispose();
    assert.ok(memory().cachedBytes <= idle, "between tensors");
    for (const x of many) x.dispose();
    assert.ok(memory().cachedBytes <= idle, "whole segments");
  } finally {
    setCacheLimit(4 * 2 ** 30);
  }
  setCacheLimit(Infinity);
  setCacheLimit(4 * 2 ** 30);
});

test("a loop reuses its memory", () => {
  const w = ones([256, 1024]).requiresGrad_();
  const x = ones([512, 256]);
  const step = (): void =>
    scope(() => {
      w.grad = null;
      x.matmul(w).relu().mul(2).exp().neg().sum().backward();
    });
  for (let i = 0; i < 3; i++) step();
  const { misses } = memory();
  for (let i = 0; i < 20; i++) step();
  assert.equal(memory().misses, misses);
  assert.ok(memory().cachedBytes > 4 * MIB);
});

test("an allocation that fails on purpose fails once, as an error of memory", () => {
  const [a, b] = [tensor([1, 2, 3]), tensor([1, 1, 1])];
  for (const badAlloc of [false, true]) {
    const { unreleased, allocatedBytes } = memory();
    native.allocatorFail(2, 1, badAlloc);
    scope(() => {
      a.add(b);
      assert.throws(
        () => a.add(b),
        (e) => e instanceof OutOfMemoryError && /^aten::add/.test(e.op ?? ""),
      );
      assert.deepEqual(a.add(b).tolist(), [2, 3, 4]);
    });
    assert.equal(native.allocatorFail(0, 0, false), 0);
    assert.deepEqual([memory().unreleased, memory().allocatedBytes], [unreleased, allocatedBytes]);
  }
});

test("the peak can be reset", () => {
  ones([MIB]).dispose();
  resetPeakMemory();
  const { peakBytes, bytes } = memory();
  assert.equal(peakBytes, bytes);
});
