/** Convolutions that learn how many channels come in from their first input. */
import { ArgumentError } from "../errors.js";
import { atMost } from "../options.js";
import { signature, type Call } from "../signature.js";
import type { Tensor } from "../tensor/tensor.js";
import {
  Conv1d,
  Conv2d,
  Conv3d,
  CONV_BEHIND,
  type AnyConvolution,
  type ConvOptions,
  type ConvPaddingMode,
} from "./conv.js";
import {
  ConvTranspose1d,
  ConvTranspose2d,
  ConvTranspose3d,
  TRANSPOSE_BEHIND,
  type ConvTransposeForward,
  type ConvTransposeOptions,
} from "./conv-transpose.js";
import type { FactoryOptions } from "./factory.js";
import { requireTensor } from "./inputs.js";
import { becomes, uninitializedOf, type LazyModule } from "./lazy.js";
import type { Parameter } from "./parameter.js";
import type { Size } from "./sizes.js";
import { isUninitialized, UninitializedParameter } from "./uninitialized.js";

export interface LazyConvArguments extends ConvOptions {
  readonly outChannels: number;
  readonly kernelSize: Size;
}
export interface LazyConvTransposeArguments extends ConvTransposeOptions {
  readonly outChannels: number;
  readonly kernelSize: Size;
}
type LazyConvCall = Call<
  LazyConvArguments,
  ["outChannels", "kernelSize", "stride", "padding", "dilation", "groups", "bias", "paddingMode"],
  [
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
type LazyConvTransposeCall = Call<
  LazyConvTransposeArguments,
  ["outChannels", "kernelSize", "stride", "padding", "outputPadding", "groups", "bias", "dilation", "paddingMode"],
  [
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
const readConv = signature("LazyConv", CONV_BEHIND, 8);
const readTranspose = signature("LazyConvTranspose", TRANSPOSE_BEHIND, 9);
const lazyParameter = (_shape: readonly number[], { device, dtype }: FactoryOptions): Parameter =>
  new UninitializedParameter({ device, dtype });

/** Channels of the weight that a state dict gave, or of the input. */
function initialize(
  conv: AnyConvolution,
  type: { readonly prototype: AnyConvolution },
  x: Tensor,
  channelsOf: (weight: Parameter) => number,
): void {
  const { rank, weight, groups, outChannels } = conv;
  if (x.ndim !== rank + 1 && x.ndim !== rank + 2)
    throw new ArgumentError(conv.constructor.name, `an input of ${rank + 1} or ${rank + 2} dimensions`, x);
  const channels = isUninitialized(weight) ? x.size(-rank - 1) : channelsOf(weight);
  if (channels % groups !== 0)
    throw new ArgumentError(conv.constructor.name, `inChannels (${channels}) to be divisible by groups`, groups);
  conv.inChannels = channels;
  becomes(conv, type, { weight: conv.weightShape(), bias: [outChannels] });
}

/** {@link Conv1d} whose `inChannels` is that of its first input. From then on it is a Conv1d. */
export class LazyConv1d extends Conv1d implements LazyModule {
  constructor(...given: LazyConvCall) {
    const a = readConv(given, new.target.name);
    // As many channels as groups: nothing is made of them.
    super({ inChannels: a.groups, ...a });
    this.inChannels = 0;
  }
  protected override parameter(shape: readonly number[], options: FactoryOptions): Parameter {
    return lazyParameter(shape, options);
  }
  hasUninitializedParams(): boolean {
    atMost("LazyConv1d.hasUninitializedParams", arguments, 0);
    return uninitializedOf(this).length > 0;
  }
  override resetParameters(): void {
    atMost("LazyConv1d.resetParameters", arguments, 0);
    if (!this.hasUninitializedParams()) super.resetParameters();
  }
  initializeParameters(x: Tensor): void {
    atMost("LazyConv1d.initializeParameters", arguments, 1);
    requireTensor("LazyConv1d.initializeParameters", x);
    initialize(this, Conv1d, x, (weight) => weight.size(1) * this.groups);
  }
  override forward(x: Tensor): Tensor {
    atMost("LazyConv1d.forward", arguments, 1);
    if (this.inChannels === 0 && "initializeParameters" in this) this.initializeParameters(x);
    return super.forward(x);
  }
}
/** {@link Conv2d} whose `inChannels` is that of its first input. From then on it is a Conv2d. */
export class LazyConv2d extends Conv2d implements LazyModule {
  constructor(...given: LazyConvCall) {
    const a = readConv(given, new.target.name);
    // As many channels as groups: nothing is made of them.
    super({ inChannels: a.groups, ...a });
    this.inChannels = 0;
  }
  protected override parameter(shape: readonly number[], options: FactoryOptions): Parameter {
    return lazyParameter(shape, options);
  }
  hasUninitializedParams(): boolean {
    atMost("LazyConv2d.hasUninitializedParams", arguments, 0);
    return uninitializedOf(this).length > 0;
  }
  override resetParameters(): void {
    atMost("LazyConv2d.resetParameters", arguments, 0);
    if (!this.hasUninitializedParams()) super.resetParameters();
  }
  initializeParameters(x: Tensor): void {
    atMost("LazyConv2d.initializeParameters", arguments, 1);
    requireTensor("LazyConv2d.initializeParameters", x);
    initialize(this, Conv2d, x, (weight) => weight.size(1) * this.groups);
  }
  override forward(x: Tensor): Tensor {
    atMost("LazyConv2d.forward", arguments, 1);
    if (this.inChannels === 0 && "initializeParameters" in this) this.initializeParameters(x);
    return super.forward(x);
  }
}
/** {@link Conv3d} whose `inChannels` is that of its first input. From then on it is a Conv3d. */
export class LazyConv3d extends Conv3d implements LazyModule {
  constructor(...given: LazyConvCall) {
    const a = readConv(given, new.target.name);
    // As many channels as groups: nothing is made of them.
    super({ inChannels: a.groups, ...a });
    this.inChannels = 0;
  }
  protected override parameter(shape: readonly number[], options: FactoryOptions): Parameter {
    return lazyParameter(shape, options);
  }
  hasUninitializedParams(): boolean {
    atMost("LazyConv3d.hasUninitializedParams", arguments, 0);
    return uninitializedOf(this).length > 0;
  }
  override resetParameters(): void {
    atMost("LazyConv3d.resetParameters", arguments, 0);
    if (!this.hasUninitializedParams()) super.resetParameters();
  }
  initializeParameters(x: Tensor): void {
    atMost("LazyConv3d.initializeParameters", arguments, 1);
    requireTensor("LazyConv3d.initializeParameters", x);
    initialize(this, Conv3d, x, (weight) => weight.size(1) * this.groups);
  }
  override forward(x: Tensor): Tensor {
    atMost("LazyConv3d.forward", arguments, 1);
    if (this.inChannels === 0 && "initializeParameters" in this) this.initializeParameters(x);
    return super.forward(x);
  }
}
/** {@link ConvTranspose1d} whose `inChannels` is that of its first input. From then on it is a ConvTranspose1d. */
export class LazyConvTranspose1d extends ConvTranspose1d implements LazyModule {
  constructor(...given: LazyConvTransposeCall) {
    const a = readTranspose(given, new.target.name);
    // As many channels as groups: nothing is made of them.
    super({ inChannels: a.groups, ...a });
    this.inChannels = 0;
  }
  protected override parameter(shape: readonly number[], options: FactoryOptions): Parameter {
    return lazyParameter(shape, options);
  }
  hasUninitializedParams(): boolean {
    atMost("LazyConvTranspose1d.hasUninitializedParams", arguments, 0);
    return uninitializedOf(this).length > 0;
  }
  override resetParameters(): void {
    atMost("LazyConvTranspose1d.resetParameters", arguments, 0);
    if (!this.hasUninitializedParams()) super.resetParameters();
  }
  initializeParameters(x: Tensor): void {
    atMost("LazyConvTranspose1d.initializeParameters", arguments, 1);
    requireTensor("LazyConvTranspose1d.initializeParameters", x);
    initialize(this, ConvTranspose1d, x, (weight) => weight.size(0));
  }
  override forward(...given: ConvTransposeForward): Tensor {
    if (this.inChannels === 0 && "initializeParameters" in this) this.initializeParameters(this.prepare(given)[0]);
    return super.forward(...given);
  }
}
/** {@link ConvTranspose2d} whose `inChannels` is that of its first input. From then on it is a ConvTranspose2d. */
export class LazyConvTranspose2d extends ConvTranspose2d implements LazyModule {
  constructor(...given: LazyConvTransposeCall) {
    const a = readTranspose(given, new.target.name);
    // As many channels as groups: nothing is made of them.
    super({ inChannels: a.groups, ...a });
    this.inChannels = 0;
  }
  protected override parameter(shape: readonly number[], options: FactoryOptions): Parameter {
    return lazyParameter(shape, options);
  }
  hasUninitializedParams(): boolean {
    atMost("LazyConvTranspose2d.hasUninitializedParams", arguments, 0);
    return uninitializedOf(this).length > 0;
  }
  override resetParameters(): void {
    atMost("LazyConvTranspose2d.resetParameters", arguments, 0);
    if (!this.hasUninitializedParams()) super.resetParameters();
  }
  initializeParameters(x: Tensor): void {
    atMost("LazyConvTranspose2d.initializeParameters", arguments, 1);
    requireTensor("LazyConvTranspose2d.initializeParameters", x);
    initialize(this, ConvTranspose2d, x, (weight) => weight.size(0));
  }
  override forward(...given: ConvTransposeForward): Tensor {
    if (this.inChannels === 0 && "initializeParameters" in this) this.initializeParameters(this.prepare(given)[0]);
    return super.forward(...given);
  }
}
/** {@link ConvTranspose3d} whose `inChannels` is that of its first input. From then on it is a ConvTranspose3d. */
export class LazyConvTranspose3d extends ConvTranspose3d implements LazyModule {
  constructor(...given: LazyConvTransposeCall) {
    const a = readTranspose(given, new.target.name);
    // As many channels as groups: nothing is made of them.
    super({ inChannels: a.groups, ...a });
    this.inChannels = 0;
  }
  protected override parameter(shape: readonly number[], options: FactoryOptions): Parameter {
    return lazyParameter(shape, options);
  }
  hasUninitializedParams(): boolean {
    atMost("LazyConvTranspose3d.hasUninitializedParams", arguments, 0);
    return uninitializedOf(this).length > 0;
  }
  override resetParameters(): void {
    atMost("LazyConvTranspose3d.resetParameters", arguments, 0);
    if (!this.hasUninitializedParams()) super.resetParameters();
  }
  initializeParameters(x: Tensor): void {
    atMost("LazyConvTranspose3d.initializeParameters", arguments, 1);
    requireTensor("LazyConvTranspose3d.initializeParameters", x);
    initialize(this, ConvTranspose3d, x, (weight) => weight.size(0));
  }
  override forward(...given: ConvTransposeForward): Tensor {
    if (this.inChannels === 0 && "initializeParameters" in this) this.initializeParameters(this.prepare(given)[0]);
    return super.forward(...given);
  }
}
