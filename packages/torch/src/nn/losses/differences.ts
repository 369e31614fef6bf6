/** Losses of differences between two tensors of one shape. */
import { atMost } from "../../options.js";
import {
  HUBER,
  huberLoss,
  l1Loss,
  mseLoss,
  SMOOTH_L1,
  smoothL1Loss,
  type HuberOptions,
  type HuberOrder,
  type HuberPositions,
  type Reduction,
  type SmoothL1Options,
  type SmoothL1Order,
  type SmoothL1Positions,
} from "../../ops/losses/index.js";
import { signature, type Call } from "../../signature.js";
import type { Tensor } from "../../tensor/tensor.js";
import { Module } from "../module.js";
import { Loss, PlainLoss } from "./loss.js";

/** (input - target)² */
export class MSELoss extends PlainLoss {
  forward(input: Tensor, target: Tensor): Tensor {
    atMost("MSELoss.forward", arguments, 2);
    return mseLoss(input, target, { reduction: this.reduction });
  }
}
/** |input - target| */
export class L1Loss extends PlainLoss {
  forward(input: Tensor, target: Tensor): Tensor {
    atMost("L1Loss.forward", arguments, 2);
    return l1Loss(input, target, { reduction: this.reduction });
  }
}

const readSmoothL1 = signature("SmoothL1Loss", SMOOTH_L1);
/** Squared under `beta`, absolute above; see {@link smoothL1Loss}. */
export class SmoothL1Loss extends Loss {
  readonly beta: number;
  constructor(...given: Call<SmoothL1Options, SmoothL1Order, SmoothL1Positions>) {
    const a = readSmoothL1(given, new.target.name);
    super(a);
    this.beta = a.beta;
  }
  forward(input: Tensor, target: Tensor): Tensor {
    atMost("SmoothL1Loss.forward", arguments, 2);
    return smoothL1Loss(input, target, { reduction: this.reduction, beta: this.beta });
  }
}

const readHuber = signature("HuberLoss", HUBER);
/** Squared under `delta`, absolute above; see {@link huberLoss}. */
export class HuberLoss extends Module {
  readonly reduction: Reduction;
  readonly delta: number;
  constructor(...given: Call<HuberOptions, HuberOrder, HuberPositions>) {
    const a = readHuber(given, new.target.name);
    super();
    this.reduction = a.reduction;
    this.delta = a.delta;
  }
  forward(input: Tensor, target: Tensor): Tensor {
    atMost("HuberLoss.forward", arguments, 2);
    return huberLoss(input, target, { reduction: this.reduction, delta: this.delta });
  }
}
