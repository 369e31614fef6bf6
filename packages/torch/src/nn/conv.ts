/** Convolutions. */
import { ArgumentError } from "../errors.js";
import { byDefault, either, flag, oneOf } from "../kinds.js";
import { conv1d, conv2d, conv3d, pad } from "../ops/index.js";
import { atMost, type OptionNames } from "../options.js";
import { signature, type Call, type Values } from "../signature.js";
import type { Tensor } from "../tensor/tensor.js";
import { emptyParameter, FACTORY, type FactoryOptions } from "./factory.js";
import { kaimingUniform_, uniform_ } from "./init.js";
import { positive } from "./kernels.js";
import { Module } from "./module.js";
import type { Parameter } from "./parameter.js";
import { tuple } from "./repr.js";
import { expand, rankOf, SIZE, STEP, type Size } from "./sizes.js";

export type { Size } from "./sizes.js";

/** What stands around the input: zeros, or its own elements. */
export type ConvPaddingMode = "zeros" | "reflect" | "replicate" | "circular";
export interface ConvOptions extends FactoryOptions {
  /** Default 1. */
  readonly stride?: Size;
  /**
   * Around the input: a number, one per dimension, "same" (output as large as the input) or "valid" (none). Default 0.
   */
  readonly padding?: Size | "same" | "valid";
  /** Distance between taps. Default 1. */
  readonly dilation?: Size;
  /** Channels are connected within groups of their own. Default 1. */
  readonly groups?: number;
  /** Default true. */
  readonly bias?: boolean;
  /** Default "zeros". */
  readonly paddingMode?: ConvPaddingMode;
}
export interface ConvArguments extends ConvOptions {
  readonly inChannels: number;
  readonly outChannels: number;
  readonly kernelSize: Size;
}
/** @internal */
export const PADDING_MODE = byDefault("zeros", oneOf("zeros", "reflect", "replicate", "circular"));
/** @internal Behind the channels, in PyTorch's order; lazy ones lack the first. */
export const CONV_BEHIND = {
  outChannels: positive,
  kernelSize: STEP,
  stride: byDefault(1, STEP),
  padding: byDefault(0, either(SIZE, oneOf("same", "valid"))),
  dilation: byDefault(1, STEP),
  groups: byDefault(1, positive),
  bias: byDefault(true, flag),
  paddingMode: PADDING_MODE,
  ...FACTORY,
};
const ROWS = { inChannels: positive, ...CONV_BEHIND } satisfies OptionNames<ConvArguments>;
const read = signature("Conv", ROWS, 9);
export type ConvCall = Call<
  ConvArguments,
  ["inChannels", "outChannels", "kernelSize", "stride", "padding", "dilation", "groups", "bias", "paddingMode"],
  [
    inChannels: number,
    outChannels: number,
    kernelSize: Size,
    stride?: Size,
    padding?: Size | "same" | "valid",
    dilation?: Size,
    groups?: number,
    bias?: boolean,
    paddingMode?: ConvPaddingMode,
  ]
>;

/** @internal What convolutions of all kinds are made of, their sizes in numbers for every dimension. */
export interface ConvShape extends FactoryOptions {
  readonly inChannels: number;
  readonly outChannels: number;
  readonly kernelSize: readonly number[];
  readonly stride: readonly number[];
  readonly dilation: readonly number[];
  readonly groups: number;
  readonly bias: boolean;
  readonly paddingMode: ConvPaddingMode;
}

/** @internal Convolutions and transposed ones. */
export abstract class AnyConvolution extends Module {
  weight: Parameter;
  bias: Parameter | null;
  inChannels: number;
  readonly outChannels: number;
  readonly kernelSize: readonly number[];
  readonly stride: readonly number[];
  readonly dilation: readonly number[];
  readonly groups: number;
  readonly paddingMode: ConvPaddingMode;

  constructor(shape: ConvShape) {
    super();
    const { inChannels, outChannels, groups } = shape;
    for (const [name, channels] of Object.entries({ inChannels, outChannels }))
      if (channels % groups !== 0)
        throw new ArgumentError(new.target.name, `${name} (${channels}) to be divisible by groups`, groups);
    this.inChannels = inChannels;
    this.outChannels = outChannels;
    this.kernelSize = shape.kernelSize;
    this.stride = shape.stride;
    this.dilation = shape.dilation;
    this.groups = groups;
    this.paddingMode = shape.paddingMode;
    this.weight = this.parameter(this.weightShape(), shape);
    this.bias = shape.bias ? this.parameter([outChannels], shape) : null;
    this.resetParameters();
  }
  /** @internal What a weight is at first; lazy layers do not know its shape. */
  protected parameter(shape: readonly number[], options: FactoryOptions): Parameter {
    return emptyParameter(shape, options);
  }
  /** @internal */
  abstract get rank(): 1 | 2 | 3;
  /** @internal */
  weightShape(): number[] {
    return [this.outChannels, this.inChannels / this.groups, ...this.kernelSize];
  }
  resetParameters(): void {
    atMost(`${this.constructor.name}.resetParameters`, arguments, 0);
    kaimingUniform_(this.weight, { a: Math.sqrt(5) });
    if (this.bias !== null) {
      const fanIn = this.weightShape()
        .slice(1)
        .reduce((a, b) => a * b, 1);
      uniform_(this.bias, -1 / Math.sqrt(fanIn), 1 / Math.sqrt(fanIn));
    }
  }
  /** @internal Padding as printed; "" where there is none. */
  protected abstract printPadding(): string;
  /** @internal */
  protected printOutputPadding(): string {
    return "";
  }
  override extraRepr(): string {
    let text = `${this.inChannels}, ${this.outChannels}, kernel_size=${tuple(this.kernelSize)}, stride=${tuple(this.stride)}`;
    text += this.printPadding();
    if (this.dilation.some((d) => d !== 1)) text += `, dilation=${tuple(this.dilation)}`;
    text += this.printOutputPadding();
    if (this.groups !== 1) text += `, groups=${this.groups}`;
    if (this.bias === null) text += ", bias=False";
    if (this.paddingMode !== "zeros") text += `, padding_mode=${this.paddingMode}`;
    return text;
  }
}

