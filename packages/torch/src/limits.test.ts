/** What a heap, a stack or a number cannot hold is an error that says so, at once. */
import assert from "node:assert/strict";
import { test } from "node:test";
import {
  aten,
  BatchSampler,
  ConcatDataset,
  DataLoader,
  defaultCollate,
  DistributedSampler,
  NbitError,
  ones,
  packState,
  RandomSampler,
  randomSplit,
  scope,
  SequentialSampler,
  special,
  tensor,
  zeros,
  type Dataset,
} from "./index.js";
import { ArgumentError, describe } from "./errors.js";

const refused = (use: () => unknown, message: RegExp): void => {
  assert.throws(
    () => scope(() => void use()),
    (error: unknown) => {
      assert.ok(error instanceof NbitError, String(error));
      assert.match(error.message, message);
      return true;
    },
  );
};
const deep = (levels: number): unknown => {
  let value: unknown = 1;
  for (let i = 0; i < levels; i++) value = i % 2 === 0 ? [value] : { a: value };
  return value;
};
/** A million digits and more: in decimal it takes minutes to write down. */
const HUGE = 10n ** 1_500_000n;

test("lists that JavaScript's heap does not hold are refused before they are begun", () => {
  assert.deepEqual(zeros([3, 0]).tolist(), [[], [], []]);
  for (const shape of [
    [2 ** 31, 0],
    [2 ** 40, 0],
    [70_000, 70_000, 0],
  ]) {
    refused(() => zeros(shape).tolist(), /tolist: expected what has room on JavaScript's heap.*toTypedArray/);
    assert.match(String(zeros(shape)), /^tensor\(\[\], size=\(/);
  }
  refused(
    () =>
      zeros([1])
        .expand([2 ** 33])
        .tolist(),
    /room on JavaScript's heap/,
  );
  refused(() => JSON.stringify(zeros([2 ** 31, 0])), /room on JavaScript's heap/);
  refused(
    () =>
      zeros([1])
        .expand([2 ** 45])
        .toBytes(),
    /memory|allocate/,
  );
  refused(
    () =>
      zeros([1])
        .expand([2 ** 28])
        .unbind(),
    /expected at most 4194304 parts. Received: 268435456/,
  );
  refused(
    () =>
      zeros([1])
        .expand([2 ** 28])
        .chunk(2 ** 28),
    /at most 4194304 parts/,
  );
  refused(
    () =>
      zeros([1])
        .expand([2 ** 28])
        .split(2),
    /at most 4194304 parts. Received: 134217728/,
  );
  assert.deepEqual(
    ones([5])
      .split([2, 3])
      .map((t) => t.shape[0]),
    [2, 3],
  );
  assert.deepEqual(ones([5]).chunk(100).length, 5);
});

test("bigints that 64 bits do not hold are no numbers of a tensor, but for floating point", () => {
  refused(() => tensor([HUGE]), /whole numbers that int64 holds. Received: a bigint of \d+ bits/);
  refused(() => tensor([1n << 63n]), /whole numbers that int64 holds. Received: 9223372036854775808n/);
  refused(() => tensor([-1n], { dtype: "uint64" }), /uint64 holds. Received: -1n/);
  assert.deepEqual(tensor([(1n << 64n) - 1n], { dtype: "uint64" }).tolist(), [(1n << 64n) - 1n]);
  assert.deepEqual(tensor([1n << 70n], { dtype: "float64" }).tolist(), [2 ** 70]);
  for (const use of [
    () => zeros([2]).add(HUGE as never),
    () => zeros([HUGE as never]),
    () => zeros([2]).sum(HUGE as never),
    () => zeros([2]).fill_(HUGE as never),
    () => zeros([2]).reshape([-HUGE as never]),
  ])
    refused(use, /a whole number that 64 bits hold. Received: a bigint of/);
  assert.equal(describe(-HUGE), `a bigint of ${HUGE.toString(16).length * 4} bits`);
  assert.equal(describe(-12n), "-12n");
});

test("values nested too deeply are refused before the stack overflows", () => {
  for (const use of [
    () => tensor(new Array(100_000).fill(0).reduce<unknown>((inner) => [inner], 1) as never),
    () => defaultCollate([deep(100_000), deep(100_000)]),
    () => packState({ a: deep(100_000) } as never),
    () => [...new DataLoader([deep(100_000)] as never[], { batchSize: null })],
  ])
    refused(use, /at most \d+ (levels|dimensions)/);
  refused(() => {
    throw new ArgumentError("x", "y", deep(100_000));
  }, /Received: an object with keys a/);
});

test("the length of a data source must be a whole number, at the start of every pass", () => {
  const get = (i: number): number => i;
  for (const length of [NaN, Infinity, -1, 2.5, 2 ** 60]) {
    const source = { length, get };
    for (const use of [
      () => [...new SequentialSampler(source)],
      () => [...new RandomSampler(source, { numSamples: 3 })],
      () => [...new DistributedSampler(source, { numReplicas: 2, rank: 0 })],
      () => randomSplit(source as Dataset<number>, [0.5, 0.5]),
      () => new ConcatDataset([source as Dataset<number>]),
      () => [...new DataLoader(source)],
      () => new DataLoader(source).length,
      () =>
        new BatchSampler(
          {
            length,
            *[Symbol.iterator]() {
              yield 1;
            },
          } as unknown as SequentialSampler,
          2,
          false,
        ).length,
    ])
      refused(use, /expected .*whole number ≥ 0\. Received: /);
  }
  refused(() => new RandomSampler({ length: 0 }, { numSamples: 1 }), /not empty/);
  const source = { length: 3 };
  const sampler = new RandomSampler(source, { numSamples: 5 });
  const shared = new DistributedSampler(source, { numReplicas: 2, rank: 0 });
  source.length = 0;
  refused(() => [...sampler], /whole number ≥ 1. Received: 0/);
  refused(() => [...shared], /whole number ≥ 1. Received: 0/);
});

test("work that would not end is refused", () => {
  refused(() => special.hermitePolynomialH(tensor([0.5]), 2 ** 40), /expected n of a magnitude up to/);
  refused(() => aten["linalg_matrix_power"]?.(ones([2, 2]), -(1n << 63n)), /expected n from/);
});
