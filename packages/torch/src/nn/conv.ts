/** Convolutions. */
import { ArgumentError } from "../errors.js";
import { either, flag, listOf, oneOf, whole } from "../kinds.js";
import { conv1d, conv2d, conv3d } from "../ops/index.js";
import { atMost, checkArguments, optionsFrom, type Given, type OptionNames } from "../options.js";
import type { Tensor } from "../tensor/tensor.js";
import { kaimingUniform_, uniform_ } from "./init.js";
import { positive } from "./kernels.js";
import { emptyParameter, FACTORY_NAMES, type FactoryOptions } from "./linear.js";
import { Module } from "./module.js";
import type { Parameter } from "./parameter.js";

export type Size = number | readonly number[];
export interface ConvOptions extends FactoryOptions {
  /** Default 1. */
  readonly stride?: Size;
  /**
   * Zeros around the input: a number, one per dimension, "same" (output as large as the input) or "valid" (none).
   * Default 0.
   */
  readonly padding?: Size | "same" | "valid";
  /** Distance between taps. Default 1. */
  readonly dilation?: Size;
  /** Channels are connected within groups of their own. Default 1. */
  readonly groups?: number;
  /** Default true. */
  readonly bias?: boolean;
}
/** @internal */
export const SIZE = either(whole("[0, ∞)"), listOf(whole("[0, ∞)")));
/** @internal */
export const STEP = either(positive, listOf(positive));
const NAMES: OptionNames<ConvOptions> = {
  stride: STEP,
  padding: either(SIZE, oneOf("same", "valid")),
  dilation: STEP,
  groups: positive,
  bias: flag,
  ...FACTORY_NAMES,
};
type Rest = Given<
  ConvOptions,
  [stride: Size, padding?: Size | "same" | "valid", dilation?: Size, groups?: number, bias?: boolean]
>;

/** @internal One number for every spatial dimension. */
export function expand(fn: string, name: string, size: Size, n: number): number[] {
  checkArguments(fn, { [name]: size }, { [name]: SIZE });
  const list = typeof size === "number" ? new Array<number>(n).fill(size) : [...size];
  if (list.length !== n) throw new ArgumentError(fn, `${name} to be a whole number or ${n} of them`, size);
  return list;
}

const FORWARD = { 1: conv1d, 2: conv2d, 3: conv3d } as const;

abstract class Convolution extends Module {
  readonly weight: Parameter;
  readonly bias: Parameter | null;
  readonly kernelSize: readonly number[];
  readonly stride: readonly number[];
  readonly padding: readonly number[] | "same" | "valid";
  readonly dilation: readonly number[];
  readonly groups: number;
  readonly #rank: 1 | 2 | 3;

  constructor(
    rank: 1 | 2 | 3,
    readonly inChannels: number,
    readonly outChannels: number,
    kernelSize: Size,
    rest: Rest,
  ) {
    super();
    const name = `Conv${rank}d`;
    const options = optionsFrom(name, 3, rest, NAMES, 5);
    this.#rank = rank;
    this.groups = options.groups ?? 1;
    checkArguments(
      name,
      { inChannels, outChannels, kernelSize },
      { inChannels: positive, outChannels: positive, kernelSize: STEP },
    );
    if (inChannels % this.groups !== 0)
      throw new ArgumentError(name, `inChannels (${inChannels}) to be divisible by groups`, this.groups);
    if (outChannels % this.groups !== 0)
      throw new ArgumentError(name, `outChannels (${outChannels}) to be divisible by groups`, this.groups);
    this.kernelSize = expand(name, "kernelSize", kernelSize, rank);
    this.stride = expand(name, "stride", options.stride ?? 1, rank);
    this.dilation = expand(name, "dilation", options.dilation ?? 1, rank);
    const padding = options.padding ?? 0;
    this.padding = typeof padding === "string" ? padding : expand(name, "padding", padding, rank);
    this.weight = emptyParameter([outChannels, inChannels / this.groups, ...this.kernelSize], options);
    this.bias = (options.bias ?? true) ? emptyParameter([outChannels], options) : null;
    this.resetParameters();
  }
  resetParameters(): void {
    atMost(`Conv${this.#rank}d.resetParameters`, arguments, 0);
    kaimingUniform_(this.weight, { a: Math.sqrt(5) });
    if (this.bias !== null) {
      const bound = 1 / Math.sqrt((this.inChannels / this.groups) * this.kernelSize.reduce((a, b) => a * b, 1));
      uniform_(this.bias, -bound, bound);
    }
  }
  forward(x: Tensor): Tensor {
    atMost(`Conv${this.#rank}d.forward`, arguments, 1);
    const { padding } = this;
    // Two calls: a padding by name is another overload.
    return typeof padding === "string"
      ? FORWARD[this.#rank](x, this.weight, this.bias, this.stride, padding, this.dilation, this.groups)
      : FORWARD[this.#rank](x, this.weight, this.bias, this.stride, padding, this.dilation, this.groups);
  }
  override extraRepr(): string {
    const t = (v: readonly number[]): string => `(${v.join(", ")}${v.length === 1 ? "," : ""})`;
    let text = `${this.inChannels}, ${this.outChannels}, kernel_size=${t(this.kernelSize)}, stride=${t(this.stride)}`;
    if (typeof this.padding === "string" ? true : this.padding.some((p) => p !== 0))
      text += `, padding=${typeof this.padding === "string" ? this.padding : t(this.padding)}`;
    if (this.dilation.some((d) => d !== 1)) text += `, dilation=${t(this.dilation)}`;
    if (this.groups !== 1) text += `, groups=${this.groups}`;
    if (this.bias === null) text += ", bias=False";
    return text;
  }
}

/** `[N, inChannels, L]` → `[N, outChannels, L′]`. */
export class Conv1d extends Convolution {
  constructor(inChannels: number, outChannels: number, kernelSize: Size, ...rest: Rest) {
    super(1, inChannels, outChannels, kernelSize, rest);
  }
}
/** `[N, inChannels, H, W]` → `[N, outChannels, H′, W′]`. Low precision under autocast. */
export class Conv2d extends Convolution {
  constructor(inChannels: number, outChannels: number, kernelSize: Size, ...rest: Rest) {
    super(2, inChannels, outChannels, kernelSize, rest);
  }
}
/** `[N, inChannels, D, H, W]` → `[N, outChannels, D′, H′, W′]`. */
export class Conv3d extends Convolution {
  constructor(inChannels: number, outChannels: number, kernelSize: Size, ...rest: Rest) {
    super(3, inChannels, outChannels, kernelSize, rest);
  }
}
