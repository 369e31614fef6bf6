/** Normalisations, with PyTorch's order of arguments: statistics before weights. */
import { ArgumentError } from "../../errors.js";
import { byDefault, either, listOf, orNull, real, whole } from "../../kinds.js";
import * as ops from "../../ops/index.js";
import { signature, type Call } from "../../signature.js";
import { tensorKind } from "../../tensor/kinds.js";
import type { Tensor } from "../../tensor/tensor.js";
import { requireSeveral } from "../fused-batch-norm.js";
import { positive } from "../kernels.js";
import { anyNumber, dimension, input, none, number, off, on, type InputArguments } from "./rows.js";

const eps = byDefault(1e-5, real("[0, ∞)"));
const statistics = orNull(tensorKind);

interface AffineArguments extends InputArguments {
  /** Per channel; null: 1. */
  readonly weight?: Tensor | null;
  /** Per channel; null: 0. */
  readonly bias?: Tensor | null;
  /** Added to the variance. Default 1e-5. */
  readonly eps?: number;
}
export interface BatchNormFunctionArguments extends AffineArguments {
  /** `[C]`, updated in training and read otherwise; null with `training` alone. */
  readonly runningMean: Tensor | null;
  readonly runningVar: Tensor | null;
  /** Normalise by the batch. Default false. */
  readonly training?: boolean;
  /** Weight of the batch in the running statistics. Default 0.1. */
  readonly momentum?: number;
}
const readBatchNorm = signature("batchNorm", {
  input,
  runningMean: statistics,
  runningVar: statistics,
  weight: none,
  bias: none,
  training: off,
  momentum: byDefault(0.1, number),
  eps,
});
/**
 * (x - mean) / √(var + eps) · weight + bias per channel, dimension 1. Ioffe and Szegedy, 2015.
 * @throws {ArgumentError} for one value per channel in training, whose variance nobody knows.
 */
export function batchNorm(
  ...given: Call<
    BatchNormFunctionArguments,
    ["input", "runningMean", "runningVar", "weight", "bias", "training", "momentum", "eps"],
    [
      input: Tensor,
      runningMean: Tensor | null,
      runningVar: Tensor | null,
      weight?: Tensor | null,
      bias?: Tensor | null,
      training?: boolean,
      momentum?: number,
      eps?: number,
    ]
  >
): Tensor {
  const { input, runningMean, runningVar, weight, bias, training, momentum, eps } = readBatchNorm(given);
  if (training) requireSeveral("batchNorm", input);
  if (training && eps === 0) throw new ArgumentError("batchNorm", "eps to be > 0 in training", eps);
  return ops.batchNorm(input, weight, bias, runningMean, runningVar, training, momentum, eps, true);
}

export interface InstanceNormFunctionArguments extends AffineArguments {
  /** `[C]`; null: none. Default null. */
  readonly runningMean?: Tensor | null;
  readonly runningVar?: Tensor | null;
  /** Normalise by each sample, rather than by the running statistics. Default true. */
  readonly useInputStats?: boolean;
  /** Weight of the batch in the running statistics. Default 0.1. */
  readonly momentum?: number;
}
const readInstanceNorm = signature("instanceNorm", {
  input,
  runningMean: none,
  runningVar: none,
  weight: none,
  bias: none,
  useInputStats: on,
  momentum: byDefault(0.1, number),
  eps,
});
/** (x - mean) / √(var + eps) · weight + bias per channel of each sample `[N, C, …]`. Ulyanov et al., 2016. */
export function instanceNorm(
  ...given: Call<
    InstanceNormFunctionArguments,
    ["input", "runningMean", "runningVar", "weight", "bias", "useInputStats", "momentum", "eps"],
    [
      input: Tensor,
      runningMean?: Tensor | null,
      runningVar?: Tensor | null,
      weight?: Tensor | null,
      bias?: Tensor | null,
      useInputStats?: boolean,
      momentum?: number,
      eps?: number,
    ]
  >
): Tensor {
  const { input, runningMean, runningVar, weight, bias, useInputStats, momentum, eps } = readInstanceNorm(given);
  if (useInputStats) requireSpatial("instanceNorm", input);
  return ops.instanceNorm(input, weight, bias, runningMean, runningVar, useInputStats, momentum, eps, true);
}
/** @internal A sample of one element per channel has no variance. */
export function requireSpatial(fn: string, x: Tensor): void {
  if (x.shape.slice(2).reduce((a, b) => a * b, 1) === 1)
    throw new ArgumentError(fn, "more than one element per channel of a sample", x);
}

export interface LayerNormFunctionArguments extends AffineArguments {
  /** The last dimensions, over which means are. */
  readonly normalizedShape: readonly number[];
}
const shape = listOf(whole("[0, ∞)"));
const readLayerNorm = signature("layerNorm", { input, normalizedShape: shape, weight: none, bias: none, eps });
/** (x - mean) / √(var + eps) · weight + bias over the last dimensions. Ba et al., 2016. */
export function layerNorm(
  ...given: Call<
    LayerNormFunctionArguments,
    ["input", "normalizedShape", "weight", "bias", "eps"],
    [input: Tensor, normalizedShape: readonly number[], weight?: Tensor | null, bias?: Tensor | null, eps?: number]
  >
): Tensor {
  const { input, normalizedShape, weight, bias, eps } = readLayerNorm(given);
  return ops.layerNorm(input, normalizedShape, weight, bias, eps);
}

