/** When weights may have changed: what was computed from them before is then stale. */
import { atMost } from "./options.js";
import { native } from "./native.js";

let epoch = 0;

/**
 * A number that grows whenever parameters may have changed in a way that their version counters do not tell: an
 * optimizer's step, the replay of a CUDA graph, and `setData`, which may bring memory that was there before. What is
 * derived from a weight and kept is good while this number, the weight's `version` and its memory stay the same.
 */
export function weightsEpoch(): number {
  atMost("weightsEpoch", arguments, 0);
  return epoch;
}
/** @internal After a native call that has told the addon itself. */
export function noteOtherMemory(): void {
  epoch++;
}
/** @internal `byOptimizer`: only parameters with gradients were written. */
export function advanceWeightsEpoch(byOptimizer = false): void {
  epoch++;
  native.weightsChanged(byOptimizer);
}
