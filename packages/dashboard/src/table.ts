import { PRECISIONS } from "@nbit/native/precisions";
import { baselineOf, figuresOf } from "./figures.js";
import type { Figures } from "./figures.js";
import {
  formatBytes,
  formatInteger,
  formatMetric,
  formatPercent,
  formatSeconds,
  significant,
} from "@nbit/torch/format";
import { escape } from "./html.js";
import { shortened } from "./text.js";
import type { Run } from "./records.js";
import { areaClass } from "./palette.js";
import { namedRun } from "./run-name.js";

/** By canonical name, and by the names that earlier versions wrote into run logs. */
const LABELS: ReadonlyMap<string, string> = new Map(
  PRECISIONS.flatMap(({ name, aliases, label }) => [name, ...aliases].map((spelling) => [String(spelling), label])),
);

interface Cell {
  readonly text: string;
  /** Share of the column's largest value, shown as a bar. */
  readonly share?: number;
}

export interface Column {
  readonly title: string;
  /** Null where a run cannot tell. */
  readonly cells: readonly (Cell | null)[];
}

/** What runs are compared by. Columns that no run can fill are left out. */
export function columnsOf(runs: readonly Run[], unit: string): Column[] {
  const baseline = baselineOf(runs);
  const figures = runs.map((run) => figuresOf(run, baseline));
  const column = (title: string, cell: (f: Figures) => Cell | null): Column => ({ title, cells: figures.map(cell) });
  const barred = (title: string, pick: (f: Figures) => number | null, text: (value: number) => string): Column => {
    const most = Math.max(...figures.map((f) => pick(f) ?? 0));
    return column(title, (f) => {
      const value = pick(f);
      return value === null ? null : { text: text(value), share: most > 0 ? value / most : 0 };
    });
  };
  const from = figures.some((f) => f.accuracyFrom === "validate") ? "Validation" : "Test";
  return [
    column("Seconds per epoch", (f) =>
      f.secondsPerEpoch === null ? null : { text: significant(f.secondsPerEpoch, 3) },
    ),
    barred(`${capital(unit)} per second`, (f) => f.samplesPerSecond, formatInteger),
    column(`Speed against ${shortened(baseline?.name ?? "", 20)}`, (f) =>
      f.speed === null || runs.length < 2 ? null : { text: `${f.speed.toFixed(2)} ×` },
    ),
    barred("Peak training memory", (f) => f.peakMemory, formatBytes),
    column(`${from} accuracy`, (f) => (f.accuracy === null ? null : { text: formatPercent(f.accuracy) })),
    column("Skipped steps", (f) => ({ text: formatInteger(f.skippedSteps) })),
  ].filter(({ cells }) => cells.some((cell) => cell !== null));
}

export function precisionOf(run: Run): string {
  const status = run.end === null ? " · not ended" : run.end.status === "success" ? "" : ` · ${run.end.status}`;
  return (LABELS.get(run.precision) ?? run.precision) + status;
}

/** The runs side by side. */
export function comparisonTable(runs: readonly Run[], unit: string): string {
  const columns = columnsOf(runs, unit);
  const head = columns.map(({ title }) => `<th scope="col">${escape(title)}</th>`).join("");
  const rows = runs.map((run, i) => {
    const name = `<td class="run">${namedRun(run, i, escape(precisionOf(run)))}</td>`;
    const cells = columns.map(({ title, cells: all }) => {
      const cell = all[i] ?? { text: "–" };
      return `<td data-label="${escape(title)}">${escape(cell.text)}${cell.share === undefined ? "" : bar(cell.share, i)}</td>`;
    });
    return `<tr>${name}${cells.join("")}</tr>`;
  });
  return `<div class="card"><table class="stacks"><thead><tr><th scope="col">Run</th>${head}</tr></thead><tbody>${rows.join("")}</tbody></table></div>`;
}

/** Everything that each epoch left behind. */
export function epochTable(runs: readonly Run[], unit: string): string {
  const titles = ["Epoch", "Step", "Training time", `${escape(capital(unit))} per second`];
  const rows = runs.flatMap((run, i) =>
    run.epochs.map((e) => {
      const metrics = Object.entries(e.metrics)
        .map(([name, value]) => `<span>${escape(name)} ${formatMetric(value)}</span>`)
        .join(", ");
      const rate = e.trainingSeconds > 0 ? formatInteger(e.samples / e.trainingSeconds) : "–";
      const cells = [String(e.epoch + 1), formatInteger(e.step), formatSeconds(e.trainingSeconds), rate];
      return `<tr><td class="run">${namedRun(run, i)}</td>${cells.map((cell, c) => `<td data-label="${titles[c] ?? ""}">${cell}</td>`).join("")}<td class="many" data-label="Metrics">${metrics}</td></tr>`;
    }),
  );
  if (rows.length === 0) return "";
  const head = ["Run", ...titles, "Metrics"].map((title) => `<th scope="col">${title}</th>`).join("");
  return `<details><summary>Epoch by epoch</summary><div class="card"><table class="stacks"><thead><tr>${head}</tr></thead><tbody>${rows.join("")}</tbody></table></div></details>`;
}

function bar(share: number, run: number): string {
  return `<span class="bar"><i class="${areaClass(run)}" style="width:${Math.round(100 * Math.min(1, share))}%"></i></span>`;
}

function capital(text: string): string {
  return text.charAt(0).toUpperCase() + text.slice(1);
}
