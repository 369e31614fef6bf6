/** Unit vectors over several tensors at once: what Jacobians are multiplied with. */
import { ArgumentError } from "../errors.js";
import { isTensor } from "../tensor/handle.js";
import type { Tensor } from "../tensor/tensor.js";
import { flatten } from "./trees.js";

/**
 * Rows `from` … `from + count` of the identity over all numbers of `tensors`, cut into one tensor each: `[count,
 * ...shape]`.
 */
export function basisOf(tensors: readonly Tensor[], from: number, count: number | null): Tensor[] {
  const total = tensors.reduce((n, t) => n + t.numel(), 0);
  const rows = Math.min(count ?? total, total - from);
  let begin = 0;
  return tensors.map((t) => {
    const n = t.numel();
    const part = t.newZeros([rows, n]);
    const offset = from - begin;
    // Else none of its numbers is in these rows, or there is no such diagonal.
    if (offset < n && -offset < rows) part.diagonal(offset).fill_(1);
    begin += n;
    return part.view([rows, ...t.shape]);
  });
}

export function refuseComplex(fn: string, what: string, tree: unknown): void {
  for (const leaf of flatten(fn, tree).leaves)
    if (isTensor(leaf) && leaf.isComplex()) throw new ArgumentError(fn, `real ${what}`, leaf.dtype);
}
