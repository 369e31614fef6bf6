/**
 * Time per step of nbit against Lightning's, as bars: one group per model and precision, Lightning's eager step = 1.
 */
import { ROWS, type Measurement, type Results } from "./rows.js";

const COLOURS = {
  light: {
    paper: "#ffffff",
    ink: "#1f2328",
    soft: "#656d76",
    grid: "#d0d7de",
    bars: ["#0a6bbd", "#58a6e8", "#b9bec5", "#8c949e"],
  },
  dark: {
    paper: "#0d1117",
    ink: "#e6edf3",
    soft: "#9198a1",
    grid: "#30363d",
    bars: ["#58a6ff", "#2f6fb5", "#6e7681", "#484f58"],
  },
} as const;
const SERIES: readonly (readonly [string, string, string])[] = [
  ["nbit, CUDA graph", "nbit", "graph"],
  ["nbit", "nbit", "eager"],
  ["Lightning", "lightning", "eager"],
  ["Lightning, compiled", "lightning", "compile"],
];

export function plot(r: Results, theme: "light" | "dark"): string {
  const colour = COLOURS[theme];
  const [left, width, bar, gap, top] = [170, 520, 11, 12, 56];
  const find = (model: string, precision: string, side: string, mode: string): Measurement | undefined =>
    r.measurements.find((m) => m.model === model && m.precision === precision && m.side === side && m.mode === mode);
  const groups = ROWS.map((row) => ({
    row,
    base: find(row.model, row.precision, "lightning", "eager"),
    bars: SERIES.map(([name, side, mode], i) => ({ name, i, m: find(row.model, row.precision, side, mode) })).filter(
      (b) => b.m !== undefined,
    ),
  })).filter((g) => g.base !== undefined && g.bars.length > 0);
  const longest = Math.max(1, ...groups.flatMap((g) => g.bars.map((b) => (b.m?.ms ?? 0) / (g.base?.ms ?? 1))));
  const x = (ratio: number): number => left + (ratio / longest) * width;
  const out: string[] = [];
  let y = top;
  for (const { row, base, bars } of groups) {
    const height = bars.length * bar;
    out.push(
      `<text x="${left - 10}" y="${y + height / 2 + 4}" text-anchor="end" fill="${colour.ink}">${row.model}, ${row.precision}</text>`,
    );
    for (const { i, m } of bars) {
      const ratio = (m?.ms ?? 0) / (base?.ms ?? 1);
      out.push(
        `<rect x="${left}" y="${y}" width="${(x(ratio) - left).toFixed(1)}" height="${bar - 2}" rx="1.5" fill="${colour.bars[i]}"/>`,
      );
      out.push(
        `<text x="${(x(ratio) + 5).toFixed(1)}" y="${y + bar - 3}" font-size="9" fill="${colour.soft}">${(m?.ms ?? 0).toFixed((m?.ms ?? 0) < 10 ? 2 : 1)} ms</text>`,
      );
      y += bar;
    }
    y += gap;
  }
  const legend = SERIES.map(
    ([name], i) =>
      `<rect x="${left + i * 140}" y="30" width="10" height="10" rx="1.5" fill="${colour.bars[i]}"/><text x="${left + i * 140 + 15}" y="39" fill="${colour.ink}">${name}</text>`,
  );
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${left + width + 70} ${y + 8}" font-family="system-ui, sans-serif" font-size="11" role="img" aria-label="Time per training step relative to Lightning's eager step, on ${r.machine}">`,
    `<rect width="100%" height="100%" fill="${colour.paper}"/>`,
    `<text x="${left}" y="18" font-size="13" font-weight="600" fill="${colour.ink}">Time per training step, Lightning's eager step = 1 (${r.machine.split(",")[0] ?? ""}, ${r.date})</text>`,
    ...legend,
    `<line x1="${x(1).toFixed(1)}" x2="${x(1).toFixed(1)}" y1="${top - 6}" y2="${y - gap + 4}" stroke="${colour.grid}"/>`,
    ...out,
    "</svg>",
    "",
  ].join("\n");
}
