/** Nonlinearities, elementwise. Those with `inplace` write over their input, those that end with an underscore always. */
import { byDefault, oneOf } from "../../kinds.js";
import * as ops from "../../ops/index.js";
import { signature, type Call } from "../../signature.js";
import { isTensor } from "../../tensor/handle.js";
import { tensorKind } from "../../tensor/kinds.js";
import type { Tensor } from "../../tensor/tensor.js";
import { inPlace } from "../in-place.js";
import {
  anyNumber,
  dimension,
  input,
  off,
  readInplace,
  readInput,
  type InplaceArguments,
  type InplaceCall,
  type InputArguments,
  type InputCall,
} from "./rows.js";

type Elementwise = (x: Tensor) => Tensor;

/** `fn(input, inplace = false)`; what most calls are costs one comparison. */
function elementwise(name: string, plain: Elementwise, over: Elementwise): (...given: InplaceCall) => Tensor {
  const read = readInplace(name);
  return (...given) => {
    const first: unknown = given[0];
    if (given.length === 1 && isTensor(first)) return plain(first);
    const { input, inplace } = read(given);
    return inplace ? over(input) : plain(input);
  };
}
function ofInput(name: string, compute: Elementwise): (...given: InputCall) => Tensor {
  const read = readInput(name);
  return (...given) => {
    const first: unknown = given[0];
    return compute(given.length === 1 && isTensor(first) ? first : read(given).input);
  };
}

/** max(x, 0) */
export const relu = elementwise("relu", ops.relu, inPlace("relu_"));
export const relu_ = ofInput("relu_", inPlace("relu_"));
/** min(max(x, 0), 6) */
export const relu6 = elementwise(
  "relu6",
  (x) => ops.hardtanh(x, 0, 6),
  (x) => inPlace("hardtanh_")(x, 0, 6),
);
/** With α = 1.6733 and λ = 1.0507: λx where x > 0, else λα (eˣ - 1). Klambauer et al., 2017. */
export const selu = elementwise("selu", ops.selu, inPlace("selu_"));
export const selu_ = ofInput("selu_", inPlace("selu_"));
/** x σ(x) */
export const silu = elementwise("silu", ops.silu, inPlace("silu_"));
/** x tanh(log(1 + eˣ)). Misra, 2019. */
export const mish = elementwise("mish", ops.mish, inPlace("mish_"));
/** min(max(x + 3, 0), 6) / 6 */
export const hardsigmoid = elementwise("hardsigmoid", ops.hardsigmoid, inPlace("hardsigmoid_"));
/** x · hardsigmoid(x). Howard et al., 2019. */
export const hardswish = elementwise("hardswish", ops.hardswish, inPlace("hardswish_"));
/** 1 / (1 + e^-x) */
export const sigmoid = ofInput("sigmoid", ops.sigmoid);
export const tanh = ofInput("tanh", ops.tanh);
/** log σ(x) */
export const logsigmoid = ofInput("logsigmoid", ops.logSigmoid);
/** x / (1 + |x|) */
export const softsign = ofInput("softsign", (x) => x.div(x.abs().add(1)));
/** x - tanh(x) */
export const tanhshrink = ofInput("tanhshrink", (x) => x.sub(x.tanh()));

export interface ThresholdArguments extends InputArguments {
  readonly threshold: number;
  /** What stands for elements up to the threshold. */
  readonly value: number;
  /** Write over the input. Default false. */
  readonly inplace?: boolean;
}
type Thresholds = [input: Tensor, threshold: number, value: number];
const THRESHOLD = { input, threshold: anyNumber, value: anyNumber };
const readThreshold = signature("threshold", { ...THRESHOLD, inplace: off });
const readThreshold_ = signature("threshold_", THRESHOLD);
/** x where x > threshold, else `value`. */
export function threshold(
  ...given: Call<
    ThresholdArguments,
    ["input", "threshold", "value", "inplace"],
    [...rest: Thresholds, inplace?: boolean]
  >
): Tensor {
  const { input, threshold, value, inplace } = readThreshold(given);
  return inplace ? inPlace("threshold_")(input, threshold, value) : ops.threshold(input, threshold, value);
}
export function threshold_(
  ...given: Call<Omit<ThresholdArguments, "inplace">, ["input", "threshold", "value"], Thresholds>
): Tensor {
  const { input, threshold, value } = readThreshold_(given);
  return inPlace("threshold_")(input, threshold, value);
}

