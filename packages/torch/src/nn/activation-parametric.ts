/** Elementwise nonlinearities with parameters: slopes, bounds, thresholds. */
import { ArgumentError } from "../errors.js";
import { byDefault, oneOf } from "../kinds.js";
import * as ops from "../ops/index.js";
import { atMost } from "../options.js";
import { signature, type Call } from "../signature.js";
import type { Tensor } from "../tensor/tensor.js";
import type { InplaceOptions } from "./activation.js";
import { emptyParameter, FACTORY, type FactoryOptions } from "./factory.js";
import { anyNumber, dimension, off } from "./functional/rows.js";
import { inPlace } from "./in-place.js";
import { constant_ } from "./init.js";
import { positive } from "./kernels.js";
import { Module } from "./module.js";
import type { Parameter } from "./parameter.js";
import { float, withInplace } from "./repr.js";

const over = {
  hardtanh: inPlace("hardtanh_"),
  elu: inPlace("elu_"),
  celu: inPlace("celu_"),
  leakyRelu: inPlace("leaky_relu_"),
  rrelu: inPlace("rrelu_"),
  threshold: inPlace("threshold_"),
};

export interface ThresholdOptions extends InplaceOptions {
  readonly threshold: number;
  /** What stands for elements up to the threshold. */
  readonly value: number;
}
const readThreshold = signature("Threshold", { threshold: anyNumber, value: anyNumber, inplace: off });
/** x where x > threshold, else `value`. */
export class Threshold extends Module {
  readonly threshold: number;
  readonly value: number;
  readonly inplace: boolean;
  constructor(
    ...given: Call<
      ThresholdOptions,
      ["threshold", "value", "inplace"],
      [threshold: number, value: number, inplace?: boolean]
    >
  ) {
    super();
    const { threshold, value, inplace } = readThreshold(given, new.target.name);
    this.threshold = threshold;
    this.value = value;
    this.inplace = inplace;
  }
  forward(x: Tensor): Tensor {
    atMost("Threshold.forward", arguments, 1);
    const { threshold, value } = this;
    return this.inplace ? over.threshold(x, threshold, value) : ops.threshold(x, threshold, value);
  }
  override extraRepr(): string {
    return withInplace(`threshold=${this.threshold}, value=${this.value}`, this.inplace);
  }
}

export interface HardtanhOptions extends InplaceOptions {
  /** Default -1. */
  readonly minVal?: number;
  /** Default 1. */
  readonly maxVal?: number;
}
const readHardtanh = signature("Hardtanh", {
  minVal: byDefault(-1, anyNumber),
  maxVal: byDefault(1, anyNumber),
  inplace: off,
});
/** min(max(x, minVal), maxVal) */
export class Hardtanh extends Module {
  readonly minVal: number;
  readonly maxVal: number;
  readonly inplace: boolean;
  constructor(
    ...given: Call<
      HardtanhOptions,
      ["minVal", "maxVal", "inplace"],
      [minVal?: number, maxVal?: number, inplace?: boolean]
    >
  ) {
    super();
    const { minVal, maxVal, inplace } = readHardtanh(given, new.target.name);
    if (maxVal <= minVal) throw new ArgumentError(new.target.name, `maxVal > minVal (${minVal})`, maxVal);
    this.minVal = minVal;
    this.maxVal = maxVal;
    this.inplace = inplace;
  }
  forward(x: Tensor): Tensor {
    atMost("Hardtanh.forward", arguments, 1);
    const { minVal, maxVal } = this;
    return this.inplace ? over.hardtanh(x, minVal, maxVal) : ops.hardtanh(x, minVal, maxVal);
  }
  override extraRepr(): string {
    return withInplace(`min_val=${float(this.minVal)}, max_val=${float(this.maxVal)}`, this.inplace);
  }
}