/** @internal Sizes in numbers for every dimension. */
export function convShape(fn: string, rank: number, a: Omit<Values<typeof ROWS>, "padding">): ConvShape {
  return {
    ...a,
    kernelSize: expand(fn, "kernelSize", a.kernelSize, rank),
    stride: expand(fn, "stride", a.stride, rank),
    dilation: expand(fn, "dilation", a.dilation, rank),
  };
}

abstract class Convolution extends AnyConvolution {
  readonly padding: readonly number[] | "same" | "valid";

  constructor(...given: ConvCall) {
    const fn = new.target.name;
    const a = read(given, fn);
    const rank = rankOf(new.target);
    super(convShape(fn, rank, a));
    if (a.padding === "same" && this.stride.some((s) => s !== 1))
      throw new ArgumentError(fn, 'a stride of 1 with padding "same"', a.stride);
    this.padding = typeof a.padding === "string" ? a.padding : expand(fn, "padding", a.padding, rank);
  }
  protected override printPadding(): string {
    const { padding } = this;
    if (typeof padding === "string") return `, padding=${padding}`;
    return padding.some((p) => p !== 0) ? `, padding=${tuple(padding)}` : "";
  }
  /** The input with its own elements around it, from the last dimension on. */
  protected padded(x: Tensor): Tensor {
    const { padding, kernelSize, dilation, paddingMode } = this;
    const around: number[] = [];
    for (let d = this.rank - 1; d >= 0; d--) {
      if (typeof padding !== "string") around.push(padding[d] as number, padding[d] as number);
      else {
        const total = padding === "same" ? (dilation[d] as number) * ((kernelSize[d] as number) - 1) : 0;
        around.push(total >> 1, total - (total >> 1));
      }
    }
    return pad(x, around, paddingMode === "zeros" ? "constant" : paddingMode);
  }
}

/**
 * `[N, inChannels, L]` → `[N, outChannels, L′]`, the batch may be left out. Weights `[outChannels, inChannels / groups,
 * kernelSize]` and bias are drawn from U(-1/√k, 1/√k), k = inChannels / groups · kernelSize.
 */
export class Conv1d extends Convolution {
  /** @internal */
  override get rank(): 1 {
    return 1;
  }
  forward(x: Tensor): Tensor {
    atMost("Conv1d.forward", arguments, 1);
    const { weight, bias, stride, padding, dilation, groups } = this;
    if (this.paddingMode !== "zeros") return conv1d(this.padded(x), weight, bias, stride, 0, dilation, groups);
    // Two calls: a padding by name is another overload.
    return typeof padding === "string"
      ? conv1d(x, weight, bias, stride, padding, dilation, groups)
      : conv1d(x, weight, bias, stride, padding, dilation, groups);
  }
}
/** `[N, inChannels, H, W]` → `[N, outChannels, H′, W′]`, the batch may be left out. Low precision under autocast. */
export class Conv2d extends Convolution {
  /** @internal */
  override get rank(): 2 {
    return 2;
  }
  forward(x: Tensor): Tensor {
    atMost("Conv2d.forward", arguments, 1);
    const { weight, bias, stride, padding, dilation, groups } = this;
    if (this.paddingMode !== "zeros") return conv2d(this.padded(x), weight, bias, stride, 0, dilation, groups);
    return typeof padding === "string"
      ? conv2d(x, weight, bias, stride, padding, dilation, groups)
      : conv2d(x, weight, bias, stride, padding, dilation, groups);
  }
}
/** `[N, inChannels, D, H, W]` → `[N, outChannels, D′, H′, W′]`, the batch may be left out. */
export class Conv3d extends Convolution {
  /** @internal */
  override get rank(): 3 {
    return 3;
  }
  forward(x: Tensor): Tensor {
    atMost("Conv3d.forward", arguments, 1);
    const { weight, bias, stride, padding, dilation, groups } = this;
    if (this.paddingMode !== "zeros") return conv3d(this.padded(x), weight, bias, stride, 0, dilation, groups);
    return typeof padding === "string"
      ? conv3d(x, weight, bias, stride, padding, dilation, groups)
      : conv3d(x, weight, bias, stride, padding, dilation, groups);
  }
}
