/** Distances, products of two inputs, and classes as vectors. */
import { byDefault, real, whole } from "../../kinds.js";
import * as ops from "../../ops/index.js";
import { isRecording } from "../../program/recorded-step.js";
import { signature, type Call } from "../../signature.js";
import { tensorKind } from "../../tensor/kinds.js";
import type { Tensor } from "../../tensor/tensor.js";
import { anyNumber, dimension, input, none, number, off, type InputArguments } from "./rows.js";

interface PairArguments {
  readonly x1: Tensor;
  readonly x2: Tensor;
}
const PAIR = { x1: tensorKind, x2: tensorKind };

export interface PairwiseDistanceOptions {
  /** Of the norm. Default 2. */
  readonly p?: number;
  /** Added to differences. Default 1e-6. */
  readonly eps?: number;
  /** Keep the last dimension, as 1. Default false. */
  readonly keepdim?: boolean;
}
/** @internal In the order in which the module takes them. */
export const PAIRWISE = { p: byDefault(2, anyNumber), eps: byDefault(1e-6, number), keepdim: off };
const readPairwise = signature("pairwiseDistance", { ...PAIR, ...PAIRWISE });
/** ‖x1 - x2 + eps‖ₚ over the last dimension; shapes broadcast. */
export function pairwiseDistance(
  ...given: Call<
    PairwiseDistanceOptions & PairArguments,
    ["x1", "x2", "p", "eps", "keepdim"],
    [x1: Tensor, x2: Tensor, p?: number, eps?: number, keepdim?: boolean]
  >
): Tensor {
  const { x1, x2, p, eps, keepdim } = readPairwise(given);
  return ops.pairwiseDistance(x1, x2, p, eps, keepdim);
}

export interface CosineSimilarityOptions {
  /** Over which dimension. Default 1. */
  readonly dim?: number;
  /** The least that norms are taken for. Default 1e-8. */
  readonly eps?: number;
}
/** @internal In the order in which the module takes them. */
export const COSINE = { dim: byDefault(1, dimension), eps: byDefault(1e-8, number) };
const readCosine = signature("cosineSimilarity", { ...PAIR, ...COSINE });
/** x1 · x2 / (max(‖x1‖, eps) · max(‖x2‖, eps)) over a dimension; shapes broadcast. */
export function cosineSimilarity(
  ...given: Call<
    CosineSimilarityOptions & PairArguments,
    ["x1", "x2", "dim", "eps"],
    [x1: Tensor, x2: Tensor, dim?: number, eps?: number]
  >
): Tensor {
  const { x1, x2, dim, eps } = readCosine(given);
  return ops.cosineSimilarity(x1, x2, dim, eps);
}

const readPdist = signature("pdist", { input, p: byDefault(2, real("[0, ∞]")) });
/** Distances of every pair of rows of `[N, M]`: `[N (N - 1) / 2]`. */
export function pdist(
  ...given: Call<InputArguments & { readonly p?: number }, ["input", "p"], [input: Tensor, p?: number]>
): Tensor {
  const { input, p } = readPdist(given);
  return ops.pdist(input, p);
}

export interface BilinearFunctionArguments {
  /** `[…, in1]` */
  readonly input1: Tensor;
  /** `[…, in2]` */
  readonly input2: Tensor;
  /** `[out, in1, in2]` */
  readonly weight: Tensor;
  /** `[out]`. Default null. */
  readonly bias?: Tensor | null;
}
const readBilinear = signature("bilinear", { input1: tensorKind, input2: tensorKind, weight: tensorKind, bias: none });
/** x1ᵀ W x2 + b: `[…, out]`. */
export function bilinear(
  ...given: Call<
    BilinearFunctionArguments,
    ["input1", "input2", "weight", "bias"],
    [input1: Tensor, input2: Tensor, weight: Tensor, bias?: Tensor | null]
  >
): Tensor {
  const { input1, input2, weight, bias } = readBilinear(given);
  return ops.bilinear(input1, input2, weight, bias);
}

const readOneHot = signature("oneHot", { tensor: tensorKind, numClasses: byDefault(-1, whole("[-1, ∞)")) });
/**
 * Classes as vectors of zeros with a one: int64, one dimension more.
 * @param numClasses - Default -1: one more than the greatest class, for which it waits for the device.
 */
export function oneHot(
  ...given: Call<
    { readonly tensor: Tensor; readonly numClasses?: number },
    ["tensor", "numClasses"],
    [tensor: Tensor, numClasses?: number]
  >
): Tensor {
  const { tensor, numClasses } = readOneHot(given);
  // The operator looks at the classes first, which no recorded step can.
  if (numClasses > 0 && isRecording())
    return ops.arange(numClasses, { dtype: tensor.dtype, device: tensor.device }).eq(tensor.unsqueeze(-1)).long();
  return ops.oneHot(tensor, numClasses);
}
