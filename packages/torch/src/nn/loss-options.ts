/** Options of the losses, as functions and as modules. */
import { oneOf, orNull, real, whole } from "../kinds.js";
import { tensorKind } from "../tensor/kinds.js";
import { atMost, checkArguments, checkOptions, type OptionNames } from "../options.js";
import type { Tensor } from "../tensor/tensor.js";

export type Reduction = "none" | "mean" | "sum";
const REDUCTIONS: Readonly<Record<Reduction, number>> = { none: 0, mean: 1, sum: 2 };

export interface ReductionOptions {
  /** Of the elements' losses: their mean (default), their sum, or each for itself. */
  readonly reduction?: Reduction;
}
export interface NLLOptions extends ReductionOptions {
  /** `[C]`: how much each class counts; "mean" divides by the sum of the weights. */
  readonly weight?: Tensor | null;
  /** Targets of this class count for nothing. Default -100. */
  readonly ignoreIndex?: number;
}
export interface CrossEntropyOptions extends NLLOptions {
  /** Share of the target that is spread over all classes, in [0, 1]. Default 0. */
  readonly labelSmoothing?: number;
}
export interface SmoothL1Options extends ReductionOptions {
  /** Below it the loss is quadratic, ≥ 0. Default 1. */
  readonly beta?: number;
}
export interface BCEWithLogitsOptions extends ReductionOptions {
  /** Weight of each element, of a shape that broadcasts to the logits'. */
  readonly weight?: Tensor | null;
  /** Weight of the positive answers, of a shape that broadcasts to the logits'. */
  readonly posWeight?: Tensor | null;
}
const WEIGHT = orNull(tensorKind);
// The tables that functions and modules of losses share.
export const REDUCTION: OptionNames<ReductionOptions> = { reduction: oneOf("none", "mean", "sum") };
export const NLL: OptionNames<NLLOptions> = { weight: WEIGHT, ignoreIndex: whole(), ...REDUCTION };
export const CROSS_ENTROPY: OptionNames<CrossEntropyOptions> = { ...NLL, labelSmoothing: real("[0, 1]") };
export const SMOOTH_L1: OptionNames<SmoothL1Options> = { beta: real("[0, ∞)"), ...REDUCTION };
export const BCE: OptionNames<BCEWithLogitsOptions> = { weight: WEIGHT, posWeight: WEIGHT, ...REDUCTION };

/** The checks of a loss of two tensors; returns the operators' number for the reduction. */
export function prepare<O extends ReductionOptions>(
  fn: string,
  given: ArrayLike<unknown>,
  options: O,
  known: OptionNames<O>,
): number {
  atMost(fn, given, 3);
  checkOptions(fn, options, known);
  checkArguments(
    fn,
    { input: given[0] as Tensor, target: given[1] as Tensor },
    { input: tensorKind, target: tensorKind },
  );
  return REDUCTIONS[options.reduction ?? "mean"];
}
