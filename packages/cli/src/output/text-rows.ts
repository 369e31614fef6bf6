/** Predictions as lines of text, whole or batch by batch. */
import { cellsOf, rowsOf, type Cells, type Column } from "./columns.js";

export interface TextRows {
  /** Before the first line; "" for none. */
  header(columns: readonly Column[]): string;
  /** A line for each sample. */
  lines(columns: readonly Column[]): string;
}
export const CSV: TextRows = {
  header: (columns) => csvLine(columns.flatMap(cellsOf).map(({ name }) => name)),
  lines: (columns) => table(columns.flatMap(cellsOf)).map(csvLine).join(""),
};
export const JSON_LINES: TextRows = {
  header: () => "",
  lines(columns) {
    const whole = columns.map(rowsOf);
    return table(whole)
      .map((row) => `${JSON.stringify(Object.fromEntries(whole.map(({ name }, i) => [name, forJson(row[i])])))}\n`)
      .join("");
  },
};

function table(cells: readonly Cells[]): unknown[][] {
  const rows = cells.reduce((most, { values }) => Math.max(most, values.length), 0);
  return Array.from({ length: rows }, (_, i) => cells.map(({ values }) => values[i]));
}

const csvLine = (row: readonly unknown[]): string => `${row.map(csvCell).join(",")}\n`;

/** Numbers so that they read back as the same; text in quotes where it must be. */
function csvCell(value: unknown): string {
  if (value === null || value === undefined) return "";
  const text = Array.isArray(value) ? JSON.stringify(value, jsonNumber) : String(value);
  return /[",\n\r]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
}
const forJson = (value: unknown): unknown => (Array.isArray(value) ? value.map(forJson) : jsonNumber("", value));
/** JSON has no infinities, and no numbers beyond doubles. */
function jsonNumber(_key: string, value: unknown): unknown {
  if (typeof value === "bigint") return String(value);
  return typeof value === "number" && !Number.isFinite(value) ? String(value) : value;
}
