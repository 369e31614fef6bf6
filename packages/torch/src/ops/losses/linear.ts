/** The cross entropy of a linear layer's outputs, as one function. */
import { ArgumentError } from "../../errors.js";
import * as generated from "../../generated/functions.js";
import { byDefault, orNull, real, whole } from "../../kinds.js";
import type { OptionNames } from "../../options.js";
import { signature, type Call } from "../../signature.js";
import { tensorKind } from "../../tensor/kinds.js";
import { scope } from "../../tensor/scope.js";
import type { Tensor } from "../../tensor/tensor.js";
import { crossEntropy } from "./classes.js";
import { MEAN, WEIGHT, type NewReductionOptions } from "./reduction.js";

export interface LinearCrossEntropyOptions extends NewReductionOptions {
  /** `[C]`: how much each class counts; "mean" divides by the sum of the weights. */
  readonly weight?: Tensor | null;
  /** Targets of this class count for nothing. Default -100; none for probabilities. */
  readonly ignoreIndex?: number | null;
  /** Share of the target that is spread over all classes, in [0, 1]. Default 0. */
  readonly labelSmoothing?: number;
}
/** @internal */
export const LINEAR_CROSS_ENTROPY = {
  weight: WEIGHT,
  reduction: MEAN,
  ignoreIndex: byDefault(null, orNull(whole())),
  labelSmoothing: byDefault(0, real("[0, 1]")),
} satisfies OptionNames<LinearCrossEntropyOptions>;

export interface LinearCrossEntropyArguments extends LinearCrossEntropyOptions {
  /** `[N, D]` or `[D]`. */
  readonly input: Tensor;
  /** `[C, D]`, or `[C, …, D]` for a loss of several dimensions. */
  readonly linearWeight: Tensor;
  /** Classes `[N, …]`, or probabilities in the shape of the logits, `[N, C, …]`. */
  readonly target: Tensor;
  /** `[C]` or `[C, …]`. */
  readonly linearBias?: Tensor | null;
}
const read = signature(
  "linearCrossEntropy",
  {
    input: tensorKind,
    linearWeight: tensorKind,
    target: tensorKind,
    linearBias: WEIGHT,
    ...LINEAR_CROSS_ENTROPY,
  } satisfies OptionNames<LinearCrossEntropyArguments>,
  3,
);
/**
 * {@link crossEntropy} of `input · linearWeightᵀ + linearBias`, made whole: `nn.functional.fusedLinearCrossEntropy` saves
 * the memory of the logits on a GPU. Arguments: input, linearWeight, target, { linearBias, weight, reduction,
 * ignoreIndex, labelSmoothing }; see `LinearCrossEntropyArguments`.
 * @throws {ArgumentError} for shapes that do not fit, and `ignoreIndex` where the target holds probabilities.
 */
export function linearCrossEntropy(
  ...given: Call<
    LinearCrossEntropyArguments,
    ["input", "linearWeight", "target"],
    [input: Tensor, linearWeight: Tensor, target: Tensor]
  >
): Tensor {
  const { input, linearWeight, target, linearBias, ignoreIndex, ...options } = read(given);
  const fn = "linearCrossEntropy";
  if (input.ndim < 1 || input.ndim > 2) throw new ArgumentError(fn, "input to be [N, D] or [D]", input);
  const features = input.size(-1);
  const [classes = 0, ...more] = linearWeight.shape.slice(0, -1);
  if (linearWeight.ndim < 2 || linearWeight.size(-1) !== features)
    throw new ArgumentError(fn, `linearWeight to be [C, …, ${features}]`, linearWeight);
  if (linearBias !== null && String(linearBias.shape) !== String([classes, ...more]))
    throw new ArgumentError(fn, `linearBias to be [${[classes, ...more].join(", ")}]`, linearBias);
  if (more.length > 0 && input.ndim === 1)
    throw new ArgumentError(fn, "input to be [N, D] where the loss has several dimensions", input);
  const shape = [...input.shape.slice(0, -1), classes, ...more];
  if (ignoreIndex !== null && String(target.shape) === String(shape))
    throw new ArgumentError(fn, "no ignoreIndex where target holds probabilities", ignoreIndex);
  const rows = more.reduce((a, b) => a * b, classes);
  return scope(() => {
    const logits = generated.linear(input, linearWeight.reshape([rows, features]), linearBias?.reshape([rows]) ?? null);
    return crossEntropy(logits.reshape(shape), target, { ...options, ignoreIndex: ignoreIndex ?? -100 });
  });
}
