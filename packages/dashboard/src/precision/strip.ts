import { powerOfTwo } from "../format.js";
import { escape } from "../html.js";
import type { NumberRange } from "./data.js";
import { sharesOf } from "./figures.js";
import type { Limits } from "./figures.js";

/** The exponents that all strips of a page share, so that one can be read against the other. */
export interface Axis {
  readonly from: number;
  readonly to: number;
  readonly limits: Limits;
}

const WIDTH = 260;
const HEIGHT = 40;

export function axisOf(ranges: readonly NumberRange[], limits: Limits): Axis {
  const filled = ranges.filter((r) => r.counts.length > 0);
  const low = Math.min(-8, ...filled.map((r) => r.exponent));
  const high = Math.max(4, ...filled.map((r) => r.exponent + r.counts.length));
  // The dtype's edges belong in the picture where data comes near them.
  const from = low < limits.smallest + 24 ? Math.min(low, limits.smallest - 3) : low - 3;
  const to = high > limits.largest - 24 ? Math.max(high, limits.largest + 4) : high + 3;
  return { from: Math.max(-160, from), to: Math.min(160, to), limits };
}

const at = (axis: Axis, exponent: number): number =>
  ((Math.min(axis.to, Math.max(axis.from, exponent)) - axis.from) / (axis.to - axis.from)) * WIDTH;
const px = (value: number): string => value.toFixed(1);

/**
 * A histogram of exponents over the range of a dtype: grey where it holds numbers fully, hatched where digits go, red
 * bars outside.
 */
export function strip(range: NumberRange | null, axis: Axis, what: string): string {
  if (range === null || range.count === 0) return `<span class="none">–</span>`;
  const { limits } = axis;
  const most = Math.max(1, ...range.counts);
  const bars: Record<"in" | "sub" | "out", string> = { in: "", sub: "", out: "" };
  range.counts.forEach((n, i) => {
    const exponent = range.exponent + i;
    if (n === 0 || exponent < axis.from || exponent >= axis.to) return;
    const kind =
      exponent < limits.smallest - 1 || exponent > limits.largest ? "out" : exponent < limits.normal ? "sub" : "in";
    // A square root lets a thousandth be seen.
    const height = Math.max(1.5, Math.sqrt(n / most) * (HEIGHT - 4));
    const left = at(axis, exponent);
    bars[kind] +=
      `M${px(left + 0.4)} ${HEIGHT}v-${px(height)}h${px(Math.max(0.8, at(axis, exponent + 1) - left - 0.8))}v${px(height)}z`;
  });
  const { lost, subnormal, overflow } = sharesOf(range, limits);
  const text = `${what}: from ${range.smallest === null ? "0" : range.smallest.toExponential(1)} to ${range.largest === null ? "0" : range.largest.toExponential(1)}; ${share(lost)} lost, ${share(subnormal)} with fewer digits, ${share(overflow)} overflow`;
  const inside = `<rect class="zone" x="${px(at(axis, limits.normal))}" y="0" width="${px(at(axis, limits.largest + 1) - at(axis, limits.normal))}" height="${HEIGHT}"/>`;
  const weak = `<rect class="weak" x="${px(at(axis, limits.smallest - 1))}" y="0" width="${px(at(axis, limits.normal) - at(axis, limits.smallest - 1))}" height="${HEIGHT}"/>`;
  const paths = (["in", "sub", "out"] as const)
    .map((kind) => (bars[kind] === "" ? "" : `<path class="${kind}" d="${bars[kind]}"/>`))
    .join("");
  return `<svg class="strip" viewBox="0 0 ${WIDTH} ${HEIGHT}" preserveAspectRatio="none" role="img" aria-label="${escape(text)}"><title>${escape(text)}</title>${inside}${weak}<line x1="0" x2="${WIDTH}" y1="${HEIGHT}" y2="${HEIGHT}"/>${paths}</svg>${warning(lost, overflow)}`;
}

function warning(lost: number, overflow: number): string {
  const parts = [lost > 0 ? `${share(lost)} lost` : "", overflow > 0 ? `${share(overflow)} overflow` : ""].filter(
    (part) => part !== "",
  );
  return parts.length === 0
    ? ""
    : `<span class="${overflow > 0 || lost > 0.01 ? "bad" : "meh"}">${parts.join(", ")}</span>`;
}

/** Ticks under a column of strips. */
export function axisLabels(axis: Axis): string {
  const { limits } = axis;
  const span = axis.to - axis.from;
  const every = [4, 8, 16, 32, 64].find((step) => span / step <= 7) ?? 128;
  const ticks: number[] = [];
  for (let e = Math.ceil(axis.from / every) * every; e <= axis.to; e += every) ticks.push(e);
  const marks = ticks
    .map((e) => `<text x="${px(at(axis, e))}" y="12" text-anchor="middle">${powerOfTwo(e)}</text>`)
    .join("");
  const edge = (e: number, text: string, anchor: string): string =>
    e <= axis.from || e >= axis.to
      ? ""
      : `<text class="edge" x="${px(at(axis, e))}" y="26" text-anchor="${anchor}">${text}</text>`;
  return `<svg class="axis" viewBox="0 0 ${WIDTH} 30" aria-hidden="true">${marks}${edge(limits.largest + 1, "∞", "middle")}${edge(limits.smallest - 1, "0", "middle")}</svg>`;
}

export function share(value: number): string {
  if (value === 0) return "0 %";
  if (value < 0.0005) return "< 0.1 %";
  return `${(100 * value).toFixed(value < 0.1 ? 1 : 0)} %`;
}
