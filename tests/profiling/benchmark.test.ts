import assert from "node:assert/strict";
import { test } from "node:test";
import { getNumThreads, memory, ones, setNumThreads, utils } from "@nbit/torch";

setNumThreads(2);
const { Compare, Measurement, selectUnit, Timer, trimSigfig } = utils.benchmark;

/** A clock that goes on by `perCall` for each call of the measured function, and by `perLook` each time it is read. */
function pretended(perCall: number, perLook = 1e-9) {
  let now = 0;
  let calls = 0;
  return {
    stmt: (): void => {
      now += perCall;
      calls++;
    },
    timer: (): number => (now += perLook),
    get calls(): number {
      return calls;
    },
  };
}

test("timeit measures after warming up", () => {
  const clock = pretended(2e-3);
  const m = new Timer({ stmt: clock.stmt, timer: clock.timer, label: "L", subLabel: "S" }).timeit(500);
  assert.equal(clock.calls, 505);
  assert.equal(m.numberPerRun, 500);
  assert.ok(Math.abs(m.median - 2e-3) < 1e-9);
  assert.equal(m.title, "L: S");
  assert.match(String(m), /^L: S\n {2}2\.00 ms\n {2}1 measurement, 500 runs, 1 thread$/);
});

test("blockedAutorange takes so many calls that the clock does not count", () => {
  const clock = pretended(1e-6, 1e-7);
  const told: [number, number][] = [];
  const m = new Timer({ stmt: clock.stmt, timer: clock.timer }).blockedAutorange({
    minRunTime: 0.1,
    callback: (n, seconds) => void told.push([n, seconds]),
  });
  assert.equal(m.numberPerRun, 1000);
  assert.equal(told.length, m.rawTimes.length);
  assert.ok(m.rawTimes.reduce((a, b) => a + b, 0) >= 0.1);
  assert.ok(Math.abs(m.median - 1e-6) < 1e-9);
});

test("adaptiveAutorange stops where times agree, or at its limit", () => {
  const steady = pretended(1e-3);
  assert.ok(new Timer({ stmt: steady.stmt, timer: steady.timer }).adaptiveAutorange().rawTimes.length >= 4);
  let now = 0;
  let calls = 0;
  const m = new Timer({
    stmt: () => void (now += ++calls % 2 === 0 ? 0.1 : 0.3),
    timer: () => (now += 1e-9),
  }).adaptiveAutorange({ maxRunTime: 2 });
  assert.ok(m.rawTimes.length < 20 && m.hasWarnings);
});

test("threads are as asked, tensors are freed, promises are refused", () => {
  let threads = 0;
  const before = memory().tensors;
  new Timer({
    stmt: () => {
      threads = getNumThreads();
      return ones([100]).add(1);
    },
    numThreads: 1,
  }).timeit(50);
  assert.equal(threads, 1);
  assert.equal(getNumThreads(), 2);
  assert.equal(memory().tensors, before);
  assert.throws(() => new Timer({ stmt: async () => undefined }).timeit(1), { code: "ERR_ASYNC_MODE" });
  assert.throws(() => new Timer({ stmt: "x + 1" as never }), { code: "ERR_ARGUMENT" });
  assert.throws(() => new Timer({ stmt: () => 0, threads: 1 } as never), { code: "ERR_ARGUMENT" });
});

const task = { stmt: "f", label: "ops", subLabel: null, description: null, env: null, numThreads: 1 };
test("statistics are PyTorch's", () => {
  const m = new Measurement(10, [0.01, 0.02, 0.03, 0.04, 0.1], task);
  assert.deepEqual(
    [m.median, m.mean, m.iqr].map((value) => Number(value.toPrecision(6))),
    [0.003, 0.004, 0.002],
  );
  assert.equal(m.significantFigures, 1);
  assert.equal(new Measurement(1, [1, 1, 1, 1], task).significantFigures, 4);
  assert.match(String(m), /WARNING: the interquartile range is 66\.7% of the median/);
  assert.deepEqual(selectUnit(3e-5), { unit: "us", scale: 1e-6 });
  assert.equal(trimSigfig(3.14159, 2), 3.1);
  const [merged] = Measurement.merge([m, new Measurement(1, [0.001], task)]);
  assert.deepEqual(
    merged?.rawTimes.map((t) => Number(t.toPrecision(6))),
    [0.001, 0.002, 0.003, 0.004, 0.01, 0.001],
  );
  assert.throws(() => new Measurement(1, [], task), { code: "ERR_ARGUMENT" });
});

test("a comparison has a table for each label, rows for sub-labels, columns for descriptions", () => {
  const of = (subLabel: string, description: string, ms: number, numThreads = 1): utils.benchmark.Measurement =>
    new Measurement(1, [ms / 1e3], { ...task, subLabel, description, numThreads });
  const compare = new Compare([of("add", "old", 2), of("add", "new", 1), of("mul", "old", 30)]);
  compare.extendResults([of("add", "old", 1.5, 2)]);
  assert.deepEqual(String(compare).split("\n"), [
    "[------- ops --------]",
    "       |   old  |  new",
    "1 threads: -----------",
    "  add  |   2.0  |  1.0",
    "  mul  |  30.0  |",
    "2 threads: -----------",
    "  add  |   1.5  |",
    "",
    "Times are in milliseconds (ms).",
    "",
  ]);
  compare.colorize({ rowwise: true });
  assert.ok(String(compare).includes("\u001b[2m\u001b[91m 2.0\u001b[0m"));
  compare.trimSignificantFigures();
  assert.throws(() => new Compare([3 as never]), { code: "ERR_ARGUMENT" });
});
