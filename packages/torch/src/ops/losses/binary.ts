/** Losses of answers that are yes or no. */
import { ArgumentError } from "../../errors.js";
import * as generated from "../../generated/functions.js";
import { byDefault, real } from "../../kinds.js";
import type { OptionNames } from "../../options.js";
import { signature, type Call } from "../../signature.js";
import { scope } from "../../tensor/scope.js";
import type { Tensor } from "../../tensor/tensor.js";
import {
  numberOf,
  PAIR,
  reduced,
  reductionOf,
  REDUCTIONS,
  WEIGHT,
  type PairArguments,
  type Reduction,
  type ReductionOptions,
} from "./reduction.js";

type Old = boolean | null;

export interface WeightedOptions extends ReductionOptions {
  /** Weight of each element, of a shape that broadcasts to the input's. */
  readonly weight?: Tensor | null;
}
/** @internal */
export const WEIGHTED = { weight: WEIGHT, ...REDUCTIONS } satisfies OptionNames<WeightedOptions>;
export type WeightedOrder = ["weight", "sizeAverage", "reduce", "reduction"];
export type WeightedPositions = [weight?: Tensor | null, sizeAverage?: Old, reduce?: Old, reduction?: Reduction];
type WeightedCall = Call<
  PairArguments & WeightedOptions,
  ["input", "target", ...WeightedOrder],
  [input: Tensor, target: Tensor, ...WeightedPositions]
>;

function sameShape(fn: string, input: Tensor, target: Tensor): void {
  if (String(input.shape) !== String(target.shape))
    throw new ArgumentError(fn, `target to have the shape of input ([${input.shape.join(", ")}])`, target);
}

const readBce = signature("binaryCrossEntropy", { ...PAIR, ...WEIGHTED });
/**
 * Binary cross entropy of probabilities: -weight · (target · log input + (1 - target) · log(1 - input)), logarithms not
 * under -100. Unsafe in 16 bits, where 1 - input is 0 too early: autocast on a GPU refuses it; use {@link
 * binaryCrossEntropyWithLogits}.
 *
 * @param given - input, target, weight, sizeAverage, reduce, reduction. `input` in [0, 1], any shape; `target` the same.
 * @throws {ArgumentError} for another shape.
 */
export function binaryCrossEntropy(...given: WeightedCall): Tensor {
  const a = readBce(given);
  sameShape("binaryCrossEntropy", a.input, a.target);
  const { weight } = a;
  if (weight === null) return generated.binaryCrossEntropy(a.input, a.target, null, numberOf(a));
  return scope(() => {
    const wide = generated.broadcastTensors([a.target, weight])[1] as Tensor;
    return generated.binaryCrossEntropy(a.input, a.target, wide, numberOf(a));
  });
}

export interface BCEWithLogitsOptions extends WeightedOptions {
  /** Weight of the positive answers, of a shape that broadcasts to the logits'. */
  readonly posWeight?: Tensor | null;
}
/** @internal */
export const BCE_WITH_LOGITS = { ...WEIGHTED, posWeight: WEIGHT } satisfies OptionNames<BCEWithLogitsOptions>;
export type BCEWithLogitsOrder = [...WeightedOrder, "posWeight"];
export type BCEWithLogitsPositions = [...WeightedPositions, posWeight?: Tensor | null];

const readLogits = signature("binaryCrossEntropyWithLogits", { ...PAIR, ...BCE_WITH_LOGITS });
/**
 * Binary cross entropy of logits: with p = σ(input), -weight · (posWeight · target · log p + (1 - target) · log(1 -
 * p)). Safe in 16 bits.
 *
 * @param given - input, target, weight, sizeAverage, reduce, reduction, posWeight; see {@link BCEWithLogitsOptions}.
 */
export function binaryCrossEntropyWithLogits(
  ...given: Call<
    PairArguments & BCEWithLogitsOptions,
    ["input", "target", ...BCEWithLogitsOrder],
    [input: Tensor, target: Tensor, ...BCEWithLogitsPositions]
  >
): Tensor {
  const a = readLogits(given);
  sameShape("binaryCrossEntropyWithLogits", a.input, a.target);
  return generated.binaryCrossEntropyWithLogits(a.input, a.target, a.weight, a.posWeight, numberOf(a));
}

const readMultilabel = signature("multilabelSoftMarginLoss", { ...PAIR, ...WEIGHTED });
/**
 * The mean over classes, the last dimension, of the binary cross entropy of logits; `weight` is of each class.
 * Arguments: input, target, weight, sizeAverage, reduce, reduction. `[N, C]` → `[N]` with reduction "none".
 */
export function multilabelSoftMarginLoss(...given: WeightedCall): Tensor {
  const { input, target, weight, ...how } = readMultilabel(given);
  if (input.ndim === 0)
    throw new ArgumentError("multilabelSoftMarginLoss", "input of at least one dimension, its classes", input);
  return scope(() => {
    const yes = target.mul(generated.logSigmoid(input));
    const no = target.neg().add(1).mul(generated.logSigmoid(input.neg()));
    const losses = yes.add(no).neg();
    const weighted = weight === null ? losses : losses.mul(weight);
    return reduced(weighted.sum(-1).div(input.size(-1)), reductionOf(how));
  });
}

type PlainCall = Call<
  PairArguments & ReductionOptions,
  ["input", "target", "sizeAverage", "reduce", "reduction"],
  [input: Tensor, target: Tensor, sizeAverage?: Old, reduce?: Old, reduction?: Reduction]
>;
const readSoftMargin = signature("softMarginLoss", { ...PAIR, ...REDUCTIONS });
/** log(1 + exp(-target · input)), targets 1 and -1. Arguments: input, target, sizeAverage, reduce, reduction. */
export function softMarginLoss(...given: PlainCall): Tensor {
  const a = readSoftMargin(given);
  return generated.softMarginLoss(a.input, a.target, numberOf(a));
}

export interface MarginOptions extends ReductionOptions {
  /** How far apart is far enough. */
  readonly margin?: number;
}
export type MarginOrder = ["margin", "sizeAverage", "reduce", "reduction"];
export type MarginPositions = [margin?: number, sizeAverage?: Old, reduce?: Old, reduction?: Reduction];
/** @internal */
export const HINGE = { margin: byDefault(1, real()), ...REDUCTIONS } satisfies OptionNames<MarginOptions>;

const readHinge = signature("hingeEmbeddingLoss", { ...PAIR, ...HINGE });
/**
 * `input` where target is 1, max(0, margin - input) where it is -1: of distances between what is alike and what is not.
 * Arguments: input, target, margin (default 1), sizeAverage, reduce, reduction.
 */
export function hingeEmbeddingLoss(
  ...given: Call<
    PairArguments & MarginOptions,
    ["input", "target", ...MarginOrder],
    [input: Tensor, target: Tensor, ...MarginPositions]
  >
): Tensor {
  const a = readHinge(given);
  return generated.hingeEmbeddingLoss(a.input, a.target, a.margin, numberOf(a));
}