export interface RmsNormFunctionArguments extends InputArguments {
  /** The last dimensions, over which means are. */
  readonly normalizedShape: readonly number[];
  readonly weight?: Tensor | null;
  /** Default null: the smallest step of the dtype. */
  readonly eps?: number | null;
}
const readRmsNorm = signature("rmsNorm", {
  input,
  normalizedShape: shape,
  weight: none,
  eps: byDefault(null, orNull(real("[0, ∞)"))),
});
/** x / √(mean(x²) + eps) · weight over the last dimensions. Zhang and Sennrich, 2019. */
export function rmsNorm(
  ...given: Call<
    RmsNormFunctionArguments,
    ["input", "normalizedShape", "weight", "eps"],
    [input: Tensor, normalizedShape: readonly number[], weight?: Tensor | null, eps?: number | null]
  >
): Tensor {
  const { input, normalizedShape, weight, eps } = readRmsNorm(given);
  return ops.rmsNorm(input, normalizedShape, weight, eps);
}

export interface GroupNormFunctionArguments extends AffineArguments {
  readonly numGroups: number;
}
const readGroupNorm = signature("groupNorm", { input, numGroups: positive, weight: none, bias: none, eps });
/** (x - mean) / √(var + eps) · weight + bias over groups of channels of `[N, C, …]`. Wu and He, 2018. */
export function groupNorm(
  ...given: Call<
    GroupNormFunctionArguments,
    ["input", "numGroups", "weight", "bias", "eps"],
    [input: Tensor, numGroups: number, weight?: Tensor | null, bias?: Tensor | null, eps?: number]
  >
): Tensor {
  const { input, numGroups, weight, bias, eps } = readGroupNorm(given);
  if (input.ndim < 2) throw new ArgumentError("groupNorm", "an input of 2 or more dimensions", input);
  if (input.numel() === numGroups) throw new ArgumentError("groupNorm", "more than one value per group", input);
  return ops.groupNorm(input, numGroups, weight, bias, eps);
}

export interface LocalResponseNormArguments extends InputArguments {
  /** Channels that count for one. */
  readonly size: number;
  /** Default 1e-4. */
  readonly alpha?: number;
  /** Default 0.75. */
  readonly beta?: number;
  /** Default 1. */
  readonly k?: number;
}
const readLocal = signature("localResponseNorm", {
  input,
  size: positive,
  alpha: byDefault(1e-4, number),
  beta: byDefault(0.75, number),
  k: byDefault(1, number),
});
/** x / (k + α · mean of x² over `size` neighbouring channels)^β; `[N, C, …]`, 3 dimensions or more. Krizhevsky, 2012. */
export function localResponseNorm(
  ...given: Call<
    LocalResponseNormArguments,
    ["input", "size", "alpha", "beta", "k"],
    [input: Tensor, size: number, alpha?: number, beta?: number, k?: number]
  >
): Tensor {
  const { input, size, alpha, beta, k } = readLocal(given);
  if (input.ndim < 3) throw new ArgumentError("localResponseNorm", "an input of 3 or more dimensions", input);
  if (input.numel() === 0) return input;
  const around = [size >> 1, (size - 1) >> 1];
  const squares = input.mul(input);
  const [batch, channels, length] = input.shape as readonly [number, number, number];
  // Channels as a spatial dimension, over which windows go.
  const means =
    input.ndim === 3
      ? ops.avgPool2d(ops.pad(squares.unsqueeze(1), [0, 0, ...around]), [size, 1], 1).squeeze(1)
      : ops
          .avgPool3d(
            ops.pad(squares.reshape([batch, 1, channels, length, -1]), [0, 0, 0, 0, ...around]),
            [size, 1, 1],
            1,
          )
          .reshape([...input.shape]);
  return input.div(means.mul(alpha).add(k).pow(beta));
}

export interface NormalizeArguments extends InputArguments {
  /** Of the norm. Default 2. */
  readonly p?: number;
  /** Over which dimensions. Default 1. */
  readonly dim?: number | readonly number[];
  /** The least that is divided by. Default 1e-12. */
  readonly eps?: number;
  /** What takes the result, without a graph. Default null. */
  readonly out?: Tensor | null;
}
const readNormalize = signature("normalize", {
  input,
  p: byDefault(2, anyNumber),
  dim: byDefault(1, either(dimension, listOf(dimension))),
  eps: byDefault(1e-12, number),
  out: none,
});
/** x / max(‖x‖ₚ, eps) over a dimension. */
export function normalize(
  ...given: Call<
    NormalizeArguments,
    ["input", "p", "dim", "eps", "out"],
    [input: Tensor, p?: number, dim?: number | readonly number[], eps?: number, out?: Tensor | null]
  >
): Tensor {
  const { input, p, dim, eps, out } = readNormalize(given);
  const norms = ops.norm(input, p, dim, true).clampMin(eps).expandAs(input);
  return out === null ? input.div(norms) : ops.div(input, norms, { out });
}
