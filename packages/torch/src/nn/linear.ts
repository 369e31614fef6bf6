/** Affine maps. */
import { byDefault, flag } from "../kinds.js";
import { bilinear, linear } from "../ops/index.js";
import { atMost, type OptionNames } from "../options.js";
import { signature, type Call } from "../signature.js";
import type { EndsWith, WithLast } from "../tensor/shapes.js";
import type { Tensor } from "../tensor/tensor.js";
import { emptyParameter, FACTORY, type FactoryOptions } from "./factory.js";
import { kaimingUniform_, uniform_ } from "./init.js";
import { positive } from "./kernels.js";
import { Module } from "./module.js";
import type { Parameter } from "./parameter.js";
import { bool } from "./repr.js";

export { emptyParameter, FACTORY_NAMES, type FactoryOptions } from "./factory.js";

export interface LinearOptions extends FactoryOptions {
  /** Add b. Default true. */
  readonly bias?: boolean | undefined;
}
export interface LinearArguments extends LinearOptions {
  readonly inFeatures: number;
  readonly outFeatures: number;
}
const LINEAR = {
  inFeatures: positive,
  outFeatures: positive,
  bias: byDefault(true, flag),
  ...FACTORY,
} satisfies OptionNames<LinearArguments>;
const readLinear = signature("Linear", LINEAR, 3);

/**
 * y = x Wᵀ + b, with W `[outFeatures, inFeatures]`, both drawn from U(-1/√inFeatures, 1/√inFeatures).
 * Shapes: `[…, inFeatures]` → `[…, outFeatures]`. Low precision under autocast.
 * @throws {ArgumentError} `Linear: expected inFeatures to be a whole number ≥ 1. Received: 0.`
 */
export class Linear<I extends number = number, O extends number = number> extends Module {
  weight: Parameter;
  bias: Parameter | null;
  inFeatures: number;
  readonly outFeatures: number;
  constructor(inFeatures: I, outFeatures: O, ...rest: Call<LinearOptions, ["bias"], [bias?: boolean]>);
  constructor(...given: Call<LinearArguments, ["inFeatures"], [inFeatures: number]>);
  constructor(...given: readonly unknown[]) {
    super();
    const { inFeatures, outFeatures, bias, ...factory } = readLinear(given, new.target.name);
    this.inFeatures = inFeatures;
    this.outFeatures = outFeatures;
    this.weight = this.parameter([outFeatures, inFeatures], factory);
    this.bias = bias ? this.parameter([outFeatures], factory) : null;
    this.resetParameters();
  }
  /** @internal What a weight is at first; lazy layers do not know its shape. */
  protected parameter(shape: readonly number[], options: FactoryOptions): Parameter {
    return emptyParameter(shape, options);
  }
  resetParameters(): void {
    atMost("Linear.resetParameters", arguments, 0);
    kaimingUniform_(this.weight, { a: Math.sqrt(5) });
    if (this.bias !== null) {
      const bound = 1 / Math.sqrt(this.inFeatures);
      uniform_(this.bias, -bound, bound);
    }
  }
  forward<T extends Tensor>(x: T & EndsWith<T, I>): WithLast<T, O>;
  forward(x: Tensor): Tensor {
    atMost("Linear.forward", arguments, 1);
    return linear(x, this.weight, this.bias);
  }
  override extraRepr(): string {
    return `in_features=${this.inFeatures}, out_features=${this.outFeatures}, bias=${bool(this.bias !== null)}`;
  }
}

/** Returns what it is given. What its constructor is given counts for nothing, as in PyTorch: it takes any layer's place. */
export class Identity extends Module {
  constructor(..._anything: readonly unknown[]) {
    super();
  }
  forward<T>(x: T): T {
    atMost("Identity.forward", arguments, 1);
    return x;
  }
}

export interface BilinearArguments extends FactoryOptions {
  readonly in1Features: number;
  readonly in2Features: number;
  readonly outFeatures: number;
  /** Add b. Default true. */
  readonly bias?: boolean;
}
const BILINEAR = {
  in1Features: positive,
  in2Features: positive,
  outFeatures: positive,
  bias: byDefault(true, flag),
  ...FACTORY,
} satisfies OptionNames<BilinearArguments>;
const readBilinear = signature("Bilinear", BILINEAR, 4);
type BilinearCall = Call<
  BilinearArguments,
  ["in1Features", "in2Features", "outFeatures", "bias"],
  [in1Features: number, in2Features: number, outFeatures: number, bias?: boolean]
>;

/**
 * y = x1ᵀ W x2 + b, with W `[outFeatures, in1Features, in2Features]`, both drawn from U(-1/√in1Features,
 * 1/√in1Features). Shapes: `[…, in1Features]`, `[…, in2Features]` → `[…, outFeatures]`.
 */
export class Bilinear extends Module {
  weight: Parameter;
  bias: Parameter | null;
  readonly in1Features: number;
  readonly in2Features: number;
  readonly outFeatures: number;
  constructor(...given: BilinearCall) {
    super();
    const { in1Features, in2Features, outFeatures, bias, ...factory } = readBilinear(given, new.target.name);
    this.in1Features = in1Features;
    this.in2Features = in2Features;
    this.outFeatures = outFeatures;
    this.weight = emptyParameter([outFeatures, in1Features, in2Features], factory);
    this.bias = bias ? emptyParameter([outFeatures], factory) : null;
    this.resetParameters();
  }
  resetParameters(): void {
    atMost("Bilinear.resetParameters", arguments, 0);
    const bound = 1 / Math.sqrt(this.in1Features);
    uniform_(this.weight, -bound, bound);
    if (this.bias !== null) uniform_(this.bias, -bound, bound);
  }
  forward(input1: Tensor, input2: Tensor): Tensor {
    atMost("Bilinear.forward", arguments, 2);
    return bilinear(input1, input2, this.weight, this.bias);
  }
  override extraRepr(): string {
    return (
      `in1_features=${this.in1Features}, in2_features=${this.in2Features}, ` +
      `out_features=${this.outFeatures}, bias=${bool(this.bias !== null)}`
    );
  }
}
