/** Dropout. Draws from the generator of the input's device, in libtorch's order. */
import { ArgumentError } from "../../errors.js";
import { byDefault, flag } from "../../kinds.js";
import * as ops from "../../ops/index.js";
import { signature, type Call } from "../../signature.js";
import type { Tensor } from "../../tensor/tensor.js";
import { inPlace } from "../in-place.js";
import { input, off, probability, type InputArguments } from "./rows.js";

export interface DropoutArguments extends InputArguments {
  /** Probability of a zero. Default 0.5. */
  readonly p?: number;
  /** Without it the input is the result. Default true; false for the two that keep mean and variance. */
  readonly training?: boolean;
  /** Write over the input. Default false. */
  readonly inplace?: boolean;
}
type Dropout = (
  ...given: Call<
    DropoutArguments,
    ["input", "p", "training", "inplace"],
    [input: Tensor, p?: number, training?: boolean, inplace?: boolean]
  >
) => Tensor;
type Drop = (x: Tensor, p: number, training: boolean) => Tensor;
interface Form {
  readonly plain: Drop;
  readonly over: Drop;
  /** Whether it drops where nobody says. */
  readonly training: boolean;
  /** Dimensions of an input that has no batch, which is given one of 1. */
  readonly single?: number;
  /** Dimensions of an input that has one, where no others are taken. */
  readonly batched?: number;
}

function dropoutOf(name: string, { plain, over, training, single, batched }: Form): Dropout {
  const rows = { input, p: byDefault(0.5, probability), training: byDefault(training, flag), inplace: off };
  const read = signature(name, rows);
  return (...given) => {
    const { input, p, training, inplace } = read(given);
    const drop = inplace ? over : plain;
    if (batched !== undefined && input.ndim !== single && input.ndim !== batched)
      throw new ArgumentError(name, `an input of ${single ?? 0} or ${batched} dimensions`, input);
    if (input.ndim !== single) return drop(input, p, training);
    const result = drop(input.unsqueeze(0), p, training);
    return inplace ? input : result.squeeze(0);
  };
}
const feature: Pick<Form, "plain" | "over"> = { plain: ops.featureDropout, over: inPlace("feature_dropout_") };
/** Elements become 0 with probability p, the others are scaled by 1 / (1 - p). Srivastava et al., 2014. */
export const dropout = dropoutOf("dropout", { plain: ops.dropout, over: inPlace("dropout_"), training: true });
/**
 * Whole channels of `[N, C, L]` or `[C, L]` become 0. Tompson et al., 2014.
 * @throws {ArgumentError} `dropout1d: expected an input of 2 or 3 dimensions. Received: Tensor float32 [4] cpu.`
 */
export const dropout1d = dropoutOf("dropout1d", { ...feature, training: true, single: 2, batched: 3 });
/** Whole channels of `[N, C, H, W]` become 0; of three dimensions the first is the batch, as in PyTorch. */
export const dropout2d = dropoutOf("dropout2d", { ...feature, training: true });
/** Whole channels of `[N, C, D, H, W]` or `[C, D, H, W]` become 0. */
export const dropout3d = dropoutOf("dropout3d", { ...feature, training: true, single: 4 });
/** Keeps mean and variance of what SELU gives. Klambauer et al., 2017. Drops only where `training` is given as true. */
export const alphaDropout = dropoutOf("alphaDropout", {
  plain: ops.alphaDropout,
  over: inPlace("alpha_dropout_"),
  training: false,
});
/** {@link alphaDropout} of whole channels. */
export const featureAlphaDropout = dropoutOf("featureAlphaDropout", {
  plain: ops.featureAlphaDropout,
  over: inPlace("feature_alpha_dropout_"),
  training: false,
});
