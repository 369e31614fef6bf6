/** Layers that only move elements: shuffles, folds, flat and unflat shapes. */
import { byDefault, listOf, whole } from "../kinds.js";
import { channelShuffle, col2im, flatten, im2col, pixelShuffle, pixelUnshuffle, unflatten } from "../ops/index.js";
import { atMost } from "../options.js";
import { signature, type Call } from "../signature.js";
import type { Tensor } from "../tensor/tensor.js";
import { FOLD, UNFOLD, type FoldOptions, type UnfoldOptions } from "./functional/fold.js";
import { positive } from "./kernels.js";
import { Module } from "./module.js";
import { sizes, tuple } from "./repr.js";
import { expand, type Size } from "./sizes.js";

const readShuffle = signature("PixelShuffle", { upscaleFactor: positive });
/** `[…, C · r², H, W]` → `[…, C, H · r, W · r]`. Shi et al., 2016. */
export class PixelShuffle extends Module {
  readonly upscaleFactor: number;
  constructor(...given: Call<{ readonly upscaleFactor: number }, ["upscaleFactor"], [upscaleFactor: number]>) {
    super();
    this.upscaleFactor = readShuffle(given, new.target.name).upscaleFactor;
  }
  forward(x: Tensor): Tensor {
    atMost("PixelShuffle.forward", arguments, 1);
    return pixelShuffle(x, this.upscaleFactor);
  }
  override extraRepr(): string {
    return `upscale_factor=${this.upscaleFactor}`;
  }
}
const readUnshuffle = signature("PixelUnshuffle", { downscaleFactor: positive });
/** `[…, C, H · r, W · r]` → `[…, C · r², H, W]`. */
export class PixelUnshuffle extends Module {
  readonly downscaleFactor: number;
  constructor(...given: Call<{ readonly downscaleFactor: number }, ["downscaleFactor"], [downscaleFactor: number]>) {
    super();
    this.downscaleFactor = readUnshuffle(given, new.target.name).downscaleFactor;
  }
  forward(x: Tensor): Tensor {
    atMost("PixelUnshuffle.forward", arguments, 1);
    return pixelUnshuffle(x, this.downscaleFactor);
  }
  override extraRepr(): string {
    return `downscale_factor=${this.downscaleFactor}`;
  }
}
const readChannels = signature("ChannelShuffle", { groups: positive });
/** Channels of `[N, C, …]` in another order: the first of each group, the second of each, …. Zhang et al., 2017. */
export class ChannelShuffle extends Module {
  readonly groups: number;
  constructor(...given: Call<{ readonly groups: number }, ["groups"], [groups: number]>) {
    super();
    this.groups = readChannels(given, new.target.name).groups;
  }
  forward(x: Tensor): Tensor {
    atMost("ChannelShuffle.forward", arguments, 1);
    return channelShuffle(x, this.groups);
  }
  override extraRepr(): string {
    return `groups=${this.groups}`;
  }
}

type Pair = readonly number[];
type WindowOrder = ["kernelSize", "dilation", "padding", "stride"];
type Windows = [kernelSize: Size, dilation?: Size, padding?: Size, stride?: Size];
export type UnfoldCall = Call<UnfoldOptions, WindowOrder, Windows>;
export type FoldCall = Call<FoldOptions, ["outputSize", ...WindowOrder], [outputSize: Size, ...rest: Windows]>;
const readUnfold = signature("Unfold", UNFOLD);
const readFold = signature("Fold", FOLD);

abstract class Windowed extends Module {
  readonly kernelSize: Pair;
  readonly dilation: Pair;
  readonly padding: Pair;
  readonly stride: Pair;
  constructor(a: Required<UnfoldOptions>) {
    super();
    const fn = new.target.name;
    this.kernelSize = expand(fn, "kernelSize", a.kernelSize, 2);
    this.dilation = expand(fn, "dilation", a.dilation, 2);
    this.padding = expand(fn, "padding", a.padding, 2);
    this.stride = expand(fn, "stride", a.stride, 2);
  }
  override extraRepr(): string {
    return (
      `kernel_size=${sizes(this.kernelSize)}, dilation=${sizes(this.dilation)}, ` +
      `padding=${sizes(this.padding)}, stride=${sizes(this.stride)}`
    );
  }
}
/** Windows of images as columns: `[N, C, H, W]` → `[N, C · kernel elements, windows]`; without the batch as well. */
export class Unfold extends Windowed {
  constructor(...given: UnfoldCall) {
    super(readUnfold(given, new.target.name));
  }
  forward(x: Tensor): Tensor {
    atMost("Unfold.forward", arguments, 1);
    return im2col(x, this.kernelSize, this.dilation, this.padding, this.stride);
  }
}
/** Columns as images again, where windows that overlap are summed: `[N, C · kernel elements, windows]` → `[N, C, H, W]`. */
export class Fold extends Windowed {
  readonly outputSize: Pair;
  constructor(...given: FoldCall) {
    const a = readFold(given, new.target.name);
    super(a);
    this.outputSize = expand(new.target.name, "outputSize", a.outputSize, 2);
  }
  forward(x: Tensor): Tensor {
    atMost("Fold.forward", arguments, 1);
    return col2im(x, this.outputSize, this.kernelSize, this.dilation, this.padding, this.stride);
  }
  override extraRepr(): string {
    return `output_size=${sizes(this.outputSize)}, ${super.extraRepr()}`;
  }
}

export interface FlattenArguments {
  /** Default 1. */
  readonly startDim?: number;
  /** The last that is flattened. Default -1. */
  readonly endDim?: number;
}
const readFlatten = signature("Flatten", { startDim: byDefault(1, whole()), endDim: byDefault(-1, whole()) });
/** `[N, …]` → `[N, product]`, or between two dimensions. */
export class Flatten extends Module {
  readonly startDim: number;
  readonly endDim: number;
  constructor(...given: Call<FlattenArguments, ["startDim", "endDim"], [startDim?: number, endDim?: number]>) {
    super();
    const { startDim, endDim } = readFlatten(given, new.target.name);
    this.startDim = startDim;
    this.endDim = endDim;
  }
  forward(x: Tensor): Tensor {
    atMost("Flatten.forward", arguments, 1);
    return flatten(x, this.startDim, this.endDim);
  }
  override extraRepr(): string {
    return `start_dim=${this.startDim}, end_dim=${this.endDim}`;
  }
}
export interface UnflattenArguments {
  readonly dim: number;
  /** In the place of `dim`; one of them may be -1, which is what is left. */
  readonly unflattenedSize: readonly number[];
}
const readUnflatten = signature("Unflatten", { dim: whole(), unflattenedSize: listOf(whole("[-1, ∞)")) });
/** One dimension as several: the way back from Flatten. */
export class Unflatten extends Module {
  readonly dim: number;
  readonly unflattenedSize: readonly number[];
  constructor(
    ...given: Call<UnflattenArguments, ["dim", "unflattenedSize"], [dim: number, unflattenedSize: readonly number[]]>
  ) {
    super();
    const { dim, unflattenedSize } = readUnflatten(given, new.target.name);
    this.dim = dim;
    this.unflattenedSize = unflattenedSize;
  }
  forward(x: Tensor): Tensor {
    atMost("Unflatten.forward", arguments, 1);
    return unflatten(x, this.dim, this.unflattenedSize);
  }
  override extraRepr(): string {
    return `dim=${this.dim}, unflattened_size=${tuple(this.unflattenedSize)}`;
  }
}
