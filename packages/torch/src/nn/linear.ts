/** Affine maps. */
import { ArgumentError } from "../errors.js";
import { empty, linear } from "../ops/index.js";
import { checkOptions, type OptionNames } from "../options.js";
import type { DeviceLike } from "../tensor/device.js";
import type { DType } from "../tensor/dtype.js";
import type { Tensor } from "../tensor/tensor.js";
import { kaimingUniform_, uniform_ } from "./init.js";
import { Module } from "./module.js";
import { Parameter } from "./parameter.js";

export interface FactoryOptions {
  /** Where parameters are made. Default: the default device. */
  readonly device?: DeviceLike | undefined;
  /** Of the parameters. Default: the default dtype, float32 unless set. */
  readonly dtype?: DType | undefined;
}
export interface LinearOptions extends FactoryOptions {
  /** Add b. Default true. */
  readonly bias?: boolean;
}
/** @internal */
export const FACTORY_NAMES: OptionNames<FactoryOptions> = { device: true, dtype: true };
const NAMES: OptionNames<LinearOptions> = { bias: true, ...FACTORY_NAMES };

/** @internal A fresh parameter without values. */
export function emptyParameter(shape: readonly number[], options: FactoryOptions): Parameter {
  const data = empty([...shape], { dtype: options.dtype ?? null, device: options.device ?? null });
  const parameter = new Parameter(data);
  data.dispose();
  return parameter;
}

/** @internal @throws {ArgumentError} unless every value is a whole number ≥ 1. */
export function positive(fn: string, values: Readonly<Record<string, number>>): void {
  for (const [name, v] of Object.entries(values)) if (!Number.isInteger(v) || v < 1) throw new ArgumentError(fn, `${name} to be a whole number ≥ 1`, v);
}

/**
 * y = x Wᵀ + b, with W `[outFeatures, inFeatures]`, both drawn from U(-1/√inFeatures, 1/√inFeatures).
 * Shapes: `[…, inFeatures]` → `[…, outFeatures]`. Low precision under autocast.
 * @throws {ArgumentError} `Linear: expected inFeatures to be a whole number ≥ 1. Received: 0.`
 */
export class Linear extends Module {
  readonly weight: Parameter;
  readonly bias: Parameter | null;
  constructor(
    readonly inFeatures: number,
    readonly outFeatures: number,
    options: LinearOptions = {},
  ) {
    super();
    checkOptions("Linear", options, NAMES);
    positive("Linear", { inFeatures, outFeatures });
    this.weight = emptyParameter([outFeatures, inFeatures], options);
    this.bias = (options.bias ?? true) ? emptyParameter([outFeatures], options) : null;
    this.resetParameters();
  }
  resetParameters(): void {
    kaimingUniform_(this.weight, { a: Math.sqrt(5) });
    if (this.bias !== null) {
      const bound = 1 / Math.sqrt(this.inFeatures);
      uniform_(this.bias, -bound, bound);
    }
  }
  forward(x: Tensor): Tensor {
    return linear(x, this.weight, this.bias);
  }
  override extraRepr(): string {
    return `in_features=${this.inFeatures}, out_features=${this.outFeatures}, bias=${this.bias === null ? "False" : "True"}`;
  }
}

/** Returns what it is given. */
export class Identity extends Module {
  forward(x: Tensor): Tensor {
    return x;
  }
}