export interface HardtanhArguments extends InplaceArguments {
  /** Default -1. */
  readonly minVal?: number;
  /** Default 1. */
  readonly maxVal?: number;
}
type Bounds = [input: Tensor, minVal?: number, maxVal?: number];
const HARDTANH = { input, minVal: byDefault(-1, anyNumber), maxVal: byDefault(1, anyNumber) };
const readHardtanh = signature("hardtanh", { ...HARDTANH, inplace: off });
const readHardtanh_ = signature("hardtanh_", HARDTANH);
/** min(max(x, minVal), maxVal) */
export function hardtanh(
  ...given: Call<HardtanhArguments, ["input", "minVal", "maxVal", "inplace"], [...rest: Bounds, inplace?: boolean]>
): Tensor {
  const { input, minVal, maxVal, inplace } = readHardtanh(given);
  return inplace ? inPlace("hardtanh_")(input, minVal, maxVal) : ops.hardtanh(input, minVal, maxVal);
}
export function hardtanh_(
  ...given: Call<Omit<HardtanhArguments, "inplace">, ["input", "minVal", "maxVal"], Bounds>
): Tensor {
  const { input, minVal, maxVal } = readHardtanh_(given);
  return inPlace("hardtanh_")(input, minVal, maxVal);
}

export interface AlphaArguments extends InplaceArguments {
  /** Default 1. */
  readonly alpha?: number;
}
type AlphaCall = Call<
  AlphaArguments,
  ["input", "alpha", "inplace"],
  [input: Tensor, alpha?: number, inplace?: boolean]
>;
type AlphaCall_ = Call<Omit<AlphaArguments, "inplace">, ["input", "alpha"], [input: Tensor, alpha?: number]>;
const ALPHA = { input, alpha: byDefault(1, anyNumber) };
const readElu = signature("elu", { ...ALPHA, inplace: off });
const readElu_ = signature("elu_", ALPHA);
const readCelu = signature("celu", { ...ALPHA, inplace: off });
const readCelu_ = signature("celu_", ALPHA);
/** x where x > 0, else α (eˣ - 1). Clevert et al., 2015. */
export function elu(...given: AlphaCall): Tensor {
  const { input, alpha, inplace } = readElu(given);
  return inplace ? inPlace("elu_")(input, alpha) : ops.elu(input, alpha);
}
export function elu_(...given: AlphaCall_): Tensor {
  const { input, alpha } = readElu_(given);
  return inPlace("elu_")(input, alpha);
}
/** max(x, 0) + min(α (e^(x / α) - 1), 0). Barron, 2017. */
export function celu(...given: AlphaCall): Tensor {
  const { input, alpha, inplace } = readCelu(given);
  return inplace ? inPlace("celu_")(input, alpha) : ops.celu(input, alpha);
}
export function celu_(...given: AlphaCall_): Tensor {
  const { input, alpha } = readCelu_(given);
  return inPlace("celu_")(input, alpha);
}

export interface LeakyReluArguments extends InplaceArguments {
  /** Slope where x < 0. Default 0.01. */
  readonly negativeSlope?: number;
}
const LEAKY = { input, negativeSlope: byDefault(0.01, anyNumber) };
const readLeaky = signature("leakyRelu", { ...LEAKY, inplace: off });
const readLeaky_ = signature("leakyRelu_", LEAKY);
/** x where x > 0, else slope · x */
export function leakyRelu(
  ...given: Call<
    LeakyReluArguments,
    ["input", "negativeSlope", "inplace"],
    [input: Tensor, negativeSlope?: number, inplace?: boolean]
  >
): Tensor {
  const { input, negativeSlope, inplace } = readLeaky(given);
  return inplace ? inPlace("leaky_relu_")(input, negativeSlope) : ops.leakyRelu(input, negativeSlope);
}
export function leakyRelu_(
  ...given: Call<
    Omit<LeakyReluArguments, "inplace">,
    ["input", "negativeSlope"],
    [input: Tensor, negativeSlope?: number]
  >
): Tensor {
  const { input, negativeSlope } = readLeaky_(given);
  return inPlace("leaky_relu_")(input, negativeSlope);
}

