/** What `predictStep` returned, batch by batch, as columns with a row for each sample. */
import { isTensor, type Tensor } from "@nbit/torch";
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
export function columnsOf(predictions: readonly unknown[], toTensor: (value: unknown) => Tensor | null): Column[] {
  const columns = new Map<string, Tensor[]>();
  predictions.forEach((prediction, i) => {
    const named = [...leaves(prediction, "", toTensor)];
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
    for (const [name, tensor] of named) columns.set(name, [...(columns.get(name) ?? []), tensor]);
  });
  if (columns.size === 0)
    throw new CommandError(
      "ERR_PREDICTIONS",
      "nbit predict: expected predictStep to return tensors, or objects of them. Received: nothing to write.",
    );
  return [...columns].map(([name, pieces]) => ({ name, pieces }));
}

function* leaves(
  value: unknown,
  name: string,
  toTensor: (value: unknown) => Tensor | null,
): Generator<[string, Tensor]> {
  const tensor = isTensor(value) ? value : toTensor(value);
  if (tensor !== null) {
    yield [name === "" ? "prediction" : name, tensor.dim() === 0 ? tensor.reshape([1]) : tensor];
  } else if (Array.isArray(value)) {
    for (const [i, each] of value.entries()) yield* leaves(each, `${name === "" ? "prediction" : name}_${i}`, toTensor);
  } else if (isPlain(value)) {
    for (const [key, each] of Object.entries(value))
      yield* leaves(each, name === "" ? key : `${name}.${key}`, toTensor);
  } else if (value !== null && value !== undefined) {
    throw new CommandError(
      "ERR_PREDICTIONS",
      `nbit predict: expected predictStep to return tensors, or objects of them. Received: ${typeof value}${name === "" ? "" : ` as ${name}`}.`,
    );
  }
}

/** Cells of a table: a column of two dimensions becomes as many as it is wide. Rows of deeper ones are lists. */
export interface Cells {
  readonly name: string;
  readonly values: readonly unknown[];
}
export function cellsOf({ name, pieces }: Column): Cells[] {
  const rows = pieces.flatMap((piece) => piece.tolist() as unknown[]);
  const [first] = rows;
  if (!Array.isArray(first)) return [{ name, values: rows }];
  const width = Math.max(...rows.map((row) => (row as unknown[]).length));
  return Array.from({ length: width }, (_, i) => ({
    name: `${name}_${i}`,
    values: rows.map((row) => (row as unknown[])[i] ?? null),
  }));
}
