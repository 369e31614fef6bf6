/** Losses of distributions: how likely the target is, or how far one distribution is from another. */
import { noGrad } from "../../autograd/modes.js";
import { ArgumentError } from "../../errors.js";
import * as generated from "../../generated/functions.js";
import { byDefault, either, flag, oneOf, real } from "../../kinds.js";
import type { OptionNames } from "../../options.js";
import { signature, type Call } from "../../signature.js";
import { isTensor } from "../../tensor/handle.js";
import { tensorKind } from "../../tensor/kinds.js";
import { scope } from "../../tensor/scope.js";
import type { Tensor } from "../../tensor/tensor.js";
import {
  MEAN,
  NUMBERS,
  numberOf,
  PAIR,
  REDUCE,
  reduced,
  REDUCTION,
  reductionOf,
  SIZE_AVERAGE,
  type NewReductionOptions,
  type PairArguments,
  type Reduction,
  type ReductionOptions,
} from "./reduction.js";

type Old = boolean | null;

export interface KLDivOptions extends Omit<ReductionOptions, "reduction"> {
  /**
   * "batchmean" divides the sum by the number of samples, which is the divergence; "mean" (default) by the number of
   * elements.
   */
  readonly reduction?: Reduction | "batchmean";
  /** The target is given as logarithms, too. Default false. */
  readonly logTarget?: boolean;
}
/** @internal */
export const KL_DIV = {
  sizeAverage: SIZE_AVERAGE,
  reduce: REDUCE,
  reduction: byDefault("mean", { ...oneOf("none", "mean", "sum", "batchmean"), meant: REDUCTION.meant ?? (() => "") }),
  logTarget: byDefault(false, flag),
} satisfies OptionNames<KLDivOptions>;
export type KLDivOrder = ["sizeAverage", "reduce", "reduction", "logTarget"];
export type KLDivPositions = [
  sizeAverage?: Old,
  reduce?: Old,
  reduction?: Reduction | "batchmean",
  logTarget?: boolean,
];

const readKlDiv = signature("klDiv", { ...PAIR, ...KL_DIV });
/**
 * Kullback–Leibler divergence: target · (log target - input), `input` being log probabilities.
 *
 * @param given - input, target, sizeAverage, reduce, reduction, logTarget; see {@link KLDivOptions}. Any shape that
 * broadcasts.
 */
export function klDiv(
  ...given: Call<
    PairArguments & KLDivOptions,
    ["input", "target", ...KLDivOrder],
    [input: Tensor, target: Tensor, ...KLDivPositions]
  >
): Tensor {
  const a = readKlDiv(given);
  const reduction = reductionOf(a);
  const options = { logTarget: a.logTarget };
  if (reduction !== "batchmean") return generated.klDiv(a.input, a.target, NUMBERS[reduction], options);
  return scope(() => {
    const sum = generated.klDiv(a.input, a.target, NUMBERS.sum, options);
    return a.input.ndim === 0 ? sum : sum.div(a.input.size(0));
  });
}

export interface PoissonNLLOptions extends ReductionOptions {
  /** `input` is the logarithm of the rate. Default true. */
  readonly logInput?: boolean;
  /** Add Stirling's approximation of log target! for targets above 1. Default false. */
  readonly full?: boolean;
  /** Added to the rate before its logarithm, where `input` is none. Default 1e-8. */
  readonly eps?: number;
}
/** @internal */
export const POISSON = {
  logInput: byDefault(true, flag),
  full: byDefault(false, flag),
  sizeAverage: SIZE_AVERAGE,
  eps: byDefault(1e-8, real("[0, ∞)")),
  reduce: REDUCE,
  reduction: MEAN,
} satisfies OptionNames<PoissonNLLOptions>;
export type PoissonNLLOrder = ["logInput", "full", "sizeAverage", "eps", "reduce", "reduction"];
export type PoissonNLLPositions = [
  logInput?: boolean,
  full?: boolean,
  sizeAverage?: Old,
  eps?: number,
  reduce?: Old,
  reduction?: Reduction,
];

