/** Pooling over windows of a size. */
import { byDefault, flag, orNull } from "../kinds.js";
import {
  avgPool1d,
  avgPool2d,
  avgPool3d,
  maxPool1d,
  maxPool1dWithIndices,
  maxPool2d,
  maxPool2dWithIndices,
  maxPool3d,
  maxPool3dWithIndices,
} from "../ops/index.js";
import { atMost } from "../options.js";
import { signature, type Call } from "../signature.js";
import type { Tensor } from "../tensor/tensor.js";
import { positive } from "./kernels.js";
import { Module } from "./module.js";
import { bool, sizes, tuple } from "./repr.js";
import { expand, rankOf, SIZE, STEP, type Size } from "./sizes.js";

export interface PoolOptions {
  /** Default null: the kernel size. */
  readonly stride?: Size | null;
  /** Around the input, at most half the kernel size: -∞ of a maximum, 0 of a mean. Default 0. */
  readonly padding?: Size;
  /** Where the last window stands over the edge, take it too. Default false. */
  readonly ceilMode?: boolean;
}
export interface MaxPoolOptions<Indices extends boolean = boolean> extends PoolOptions {
  /** Distance between the elements of a window. Default 1. */
  readonly dilation?: Size;
  /** Give where the maxima stand, too: `[output, indices]`, as `MaxUnpool` takes them. Default false. */
  readonly returnIndices?: Indices;
}
export interface MaxPoolArguments<Indices extends boolean = boolean> extends MaxPoolOptions<Indices> {
  readonly kernelSize: Size;
}
type Ints = readonly number[];
/** What is pooled, with where it stood where that was asked for. */
export type Pooled<Indices extends boolean> = Indices extends true ? [output: Tensor, indices: Tensor] : Tensor;
export type MaxPoolCall<Indices extends boolean> = Call<
  MaxPoolArguments<Indices>,
  ["kernelSize", "stride", "padding", "dilation", "returnIndices", "ceilMode"],
  [kernelSize: Size, stride?: Size | null, padding?: Size, dilation?: Size, returnIndices?: Indices, ceilMode?: boolean]
>;
const readMax = signature("MaxPool", {
  kernelSize: STEP,
  stride: byDefault(null, orNull(STEP)),
  padding: byDefault(0, SIZE),
  dilation: byDefault(1, STEP),
  returnIndices: byDefault(false, flag),
  ceilMode: byDefault(false, flag),
});

abstract class MaxPool<Indices extends boolean> extends Module {
  readonly kernelSize: Ints;
  readonly stride: Ints;
  readonly padding: Ints;
  readonly dilation: Ints;
  readonly returnIndices: boolean;
  readonly ceilMode: boolean;
  constructor(...given: MaxPoolCall<Indices>) {
    super();
    const fn = new.target.name;
    const a = readMax(given, fn);
    const rank = rankOf(new.target);
    this.kernelSize = expand(fn, "kernelSize", a.kernelSize, rank);
    this.stride = a.stride === null ? this.kernelSize : expand(fn, "stride", a.stride, rank);
    this.padding = expand(fn, "padding", a.padding, rank);
    this.dilation = expand(fn, "dilation", a.dilation, rank);
    this.returnIndices = a.returnIndices;
    this.ceilMode = a.ceilMode;
  }
  /** @internal */
  abstract get rank(): 1 | 2 | 3;
  override extraRepr(): string {
    return (
      `kernel_size=${sizes(this.kernelSize)}, stride=${sizes(this.stride)}, padding=${sizes(this.padding)}, ` +
      `dilation=${sizes(this.dilation)}, ceil_mode=${bool(this.ceilMode)}`
    );
  }
}
/** The largest value of each window of `[N, C, L]` or `[C, L]`. */
export class MaxPool1d<Indices extends boolean = false> extends MaxPool<Indices> {
  /** @internal */
  override get rank(): 1 {
    return 1;
  }
  forward(x: Tensor): Pooled<Indices> {
    atMost("MaxPool1d.forward", arguments, 1);
    const pool = this.returnIndices ? maxPool1dWithIndices : maxPool1d;
    const { kernelSize, stride, padding, dilation, ceilMode } = this;
    return pool(x, kernelSize, stride, padding, dilation, ceilMode) as Pooled<Indices>;
  }
}
/** The largest value of each window of `[N, C, H, W]` or `[C, H, W]`. */
export class MaxPool2d<Indices extends boolean = false> extends MaxPool<Indices> {
  /** @internal */
  override get rank(): 2 {
    return 2;
  }
  forward(x: Tensor): Pooled<Indices> {
    atMost("MaxPool2d.forward", arguments, 1);
    const pool = this.returnIndices ? maxPool2dWithIndices : maxPool2d;
    const { kernelSize, stride, padding, dilation, ceilMode } = this;
    return pool(x, kernelSize, stride, padding, dilation, ceilMode) as Pooled<Indices>;
  }
}
/** The largest value of each window of `[N, C, D, H, W]` or `[C, D, H, W]`. */
export class MaxPool3d<Indices extends boolean = false> extends MaxPool<Indices> {
  /** @internal */
  override get rank(): 3 {
    return 3;
  }
  forward(x: Tensor): Pooled<Indices> {
    atMost("MaxPool3d.forward", arguments, 1);
    const pool = this.returnIndices ? maxPool3dWithIndices : maxPool3d;
    const { kernelSize, stride, padding, dilation, ceilMode } = this;
    return pool(x, kernelSize, stride, padding, dilation, ceilMode) as Pooled<Indices>;
  }
}

