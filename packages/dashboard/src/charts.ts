import type { LineChart } from "./chart/line-chart.js";
import { smooth } from "./chart/series.js";
import type { Mark, Series } from "./chart/series.js";
import { isAccuracy, isLoss, isScore } from "./figures.js";
import { formatInteger, formatMetric, formatPercent } from "@nbit/torch/format";
import { checkpointMarks } from "./checkpoints.js";
import type { Run } from "./records.js";
import { systemCharts } from "./system-charts.js";

/** Curves of more points than this are smoothed, with the raw values faintly behind. */
const SMOOTH_FROM = 80;
/** Of curves with no more than this, each point is shown. */
const FEW = 40;

export interface Charts {
  /** Each training metric, the loss scale, each validation metric: losses first, then accuracies. */
  readonly curves: readonly LineChart[];
  /** What the machine did meanwhile. */
  readonly system: readonly LineChart[];
}

/** The charts of a report, over the same steps. */
export function chartsOf(runs: readonly Run[]): Charts {
  const shared = { xRange: stepsOf(runs), axisMarks: checkpointMarks(runs) };
  return {
    curves: curvesOf(runs).map((chart) => ({ ...chart, ...shared })),
    system: systemCharts(runs).map((chart) => ({ ...chart, ...shared })),
  };
}

function stepsOf(runs: readonly Run[]): [number, number] {
  let [least, most] = [Infinity, -Infinity];
  for (const { steps, evaluations, system = [], end } of runs)
    for (const { step } of [...steps, ...evaluations, ...system, ...(end === null ? [] : [end])]) {
      least = Math.min(least, step);
      most = Math.max(most, step);
    }
  return [least, most];
}

function curvesOf(runs: readonly Run[]): LineChart[] {
  const training = namesOf(runs.flatMap((run) => run.steps.map((s) => s.metrics)));
  const validation = namesOf(
    runs.flatMap((run) => run.evaluations.filter((e) => e.stage === "validate").map((e) => e.metrics)),
  );
  const scale = scaleChart(runs);
  const [first, ...rest] = training.map((name) => trainingChart(runs, name));
  const rates = ratesChart(runs);
  return [first, scale, ...validation.map((name) => validationChart(runs, name)), ...rest, rates].filter(
    (chart) => chart !== undefined && chart !== null,
  );
}

function namesOf(all: readonly Readonly<Record<string, number>>[]): string[] {
  const rank = (name: string): number => (isLoss(name) ? 0 : isScore(name) ? 1 : 2);
  return [...new Set(all.flatMap((metrics) => Object.keys(metrics)))].sort((a, b) => rank(a) - rank(b));
}

function trainingChart(runs: readonly Run[], name: string): LineChart {
  const series: Series[] = [];
  runs.forEach((run, i) => {
    const points = run.steps.filter((s) => name in s.metrics);
    if (points.length === 0) return;
    const x = points.map((s) => s.step);
    const raw = points.map((s) => s.metrics[name] ?? Number.NaN);
    const base = { name: run.name, colour: i, x };
    series.push(
      raw.length < SMOOTH_FROM ? { ...base, y: raw } : { ...base, y: smooth(raw, Math.max(5, raw.length / 20)), raw },
    );
  });
  const smoothed = series.some((s) => s.raw !== undefined);
  const yKind = logarithmic(name, series) ? "log10" : "linear";
  const caption = [yKind === "log10" ? "Logarithmic axis" : "", smoothed ? "smoothed; single steps faintly behind" : ""]
    .filter((text) => text !== "")
    .join(", ");
  return {
    title: titleOf(name, "Training"),
    xLabel: "step",
    series,
    yKind,
    points: series.every((s) => s.x.length <= FEW),
    format: formatMetric,
    ...(caption === "" ? {} : { caption: `${caption.charAt(0).toUpperCase()}${caption.slice(1)}.` }),
  };
}

