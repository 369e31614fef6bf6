/** Losses. */
import { ArgumentError } from "../errors.js";
import * as functional from "./functional.js";
import type { Tensor } from "../tensor/tensor.js";
import { Module } from "./module.js";
import type { Reduction } from "./functional.js";

interface LossOptions {
  readonly reduction?: Reduction;
}
abstract class Loss extends Module {
  readonly reduction: Reduction;
  constructor(options: LossOptions) {
    super();
    this.reduction = options.reduction ?? "mean";
    if (!["none", "mean", "sum"].includes(this.reduction)) throw new ArgumentError(new.target.name, "reduction to be one of none, mean, sum", options.reduction);
  }
}

/** -log softmax(logits)[target]; see {@link functional.crossEntropy}. */
export class CrossEntropyLoss extends Loss {
  declare weight: Tensor | null;
  readonly ignoreIndex: number;
  readonly labelSmoothing: number;
  constructor(options: LossOptions & { readonly weight?: Tensor | null; readonly ignoreIndex?: number; readonly labelSmoothing?: number } = {}) {
    super(options);
    this.registerBuffer("weight", options.weight ?? null);
    this.ignoreIndex = options.ignoreIndex ?? -100;
    this.labelSmoothing = options.labelSmoothing ?? 0;
  }
  forward(logits: Tensor, target: Tensor): Tensor {
    return functional.crossEntropy(logits, target, { weight: this.weight, reduction: this.reduction, ignoreIndex: this.ignoreIndex, labelSmoothing: this.labelSmoothing });
  }
}
/** -log probability of the target, given log probabilities. */
export class NLLLoss extends Loss {
  constructor(options: LossOptions = {}) {
    super(options);
  }
  forward(logProbabilities: Tensor, target: Tensor): Tensor {
    return functional.nllLoss(logProbabilities, target, { reduction: this.reduction });
  }
}
/** (x - y)² */
export class MSELoss extends Loss {
  constructor(options: LossOptions = {}) {
    super(options);
  }
  forward(x: Tensor, y: Tensor): Tensor {
    return functional.mseLoss(x, y, { reduction: this.reduction });
  }
}
/** |x - y| */
export class L1Loss extends Loss {
  constructor(options: LossOptions = {}) {
    super(options);
  }
  forward(x: Tensor, y: Tensor): Tensor {
    return functional.l1Loss(x, y, { reduction: this.reduction });
  }
}
/** Squared under `beta`, absolute above. */
export class SmoothL1Loss extends Loss {
  readonly beta: number;
  constructor(options: LossOptions & { readonly beta?: number } = {}) {
    super(options);
    this.beta = options.beta ?? 1;
  }
  forward(x: Tensor, y: Tensor): Tensor {
    return functional.smoothL1Loss(x, y, { reduction: this.reduction, beta: this.beta });
  }
}
/** Binary cross entropy of logits: safe in 16 bit, where that of probabilities is not. */
export class BCEWithLogitsLoss extends Loss {
  constructor(options: LossOptions = {}) {
    super(options);
  }
  forward(logits: Tensor, target: Tensor): Tensor {
    return functional.binaryCrossEntropyWithLogits(logits, target, { reduction: this.reduction });
  }
}