export interface AvgPoolOptions extends PoolOptions {
  /** Count the padding's zeros. Default true. */
  readonly countIncludePad?: boolean;
}
export interface AvgPoolArguments extends AvgPoolOptions {
  readonly kernelSize: Size;
}
export interface AvgPoolDivisorArguments extends AvgPoolArguments {
  /** What sums are divided by. Default null: how many elements the window has. */
  readonly divisorOverride?: number | null;
}
type AvgOrder = ["kernelSize", "stride", "padding", "ceilMode", "countIncludePad"];
type Windows = [kernelSize: Size, stride?: Size | null, padding?: Size, ceilMode?: boolean, countIncludePad?: boolean];
export type AvgPoolCall = Call<AvgPoolArguments, AvgOrder, Windows>;
export type AvgPoolDivisorCall = Call<
  AvgPoolDivisorArguments,
  [...AvgOrder, "divisorOverride"],
  [...rest: Windows, divisorOverride?: number | null]
>;
const AVG = {
  kernelSize: STEP,
  stride: byDefault(null, orNull(STEP)),
  padding: byDefault(0, SIZE),
  ceilMode: byDefault(false, flag),
  countIncludePad: byDefault(true, flag),
};
const readAvg1 = signature("AvgPool1d", AVG);
const readAvg = signature("AvgPool", { ...AVG, divisorOverride: byDefault(null, orNull(positive)) });

abstract class AvgPool extends Module {
  readonly kernelSize: Ints;
  readonly stride: Ints;
  readonly padding: Ints;
  readonly ceilMode: boolean;
  readonly countIncludePad: boolean;
  constructor(rank: number, a: ReturnType<typeof readAvg1>) {
    super();
    const fn = new.target.name;
    this.kernelSize = expand(fn, "kernelSize", a.kernelSize, rank);
    this.stride = a.stride === null ? this.kernelSize : expand(fn, "stride", a.stride, rank);
    this.padding = expand(fn, "padding", a.padding, rank);
    this.ceilMode = a.ceilMode;
    this.countIncludePad = a.countIncludePad;
  }
  override extraRepr(): string {
    // PyTorch makes tuples of one number in one dimension alone.
    const print = this.kernelSize.length === 1 ? tuple : sizes;
    return `kernel_size=${print(this.kernelSize)}, stride=${print(this.stride)}, padding=${print(this.padding)}`;
  }
}
/** The mean of each window of `[N, C, L]` or `[C, L]`. */
export class AvgPool1d extends AvgPool {
  constructor(...given: AvgPoolCall) {
    super(1, readAvg1(given, new.target.name));
  }
  forward(x: Tensor): Tensor {
    atMost("AvgPool1d.forward", arguments, 1);
    return avgPool1d(x, this.kernelSize, this.stride, this.padding, this.ceilMode, this.countIncludePad);
  }
}
/** The mean of each window of `[N, C, H, W]` or `[C, H, W]`. */
export class AvgPool2d extends AvgPool {
  readonly divisorOverride: number | null;
  constructor(...given: AvgPoolDivisorCall) {
    const a = readAvg(given, new.target.name);
    super(2, a);
    this.divisorOverride = a.divisorOverride;
  }
  forward(x: Tensor): Tensor {
    atMost("AvgPool2d.forward", arguments, 1);
    const { kernelSize, stride, padding, ceilMode, countIncludePad, divisorOverride } = this;
    return avgPool2d(x, kernelSize, stride, padding, ceilMode, countIncludePad, divisorOverride);
  }
}
/** The mean of each window of `[N, C, D, H, W]` or `[C, D, H, W]`. */
export class AvgPool3d extends AvgPool {
  readonly divisorOverride: number | null;
  constructor(...given: AvgPoolDivisorCall) {
    const a = readAvg(given, new.target.name);
    super(3, a);
    this.divisorOverride = a.divisorOverride;
  }
  forward(x: Tensor): Tensor {
    atMost("AvgPool3d.forward", arguments, 1);
    const { kernelSize, stride, padding, ceilMode, countIncludePad, divisorOverride } = this;
    return avgPool3d(x, kernelSize, stride, padding, ceilMode, countIncludePad, divisorOverride);
  }
}
