/**
 * From elements to text: widths, scientific notation, brackets and line breaks as PyTorch chooses them. Knows nothing
 * of tensors.
 */
import { fixed, scientific } from "./print-number.js";
import type { PrintOptions } from "./print-options.js";

/** Elements in row-major order. Complex elements are two consecutive numbers; booleans are 0 and 1. */
export interface Elements {
  readonly kind: "float" | "complex" | "integer" | "boolean";
  /** The sizes after summarizing, which is what `values` holds. */
  readonly shape: readonly number[];
  readonly values: ArrayLike<number | bigint>;
  /**
   * Which dimensions were longer and hold only their edges; null when nothing was left out because the tensor is small.
   */
  readonly cut: readonly boolean[] | null;
}

/** Writes one kind of element at one width. */
interface Column {
  readonly width: number;
  write(value: number | bigint): string;
}

function wholeColumn(values: Iterable<number | bigint>, boolean: boolean): Column {
  const text = boolean ? (v: number | bigint): string => (Number(v) === 0 ? "False" : "True") : String;
  let width = 1;
  for (const v of values) width = Math.max(width, text(v).length);
  return { width, write: (v) => text(v).padStart(width) };
}

function floatColumn(values: readonly number[], options: PrintOptions): Column {
  const shown = values.filter((v) => Number.isFinite(v) && v !== 0);
  let width = 1;
  let whole = true;
  let sci = false;
  if (shown.length > 0) {
    let smallest = Infinity;
    let largest = 0;
    for (const v of shown) {
      const size = Math.abs(v);
      if (size < smallest) smallest = size;
      if (size > largest) largest = size;
      if (!Number.isInteger(v)) whole = false;
    }
    sci = options.sciMode ?? (largest / smallest > 1000 || largest > 1e8 || smallest < 1e-4);
    for (const v of shown) {
      // One more for the point that whole floats end with.
      const length = sci
        ? scientific(v, options.precision).length
        : whole
          ? fixed(v, 0).length + 1
          : fixed(v, options.precision).length;
      if (length > width) width = length;
    }
  }
  const write = (v: number | bigint): string => {
    const value = Number(v);
    if (sci) return scientific(value, options.precision).padStart(width);
    if (whole) return (fixed(value, 0) + (Number.isFinite(value) ? "." : "")).padStart(width);
    return fixed(value, options.precision).padStart(width);
  };
  return { width, write };
}

/**
 * Real and imaginary parts have columns of their own; the imaginary one is left-trimmed so that its sign stands in the
 * middle.
 */
function complexText(re: Column, im: Column, real: number, imaginary: number): string {
  const tail = `${im.write(imaginary)}j`.trimStart();
  return re.write(real) + (tail.startsWith("+") || tail.startsWith("-") ? tail : `+${tail}`);
}

/** The nested brackets of all elements. `indent` is the column in which the text starts. */
export function layout(elements: Elements, indent: number, options: PrintOptions): string {
  const { kind, values, shape, cut } = elements;
  let write: (at: number) => string;
  let width: number;
  if (kind === "complex") {
    const n = values.length / 2;
    const re = floatColumn(
      Array.from({ length: n }, (_, i) => Number(values[2 * i])),
      options,
    );
    const im = floatColumn(
      Array.from({ length: n }, (_, i) => Number(values[2 * i + 1])),
      options,
    );
    write = (at) => complexText(re, im, Number(values[2 * at]), Number(values[2 * at + 1]));
    width = re.width + im.width + 1;
  } else {
    const column =
      kind === "float"
        ? floatColumn(Array.from(values, Number), options)
        : wholeColumn(Array.from(values), kind === "boolean");
    write = (at) => column.write(values[at] as number | bigint);
    width = column.width;
  }

  const edge = options.edgeitems;
  let at = 0;
  const row = (size: number, dim: number, column: number): string => {
    if (cut !== null && edge === 0) return "[...]";
    const items: string[] = [];
    for (let i = 0; i < size; i++) {
      if (cut?.[dim] === true && i === edge) items.push(" ...");
      items.push(write(at++));
    }
    const perLine = Math.max(1, Math.floor((options.linewidth - column) / (width + 2)));
    const lines: string[] = [];
    for (let i = 0; i < items.length; i += perLine) lines.push(items.slice(i, i + perLine).join(", "));
    return `[${lines.join(`,\n${" ".repeat(column + 1)}`)}]`;
  };
  const block = (dim: number, column: number): string => {
    const size = shape[dim] as number;
    const left = shape.length - dim;
    if (left === 1) return row(size, dim, column);
    const parts: string[] = [];
    for (let i = 0; i < size; i++) {
      if (cut?.[dim] === true && i === edge) parts.push("...");
      parts.push(block(dim + 1, column + 1));
    }
    if (cut?.[dim] === true && edge === 0) parts.push("...");
    return `[${parts.join(`,${"\n".repeat(left - 1)}${" ".repeat(column + 1)}`)}]`;
  };
  return shape.length === 0 ? write(0) : block(0, indent);
}

/**
 * Append `, dtype=…` and the like, each on a new line where it would pass the line's end (the first one always, if
 * `newline`), and close the bracket.
 */
export function withSuffixes(
  text: string,
  suffixes: readonly string[],
  indent: number,
  options: PrintOptions,
  newline = false,
): string {
  let result = text;
  let column = text.length - text.lastIndexOf("\n") + 1;
  let force = newline;
  for (const suffix of suffixes) {
    if (force || column + suffix.length + 2 > options.linewidth) {
      result += `,\n${" ".repeat(indent)}${suffix}`;
      column = indent + suffix.length;
      force = false;
    } else {
      result += `, ${suffix}`;
      column += suffix.length + 2;
    }
  }
  return `${result})`;
}

/** A shape as Python writes a tuple: `(2, 3)`, `(4,)`, `()`. */
export function tuple(shape: readonly number[]): string {
  return shape.length === 1 ? `(${shape[0]},)` : `(${shape.join(", ")})`;
}
