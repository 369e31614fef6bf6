import assert from "node:assert/strict";
import { test } from "node:test";
import stringWidth from "string-width";
import { renderLineChart } from "./chart/line-chart.js";
import { chartsOf } from "./charts.js";
import { checkpointMarks } from "./checkpoints.js";
import { comparisonText } from "./comparison.js";
import type { Run } from "./records.js";
import { renderReport } from "./report.js";
import { parseRunLog } from "./run.js";

interface Sample {
  readonly step: number;
  readonly device?: boolean;
}
const sampleOf = ({ step, device = false }: Sample): object => ({
  type: "system",
  step,
  seconds: step / 10,
  cpu: 1.5,
  rss: 2 ** 30 * (1 + step / 100),
  heap: 50 * 2 ** 20,
  tensors: 0,
  free: 2 ** 33,
  ...(device ? { deviceAllocated: 3 * 2 ** 30, devicePeak: 4 * 2 ** 30, deviceReserved: 5 * 2 ** 30 } : {}),
});
function runOf(name: string, more: readonly object[], steps = 100): Run {
  const lines = [
    { type: "run", format: 2, name, precision: "32-true", startedAt: "2026-01-02T03:04:05Z" },
    ...Array.from({ length: steps }, (_, i) => ({ type: "step", step: i + 1, metrics: { train_loss: 1 / (i + 1) } })),
    ...more,
  ];
  return parseRunLog(lines.map((line) => `${JSON.stringify(line)}\n`).join(""), "run.jsonl");
}
const titles = (runs: readonly Run[]): string[] => chartsOf(runs).system.map(({ title }) => title);

test("samples of processor and memory are charts of their own; what is nowhere is left out", () => {
  const cpu = runOf("a", [sampleOf({ step: 10 }), sampleOf({ step: 60 })]);
  assert.deepEqual(titles([cpu]), ["Processor", "Memory of the process, GiB", "JavaScript heap, MiB"]);
  const gpu = runOf("b", [sampleOf({ step: 10, device: true }), sampleOf({ step: 60, device: true })]);
  assert.deepEqual(titles([cpu, gpu]).slice(3), [
    "GPU memory in tensors, GiB",
    "GPU memory taken from the driver, GiB",
  ]);
  const [, process] = chartsOf([cpu]).system;
  assert.deepEqual(
    process?.series.map(({ x, y }) => [x, y]),
    [
      [
        [10, 60],
        [1.1, 1.6],
      ],
    ],
  );
  assert.equal(process?.format(1.6), "1.60 GiB");
  const page = renderReport({ title: "t", runs: [cpu] });
  assert.match(page, /<h2>Machine<\/h2>/);
  // Amounts begin at 0.
  assert.match(renderLineChart(process ?? assert.fail("no chart"), "m"), />0\.0</);
});

test("one sample is no curve, and a run without any has no section", () => {
  assert.deepEqual(titles([runOf("a", [sampleOf({ step: 10 })])]), []);
  assert.doesNotMatch(renderReport({ title: "t", runs: [runOf("a", [])] }), /<h2>Machine/);
});

test("checkpoints are diamonds on the axis of every chart, those of one step together, and a table", () => {
  const saved = (step: number, path: string): object => ({ type: "checkpoint", step, epoch: 0, path });
  const run = runOf("a", [saved(50, "/c/epoch=0.ckpt"), saved(50, "/c/last.ckpt"), saved(100, "/c/last.ckpt")]);
  assert.deepEqual(
    checkpointMarks([run]).map(({ x, text }) => [x, text]),
    [
      [50, "checkpoint of step 50: epoch=0.ckpt, last.ckpt"],
      [100, "checkpoint of step 100: last.ckpt"],
    ],
  );
  const page = renderReport({ title: "t", runs: [run, runOf("b", [saved(70, '/c/<b a="1">.ckpt')])] });
  assert.equal(page.match(/<path class="at c0"/g)?.length, 2);
  assert.equal(page.match(/<path class="at c1"/g)?.length, 1);
  assert.match(page, /◆<\/i> checkpoint/);
  assert.match(page, /<summary>Checkpoints<\/summary>[^]*\/c\/last\.ckpt/);
  assert.doesNotMatch(page, /<b a=/);
  assert.doesNotMatch(renderReport({ title: "t", runs: [runOf("a", [])] }), /class="at|Checkpoints</);
});

test("a checkpoint at every step is thinned out, and the last stays", () => {
  const many = Array.from({ length: 5000 }, (_, i) => ({ type: "checkpoint", step: i + 1, epoch: 0, path: "x" }));
  const marks = checkpointMarks([runOf("a", many)]);
  assert.ok(marks.length <= 120 && marks.length > 60, String(marks.length));
  assert.equal(marks.at(-1)?.x, 5000);
});

test("all charts of a page have the same steps", () => {
  const run = runOf("a", [{ type: "eval", stage: "validate", step: 80, epoch: 0, metrics: { val_loss: 1 } }]);
  for (const chart of chartsOf([run]).curves) assert.match(renderLineChart(chart, "c"), /<text x="512"[^>]*>100</);
});

test("the comparison measures wide characters, shortens names for a narrow terminal, and lists runs on a phone's", () => {
  const runs = [runOf("学習率=0.1", []), runOf("baseline_with_quite_a_long_name_of_its_own", [])];
  const lines = comparisonText(runs).split("\n");
  assert.deepEqual(new Set(lines.slice(3).map((line) => stringWidth(line))).size, 1, lines.join("\n"));
  const whole = stringWidth(lines[2] ?? "");
  for (const columns of [whole, whole - 1, whole - 10, 40, 30, 20]) {
    const text = comparisonText(runs, { columns });
    for (const line of text.split("\n")) assert.ok(stringWidth(line) <= columns, `${columns}: ${line}`);
    assert.match(text, /学習/);
  }
  assert.equal(comparisonText(runs, { columns: whole }), comparisonText(runs));
  assert.deepEqual(comparisonText(runs, { columns: 30 }).split("\n").slice(0, 3), [
    "学習率=0.1",
    "  Precision      float32 · not",
    "                 ended",
  ]);
  assert.throws(() => comparisonText(runs, { columns: 3 }), { code: "ERR_ARGUMENT" });
});
