import { optim } from "@nbit/torch";
import type { Tensor } from "@nbit/torch";

export type ClipAlgorithm = "norm" | "value";

/**
 * Clip the gradients of `params` in place; returns the norm before clipping, where that was computed. Does not
 * synchronize.
 */
export function clipGradients(params: readonly Tensor[], value: number, algorithm: ClipAlgorithm): Tensor | null {
  if (algorithm === "norm") return optim.clipGradNorm([...params], value);
  optim.clipGradValue([...params], value);
  return null;
}
