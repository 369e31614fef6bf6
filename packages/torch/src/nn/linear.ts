/** Affine maps. */
import { empty, linear } from "../ops/index.js";
import { flag, orNull } from "../kinds.js";
import { deviceKind, dtypeKind } from "../tensor/kinds.js";
import { atMost, checkArguments, optionsFrom, type Given, type OptionNames } from "../options.js";
import type { DeviceLike } from "../tensor/device.js";
import type { DType } from "../tensor/dtype.js";
import type { Tensor } from "../tensor/tensor.js";
import { positive } from "./kernels.js";
import { kaimingUniform_, uniform_ } from "./init.js";
import { Module } from "./module.js";
import { Parameter } from "./parameter.js";

export interface FactoryOptions {
  /** Where parameters are made. Default: the default device. */
  readonly device?: DeviceLike | null | undefined;
  /** Of the parameters. Default: the default dtype, float32 unless set. */
  readonly dtype?: DType | null | undefined;
}
export interface LinearOptions extends FactoryOptions {
  /** Add b. Default true. */
  readonly bias?: boolean | undefined;
}
/** @internal */
export const FACTORY_NAMES: OptionNames<FactoryOptions> = { device: orNull(deviceKind), dtype: orNull(dtypeKind) };
const NAMES: OptionNames<LinearOptions> = { bias: flag, ...FACTORY_NAMES };

/** @internal A fresh parameter without values. */
export function emptyParameter(shape: readonly number[], options: FactoryOptions): Parameter {
  const data = empty([...shape], { dtype: options.dtype ?? null, device: options.device ?? null });
  const parameter = new Parameter(data);
  data.dispose();
  return parameter;
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
    ...rest: Given<LinearOptions, [bias: boolean]>
  ) {
    super();
    const options = optionsFrom("Linear", 2, rest, NAMES, 1);
    checkArguments("Linear", { inFeatures, outFeatures }, { inFeatures: positive, outFeatures: positive });
    this.weight = emptyParameter([outFeatures, inFeatures], options);
    this.bias = (options.bias ?? true) ? emptyParameter([outFeatures], options) : null;
    this.resetParameters();
  }
  resetParameters(): void {
    atMost("Linear.resetParameters", arguments, 0);
    kaimingUniform_(this.weight, { a: Math.sqrt(5) });
    if (this.bias !== null) {
      const bound = 1 / Math.sqrt(this.inFeatures);
      uniform_(this.bias, -bound, bound);
    }
  }
  forward(x: Tensor): Tensor {
    atMost("Linear.forward", arguments, 1);
    return linear(x, this.weight, this.bias);
  }
  override extraRepr(): string {
    return `in_features=${this.inFeatures}, out_features=${this.outFeatures}, bias=${this.bias === null ? "False" : "True"}`;
  }
}

/** Returns what it is given. */
export class Identity extends Module {
  forward(x: Tensor): Tensor {
    atMost("Identity.forward", arguments, 1);
    return x;
  }
}