export interface PreluArguments extends InputArguments {
  /** `[1]`, or `[C]` for channels in dimension 1. */
  readonly weight: Tensor;
}
const readPrelu = signature("prelu", { input, weight: tensorKind });
/** x where x > 0, else weight · x. He et al., 2015. */
export function prelu(...given: Call<PreluArguments, ["input", "weight"], [input: Tensor, weight: Tensor]>): Tensor {
  const { input, weight } = readPrelu(given);
  return ops.prelu(input, weight);
}

export interface RreluArguments extends InplaceArguments {
  /** Default 1/8. */
  readonly lower?: number;
  /** Default 1/3. */
  readonly upper?: number;
  /** Draw slopes; otherwise their mean stands for all. Default false. */
  readonly training?: boolean;
}
type RreluOrder = ["input", "lower", "upper", "training"];
type Slopes = [input: Tensor, lower?: number, upper?: number, training?: boolean];
const RRELU = { input, lower: byDefault(1 / 8, anyNumber), upper: byDefault(1 / 3, anyNumber), training: off };
const readRrelu = signature("rrelu", { ...RRELU, inplace: off });
const readRrelu_ = signature("rrelu_", RRELU);
/** A leaky rectifier whose slopes are drawn from U(lower, upper) for every element. Xu et al., 2015. */
export function rrelu(
  ...given: Call<RreluArguments, [...RreluOrder, "inplace"], [...rest: Slopes, inplace?: boolean]>
): Tensor {
  const { input, lower, upper, training, inplace } = readRrelu(given);
  return inplace ? inPlace("rrelu_")(input, lower, upper, training) : ops.rrelu(input, lower, upper, training);
}
export function rrelu_(...given: Call<Omit<RreluArguments, "inplace">, RreluOrder, Slopes>): Tensor {
  const { input, lower, upper, training } = readRrelu_(given);
  return inPlace("rrelu_")(input, lower, upper, training);
}

export interface LambdArguments extends InputArguments {
  /** Default 0.5. */
  readonly lambd?: number;
}
type LambdCall = Call<LambdArguments, ["input", "lambd"], [input: Tensor, lambd?: number]>;
const LAMBD = { input, lambd: byDefault(0.5, anyNumber) };
const readHardshrink = signature("hardshrink", LAMBD);
const readSoftshrink = signature("softshrink", LAMBD);
/** x where |x| > λ, else 0. */
export function hardshrink(...given: LambdCall): Tensor {
  const { input, lambd } = readHardshrink(given);
  return ops.hardshrink(input, lambd);
}
/** x drawn towards 0 by λ, 0 where |x| ≤ λ. */
export function softshrink(...given: LambdCall): Tensor {
  const { input, lambd } = readSoftshrink(given);
  return ops.softshrink(input, lambd);
}

export interface GeluArguments extends InputArguments {
  /** "tanh" for a cheaper formula. By name alone. Default "none". */
  readonly approximate?: "none" | "tanh";
}
const readGelu = signature("gelu", { input, approximate: byDefault("none", oneOf("none", "tanh")) }, 1);
/** x Φ(x). Hendrycks and Gimpel, 2016. */
export function gelu(...given: Call<GeluArguments, ["input"], [input: Tensor]>): Tensor {
  const first: unknown = given[0];
  if (given.length === 1 && isTensor(first)) return ops.gelu(first);
  const { input, approximate } = readGelu(given);
  return approximate === "none" ? ops.gelu(input) : ops.gelu(input, { approximate });
}

export interface SoftplusArguments extends InputArguments {
  /** Default 1. */
  readonly beta?: number;
  /** Where βx is above it, the result is x. Default 20. */
  readonly threshold?: number;
}
const readSoftplus = signature("softplus", {
  input,
  beta: byDefault(1, anyNumber),
  threshold: byDefault(20, anyNumber),
});
/** log(1 + e^(βx)) / β */
export function softplus(
  ...given: Call<SoftplusArguments, ["input", "beta", "threshold"], [input: Tensor, beta?: number, threshold?: number]>
): Tensor {
  const { input, beta, threshold } = readSoftplus(given);
  return ops.softplus(input, beta, threshold);
}

export interface GluArguments extends InputArguments {
  /** Which dimension is halved. Default -1. */
  readonly dim?: number;
}
const readGlu = signature("glu", { input, dim: byDefault(-1, dimension) });
/** One half times σ of the other. Dauphin et al., 2016. */
export function glu(...given: Call<GluArguments, ["input", "dim"], [input: Tensor, dim?: number]>): Tensor {
  const { input, dim } = readGlu(given);
  return ops.glu(input, dim);
}
