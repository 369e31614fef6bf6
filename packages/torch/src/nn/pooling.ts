/** Pooling. */
import { flag, oneOf } from "../kinds.js";
import { atMost, checkArguments, optionsFrom, type Given, type OptionNames } from "../options.js";
import {
  adaptiveAvgPool1d,
  adaptiveAvgPool2d,
  adaptiveAvgPool3d,
  avgPool1d,
  avgPool2d,
  avgPool3d,
  maxPool1d,
  maxPool2d,
  maxPool3d,
} from "../ops/index.js";
import type { Tensor } from "../tensor/tensor.js";
import { expand, SIZE, STEP, type Size } from "./conv.js";
import { Module } from "./module.js";

export interface PoolOptions {
  /** Default: the kernel size. */
  readonly stride?: Size;
  readonly padding?: Size;
  readonly ceilMode?: boolean;
}
export interface MaxPoolOptions extends PoolOptions {
  readonly dilation?: Size;
  /** Indices are given by the operators `maxPool2dWithIndices` and the like. */
  readonly returnIndices?: false;
}
export interface AvgPoolOptions extends PoolOptions {
  readonly countIncludePad?: boolean;
}
// In the order in which PyTorch takes them by position.
const MAX_NAMES: OptionNames<MaxPoolOptions> = {
  stride: STEP,
  padding: SIZE,
  dilation: STEP,
  returnIndices: oneOf(false),
  ceilMode: flag,
};
const AVG_NAMES: OptionNames<AvgPoolOptions> = { stride: STEP, padding: SIZE, ceilMode: flag, countIncludePad: flag };
type MaxRest = Given<
  MaxPoolOptions,
  [stride: Size, padding?: Size, dilation?: Size, returnIndices?: false, ceilMode?: boolean]
>;
type AvgRest = Given<AvgPoolOptions, [stride: Size, padding?: Size, ceilMode?: boolean, countIncludePad?: boolean]>;
type Ints = readonly number[];

abstract class Pool extends Module {
  readonly kernelSize: Ints;
  readonly stride: Ints;
  readonly padding: Ints;
  readonly ceilMode: boolean;
  constructor(rank: number, kernelSize: Size, options: PoolOptions) {
    super();
    const name = new.target.name;
    checkArguments(name, { kernelSize }, { kernelSize: STEP });
    this.kernelSize = expand(name, "kernelSize", kernelSize, rank);
    this.stride = expand(name, "stride", options.stride ?? kernelSize, rank);
    this.padding = expand(name, "padding", options.padding ?? 0, rank);
    this.ceilMode = options.ceilMode ?? false;
  }
}

type MaxPool = (x: Tensor, kernel: Ints, stride: Ints, padding: Ints, dilation: Ints, ceil: boolean) => Tensor;
abstract class MaxPoolBase extends Pool {
  readonly dilation: Ints;
  readonly #pool: MaxPool;
  constructor(rank: number, pool: MaxPool, kernelSize: Size, rest: MaxRest) {
    const options = optionsFrom(new.target.name, 1, rest, MAX_NAMES, 5);
    super(rank, kernelSize, options);
    this.dilation = expand(new.target.name, "dilation", options.dilation ?? 1, rank);
    this.#pool = pool;
  }
  forward(x: Tensor): Tensor {
    atMost(`${this.constructor.name}.forward`, arguments, 1);
    return this.#pool(x, this.kernelSize, this.stride, this.padding, this.dilation, this.ceilMode);
  }
  override extraRepr(): string {
    return `kernel_size=${one(this.kernelSize)}, stride=${one(this.stride)}, padding=${one(this.padding)}, dilation=${one(this.dilation)}, ceil_mode=${this.ceilMode ? "True" : "False"}`;
  }
}

