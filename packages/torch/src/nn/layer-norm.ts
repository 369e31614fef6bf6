/** Normalisations that do not look at the batch. */
import { ArgumentError } from "../errors.js";
import { either, flag, listOf, orNull, real } from "../kinds.js";
import { groupNorm, layerNorm, rmsNorm } from "../ops/index.js";
import { atMost, checkArguments, checkOptions, optionsFrom, type Given, type OptionNames } from "../options.js";
import type { Tensor } from "../tensor/tensor.js";
import { ones_, zeros_ } from "./init.js";
import { ADD_NAMES, addLayerNorm, addRmsNorm, layerMayFuse, type AddNormOptions, type NormPair } from "./fused-norm.js";
import { positive } from "./kernels.js";
import { emptyParameter, FACTORY_NAMES, type FactoryOptions } from "./linear.js";
import { Module } from "./module.js";
import type { Parameter } from "./parameter.js";

export interface LayerNormOptions extends FactoryOptions {
  /** Added to the variance. Default 1e-5. */
  readonly eps?: number;
  /** Learn a weight and a bias per element. Default true. */
  readonly elementwiseAffine?: boolean;
  /** Of the two, learn the bias too. Default true. */
  readonly bias?: boolean;
}
export interface RMSNormOptions extends Omit<LayerNormOptions, "bias" | "eps"> {
  /** Added to the mean square. Default: the smallest step of the input's dtype. */
  readonly eps?: number | null;
}
export interface GroupNormOptions extends FactoryOptions {
  /** Added to the variance. Default 1e-5. */
  readonly eps?: number;
  /** Learn a weight and a bias per channel. Default true. */
  readonly affine?: boolean;
}
const NAMES: OptionNames<LayerNormOptions> = {
  eps: real("[0, ∞)"),
  elementwiseAffine: flag,
  bias: flag,
  ...FACTORY_NAMES,
};
const RMS_NAMES: OptionNames<RMSNormOptions> = {
  eps: orNull(real("[0, ∞)")),
  elementwiseAffine: flag,
  ...FACTORY_NAMES,
};
const GROUP_NAMES: OptionNames<GroupNormOptions> = { eps: real("[0, ∞)"), affine: flag, ...FACTORY_NAMES };
const SHAPE = either(positive, listOf(positive));
function shapeOf(fn: string, shape: number | readonly number[]): readonly number[] {
  checkArguments(fn, { normalizedShape: shape }, { normalizedShape: SHAPE });
  const list = typeof shape === "number" ? [shape] : [...shape];
  if (list.length === 0) throw new ArgumentError(fn, "normalizedShape to have at least one dimension", shape);
  return list;
}

/** Ba et al., 2016. Over the last dimensions: (x - mean) / √(var + eps) · weight + bias. float32 under autocast. */
export class LayerNorm extends Module {
  readonly normalizedShape: readonly number[];
  readonly eps: number;
  readonly weight: Parameter | null;
  readonly bias: Parameter | null;
  constructor(
    normalizedShape: number | readonly number[],
    ...rest: Given<LayerNormOptions, [eps: number, elementwiseAffine?: boolean, bias?: boolean]>
  ) {
    super();
    const options = optionsFrom("LayerNorm", 1, rest, NAMES, 3);
    this.normalizedShape = shapeOf("LayerNorm", normalizedShape);
    this.eps = options.eps ?? 1e-5;
    const affine = options.elementwiseAffine ?? true;
    this.weight = affine ? emptyParameter(this.normalizedShape, options) : null;
    this.bias = affine && (options.bias ?? true) ? emptyParameter(this.normalizedShape, options) : null;
    if (this.weight !== null) ones_(this.weight);
    if (this.bias !== null) zeros_(this.bias);
  }
  forward(x: Tensor): Tensor {
    atMost("LayerNorm.forward", arguments, 1);
    if (layerMayFuse(x))
      return addLayerNorm(x, null, this.normalizedShape, this.weight, this.bias, {
        eps: this.eps,
        dtype: "float32",
      })[1];
    return layerNorm(x, this.normalizedShape, this.weight, this.bias, this.eps);
  }
  /**
   * `[x + branch, norm(x + branch)]`, in one pass over memory on a GPU; the second in the region's dtype under
   * autocast. @see `nn.functional.addLayerNorm`
   */
  addTo(x: Tensor, branch: Tensor | null, options: Omit<AddNormOptions, "eps"> = {}): NormPair {
    atMost("LayerNorm.addTo", arguments, 3);
    checkOptions("LayerNorm.addTo", options, ADD_NAMES);
    return addLayerNorm(x, branch, this.normalizedShape, this.weight, this.bias, { ...options, eps: this.eps });
  }
  override extraRepr(): string {
    return `(${this.normalizedShape.join(", ")}${this.normalizedShape.length === 1 ? "," : ""}), eps=${this.eps < 1e-4 ? this.eps.toExponential().replace(/e-(\d)$/, "e-0$1") : this.eps}, elementwise_affine=${this.weight === null ? "False" : "True"}`;
  }
}

