/** Transposed convolutions: what convolutions are to gradients. */
import { ArgumentError } from "../errors.js";
import { byDefault, flag, listOf, oneOf, orNull, whole } from "../kinds.js";
import { convTranspose1d, convTranspose2d, convTranspose3d } from "../ops/index.js";
import type { OptionNames } from "../options.js";
import { signature, type Call } from "../signature.js";
import { tensorKind } from "../tensor/kinds.js";
import type { Tensor } from "../tensor/tensor.js";
import { AnyConvolution, convShape } from "./conv.js";
import { FACTORY, type FactoryOptions } from "./factory.js";
import { positive } from "./kernels.js";
import { tuple } from "./repr.js";
import { expand, rankOf, SIZE, STEP, type Size } from "./sizes.js";

export interface ConvTransposeOptions extends FactoryOptions {
  /** Default 1. */
  readonly stride?: Size;
  /** Rows and columns that are cut from each side of the result. Default 0. */
  readonly padding?: Size;
  /** Added to one side of the result, less than the stride or the dilation. Default 0. */
  readonly outputPadding?: Size;
  /** Channels are connected within groups of their own. Default 1. */
  readonly groups?: number;
  /** Default true. */
  readonly bias?: boolean;
  /** Distance between taps. Default 1. */
  readonly dilation?: Size;
  /** "zeros", the only one that there is. */
  readonly paddingMode?: "zeros";
}
export interface ConvTransposeArguments extends ConvTransposeOptions {
  readonly inChannels: number;
  readonly outChannels: number;
  readonly kernelSize: Size;
}
/** @internal Behind the channels, in PyTorch's order; lazy ones lack the first. */
export const TRANSPOSE_BEHIND = {
  outChannels: positive,
  kernelSize: STEP,
  stride: byDefault(1, STEP),
  padding: byDefault(0, SIZE),
  outputPadding: byDefault(0, SIZE),
  groups: byDefault(1, positive),
  bias: byDefault(true, flag),
  dilation: byDefault(1, STEP),
  paddingMode: byDefault("zeros", oneOf("zeros")),
  ...FACTORY,
};
const ROWS = { inChannels: positive, ...TRANSPOSE_BEHIND } satisfies OptionNames<ConvTransposeArguments>;
const read = signature("ConvTranspose", ROWS, 10);
export type ConvTransposeCall = Call<
  ConvTransposeArguments,
  [
    "inChannels",
    "outChannels",
    "kernelSize",
    "stride",
    "padding",
    "outputPadding",
    "groups",
    "bias",
    "dilation",
    "paddingMode",
  ],
  [
    inChannels: number,
    outChannels: number,
    kernelSize: Size,
    stride?: Size,
    padding?: Size,
    outputPadding?: Size,
    groups?: number,
    bias?: boolean,
    dilation?: Size,
    paddingMode?: "zeros",
  ]
>;

export interface ConvTransposeForwardArguments {
  readonly input: Tensor;
  /**
   * Of the result, spatial dimensions alone or all: decides what `outputPadding` leaves open. Default null: by
   * `outputPadding`.
   */
  readonly outputSize?: readonly number[] | null;
}
export type ConvTransposeForward = Call<
  ConvTransposeForwardArguments,
  ["input", "outputSize"],
  [input: Tensor, outputSize?: readonly number[] | null]
>;
const readForward = signature("ConvTranspose.forward", {
  input: tensorKind,
  outputSize: byDefault(null, orNull(listOf(whole("[0, ∞)")))),
});

abstract class TransposedConvolution extends AnyConvolution {
  readonly padding: readonly number[];
  readonly outputPadding: readonly number[];

