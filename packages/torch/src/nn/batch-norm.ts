/** Batch normalisation. */
import { isRecomputing } from "../autograd/recomputing.js";
import { ArgumentError } from "../errors.js";
import { flag, oneOf, orNull, real } from "../kinds.js";
import { tensorKind } from "../tensor/kinds.js";
import { batchNorm, ones, zeros } from "../ops/index.js";
import { atMost, checkArguments, checkOptions, optionsFrom, type Given, type OptionNames } from "../options.js";
import type { Tensor } from "../tensor/tensor.js";
import {
  batchNormRelu,
  batchNormReluForBranches,
  layerMayFuse,
  requireSeveral,
  type BatchNormReluOptions,
} from "./fused-batch-norm.js";
import { ones_, zeros_ } from "./init.js";
import { positive } from "./kernels.js";
import { emptyParameter, FACTORY_NAMES, type FactoryOptions } from "./linear.js";
import { Module } from "./module.js";
import type { Parameter } from "./parameter.js";

export interface BatchNormOptions extends FactoryOptions {
  /** Added to the variance. Default 1e-5. */
  readonly eps?: number;
  /** Weight of the newest batch in the running statistics; null: their plain average. Default 0.1. */
  readonly momentum?: number | null;
  /** Learn a weight and a bias per channel. Default true. */
  readonly affine?: boolean;
  /** Keep running statistics, which evaluation uses. Default true. */
  readonly trackRunningStats?: boolean;
}
/** @internal */
export const BATCH_NORM_NAMES: OptionNames<BatchNormOptions> = {
  eps: real("[0, ∞)"),
  momentum: orNull(real("[0, 1]")),
  affine: flag,
  trackRunningStats: flag,
  ...FACTORY_NAMES,
};
type Rest = Given<
  BatchNormOptions,
  [eps: number, momentum?: number | null, affine?: boolean, trackRunningStats?: boolean]
>;
/** @internal */
export const RELU_NAMES: OptionNames<Pick<BatchNormReluOptions, "relu" | "path">> = {
  relu: flag,
  path: oneOf("auto", "kernel", "reference"),
};

/** @internal What all have in common, whatever the dimensions of their inputs. */
export abstract class BatchNorm extends Module {
  readonly weight: Parameter | null;
  readonly bias: Parameter | null;
  declare runningMean: Tensor | null;
  declare runningVar: Tensor | null;
  declare numBatchesTracked: Tensor | null;
  readonly eps: number;
  readonly momentum: number | null;
  /** How many dimensions an input may have; null: two or more. */
  readonly #dims: readonly number[] | null;

  constructor(
    dims: readonly number[] | null,
    readonly numFeatures: number,
    options: BatchNormOptions,
  ) {
    super();
    checkArguments(new.target.name, { numFeatures }, { numFeatures: positive });
    this.#dims = dims;
    this.eps = options.eps ?? 1e-5;
    this.momentum = options.momentum === undefined ? 0.1 : options.momentum;
    const affine = options.affine ?? true;
    this.weight = affine ? emptyParameter([numFeatures], options) : null;
    this.bias = affine ? emptyParameter([numFeatures], options) : null;
    const track = options.trackRunningStats ?? true;
    const where = { dtype: options.dtype ?? null, device: options.device ?? null };
    this.registerBuffer("runningMean", track ? zeros([numFeatures], where) : null);
    this.registerBuffer("runningVar", track ? ones([numFeatures], where) : null);
    this.registerBuffer(
      "numBatchesTracked",
      track ? zeros([], { dtype: "int64", device: options.device ?? null }) : null,
    );
    if (this.weight !== null) ones_(this.weight);
    if (this.bias !== null) zeros_(this.bias);
  }

  forward(x: Tensor): Tensor {
    atMost(`${this.constructor.name}.forward`, arguments, 1);
    if (layerMayFuse(x)) return this.thenRelu(x, null, { relu: false });
    const [mean, variance, batchStatistics, momentum] = this.#statistics(x);
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
    const [mean, variance, all] = this.#forKernel("thenRelu", x, residual, options);
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
    const [mean, variance, all] = this.#forKernel("thenReluForBranches", x, residual, options);
    return batchNormReluForBranches(x, mean, variance, this.weight, this.bias, all);
  }
  #forKernel(
    method: string,
    x: Tensor,
    residual: Tensor | null,
    options: Pick<BatchNormReluOptions, "relu" | "path">,
  ): readonly [mean: Tensor | null, variance: Tensor | null, all: BatchNormReluOptions] {
    const fn = `${this.constructor.name}.${method}`;
    checkOptions(fn, options, RELU_NAMES);
    checkArguments(fn, { x, residual }, { x: tensorKind, residual: orNull(tensorKind) });
    const [mean, variance, training, momentum] = this.#statistics(x);
    return [mean, variance, { ...options, residual, training, momentum, eps: this.eps }];
  }
  /** Running statistics: updated in training, read in evaluation, where there are any. */
  #statistics(x: Tensor): readonly [mean: Tensor | null, variance: Tensor | null, ofBatch: boolean, momentum: number] {
    this.checkInput(x);
    if (this.training || this.runningMean === null) requireSeveral(this.constructor.name, x);
    const momentum = this.countBatch();
    const pass = !this.training || this.runningMean !== null;
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
    const dims = this.#dims;
    if (dims === null ? x.ndim < 2 : !dims.includes(x.ndim))
      throw new ArgumentError(this.constructor.name, `an input of ${dims?.join(" or ") ?? "2 or more"} dimensions`, x);
  }
  /** Counts a training batch. @returns its weight in the running statistics. */
  protected countBatch(): number {
    if (!this.training || this.numBatchesTracked === null) return this.momentum ?? 0;
    if (!isRecomputing()) this.numBatchesTracked.add_(1);
    return this.momentum ?? 1 / this.numBatchesTracked.item();
  }
  override extraRepr(): string {
    return `${this.numFeatures}, eps=${this.eps < 1e-4 ? this.eps.toExponential().replace(/e-(\d)$/, "e-0$1") : this.eps}, momentum=${this.momentum}, affine=${this.weight === null ? "False" : "True"}, track_running_stats=${this.runningMean === null ? "False" : "True"}`;
  }
}

/**
 * Ioffe and Szegedy, 2015. Per channel over `[N, C]` or `[N, C, L]`: (x - mean) / √(var + eps) · weight + bias.
 * Statistics in float32 or wider under autocast.
 */
export class BatchNorm1d extends BatchNorm {
  constructor(numFeatures: number, ...rest: Rest) {
    super([2, 3], numFeatures, optionsFrom(new.target.name, 1, rest, BATCH_NORM_NAMES, 4));
  }
}
/** Over `[N, C, H, W]`. */
export class BatchNorm2d extends BatchNorm {
  constructor(numFeatures: number, ...rest: Rest) {
    super([4], numFeatures, optionsFrom(new.target.name, 1, rest, BATCH_NORM_NAMES, 4));
  }
}
/** Over `[N, C, D, H, W]`. */
export class BatchNorm3d extends BatchNorm {
  constructor(numFeatures: number, ...rest: Rest) {
    super([5], numFeatures, optionsFrom(new.target.name, 1, rest, BATCH_NORM_NAMES, 4));
  }
}
