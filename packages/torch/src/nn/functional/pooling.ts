/** Pooling: one value for each window, or for each place of the output. */
import { byDefault, orNull } from "../../kinds.js";
import * as ops from "../../ops/index.js";
import { signature, type Call } from "../../signature.js";
import type { Tensor } from "../../tensor/tensor.js";
import { positive } from "../kernels.js";
import { expand, OUTPUT_SIZE, outputSizes, SIZE, STEP, type OutputSize, type Size } from "../sizes.js";
import { input, off, on, type InputArguments } from "./rows.js";

type Ints = readonly number[];
type Rank = 1 | 2 | 3;

export interface PoolArguments {
  readonly kernelSize: Size;
  /** Default null: the kernel size. */
  readonly stride?: Size | null;
  /** At most half the kernel size, of what changes no result: -∞ of a maximum. Default 0. */
  readonly padding?: Size;
  /** Where the last window stands over the edge, take it too. Default false. */
  readonly ceilMode?: boolean;
}
export interface MaxPoolArguments extends PoolArguments, InputArguments {
  /** Distance between the elements of a window. Default 1. */
  readonly dilation?: Size;
  /** Give where the maxima stand, too: `[output, indices]`, as `maxUnpool` takes them. Default false. */
  readonly returnIndices?: false;
}
export interface MaxPoolIndicesArguments extends Omit<MaxPoolArguments, "returnIndices"> {
  readonly returnIndices: true;
}
type MaxOrder = ["input", "kernelSize", "stride", "padding", "dilation", "ceilMode", "returnIndices"];
type Windows = [input: Tensor, kernelSize: Size, stride?: Size | null, padding?: Size, dilation?: Size];
type MaxCall = Call<MaxPoolArguments, MaxOrder, [...rest: Windows, ceilMode?: boolean, returnIndices?: false]>;
type IndicesCall = Call<
  MaxPoolIndicesArguments,
  MaxOrder,
  [...rest: Required<Windows>, ceilMode: boolean, returnIndices: true]
>;
interface MaxPool {
  (...given: MaxCall): Tensor;
  (...given: IndicesCall): [output: Tensor, indices: Tensor];
}
type MaxPoolIndices = (...given: MaxCall | IndicesCall) => [output: Tensor, indices: Tensor];
const MAX = {
  input,
  kernelSize: STEP,
  stride: byDefault(null, orNull(STEP)),
  padding: byDefault(0, SIZE),
  dilation: byDefault(1, STEP),
  ceilMode: off,
  returnIndices: off,
};

type Pool<R> = (x: Tensor, kernel: Ints, stride: Ints, padding: Ints, dilation: Ints, ceil: boolean) => R;
const MAX_POOL: { readonly [R in Rank]: Pool<Tensor> } = { 1: ops.maxPool1d, 2: ops.maxPool2d, 3: ops.maxPool3d };
const MAX_POOL_INDICES: { readonly [R in Rank]: Pool<[Tensor, Tensor]> } = {
  1: ops.maxPool1dWithIndices,
  2: ops.maxPool2dWithIndices,
  3: ops.maxPool3dWithIndices,
};

function maxPool(rank: Rank): readonly [plain: MaxPool, withIndices: MaxPoolIndices] {
  const read = signature(`maxPool${rank}d`, MAX);
  const run = (given: readonly unknown[], name: string, indices: boolean): Tensor | [Tensor, Tensor] => {
    const a = read(given, name);
    const kernel = expand(name, "kernelSize", a.kernelSize, rank);
    const stride = a.stride === null ? kernel : expand(name, "stride", a.stride, rank);
    const padding = expand(name, "padding", a.padding, rank);
    const dilation = expand(name, "dilation", a.dilation, rank);
    const both = indices || a.returnIndices;
    return (both ? MAX_POOL_INDICES : MAX_POOL)[rank](a.input, kernel, stride, padding, dilation, a.ceilMode);
  };
  return [
    ((...given: readonly unknown[]) => run(given, `maxPool${rank}d`, false)) as MaxPool,
    ((...given: readonly unknown[]) => run(given, `maxPool${rank}dWithIndices`, true)) as MaxPoolIndices,
  ];
}
const [plain1, indices1] = maxPool(1);
const [plain2, indices2] = maxPool(2);
const [plain3, indices3] = maxPool(3);
/** The largest value of each window of `[N, C, L]` or `[C, L]`. */
export const maxPool1d = plain1;
/** The largest value of each window of `[N, C, H, W]` or `[C, H, W]`. */
export const maxPool2d = plain2;
/** The largest value of each window of `[N, C, D, H, W]` or `[C, D, H, W]`. */
export const maxPool3d = plain3;
/** {@link maxPool1d} with the places of the maxima, int64, counted in a plane of the input. */
export const maxPool1dWithIndices = indices1;
/** {@link maxPool2d} with the places of the maxima, int64, counted in a plane of the input. */
export const maxPool2dWithIndices = indices2;
/** {@link maxPool3d} with the places of the maxima, int64, counted in a volume of the input. */
export const maxPool3dWithIndices = indices3;

