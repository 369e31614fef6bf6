/** Delayed scaling: the largest values of recent steps. */
import { cat, zeros, type DeviceLike, type Tensor } from "@nbit/torch";

/**
 * An empty history: int32 holding the bits of float32 numbers, so that casting a module to 16 bits leaves it alone. Numbers ≥ 0 order as their bits do.
 */
export function emptyHistory(length: number, device: DeviceLike): Tensor {
  return zeros([length], { dtype: "int32", device });
}

/**
 * The amax that scales now: the largest of the history, or the current one while the history is empty. With `update` the current one enters in front, unless it is
 * not finite. Does not synchronize.
 */
export function delayedAmax(history: Tensor, current: Tensor, update: boolean): Tensor {
  const past = history.amax().view("float32");
  const chosen = past.where(past.gt(0), current);
  if (update) {
    const entry = current.where(current.isfinite(), past).view("int32").view([1]);
    history.copy_(cat([entry, history.narrow(0, 0, history.numel() - 1)]));
  }
  return chosen;
}
