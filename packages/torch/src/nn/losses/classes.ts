/** Losses of scores of classes against class indices. */
import { atMost } from "../../options.js";
import {
  CROSS_ENTROPY,
  crossEntropy,
  CTC,
  ctcLoss,
  MULTI_MARGIN,
  multilabelMarginLoss,
  multiMarginLoss,
  NLL,
  nllLoss,
  type CrossEntropyOptions,
  type CrossEntropyOrder,
  type CrossEntropyPositions,
  type CTCOptions,
  type CTCOrder,
  type CTCPositions,
  type Lengths,
  type MultiMarginOptions,
  type MultiMarginOrder,
  type MultiMarginPositions,
  type NLLOptions,
  type NLLOrder,
  type NLLPositions,
  type Reduction,
} from "../../ops/losses/index.js";
import { signature, type Call } from "../../signature.js";
import type { Tensor } from "../../tensor/tensor.js";
import { Module } from "../module.js";
import { Loss, PlainLoss } from "./loss.js";

const readCrossEntropy = signature("CrossEntropyLoss", CROSS_ENTROPY);
/** -log softmax(input)[target]; see `nn.functional.crossEntropy`. The weight is a buffer. */
export class CrossEntropyLoss extends Loss {
  declare weight: Tensor | null;
  readonly ignoreIndex: number;
  readonly labelSmoothing: number;
  constructor(...given: Call<CrossEntropyOptions, CrossEntropyOrder, CrossEntropyPositions>) {
    const a = readCrossEntropy(given, new.target.name);
    super(a);
    this.registerBuffer("weight", a.weight);
    this.ignoreIndex = a.ignoreIndex;
    this.labelSmoothing = a.labelSmoothing;
  }
  forward(input: Tensor, target: Tensor): Tensor {
    atMost("CrossEntropyLoss.forward", arguments, 2);
    const { weight, reduction, ignoreIndex, labelSmoothing } = this;
    return crossEntropy(input, target, { weight, reduction, ignoreIndex, labelSmoothing });
  }
}

const readNll = signature("NLLLoss", NLL);
/** -input[target], given log probabilities; see {@link nllLoss}. The weight is a buffer. */
export class NLLLoss extends Loss {
  declare weight: Tensor | null;
  readonly ignoreIndex: number;
  constructor(...given: Call<NLLOptions, NLLOrder, NLLPositions>) {
    const a = readNll(given, new.target.name);
    super(a);
    this.registerBuffer("weight", a.weight);
    this.ignoreIndex = a.ignoreIndex;
  }
  forward(input: Tensor, target: Tensor): Tensor {
    atMost(`${this.constructor.name}.forward`, arguments, 2);
    const { weight, reduction, ignoreIndex } = this;
    return nllLoss(input, target, { weight, reduction, ignoreIndex });
  }
}
/** An old name of {@link NLLLoss}, which takes inputs of any number of dimensions. */
export class NLLLoss2d extends NLLLoss {}

const readMultiMargin = signature("MultiMarginLoss", MULTI_MARGIN);
/** See {@link multiMarginLoss}. The weight is a buffer. */
export class MultiMarginLoss extends Loss {
  declare weight: Tensor | null;
  readonly p: 1 | 2;
  readonly margin: number;
  constructor(...given: Call<MultiMarginOptions, MultiMarginOrder, MultiMarginPositions>) {
    const a = readMultiMargin(given, new.target.name);
    super(a);
    this.registerBuffer("weight", a.weight);
    this.p = a.p;
    this.margin = a.margin;
  }
  forward(input: Tensor, target: Tensor): Tensor {
    atMost("MultiMarginLoss.forward", arguments, 2);
    const { p, margin, weight, reduction } = this;
    return multiMarginLoss(input, target, { p, margin, weight, reduction });
  }
}

/** See {@link multilabelMarginLoss}. */
export class MultiLabelMarginLoss extends PlainLoss {
  forward(input: Tensor, target: Tensor): Tensor {
    atMost("MultiLabelMarginLoss.forward", arguments, 2);
    return multilabelMarginLoss(input, target, { reduction: this.reduction });
  }
}

const readCtc = signature("CTCLoss", CTC);
/** Connectionist temporal classification; see {@link ctcLoss}. */
export class CTCLoss extends Module {
  readonly blank: number;
  readonly reduction: Reduction;
  readonly zeroInfinity: boolean;
  constructor(...given: Call<CTCOptions, CTCOrder, CTCPositions>) {
    const a = readCtc(given, new.target.name);
    super();
    this.blank = a.blank;
    this.reduction = a.reduction;
    this.zeroInfinity = a.zeroInfinity;
  }
  forward(logProbs: Tensor, targets: Tensor, inputLengths: Lengths, targetLengths: Lengths): Tensor {
    atMost("CTCLoss.forward", arguments, 4);
    return ctcLoss(logProbs, targets, inputLengths, targetLengths, this.blank, this.reduction, this.zeroInfinity);
  }
}
