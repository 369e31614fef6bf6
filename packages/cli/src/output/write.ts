/** Predictions into a file: CSV, JSON lines, safetensors or Parquet, by its ending. */
import { mkdirSync } from "node:fs";
import { dirname, resolve } from "node:path";
import { cat, saveSafetensors, writeAtomically } from "@nbit/torch";
import { writeAll, writeText } from "@nbit/torch/files";
import { columnsOf, type Column } from "./columns.js";
import { checkOutput, type Format } from "./formats.js";
import { parquetBytes } from "./parquet.js";
import { CSV, JSON_LINES, type TextRows } from "./text-rows.js";

type Writer = (path: string, columns: readonly Column[]) => void | Promise<void>;

const asText =
  (rows: TextRows): Writer =>
  (path, columns) => {
    writeText("nbit predict", path, rows.header(columns) + rows.lines(columns));
  };

const WRITERS: Readonly<Record<Format, Writer>> = {
  ".csv": asText(CSV),
  ".jsonl": asText(JSON_LINES),
  ".safetensors": (path, columns) => {
    const whole = columns.map(({ name, pieces }) => [name, cat([...pieces], { dim: 0 }).contiguous()] as const);
    saveSafetensors(path, Object.fromEntries(whole));
  },
  ".parquet": async (path, columns) => {
    const bytes = await parquetBytes(columns);
    writeAtomically(path, (fd) => void writeAll(fd, bytes), { fn: "nbit predict" });
  },
};

/**
 * @param predictions - Per batch; of several loaders per loader and batch.
 * @returns the files: one, or one for each loader, with its number.
 */
export async function writePredictions(
  path: string,
  predictions: readonly unknown[],
  loaders: number,
): Promise<string[]> {
  const groups = loaders > 1 ? (predictions as readonly (readonly unknown[])[]) : [predictions];
  const format = checkOutput(path);
  mkdirSync(dirname(resolve(path)), { recursive: true });
  const written: string[] = [];
  for (const [i, group] of groups.entries()) {
    const file = fileOf(path, i, loaders);
    await WRITERS[format](file, columnsOf(group));
    written.push(file);
  }
  return written;
}

/** Of several loaders each has a file with its number. */
export function fileOf(path: string, loader: number, loaders: number): string {
  if (loaders <= 1) return path;
  const end = checkOutput(path);
  return `${path.slice(0, -end.length)}-${loader}${end}`;
}
