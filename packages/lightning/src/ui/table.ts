import { pad, plainPaint, visibleWidth } from "./ansi.js";
import type { Paint } from "./ansi.js";

export interface Column {
  readonly title: string;
  /** Numbers read best right-aligned. Default "left". */
  readonly align?: "left" | "right";
}

export interface TableOptions {
  /** Rows below a second rule: totals. */
  readonly footer?: readonly (readonly string[])[];
  readonly paint?: Paint;
}

/**
 * A table as text: a bold heading, thin rules, columns as wide as their widest cell. No trailing spaces, no final
 * newline.
 *
 * @example
 * formatTable([{ title: "layer" }, { title: "bytes", align: "right" }], [["fc", "1.50 KiB"]]);
 * //  layer     bytes
 * // ─────────────────
 * //  fc     1.50 KiB
 */
export function formatTable(
  columns: readonly Column[],
  rows: readonly (readonly string[])[],
  options: TableOptions = {},
): string {
  const paint = options.paint ?? plainPaint;
  const footer = options.footer ?? [];
  const widths = columns.map((column, i) =>
    Math.max(visibleWidth(column.title), ...[...rows, ...footer].map((row) => visibleWidth(row[i] ?? ""))),
  );
  const line = (cells: readonly string[], colour?: "bold"): string => {
    const text = columns.map((column, i) => pad(cells[i] ?? "", widths[i] ?? 0, column.align)).join("   ");
    return ` ${colour === undefined ? text : paint(colour, text)}`.trimEnd();
  };
  const rule = paint("dim", "─".repeat(widths.reduce((sum, w) => sum + w, 0) + 3 * (columns.length - 1) + 2));
  const out = [
    line(
      columns.map((c) => c.title),
      "bold",
    ),
    rule,
    ...rows.map((row) => line(row)),
  ];
  if (footer.length > 0) out.push(rule, ...footer.map((row) => line(row)));
  return out.join("\n");
}