  constructor(...given: ConvTransposeCall) {
    const fn = new.target.name;
    const a = read(given, fn);
    const rank = rankOf(new.target);
    super(convShape(fn, rank, a));
    this.padding = expand(fn, "padding", a.padding, rank);
    this.outputPadding = expand(fn, "outputPadding", a.outputPadding, rank);
  }
  override weightShape(): number[] {
    return [this.inChannels, this.outChannels / this.groups, ...this.kernelSize];
  }
  protected override printPadding(): string {
    return this.padding.some((p) => p !== 0) ? `, padding=${tuple(this.padding)}` : "";
  }
  protected override printOutputPadding(): string {
    return this.outputPadding.some((p) => p !== 0) ? `, output_padding=${tuple(this.outputPadding)}` : "";
  }
  /** @internal The input, and what is added to one side of the result so that it has the size that is asked for. */
  protected prepare(given: readonly unknown[]): readonly [x: Tensor, outputPadding: readonly number[]] {
    const fn = `${this.constructor.name}.forward`;
    const { input, outputSize } = readForward(given, fn);
    if (outputSize === null) return [input, this.outputPadding];
    const { rank } = this;
    const before = input.ndim - rank;
    if (before !== 1 && before !== 2)
      throw new ArgumentError(fn, `an input of ${rank + 1} or ${rank + 2} dimensions`, input);
    const size = outputSize.length === rank + before ? outputSize.slice(before) : outputSize;
    if (size.length !== rank)
      throw new ArgumentError(fn, `outputSize to have ${rank} or ${rank + before} elements`, outputSize);
    const added = size.map((asked, d) => {
      const [kernel, stride] = [this.kernelSize[d] as number, this.stride[d] as number];
      const taps = (this.dilation[d] as number) * (kernel - 1) + 1;
      const least = (input.size(before + d) - 1) * stride - 2 * (this.padding[d] as number) + taps;
      if (asked < least || asked >= least + stride)
        throw new ArgumentError(fn, `outputSize[${d}] from ${least} to ${least + stride - 1}`, asked);
      return asked - least;
    });
    return [input, added];
  }
}

/**
 * `[N, inChannels, L]` → `[N, outChannels, L′]`, the batch may be left out. Weights `[inChannels, outChannels / groups,
 * kernelSize]` and bias are drawn from U(-1/√k, 1/√k), k = outChannels / groups · kernelSize.
 */
export class ConvTranspose1d extends TransposedConvolution {
  /** @internal */
  override get rank(): 1 {
    return 1;
  }
  /** @throws {ArgumentError} for an `outputSize` that no input of this size comes from. */
  forward(...given: ConvTransposeForward): Tensor {
    const [x, outputPadding] = this.prepare(given);
    const { weight, bias, stride, padding, groups, dilation } = this;
    return convTranspose1d(x, weight, bias, stride, padding, outputPadding, groups, dilation);
  }
}
/** `[N, inChannels, H, W]` → `[N, outChannels, H′, W′]`, the batch may be left out. Low precision under autocast. */
export class ConvTranspose2d extends TransposedConvolution {
  /** @internal */
  override get rank(): 2 {
    return 2;
  }
  /** @throws {ArgumentError} for an `outputSize` that no input of this size comes from. */
  forward(...given: ConvTransposeForward): Tensor {
    const [x, outputPadding] = this.prepare(given);
    const { weight, bias, stride, padding, groups, dilation } = this;
    return convTranspose2d(x, weight, bias, stride, padding, outputPadding, groups, dilation);
  }
}
/** `[N, inChannels, D, H, W]` → `[N, outChannels, D′, H′, W′]`, the batch may be left out. */
export class ConvTranspose3d extends TransposedConvolution {
  /** @internal */
  override get rank(): 3 {
    return 3;
  }
  /** @throws {ArgumentError} for an `outputSize` that no input of this size comes from. */
  forward(...given: ConvTransposeForward): Tensor {
    const [x, outputPadding] = this.prepare(given);
    const { weight, bias, stride, padding, groups, dilation } = this;
    return convTranspose3d(x, weight, bias, stride, padding, outputPadding, groups, dilation);
  }
}
