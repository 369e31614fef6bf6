/** Casts of frozen weights, made once. */
import { WeightCasts } from "./weight-casts.js";

/**
 * Keeps one 16-bit cast of each frozen weight, in place of one at every use: {@link WeightCasts} of the weights that
 * want no gradient.
 *
 * For a frozen backbone in a loop of one's own; a cast lives until its weight changes, however many optimizers step
 * others. A parameter that is made to want a gradient again is left to autocast.
 *
 * @example
 * using frozen = new amp.FrozenCasts(backbone);
 * autocast({ dtype: "bfloat16" }, () => frozen.run(() => model.forward(x)));
 * @throws {ArgumentError} `FrozenCasts: expected a module or tensors. Received: …`
 */
export class FrozenCasts extends WeightCasts {
  protected override get kind(): { readonly fn: string; readonly trainable: boolean } {
    return { fn: "FrozenCasts", trainable: false };
  }
}
