/** What may stand between the brackets of `t[…]`, checked and brought to one form. */
import { ArgumentError } from "../errors.js";
import { atMost } from "../options.js";
import { isTensor } from "./handle.js";
import type { Tensor } from "./tensor.js";
import { tensor, type TensorData } from "./values.js";
import { typedArrayName } from "../realm.js";

/**
 * A range of positions for `t.at(…)`: from `start` up to, not including, `stop`, in steps. Null: from the beginning, to
 * the end. Negative positions count from the end; positions beyond either end are cut off there. The text `"1:5:2"` is
 * short for `new Slice(1, 5, 2)`.
 * @example t.at(new Slice(from, from + 10), ":")
 */
export class Slice {
  readonly start: number | null;
  readonly stop: number | null;
  readonly step: number;
  /** @throws {ArgumentError} `Slice: expected step to be a whole number > 0. Received: 0.` */
  constructor(start: number | null, stop: number | null, step: number | null = 1) {
    atMost("Slice", arguments, 3);
    if (start !== null && !Number.isSafeInteger(start))
      throw new ArgumentError("Slice", "start to be a whole number or null", start);
    if (stop !== null && !Number.isSafeInteger(stop))
      throw new ArgumentError("Slice", "stop to be a whole number or null", stop);
    const by = step ?? 1;
    if (!Number.isSafeInteger(by) || by <= 0)
      throw new ArgumentError(
        "Slice",
        "step to be a whole number > 0",
        step,
        typeof by === "number" && by < 0 ? "Use flip to reverse a dimension." : "",
      );
    this.start = start;
    this.stop = stop;
    this.step = by;
    Object.freeze(this);
  }
  toString(): string {
    return `${this.start ?? ""}:${this.stop ?? ""}${this.step === 1 ? "" : `:${this.step}`}`;
  }
}

/** Stands for all dimensions that no other index names. The text `"..."` does the same. */
export const ellipsis = "...";

/** Whole numbers or booleans, nested as deep as the index tensor shall be. */
export type IndexList = readonly (number | boolean | IndexList)[];
/** One index. Text is a range such as `"1:5"`, or `"..."`. */
export type Index =
  number | string | null | boolean | Slice | Tensor | IndexList | BigInt64Array | Int32Array | Uint8Array;

export type Parsed =
  | { readonly kind: "number"; readonly at: number }
  | { readonly kind: "slice"; readonly start: number | null; readonly stop: number | null; readonly step: number }
  | { readonly kind: "none" }
  | { readonly kind: "ellipsis" }
  | { readonly kind: "boolean"; readonly value: boolean }
  | { readonly kind: "tensor"; readonly tensor: Tensor; readonly made: boolean };

const RANGE = /^\s*(-?\d+)?\s*:\s*(-?\d+)?\s*(?::\s*(-?\d+)?\s*)?$/;
const NONE: Parsed = { kind: "none" };
const ELLIPSIS: Parsed = { kind: "ellipsis" };
const ALL: Parsed = { kind: "slice", start: null, stop: null, step: 1 };

/** How many dimensions of the tensor an index stands for. */
export function consumed(p: Parsed): number {
  if (p.kind === "number" || p.kind === "slice") return 1;
  if (p.kind !== "tensor") return 0;
  return isMask(p.tensor) ? p.tensor.ndim : 1;
}

/** bool, and uint8 as PyTorch still reads it. */
export function isMask(t: Tensor): boolean {
  const dtype = t.dtype;
  return dtype === "bool" || dtype === "uint8";
}

function isIndexArray(value: object): value is BigInt64Array | Int32Array | Uint8Array {
  const name = typedArrayName(value);
  return name === "BigInt64Array" || name === "Int32Array" || name === "Uint8Array";
}

export function parseIndex(fn: string, ix: Index, position: number): Parsed {
  switch (typeof ix) {
    case "number":
      if (!Number.isSafeInteger(ix)) throw new ArgumentError(fn, `index ${position} to be a whole number`, ix);
      return { kind: "number", at: ix };
    case "string":
      return parseText(fn, ix, position);
    case "boolean":
      return { kind: "boolean", value: ix };
    case "object":
      if (ix === null) return NONE;
      if (ix instanceof Slice) return { kind: "slice", start: ix.start, stop: ix.stop, step: ix.step };
      if (isTensor(ix)) return parseTensor(fn, ix, position, false);
      if (Array.isArray(ix)) return { kind: "tensor", tensor: fromList(fn, ix as IndexList, position), made: true };
      if (isIndexArray(ix)) return { kind: "tensor", tensor: tensor(ix), made: true };
      break;
    default:
  }
  throw new ArgumentError(
    fn,
    `index ${position} to be a whole number, a range such as "1:5", a slice, null, "...", a boolean, an index tensor or an array`,
    ix,
  );
}

function parseText(fn: string, text: string, position: number): Parsed {
  if (text === ":") return ALL;
  if (text === ellipsis) return ELLIPSIS;
  const match = RANGE.exec(text);
  if (match === null)
    throw new ArgumentError(
      fn,
      `index ${position} to be a range such as "1:5", ":", "::2", or "..."`,
      text,
      /^\s*-?\d+\s*$/.test(text) ? "A single position is a number, not text." : "",
    );
  const at = (group: string | undefined): number | null => (group === undefined ? null : Number(group));
  const step = at(match[3]) ?? 1;
  if (step <= 0)
    throw new ArgumentError(
      fn,
      `the step of ${JSON.stringify(text)} to be > 0`,
      step,
      step < 0 ? "Use flip to reverse a dimension." : "",
    );
  return { kind: "slice", start: at(match[1]), stop: at(match[2]), step };
}

function parseTensor(fn: string, ix: Tensor, position: number, made: boolean): Parsed {
  const dtype = ix.dtype;
  const scalar = ix.ndim === 0 && (dtype === "int8" || dtype === "int16");
  if (dtype !== "int64" && dtype !== "int32" && dtype !== "bool" && dtype !== "uint8" && !scalar)
    throw new ArgumentError(
      fn,
      `index ${position} to be an index tensor of dtype int64, int32 or bool`,
      ix,
      "Convert it with .long() or .bool().",
    );
  return { kind: "tensor", tensor: ix, made };
}

/** Arrays of whole numbers become int64, arrays of booleans bool; an empty array is an empty list of positions. */
function fromList(fn: string, list: IndexList, position: number): Tensor {
  let kind: "number" | "boolean" | null = null;
  const walk = (e: unknown, depth: number): void => {
    if (Array.isArray(e) && depth < 64) {
      for (const inner of e) walk(inner, depth + 1);
      return;
    }
    const type = typeof e;
    if (
      (type !== "number" && type !== "boolean") ||
      (type === "number" && !Number.isSafeInteger(e)) ||
      (kind !== null && kind !== type)
    )
      throw new ArgumentError(fn, `index ${position} to hold whole numbers only, or booleans only`, e);
    kind = type === "number" ? "number" : "boolean";
  };
  walk(list, 0);
  return tensor(list as TensorData, { dtype: kind === "boolean" ? "bool" : "int64" });
}
