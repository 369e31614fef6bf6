import { escape, json } from "../html.js";
import { formatInteger } from "@nbit/torch/format";
import { dashOf, lineClass } from "../palette.js";
import { shortened } from "../text.js";
import { linearScale, log10Scale, log2Scale, niceLinear } from "./scale.js";
import type { Scale, ScaleKind } from "./scale.js";
import { thin } from "./series.js";
import type { Series } from "./series.js";

export interface LineChart {
  readonly title: string;
  /** One sentence under the title. */
  readonly caption?: string;
  readonly xLabel: string;
  readonly series: readonly Series[];
  readonly yKind: ScaleKind;
  /** Values hold until the next point (a loss scale), instead of a straight line between the two. */
  readonly stepped?: boolean;
  /** Show every point; for curves of few points. */
  readonly points?: boolean;
  /** Steps of all the charts of a page, so that one can be read below the other. Default: those of this one. */
  readonly xRange?: readonly [least: number, most: number];
  /** What happened at a step, as diamonds on the axis. */
  readonly axisMarks?: readonly AxisMark[];
  /** The axis begins at 0, on a linear one: amounts, of which there may be none. */
  readonly fromZero?: boolean;
  /** How values read under the pointer. */
  readonly format: (value: number) => string;
  /** How they read on a linear axis. Default: plain, with as many decimals as the ticks need. */
  readonly axisFormat?: (value: number, decimals: number) => string;
}

export interface AxisMark {
  readonly x: number;
  /** Index of its run. */
  readonly colour: number;
  readonly text: string;
}

const WIDTH = 528;
const HEIGHT = 272;
const LEFT = 56;
const RIGHT = 16;
const TOP = 12;
const BOTTOM = 44;

/** A figure with its chart as inline SVG, complete without scripts; the data beside it serves the pointer. */
export function renderLineChart(chart: LineChart, id: string): string {
  const series = chart.series.map(thin);
  const x = xScale(series, chart.xRange);
  const y = yScale(chart, series);
  const parts = [
    grid(x, y, chart.xLabel),
    ...series.map((s, i) => curve(s, x, y, chart, strokeWidth(i, series.length))),
    axisMarks(chart.axisMarks ?? [], x),
  ];
  const caption = chart.caption === undefined ? "" : `<p>${escape(chart.caption)}</p>`;
  return `<figure class="chart" id="${id}">
<figcaption><h3>${escape(chart.title)}</h3>${caption}</figcaption>
<div class="plot"><svg viewBox="0 0 ${WIDTH} ${HEIGHT}" role="img" aria-label="${escape(describe(chart))}">${parts.join("")}<g class="pointer"></g></svg><div class="tip" hidden></div></div>
<script type="application/json" data-chart="${id}">${json(pointerData(chart, series, x, y))}</script>
</figure>`;
}

function xScale(series: readonly Series[], range: readonly number[] = []): Scale {
  let [min, max] = [Math.min(...range), Math.max(...range)];
  for (const { x, marks = [] } of series)
    for (const value of [...x, ...marks.map((mark) => mark.x)]) {
      min = Math.min(min, value);
      max = Math.max(max, value);
    }
  if (min > max) [min, max] = [0, 1];
  // Steps begin at 0, unless these begin late.
  return linearScale(min > 0 && min < max * 0.2 ? 0 : min, max, LEFT, WIDTH - RIGHT, 6);
}

function yScale(chart: LineChart, series: readonly Series[]): Scale {
  const values = series
    .flatMap((s) => [...s.y, ...(s.raw ?? []), ...(s.marks ?? []).map((m) => m.y)])
    .filter((v) => Number.isFinite(v));
  const positive = chart.yKind === "linear" ? values : values.filter((v) => v > 0);
  const min = positive.reduce((a, b) => Math.min(a, b), chart.fromZero === true && positive.length > 0 ? 0 : Infinity);
  const max = positive.reduce((a, b) => Math.max(a, b), -Infinity);
  const [bottom, top] = [HEIGHT - BOTTOM, TOP];
  if (min > max) return linearScale(0, 1, bottom, top, 4);
  if (chart.yKind === "log10") return log10Scale(min, max, bottom, top);
  if (chart.yKind === "log2") return log2Scale(min, max, bottom, top);
  return niceLinear(min, max, bottom, top, 5, chart.axisFormat);
}

function grid(x: Scale, y: Scale, xLabel: string): string {
  const out = ['<g class="grid">'];
  for (const { value, label } of y.ticks) {
    const at = px(y.at(value));
    out.push(
      `<line x1="${LEFT}" x2="${WIDTH - RIGHT}" y1="${at}" y2="${at}"/><text x="${LEFT - 8}" y="${at}" dy="0.32em" text-anchor="end">${escape(label)}</text>`,
    );
  }
  const floor = HEIGHT - BOTTOM;
  for (const { value, label } of x.ticks) {
    const at = px(x.at(value));
    out.push(
      `<line class="tick" x1="${at}" x2="${at}" y1="${floor}" y2="${floor + 4}"/><text x="${at}" y="${floor + 17}" text-anchor="middle">${escape(label)}</text>`,
    );
  }
  out.push(`<line class="axis" x1="${LEFT}" x2="${WIDTH - RIGHT}" y1="${floor}" y2="${floor}"/>`);
  out.push(
    `<text class="label" x="${(LEFT + WIDTH - RIGHT) / 2}" y="${HEIGHT - 6}" text-anchor="middle">${escape(xLabel)}</text></g>`,
  );
  return out.join("");
}

