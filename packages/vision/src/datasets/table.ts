/** Tables of rows and columns, from CSV and Parquet files. */
import { readFileSync } from "node:fs";
import { atMost, ArgumentError, Dataset, kinds, signature, type Call, type OptionNames } from "@nbit/torch";
import { optional, VisionError } from "../errors.js";
import { apply, type Step } from "../transforms/transform.js";
import { transform } from "./vision.js";

type Column = readonly unknown[] | Float64Array;

export interface TableArguments {
  /** Values by the name of their column; all of one length. */
  readonly columns: Readonly<Record<string, Column>>;
  /** Of each row, an object of values by column. */
  readonly transform?: Step | null;
}
const readTable = signature("Table", {
  columns: kinds.such<TableArguments["columns"]>(
    "an object of lists, all of one length",
    (v) =>
      kinds.isPlain(v) &&
      Object.values(v).every((c) => Array.isArray(c) || c instanceof Float64Array) &&
      new Set(Object.values(v).map((c) => (c as Column).length)).size <= 1,
  ),
  transform,
} satisfies OptionNames<TableArguments>);

/** Rows of a table: element i is an object of values by column, or what `transform` makes of it. */
export class Table extends Dataset<unknown> {
  readonly columns: Readonly<Record<string, Column>>;
  readonly transform: Step | null;
  constructor(
    ...given: Call<
      TableArguments,
      ["columns", "transform"],
      [columns: TableArguments["columns"], transform?: Step | null]
    >
  ) {
    super();
    const a = readTable(given, new.target.name);
    this.columns = a.columns;
    this.transform = a.transform;
  }
  get length(): number {
    return Object.values(this.columns)[0]?.length ?? 0;
  }
  get(index: number): unknown {
    atMost(`${this.constructor.name}.get`, arguments, 1);
    if (!Number.isInteger(index) || index < 0 || index >= this.length)
      throw new ArgumentError("Table.get", `index to be from 0 to ${this.length - 1}`, index);
    const row = Object.fromEntries(Object.entries(this.columns).map(([name, values]) => [name, values[index]]));
    return this.transform === null ? row : apply(this.transform, row);
  }
}

interface FileArguments {
  readonly path: string;
  /** Which columns. Default: all. */
  readonly columns?: readonly string[] | null;
  readonly transform?: Step | null;
}
const FILE = {
  path: kinds.filled,
  columns: kinds.byDefault(null, kinds.orNull(kinds.listOf(kinds.text))),
  transform,
} as const;
export interface CsvArguments extends FileArguments {
  /** Default ",". */
  readonly delimiter?: string;
  /** Whether the first line names the columns; else they are "0", "1", …. Default true. */
  readonly header?: boolean;
}
export type ParquetArguments = FileArguments;
const readCsvArguments = signature(
  "readCsv",
  {
    ...FILE,
    delimiter: kinds.byDefault(",", kinds.filled),
    header: kinds.byDefault(true, kinds.flag),
  } satisfies OptionNames<CsvArguments>,
  1,
);
const readParquetArguments = signature("readParquet", FILE satisfies OptionNames<ParquetArguments>, 1);

function chosen(
  fn: string,
  path: string,
  wanted: readonly string[] | null,
  names: readonly string[],
): readonly string[] {
  const bad = wanted?.find((name) => !names.includes(name));
  if (bad !== undefined) throw new ArgumentError(fn, `columns among ${names.join(", ")}, those of ${path}`, bad);
  return wanted ?? names;
}

/**
 * A CSV file as a table, by the package csv-parse. A column in which every value is a number is one of numbers; all
 * others are of strings.
 *
 * @throws {VisionError} `VISION_NO_PACKAGE`, `VISION_NOT_FOUND`, or `VISION_DATA` where lines differ in length.
 * @example const table = await readCsv("iris.csv", { columns: ["width", "length", "species"] });
 */
export async function readCsv(...given: Call<CsvArguments, ["path"], [path: string]>): Promise<Table> {
  const a = readCsvArguments(given);
  const { parse } = await optional("csv-parse", () => import("csv-parse/sync"), "Reading CSV files");
  let rows: string[][];
  try {
    const text = readFileSync(a.path);
    rows = parse(text, { delimiter: a.delimiter, bom: true, skip_empty_lines: true });
  } catch (error) {
    const missing = error instanceof Error && Reflect.get(error, "code") === "ENOENT";
    throw new VisionError(`${a.path}: ${String(error)}`, missing ? "VISION_NOT_FOUND" : "VISION_DATA", {
      cause: error,
    });
  }
  const names = a.header ? (rows.shift() ?? []) : (rows[0] ?? []).map((_, i) => String(i));
  const columns = chosen("readCsv", a.path, a.columns, names).map((name) => {
    const at = names.indexOf(name);
    const values = rows.map((row) => row[at] ?? "");
    const numeric = values.every((v) => v.trim() !== "" && Number.isFinite(Number(v)));
    return [name, numeric && values.length > 0 ? Float64Array.from(values, Number) : values] as const;
  });
  return new Table(Object.fromEntries(columns), a.transform);
}

/**
 * A Parquet file as a table, by the package hyparquet. Values are of the file's types; 64-bit integers are bigints.
 * @throws {VisionError} `VISION_NO_PACKAGE`, `VISION_NOT_FOUND` or `VISION_DATA`.
 */
export async function readParquet(...given: Call<ParquetArguments, ["path"], [path: string]>): Promise<Table> {
  const a = readParquetArguments(given);
  const { parquetReadObjects, parquetMetadataAsync, parquetSchema } = await optional(
    "hyparquet",
    () => import("hyparquet"),
    "Reading Parquet files",
  );
  let bytes: Buffer;
  try {
    bytes = readFileSync(a.path);
  } catch (error) {
    throw new VisionError(`${a.path}: ${String(error)}`, "VISION_NOT_FOUND", { cause: error });
  }
  const file = bytes.buffer.slice(bytes.byteOffset, bytes.byteOffset + bytes.length) as ArrayBuffer;
  try {
    const metadata = await parquetMetadataAsync(file);
    const all = parquetSchema(metadata).children.map((child) => child.element.name);
    const names = chosen("readParquet", a.path, a.columns, all);
    const rows = await parquetReadObjects({ file, metadata, columns: [...names] });
    return new Table(
      Object.fromEntries(names.map((name) => [name, rows.map((row) => row[name] as unknown)])),
      a.transform,
    );
  } catch (error) {
    if (error instanceof ArgumentError) throw error;
    throw new VisionError(`${a.path}: ${String(error)}`, "VISION_DATA", { cause: error });
  }
}