/**
 * Zhang and Sennrich, 2019. x / √(mean(x²) + eps) · weight. `eps` defaults to the smallest that the input's dtype
 * resolves.
 */
export class RMSNorm extends Module {
  readonly normalizedShape: readonly number[];
  readonly eps: number | null;
  readonly weight: Parameter | null;
  constructor(
    normalizedShape: number | readonly number[],
    ...rest: Given<RMSNormOptions, [eps: number | null, elementwiseAffine?: boolean]>
  ) {
    super();
    const options = optionsFrom("RMSNorm", 1, rest, RMS_NAMES, 2);
    this.normalizedShape = shapeOf("RMSNorm", normalizedShape);
    this.eps = options.eps ?? null;
    this.weight = (options.elementwiseAffine ?? true) ? emptyParameter(this.normalizedShape, options) : null;
    if (this.weight !== null) ones_(this.weight);
  }
  forward(x: Tensor): Tensor {
    atMost("RMSNorm.forward", arguments, 1);
    return rmsNorm(x, this.normalizedShape, this.weight, this.eps);
  }
  /**
   * `[x + branch, norm(x + branch)]`, in one pass over memory on a GPU; the second in the region's dtype under
   * autocast. @see `nn.functional.addRmsNorm`
   */
  addTo(x: Tensor, branch: Tensor | null, options: Omit<AddNormOptions, "eps"> = {}): NormPair {
    atMost("RMSNorm.addTo", arguments, 3);
    checkOptions("RMSNorm.addTo", options, ADD_NAMES);
    return addRmsNorm(x, branch, this.normalizedShape, this.weight, { ...options, eps: this.eps });
  }
}

/** Wu and He, 2018. Over groups of channels of `[N, C, …]`. */
export class GroupNorm extends Module {
  readonly eps: number;
  readonly weight: Parameter | null;
  readonly bias: Parameter | null;
  constructor(
    readonly numGroups: number,
    readonly numChannels: number,
    ...rest: Given<GroupNormOptions, [eps: number, affine?: boolean]>
  ) {
    super();
    const options = optionsFrom("GroupNorm", 2, rest, GROUP_NAMES, 2);
    checkArguments("GroupNorm", { numGroups, numChannels }, { numGroups: positive, numChannels: positive });
    if (numChannels % numGroups !== 0)
      throw new ArgumentError("GroupNorm", `numChannels (${numChannels}) to be divisible by numGroups`, numGroups);
    this.eps = options.eps ?? 1e-5;
    const affine = options.affine ?? true;
    this.weight = affine ? emptyParameter([numChannels], options) : null;
    this.bias = affine ? emptyParameter([numChannels], options) : null;
    if (this.weight !== null) ones_(this.weight);
    if (this.bias !== null) zeros_(this.bias);
  }
  forward(x: Tensor): Tensor {
    atMost("GroupNorm.forward", arguments, 1);
    return groupNorm(x, this.numGroups, this.weight, this.bias, this.eps);
  }
}
