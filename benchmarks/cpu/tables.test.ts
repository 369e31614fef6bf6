import assert from "node:assert/strict";
import { test } from "node:test";
import { footprintTable, lostTo, markdown, modelTable, pairTable, scaleTable, time } from "./tables.js";
import { resultsOf, rowResult } from "./testing.js";

const cells = (table: string, line: number): string[] =>
  (table.split("\n")[line] ?? "").split(" | ").map((cell) => cell.replace(/^\| | \|$/, ""));

test("times have three digits or so, in the row's unit", () => {
  assert.equal(time(83.72, "µs"), "83.7 µs");
  assert.equal(time(2304, "ms"), "2.30 ms");
  assert.equal(time(211_600, "ms"), "212 ms");
  assert.equal(time(1_500_000, "s"), "1.50 s");
});

test("a row of models has a column for each side: time, ratio within a run, or why there is none", () => {
  const row = {
    ...rowResult("a", {
      trainer: [100, 200, 300],
      loop: [90, 180, 270],
      pytorch: [200, 100, 600],
      "pytorch-keep": [100, 200, 300],
      compile: "failed: no | compiler",
      lightning: [400, 800, 1200],
      jax: "jax is not installed",
    }),
    targets: { lightning: 0.3, pytorch: 0.4, jax: 1 },
  };
  const table = modelTable([row]);
  assert.deepEqual(cells(table, 0).slice(0, 8), ["threads", "what", "nbit Trainer", "nbit loop", "PyTorch", "torch.compile", "Lightning", "JAX jit"]); // prettier-ignore
  assert.deepEqual(cells(table.replace("\\|", "or"), 2), [
    "1",
    "row a",
    "200 µs",
    "180 µs (1.11)",
    "200 µs (0.50); memory kept: 200 µs (1.00)", // ratios 0.5, 2, 0.5
    "– (failed: no or compiler)",
    "800 µs (0.25)",
    "– (jax is not installed)",
    "Lightning ≤ 0.30 reached; PyTorch ≤ 0.40 MISSED; JAX jit ≤ 1.00 not measured",
    "close: nbit Trainer, nbit loop, PyTorch, PyTorch, memory kept, Lightning",
  ]);
  assert.match(cells(footprintTable([row]), 2)[2] ?? "", /^1\.50 s, 200 MiB$/);
});

test("where nbit is slower: worst first, the loop beside PyTorch's alone, nothing of nbit's own", () => {
  const lost = lostTo([
    rowResult("a", { trainer: [100, 100, 100], loop: [130, 130, 130], pytorch: [110, 90, 90], jax: [50, 50, 50] }),
    rowResult("b", { trainer: [100, 100], nbit: [10, 10] }),
    rowResult("c", { trainer: "failed", pytorch: [10, 10] }),
  ]);
  assert.deepEqual(lost, [
    "2.00 × JAX jit's time, in every run: row a, nbit Trainer, one thread",
    "1.44 × PyTorch's time, in every run: row a, nbit loop, one thread",
    "1.11 × PyTorch's time, in 2 of 3 runs: row a, nbit Trainer, one thread",
  ]);
});

test("a row of two sides says what is on the other, and bytes of state", () => {
  const row = rowResult("a", { trainer: [100], pytorch: [80] });
  const withState = Object.fromEntries(
    Object.entries(row.sides).map(([side, s]) => [
      side,
      { ...s, runs: s.runs.map((r) => ({ ...r, stateBytes: side === "trainer" ? 25 : 100 })) },
    ]),
  );
  const table = pairTable([
    { ...row, sides: withState, against: "its rival", targets: { pytorch: 1.3 }, stateTarget: 0.2 },
  ]);
  assert.deepEqual(cells(table, 2), [
    "1",
    "row a",
    "100 µs",
    "its rival",
    "80.0 µs",
    "1.25",
    "≤ 1.30 reached",
    "close: nbit Trainer, PyTorch",
    "0.250 × (≤ 0.20, MISSED)",
  ]);
});

test("a row may have a time that we want at most", () => {
  const row = { ...rowResult("a", { trainer: [100], pytorch: [80] }), against: "its rival", targets: {} };
  for (const [timeTarget, verdict] of [
    [100, "≤ 100 µs reached"],
    [99, "≤ 99.0 µs MISSED"],
  ] as const)
    assert.equal(cells(pairTable([{ ...row, timeTarget }]), 2)[6], verdict);
});

test("a series of scale ends in slopes", () => {
  const point = (x: number): ReturnType<typeof rowResult> => ({
    ...rowResult(`s${x}`, { trainer: [x * x], pytorch: [5], jax: "no jax" }),
    scale: { series: "width", x },
  });
  const table = scaleTable([point(2), point(4), point(16)]);
  assert.equal(cells(table, 0)[0], "width");
  const last = cells(table, 5);
  assert.deepEqual([last[0], last[1], last[3], last[6]], ["slope", "2.00", "0.00", ""]);
});

test("the document names what is not installed, and lists losses first", () => {
  const text = markdown(resultsOf({ a: { trainer: [2], pytorch: [1] } }));
  assert.match(text, /JAX not installed/);
  assert.ok(text.indexOf("2.00 × PyTorch") < text.indexOf("## Training steps"));
  assert.match(markdown(resultsOf({ a: { trainer: [1], pytorch: [2] } })), /## Where nbit is slower\n\nNowhere\./);
});