function curve(series: Series, x: Scale, y: Scale, chart: LineChart, width: number): string {
  const { raw, marks = [] } = series;
  const dash = dashOf(series.colour);
  const dashed = dash === "" ? "" : ` stroke-dasharray="${dash}"`;
  const out = [`<g class="${lineClass(series.colour)}">`];
  if (raw !== undefined) out.push(`<path class="raw" d="${path(series.x, raw, x, y, false)}"/>`);
  out.push(`<path stroke-width="${width}"${dashed} d="${path(series.x, series.y, x, y, chart.stepped === true)}"/>`);
  if (chart.points === true || series.x.length === 1) {
    series.x.forEach((value, i) => {
      const at = series.y[i] ?? Number.NaN;
      if (Number.isFinite(at)) out.push(`<circle cx="${px(x.at(value))}" cy="${px(y.at(at))}" r="${width + 1.75}"/>`);
    });
  }
  for (const mark of marks) {
    const [cx, cy] = [x.at(mark.x), y.at(mark.y)];
    out.push(
      `<path class="mark" d="M${px(cx - 4)} ${px(cy - 4)}l8 8m0 -8l-8 8"><title>${escape(mark.text)}</title></path>`,
    );
  }
  out.push("</g>");
  return out.join("");
}

/** More runs than this are one row of marks, without their colours. */
const MOST_ROWS = 3;

/** Runs that kept something at the same steps stand above each other. */
function axisMarks(marks: readonly AxisMark[], x: Scale): string {
  const runs = [...new Set(marks.map(({ colour }) => colour))];
  const together = runs.length > MOST_ROWS;
  return marks
    .filter((mark) => mark.x >= x.min && mark.x <= x.max)
    .map(({ x: step, colour, text }) => {
      const top = HEIGHT - BOTTOM - 5 - (together ? 0 : 9 * runs.indexOf(colour));
      const look = together ? "all" : lineClass(colour);
      return `<path class="at ${look}" d="M${px(x.at(step))} ${top}l5 5l-5 5l-5 -5z"><title>${escape(text)}</title></path>`;
    })
    .join("");
}

/**
 * Each curve is thinner than the one it lies on: runs from one seed often coincide, and all should be seen. Where there
 * are many, width would hide more than it shows.
 */
function strokeWidth(index: number, count: number): number {
  if (count > 4) return 1.75;
  return 1.75 + 1.75 * Math.min(3, count - 1 - index);
}

function path(xs: readonly number[], ys: readonly number[], x: Scale, y: Scale, stepped: boolean): string {
  let out = "";
  let pen = false;
  let before = "";
  xs.forEach((value, i) => {
    const at = ys[i] ?? Number.NaN;
    if (!Number.isFinite(at) || (y.kind !== "linear" && at <= 0)) {
      pen = false;
      return;
    }
    const [left, top] = [px(x.at(value)), px(y.at(at))];
    if (!pen) out += `M${left} ${top}`;
    else out += stepped ? `L${left} ${before}L${left} ${top}` : `L${left} ${top}`;
    before = top;
    pen = true;
  });
  return out;
}

/** One decimal is a tenth of a pixel. */
function px(value: number): string {
  return String(Math.round(value * 10) / 10);
}

function describe(chart: LineChart): string {
  const ends = chart.series.map((s) => `${s.name}: last ${chart.format(s.y.at(-1) ?? Number.NaN)}`);
  return `${chart.title} over ${chart.xLabel}. ${ends.join("; ")}.`;
}

/** What the pointer needs: where points are, and how their values read. */
function pointerData(chart: LineChart, series: readonly Series[], x: Scale, y: Scale): object {
  return {
    width: WIDTH,
    top: TOP,
    floor: HEIGHT - BOTTOM,
    xLabel: chart.xLabel,
    stepped: chart.stepped === true,
    series: series.map((s) => ({
      name: shortened(s.name, 32),
      line: lineClass(s.colour),
      x: s.x,
      label: s.x.map((value) => formatInteger(value)),
      at: s.x.map((value, i) => {
        const value_ = s.y[i] ?? Number.NaN;
        return Number.isFinite(value_) ? [Number(px(x.at(value))), Number(px(y.at(value_)))] : null;
      }),
      text: s.y.map((value, i) => valueText(chart, value, s.raw?.[i])),
      marks: (s.marks ?? []).map((m) => ({ at: Number(px(x.at(m.x))), text: m.text })),
    })),
    axisMarks: (chart.axisMarks ?? []).map((m) => ({
      at: Number(px(x.at(m.x))),
      line: lineClass(m.colour),
      text: m.text,
    })),
  };
}

function valueText(chart: LineChart, value: number, raw: number | undefined): string {
  return raw === undefined ? chart.format(value) : `${chart.format(value)} (${chart.format(raw)})`;
}
