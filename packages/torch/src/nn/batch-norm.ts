/** Batch normalisation. */
import { isRecomputing } from "../autograd/recomputing.js";
import { ArgumentError } from "../errors.js";
import { byDefault, flag, oneOf, orNull, real } from "../kinds.js";
import { tensorKind } from "../tensor/kinds.js";
import { batchNorm, zeros } from "../ops/index.js";
import { atMost, checkArguments, checkOptions, type OptionNames } from "../options.js";
import { signature, type Call } from "../signature.js";
import type { Tensor } from "../tensor/tensor.js";
import { emptyParameter, FACTORY, type FactoryOptions } from "./factory.js";
import {
  batchNormRelu,
  batchNormReluForBranches,
  layerMayFuse,
  requireSeveral,
  type BatchNormReluOptions,
} from "./fused-batch-norm.js";
import { ones_, zeros_ } from "./init.js";
import { requireTensor } from "./inputs.js";
import { positive } from "./kernels.js";
import { Module } from "./module.js";
import type { Parameter } from "./parameter.js";
import { bool, float } from "./repr.js";

export interface BatchNormOptions extends FactoryOptions {
  /** Added to the variance. Default 1e-5. */
  readonly eps?: number;
  /** Weight of the newest batch in the running statistics; null: their plain average. Default 0.1. */
  readonly momentum?: number | null;
  /** Learn a weight and a bias per channel. Default true. */
  readonly affine?: boolean;
  /** Keep running statistics, which evaluation uses. Default true. */
  readonly trackRunningStats?: boolean;
  /** Of weight and bias, learn the bias too. By name alone. Default true. */
  readonly bias?: boolean;
}
export interface BatchNormArguments extends BatchNormOptions {
  readonly numFeatures: number;
}
/** @internal Behind the features, in PyTorch's order. */
export const BATCH_NORM = {
  eps: byDefault(1e-5, real("[0, ∞)")),
  momentum: byDefault(0.1, orNull(real("[0, 1]"))),
  affine: byDefault(true, flag),
  trackRunningStats: byDefault(true, flag),
};
const read = signature(
  "BatchNorm",
  {
    numFeatures: positive,
    ...BATCH_NORM,
    ...FACTORY,
    bias: byDefault(true, flag),
  } satisfies OptionNames<BatchNormArguments>,
  5,
);
const [DIMS_1D, DIMS_2D, DIMS_3D] = [[2, 3], [4], [5]] as const;
type Order = ["numFeatures", "eps", "momentum", "affine", "trackRunningStats"];
type Positions = [
  numFeatures: number,
  eps?: number,
  momentum?: number | null,
  affine?: boolean,
  trackRunningStats?: boolean,
];
export type BatchNormCall = Call<BatchNormArguments, Order, Positions>;
/** @internal */
export const RELU_NAMES: OptionNames<Pick<BatchNormReluOptions, "relu" | "path">> = {
  relu: flag,
  path: oneOf("auto", "kernel", "reference"),
};

/** @internal What normalisations with running statistics have in common. */
export abstract class RunningNorm extends Module {
  weight: Parameter | null;
  bias: Parameter | null;
  declare runningMean: Tensor | null;
  declare runningVar: Tensor | null;
  declare numBatchesTracked: Tensor | null;
  numFeatures: number;
  readonly eps: number;
  /** Null: the mean over all batches. */
  momentum: number | null;
  readonly affine: boolean;
  /** Switched off later: training leaves running statistics as they are; evaluation goes on to read them. */
  trackRunningStats: boolean;

  constructor(a: Required<BatchNormArguments>) {
    super();
    const { numFeatures, affine } = a;
    this.numFeatures = numFeatures;
    this.eps = a.eps;
    this.momentum = a.momentum;
    this.affine = affine;
    this.trackRunningStats = a.trackRunningStats;
    this.weight = affine ? this.parameter(numFeatures, a) : null;
    this.bias = affine && a.bias ? this.parameter(numFeatures, a) : null;
    const track = a.trackRunningStats;
    this.registerBuffer("runningMean", track ? this.statistic(numFeatures, a) : null);
    this.registerBuffer("runningVar", track ? this.statistic(numFeatures, a) : null);
    this.registerBuffer("numBatchesTracked", track ? zeros([], { dtype: "int64", device: a.device ?? null }) : null);
    this.resetParameters();
  }
  /** @internal What a weight is at first; lazy layers do not know its shape. */
  protected parameter(numFeatures: number, options: FactoryOptions): Parameter {
    return emptyParameter([numFeatures], options);
  }
  /** @internal What a running statistic is at first. */
  protected statistic(numFeatures: number, options: FactoryOptions): Tensor {
    return zeros([numFeatures], { dtype: options.dtype ?? null, device: options.device ?? null });
  }
  /** Mean 0, variance 1, no batches seen. */
  resetRunningStats(): void {
    atMost(`${this.constructor.name}.resetRunningStats`, arguments, 0);
    this.runningMean?.zero_();
    this.runningVar?.fill_(1);
    this.numBatchesTracked?.zero_();
  }
  /** The statistics as {@link resetRunningStats}, weights 1, biases 0. */
  resetParameters(): void {
    atMost(`${this.constructor.name}.resetParameters`, arguments, 0);
    this.resetRunningStats();
    if (this.weight !== null) ones_(this.weight);
    if (this.bias !== null) zeros_(this.bias);
  }
  override extraRepr(): string {
    const { numFeatures, eps, momentum, affine, bias, trackRunningStats } = this;
    return (
      `${numFeatures}, eps=${float(eps)}, momentum=${momentum === null ? "None" : float(momentum)}, ` +
      `affine=${bool(affine)}, bias=${bool(bias !== null)}, track_running_stats=${bool(trackRunningStats)}`
    );
  }
}

