import { Buffer } from "node:buffer";
import { existsSync, readFileSync } from "node:fs";
import { plainText, withFile, writeText } from "@nbit/torch";
import { warn } from "../warnings.js";
import { LogFile } from "./log-file.js";
import type { Metrics } from "./logger.js";
import { beginsAt, LogDigest } from "./position.js";
import type { LogPosition } from "./position.js";

/**
 * A metrics table on disk whose columns grow.
 *
 * Rows are appended. When a new name appears, the file is written anew with the wider header beside the old one and
 * moved over it, so a reader, or a crash at any moment, finds a complete table with every row flushed so far. Columns
 * are sorted by name, as Lightning's are. A file that is there already is continued; a last line torn by a crash is cut
 * off.
 *
 * Numbers are the shortest decimal forms that read back as the same double; `nan`, `inf` and `-inf` as Python reads
 * them.
 */
export class CsvFile {
  /** No row was there before this run, or those that it goes on from. */
  fresh = true;
  readonly #path: string;
  readonly #from: CsvPosition | null;
  #digest = new LogDigest();
  #columns: string[] = [];
  #file: LogFile | null = null;
  #pending: Metrics[] = [];
  #unsynced = false;
  #begun = false;

  /** @param from - Go on from there: rows that came later are dropped, if this is the table that it knows. */
  constructor(path: string, from: CsvPosition | null = null) {
    this.#path = path;
    this.#from = from;
    if (from !== null) this.#open();
  }

  /** Rows that wait for `flush`. */
  get pending(): number {
    return this.#pending.length;
  }

  add(row: Metrics): void {
    this.#pending.push(row);
  }

  /** Make every row durable, and say where that is. */
  position(): CsvPosition {
    this.flush();
    if (this.#unsynced) (this.#file ?? this.#open()).sync();
    this.#unsynced = false;
    return { ...this.#digest.position, fresh: this.fresh };
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
    this.#unsynced = true;
    for (const row of rows)
      this.#digest.add(canonical(Object.entries(row).map(([name, value]) => [name, formatNumber(value)])));
  }

  close(): void {
    this.flush();
    const file = this.#file;
    this.#file = null;
    file?.close();
  }

  #open(): LogFile {
    if (!this.#begun) this.#begin();
    this.#begun = true;
    return (this.#file ??= new LogFile("CSVLogger", this.#path, isTable));
  }

  /** Take up what is there, and cut it back to where this table goes on. */
  #begin(): void {
    const file = new LogFile("CSVLogger", this.#path, isTable);
    try {
      const found = readTable(this.#path);
      const kept = this.#takeUp(found);
      if (kept < found.rows.length) this.#rewrite(found, found.rows.slice(0, kept), []);
      // A last line that a crash has torn.
      else if (found.bytes < found.size) file.cut(found.bytes);
    } finally {
      file.abandon();
    }
  }

  /** How many of the rows that are there this table goes on after. */
  #takeUp(found: Table): number {
    this.#digest = new LogDigest();
    const from = this.#from;
    const lines = found.rows.map((cells) => canonical(found.columns.map((name, i) => [name, cells[i] ?? ""])));
    const known = from !== null && (from.lines > 0 || from.fresh) && beginsAt(from, lines);
    const kept = known ? from.lines : lines.length;
    this.fresh = known ? from.fresh : lines.length === 0;
    if (from !== null && !known && lines.length > 0)
      warn(
        "WARN_LOG_POSITION",
        plainText(
          `CSVLogger: ${this.#path} has other rows than the checkpoint knows of: none was removed, and some may come twice.`,
        ),
      );
    for (const line of lines.slice(0, kept)) this.#digest.add(line);
    const rows = found.rows.slice(0, kept);
    this.#columns =
      kept < lines.length
        ? found.columns.filter((_, i) => rows.some((cells) => (cells[i] ?? "") !== ""))
        : found.columns;
    return kept;
  }

  #widen(columns: string[], rows: readonly Metrics[]): void {
    const before = readTable(this.#path);
    const wider = this.#columns;
    this.#columns = columns;
    try {
      this.#rewrite(before, before.rows, rows);
    } catch (error) {
      this.#columns = wider;
      throw error;
    }
  }

  /** The file anew: rows of the old one, then others, under the present columns. */
  #rewrite(before: Table, kept: readonly string[][], rows: readonly Metrics[]): void {
    const source = this.#columns.map((name) => before.columns.indexOf(name));
    const old = kept.map((cells) => `${source.map((i) => (i < 0 ? "" : (cells[i] ?? ""))).join(",")}\n`);
    const header = this.#columns.length === 0 ? "" : `${this.#columns.map(quote).join(",")}\n`;
    writeText("CSVLogger", this.#path, header + old.join("") + rows.map((row) => this.#line(row)).join(""));
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

/** Where a table stood when a checkpoint was written. */
export interface CsvPosition extends LogPosition {
  readonly fresh: boolean;
}

/** What a row says, in whichever columns. */
function canonical(cells: readonly (readonly [name: string, text: string])[]): string {
  const filled = cells.filter(([, text]) => text !== "").sort(([a], [b]) => (a < b ? -1 : 1));
  return JSON.stringify(filled);
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
  const rows = complete
    .slice(end)
    .split("\n")
    .filter((line) => line !== "");
  return (
    columns.includes("step") &&
    new Set(columns).size === columns.length &&
    rows.every((line) => isRow(line.replace(/\r$/, ""), columns.length))
  );
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
  const rows = text
    .slice(header.end)
    .split("\n")
    .filter((line) => line !== "")
    .map((line) => line.replace(/\r$/, "").split(","));
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
