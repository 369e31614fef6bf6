/** Losses of two or three inputs: which is nearer, which is greater. */
import { atMost } from "../../options.js";
import {
  cosineEmbeddingLoss,
  MARGIN,
  marginRankingLoss,
  TRIPLET,
  TRIPLET_WITH_DISTANCE,
  tripletMarginLoss,
  tripletMarginWithDistanceLoss,
  type Distance,
  type MarginOptions,
  type MarginOrder,
  type MarginPositions,
  type Reduction,
  type TripletOptions,
  type TripletOrder,
  type TripletPositions,
  type TripletWithDistanceOptions,
} from "../../ops/losses/index.js";
import { signature, type Call } from "../../signature.js";
import type { Tensor } from "../../tensor/tensor.js";
import { PairwiseDistance } from "../distance.js";
import { Module } from "../module.js";
import { Loss } from "./loss.js";

type MarginCall = Call<MarginOptions, MarginOrder, MarginPositions>;
const readMargin = signature("Loss", MARGIN);

/** Whether pairs are alike, by the angle between them; see {@link cosineEmbeddingLoss}. */
export class CosineEmbeddingLoss extends Loss {
  readonly margin: number;
  constructor(...given: MarginCall) {
    const a = readMargin(given, new.target.name);
    super(a);
    this.margin = a.margin;
  }
  forward(input1: Tensor, input2: Tensor, target: Tensor): Tensor {
    atMost("CosineEmbeddingLoss.forward", arguments, 3);
    return cosineEmbeddingLoss(input1, input2, target, { margin: this.margin, reduction: this.reduction });
  }
}
/** Which of two is the greater; see {@link marginRankingLoss}. */
export class MarginRankingLoss extends Loss {
  readonly margin: number;
  constructor(...given: MarginCall) {
    const a = readMargin(given, new.target.name);
    super(a);
    this.margin = a.margin;
  }
  forward(input1: Tensor, input2: Tensor, target: Tensor): Tensor {
    atMost("MarginRankingLoss.forward", arguments, 3);
    return marginRankingLoss(input1, input2, target, { margin: this.margin, reduction: this.reduction });
  }
}

const readTriplet = signature("TripletMarginLoss", TRIPLET);
/** Which of two is nearer to an anchor; see {@link tripletMarginLoss}. */
export class TripletMarginLoss extends Loss {
  readonly margin: number;
  readonly p: number;
  readonly eps: number;
  readonly swap: boolean;
  constructor(...given: Call<TripletOptions, TripletOrder, TripletPositions>) {
    const a = readTriplet(given, new.target.name);
    super(a);
    this.margin = a.margin;
    this.p = a.p;
    this.eps = a.eps;
    this.swap = a.swap;
  }
  forward(anchor: Tensor, positive: Tensor, negative: Tensor): Tensor {
    atMost("TripletMarginLoss.forward", arguments, 3);
    const { margin, p, eps, swap, reduction } = this;
    return tripletMarginLoss(anchor, positive, negative, { margin, p, eps, swap, reduction });
  }
}

const readWithDistance = signature("TripletMarginWithDistanceLoss", TRIPLET_WITH_DISTANCE, 0);
/**
 * {@link TripletMarginLoss} with a distance of one's own; a module that is the distance is a child of this one. Options
 * by name.
 */
export class TripletMarginWithDistanceLoss extends Module {
  readonly distanceFunction: Distance;
  readonly margin: number;
  readonly swap: boolean;
  readonly reduction: Reduction;
  constructor(...given: Call<TripletWithDistanceOptions, [], []>) {
    const a = readWithDistance(given, new.target.name);
    super();
    this.distanceFunction = a.distanceFunction ?? new PairwiseDistance();
    this.margin = a.margin;
    this.swap = a.swap;
    this.reduction = a.reduction;
  }
  forward(anchor: Tensor, positive: Tensor, negative: Tensor): Tensor {
    atMost("TripletMarginWithDistanceLoss.forward", arguments, 3);
    const { distanceFunction, margin, swap, reduction } = this;
    return tripletMarginWithDistanceLoss(anchor, positive, negative, { distanceFunction, margin, swap, reduction });
  }
}
