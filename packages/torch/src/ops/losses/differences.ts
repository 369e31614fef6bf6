/** Losses of differences between two tensors of one shape. */
import { ArgumentError } from "../../errors.js";
import * as generated from "../../generated/functions.js";
import { byDefault, real } from "../../kinds.js";
import type { OptionNames } from "../../options.js";
import { signature, type Call } from "../../signature.js";
import { scope } from "../../tensor/scope.js";
import type { SameFits } from "../../tensor/shapes.js";
import type { Tensor } from "../../tensor/tensor.js";
import {
  MEAN,
  NUMBERS,
  numberOf,
  PAIR,
  reduced,
  reductionOf,
  REDUCTIONS,
  WEIGHT,
  type NewReductionOptions,
  type PairArguments,
  type Reduction,
  type ReductionOptions,
} from "./reduction.js";

type Old = boolean | null;

const warned = new Set<string>();
/** Both in the shape that they broadcast to, which is nearly always a mistake: said once per loss. */
function ofOneShape(fn: string, input: Tensor, target: Tensor): readonly [Tensor, Tensor] {
  const [a, b] = [input.shape, target.shape];
  if (String(a) === String(b)) return [input, target];
  if (!warned.has(fn)) {
    warned.add(fn);
    process.emitWarning(
      `${fn}: target has shape [${b.join(", ")}], input [${a.join(", ")}]. They are broadcast to one another, which is ` +
        "nearly always a mistake: reshape one of them. This is said once.",
      { type: "NbitWarning", code: "WARN_LOSS_BROADCAST" },
    );
  }
  return generated.broadcastTensors([input, target]) as [Tensor, Tensor];
}
function checkWeight(fn: string, weight: Tensor, input: Tensor): void {
  if (String(weight.shape) !== String(input.shape))
    throw new ArgumentError(fn, `weight to have the shape of input ([${input.shape.join(", ")}])`, weight);
}

export interface DifferenceOptions extends ReductionOptions {
  /** Of each element, in the shape of `input`; "mean" divides by the sum of the weights. */
  readonly weight?: Tensor | null;
}
const DIFFERENCE = { ...REDUCTIONS, weight: WEIGHT } satisfies OptionNames<DifferenceOptions>;
interface DifferenceLoss {
  <I extends Tensor, T extends Tensor>(
    input: I,
    target: T & SameFits<I, T>,
    ...rest: Call<
      DifferenceOptions,
      ["sizeAverage", "reduce", "reduction", "weight"],
      [sizeAverage?: Old, reduce?: Old, reduction?: Reduction, weight?: Tensor | null]
    >
  ): Tensor;
  (...given: Call<PairArguments & DifferenceOptions, ["input"], [input: Tensor]>): Tensor;
}

/** A loss of elements whose weighted mean is over the sum of the weights. */
function difference(
  fn: string,
  whole: (a: Tensor, b: Tensor, reduction: number) => Tensor,
  each: (difference: Tensor) => Tensor,
): DifferenceLoss {
  const read = signature(fn, { ...PAIR, ...DIFFERENCE });
  return (...given: readonly unknown[]) => {
    const a = read(given);
    const { weight } = a;
    const [input, target] = ofOneShape(fn, a.input, a.target);
    if (weight === null) return whole(input, target, numberOf(a));
    checkWeight(fn, weight, a.input);
    const reduction = reductionOf(a);
    return scope(() => {
      const losses = each(input.sub(target)).mul(weight);
      return reduction === "mean" ? losses.sum().div(weight.sum()) : reduced(losses, reduction);
    });
  };
}

/** (input - target)². Arguments: input, target, sizeAverage, reduce, reduction, weight; see {@link DifferenceOptions}. */
export const mseLoss = difference("mseLoss", generated.mseLoss, (d) => d.pow(2));
/** |input - target|. Arguments as of {@link mseLoss}. */
export const l1Loss = difference("l1Loss", generated.l1Loss, (d) => d.abs());

export interface SmoothL1Options extends ReductionOptions {
  /** Below it the loss is quadratic, ≥ 0. Default 1. */
  readonly beta?: number;
}
/** @internal */
export const SMOOTH_L1 = { ...REDUCTIONS, beta: byDefault(1, real("[0, ∞)")) } satisfies OptionNames<SmoothL1Options>;
export type SmoothL1Order = ["sizeAverage", "reduce", "reduction", "beta"];
export type SmoothL1Positions = [sizeAverage?: Old, reduce?: Old, reduction?: Reduction, beta?: number];

const readSmoothL1 = signature("smoothL1Loss", { ...PAIR, ...SMOOTH_L1 });
/** d² / (2 beta) where d = |input - target| is under beta, else d - beta / 2. */
export function smoothL1Loss(
  ...given: Call<
    PairArguments & SmoothL1Options,
    ["input", "target", ...SmoothL1Order],
    [input: Tensor, target: Tensor, ...SmoothL1Positions]
  >
): Tensor {
  const a = readSmoothL1(given);
  const [input, target] = ofOneShape("smoothL1Loss", a.input, a.target);
  return a.beta === 0
    ? generated.l1Loss(input, target, numberOf(a))
    : generated.smoothL1Loss(input, target, numberOf(a), a.beta);
}

export interface HuberOptions extends NewReductionOptions {
  /** Below it the loss is quadratic, > 0. Default 1. */
  readonly delta?: number;
}
/** @internal */
export const HUBER = { reduction: MEAN, delta: byDefault(1, real("(0, ∞)")) } satisfies OptionNames<HuberOptions>;
export type HuberOrder = ["reduction", "delta"];
export type HuberPositions = [reduction?: Reduction, delta?: number];
export interface HuberArguments extends PairArguments, HuberOptions {
  /** Of each element, in the shape of `input`; "mean" divides by the number of elements. */
  readonly weight?: Tensor | null;
}
const readHuber = signature("huberLoss", { ...PAIR, ...HUBER, weight: WEIGHT } satisfies OptionNames<HuberArguments>);
/** d² / 2 where d = |input - target| is under delta, else delta · (d - delta / 2). */
export function huberLoss(
  ...given: Call<
    HuberArguments,
    ["input", "target", ...HuberOrder, "weight"],
    [input: Tensor, target: Tensor, ...HuberPositions, weight?: Tensor | null]
  >
): Tensor {
  const a = readHuber(given);
  const { weight, reduction, delta } = a;
  const [input, target] = ofOneShape("huberLoss", a.input, a.target);
  if (weight === null) return generated.huberLoss(input, target, NUMBERS[reduction], delta);
  checkWeight("huberLoss", weight, a.input);
  return scope(() => reduced(generated.huberLoss(input, target, NUMBERS.none, delta).mul(weight), reduction));
}
