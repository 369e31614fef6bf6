import type { Tensor } from "../tensor/tensor.js";

/** What an optimizer is given that steps shards: how to sum over whole parameters. Every rank asks for the same. */
export interface Shards {
  /** Of all groups in their order, those too of which this rank has nothing: the same on every rank. */
  readonly parameters: readonly Tensor[];
  /** Replaces `values` by their sums over all ranks, means, or the greatest. A collective. */
  reduce(values: Tensor, op: "sum" | "avg" | "max"): void;
  /** Shards were written, and a forward follows before the step ends. A collective. */
  written(): void;
}
