/** Layers as functions, with PyTorch's argument names in camelCase. */
import { ArgumentError } from "../errors.js";
import { classesOrProbabilities, classIndices } from "../ops/class-losses.js";
import * as ops from "../ops/index.js";
import type { Tensor } from "../tensor/tensor.js";
import {
  BCE,
  CROSS_ENTROPY,
  NLL,
  prepare,
  REDUCTION,
  SMOOTH_L1,
  type BCEWithLogitsOptions,
  type CrossEntropyOptions,
  type NLLOptions,
  type ReductionOptions,
  type SmoothL1Options,
} from "./loss-options.js";

export {
  linear,
  conv1d,
  conv2d,
  conv3d,
  relu,
  gelu,
  silu,
  sigmoid,
  tanh,
  softmax,
  logSoftmax,
  embedding,
  layerNorm,
  groupNorm,
  rmsNorm,
  batchNorm,
  dropout,
  maxPool2d,
  avgPool2d,
  adaptiveAvgPool2d,
  scaledDotProductAttention,
  pad,
  oneHot,
} from "../ops/index.js";

export { biasGelu, type BiasGeluOptions } from "./bias-gelu.js";
export { batchNormRelu, batchNormReluForBranches, type BatchNormReluOptions } from "./fused-batch-norm.js";
export { splitHeads, type Heads, type SplitHeadsOptions } from "./split-heads.js";
export { addLayerNorm, addRmsNorm, type AddNormOptions, type NormPair } from "./fused-norm.js";
export {
  fusedLinearCrossEntropy,
  linearCrossEntropyReference,
  type FusedLinearCrossEntropyOptions,
} from "./fused-linear-cross-entropy.js";

export type {
  BCEWithLogitsOptions,
  CrossEntropyOptions,
  NLLOptions,
  Reduction,
  ReductionOptions,
  SmoothL1Options,
} from "./loss-options.js";

/**
 * Cross entropy of logits: -log softmax(logits)[target], over dimension 1.
 *
 * @param logits - `[N, C]` or `[N, C, …]`, floating point. float32 under autocast.
 * @param target - `[N]` or `[N, …]` classes, or probabilities of the shape of the logits. Classes are int64; whole
 * numbers in another dtype are taken too, of which floats wait for the device.
 * @returns `[]`, or the shape of the targets with reduction "none". Does not synchronize for int64 targets.
 * @throws {ArgumentError} for a target that is neither: `crossEntropy: expected target to be class indices: int64, or
 * whole numbers. Received: Tensor float32 [4] cpu. …`
 */
export function crossEntropy(logits: Tensor, target: Tensor, options: CrossEntropyOptions = {}): Tensor {
  const reduction = prepare("crossEntropy", arguments, options, CROSS_ENTROPY);
  return ops.crossEntropyLoss(
    logits,
    classesOrProbabilities("crossEntropy", logits, target),
    options.weight ?? null,
    reduction,
    options.ignoreIndex ?? -100,
    options.labelSmoothing ?? 0,
  );
}
/**
 * -logProbabilities[target], over dimension 1. Shapes and targets as of {@link crossEntropy}, without its
 * probabilities.
 */
export function nllLoss(logProbabilities: Tensor, target: Tensor, options: NLLOptions = {}): Tensor {
  const reduction = prepare("nllLoss", arguments, options, NLL);
  return ops.nllLossNd(
    logProbabilities,
    classIndices("nllLoss", "target", target),
    options.weight ?? null,
    reduction,
    options.ignoreIndex ?? -100,
  );
}

function same(fn: string, x: Tensor, y: Tensor): void {
  if (String(x.shape) !== String(y.shape))
    throw new ArgumentError(
      fn,
      `two tensors of one shape ([${x.shape.join(", ")}])`,
      y,
      "Reshape one of them: broadcasting a loss is nearly always a mistake.",
    );
}
export function mseLoss(x: Tensor, y: Tensor, options: ReductionOptions = {}): Tensor {
  const reduction = prepare("mseLoss", arguments, options, REDUCTION);
  same("mseLoss", x, y);
  return ops.mseLoss(x, y, reduction);
}
export function l1Loss(x: Tensor, y: Tensor, options: ReductionOptions = {}): Tensor {
  const reduction = prepare("l1Loss", arguments, options, REDUCTION);
  same("l1Loss", x, y);
  return ops.l1Loss(x, y, reduction);
}
export function smoothL1Loss(x: Tensor, y: Tensor, options: SmoothL1Options = {}): Tensor {
  const reduction = prepare("smoothL1Loss", arguments, options, SMOOTH_L1);
  same("smoothL1Loss", x, y);
  return ops.smoothL1Loss(x, y, reduction, options.beta ?? 1);
}
/**
 * Binary cross entropy of logits: with p = σ(logits), -weight · (posWeight · target · log p + (1 - target) · log(1 -
 * p)).
 */
export function binaryCrossEntropyWithLogits(
  logits: Tensor,
  target: Tensor,
  options: BCEWithLogitsOptions = {},
): Tensor {
  const reduction = prepare("binaryCrossEntropyWithLogits", arguments, options, BCE);
  same("binaryCrossEntropyWithLogits", logits, target);
  return ops.binaryCrossEntropyWithLogits(logits, target, options.weight ?? null, options.posWeight ?? null, reduction);
}