/** @internal What all have in common, whatever the dimensions of their inputs. */
export abstract class BatchNorm extends RunningNorm {
  /** @internal How many dimensions an input may have; null: two or more. */
  protected abstract get dims(): readonly number[] | null;

  forward(x: Tensor): Tensor {
    atMost(`${this.constructor.name}.forward`, arguments, 1);
    requireTensor("BatchNorm.forward", x);
    if (layerMayFuse(x)) return this.thenRelu(x, null, { relu: false });
    const [mean, variance, batchStatistics, momentum] = this.statistics(x);
    return batchNorm(x, this.weight, this.bias, mean, variance, batchStatistics, momentum, this.eps, true);
  }
  /**
   * `relu(norm(x) + residual)`, in two passes over memory on a GPU where separate operators take up to eight. @see
   * `nn.functional.batchNormRelu`
   *
   * @param residual - The shape of x; null adds nothing.
   */
  thenRelu(
    x: Tensor,
    residual: Tensor | null = null,
    options: Pick<BatchNormReluOptions, "relu" | "path"> = {},
  ): Tensor {
    atMost(`${this.constructor.name}.thenRelu`, arguments, 3);
    const [mean, variance, all] = this.forKernel("thenRelu", x, residual, options);
    return batchNormRelu(x, mean, variance, this.weight, this.bias, all);
  }
  /**
   * The same twice, for a result that goes two ways, into the next block and around it: backward's kernel adds their
   * gradients. @see `nn.functional.batchNormReluForBranches`
   *
   * @param residual - The shape of x; null adds nothing.
   */
  thenReluForBranches(
    x: Tensor,
    residual: Tensor | null = null,
    options: Pick<BatchNormReluOptions, "relu" | "path"> = {},
  ): readonly [Tensor, Tensor] {
    atMost(`${this.constructor.name}.thenReluForBranches`, arguments, 3);
    const [mean, variance, all] = this.forKernel("thenReluForBranches", x, residual, options);
    return batchNormReluForBranches(x, mean, variance, this.weight, this.bias, all);
  }
  private forKernel(
    method: string,
    x: Tensor,
    residual: Tensor | null,
    options: Pick<BatchNormReluOptions, "relu" | "path">,
  ): readonly [mean: Tensor | null, variance: Tensor | null, all: BatchNormReluOptions] {
    const fn = `${this.constructor.name}.${method}`;
    checkOptions(fn, options, RELU_NAMES);
    checkArguments(fn, { x, residual }, { x: tensorKind, residual: orNull(tensorKind) });
    const [mean, variance, training, momentum] = this.statistics(x);
    return [mean, variance, { ...options, residual, training, momentum, eps: this.eps }];
  }
  /** Running statistics: updated in training, read in evaluation, where there are any. */
  private statistics(
    x: Tensor,
  ): readonly [mean: Tensor | null, variance: Tensor | null, ofBatch: boolean, momentum: number] {
    this.checkInput(x);
    if (this.training || this.runningMean === null) requireSeveral(this.constructor.name, x);
    const momentum = this.countBatch();
    const pass = !this.training || (this.runningMean !== null && this.trackRunningStats);
    // A second run for backward leaves them as the first did.
    const own = (statistics: Tensor | null): Tensor | null =>
      this.training && isRecomputing() ? (statistics?.clone() ?? null) : statistics;
    return [
      pass ? own(this.runningMean) : null,
      pass ? own(this.runningVar) : null,
      this.training || this.runningMean === null,
      momentum,
    ];
  }
  protected checkInput(x: Tensor): void {
    const { dims } = this;
    if (dims === null ? x.ndim < 2 : !dims.includes(x.ndim))
      throw new ArgumentError(this.constructor.name, `an input of ${dims?.join(" or ") ?? "2 or more"} dimensions`, x);
  }
  /** Counts a training batch. @returns its weight in the running statistics. */
  protected countBatch(): number {
    if (!this.training || !this.trackRunningStats || this.numBatchesTracked === null) return this.momentum ?? 0;
    if (!isRecomputing()) this.numBatchesTracked.add_(1);
    return this.momentum ?? 1 / this.numBatchesTracked.item();
  }
}

abstract class PlainBatchNorm extends BatchNorm {
  constructor(...given: BatchNormCall) {
    super(read(given, new.target.name));
  }
}

/**
 * Ioffe and Szegedy, 2015. Per channel over `[N, C]` or `[N, C, L]`: (x - mean) / √(var + eps) · weight + bias.
 * Statistics in float32 or wider under autocast.
 */
export class BatchNorm1d extends PlainBatchNorm {
  protected override get dims(): readonly number[] {
    return DIMS_1D;
  }
}
/** Over `[N, C, H, W]`. */
export class BatchNorm2d extends PlainBatchNorm {
  protected override get dims(): readonly number[] {
    return DIMS_2D;
  }
}
/** Over `[N, C, D, H, W]`. */
export class BatchNorm3d extends PlainBatchNorm {
  protected override get dims(): readonly number[] {
    return DIMS_3D;
  }
}
