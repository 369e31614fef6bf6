/** Losses of scores of classes against class indices. */
import { byDefault, either, flag, listOf, oneOf, real, such, whole } from "../../kinds.js";
import * as generated from "../../generated/functions.js";
import type { OptionNames } from "../../options.js";
import { bind } from "../bind.js";
import { signature, type Call } from "../../signature.js";
import { isTensor } from "../../tensor/handle.js";
import { tensorKind } from "../../tensor/kinds.js";
import type { TargetFits } from "../../tensor/shapes.js";
import type { Tensor } from "../../tensor/tensor.js";
import { classesOrProbabilities, classIndices } from "./class-indices.js";
import {
  MEAN,
  numberOf,
  NUMBERS,
  PAIR,
  REDUCE,
  REDUCTIONS,
  SIZE_AVERAGE,
  WEIGHT,
  type NewReductionOptions,
  type PairArguments,
  type Reduction,
  type ReductionOptions,
} from "./reduction.js";

type Old = boolean | null;

export interface NLLOptions extends ReductionOptions {
  /** `[C]`: how much each class counts; "mean" divides by the sum of the weights. */
  readonly weight?: Tensor | null;
  /** Targets of this class count for nothing. Default -100. */
  readonly ignoreIndex?: number;
}
/** @internal */
export const NLL = {
  weight: WEIGHT,
  sizeAverage: SIZE_AVERAGE,
  ignoreIndex: byDefault(-100, whole()),
  reduce: REDUCE,
  reduction: MEAN,
} satisfies OptionNames<NLLOptions>;
export type NLLOrder = ["weight", "sizeAverage", "ignoreIndex", "reduce", "reduction"];
export type NLLPositions = [
  weight?: Tensor | null,
  sizeAverage?: Old,
  ignoreIndex?: number,
  reduce?: Old,
  reduction?: Reduction,
];

export interface CrossEntropyOptions extends NLLOptions {
  /** Share of the target that is spread over all classes, in [0, 1]. Default 0. */
  readonly labelSmoothing?: number;
}
/** @internal */
export const CROSS_ENTROPY = {
  ...NLL,
  labelSmoothing: byDefault(0, real("[0, 1]")),
} satisfies OptionNames<CrossEntropyOptions>;
export type CrossEntropyOrder = [...NLLOrder, "labelSmoothing"];
export type CrossEntropyPositions = [...NLLPositions, labelSmoothing?: number];

const readCrossEntropy = signature("crossEntropy", { ...PAIR, ...CROSS_ENTROPY });
/**
 * Cross entropy of logits: -log softmax(input)[target], over dimension 1.
 *
 * @param given - input, target, weight, sizeAverage, ignoreIndex, reduce, reduction, labelSmoothing; see
 * `CrossEntropyOptions`. `input`: logits `[C]`, `[N, C]` or `[N, C, …]`, floating point; float32 under autocast.
 * `target`: `[]`, `[N]` or `[N, …]` classes, or probabilities of the shape of the logits. Classes are int64; whole
 * numbers in another dtype are taken too, of which floats wait for the device.
 * @returns `[]`, or the shape of the classes with reduction "none". Does not synchronize for int64 targets.
 * @throws {ArgumentError} for a target that is neither: `crossEntropy: expected target to be class indices: int64, or
 * whole numbers. Received: Tensor float32 [4] cpu. …`
 * @example crossEntropy(tensor([[2, 0]]), tensor([0])).item(); // log(1 + e⁻²)
 */
export function crossEntropy<I extends Tensor, T extends Tensor>(
  input: I,
  target: T & TargetFits<I, T>,
  ...rest: Call<CrossEntropyOptions, CrossEntropyOrder, CrossEntropyPositions>
): Tensor;
export function crossEntropy(...given: Call<PairArguments & CrossEntropyOptions, ["input"], [input: Tensor]>): Tensor;
export function crossEntropy(...given: readonly unknown[]): Tensor {
  const a = readCrossEntropy(given);
  return generated.crossEntropyLoss(
    a.input,
    classesOrProbabilities("crossEntropy", a.input, a.target),
    a.weight,
    numberOf(a),
    a.ignoreIndex,
    a.labelSmoothing,
  );
}

const nllLossNd =
  bind<(input: Tensor, target: Tensor, weight: Tensor | null, reduction: number, ignoreIndex: number) => Tensor>(
    "nll_loss_nd",
  );
const readNll = signature("nllLoss", { ...PAIR, ...NLL });
/**
 * -input[target], over dimension 1: the negative log likelihood, where `input` are log probabilities. Shapes and
 * targets as of {@link crossEntropy}, without its probabilities.
 */
export function nllLoss<I extends Tensor, T extends Tensor>(
  input: I,
  target: T & TargetFits<I, T>,
  ...rest: Call<NLLOptions, NLLOrder, NLLPositions>
): Tensor;
export function nllLoss(...given: Call<PairArguments & NLLOptions, ["input"], [input: Tensor]>): Tensor;
export function nllLoss(...given: readonly unknown[]): Tensor {
  const a = readNll(given);
  return nllLossNd(a.input, classIndices("nllLoss", "target", a.target), a.weight, numberOf(a), a.ignoreIndex);
}

