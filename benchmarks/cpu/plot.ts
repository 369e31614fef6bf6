/** Charts as SVG, complete without scripts; colours are classes that page.ts defines. */

export const escape = (text: string): string =>
  text.replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll(">", "&gt;").replaceAll('"', "&quot;");
const px = (value: number): string => String(Math.round(value * 10) / 10);
const svg = (width: number, height: number, label: string, parts: readonly string[]): string =>
  `<svg viewBox="0 0 ${width} ${height}" role="img" aria-label="${escape(label)}">${parts.join("")}</svg>`;

/** Positions on a logarithmic axis, and its round numbers. */
export function logAxis(
  values: readonly number[],
  from: number,
  to: number,
): { readonly at: (value: number) => number; readonly ticks: readonly number[] } {
  const low = Math.log10(Math.min(...values)) - 0.05;
  const high = Math.log10(Math.max(...values)) + 0.05;
  const factors = high - low < 1.2 ? [1, 2, 5] : high - low < 3 ? [1, 3] : [1];
  const ticks: number[] = [];
  for (let power = Math.floor(low); power <= high; power++)
    for (const factor of factors) {
      const value = Number((factor * 10 ** power).toPrecision(1));
      if (Math.log10(value) >= low && Math.log10(value) <= high) ticks.push(value);
    }
  return { at: (value) => from + ((Math.log10(value) - low) / (high - low)) * (to - from), ticks };
}

export interface Dots {
  readonly label: string;
  readonly points: readonly {
    readonly name: string;
    readonly colour: number;
    readonly median: number;
    readonly runs: readonly number[];
  }[];
}

/** A line for each row, a dot for each peer's median ratio and a stroke for each run; a line stands at 1. */
export function dotChart(rows: readonly Dots[], label: string): string {
  const [left, right, top, height, width] = [330, 20, 26, 22, 900];
  const values = rows.flatMap((row) => row.points.flatMap((p) => [p.median, ...p.runs]));
  const floor = top + rows.length * height;
  const { at, ticks } = logAxis([...values, 0.9, 1.1], left, width - right);
  const out = ticks.map(
    (tick) =>
      `<line class="${tick === 1 ? "one" : "grid"}" x1="${px(at(tick))}" x2="${px(at(tick))}" y1="${top - 6}" y2="${floor}"/><text x="${px(at(tick))}" y="${top - 10}" text-anchor="middle">${tick}</text>`,
  );
  rows.forEach((row, i) => {
    const y = top + (i + 0.5) * height;
    const short = row.label.length > 52 ? `${row.label.slice(0, 51)}…` : row.label;
    out.push(
      `<text x="${left - 10}" y="${px(y)}" dy="0.32em" text-anchor="end"><title>${escape(row.label)}</title>${escape(short)}</text>`,
    );
    for (const { name, colour, median, runs } of row.points) {
      const strokes = runs.map((run) => `M${px(at(run))} ${px(y - 5)}v10`).join("");
      out.push(
        `<g class="c${colour}"><path d="${strokes}"/><circle cx="${px(at(median))}" cy="${px(y)}" r="4.5"><title>${escape(`${name}: ${median.toFixed(2)}`)}</title></circle></g>`,
      );
    }
  });
  return svg(width, floor + 8, label, out);
}

export interface Curve {
  readonly name: string;
  readonly colour: number;
  readonly points: readonly (readonly [x: number, y: number])[];
}

/** Both axes logarithmic. */
export function curveChart(curves: readonly Curve[], xLabel: string, yLabel: string): string {
  const [width, height, left, bottom, top, right] = [440, 280, 56, 40, 24, 16];
  const all = curves.flatMap((c) => c.points);
  const x = logAxis(
    all.map(([v]) => v),
    left,
    width - right,
  );
  const y = logAxis(
    all.map(([, v]) => v),
    height - bottom,
    top,
  );
  const steps = [...new Set(all.map(([v]) => v))];
  return svg(width, height, `${yLabel} over ${xLabel}`, [
    ...y.ticks.map(
      (tick) =>
        `<line class="grid" x1="${left}" x2="${width - right}" y1="${px(y.at(tick))}" y2="${px(y.at(tick))}"/><text x="${left - 8}" y="${px(y.at(tick))}" dy="0.32em" text-anchor="end">${tick}</text>`,
    ),
    ...steps.map(
      (step) =>
        `<text x="${px(x.at(step))}" y="${height - bottom + 16}" text-anchor="middle">${step.toLocaleString("en")}</text>`,
    ),
    `<text x="${left}" y="12">${escape(yLabel)}</text>`,
    `<text x="${(left + width - right) / 2}" y="${height - 6}" text-anchor="middle">${escape(xLabel)}</text>`,
    ...curves.map(({ name, colour, points }) => {
      const path = points.map(([a, b], i) => `${i === 0 ? "M" : "L"}${px(x.at(a))} ${px(y.at(b))}`).join("");
      const dots = points.map(([a, b]) => `<circle cx="${px(x.at(a))}" cy="${px(y.at(b))}" r="3"/>`).join("");
      return `<g class="c${colour}"><title>${escape(name)}</title><path d="${path}"/>${dots}</g>`;
    }),
  ]);
}
