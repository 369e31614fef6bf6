import assert from "node:assert/strict";
import { test } from "node:test";
import { compareRatios, compareResults, comparisonLines, differences } from "./compare.js";
import { resultsOf } from "./testing.js";

const five = (...values: number[]): number[] => values;

test("slower by more than 5 % in every run is found", () => {
  const before = five(0.4, 0.41, 0.39, 0.4, 0.42);
  const { verdict, p } = compareRatios(
    before,
    before.map((r) => r * 1.1),
  );
  assert.equal(verdict, "slower");
  assert.ok(p <= 2 / 252);
});

test("4 % more, chance, and becoming faster are not slower", () => {
  const before = five(0.4, 0.401, 0.399, 0.4, 0.402);
  const times = (k: number): number[] => before.map((r) => r * k);
  assert.equal(compareRatios(before, times(1.04)).verdict, "not slower");
  assert.equal(compareRatios(before, times(0.5)).verdict, "not slower");
  // The median grew by 10 %, but the runs lie among each other.
  assert.equal(
    compareRatios(five(0.3, 0.35, 0.4, 0.45, 0.5), five(0.31, 0.36, 0.44, 0.46, 0.49)).verdict,
    "not slower",
  );
});

test("three runs against three can prove nothing, and say so", () => {
  assert.equal(compareRatios([1, 1, 1], [2, 2, 2]).verdict, "too few runs");
  assert.equal(compareRatios([1, 1, 1], [1, 1, 1]).verdict, "not slower");
});

test("results are compared row by row and peer by peer, holes and new rows left out", () => {
  const us = [100, 101, 99, 100, 102];
  const before = resultsOf({ a: { trainer: us, loop: us, pytorch: us, jax: us }, gone: { trainer: us, pytorch: us } });
  const slower = us.map((v) => v * 1.2);
  const after = resultsOf({
    a: { trainer: slower, loop: us, pytorch: us, jax: "no jax" },
    b: { trainer: us, pytorch: us },
  });
  const [found, ...others] = compareResults(before, after);
  assert.deepEqual(others, []);
  assert.equal(found?.row, "a");
  assert.equal(found?.side, "pytorch");
  assert.equal(found?.verdict, "slower");
  assert.match(
    comparisonLines([found])[0] ?? "",
    /^slower +a, ratio to pytorch: 1\.000 → 1\.200 \(\+20\.0 %, p = 0\.0\d+\)$/,
  );
});

test("another processor or release of a peer is said", () => {
  const { machine } = resultsOf({});
  assert.deepEqual(differences(machine, machine), []);
  const later = { ...machine, cores: 4, peers: { ...machine.peers, jax: "1" } };
  assert.deepEqual(differences(machine, later), [
    "processor differs: a processor, 2 cores, then a processor, 4 cores",
    "JAX differs: none, then 1",
  ]);
});
