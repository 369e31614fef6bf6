/** What `predictStep` returned, batch by batch, as columns with a row for each sample. */
import { isTensor, tensor, type Tensor } from "@nbit/torch";
import { isPlain } from "@nbit/torch/realm";
import { CommandError } from "../errors.js";

export interface Column {
  readonly name: string;
  /** Pieces along the first dimension, in order. */
  readonly pieces: readonly Tensor[];
}

/**
 * Tensors by name: a tensor alone is `prediction`, those of a list `prediction_0`, `prediction_1`, … and those of an
 * object have their keys. Every one has a row for each sample of its batch, first of its dimensions; one without
 * dimensions is a row of its own. Numbers and lists of numbers count as tensors would.
 *
 * @throws {CommandError} `ERR_PREDICTIONS`: there is nothing to write, or batches differ in what they hold.
 */
export function columnsOf(predictions: readonly unknown[]): Column[] {
  const columns = new Map<string, Tensor[]>();
  predictions.forEach((prediction, i) => {
    const named = [...leaves(prediction, "")];
    if (i > 0 && (named.length !== columns.size || named.some(([name]) => !columns.has(name))))
      throw new CommandError(
        "ERR_PREDICTIONS",
        `nbit predict: expected every batch to predict ${[...columns.keys()].join(", ")}. Received: ${named.map(([name]) => name).join(", ")} in batch ${i}.`,
      );
    const rows = new Set(named.map(([, tensor]) => tensor.shape[0]));
    if (rows.size > 1)
      throw new CommandError(
        "ERR_PREDICTIONS",
        `nbit predict: expected as many rows in ${named.map(([name]) => name).join(", ")}. Received: ${[...rows].join(" and ")} in batch ${i}.`,
      );
    for (const [name, tensor] of named) {
      const pieces = columns.get(name);
      if (pieces === undefined) columns.set(name, [tensor]);
      else pieces.push(tensor);
    }
  });
  if (columns.size === 0)
    throw new CommandError(
      "ERR_PREDICTIONS",
      "nbit predict: expected predictStep to return tensors, or objects of them. Received: nothing to write.",
    );
  return [...columns].map(([name, pieces]) => ({ name, pieces }));
}

function* leaves(value: unknown, name: string): Generator<[string, Tensor]> {
  const found = asTensor(value);
  if (found !== null) {
    yield [name === "" ? "prediction" : name, found.dim() === 0 ? found.reshape([1]) : found];
  } else if (Array.isArray(value)) {
    for (const [i, each] of value.entries()) yield* leaves(each, `${name === "" ? "prediction" : name}_${i}`);
  } else if (isPlain(value)) {
    for (const [key, each] of Object.entries(value)) yield* leaves(each, name === "" ? key : `${name}.${key}`);
  } else if (value !== null && value !== undefined) {
    throw new CommandError(
      "ERR_PREDICTIONS",
      `nbit predict: expected predictStep to return tensors, or objects of them. Received: ${typeof value}${name === "" ? "" : ` as ${name}`}.`,
    );
  }
}

function asTensor(value: unknown): Tensor | null {
  if (isTensor(value)) return value;
  if (typeof value === "number" || typeof value === "boolean") return tensor([value]);
  return Array.isArray(value) && value.length > 0 && value.every((v) => typeof v === "number")
    ? tensor(value as number[])
    : null;
}

/** A column as it is: values, or lists of them. */
export function rowsOf({ name, pieces }: Column): Cells {
  return { name, dtype: pieces[0]?.dtype ?? "float32", values: pieces.flatMap((piece) => piece.tolist() as unknown[]) };
}

/** Cells of a table: a column of two dimensions becomes as many as it is wide. Rows of deeper ones are lists. */
export interface Cells {
  readonly name: string;
  readonly dtype: Tensor["dtype"];
  readonly values: readonly unknown[];
}
export function cellsOf(column: Column): Cells[] {
  const whole = rowsOf(column);
  const { name, dtype, values: rows } = whole;
  const [first] = rows;
  if (!Array.isArray(first)) return [whole];
  const width = rows.reduce<number>((widest, row) => Math.max(widest, (row as unknown[]).length), 0);
  return Array.from({ length: width }, (_, i) => ({
    name: `${name}_${i}`,
    dtype,
    values: rows.map((row) => (row as unknown[])[i] ?? null),
  }));
}
