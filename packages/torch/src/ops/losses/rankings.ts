/** Losses of two or three inputs: which is nearer, which is greater. */
import { ArgumentError } from "../../errors.js";
import * as generated from "../../generated/functions.js";
import { byDefault, flag, orNull, real, such } from "../../kinds.js";
import type { OptionNames } from "../../options.js";
import { signature, type Call } from "../../signature.js";
import { tensorKind } from "../../tensor/kinds.js";
import { scope } from "../../tensor/scope.js";
import type { Tensor } from "../../tensor/tensor.js";
import type { MarginOptions, MarginOrder, MarginPositions } from "./binary.js";
import {
  MEAN,
  numberOf,
  reduced,
  REDUCTIONS,
  type NewReductionOptions,
  type Reduction,
  type ReductionOptions,
} from "./reduction.js";

type Old = boolean | null;

export interface TwoInputs {
  readonly input1: Tensor;
  readonly input2: Tensor;
  /** 1 or -1 for each pair. */
  readonly target: Tensor;
}
const TWO = { input1: tensorKind, input2: tensorKind, target: tensorKind } satisfies OptionNames<TwoInputs>;
/** @internal */
export const MARGIN = { margin: byDefault(0, real()), ...REDUCTIONS } satisfies OptionNames<MarginOptions>;
type TwoCall = Call<
  TwoInputs & MarginOptions,
  ["input1", "input2", "target", ...MarginOrder],
  [input1: Tensor, input2: Tensor, target: Tensor, ...MarginPositions]
>;

const readRanking = signature("marginRankingLoss", { ...TWO, ...MARGIN });
/**
 * max(0, -target · (input1 - input2) + margin): `input1` should be the greater where target is 1, the smaller where it
 * is -1. Arguments: input1, input2, target, margin (default 0), sizeAverage, reduce, reduction.
 * @throws {ArgumentError} unless the three have the same number of dimensions.
 */
export function marginRankingLoss(...given: TwoCall): Tensor {
  const a = readRanking(given);
  alike("marginRankingLoss", [a.input1, a.input2, a.target]);
  return generated.marginRankingLoss(a.input1, a.input2, a.target, a.margin, numberOf(a));
}

const readCosine = signature("cosineEmbeddingLoss", { ...TWO, ...MARGIN });
/**
 * 1 - cos(input1, input2) where target is 1, max(0, cos(input1, input2) - margin) where it is -1. `[N, D]` and `[N]`, or
 * `[D]` and `[]`. Arguments: input1, input2, target, margin (default 0), sizeAverage, reduce, reduction.
 */
export function cosineEmbeddingLoss(...given: TwoCall): Tensor {
  const a = readCosine(given);
  return generated.cosineEmbeddingLoss(a.input1, a.input2, a.target, a.margin, numberOf(a));
}

export interface ThreeInputs {
  readonly anchor: Tensor;
  /** What should be near the anchor. */
  readonly positive: Tensor;
  /** What should be farther, by the margin. */
  readonly negative: Tensor;
}
const THREE = { anchor: tensorKind, positive: tensorKind, negative: tensorKind } satisfies OptionNames<ThreeInputs>;
export interface TripletOptions extends ReductionOptions {
  /** > 0. Default 1. */
  readonly margin?: number;
  /** Of the norm that is the distance. Default 2. */
  readonly p?: number;
  /** Added to every difference. Default 1e-6. */
  readonly eps?: number;
  /** Take the distance of positive and negative where it is the smaller. Default false. */
  readonly swap?: boolean;
}
/** @internal */
export const TRIPLET = {
  margin: byDefault(1, real("(0, ∞)")),
  p: byDefault(2, real("[0, ∞]")),
  eps: byDefault(1e-6, real()),
  swap: byDefault(false, flag),
  ...REDUCTIONS,
} satisfies OptionNames<TripletOptions>;
export type TripletOrder = ["margin", "p", "eps", "swap", "sizeAverage", "reduce", "reduction"];
export type TripletPositions = [
  margin?: number,
  p?: number,
  eps?: number,
  swap?: boolean,
  sizeAverage?: Old,
  reduce?: Old,
  reduction?: Reduction,
];