export interface AlphaOptions extends InplaceOptions {
  /** Default 1. */
  readonly alpha?: number;
}
const readAlpha = signature("ELU", { alpha: byDefault(1, anyNumber), inplace: off });
abstract class WithAlpha extends Module {
  readonly alpha: number;
  readonly inplace: boolean;
  constructor(...given: Call<AlphaOptions, ["alpha", "inplace"], [alpha?: number, inplace?: boolean]>) {
    super();
    const { alpha, inplace } = readAlpha(given, new.target.name);
    this.alpha = alpha;
    this.inplace = inplace;
  }
  override extraRepr(): string {
    return withInplace(`alpha=${float(this.alpha)}`, this.inplace);
  }
}
/** x where x > 0, else α (eˣ - 1). Clevert et al., 2015. */
export class ELU extends WithAlpha {
  forward(x: Tensor): Tensor {
    atMost("ELU.forward", arguments, 1);
    return this.inplace ? over.elu(x, this.alpha) : ops.elu(x, this.alpha);
  }
}
/** max(x, 0) + min(α (e^(x / α) - 1), 0). Barron, 2017. */
export class CELU extends WithAlpha {
  forward(x: Tensor): Tensor {
    atMost("CELU.forward", arguments, 1);
    return this.inplace ? over.celu(x, this.alpha) : ops.celu(x, this.alpha);
  }
}

export interface LeakyReLUOptions extends InplaceOptions {
  /** Slope where x < 0. Default 0.01. */
  readonly negativeSlope?: number;
}
const readLeaky = signature("LeakyReLU", { negativeSlope: byDefault(0.01, anyNumber), inplace: off });
/** x where x > 0, else slope · x */
export class LeakyReLU extends Module {
  readonly negativeSlope: number;
  readonly inplace: boolean;
  constructor(
    ...given: Call<LeakyReLUOptions, ["negativeSlope", "inplace"], [negativeSlope?: number, inplace?: boolean]>
  ) {
    super();
    const { negativeSlope, inplace } = readLeaky(given, new.target.name);
    this.negativeSlope = negativeSlope;
    this.inplace = inplace;
  }
  forward(x: Tensor): Tensor {
    atMost("LeakyReLU.forward", arguments, 1);
    return this.inplace ? over.leakyRelu(x, this.negativeSlope) : ops.leakyRelu(x, this.negativeSlope);
  }
  override extraRepr(): string {
    return withInplace(`negative_slope=${this.negativeSlope}`, this.inplace);
  }
}

export interface RReLUOptions extends InplaceOptions {
  /** Default 1/8. */
  readonly lower?: number;
  /** Default 1/3. */
  readonly upper?: number;
}
const readRrelu = signature("RReLU", {
  lower: byDefault(1 / 8, anyNumber),
  upper: byDefault(1 / 3, anyNumber),
  inplace: off,
});
/** A leaky rectifier with slopes from U(lower, upper) while training, and their mean otherwise. Xu et al., 2015. */
export class RReLU extends Module {
  readonly lower: number;
  readonly upper: number;
  readonly inplace: boolean;
  constructor(
    ...given: Call<RReLUOptions, ["lower", "upper", "inplace"], [lower?: number, upper?: number, inplace?: boolean]>
  ) {
    super();
    const { lower, upper, inplace } = readRrelu(given, new.target.name);
    this.lower = lower;
    this.upper = upper;
    this.inplace = inplace;
  }
  forward(x: Tensor): Tensor {
    atMost("RReLU.forward", arguments, 1);
    const { lower, upper, training } = this;
    return this.inplace ? over.rrelu(x, lower, upper, training) : ops.rrelu(x, lower, upper, training);
  }
  override extraRepr(): string {
    return withInplace(`lower=${this.lower}, upper=${this.upper}`, this.inplace);
  }
}

export interface PReLUOptions extends FactoryOptions {
  /** How many slopes: 1, or one per channel. Default 1. */
  readonly numParameters?: number;
  /** What they are at first. Default 0.25. */
  readonly init?: number;
}
const readPrelu = signature(
  "PReLU",
  { numParameters: byDefault(1, positive), init: byDefault(0.25, anyNumber), ...FACTORY },
  2,
);
/** A leaky rectifier with learned slopes. He et al., 2015. */
export class PReLU extends Module {
  weight: Parameter;
  readonly numParameters: number;
  readonly init: number;
  constructor(...given: Call<PReLUOptions, ["numParameters", "init"], [numParameters?: number, init?: number]>) {
    super();
    const { numParameters, init, ...factory } = readPrelu(given, new.target.name);
    this.numParameters = numParameters;
    this.init = init;
    this.weight = emptyParameter([numParameters], factory);
    this.resetParameters();
  }
  resetParameters(): void {
    atMost("PReLU.resetParameters", arguments, 0);
    constant_(this.weight, this.init);
  }
  forward(x: Tensor): Tensor {
    atMost("PReLU.forward", arguments, 1);
    return ops.prelu(x, this.weight);
  }
  override extraRepr(): string {
    return `num_parameters=${this.numParameters}`;
  }
}

