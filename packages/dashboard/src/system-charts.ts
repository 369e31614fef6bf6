import { formatBytes, formatMetric } from "@nbit/torch/format";
import type { LineChart } from "./chart/line-chart.js";
import type { Series } from "./chart/series.js";
import type { Run, SystemRecord } from "./records.js";

/** The charts of processor and memory, which runs sample as they train. Those that no run can fill are left out. */
export function systemCharts(runs: readonly Run[]): LineChart[] {
  const memory = (title: string, pick: (sample: SystemRecord) => number | undefined): LineChart | null =>
    memoryChart(title, seriesOf(runs, pick));
  return [
    processorChart(seriesOf(runs, ({ cpu }) => cpu)),
    memory("Memory of the process", ({ rss }) => rss),
    memory("Memory in CPU tensors", ({ tensors }) => tensors),
    memory("JavaScript heap", ({ heap }) => heap),
    memory("GPU memory in tensors", ({ deviceAllocated }) => deviceAllocated),
    memory("GPU memory taken from the driver", ({ deviceReserved }) => deviceReserved),
  ].filter((chart) => chart !== null);
}

/** Of runs with two samples or more that are not all 0. */
function seriesOf(runs: readonly Run[], pick: (sample: SystemRecord) => number | undefined): Series[] {
  return runs.flatMap(({ name, system = [] }, colour): Series[] => {
    const samples = system.flatMap((sample) => {
      const y = pick(sample);
      return y === undefined ? [] : [{ x: sample.step, y }];
    });
    if (samples.length < 2 || samples.every(({ y }) => y === 0)) return [];
    return [{ name, colour, x: samples.map(({ x }) => x), y: samples.map(({ y }) => y) }];
  });
}

function processorChart(series: readonly Series[]): LineChart | null {
  if (series.length === 0) return null;
  return {
    title: "Processor",
    caption: "Cores that were busy, since the sample before.",
    xLabel: "step",
    series,
    yKind: "linear",
    fromZero: true,
    format: formatMetric,
  };
}

const UNITS = ["B", "KiB", "MiB", "GiB", "TiB"];

/** In the unit that the largest needs, so that ticks are whole numbers of it. */
function memoryChart(title: string, series: readonly Series[]): LineChart | null {
  if (series.length === 0) return null;
  const most = series.flatMap(({ y }) => y).reduce((a, b) => Math.max(a, b), 1);
  const power = Math.min(UNITS.length - 1, Math.floor(Math.log2(most) / 10));
  const size = 1024 ** power;
  return {
    title: `${title}, ${UNITS[power] ?? "B"}`,
    xLabel: "step",
    series: series.map((one) => ({ ...one, y: one.y.map((value) => value / size) })),
    yKind: "linear",
    fromZero: true,
    format: (value) => formatBytes(value * size),
  };
}
