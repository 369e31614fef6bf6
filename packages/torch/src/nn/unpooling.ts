/** The way back from max pooling. */
import { byDefault, listOf, orNull, whole } from "../kinds.js";
import { signature, type Call } from "../signature.js";
import { tensorKind } from "../tensor/kinds.js";
import type { Tensor } from "../tensor/tensor.js";
import { maxUnpool1d, maxUnpool2d, maxUnpool3d } from "./functional/unpooling.js";
import { Module } from "./module.js";
import { tuple } from "./repr.js";
import { expand, rankOf, SIZE, STEP, type Size } from "./sizes.js";

export interface MaxUnpoolOptions {
  readonly kernelSize: Size;
  /** Default null: the kernel size. */
  readonly stride?: Size | null;
  /** Default 0. */
  readonly padding?: Size;
}
export type MaxUnpoolCall = Call<
  MaxUnpoolOptions,
  ["kernelSize", "stride", "padding"],
  [kernelSize: Size, stride?: Size | null, padding?: Size]
>;
export interface MaxUnpoolForwardArguments {
  readonly input: Tensor;
  /** int64, of the input's shape: from max pooling with `returnIndices`. */
  readonly indices: Tensor;
  /** Of the result, spatial dimensions alone or all. Default null: the smallest that was pooled. */
  readonly outputSize?: readonly number[] | null;
}
export type MaxUnpoolForward = Call<
  MaxUnpoolForwardArguments,
  ["input", "indices", "outputSize"],
  [input: Tensor, indices: Tensor, outputSize?: readonly number[] | null]
>;
const read = signature("MaxUnpool", {
  kernelSize: STEP,
  stride: byDefault(null, orNull(STEP)),
  padding: byDefault(0, SIZE),
});
const readForward = signature("MaxUnpool.forward", {
  input: tensorKind,
  indices: tensorKind,
  outputSize: byDefault(null, orNull(listOf(whole("[0, ∞)")))),
});

abstract class MaxUnpool extends Module {
  readonly kernelSize: readonly number[];
  readonly stride: readonly number[];
  readonly padding: readonly number[];
  constructor(...given: MaxUnpoolCall) {
    super();
    const fn = new.target.name;
    const a = read(given, fn);
    const rank = rankOf(new.target);
    this.kernelSize = expand(fn, "kernelSize", a.kernelSize, rank);
    this.stride = a.stride === null ? this.kernelSize : expand(fn, "stride", a.stride, rank);
    this.padding = expand(fn, "padding", a.padding, rank);
  }
  /** @internal */
  abstract get rank(): 1 | 2 | 3;
  override extraRepr(): string {
    return `kernel_size=${tuple(this.kernelSize)}, stride=${tuple(this.stride)}, padding=${tuple(this.padding)}`;
  }
}
/** Undoes MaxPool1d: values at their places in `[N, C, L]` or `[C, L]`, 0 elsewhere. */
export class MaxUnpool1d extends MaxUnpool {
  /** @internal */
  override get rank(): 1 {
    return 1;
  }
  forward(...given: MaxUnpoolForward): Tensor {
    const { input, indices, outputSize } = readForward(given, "MaxUnpool1d.forward");
    return maxUnpool1d(input, indices, this.kernelSize, this.stride, this.padding, outputSize);
  }
}
/** Undoes MaxPool2d: values at their places in `[N, C, H, W]` or `[C, H, W]`, 0 elsewhere. */
export class MaxUnpool2d extends MaxUnpool {
  /** @internal */
  override get rank(): 2 {
    return 2;
  }
  forward(...given: MaxUnpoolForward): Tensor {
    const { input, indices, outputSize } = readForward(given, "MaxUnpool2d.forward");
    return maxUnpool2d(input, indices, this.kernelSize, this.stride, this.padding, outputSize);
  }
}
/** Undoes MaxPool3d: values at their places in `[N, C, D, H, W]` or `[C, D, H, W]`, 0 elsewhere. */
export class MaxUnpool3d extends MaxUnpool {
  /** @internal */
  override get rank(): 3 {
    return 3;
  }
  forward(...given: MaxUnpoolForward): Tensor {
    const { input, indices, outputSize } = readForward(given, "MaxUnpool3d.forward");
    return maxUnpool3d(input, indices, this.kernelSize, this.stride, this.padding, outputSize);
  }
}