export interface GELUOptions {
  /** "tanh" for a cheaper formula. Default "none". */
  readonly approximate?: "none" | "tanh";
}
const readGelu = signature("GELU", { approximate: byDefault("none", oneOf("none", "tanh")) });
/** x Φ(x). Hendrycks and Gimpel, 2016. */
export class GELU extends Module {
  readonly approximate: "none" | "tanh";
  constructor(...given: Call<GELUOptions, ["approximate"], [approximate?: "none" | "tanh"]>) {
    super();
    this.approximate = readGelu(given, new.target.name).approximate;
  }
  forward(x: Tensor): Tensor {
    atMost("GELU.forward", arguments, 1);
    return this.approximate === "none" ? ops.gelu(x) : ops.gelu(x, { approximate: this.approximate });
  }
  override extraRepr(): string {
    return `approximate='${this.approximate}'`;
  }
}

export interface LambdOptions {
  /** Default 0.5. */
  readonly lambd?: number;
}
const readLambd = signature("Hardshrink", { lambd: byDefault(0.5, anyNumber) });
abstract class Shrink extends Module {
  readonly lambd: number;
  constructor(...given: Call<LambdOptions, ["lambd"], [lambd?: number]>) {
    super();
    this.lambd = readLambd(given, new.target.name).lambd;
  }
  override extraRepr(): string {
    return String(this.lambd);
  }
}
/** x where |x| > λ, else 0. */
export class Hardshrink extends Shrink {
  forward(x: Tensor): Tensor {
    atMost("Hardshrink.forward", arguments, 1);
    return ops.hardshrink(x, this.lambd);
  }
}
/** x drawn towards 0 by λ, 0 where |x| ≤ λ. */
export class Softshrink extends Shrink {
  forward(x: Tensor): Tensor {
    atMost("Softshrink.forward", arguments, 1);
    return ops.softshrink(x, this.lambd);
  }
}

export interface SoftplusOptions {
  /** Default 1. */
  readonly beta?: number;
  /** Where βx is above it, the result is x. Default 20. */
  readonly threshold?: number;
}
const readSoftplus = signature("Softplus", { beta: byDefault(1, anyNumber), threshold: byDefault(20, anyNumber) });
/** log(1 + e^(βx)) / β */
export class Softplus extends Module {
  readonly beta: number;
  readonly threshold: number;
  constructor(...given: Call<SoftplusOptions, ["beta", "threshold"], [beta?: number, threshold?: number]>) {
    super();
    const { beta, threshold } = readSoftplus(given, new.target.name);
    this.beta = beta;
    this.threshold = threshold;
  }
  forward(x: Tensor): Tensor {
    atMost("Softplus.forward", arguments, 1);
    return ops.softplus(x, this.beta, this.threshold);
  }
  override extraRepr(): string {
    return `beta=${float(this.beta)}, threshold=${float(this.threshold)}`;
  }
}

const readGlu = signature("GLU", { dim: byDefault(-1, dimension) });
/** One half of a dimension times σ of the other. Dauphin et al., 2016. */
export class GLU extends Module {
  readonly dim: number;
  constructor(...given: Call<{ readonly dim?: number }, ["dim"], [dim?: number]>) {
    super();
    this.dim = readGlu(given, new.target.name).dim;
  }
  forward(x: Tensor): Tensor {
    atMost("GLU.forward", arguments, 1);
    return ops.glu(x, this.dim);
  }
  override extraRepr(): string {
    return `dim=${this.dim}`;
  }
}