const readPoisson = signature("poissonNllLoss", { ...PAIR, ...POISSON });
/**
 * Negative log likelihood of counts under a Poisson distribution: exp(input) - target · input, or with `logInput:
 * false` input - target · log(input + eps). Arguments: input, target, logInput, full, sizeAverage, eps, reduce,
 * reduction; see {@link PoissonNLLOptions}.
 */
export function poissonNllLoss(
  ...given: Call<
    PairArguments & PoissonNLLOptions,
    ["input", "target", ...PoissonNLLOrder],
    [input: Tensor, target: Tensor, ...PoissonNLLPositions]
  >
): Tensor {
  const a = readPoisson(given);
  return generated.poissonNllLoss(a.input, a.target, a.logInput, a.full, a.eps, numberOf(a));
}

export interface GaussianNLLOptions extends NewReductionOptions {
  /** Add log(2π) / 2. Default false. */
  readonly full?: boolean;
  /** The least variance. Default 1e-6. */
  readonly eps?: number;
}
/** @internal */
export const GAUSSIAN = {
  full: byDefault(false, flag),
  eps: byDefault(1e-6, real("(0, ∞)")),
  reduction: MEAN,
} satisfies OptionNames<GaussianNLLOptions>;
export interface GaussianNLLArguments extends PairArguments, GaussianNLLOptions {
  /** The variance, ≥ 0: a number, of the shape of `input`, of that with a last dimension of 1, or without it. */
  readonly var: Tensor | number;
}
const readGaussian = signature("gaussianNllLoss", {
  ...PAIR,
  var: either(real("[0, ∞)"), tensorKind),
  ...GAUSSIAN,
} satisfies OptionNames<GaussianNLLArguments>);
/**
 * Negative log likelihood of the target under a normal distribution: (log var + (input - target)² / var) / 2. The
 * variance gets a gradient where it is above `eps`, and below as if it were `eps`. Looks at variances in a tensor, which
 * waits for the device.
 *
 * @param given - input, target, var, full, eps, reduction; see {@link GaussianNLLOptions}.
 * @throws {ArgumentError} for a variance that is negative, or of another shape.
 */
export function gaussianNllLoss(
  ...given: Call<
    GaussianNLLArguments,
    ["input", "target", "var", "full", "eps", "reduction"],
    [input: Tensor, target: Tensor, variance: Tensor | number, full?: boolean, eps?: number, reduction?: Reduction]
  >
): Tensor {
  const a = readGaussian(given);
  const { input, target } = a;
  return scope(() => {
    const variance = isTensor(a.var) ? fitting(a.var, input) : generated.fullLike(input, a.var);
    // The gradient of the variance is as if nothing had been clamped.
    const clamped = variance.clone();
    noGrad(() => clamped.clamp_({ min: a.eps }));
    const losses = clamped.log().add(input.sub(target).pow(2).div(clamped)).mul(0.5);
    return reduced(a.full ? losses.add(0.5 * Math.log(2 * Math.PI)) : losses, a.reduction);
  });
}
/** A variance for each element, or for each row of the last dimension. */
function fitting(variance: Tensor, input: Tensor): Tensor {
  if (variance.lt(0).any().item() !== 0)
    throw new ArgumentError("gaussianNllLoss", "var without negative elements", variance);
  const [v, x] = [variance.shape, input.shape];
  if (String(v) === String(x)) return variance;
  if (String(v) === String(x.slice(0, -1)) && x.length > 0) return variance.unsqueeze(-1);
  const others = v.length === x.length ? v.filter((n, i) => n !== x[i]) : [];
  if (others.reduce((sum, n) => sum + n, 0) === 1) return variance;
  throw new ArgumentError(
    "gaussianNllLoss",
    `var to have the shape of input ([${x.join(", ")}]), or 1 in one of its dimensions, or all but its last`,
    variance,
  );
}
