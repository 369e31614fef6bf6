/** Results as one HTML page: no scripts, nothing loaded. */
import { curveChart, dotChart, escape, type Curve, type Dots } from "./plot.js";
import { medianOf, peersOf, ratiosOf, type Results, type RowResult } from "./results.js";
import { SIDES } from "./sides.js";
import { median } from "./statistics.js";
import { isModelRow, lostTo, machineLine, slopeOf, titleOf } from "./tables.js";

const ORDER = Object.keys(SIDES);
const colourOf = (side: string): number => Math.max(0, ORDER.indexOf(side));

const STYLE = `
:root { --paper: #fff; --ink: #1f2328; --soft: #656d76; --grid: #e3e6ea; --c0: #0a6bbd; --c1: #58a6e8; --c2: #c8553d; --c3: #e9a15b; --c4: #7a5195; --c5: #3a8a58; --c6: #8c949e; }
@media (prefers-color-scheme: dark) { :root { --paper: #0d1117; --ink: #e6edf3; --soft: #9198a1; --grid: #262c34; } }
body { margin: 2rem auto; max-width: 60rem; padding: 0 1rem; background: var(--paper); color: var(--ink); font: 15px/1.5 system-ui, sans-serif; }
svg { width: 100%; height: auto; font-size: 11px; } svg text { fill: var(--soft); }
.grid { stroke: var(--grid); } .one { stroke: var(--ink); } .scale { display: grid; grid-template-columns: repeat(auto-fit, minmax(22rem, 1fr)); gap: 1rem; } figure { margin: 0; }
.key span { margin-right: 1.2em; white-space: nowrap; } .key i { display: inline-block; width: 0.8em; height: 0.8em; border-radius: 50%; margin-right: 0.4em; }
${ORDER.map((_, i) => `.c${i} path { stroke: var(--c${i}); stroke-width: 1.5; fill: none; } .c${i} circle { fill: var(--c${i}); } .key .k${i} { background: var(--c${i}); }`).join("\n")}`;

function key(sides: readonly string[]): string {
  return `<p class="key">${sides.map((side) => `<span><i class="k${colourOf(side)}"></i>${escape(titleOf(side))}</span>`).join("")}</p>`;
}

const present = (rows: readonly RowResult[], of: (row: RowResult) => readonly string[]): string[] =>
  ORDER.filter((side) => rows.some((row) => of(row).includes(side)));

function ratios(rows: readonly RowResult[]): string {
  const dots = rows
    .map((row): Dots => ({
      label: `${row.name.replace(/, fused \w+( with momentum)?$/, "")}${row.threads > 1 ? `, ${row.threads} threads` : ""}`,
      points: peersOf(row).flatMap((side) => {
        const runs = ratiosOf(row, side);
        return runs.length === 0 ? [] : [{ name: titleOf(side), colour: colourOf(side), median: median(runs), runs }];
      }),
    }))
    .filter(({ points }) => points.length > 0);
  return dots.length === 0 ? "" : dotChart(dots, "Ratio of nbit's time over each peer's, for each row");
}

function scaleCharts(rows: readonly RowResult[]): string {
  const series = [...new Set(rows.map((row) => row.scale?.series ?? ""))];
  const figures = series.map((name) => {
    const points = rows.filter((row) => row.scale?.series === name);
    const curves = present(points, (row) => Object.keys(row.sides)).flatMap((side): Curve[] => {
      const slope = slopeOf(points, side);
      if (slope === null) return [];
      const at = points.flatMap((row): [number, number][] => {
        const result = row.sides[side];
        if (result === undefined || result.hole !== null || row.scale === undefined) return [];
        return [[row.scale.x, medianOf(result, (r) => r.us) / 1000]];
      });
      return [{ name: `${titleOf(side)}, slope ${slope.toFixed(2)}`, colour: colourOf(side), points: at }];
    });
    return curves.length === 0 ? "" : `<figure>${curveChart(curves, name, "milliseconds")}</figure>`;
  });
  return `<div class="scale">${figures.join("")}</div>`;
}

export function page(results: Results): string {
  const models = results.rows.filter(isModelRow);
  const scale = results.rows.filter((row) => row.scale !== undefined);
  const lost = lostTo(results.rows.filter((row) => row.scale === undefined));
  const parts = [
    `<h1>CPU benchmark, ${escape(results.machine.date)}</h1><p>${escape(machineLine(results))}</p>`,
    ...(lost.length === 0
      ? []
      : [`<h2>Where nbit is slower</h2><ul>${lost.map((l) => `<li>${escape(l)}</li>`).join("")}</ul>`]),
    ...(models.length === 0
      ? []
      : [
          "<h2>Training steps</h2><p>Time of nbit's Trainer over each peer's, below 1 nbit is faster: a stroke for each run, a dot for the median.</p>",
          key(present(models, peersOf)),
          ratios(models),
        ]),
    ...(scale.length === 0
      ? []
      : ["<h2>Scale</h2>", key(present(scale, (row) => Object.keys(row.sides))), scaleCharts(scale)]),
  ];
  return `<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width"><title>CPU benchmark, ${escape(results.machine.date)}</title><style>${STYLE}</style></head>
<body>${parts.join("\n")}</body></html>
`;
}
