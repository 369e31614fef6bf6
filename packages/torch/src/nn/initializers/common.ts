/** What initialisers share: their first and last arguments, and how values are written. */
import { noGrad } from "../../autograd/modes.js";
import { byDefault, instanceOf, orNull } from "../../kinds.js";
import { Generator } from "../../ops/generator.js";
import type { OptionNames } from "../../options.js";
import { tensorKind } from "../../tensor/kinds.js";
import type { Tensor } from "../../tensor/tensor.js";

export interface FillArguments {
  /** Gets its values in place, without a graph; it is what is returned. */
  readonly tensor: Tensor;
}
export interface DrawArguments extends FillArguments {
  /** The stream that values are drawn from. Default: that of the tensor's device. */
  readonly generator?: Generator | null;
}
export const FILL = { tensor: tensorKind } satisfies OptionNames<FillArguments>;
export const GENERATOR = byDefault(null, orNull(instanceOf("a Generator", Generator)));

/** Write values without a graph. */
export function quietly(tensor: Tensor, fill: () => unknown): Tensor {
  noGrad(fill);
  return tensor;
}
