/** A linear layer and the cross entropy of its outputs, as one module. */
import { ArgumentError } from "../../errors.js";
import { byDefault, flag, listOf, orNull } from "../../kinds.js";
import {
  LINEAR_CROSS_ENTROPY,
  linearCrossEntropy,
  type LinearCrossEntropyOptions,
  type Reduction,
} from "../../ops/losses/index.js";
import { atMost, type OptionNames } from "../../options.js";
import { signature, type Call } from "../../signature.js";
import { deviceKind, dtypeKind } from "../../tensor/kinds.js";
import type { Tensor } from "../../tensor/tensor.js";
import { positive } from "../kernels.js";
import { Linear, type FactoryOptions } from "../linear.js";
import { Module } from "../module.js";
import { bool, float, tuple } from "../repr.js";

export interface LinearCrossEntropyLossArguments extends LinearCrossEntropyOptions, FactoryOptions {
  readonly inFeatures: number;
  readonly numClasses: number;
  /** Further dimensions of the loss: the layer has a score for each class at each place. Default none. */
  readonly outFeatures?: readonly number[];
  /** Whether the layer adds one. Default false. */
  readonly bias?: boolean;
}
const read = signature(
  "LinearCrossEntropyLoss",
  {
    inFeatures: positive,
    numClasses: positive,
    outFeatures: byDefault(() => [], listOf(positive)),
    bias: byDefault(false, flag),
    device: byDefault(null, orNull(deviceKind)),
    dtype: byDefault(null, orNull(dtypeKind)),
    ...LINEAR_CROSS_ENTROPY,
  } satisfies OptionNames<LinearCrossEntropyLossArguments>,
  2,
);
/**
 * The cross entropy of a linear layer's outputs, the layer being its child `linear`; see `linearCrossEntropy`. The
 * weight of classes is a buffer. Arguments: inFeatures, numClasses, and options by name.
 */
export class LinearCrossEntropyLoss extends Module {
  declare weight: Tensor | null;
  readonly numClasses: number;
  readonly outFeatures: readonly number[];
  readonly reduction: Reduction;
  readonly ignoreIndex: number | null;
  readonly labelSmoothing: number;
  readonly linear: Linear;
  constructor(
    ...given: Call<
      LinearCrossEntropyLossArguments,
      ["inFeatures", "numClasses"],
      [inFeatures: number, numClasses: number]
    >
  ) {
    const a = read(given, new.target.name);
    if (a.weight !== null && String(a.weight.shape) !== String([a.numClasses]))
      throw new ArgumentError(new.target.name, `weight to be [${a.numClasses}]`, a.weight);
    super();
    this.registerBuffer("weight", a.weight);
    this.numClasses = a.numClasses;
    this.outFeatures = [...a.outFeatures];
    this.reduction = a.reduction;
    this.ignoreIndex = a.ignoreIndex;
    this.labelSmoothing = a.labelSmoothing;
    const outputs = a.outFeatures.reduce((x, y) => x * y, a.numClasses);
    this.linear = new Linear(a.inFeatures, outputs, {
      bias: a.bias,
      device: a.device ?? undefined,
      dtype: a.dtype ?? undefined,
    });
  }
  forward(input: Tensor, target: Tensor): Tensor {
    atMost("LinearCrossEntropyLoss.forward", arguments, 2);
    const { weight, reduction, ignoreIndex, labelSmoothing, linear, numClasses, outFeatures } = this;
    const shape = [numClasses, ...outFeatures];
    return linearCrossEntropy(input, linear.weight.reshape([...shape, linear.inFeatures]), target, {
      linearBias: linear.bias?.reshape(shape) ?? null,
      weight,
      reduction,
      ignoreIndex,
      labelSmoothing,
    });
  }
  override extraRepr(): string {
    const { linear, numClasses, outFeatures, reduction, ignoreIndex, labelSmoothing } = this;
    return (
      `in_features=${linear.inFeatures}, num_classes=${numClasses}, out_features=${tuple(outFeatures)}, ` +
      `bias=${bool(linear.bias !== null)}, reduction=${reduction}, ignore_index=${ignoreIndex ?? "None"}, ` +
      `label_smoothing=${float(labelSmoothing)}, options=None`
    );
  }
}
