/** What a metric keeps between updates: tensors that outlive scopes, and how those of several batches or processes become one. */
import { ArgumentError, atMost, cat, keep, maximum, minimum, stack, Tensor } from "@nbit/torch";

/** A state: one tensor, or what each update appended. */
export type State = Tensor | Tensor[];

/**
 * How the states of several processes become one: summed, averaged, put behind each other, the least or the greatest;
 * a function is given all of them, stacked (those of a list: behind each other); null: stacked, or behind each other.
 */
export type DistReduceFx = "sum" | "mean" | "cat" | "min" | "max" | ((states: Tensor) => Tensor) | null;

export const REDUCTIONS: readonly unknown[] = ["sum", "mean", "cat", "min", "max", null];

/** The tensors of a list as one, along its first dimension; numbers count as one element each. */
export function dimZeroCat(list: readonly Tensor[] | Tensor): Tensor {
  atMost("dimZeroCat", arguments, 1);
  if (list instanceof Tensor) return list;
  if (!Array.isArray(list) || !list.every((t) => t instanceof Tensor))
    throw new ArgumentError("dimZeroCat", "tensors in an array, or one", list);
  const parts = list.map((t) => (t.ndim === 0 ? t.unsqueeze(0) : t));
  const [first] = parts;
  if (first === undefined)
    throw new ArgumentError("compute", "at least one update before it", list, "Call update first.", "ERR_METRIC_EMPTY");
  return parts.length === 1 ? first : cat(parts);
}

export function keptCopy(state: State): State {
  return Array.isArray(state) ? state.map((t) => keep(t.detach().clone())) : keep(state.detach().clone());
}

/** Lets go of the tensors of a state, but for those that another still has. */
export function dispose(state: State, except: readonly Tensor[] = []): void {
  for (const t of Array.isArray(state) ? state : [state]) if (!except.includes(t)) t.dispose();
}

/**
 * One state of two: what an earlier one has become, and a later one of so many updates. @returns null where only
 * updating again can say.
 */
export function merged(
  fx: DistReduceFx,
  earlier: State,
  later: State,
  updates: { readonly earlier: number; readonly later: number },
): State | null {
  if (Array.isArray(earlier) || Array.isArray(later))
    return Array.isArray(earlier) && Array.isArray(later) && fx === "cat" ? [...earlier, ...later] : null;
  switch (fx) {
    case "sum":
      return earlier.add(later);
    case "mean":
      return earlier
        .mul(updates.earlier)
        .add(later.mul(updates.later))
        .div(updates.earlier + updates.later);
    case "max":
      return maximum(earlier, later);
    case "min":
      return minimum(earlier, later);
    default:
      return null;
  }
}

/** One state of those of all processes, in the order of ranks. */
export function reducedOverRanks(fx: DistReduceFx, all: readonly Tensor[], isList: boolean): State {
  if (isList || fx === "cat") {
    const filled = all.filter((t) => t.numel() > 0);
    if (typeof fx === "function" && filled.length > 0) return fx(dimZeroCat(filled));
    return isList ? filled : dimZeroCat(filled);
  }
  const together = stack(all);
  switch (fx) {
    case "sum":
      return together.sum(0);
    case "mean":
      return together.mean(0);
    case "max":
      return together.amax(0);
    case "min":
      return together.amin(0);
    default:
      return fx === null ? together : fx(together);
  }
}