export interface AvgPoolArguments extends PoolArguments, InputArguments {
  /** Count the padding's zeros. Default true. */
  readonly countIncludePad?: boolean;
}
export interface AvgPoolDivisorArguments extends AvgPoolArguments {
  /** What sums are divided by; null: how many elements the window has. Default null. */
  readonly divisorOverride?: number | null;
}
type AvgOrder = ["input", "kernelSize", "stride", "padding", "ceilMode", "countIncludePad"];
type AvgWindows = [
  input: Tensor,
  kernelSize: Size,
  stride?: Size | null,
  padding?: Size,
  ceilMode?: boolean,
  countIncludePad?: boolean,
];
type AvgDivisorCall = Call<
  AvgPoolDivisorArguments,
  [...AvgOrder, "divisorOverride"],
  [...rest: AvgWindows, divisorOverride?: number | null]
>;
const AVG = {
  input,
  kernelSize: STEP,
  stride: byDefault(null, orNull(STEP)),
  padding: byDefault(0, SIZE),
  ceilMode: off,
  countIncludePad: on,
};
const AVG_DIVISOR = { ...AVG, divisorOverride: byDefault(null, orNull(positive)) };
const readAvg1 = signature("avgPool1d", AVG);
const readAvg2 = signature("avgPool2d", AVG_DIVISOR);
const readAvg3 = signature("avgPool3d", AVG_DIVISOR);
/** The mean of each window of `[N, C, L]` or `[C, L]`. */
export function avgPool1d(...given: Call<AvgPoolArguments, AvgOrder, AvgWindows>): Tensor {
  const { input, kernelSize, stride, padding, ceilMode, countIncludePad } = readAvg1(given);
  return ops.avgPool1d(input, kernelSize, stride ?? [], padding, ceilMode, countIncludePad);
}
/** The mean of each window of `[N, C, H, W]` or `[C, H, W]`. */
export function avgPool2d(...given: AvgDivisorCall): Tensor {
  const { input, kernelSize, stride, padding, ceilMode, countIncludePad, divisorOverride } = readAvg2(given);
  return ops.avgPool2d(input, kernelSize, stride ?? [], padding, ceilMode, countIncludePad, divisorOverride);
}
/** The mean of each window of `[N, C, D, H, W]` or `[C, D, H, W]`. */
export function avgPool3d(...given: AvgDivisorCall): Tensor {
  const { input, kernelSize, stride, padding, ceilMode, countIncludePad, divisorOverride } = readAvg3(given);
  return ops.avgPool3d(input, kernelSize, stride ?? [], padding, ceilMode, countIncludePad, divisorOverride);
}

