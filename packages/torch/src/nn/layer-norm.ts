/** Normalisations that do not look at the batch. */
import { ArgumentError } from "../errors.js";
import { byDefault, either, flag, listOf, orNull, real } from "../kinds.js";
import { groupNorm, layerNorm, rmsNorm } from "../ops/index.js";
import { atMost, checkOptions, type OptionNames } from "../options.js";
import { signature, type Call } from "../signature.js";
import type { Tensor } from "../tensor/tensor.js";
import { emptyParameter, FACTORY, type FactoryOptions } from "./factory.js";
import { ones_, zeros_ } from "./init.js";
import { ADD_NAMES, addLayerNorm, addRmsNorm, layerMayFuse, type AddNormOptions, type NormPair } from "./fused-norm.js";
import { positive } from "./kernels.js";
import { Module } from "./module.js";
import type { Parameter } from "./parameter.js";
import { bool, float, tuple } from "./repr.js";

export interface LayerNormOptions extends FactoryOptions {
  /** Added to the variance. Default 1e-5. */
  readonly eps?: number;
  /** Learn a weight and a bias per element. Default true. */
  readonly elementwiseAffine?: boolean;
  /** Of the two, learn the bias too. Default true. */
  readonly bias?: boolean;
}
export interface LayerNormArguments extends LayerNormOptions {
  /** The last dimensions, over which means are. */
  readonly normalizedShape: number | readonly number[];
}
export interface RMSNormOptions extends Omit<LayerNormOptions, "bias" | "eps"> {
  /** Added to the mean square. Default null: the smallest step of the input's dtype. */
  readonly eps?: number | null;
}
export interface RMSNormArguments extends RMSNormOptions {
  /** The last dimensions, over which means are. */
  readonly normalizedShape: number | readonly number[];
}
export interface GroupNormOptions extends FactoryOptions {
  /** Added to the variance. Default 1e-5. */
  readonly eps?: number;
  /** Learn a weight and a bias per channel. Default true. */
  readonly affine?: boolean;
  /** Of the two, learn the bias too. By name alone. Default true. */
  readonly bias?: boolean;
}
export interface GroupNormArguments extends GroupNormOptions {
  readonly numGroups: number;
  readonly numChannels: number;
}
const SHAPE = either(positive, listOf(positive));
function shapeOf(fn: string, shape: number | readonly number[]): readonly number[] {
  const list = typeof shape === "number" ? [shape] : [...shape];
  if (list.length === 0) throw new ArgumentError(fn, "normalizedShape to have at least one dimension", shape);
  return list;
}
const eps = real("[0, ∞)");
const on = byDefault(true, flag);
const readLayerNorm = signature(
  "LayerNorm",
  {
    normalizedShape: SHAPE,
    eps: byDefault(1e-5, eps),
    elementwiseAffine: on,
    bias: on,
    ...FACTORY,
  } satisfies OptionNames<LayerNormArguments>,
  4,
);
const readRmsNorm = signature(
  "RMSNorm",
  {
    normalizedShape: SHAPE,
    eps: byDefault(null, orNull(eps)),
    elementwiseAffine: on,
    ...FACTORY,
  } satisfies OptionNames<RMSNormArguments>,
  3,
);
const readGroupNorm = signature(
  "GroupNorm",
  {
    numGroups: positive,
    numChannels: positive,
    eps: byDefault(1e-5, eps),
    affine: on,
    ...FACTORY,
    bias: on,
  } satisfies OptionNames<GroupNormArguments>,
  4,
);

