/** Losses of answers that are yes or no. */
import { atMost } from "../../options.js";
import {
  BCE_WITH_LOGITS,
  binaryCrossEntropy,
  binaryCrossEntropyWithLogits,
  HINGE,
  hingeEmbeddingLoss,
  multilabelSoftMarginLoss,
  softMarginLoss,
  WEIGHTED,
  type BCEWithLogitsOptions,
  type BCEWithLogitsOrder,
  type BCEWithLogitsPositions,
  type MarginOptions,
  type MarginOrder,
  type MarginPositions,
  type WeightedOptions,
  type WeightedOrder,
  type WeightedPositions,
} from "../../ops/losses/index.js";
import { signature, type Call } from "../../signature.js";
import type { Tensor } from "../../tensor/tensor.js";
import { Loss, PlainLoss } from "./loss.js";

type WeightedCall = Call<WeightedOptions, WeightedOrder, WeightedPositions>;
const readWeighted = signature("Loss", WEIGHTED);

/**
 * Binary cross entropy of probabilities, such as a sigmoid's: unsafe in 16 bits, where {@link BCEWithLogitsLoss} is not;
 * see {@link binaryCrossEntropy}. The weight is a buffer.
 */
export class BCELoss extends Loss {
  declare weight: Tensor | null;
  constructor(...given: WeightedCall) {
    const a = readWeighted(given, new.target.name);
    super(a);
    this.registerBuffer("weight", a.weight);
  }
  forward(input: Tensor, target: Tensor): Tensor {
    atMost("BCELoss.forward", arguments, 2);
    return binaryCrossEntropy(input, target, { weight: this.weight, reduction: this.reduction });
  }
}

const readLogits = signature("BCEWithLogitsLoss", BCE_WITH_LOGITS);
/**
 * Binary cross entropy of logits: safe in 16 bits, where that of probabilities is not; see {@link
 * binaryCrossEntropyWithLogits}. The weights are buffers.
 */
export class BCEWithLogitsLoss extends Loss {
  declare weight: Tensor | null;
  declare posWeight: Tensor | null;
  constructor(...given: Call<BCEWithLogitsOptions, BCEWithLogitsOrder, BCEWithLogitsPositions>) {
    const a = readLogits(given, new.target.name);
    super(a);
    this.registerBuffer("weight", a.weight);
    this.registerBuffer("posWeight", a.posWeight);
  }
  forward(input: Tensor, target: Tensor): Tensor {
    atMost("BCEWithLogitsLoss.forward", arguments, 2);
    const { weight, posWeight, reduction } = this;
    return binaryCrossEntropyWithLogits(input, target, { weight, posWeight, reduction });
  }
}

/** The mean over classes of the binary cross entropy of logits; see `nn.functional.multilabelSoftMarginLoss`. */
export class MultiLabelSoftMarginLoss extends Loss {
  declare weight: Tensor | null;
  constructor(...given: WeightedCall) {
    const a = readWeighted(given, new.target.name);
    super(a);
    this.registerBuffer("weight", a.weight);
  }
  forward(input: Tensor, target: Tensor): Tensor {
    atMost("MultiLabelSoftMarginLoss.forward", arguments, 2);
    return multilabelSoftMarginLoss(input, target, { weight: this.weight, reduction: this.reduction });
  }
}

/** log(1 + exp(-target · input)), targets 1 and -1. */
export class SoftMarginLoss extends PlainLoss {
  forward(input: Tensor, target: Tensor): Tensor {
    atMost("SoftMarginLoss.forward", arguments, 2);
    return softMarginLoss(input, target, { reduction: this.reduction });
  }
}

const readHinge = signature("HingeEmbeddingLoss", HINGE);
/** Of distances between what is alike and what is not; see {@link hingeEmbeddingLoss}. */
export class HingeEmbeddingLoss extends Loss {
  readonly margin: number;
  constructor(...given: Call<MarginOptions, MarginOrder, MarginPositions>) {
    const a = readHinge(given, new.target.name);
    super(a);
    this.margin = a.margin;
  }
  forward(input: Tensor, target: Tensor): Tensor {
    atMost("HingeEmbeddingLoss.forward", arguments, 2);
    return hingeEmbeddingLoss(input, target, { margin: this.margin, reduction: this.reduction });
  }
}
