import { existsSync, readFileSync } from "node:fs";
import { withFile, writeText } from "@nbit/torch";
import { LogFile } from "./log-file.js";
import type { Metrics } from "./logger.js";

/**
 * A metrics table on disk whose columns grow.
 *
 * Rows are appended. When a new name appears, the file is written anew with the wider header beside the old one and moved
 * over it, so a reader, or a crash at any moment, finds a complete table with every row flushed so far. Columns are sorted
 * by name, as Lightning's are. A file that is there already is continued; a last line torn by a crash is cut off.
 *
 * Numbers are the shortest decimal forms that read back as the same double; `nan`, `inf` and `-inf` as Python reads them.
 */
export class CsvFile {
  readonly #path: string;
  #columns: string[] = [];
  #file: LogFile | null = null;
  #pending: Metrics[] = [];

  constructor(path: string) {
    this.#path = path;
  }

  /** Rows that wait for `flush`. */
  get pending(): number {
    return this.#pending.length;
  }

  add(row: Metrics): void {
    this.#pending.push(row);
  }

  /** Append what waits: one write, or a rewrite when there are new columns. */
  flush(): void {
    if (this.#pending.length === 0) return;
    const rows = this.#pending;
    const file = this.#file ?? this.#open();
    const known = new Set(this.#columns);
    const added = new Set(rows.flatMap((row) => Object.keys(row)).filter((key) => !known.has(key)));
    if (added.size > 0) this.#widen([...this.#columns, ...added].sort(), rows);
    else file.append(rows.map((row) => this.#line(row)).join(""));
    // Only now: rows whose write failed are tried again by the next flush.
    this.#pending = [];
  }

  close(): void {
    this.flush();
    const file = this.#file;
    this.#file = null;
    file?.close();
  }

  #open(): LogFile {
    const file = (this.#file = new LogFile("CSVLogger", this.#path, isTable));
    const found = readTable(this.#path);
    this.#columns = found.columns;
    if (found.bytes < found.size) file.cut(found.bytes);
    return file;
  }

  #widen(columns: string[], rows: readonly Metrics[]): void {
    const before = readTable(this.#path);
    const source = columns.map((name) => before.columns.indexOf(name));
    const old = before.rows.map((cells) => `${source.map((i) => (i < 0 ? "" : (cells[i] ?? ""))).join(",")}\n`);
    const text = `${columns.map(quote).join(",")}\n${old.join("")}${rows.map((row) => lineOf(columns, row)).join("")}`;
    writeText("CSVLogger", this.#path, text);
    this.#columns = columns;
    // The file of that name is another one now.
    const file = this.#file;
    this.#file = null;
    file?.abandon();
  }

  #line(row: Metrics): string {
    return lineOf(this.#columns, row);
  }
}

function lineOf(columns: readonly string[], row: Metrics): string {
  return `${columns.map((name) => formatNumber(row[name])).join(",")}\n`;
}

function formatNumber(value: number | undefined): string {
  if (value === undefined) return "";
  if (Number.isNaN(value)) return "nan";
  if (!Number.isFinite(value)) return value > 0 ? "inf" : "-inf";
  return Object.is(value, -0) ? "-0.0" : String(value);
}

function quote(cell: string): string {
  return /[",\r\n]/.test(cell) ? `"${cell.replaceAll('"', '""')}"` : cell;
}

interface Table {
  readonly columns: string[];
  readonly rows: string[][];
  /** Length of the complete lines. */
  readonly bytes: number;
  readonly size: number;
}

/** Whether a text is a table of this writer: a column "step", and numbers under every name. A last line may be torn. */
function isTable(content: string): boolean {
  const complete = content.slice(0, content.lastIndexOf("\n") + 1);
  const { columns, end } = readHeader(complete);
  const rows = complete.slice(end).split("\n").filter((line) => line !== "");
  return columns.includes("step") && new Set(columns).size === columns.length && rows.every((line) => isRow(line.replace(/\r$/, ""), columns.length));
}
function isRow(line: string, columns: number): boolean {
  const cells = line.split(",");
  return cells.length === columns && cells.every((cell) => /^(|nan|-?inf|-?\d+(\.\d+)?(e[+-]\d+)?)$/.test(cell));
}

/** Reads a table of this writer: only the header may hold quotes. */
function readTable(path: string): Table {
  const content = existsSync(path) ? withFile("CSVLogger", "read", path, () => readFileSync(path)) : Buffer.alloc(0);
  const bytes = content.lastIndexOf(0x0a) + 1;
  const text = content.toString("utf8", 0, bytes);
  const header = readHeader(text);
  const rows = text.slice(header.end).split("\n").filter((line) => line !== "").map((line) => line.replace(/\r$/, "").split(","));
  return { columns: header.columns, rows, bytes, size: content.length };
}

function readHeader(text: string): { columns: string[]; end: number } {
  const columns: string[] = [];
  let cell = "";
  let quoted = false;
  for (let i = 0; i < text.length; i++) {
    const c = text.charAt(i);
    if (quoted) {
      if (c !== '"') cell += c;
      else if (text.charAt(i + 1) === '"') cell += text.charAt(++i);
      else quoted = false;
    } else if (c === '"') quoted = true;
    else if (c === "," || c === "\n") {
      columns.push(cell);
      cell = "";
      if (c === "\n") return { columns, end: i + 1 };
    } else if (c !== "\r") cell += c;
  }
  return { columns: [], end: text.length };
}
