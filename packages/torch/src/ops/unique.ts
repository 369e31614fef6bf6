/** The different elements of a tensor. */
import * as generated from "../generated/functions.js";
import { byDefault, flag, orNull, whole } from "../kinds.js";
import { signature, type Call } from "../signature.js";
import { tensorKind } from "../tensor/kinds.js";
import type { Tensor } from "../tensor/tensor.js";
import { aten } from "./aten.js";

export interface UniqueArguments {
  readonly input: Tensor;
  /** In ascending order; false may be faster. Default true. */
  readonly sorted?: boolean;
  /** Also where each element of the input is among them. Default false. */
  readonly returnInverse?: boolean;
  /** Also how often each of them is there. Default false. */
  readonly returnCounts?: boolean;
  /** Compare slices along a dimension, not elements. Default null. */
  readonly dim?: number | null;
}
export type UniqueConsecutiveArguments = Omit<UniqueArguments, "sorted">;
const FLAG = byDefault(false, flag);
const DIM = byDefault(null, orNull(whole()));
const readUnique = signature("unique", {
  input: tensorKind,
  sorted: byDefault(true, flag),
  returnInverse: FLAG,
  returnCounts: FLAG,
  dim: DIM,
});
const readConsecutive = signature("uniqueConsecutive", {
  input: tensorKind,
  returnInverse: FLAG,
  returnCounts: FLAG,
  dim: DIM,
});
/** What was asked for: the elements, where each of the input is among them, and how often. */
export type Unique<A> = A extends { readonly returnInverse: true }
  ? A extends { readonly returnCounts: true }
    ? [Tensor, Tensor, Tensor]
    : [Tensor, Tensor]
  : A extends { readonly returnCounts: true }
    ? [Tensor, Tensor]
    : Tensor;

interface Asked {
  readonly returnInverse: boolean;
  readonly returnCounts: boolean;
}
function answer([values, inverse, counts]: readonly Tensor[], asked: Asked): Tensor | Tensor[] {
  const list = [values as Tensor];
  if (asked.returnInverse) list.push(inverse as Tensor);
  else inverse?.dispose();
  if (asked.returnCounts) list.push(counts as Tensor);
  else counts?.dispose();
  return list.length === 1 ? (list[0] as Tensor) : list;
}

/**
 * The different elements of a tensor, or slices along `dim`. Waits for the device, which alone knows how many there are.
 * @returns A tensor; with `returnInverse` or `returnCounts` an array of two or three.
 * @example unique(tensor([3, 1, 3]), { returnCounts: true }); // [tensor([1, 3]), tensor([1, 2])]
 */
export function unique<const A extends Omit<UniqueArguments, "input">>(input: Tensor, options: A): Unique<A>;
export function unique(input: Tensor, sorted?: boolean): Tensor;
export function unique(
  ...given: Call<
    UniqueArguments,
    ["input", "sorted", "returnInverse", "returnCounts", "dim"],
    [input: Tensor, sorted?: boolean, returnInverse?: boolean, returnCounts?: boolean, dim?: number | null]
  >
): Tensor | Tensor[];
export function unique(...given: readonly unknown[]): Tensor | Tensor[] {
  const a = readUnique(given);
  if (a.dim !== null) return answer(generated.uniqueDim(a.input, a.dim, a.sorted, a.returnInverse, a.returnCounts), a);
  const operator = aten["_unique2"];
  if (operator === undefined) throw new TypeError("this libtorch has no _unique2");
  return answer(operator(a.input, a.sorted, a.returnInverse, a.returnCounts), a);
}

/** The same of neighbours only: each run of equal elements becomes one. */
export function uniqueConsecutive<const A extends Omit<UniqueConsecutiveArguments, "input">>(
  input: Tensor,
  options: A,
): Unique<A>;
export function uniqueConsecutive(input: Tensor): Tensor;
export function uniqueConsecutive(
  ...given: Call<
    UniqueConsecutiveArguments,
    ["input", "returnInverse", "returnCounts", "dim"],
    [input: Tensor, returnInverse?: boolean, returnCounts?: boolean, dim?: number | null]
  >
): Tensor | Tensor[];
export function uniqueConsecutive(...given: readonly unknown[]): Tensor | Tensor[] {
  const a = readConsecutive(given);
  return answer(generated.uniqueConsecutive(a.input, a.returnInverse, a.returnCounts, a.dim), a);
}
