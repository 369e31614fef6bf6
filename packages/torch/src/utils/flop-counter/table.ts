/** FLOPs by module and operator, for people. */
import type { FlopCounts } from "./count.js";

const SUFFIXES = ["", "K", "M", "B", "T"] as const;

/** The total decides for all rows: 1.01B is shown as 1010.000M. */
function suffixOf(flops: number): number {
  return Math.max(0, Math.min(SUFFIXES.length - 1, Math.floor((String(flops).length - 2) / 3)));
}
const sum = (own: ReadonlyMap<string, number> | undefined): number =>
  own === undefined ? 0 : [...own.values()].reduce((total, n) => total + n, 0);

/** @param depth - Levels of modules; Infinity: all. */
export function flopTable(counts: FlopCounts, depth: number): string {
  const total = sum(counts.get("Global"));
  const suffix = suffixOf(total);
  const row = (text: string, flops: number): string[] => [
    text,
    `${(flops / 1000 ** suffix).toFixed(3)}${SUFFIXES[suffix] ?? ""}`,
    total === 0 ? "0%" : `${((flops / total) * 100).toFixed(2)}%`,
  ];
  const rowsOf = (name: string, level: number): string[][] => {
    const own = counts.get(name);
    const front = " ".repeat(level);
    return [row(front + name, sum(own)), ...[...(own ?? [])].map(([key, flops]) => row(`${front} - ${key}`, flops))];
  };
  const modules = [...counts.keys()]
    .filter((name) => name !== "Global" && name.split(".").length <= depth)
    .sort((a, b) => (a < b ? -1 : a > b ? 1 : 0));
  let rows = modules.flatMap((name) => rowsOf(name, name.split(".").length - 1));
  // Everything has rows of its own only where some of it lies outside of every module.
  if (counts.has("Global") && !modules.some((name) => sum(counts.get(name)) >= total))
    rows = [...rowsOf("Global", 0), ...rows.map(([text = "", ...rest]) => [` ${text}`, ...rest])];
  if (rows.length === 0) rows = [["Global", "0", "0%"]];
  const titles = ["Module", "FLOP", "% Total"];
  const widths = titles.map((title, i) => Math.max(title.length, ...rows.map((cells) => cells[i]?.length ?? 0)));
  const line = (cells: readonly string[]): string =>
    cells
      .map((text, i) => (i === 0 ? text.padEnd(widths[i] as number) : text.padStart(widths[i] as number)))
      .join("  ");
  return [line(titles), widths.map((width) => "-".repeat(width)).join("  "), ...rows.map(line)].join("\n");
}