const readTriplet = signature("tripletMarginLoss", { ...THREE, ...TRIPLET });
/**
 * max(0, d(anchor, positive) - d(anchor, negative) + margin), d the p-norm over the last dimension. Arguments: anchor,
 * positive, negative, margin, p, eps, swap, sizeAverage, reduce, reduction; see {@link TripletOptions}.
 * @see Balntas et al., 2016, "Learning local feature descriptors with triplets and shallow convolutional neural networks".
 */
export function tripletMarginLoss(
  ...given: Call<
    ThreeInputs & TripletOptions,
    ["anchor", "positive", "negative", ...TripletOrder],
    [anchor: Tensor, positive: Tensor, negative: Tensor, ...TripletPositions]
  >
): Tensor {
  const a = readTriplet(given);
  return generated.tripletMarginLoss(a.anchor, a.positive, a.negative, a.margin, a.p, a.eps, a.swap, numberOf(a));
}

/** How far apart the rows of two tensors are, `[N, D]`, `[N, D]` → `[N]`: a function, or a module. */
export type Distance = ((a: Tensor, b: Tensor) => Tensor) | { forward(a: Tensor, b: Tensor): Tensor };
const distanceKind = such<Distance>(
  "a function or a module",
  (v) =>
    typeof v === "function" || (typeof v === "object" && v !== null && typeof Reflect.get(v, "forward") === "function"),
);
export interface TripletWithDistanceOptions extends NewReductionOptions {
  /** Default: the 2-norm of the difference. */
  readonly distanceFunction?: Distance | null;
  /** > 0. Default 1. */
  readonly margin?: number;
  /** Take the distance of positive and negative where it is the smaller. Default false. */
  readonly swap?: boolean;
}
/** @internal */
export const TRIPLET_WITH_DISTANCE = {
  distanceFunction: byDefault(null, orNull(distanceKind)),
  margin: byDefault(1, real("(0, ∞)")),
  swap: byDefault(false, flag),
  reduction: MEAN,
} satisfies OptionNames<TripletWithDistanceOptions>;

const readWithDistance = signature("tripletMarginWithDistanceLoss", { ...THREE, ...TRIPLET_WITH_DISTANCE }, 3);
/**
 * {@link tripletMarginLoss} with a distance of one's own. Arguments: anchor, positive, negative, { distanceFunction,
 * margin, swap, reduction }; see {@link TripletWithDistanceOptions}.
 */
export function tripletMarginWithDistanceLoss(
  ...args: Call<
    ThreeInputs & TripletWithDistanceOptions,
    ["anchor", "positive", "negative"],
    [anchor: Tensor, positive: Tensor, negative: Tensor]
  >
): Tensor {
  const { anchor, positive, negative, ...a } = readWithDistance(args);
  alike("tripletMarginWithDistanceLoss", [anchor, positive, negative]);
  const given = a.distanceFunction;
  const distance = (x: Tensor, y: Tensor): Tensor =>
    given === null ? generated.pairwiseDistance(x, y) : typeof given === "function" ? given(x, y) : given.forward(x, y);
  return scope(() => {
    const near = distance(anchor, positive);
    const far = distance(anchor, negative);
    const least = a.swap ? far.minimum(distance(positive, negative)) : far;
    return reduced(near.add(a.margin).sub(least).clampMin(0), a.reduction);
  });
}

function alike(fn: string, tensors: readonly Tensor[]): void {
  const n = tensors[0]?.ndim;
  for (const t of tensors)
    if (t.ndim !== n) throw new ArgumentError(fn, `inputs of the same number of dimensions (${n})`, t);
}
