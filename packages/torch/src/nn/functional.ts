/** Layers as functions, with PyTorch's argument names in camelCase. */
import { ArgumentError } from "../errors.js";
import * as ops from "../ops/index.js";
import type { Tensor } from "../tensor/tensor.js";

export { linear, conv1d, conv2d, conv3d, relu, gelu, silu, sigmoid, tanh, softmax, logSoftmax, embedding, layerNorm, groupNorm, rmsNorm, batchNorm, dropout, maxPool2d, avgPool2d, adaptiveAvgPool2d, scaledDotProductAttention, pad, oneHot } from "../ops/index.js";

export { biasGelu, type BiasGeluOptions } from "./bias-gelu.js";
export { batchNormRelu, type BatchNormReluOptions } from "./fused-batch-norm.js";
export { addLayerNorm, addRmsNorm, type AddNormOptions, type NormPair } from "./fused-norm.js";
export { fusedLinearCrossEntropy, linearCrossEntropyReference, type FusedLinearCrossEntropyOptions } from "./fused-linear-cross-entropy.js";

export type Reduction = "none" | "mean" | "sum";
const REDUCTIONS: Readonly<Record<Reduction, number>> = { none: 0, mean: 1, sum: 2 };

function code(fn: string, reduction: Reduction): number {
  const found = Object.hasOwn(REDUCTIONS, reduction) ? REDUCTIONS[reduction] : undefined;
  if (found === undefined) throw new ArgumentError(fn, "reduction to be one of none, mean, sum", reduction);
  return found;
}
interface Reduced {
  readonly reduction?: Reduction;
}

/**
 * Cross entropy of logits: -log softmax(logits)[target], over dimension 1.
 *
 * @param logits - `[N, C]` or `[N, C, …]`, floating point. float32 under autocast.
 * @param target - `[N]` or `[N, …]` int64 classes, or probabilities of the shape of the logits.
 * @returns `[]`, or the shape of the targets with reduction "none". Does not synchronize.
 * @throws {ArgumentError} for a target of another dtype: `crossEntropy: expected target to be int64 classes or probabilities of the logits' shape. Received: Tensor float32 [4] cpu.`
 */
export function crossEntropy(logits: Tensor, target: Tensor, options: Reduced & { readonly weight?: Tensor | null; readonly ignoreIndex?: number; readonly labelSmoothing?: number } = {}): Tensor {
  const dtype = target.dtype;
  if (dtype !== "int64" && dtype !== "uint8" && target.ndim !== logits.ndim)
    throw new ArgumentError("crossEntropy", "target to be int64 classes or probabilities of the logits' shape", target, "Make targets with { dtype: \"int64\" }.");
  return ops.crossEntropyLoss(logits, target, options.weight ?? null, code("crossEntropy", options.reduction ?? "mean"), options.ignoreIndex ?? -100, options.labelSmoothing ?? 0);
}
export function nllLoss(logProbabilities: Tensor, target: Tensor, options: Reduced & { readonly weight?: Tensor | null; readonly ignoreIndex?: number } = {}): Tensor {
  return ops.nllLossNd(logProbabilities, target, options.weight ?? null, code("nllLoss", options.reduction ?? "mean"), options.ignoreIndex ?? -100);
}

function same(fn: string, x: Tensor, y: Tensor): void {
  if (String(x.shape) !== String(y.shape)) throw new ArgumentError(fn, `two tensors of one shape ([${x.shape.join(", ")}])`, y, "Reshape one of them: broadcasting a loss is nearly always a mistake.");
}
export function mseLoss(x: Tensor, y: Tensor, options: Reduced = {}): Tensor {
  same("mseLoss", x, y);
  return ops.mseLoss(x, y, code("mseLoss", options.reduction ?? "mean"));
}
export function l1Loss(x: Tensor, y: Tensor, options: Reduced = {}): Tensor {
  same("l1Loss", x, y);
  return ops.l1Loss(x, y, code("l1Loss", options.reduction ?? "mean"));
}
export function smoothL1Loss(x: Tensor, y: Tensor, options: Reduced & { readonly beta?: number } = {}): Tensor {
  same("smoothL1Loss", x, y);
  return ops.smoothL1Loss(x, y, code("smoothL1Loss", options.reduction ?? "mean"), options.beta ?? 1);
}
export function binaryCrossEntropyWithLogits(logits: Tensor, target: Tensor, options: Reduced & { readonly weight?: Tensor | null; readonly posWeight?: Tensor | null } = {}): Tensor {
  same("binaryCrossEntropyWithLogits", logits, target);
  return ops.binaryCrossEntropyWithLogits(logits, target, options.weight ?? null, options.posWeight ?? null, code("binaryCrossEntropyWithLogits", options.reduction ?? "mean"));
}
