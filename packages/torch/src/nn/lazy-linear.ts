/** A linear layer that learns how many features come in from its first input. */
import { byDefault, flag } from "../kinds.js";
import { atMost } from "../options.js";
import { signature, type Call } from "../signature.js";
import type { Tensor } from "../tensor/tensor.js";
import { FACTORY, type FactoryOptions } from "./factory.js";
import { requireTensor } from "./inputs.js";
import { positive } from "./kernels.js";
import { becomes, uninitializedOf, type LazyModule } from "./lazy.js";
import { Linear, type LinearOptions } from "./linear.js";
import type { Parameter } from "./parameter.js";
import { isUninitialized, UninitializedParameter } from "./uninitialized.js";

export interface LazyLinearArguments extends LinearOptions {
  readonly outFeatures: number;
}
const read = signature("LazyLinear", { outFeatures: positive, bias: byDefault(true, flag), ...FACTORY }, 2);

/** {@link Linear} whose `inFeatures` is that of its first input. From then on it is a Linear. */
export class LazyLinear extends Linear implements LazyModule {
  constructor(...given: Call<LazyLinearArguments, ["outFeatures", "bias"], [outFeatures: number, bias?: boolean]>) {
    // Any number of features: nothing is made of it.
    super({ inFeatures: 1, ...read(given, new.target.name) });
    this.inFeatures = 0;
  }
  protected override parameter(_shape: readonly number[], { device, dtype }: FactoryOptions): Parameter {
    return new UninitializedParameter({ device, dtype });
  }
  hasUninitializedParams(): boolean {
    atMost("LazyLinear.hasUninitializedParams", arguments, 0);
    return uninitializedOf(this).length > 0;
  }
  override resetParameters(): void {
    atMost("LazyLinear.resetParameters", arguments, 0);
    if (!this.hasUninitializedParams()) super.resetParameters();
  }
  initializeParameters(x: Tensor): void {
    atMost("LazyLinear.initializeParameters", arguments, 1);
    requireTensor("LazyLinear.initializeParameters", x);
    this.inFeatures = isUninitialized(this.weight) ? x.size(-1) : this.weight.size(1);
    becomes(this, Linear, { weight: [this.outFeatures, this.inFeatures], bias: [this.outFeatures] });
  }
  override forward(x: Tensor): Tensor {
    atMost("LazyLinear.forward", arguments, 1);
    if (this.inFeatures === 0 && "initializeParameters" in this) this.initializeParameters(x);
    return super.forward(x);
  }
}
