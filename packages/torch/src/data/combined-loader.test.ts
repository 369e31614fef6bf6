import assert from "node:assert/strict";
import { test } from "node:test";
import { ArgumentError } from "../errors.js";
import { arange } from "../ops/index.js";
import { isTensor } from "../tensor/index.js";
import { Late } from "../testing/worker-datasets.js";
import { CombinedLoader, DataLoader, StackDataset, TensorDataset, type CombinedMode, type Iterables } from "./index.js";

const numbers = (n: number, batchSize: number): DataLoader<number> =>
  new DataLoader({ length: n, get: (i: number) => i }, { batchSize });
const plain = (v: unknown): unknown =>
  isTensor(v)
    ? v.tolist()
    : Array.isArray(v)
      ? v.map(plain)
      : typeof v === "object" && v !== null
        ? Object.fromEntries(Object.entries(v).map(([k, each]) => [k, plain(each)]))
        : v;
/** The batches of Lightning's own examples. */
const EXPECTED: Readonly<Record<CombinedMode, readonly unknown[]>> = {
  min_size: [
    [{ a: [0, 1, 2, 3], b: [0, 1, 2, 3, 4] }, 0, 0],
    [{ a: [4, 5], b: [5, 6, 7, 8, 9] }, 1, 0],
  ],
  max_size: [
    [{ a: [0, 1, 2, 3], b: [0, 1, 2, 3, 4] }, 0, 0],
    [{ a: [4, 5], b: [5, 6, 7, 8, 9] }, 1, 0],
    [{ a: null, b: [10, 11, 12, 13, 14] }, 2, 0],
  ],
  max_size_cycle: [
    [{ a: [0, 1, 2, 3], b: [0, 1, 2, 3, 4] }, 0, 0],
    [{ a: [4, 5], b: [5, 6, 7, 8, 9] }, 1, 0],
    [{ a: [0, 1, 2, 3], b: [10, 11, 12, 13, 14] }, 2, 0],
  ],
  sequential: [
    [[0, 1, 2, 3], 0, 0],
    [[4, 5], 1, 0],
    [[0, 1, 2, 3, 4], 0, 1],
    [[5, 6, 7, 8, 9], 1, 1],
    [[10, 11, 12, 13, 14], 2, 1],
  ],
};

for (const [mode, expected] of Object.entries(EXPECTED) as [CombinedMode, readonly unknown[]][])
  test(`${mode}: batches, passes and lengths, at once and in promises`, async () => {
    const combined = new CombinedLoader({ a: numbers(6, 4), b: numbers(15, 5) }, mode);
    assert.equal(combined.length, expected.length);
    for (let pass = 0; pass < 2; pass++) assert.deepEqual(plain([...combined]), expected);
    const late: unknown[] = [];
    for await (const each of combined) late.push(plain(each));
    assert.deepEqual(late, expected);
  });

test("loaders of promises, lists in lists, limits, and loaders of nothing", async () => {
  const late = new DataLoader(new Late(4), { batchSize: 2 });
  const found: unknown[] = [];
  for await (const [batch] of new CombinedLoader([late, [numbers(3, 1), { x: numbers(9, 3) }]]))
    found.push(plain(batch));
  assert.deepEqual(found, [
    [
      [0, 1],
      [[0], { x: [0, 1, 2] }],
    ],
    [
      [4, 9],
      [[1], { x: [3, 4, 5] }],
    ],
  ]);
  assert.throws(() => [...new CombinedLoader([late])], /iterate with `for await`/i);
  const some = new CombinedLoader([numbers(6, 2), numbers(4, 1)], "sequential");
  some.limits = [1, 2];
  assert.equal(some.length, 3);
  assert.deepEqual(plain([...some]), [
    [[0, 1], 0, 0],
    [[0], 0, 1],
    [[1], 1, 1],
  ]);
  assert.throws(() => (some.limits = [1]), ArgumentError);
  const empty = { [Symbol.iterator]: () => [].values() };
  for (const mode of ["min_size", "max_size_cycle", "sequential"] as const)
    assert.equal([...new CombinedLoader([empty, numbers(2, 1)], mode)].length, mode === "sequential" ? 2 : 0);
  assert.deepEqual([...new CombinedLoader([])], []);
  assert.equal(new CombinedLoader([empty]).length, null);
});

test("loaders that are left are closed", () => {
  const closed: number[] = [];
  const endless = (id: number): Iterable<number> => ({
    [Symbol.iterator]: () => ({
      next: () => ({ done: false, value: id }),
      return: () => (closed.push(id), { done: true as const, value: undefined }),
    }),
  });
  for (const [, i] of new CombinedLoader([endless(1), endless(2)])) if (i === 1) break;
  assert.deepEqual(closed, [1, 2]);
  assert.equal([...new CombinedLoader({ iterables: [endless(3), numbers(2, 1)], mode: "min_size" })].length, 2);
  assert.deepEqual(closed, [1, 2, 3]);
  for (const bad of [3, [3], { a: null }, "ab"])
    assert.throws(
      () => new CombinedLoader(bad as unknown as Iterables),
      /CombinedLoader: expected (iterables to be loaders|options)/,
    );
  assert.throws(() => new CombinedLoader([], "shortest" as CombinedMode), /mode to be one of/);
});

test("datasets side by side, by position and by name", async () => {
  const a = new TensorDataset(arange(4));
  const pair = new StackDataset(a, new Late(4));
  assert.equal(pair.length, 4);
  const [x, y] = await pair.get(2);
  assert.deepEqual([x[0].item(), y], [2, 4]);
  const named = new StackDataset({ first: a, second: new TensorDataset(arange(4).add(10)) });
  const element = named.get(1) as { first: [{ item(): number }]; second: [{ item(): number }] };
  assert.deepEqual([element.first[0].item(), element.second[0].item()], [1, 11]);
  assert.deepEqual(plain([...new DataLoader(named, { batchSize: 3 })]), [
    { first: [[0, 1, 2]], second: [[10, 11, 12]] },
    { first: [[3]], second: [[13]] },
  ]);
  assert.deepEqual(plain([...new DataLoader(named, { batchSize: 4, numWorkers: 1 })]), [
    { first: [[0, 1, 2, 3]], second: [[10, 11, 12, 13]] },
  ]);
  assert.throws(() => new StackDataset(a, new Late(3)), /datasets of one length. Received: \[4, 3\]/);
  assert.throws(() => new StackDataset(), /at least one dataset/);
  assert.throws(() => new StackDataset({ a: 3 } as never), /datasets with length and get/);
});