/** A loss that falls by more than a factor of twenty shows nothing of its end on a linear axis. */
function logarithmic(name: string, series: readonly Series[]): boolean {
  if (!isLoss(name)) return false;
  const values = series.flatMap((s) => s.y).filter((v) => Number.isFinite(v));
  const min = values.reduce((a, b) => Math.min(a, b), Infinity);
  return min > 0 && values.reduce((a, b) => Math.max(a, b), 0) / min > 20;
}

function scaleChart(runs: readonly Run[]): LineChart | null {
  const series: Series[] = [];
  runs.forEach((run, i) => {
    if (run.scales.length === 0) return;
    const last = Math.max(run.end?.step ?? 0, run.steps.at(-1)?.step ?? 0, run.scales.at(-1)?.step ?? 0);
    const x = [...run.scales.map((s) => s.step), last];
    const y = [...run.scales.map((s) => s.value), run.scales.at(-1)?.value ?? Number.NaN];
    const marks = run.skips.map((skip): Mark => ({
      x: skip.step,
      y: skip.lossScale,
      text: `step ${formatInteger(skip.step)} skipped at scale ${formatInteger(skip.lossScale)}${nonFinite(skip.nonFinite)}${skip.where === undefined ? "" : `. ${skip.where}`}`,
    }));
    series.push({ name: run.name, colour: i, x, y, marks });
  });
  if (series.length === 0) return null;
  const skipped = series.reduce((sum, s) => sum + (s.marks?.length ?? 0), 0);
  const caption =
    skipped === 0
      ? "No step was skipped."
      : `✕ marks ${skipped === 1 ? "the one skipped step" : `the ${skipped} skipped steps`}: gradients overflowed, the scale was lowered.`;
  return { title: "Loss scale", caption, xLabel: "step", series, yKind: "log2", stepped: true, format: formatInteger };
}

/** Of the first group of each run, where it was ever changed. */
function ratesChart(runs: readonly Run[]): LineChart | null {
  const series = runs.flatMap((run, i): Series[] => {
    const points = run.steps.filter((s) => (s.learningRates?.length ?? 0) > 0);
    if (points.length < 2) return [];
    const y = points.map((s) => s.learningRates?.[0] ?? Number.NaN);
    return [{ name: run.name, colour: i, x: points.map((s) => s.step), y }];
  });
  if (series.every(({ y }) => y.every((rate) => rate === y[0]))) return null;
  return { title: "Learning rate", xLabel: "step", series, yKind: "linear", fromZero: true, format: formatMetric };
}

function nonFinite(names: readonly string[]): string {
  if (names.length === 0) return "";
  return `: not finite in ${names.slice(0, 2).join(", ")}${names.length > 2 ? ` and ${names.length - 2} more` : ""}`;
}

function validationChart(runs: readonly Run[], name: string): LineChart {
  const series: Series[] = [];
  runs.forEach((run, i) => {
    const points = run.evaluations.filter((e) => e.stage === "validate" && name in e.metrics);
    if (points.length > 0)
      series.push({
        name: run.name,
        colour: i,
        x: points.map((e) => e.step),
        y: points.map((e) => e.metrics[name] ?? Number.NaN),
      });
  });
  const fraction = isAccuracy(name) && series.every((s) => s.y.every((v) => !(v > 1) && !(v < 0)));
  return {
    title: titleOf(name, "Validation"),
    xLabel: "step",
    series,
    yKind: logarithmic(name, series) ? "log10" : "linear",
    points: series.every((s) => s.x.length <= FEW),
    ...(fraction
      ? { format: (v) => formatPercent(v), axisFormat: (v, decimals) => formatPercent(v, Math.max(0, decimals - 2)) }
      : { format: formatMetric }),
  };
}

/**
 * `val_acc` → "Validation accuracy (val_acc)": plain words where the name is a common one, always with the name itself.
 */
function titleOf(name: string, stage: string): string {
  const what = isAccuracy(name) ? "accuracy" : /loss/i.test(name) ? "loss" : null;
  return what === null ? `${stage}: ${name}` : `${stage} ${what}${name === what ? "" : ` · ${name}`}`;
}
