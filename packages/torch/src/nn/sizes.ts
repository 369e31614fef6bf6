/** Sizes of windows, strides and paddings: one number for every spatial dimension, or one each. */
import { ArgumentError } from "../errors.js";
import { either, listOf, orNull, real, whole } from "../kinds.js";
import { checkArguments } from "../options.js";
import { positive } from "./kernels.js";

export type Size = number | readonly number[];
/** As large as the input where null, in one dimension or all. */
export type OutputSize = number | readonly (number | null)[] | null;

const amount = whole("[0, ∞)");
export const SIZE = either(amount, listOf(amount));
/** At least 1: of a stride, a window, a dilation. */
export const STEP = either(positive, listOf(positive));
export const OUTPUT_SIZE = either(orNull(amount), listOf(orNull(amount)));
const factor = real("(0, ∞)");
/** Of what is scaled. */
export const FACTOR = either(factor, listOf(factor));

/** @internal One number for every spatial dimension. */
export function expand(fn: string, name: string, size: Size, n: number): number[] {
  checkArguments(fn, { [name]: size }, { [name]: SIZE });
  return repeated(fn, name, size, n);
}

/** @internal The same of what has been checked: sizes, factors. */
export function repeated<T>(fn: string, name: string, size: T | readonly T[], n: number): T[] {
  const list = Array.isArray(size) ? [...(size as readonly T[])] : new Array<T>(n).fill(size as T);
  if (list.length !== n)
    throw new ArgumentError(
      fn,
      `${name} to be a number${n === 1 ? "" : " for every dimension,"} or ${n} of them`,
      size,
    );
  return list;
}

/** @internal Sizes of an output, where null is the input's own; `sizes` are the input's, whose last ones count. */
export function outputSizes(fn: string, size: OutputSize, sizes: readonly number[], n: number): number[] {
  if (sizes.length < n) throw new ArgumentError(fn, `an input of ${n} dimensions or more`, sizes);
  return repeated(fn, "outputSize", size, n).map((each, i) => each ?? (sizes[sizes.length - n + i] as number));
}

/** @internal How many spatial dimensions a class's layers have: a getter of its prototype, which is there before them. */
export function rankOf<N extends number>(type: { readonly prototype: { readonly rank: N } }): N {
  return type.prototype.rank;
}
