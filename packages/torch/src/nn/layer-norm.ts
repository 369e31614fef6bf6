/** Normalisations that do not look at the batch. */
import { ArgumentError } from "../errors.js";
import { groupNorm, layerNorm, rmsNorm } from "../ops/index.js";
import { checkOptions, type OptionNames } from "../options.js";
import type { Tensor } from "../tensor/tensor.js";
import { ones_, zeros_ } from "./init.js";
import { addLayerNorm, addRmsNorm, layerMayFuse, type AddNormOptions, type NormPair } from "./fused-norm.js";
import { emptyParameter, FACTORY_NAMES, positive, type FactoryOptions } from "./linear.js";
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
const NAMES: OptionNames<LayerNormOptions> = { eps: true, elementwiseAffine: true, bias: true, ...FACTORY_NAMES };
function shapeOf(fn: string, shape: number | readonly number[]): readonly number[] {
  const list = typeof shape === "number" ? [shape] : [...shape];
  if (list.length === 0 || list.some((s) => !Number.isInteger(s) || s < 1)) throw new ArgumentError(fn, "normalizedShape to be whole numbers ≥ 1", shape);
  return list;
}

/** Ba et al., 2016. Over the last dimensions: (x - mean) / √(var + eps) · weight + bias. float32 under autocast. */
export class LayerNorm extends Module {
  readonly normalizedShape: readonly number[];
  readonly eps: number;
  readonly weight: Parameter | null;
  readonly bias: Parameter | null;
  constructor(normalizedShape: number | readonly number[], options: LayerNormOptions = {}) {
    super();
    checkOptions("LayerNorm", options, NAMES);
    this.normalizedShape = shapeOf("LayerNorm", normalizedShape);
    this.eps = options.eps ?? 1e-5;
    const affine = options.elementwiseAffine ?? true;
    this.weight = affine ? emptyParameter(this.normalizedShape, options) : null;
    this.bias = affine && (options.bias ?? true) ? emptyParameter(this.normalizedShape, options) : null;
    if (this.weight !== null) ones_(this.weight);
    if (this.bias !== null) zeros_(this.bias);
  }
  forward(x: Tensor): Tensor {
    if (layerMayFuse(x)) return addLayerNorm(x, null, this.normalizedShape, this.weight, this.bias, { eps: this.eps, dtype: "float32" })[1];
    return layerNorm(x, this.normalizedShape, this.weight, this.bias, this.eps);
  }
  /** `[x + branch, norm(x + branch)]`, in one pass over memory on a GPU; the second in the region's dtype under autocast. @see {@link addLayerNorm} */
  addTo(x: Tensor, branch: Tensor | null, options: Omit<AddNormOptions, "eps"> = {}): NormPair {
    return addLayerNorm(x, branch, this.normalizedShape, this.weight, this.bias, { ...options, eps: this.eps });
  }
  override extraRepr(): string {
    return `(${this.normalizedShape.join(", ")}${this.normalizedShape.length === 1 ? "," : ""}), eps=${this.eps < 1e-4 ? this.eps.toExponential().replace(/e-(\d)$/, "e-0$1") : this.eps}, elementwise_affine=${this.weight === null ? "False" : "True"}`;
  }
}

/** Zhang and Sennrich, 2019. x / √(mean(x²) + eps) · weight. `eps` defaults to the smallest that the input's dtype resolves. */
export class RMSNorm extends Module {
  readonly normalizedShape: readonly number[];
  readonly eps: number | null;
  readonly weight: Parameter | null;
  constructor(normalizedShape: number | readonly number[], options: Omit<LayerNormOptions, "bias"> = {}) {
    super();
    this.normalizedShape = shapeOf("RMSNorm", normalizedShape);
    this.eps = options.eps ?? null;
    this.weight = (options.elementwiseAffine ?? true) ? emptyParameter(this.normalizedShape, options) : null;
    if (this.weight !== null) ones_(this.weight);
  }
  forward(x: Tensor): Tensor {
    return rmsNorm(x, this.normalizedShape, this.weight, this.eps);
  }
  /** `[x + branch, norm(x + branch)]`, in one pass over memory on a GPU; the second in the region's dtype under autocast. @see {@link addRmsNorm} */
  addTo(x: Tensor, branch: Tensor | null, options: Omit<AddNormOptions, "eps"> = {}): NormPair {
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
    options: FactoryOptions & { readonly eps?: number; readonly affine?: boolean } = {},
  ) {
    super();
    positive("GroupNorm", { numGroups, numChannels });
    if (numChannels % numGroups !== 0) throw new ArgumentError("GroupNorm", `numChannels (${numChannels}) to be divisible by numGroups`, numGroups);
    this.eps = options.eps ?? 1e-5;
    const affine = options.affine ?? true;
    this.weight = affine ? emptyParameter([numChannels], options) : null;
    this.bias = affine ? emptyParameter([numChannels], options) : null;
    if (this.weight !== null) ones_(this.weight);
    if (this.bias !== null) zeros_(this.bias);
  }
  forward(x: Tensor): Tensor {
    return groupNorm(x, this.numGroups, this.weight, this.bias, this.eps);
  }
}
