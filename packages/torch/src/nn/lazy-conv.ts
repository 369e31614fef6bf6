/** Convolutions that learn how many channels come in from their first input. */
import { ArgumentError } from "../errors.js";
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
  type ConvTransposeOptions,
} from "./conv-transpose.js";
import { becomes, lazily, type LazyModule } from "./lazy.js";
import type { Parameter } from "./parameter.js";
import type { Size } from "./sizes.js";
import { isUninitialized } from "./uninitialized.js";

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
  declare readonly hasUninitializedParams: LazyModule["hasUninitializedParams"];
  declare readonly initializeParameters: LazyModule["initializeParameters"];
  constructor(...given: LazyConvCall) {
    const a = readConv(given, new.target.name);
    // As many channels as groups: nothing is made of them.
    super({ inChannels: a.groups, ...a });
    this.inChannels = 0;
  }
}
lazily(LazyConv1d, Conv1d, {
  size: "inChannels",
  initialize: (conv, x) => initialize(conv, Conv1d, x, (weight) => weight.size(1) * conv.groups),
});
/** {@link Conv2d} whose `inChannels` is that of its first input. From then on it is a Conv2d. */
export class LazyConv2d extends Conv2d implements LazyModule {
  declare readonly hasUninitializedParams: LazyModule["hasUninitializedParams"];
  declare readonly initializeParameters: LazyModule["initializeParameters"];
  constructor(...given: LazyConvCall) {
    const a = readConv(given, new.target.name);
    // As many channels as groups: nothing is made of them.
    super({ inChannels: a.groups, ...a });
    this.inChannels = 0;
  }
}
lazily(LazyConv2d, Conv2d, {
  size: "inChannels",
  initialize: (conv, x) => initialize(conv, Conv2d, x, (weight) => weight.size(1) * conv.groups),
});
/** {@link Conv3d} whose `inChannels` is that of its first input. From then on it is a Conv3d. */
export class LazyConv3d extends Conv3d implements LazyModule {
  declare readonly hasUninitializedParams: LazyModule["hasUninitializedParams"];
  declare readonly initializeParameters: LazyModule["initializeParameters"];
  constructor(...given: LazyConvCall) {
    const a = readConv(given, new.target.name);
    // As many channels as groups: nothing is made of them.
    super({ inChannels: a.groups, ...a });
    this.inChannels = 0;
  }
}
lazily(LazyConv3d, Conv3d, {
  size: "inChannels",
  initialize: (conv, x) => initialize(conv, Conv3d, x, (weight) => weight.size(1) * conv.groups),
});
/** {@link ConvTranspose1d} whose `inChannels` is that of its first input. From then on it is a ConvTranspose1d. */
export class LazyConvTranspose1d extends ConvTranspose1d implements LazyModule {
  declare readonly hasUninitializedParams: LazyModule["hasUninitializedParams"];
  declare readonly initializeParameters: LazyModule["initializeParameters"];
  constructor(...given: LazyConvTransposeCall) {
    const a = readTranspose(given, new.target.name);
    // As many channels as groups: nothing is made of them.
    super({ inChannels: a.groups, ...a });
    this.inChannels = 0;
  }
}
lazily(LazyConvTranspose1d, ConvTranspose1d, {
  size: "inChannels",
  initialize: (conv, x) => initialize(conv, ConvTranspose1d, x, (weight) => weight.size(0)),
});
/** {@link ConvTranspose2d} whose `inChannels` is that of its first input. From then on it is a ConvTranspose2d. */
export class LazyConvTranspose2d extends ConvTranspose2d implements LazyModule {
  declare readonly hasUninitializedParams: LazyModule["hasUninitializedParams"];
  declare readonly initializeParameters: LazyModule["initializeParameters"];
  constructor(...given: LazyConvTransposeCall) {
    const a = readTranspose(given, new.target.name);
    // As many channels as groups: nothing is made of them.
    super({ inChannels: a.groups, ...a });
    this.inChannels = 0;
  }
}
lazily(LazyConvTranspose2d, ConvTranspose2d, {
  size: "inChannels",
  initialize: (conv, x) => initialize(conv, ConvTranspose2d, x, (weight) => weight.size(0)),
});
/** {@link ConvTranspose3d} whose `inChannels` is that of its first input. From then on it is a ConvTranspose3d. */
export class LazyConvTranspose3d extends ConvTranspose3d implements LazyModule {
  declare readonly hasUninitializedParams: LazyModule["hasUninitializedParams"];
  declare readonly initializeParameters: LazyModule["initializeParameters"];
  constructor(...given: LazyConvTransposeCall) {
    const a = readTranspose(given, new.target.name);
    // As many channels as groups: nothing is made of them.
    super({ inChannels: a.groups, ...a });
    this.inChannels = 0;
  }
}
lazily(LazyConvTranspose3d, ConvTranspose3d, {
  size: "inChannels",
  initialize: (conv, x) => initialize(conv, ConvTranspose3d, x, (weight) => weight.size(0)),
});
