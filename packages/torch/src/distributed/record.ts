/** What a process asks of the others. */
import { NbitError } from "../errors.js";
import { callable } from "../kinds.js";
import { atMost, checkArguments } from "../options.js";
import { isTensor } from "../tensor/handle.js";
import type { DType } from "../tensor/dtype.js";
import { recordCalls } from "./native-calls.js";

/** Calls of one kind with tensors of one dtype. */
export interface CollectiveCount {
  /** As c10d's operators are called, such as "all_gather_into". */
  readonly kind: string;
  readonly dtype: DType;
  readonly count: number;
  /** Of the largest tensor of each call, added up: of a gather what comes, of a reduce-scatter what goes. */
  readonly bytes: number;
}

const COLLECTIVES = new Set([
  "all_reduce_",
  "reduce_",
  "broadcast_",
  "broadcast_coalesced_",
  "all_gather_into",
  "reduce_scatter_into",
  "gather",
  "scatter",
  "all_to_all",
  "send",
  "recv",
  "barrier",
]);

/**
 * Run `fn` in this process alone: a collective in it is an error, before anything is sent. For what may run on one rank
 * while the others are elsewhere.
 *
 * @throws {NbitError} ERR_DIST_ALONE at the first collective.
 */
export function withoutCollectives<T>(fn: () => T): T {
  atMost("withoutCollectives", arguments, 1);
  checkArguments("withoutCollectives", { fn }, { fn: callable });
  return recordCalls(fn, (kind) => {
    if (COLLECTIVES.has(kind))
      throw new NbitError(
        `${kind}: expected no collective, within what one rank does alone. Received: a call of one.`,
        "ERR_DIST_ALONE",
      );
  });
}

/** @internal Counts of collectives by kind and dtype. What the addon's buckets average is added by `add`. */
export class CollectiveCounts {
  readonly #counts = new Map<string, CollectiveCount>();

  /** Count what this process calls while `fn` runs. */
  during<T>(fn: () => T): T {
    return recordCalls(fn, (kind, args) => {
      if (!COLLECTIVES.has(kind)) return;
      const tensors = args.flatMap((a) => (Array.isArray(a) ? (a as unknown[]) : [a])).filter((a) => isTensor(a));
      const [first] = tensors;
      if (first === undefined) return;
      const sizes = tensors.map((t) => t.nbytes);
      const bytes = kind === "broadcast_coalesced_" ? sizes.reduce((a, b) => a + b, 0) : Math.max(...sizes);
      this.add(kind, first.dtype, 1, bytes);
    });
  }
  add(kind: string, dtype: DType, count: number, bytes: number): void {
    const key = `${kind} ${dtype}`;
    const before = this.#counts.get(key);
    this.#counts.set(key, { kind, dtype, count: (before?.count ?? 0) + count, bytes: (before?.bytes ?? 0) + bytes });
  }
  list(): CollectiveCount[] {
    return [...this.#counts.values()];
  }
}