export interface MultiMarginOptions extends ReductionOptions {
  /** 1 or 2: the power of each difference. Default 1. */
  readonly p?: 1 | 2;
  /** By how much the target's score must exceed every other. Default 1. */
  readonly margin?: number;
  /** `[C]`: how much each class counts. */
  readonly weight?: Tensor | null;
}
/** @internal */
export const MULTI_MARGIN = {
  p: byDefault(1, oneOf(1, 2)),
  margin: byDefault(1, real()),
  weight: byDefault(
    null,
    such<Tensor | null>("a tensor of one dimension, or null", (v) => v === null || (isTensor(v) && v.ndim === 1)),
  ),
  ...REDUCTIONS,
} satisfies OptionNames<MultiMarginOptions>;
export type MultiMarginOrder = ["p", "margin", "weight", "sizeAverage", "reduce", "reduction"];
export type MultiMarginPositions = [
  p?: 1 | 2,
  margin?: number,
  weight?: Tensor | null,
  sizeAverage?: Old,
  reduce?: Old,
  reduction?: Reduction,
];

const readMultiMargin = signature("multiMarginLoss", { ...PAIR, ...MULTI_MARGIN });
/**
 * Σ over classes i ≠ target of max(0, margin - input[target] + input[i])ᵖ · weight[target] / C. `input` `[N, C]` or
 * `[C]`, `target` `[N]` or `[]` class indices.
 */
export function multiMarginLoss(
  ...given: Call<
    PairArguments & MultiMarginOptions,
    ["input", "target", ...MultiMarginOrder],
    [input: Tensor, target: Tensor, ...MultiMarginPositions]
  >
): Tensor {
  const a = readMultiMargin(given);
  const target = classIndices("multiMarginLoss", "target", a.target);
  return generated.multiMarginLoss(a.input, target, a.p, a.margin, a.weight, numberOf(a));
}

const readMultilabelMargin = signature("multilabelMarginLoss", { ...PAIR, ...REDUCTIONS });
/**
 * Σ over classes i that are no target, and targets j, of max(0, 1 - input[j] + input[i]) / C. `target` has the shape of
 * `input`, `[N, C]` or `[C]`: the classes of each sample from the left, the rest -1.
 */
export function multilabelMarginLoss(
  ...given: Call<
    PairArguments & ReductionOptions,
    ["input", "target", "sizeAverage", "reduce", "reduction"],
    [input: Tensor, target: Tensor, sizeAverage?: Old, reduce?: Old, reduction?: Reduction]
  >
): Tensor {
  const a = readMultilabelMargin(given);
  const target = classIndices("multilabelMarginLoss", "target", a.target);
  return generated.multilabelMarginLoss(a.input, target, numberOf(a));
}

export interface CTCOptions extends NewReductionOptions {
  /** The class that stands for no label. Default 0. */
  readonly blank?: number;
  /** Losses that are infinite (a target longer than its input) and their gradients are zero. Default false. */
  readonly zeroInfinity?: boolean;
}
/** @internal */
export const CTC = {
  blank: byDefault(0, whole("[0, ∞)")),
  reduction: MEAN,
  zeroInfinity: byDefault(false, flag),
} satisfies OptionNames<CTCOptions>;
export type CTCOrder = ["blank", "reduction", "zeroInfinity"];
export type CTCPositions = [blank?: number, reduction?: Reduction, zeroInfinity?: boolean];

/** How long each sample is: a tensor of whole numbers, or an array. */
export type Lengths = Tensor | readonly (number | bigint)[];
export interface CTCArguments extends CTCOptions {
  /** Log probabilities `[T, N, C]` or `[T, C]`. */
  readonly logProbs: Tensor;
  /** `[N, S]`, or all of them one after the other: `[ΣS]`. */
  readonly targets: Tensor;
  readonly inputLengths: Lengths;
  readonly targetLengths: Lengths;
}
const count = such<number | bigint>(
  "a whole number ≥ 0",
  (v) => (typeof v === "bigint" || (typeof v === "number" && Number.isSafeInteger(v))) && v >= 0,
);
const LENGTHS = either(tensorKind, listOf(count));
const readCtc = signature("ctcLoss", {
  logProbs: tensorKind,
  targets: tensorKind,
  inputLengths: LENGTHS,
  targetLengths: LENGTHS,
  ...CTC,
} satisfies OptionNames<CTCArguments>);
/**
 * Connectionist temporal classification: -log of the probability of all alignments of a target with its input. "mean"
 * divides each loss by the length of its target first. Classes and lengths in tensors may be floats that are whole.
 * @see Graves et al., 2006, "Connectionist Temporal Classification".
 */
export function ctcLoss(
  ...given: Call<
    CTCArguments,
    ["logProbs", "targets", "inputLengths", "targetLengths", ...CTCOrder],
    [logProbs: Tensor, targets: Tensor, inputLengths: Lengths, targetLengths: Lengths, ...CTCPositions]
  >
): Tensor {
  const a = readCtc(given);
  const targets = classIndices("ctcLoss", "targets", a.targets);
  const lengths = (name: "inputLengths" | "targetLengths"): Lengths => {
    const value = a[name];
    return isTensor(value) ? classIndices("ctcLoss", name, value) : value;
  };
  // Both as tensors or both as arrays: the operator has a form for each.
  const [inputs, outputs] = [lengths("inputLengths"), lengths("targetLengths")];
  const rest = [a.blank, NUMBERS[a.reduction], a.zeroInfinity] as const;
  if (isTensor(inputs) && isTensor(outputs)) return generated.ctcLoss(a.logProbs, targets, inputs, outputs, ...rest);
  return generated.ctcLoss(a.logProbs, targets, plain(inputs), plain(outputs), ...rest);
}
function plain(lengths: Lengths): readonly (number | bigint)[] {
  return isTensor(lengths) ? (lengths.tolist() as number[]) : lengths;
}
