/** Predictions into a file: CSV, JSON lines, safetensors or Parquet, by its ending. */
import { mkdirSync, writeFileSync } from "node:fs";
import { dirname, resolve } from "node:path";
import { cat, isTensor, saveSafetensors, tensor, type Tensor } from "@nbit/torch";
import { writeText } from "@nbit/torch/files";
import { cellsOf, columnsOf, type Cells, type Column } from "./columns.js";
import { checkOutput, type Format } from "./formats.js";

type Writer = (path: string, columns: readonly Column[]) => void | Promise<void>;

const WRITERS: Readonly<Record<Format, Writer>> = {
  ".csv": (path, columns) => {
    const cells = columns.flatMap(cellsOf);
    const lines = [cells.map(({ name }) => csvCell(name)), ...rowsOf(cells).map((row) => row.map(csvCell))];
    writeText("nbit predict", path, `${lines.map((line) => line.join(",")).join("\n")}\n`);
  },
  ".jsonl": (path, columns) => {
    const whole = columns.map(({ name, pieces }) => ({
      name,
      values: pieces.flatMap((piece) => piece.tolist() as unknown[]),
    }));
    const lines = rowsOf(whole).map((row) =>
      JSON.stringify(Object.fromEntries(whole.map(({ name }, i) => [name, forJson(row[i])]))),
    );
    writeText("nbit predict", path, lines.map((line) => `${line}\n`).join(""));
  },
  ".safetensors": (path, columns) => {
    saveSafetensors(
      path,
      Object.fromEntries(columns.map(({ name, pieces }) => [name, cat([...pieces], { dim: 0 }).contiguous()])),
    );
  },
  ".parquet": async (path, columns) => {
    const { parquetWriteBuffer } = await import("hyparquet-writer");
    const columnData = columns
      .flatMap(cellsOf)
      .map(({ name, values }) => ({
        name,
        data: values.map((value) => (Array.isArray(value) ? JSON.stringify(value) : value)),
        ...typeOf(values),
      }));
    writeFileSync(path, new Uint8Array(parquetWriteBuffer({ columnData })));
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
  const end = checkOutput(path);
  mkdirSync(dirname(resolve(path)), { recursive: true });
  const written: string[] = [];
  for (const [i, group] of groups.entries()) {
    const file = loaders > 1 ? `${path.slice(0, -end.length)}-${i}${end}` : path;
    await WRITERS[end](file, columnsOf(group, asTensor));
    written.push(file);
  }
  return written;
}

function asTensor(value: unknown): Tensor | null {
  if (isTensor(value)) return value;
  if (typeof value === "number" || typeof value === "boolean") return tensor([value]);
  return Array.isArray(value) && value.length > 0 && value.every((v) => typeof v === "number")
    ? tensor(value as number[])
    : null;
}

function rowsOf(cells: readonly Cells[]): unknown[][] {
  const rows = Math.max(0, ...cells.map(({ values }) => values.length));
  return Array.from({ length: rows }, (_, i) => cells.map(({ values }) => values[i]));
}

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

/** Of a Parquet column: its values say, where they are of one kind. */
function typeOf(values: readonly unknown[]): { readonly type?: "DOUBLE" | "INT64" | "BOOLEAN" | "STRING" } {
  const kinds = new Set(
    values.filter((value) => value !== null).map((value) => (Array.isArray(value) ? "string" : typeof value)),
  );
  if (kinds.size !== 1) return {};
  if (kinds.has("bigint")) return { type: "INT64" };
  if (kinds.has("boolean")) return { type: "BOOLEAN" };
  return kinds.has("number") ? { type: "DOUBLE" } : { type: "STRING" };
}
