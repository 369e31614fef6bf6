import assert from "node:assert/strict";
import { test } from "node:test";
import { largerByRanks, logLogSlope, median } from "./statistics.js";

const near = (a: number, b: number): void => assert.ok(Math.abs(a - b) < 1e-12, `${a} is not ${b}`);

test("a median of an even number of values lies between the two in the middle", () => {
  assert.equal(median([3, 1, 2]), 2);
  assert.equal(median([4, 1, 3, 2]), 2.5);
  assert.ok(Number.isNaN(median([])));
});

test("the slope between logarithms is the power", () => {
  near(logLogSlope([1, 2, 8, 100].map((x) => [x, 5 * x ** 1.5])), 1.5);
  near(logLogSlope([10, 1000].map((x) => [x, 7])), 0);
  // By hand: logarithms to base 2 are (0, 0), (1, 2), (2, 1).
  near(
    logLogSlope([
      [1, 1],
      [2, 4],
      [4, 2],
    ]),
    0.5,
  );
});

/** By counting all subsets. */
function largerByCounting(before: readonly number[], after: readonly number[]): number {
  const all = [...before, ...after];
  const rank = (v: number): number => all.filter((o) => o < v).length + (all.filter((o) => o === v).length + 1) / 2;
  const observed = after.reduce((sum, v) => sum + rank(v), 0);
  let [count, asLarge] = [0, 0];
  for (let mask = 0; mask < 1 << all.length; mask++) {
    const chosen = all.filter((_, i) => (mask >> i) & 1);
    if (chosen.length !== after.length) continue;
    count++;
    if (chosen.reduce((sum, v) => sum + rank(v), 0) >= observed) asLarge++;
  }
  return asLarge / count;
}

test("the test on ranks equals counting, with ties and without", () => {
  near(largerByRanks([1, 2, 3, 4, 5], [6, 7, 8, 9, 10]), 1 / 252);
  near(largerByRanks([6, 7, 8, 9, 10], [1, 2, 3, 4, 5]), 1);
  near(largerByRanks([1, 1, 1], [1, 1, 1]), 1);
  for (const [before, after] of [
    [
      [1, 3, 5, 7],
      [2, 4, 6, 8],
    ],
    [
      [1, 1, 2, 5],
      [1, 2, 2, 9, 3],
    ],
    [[4], [4, 5]],
  ] as const)
    near(largerByRanks(before, after), largerByCounting(before, after));
});

test("many runs take no longer than few", () => {
  const runs = Array.from({ length: 40 }, (_, i) => 1 + i / 100);
  assert.ok(
    largerByRanks(
      runs,
      runs.map((r) => r + 0.2),
    ) < 1e-4,
  );
});
