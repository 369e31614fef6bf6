import { PRECISIONS } from "@nbit/native/precisions";
import { atMost, checkArguments, checkOptions, kinds, type OptionNames } from "@nbit/torch/options";
import { baselineOf, figuresOf } from "./figures.js";
import type { Figures } from "./figures.js";
import { bytes, digits, integer, percent, seconds } from "./format.js";
import { escape } from "./html.js";
import { RUN } from "./records.js";
import type { Run } from "./records.js";
import { distinct } from "./names.js";
import { areaClass, swatch } from "./palette.js";

/** By canonical name, and by the names that earlier versions wrote into run logs. */
const LABELS: ReadonlyMap<string, string> = new Map(
  PRECISIONS.flatMap(({ name, aliases, label }) => [name, ...aliases].map((spelling) => [String(spelling), label])),
);

interface Cell {
  readonly text: string;
  /** Share of the column's largest value, shown as a bar. */
  readonly share?: number;
}

interface Column {
  readonly title: string;
  /** Null where a run cannot tell. */
  readonly cells: readonly (Cell | null)[];
}

/** What runs are compared by. Columns that no run can fill are left out. */
function columnsOf(runs: readonly Run[], unit: string): Column[] {
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
    column("Seconds per epoch", (f) => (f.secondsPerEpoch === null ? null : { text: digits(f.secondsPerEpoch, 3) })),
    barred(`${capital(unit)} per second`, (f) => f.samplesPerSecond, integer),
    column(`Speed against ${shortened(baseline?.name ?? "", 20)}`, (f) =>
      f.speed === null || runs.length < 2 ? null : { text: `${f.speed.toFixed(2)} ×` },
    ),
    barred("Peak training memory", (f) => f.peakMemory, bytes),
    column(`${from} accuracy`, (f) => (f.accuracy === null ? null : { text: percent(f.accuracy) })),
    column("Skipped steps", (f) => ({ text: integer(f.skippedSteps) })),
  ].filter(({ cells }) => cells.some((cell) => cell !== null));
}

function precisionOf(run: Run): string {
  const status = run.end === null ? " · not ended" : run.end.status === "success" ? "" : ` · ${run.end.status}`;
  return (LABELS.get(run.precision) ?? run.precision) + status;
}

/** The runs side by side. */
export function comparisonTable(runs: readonly Run[], unit: string): string {
  const columns = columnsOf(runs, unit);
  const head = columns.map(({ title }) => `<th scope="col">${escape(title)}</th>`).join("");
  const rows = runs.map((run, i) => {
    const name = `<td class="run">${swatch(i)}${escape(run.name)}<small>${escape(precisionOf(run))}</small></td>`;
    const cells = columns.map(({ title, cells: all }) => {
      const cell = all[i] ?? { text: "–" };
      return `<td data-label="${escape(title)}">${escape(cell.text)}${cell.share === undefined ? "" : bar(cell.share, i)}</td>`;
    });
    return `<tr>${name}${cells.join("")}</tr>`;
  });
  return `<div class="card"><table class="stacks"><thead><tr><th scope="col">Run</th>${head}</tr></thead><tbody>${rows.join("")}</tbody></table></div>`;
}

export interface ComparisonOptions {
  /** What one element of a batch is, in the plural. Default "samples". */
  readonly unit?: string;
}
const NAMES: OptionNames<ComparisonOptions> = { unit: kinds.text };

/**
 * The report's comparison as text for a terminal: one line per run, numbers right-aligned, the heading on two lines.
 *
 * @example
 * console.log(comparisonText(findRunLogs("runs").flatMap((path) => readRunLogs(path)), { unit: "images" }));
 */
export function comparisonText(runs: readonly Run[], options: ComparisonOptions = {}): string {
  atMost("comparisonText", arguments, 2);
  checkArguments("comparisonText", { runs }, { runs: kinds.listOf(RUN) });
  checkOptions("comparisonText", options, NAMES);
  return textOf(distinct(runs), options);
}

function textOf(runs: readonly Run[], options: ComparisonOptions): string {
  const columns = columnsOf(runs, options.unit ?? "samples");
  const heads = columns.map(({ title }) => breakTitle(title));
  const names = runs.map((run) => shortened(run.name, LONGEST_NAME));
  const grid = [
    ["", "", ...heads.map(([first]) => first)],
    ["Run", "Precision", ...heads.map(([, second]) => second)],
    ...runs.map((run, i) => [names[i] ?? "", precisionOf(run), ...columns.map(({ cells }) => cells[i]?.text ?? "–")]),
  ];
  const widths = (grid[0] ?? []).map((_, c) => Math.max(...grid.map((row) => row[c]?.length ?? 0)));
  const lines = grid.map((row) =>
    ` ${row.map((cell, c) => (c < 2 ? cell.padEnd(widths[c] ?? 0) : cell.padStart(widths[c] ?? 0))).join("   ")}`.trimEnd(),
  );
  const rule = "─".repeat(widths.reduce((sum, w) => sum + w, 0) + 3 * (widths.length - 1) + 2);
  return [...lines.slice(0, 2), rule, ...lines.slice(2)].join("\n");
}

/** In a terminal. */
const LONGEST_NAME = 40;

/** Its beginning and its end: names of a sweep differ in either. */
function shortened(name: string, most: number): string {
  const letters = [...name];
  if (letters.length <= most) return name;
  const end = Math.floor((most - 1) / 2);
  return `${letters.slice(0, most - 1 - end).join("")}…${letters.slice(-end).join("")}`;
}

/** `Peak training memory` → `Peak training`, `memory`: the last word goes below. */
function breakTitle(title: string): [string, string] {
  const at = title.lastIndexOf(" ");
  return at < 0 ? ["", title] : [title.slice(0, at), title.slice(at + 1)];
}

/** Everything that each epoch left behind. */
export function epochTable(runs: readonly Run[], unit: string): string {
  const titles = ["Epoch", "Step", "Training time", `${escape(capital(unit))} per second`];
  const rows = runs.flatMap((run, i) =>
    run.epochs.map((e) => {
      const metrics = Object.entries(e.metrics)
        .map(([name, value]) => `<span>${escape(name)} ${digits(value, 4)}</span>`)
        .join(", ");
      const rate = e.trainingSeconds > 0 ? integer(e.samples / e.trainingSeconds) : "–";
      const cells = [String(e.epoch + 1), integer(e.step), seconds(e.trainingSeconds), rate];
      return `<tr><td class="run">${swatch(i)}${escape(run.name)}</td>${cells.map((cell, c) => `<td data-label="${titles[c] ?? ""}">${cell}</td>`).join("")}<td class="many" data-label="Metrics">${metrics}</td></tr>`;
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
