import { resolve } from "node:path";
import { ArgumentError, checkPath, writeText } from "@nbit/torch/files";
import { atMost, checkArguments, checkOptions, kinds, type OptionNames } from "@nbit/torch/options";
import { renderLineChart, type LineChart } from "./chart/line-chart.js";
import { chartsOf } from "./charts.js";
import { checkpointTable } from "./checkpoints.js";
import { CLIENT } from "./client.js";
import { formatInteger } from "@nbit/torch/format";
import { escape } from "./html.js";
import { RUN } from "./records.js";
import type { Run } from "./records.js";
import { distinct } from "./names.js";
import { namedRun } from "./run-name.js";
import { readRunLogs } from "./run.js";
import { settingsTable } from "./settings.js";
import { STYLE } from "./style.js";
import { comparisonTable, epochTable } from "./table.js";

export interface ReportOptions {
  readonly title: string;
  /** One line under the title; default: model, parameters, device and date of the first run. */
  readonly subtitle?: string;
  /** Paths of run logs, or logs that were read already. Shown in this order. */
  readonly runs: readonly (string | Run)[];
  /** Sentences under the table. */
  readonly notes?: readonly string[];
  /** What one element of a batch is, in the plural. Default "samples". */
  readonly unit?: string;
}

const NAMES: OptionNames<ReportOptions> = {
  title: kinds.text,
  subtitle: kinds.text,
  runs: kinds.listOf(kinds.either(kinds.filled, RUN)),
  notes: kinds.listOf(kinds.text),
  unit: kinds.text,
};

/**
 * Write a report on runs as one HTML file: a table that compares them, and curves of loss, loss scale and validation
 * metrics, what the machine did meanwhile, and where checkpoints are.
 *
 * The file needs no network and no other file; its own content policy forbids both. Light or dark, as the reader's
 * system is. It is complete without scripts; a script adds the values under the pointer. Written whole or not at all.
 *
 * @returns The absolute path of the file.
 * @throws {RunLogError} When a log is not readable as one.
 * @throws {ArgumentError} `writeReport: expected runs to have at least one entry. Received: [].`
 * @example
 * writeReport("report.html", { title: "MNIST", runs: findRunLogs("nbit_logs") });
 */
export function writeReport(path: string, options: ReportOptions): string {
  atMost("writeReport", arguments, 2);
  checkPath("writeReport", path);
  const target = resolve(path);
  const html = renderReport(options);
  writeText("writeReport", target, html);
  return target;
}

/** As `writeReport`, but returns the page. */
export function renderReport(options: ReportOptions): string {
  atMost("renderReport", arguments, 1);
  checkOptions("renderReport", options, NAMES);
  const { title } = options;
  checkArguments("renderReport", { title, runs: options.runs }, { title: NAMES.title, runs: NAMES.runs });
  if (options.runs.length === 0)
    throw new ArgumentError("writeReport", "runs to have at least one entry", options.runs);
  const runs = distinct(options.runs.flatMap((run) => (typeof run === "string" ? readRunLogs(run) : [run])));
  const unit = options.unit ?? "samples";
  const charts = chartsOf(runs);
  const notes = (options.notes ?? []).map((note) => `<p class="note">${escape(note)}</p>`).join("\n");
  return `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'">
<title>${escape(options.title)}</title>
<style>${STYLE}</style>
</head>
<body>
<main>
<h1>${escape(options.title)}</h1>
<p class="sub">${escape(options.subtitle ?? subtitleOf(runs))}</p>
<h2>At a glance</h2>
${comparisonTable(runs, unit)}
${notes}
${settingsTable(runs)}
${chartSection("Curves", charts.curves, runs)}
${chartSection("Machine", charts.system, runs)}
${epochTable(runs, unit)}
${checkpointTable(runs)}
<footer>Written by nbit, ${escape(new Date().toISOString().slice(0, 16).replace("T", " "))} UTC. This file needs no network.</footer>
</main>
<script>${CLIENT}</script>
</body>
</html>
`;
}

function chartSection(title: string, charts: readonly LineChart[], runs: readonly Run[]): string {
  if (charts.length === 0) return "";
  const figures = charts.map((chart, i) => renderLineChart(chart, `${title.toLowerCase()}-${i}`));
  return `<h2>${title}</h2>\n${legend(charts, runs)}\n<div class="charts">\n${figures.join("\n")}\n</div>`;
}

function legend(charts: readonly LineChart[], runs: readonly Run[]): string {
  const skips = charts.some(({ series }) => series.some(({ marks = [] }) => marks.length > 0));
  const checkpoints = charts.some(({ axisMarks = [] }) => axisMarks.length > 0);
  return `<div class="legend">${runs.map((run, i) => namedRun(run, i)).join("")}${skips ? "<span><b>✕</b> skipped step</span>" : ""}${checkpoints ? "<span><i>◆</i> checkpoint</span>" : ""}</div>`;
}

function subtitleOf(runs: readonly Run[]): string {
  const first = runs[0];
  if (first === undefined) return "";
  const parts = [
    first.model,
    first.parameters > 0 ? `${formatInteger(first.parameters)} parameters` : "",
    first.device,
    first.startedAt.slice(0, 10),
  ];
  return parts.filter((part) => part !== "").join(" · ");
}
