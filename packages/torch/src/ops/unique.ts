/** The different elements of a tensor. */
import { ArgumentError } from "../errors.js";
import { atMost } from "../options.js";
import { isPlain } from "../realm.js";
import { isTensor } from "../tensor/handle.js";
import { uniqueConsecutiveOf, uniqueOf, type UniqueOptions } from "../tensor/members.js";
import type { Call } from "../signature.js";
import type { Tensor } from "../tensor/tensor.js";

export interface UniqueArguments extends UniqueOptions {
  readonly input: Tensor;
}
export type UniqueConsecutiveArguments = Omit<UniqueArguments, "sorted">;
/** What was asked for: the elements, where each of the input is among them, and how often. */
export type Unique<A> = A extends { readonly returnInverse: true }
  ? A extends { readonly returnCounts: true }
    ? [Tensor, Tensor, Tensor]
    : [Tensor, Tensor]
  : A extends { readonly returnCounts: true }
    ? [Tensor, Tensor]
    : Tensor;

/** The tensor, by position or by name, and what else was given. */
function inputOf(
  fn: string,
  most: number,
  given: readonly unknown[],
): { readonly input: Tensor; readonly rest: readonly unknown[] } {
  atMost(fn, given, most + 1);
  const [first, ...rest] = given;
  if (isPlain(first) && rest.length === 0) {
    const { input, ...named } = first as { readonly input?: unknown };
    if (isTensor(input)) return { input, rest: [named] };
  }
  if (isTensor(first)) return { input: first, rest };
  throw new ArgumentError(fn, "input to be a tensor", first);
}

/**
 * The different elements of a tensor, or slices along `dim`. Waits for the device, which alone knows how many there are.
 * @returns A tensor; with `returnInverse` or `returnCounts` an array of two or three.
 * @example unique(tensor([3, 1, 3]), { returnCounts: true }); // [tensor([1, 3]), tensor([1, 2])]
 */
export function unique<const A extends UniqueOptions>(input: Tensor, options: A): Unique<A>;
export function unique(input: Tensor, sorted?: boolean): Tensor;
export function unique(
  ...given: Call<
    UniqueArguments,
    ["input", "sorted", "returnInverse", "returnCounts", "dim"],
    [input: Tensor, sorted?: boolean, returnInverse?: boolean, returnCounts?: boolean, dim?: number | null]
  >
): Tensor | Tensor[];
export function unique(...given: readonly unknown[]): Tensor | Tensor[] {
  const { input, rest } = inputOf("unique", 5, given);
  return uniqueOf(input, rest);
}

/** The same of neighbours only: each run of equal elements becomes one. */
export function uniqueConsecutive<const A extends Omit<UniqueOptions, "sorted">>(input: Tensor, options: A): Unique<A>;
export function uniqueConsecutive(input: Tensor): Tensor;
export function uniqueConsecutive(
  ...given: Call<
    UniqueConsecutiveArguments,
    ["input", "returnInverse", "returnCounts", "dim"],
    [input: Tensor, returnInverse?: boolean, returnCounts?: boolean, dim?: number | null]
  >
): Tensor | Tensor[];
export function uniqueConsecutive(...given: readonly unknown[]): Tensor | Tensor[] {
  const { input, rest } = inputOf("uniqueConsecutive", 4, given);
  return uniqueConsecutiveOf(input, rest);
}