/** Ba et al., 2016. Over the last dimensions: (x - mean) / √(var + eps) · weight + bias. float32 under autocast. */
export class LayerNorm extends Module {
  readonly normalizedShape: readonly number[];
  readonly eps: number;
  readonly elementwiseAffine: boolean;
  weight: Parameter | null;
  bias: Parameter | null;
  constructor(
    ...given: Call<
      LayerNormArguments,
      ["normalizedShape", "eps", "elementwiseAffine", "bias"],
      [normalizedShape: number | readonly number[], eps?: number, elementwiseAffine?: boolean, bias?: boolean]
    >
  ) {
    super();
    const a = readLayerNorm(given, new.target.name);
    this.normalizedShape = shapeOf(new.target.name, a.normalizedShape);
    this.eps = a.eps;
    this.elementwiseAffine = a.elementwiseAffine;
    this.weight = a.elementwiseAffine ? emptyParameter(this.normalizedShape, a) : null;
    this.bias = a.elementwiseAffine && a.bias ? emptyParameter(this.normalizedShape, a) : null;
    this.resetParameters();
  }
  /** Weights 1, biases 0. */
  resetParameters(): void {
    atMost("LayerNorm.resetParameters", arguments, 0);
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
    const { normalizedShape, eps, elementwiseAffine, bias } = this;
    return `${tuple(normalizedShape)}, eps=${float(eps)}, elementwise_affine=${bool(elementwiseAffine)}, bias=${bool(bias !== null)}`;
  }
}

/**
 * Zhang and Sennrich, 2019. x / √(mean(x²) + eps) · weight. `eps` defaults to the smallest that the input's dtype
 * resolves.
 */
export class RMSNorm extends Module {
  readonly normalizedShape: readonly number[];
  readonly eps: number | null;
  readonly elementwiseAffine: boolean;
  weight: Parameter | null;
  constructor(
    ...given: Call<
      RMSNormArguments,
      ["normalizedShape", "eps", "elementwiseAffine"],
      [normalizedShape: number | readonly number[], eps?: number | null, elementwiseAffine?: boolean]
    >
  ) {
    super();
    const a = readRmsNorm(given, new.target.name);
    this.normalizedShape = shapeOf(new.target.name, a.normalizedShape);
    this.eps = a.eps;
    this.elementwiseAffine = a.elementwiseAffine;
    this.weight = a.elementwiseAffine ? emptyParameter(this.normalizedShape, a) : null;
    this.resetParameters();
  }
  /** Weights 1. */
  resetParameters(): void {
    atMost("RMSNorm.resetParameters", arguments, 0);
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
  override extraRepr(): string {
    const { normalizedShape, eps, elementwiseAffine } = this;
    return `${tuple(normalizedShape)}, eps=${eps === null ? "None" : float(eps)}, elementwise_affine=${bool(elementwiseAffine)}`;
  }
}

/** Wu and He, 2018. Over groups of channels of `[N, C, …]`. */
export class GroupNorm extends Module {
  readonly numGroups: number;
  readonly numChannels: number;
  readonly eps: number;
  readonly affine: boolean;
  weight: Parameter | null;
  bias: Parameter | null;
  constructor(
    ...given: Call<
      GroupNormArguments,
      ["numGroups", "numChannels", "eps", "affine"],
      [numGroups: number, numChannels: number, eps?: number, affine?: boolean]
    >
  ) {
    super();
    const a = readGroupNorm(given, new.target.name);
    const { numGroups, numChannels } = a;
    if (numChannels % numGroups !== 0)
      throw new ArgumentError(new.target.name, `numChannels (${numChannels}) to be divisible by numGroups`, numGroups);
    this.numGroups = numGroups;
    this.numChannels = numChannels;
    this.eps = a.eps;
    this.affine = a.affine;
    this.weight = a.affine ? emptyParameter([numChannels], a) : null;
    this.bias = a.affine && a.bias ? emptyParameter([numChannels], a) : null;
    this.resetParameters();
  }
  /** Weights 1, biases 0. */
  resetParameters(): void {
    atMost("GroupNorm.resetParameters", arguments, 0);
    if (this.weight !== null) ones_(this.weight);
    if (this.bias !== null) zeros_(this.bias);
  }
  forward(x: Tensor): Tensor {
    atMost("GroupNorm.forward", arguments, 1);
    return groupNorm(x, this.numGroups, this.weight, this.bias, this.eps);
  }
  override extraRepr(): string {
    const { numGroups, numChannels, eps, affine, bias } = this;
    return `${numGroups}, ${numChannels}, eps=${float(eps)}, affine=${bool(affine)}, bias=${bool(bias !== null)}`;
  }
}
