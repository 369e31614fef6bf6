import { ArgumentError } from "@nbit/torch";
import type { Tensor } from "@nbit/torch";

/** @throws {ArgumentError} where two tensors that belong together have different shapes. */
export function checkSameShape(fn: string, preds: Tensor, target: Tensor): void {
  if (preds.shape.length !== target.shape.length || preds.shape.some((n, i) => n !== target.shape[i]))
    throw new ArgumentError(fn, `target of the shape of preds, [${preds.shape.join(", ")}]`, target);
}