type AvgPool = (x: Tensor, kernel: Ints, stride: Ints, padding: Ints, ceil: boolean, includePad: boolean) => Tensor;
abstract class AvgPoolBase extends Pool {
  readonly countIncludePad: boolean;
  readonly #pool: AvgPool;
  constructor(rank: number, pool: AvgPool, kernelSize: Size, rest: AvgRest) {
    const options = optionsFrom(new.target.name, 1, rest, AVG_NAMES, 4);
    super(rank, kernelSize, options);
    this.countIncludePad = options.countIncludePad ?? true;
    this.#pool = pool;
  }
  forward(x: Tensor): Tensor {
    atMost(`${this.constructor.name}.forward`, arguments, 1);
    return this.#pool(x, this.kernelSize, this.stride, this.padding, this.ceilMode, this.countIncludePad);
  }
  override extraRepr(): string {
    return `kernel_size=${one(this.kernelSize)}, stride=${one(this.stride)}, padding=${one(this.padding)}`;
  }
}

abstract class AdaptivePool extends Module {
  readonly outputSize: Ints;
  readonly #pool: (x: Tensor, size: Ints) => Tensor;
  constructor(rank: number, pool: (x: Tensor, size: Ints) => Tensor, outputSize: Size) {
    super();
    this.outputSize = expand(new.target.name, "outputSize", outputSize, rank);
    this.#pool = pool;
  }
  forward(x: Tensor): Tensor {
    atMost(`${this.constructor.name}.forward`, arguments, 1);
    return this.#pool(x, this.outputSize);
  }
  override extraRepr(): string {
    return `output_size=${this.outputSize.length === 1 ? this.outputSize[0] : `(${this.outputSize.join(", ")})`}`;
  }
}
const one = (v: Ints): string => (v.every((e) => e === v[0]) ? String(v[0]) : `(${v.join(", ")})`);

/** The largest value of each window of `[N, C, L]`. */
export class MaxPool1d extends MaxPoolBase {
  constructor(kernelSize: Size, ...rest: MaxRest) {
    super(1, maxPool1d, kernelSize, rest);
  }
}
/** The largest value of each window of `[N, C, H, W]`. */
export class MaxPool2d extends MaxPoolBase {
  constructor(kernelSize: Size, ...rest: MaxRest) {
    super(2, maxPool2d, kernelSize, rest);
  }
}
/** The largest value of each window of `[N, C, D, H, W]`. */
export class MaxPool3d extends MaxPoolBase {
  constructor(kernelSize: Size, ...rest: MaxRest) {
    super(3, maxPool3d, kernelSize, rest);
  }
}
/** The mean of each window of `[N, C, L]`. */
export class AvgPool1d extends AvgPoolBase {
  constructor(kernelSize: Size, ...rest: AvgRest) {
    super(1, avgPool1d, kernelSize, rest);
  }
}
/** The mean of each window of `[N, C, H, W]`. */
export class AvgPool2d extends AvgPoolBase {
  constructor(kernelSize: Size, ...rest: AvgRest) {
    super(2, avgPool2d, kernelSize, rest);
  }
}
/** The mean of each window of `[N, C, D, H, W]`. */
export class AvgPool3d extends AvgPoolBase {
  constructor(kernelSize: Size, ...rest: AvgRest) {
    super(3, avgPool3d, kernelSize, rest);
  }
}
/** The mean over as many windows of `[N, C, L]` as the output has places. */
export class AdaptiveAvgPool1d extends AdaptivePool {
  constructor(outputSize: Size) {
    atMost(new.target.name, arguments, 1);
    super(1, adaptiveAvgPool1d, outputSize);
  }
}
/** The mean over as many windows of `[N, C, H, W]` as the output has places. */
export class AdaptiveAvgPool2d extends AdaptivePool {
  constructor(outputSize: Size) {
    atMost(new.target.name, arguments, 1);
    super(2, adaptiveAvgPool2d, outputSize);
  }
}
/** The mean over as many windows of `[N, C, D, H, W]` as the output has places. */
export class AdaptiveAvgPool3d extends AdaptivePool {
  constructor(outputSize: Size) {
    atMost(new.target.name, arguments, 1);
    super(3, adaptiveAvgPool3d, outputSize);
  }
}
