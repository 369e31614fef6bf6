/** A linear layer that learns how many features come in from its first input. */
import { byDefault, flag } from "../kinds.js";
import { signature, type Call } from "../signature.js";
import { FACTORY } from "./factory.js";
import { positive } from "./kernels.js";
import { becomes, lazily, type LazyModule } from "./lazy.js";
import { Linear, type LinearOptions } from "./linear.js";
import { isUninitialized } from "./uninitialized.js";

export interface LazyLinearArguments extends LinearOptions {
  readonly outFeatures: number;
}
const read = signature("LazyLinear", { outFeatures: positive, bias: byDefault(true, flag), ...FACTORY }, 2);

/** {@link Linear} whose `inFeatures` is that of its first input. From then on it is a Linear. */
export class LazyLinear extends Linear implements LazyModule {
  declare readonly hasUninitializedParams: LazyModule["hasUninitializedParams"];
  declare readonly initializeParameters: LazyModule["initializeParameters"];
  constructor(...given: Call<LazyLinearArguments, ["outFeatures", "bias"], [outFeatures: number, bias?: boolean]>) {
    // Any number of features: nothing is made of it.
    super({ inFeatures: 1, ...read(given, new.target.name) });
    this.inFeatures = 0;
  }
}
lazily(LazyLinear, Linear, {
  size: "inFeatures",
  initialize: (layer, x) => {
    layer.inFeatures = isUninitialized(layer.weight) ? x.size(-1) : layer.weight.size(1);
    becomes(layer, Linear, { weight: [layer.outFeatures, layer.inFeatures], bias: [layer.outFeatures] });
  },
});
