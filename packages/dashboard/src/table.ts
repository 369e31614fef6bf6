import { baselineOf, figuresOf } from "./figures.js";
import type { Figures } from "./figures.js";
import { bytes, digits, integer, percent, seconds } from "./format.js";
import { escape } from "./html.js";
import type { Run } from "./run.js";
import { COLOURS } from "./style.js";

const PRECISIONS: Readonly<Record<string, string>> = {
  "32-true": "float32",
  "64-true": "float64",
  "16-mixed": "float16 mixed",
  "bf16-mixed": "bfloat16 mixed",
  "16-true": "float16",
  "bf16-true": "bfloat16",
};

/** The runs side by side. Columns that no run can fill are left out. */
export function comparisonTable(runs: readonly Run[], unit: string): string {
  const baseline = baselineOf(runs);
  const figures = runs.map((run) => figuresOf(run, baseline));
  const maxOf = (pick: (f: Figures) => number | null): number => Math.max(...figures.map((f) => pick(f) ?? 0));
  const speedMax = maxOf((f) => f.samplesPerSecond);
  const memoryMax = maxOf((f) => f.peakMemory);
  const from = figures.every((f) => f.accuracyFrom !== "validate") ? "Test" : "Validation";

  const columns: { title: string; cell: (f: Figures, colour: number) => string | null }[] = [
    { title: "Seconds per epoch", cell: (f) => (f.secondsPerEpoch === null ? null : td(seconds(f.secondsPerEpoch))) },
    { title: `${capital(unit)} per second`, cell: (f, c) => (f.samplesPerSecond === null ? null : td(integer(f.samplesPerSecond) + bar(f.samplesPerSecond / speedMax, c))) },
    { title: `Speed against ${baseline?.name ?? ""}`, cell: (f) => (f.speed === null || runs.length < 2 ? null : td(`${f.speed.toFixed(2)} ×`)) },
    { title: "Peak training memory", cell: (f, c) => (f.peakMemory === null ? null : td(bytes(f.peakMemory) + bar(f.peakMemory / memoryMax, c))) },
    { title: `${from} accuracy`, cell: (f) => (f.accuracy === null ? null : td(percent(f.accuracy))) },
    { title: "Skipped steps", cell: (f) => td(integer(f.skippedSteps)) },
  ];
  const shown = columns.map((column) => ({ title: column.title, cells: figures.map((f, i) => column.cell(f, i % COLOURS)) })).filter((column) => column.cells.some((cell) => cell !== null));
  const head = shown.map((column) => `<th scope="col">${escape(column.title)}</th>`).join("");
  const rows = runs.map((run, i) => {
    const status = run.end === null ? " · not ended" : run.end.status === "success" ? "" : ` · ${run.end.status}`;
    const name = `<td class="run"><span class="swatch b${i % COLOURS}"></span>${escape(run.name)}<small>${escape((PRECISIONS[run.precision] ?? run.precision) + status)}</small></td>`;
    return `<tr>${name}${shown.map((column) => column.cells[i] ?? td("–")).join("")}</tr>`;
  });
  return `<div class="card"><table><thead><tr><th scope="col">Run</th>${head}</tr></thead><tbody>${rows.join("")}</tbody></table></div>`;
}

/** Everything that each epoch left behind. */
export function epochTable(runs: readonly Run[], unit: string): string {
  const rows = runs.flatMap((run, i) =>
    run.epochs.map((e) => {
      const metrics = Object.entries(e.metrics).map(([name, value]) => `${name} ${digits(value, 4)}`).join(", ");
      const rate = e.trainingSeconds > 0 ? integer(e.samples / e.trainingSeconds) : "–";
      return `<tr><td><span class="swatch b${i % COLOURS}"></span>${escape(run.name)}</td><td>${e.epoch + 1}</td><td>${integer(e.step)}</td><td>${seconds(e.trainingSeconds)}</td><td>${rate}</td><td>${escape(metrics)}</td></tr>`;
    }),
  );
  if (rows.length === 0) return "";
  return `<details><summary>Epoch by epoch</summary><div class="card"><table><thead><tr><th scope="col">Run</th><th scope="col">Epoch</th><th scope="col">Step</th><th scope="col">Training time</th><th scope="col">${escape(capital(unit))} per second</th><th scope="col">Metrics</th></tr></thead><tbody>${rows.join("")}</tbody></table></div></details>`;
}

function td(content: string): string {
  return `<td>${content}</td>`;
}

function bar(fraction: number, colour: number): string {
  return `<span class="bar"><i class="b${colour}" style="width:${Math.round(100 * Math.min(1, fraction))}%"></i></span>`;
}

function capital(text: string): string {
  return text.charAt(0).toUpperCase() + text.slice(1);
}