export interface AdaptiveArguments extends InputArguments {
  /** How many places the output has; null: as many as the input, in one dimension or all. */
  readonly outputSize: OutputSize;
}
type AdaptiveAvg = (
  ...given: Call<AdaptiveArguments, ["input", "outputSize"], [input: Tensor, outputSize: OutputSize]>
) => Tensor;
const ADAPTIVE = { input, outputSize: OUTPUT_SIZE };
const ADAPTIVE_AVG: { readonly [R in Rank]: (x: Tensor, size: Ints) => Tensor } = {
  1: ops.adaptiveAvgPool1d,
  2: ops.adaptiveAvgPool2d,
  3: ops.adaptiveAvgPool3d,
};
function adaptiveAvg(rank: Rank): AdaptiveAvg {
  const name = `adaptiveAvgPool${rank}d`;
  const read = signature(name, ADAPTIVE);
  return (...given) => {
    const { input, outputSize } = read(given);
    return ADAPTIVE_AVG[rank](input, outputSizes(name, outputSize, input.shape, rank));
  };
}
/** The mean over as many windows of `[N, C, L]` as the output has places. */
export const adaptiveAvgPool1d = adaptiveAvg(1);
/** The mean over as many windows of `[N, C, H, W]` as the output has places. */
export const adaptiveAvgPool2d = adaptiveAvg(2);
/** The mean over as many windows of `[N, C, D, H, W]` as the output has places. */
export const adaptiveAvgPool3d = adaptiveAvg(3);

export interface AdaptiveMaxArguments extends AdaptiveArguments {
  /** Give where the maxima stand, too: `[output, indices]`. Default false. */
  readonly returnIndices?: false;
}
export interface AdaptiveMaxIndicesArguments extends AdaptiveArguments {
  readonly returnIndices: true;
}
type AdaptiveOrder = ["input", "outputSize", "returnIndices"];
type AdaptiveMaxCall = Call<
  AdaptiveMaxArguments,
  AdaptiveOrder,
  [input: Tensor, outputSize: OutputSize, returnIndices?: false]
>;
type AdaptiveIndicesCall = Call<
  AdaptiveMaxIndicesArguments,
  AdaptiveOrder,
  [input: Tensor, outputSize: OutputSize, returnIndices: true]
>;
interface AdaptiveMax {
  (...given: AdaptiveMaxCall): Tensor;
  (...given: AdaptiveIndicesCall): [output: Tensor, indices: Tensor];
}
type AdaptiveMaxIndices = (...given: AdaptiveMaxCall | AdaptiveIndicesCall) => [output: Tensor, indices: Tensor];
const ADAPTIVE_MAX: { readonly [R in Rank]: (x: Tensor, size: Ints) => [Tensor, Tensor] } = {
  1: ops.adaptiveMaxPool1d,
  2: ops.adaptiveMaxPool2d,
  3: ops.adaptiveMaxPool3d,
};
function adaptiveMax(rank: Rank): readonly [plain: AdaptiveMax, withIndices: AdaptiveMaxIndices] {
  const read = signature(`adaptiveMaxPool${rank}d`, { ...ADAPTIVE, returnIndices: off });
  const run = (given: readonly unknown[], name: string): readonly [[Tensor, Tensor], boolean] => {
    const { input, outputSize, returnIndices } = read(given, name);
    return [ADAPTIVE_MAX[rank](input, outputSizes(name, outputSize, input.shape, rank)), returnIndices];
  };
  const plain = (...given: readonly unknown[]): Tensor | [Tensor, Tensor] => {
    const [[output, indices], both] = run(given, `adaptiveMaxPool${rank}d`);
    if (both) return [output, indices];
    indices.dispose();
    return output;
  };
  return [plain as AdaptiveMax, (...given) => run(given, `adaptiveMaxPool${rank}dWithIndices`)[0]];
}
const [adaptive1, adaptiveIndices1] = adaptiveMax(1);
const [adaptive2, adaptiveIndices2] = adaptiveMax(2);
const [adaptive3, adaptiveIndices3] = adaptiveMax(3);
/** The largest value of as many windows of `[N, C, L]` as the output has places. */
export const adaptiveMaxPool1d = adaptive1;
/** The largest value of as many windows of `[N, C, H, W]` as the output has places. */
export const adaptiveMaxPool2d = adaptive2;
/** The largest value of as many windows of `[N, C, D, H, W]` as the output has places. */
export const adaptiveMaxPool3d = adaptive3;
/** {@link adaptiveMaxPool1d} with the places of the maxima, int64. */
export const adaptiveMaxPool1dWithIndices = adaptiveIndices1;
/** {@link adaptiveMaxPool2d} with the places of the maxima, int64. */
export const adaptiveMaxPool2dWithIndices = adaptiveIndices2;
/** {@link adaptiveMaxPool3d} with the places of the maxima, int64. */
export const adaptiveMaxPool3dWithIndices = adaptiveIndices3;
