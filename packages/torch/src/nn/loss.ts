/** Losses. */
import { atMost, checkOptions, optionsFrom, type Given } from "../options.js";
import type { Tensor } from "../tensor/tensor.js";
import * as functional from "./functional.js";
import {
  BCE,
  CROSS_ENTROPY,
  NLL,
  REDUCTION,
  SMOOTH_L1,
  type BCEWithLogitsOptions,
  type CrossEntropyOptions,
  type NLLOptions,
  type Reduction,
  type ReductionOptions,
  type SmoothL1Options,
} from "./loss-options.js";
import { Module } from "./module.js";

// PyTorch takes the weight by position too; behind it stand two arguments that it has given up.
type Weighted<O> = Given<O, [weight: Tensor | null]>;

/** -log softmax(logits)[target]; see {@link functional.crossEntropy}. */
export class CrossEntropyLoss extends Module {
  declare weight: Tensor | null;
  readonly ignoreIndex: number;
  readonly labelSmoothing: number;
  readonly reduction: Reduction;
  constructor(...rest: Weighted<CrossEntropyOptions>) {
    super();
    const options = optionsFrom("CrossEntropyLoss", 0, rest, CROSS_ENTROPY, 1);
    this.reduction = options.reduction ?? "mean";
    this.registerBuffer("weight", options.weight ?? null);
    this.ignoreIndex = options.ignoreIndex ?? -100;
    this.labelSmoothing = options.labelSmoothing ?? 0;
  }
  forward(logits: Tensor, target: Tensor): Tensor {
    atMost("CrossEntropyLoss.forward", arguments, 2);
    return functional.crossEntropy(logits, target, {
      weight: this.weight,
      reduction: this.reduction,
      ignoreIndex: this.ignoreIndex,
      labelSmoothing: this.labelSmoothing,
    });
  }
}
/** -log probability of the target, given log probabilities; see {@link functional.nllLoss}. */
export class NLLLoss extends Module {
  declare weight: Tensor | null;
  readonly ignoreIndex: number;
  readonly reduction: Reduction;
  constructor(...rest: Weighted<NLLOptions>) {
    super();
    const options = optionsFrom("NLLLoss", 0, rest, NLL, 1);
    this.reduction = options.reduction ?? "mean";
    this.registerBuffer("weight", options.weight ?? null);
    this.ignoreIndex = options.ignoreIndex ?? -100;
  }
  forward(logProbabilities: Tensor, target: Tensor): Tensor {
    atMost("NLLLoss.forward", arguments, 2);
    return functional.nllLoss(logProbabilities, target, {
      weight: this.weight,
      reduction: this.reduction,
      ignoreIndex: this.ignoreIndex,
    });
  }
}
/** (x - y)² */
export class MSELoss extends Module {
  readonly reduction: Reduction;
  constructor(options: ReductionOptions = {}) {
    super();
    atMost("MSELoss", arguments, 1);
    checkOptions("MSELoss", options, REDUCTION);
    this.reduction = options.reduction ?? "mean";
  }
  forward(x: Tensor, y: Tensor): Tensor {
    atMost("MSELoss.forward", arguments, 2);
    return functional.mseLoss(x, y, { reduction: this.reduction });
  }
}
/** |x - y| */
export class L1Loss extends Module {
  readonly reduction: Reduction;
  constructor(options: ReductionOptions = {}) {
    super();
    atMost("L1Loss", arguments, 1);
    checkOptions("L1Loss", options, REDUCTION);
    this.reduction = options.reduction ?? "mean";
  }
  forward(x: Tensor, y: Tensor): Tensor {
    atMost("L1Loss.forward", arguments, 2);
    return functional.l1Loss(x, y, { reduction: this.reduction });
  }
}
/** Squared under `beta`, absolute above. */
export class SmoothL1Loss extends Module {
  readonly reduction: Reduction;
  readonly beta: number;
  constructor(options: SmoothL1Options = {}) {
    super();
    atMost("SmoothL1Loss", arguments, 1);
    checkOptions("SmoothL1Loss", options, SMOOTH_L1);
    this.reduction = options.reduction ?? "mean";
    this.beta = options.beta ?? 1;
  }
  forward(x: Tensor, y: Tensor): Tensor {
    atMost("SmoothL1Loss.forward", arguments, 2);
    return functional.smoothL1Loss(x, y, { reduction: this.reduction, beta: this.beta });
  }
}
/**
 * Binary cross entropy of logits: safe in 16 bit, where that of probabilities is not; see {@link
 * functional.binaryCrossEntropyWithLogits}.
 */
export class BCEWithLogitsLoss extends Module {
  declare weight: Tensor | null;
  declare posWeight: Tensor | null;
  readonly reduction: Reduction;
  constructor(...rest: Weighted<BCEWithLogitsOptions>) {
    super();
    const options = optionsFrom("BCEWithLogitsLoss", 0, rest, BCE, 1);
    this.reduction = options.reduction ?? "mean";
    this.registerBuffer("weight", options.weight ?? null);
    this.registerBuffer("posWeight", options.posWeight ?? null);
  }
  forward(logits: Tensor, target: Tensor): Tensor {
    atMost("BCEWithLogitsLoss.forward", arguments, 2);
    return functional.binaryCrossEntropyWithLogits(logits, target, {
      weight: this.weight,
      posWeight: this.posWeight,
      reduction: this.reduction,
    });
  }
}
