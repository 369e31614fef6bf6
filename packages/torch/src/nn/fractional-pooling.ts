/** Max pooling over windows of drawn places. */
import { atMost } from "../options.js";
import { signature, type Call } from "../signature.js";
import type { Tensor } from "../tensor/tensor.js";
import {
  checkOneOf,
  FRACTIONAL,
  fractionalMaxPool2dWithIndices,
  fractionalMaxPool3dWithIndices,
  type FractionalPoolOptions,
  type Ratio,
} from "./functional/fractional-pooling.js";
import { Module } from "./module.js";
import type { Pooled } from "./pooling.js";
import { expand, rankOf, repeated, type Size } from "./sizes.js";

export interface FractionalMaxPoolArguments<Indices extends boolean = boolean> extends FractionalPoolOptions {
  readonly kernelSize: Size;
  /** Give where the maxima stand, too: `[output, indices]`. Default false. */
  readonly returnIndices?: Indices;
}
export type FractionalMaxPoolCall<Indices extends boolean> = Call<
  FractionalMaxPoolArguments<Indices>,
  ["kernelSize", "outputSize", "outputRatio", "returnIndices", "_randomSamples"],
  [
    kernelSize: Size,
    outputSize?: Size | null,
    outputRatio?: Ratio | null,
    returnIndices?: Indices,
    _randomSamples?: Tensor | null,
  ]
>;
const read = signature("FractionalMaxPool", FRACTIONAL);

abstract class FractionalMaxPool<Indices extends boolean> extends Module {
  readonly kernelSize: readonly number[];
  readonly outputSize: readonly number[] | null;
  readonly outputRatio: readonly number[] | null;
  readonly returnIndices: boolean;
  declare _randomSamples: Tensor | null;
  constructor(...given: FractionalMaxPoolCall<Indices>) {
    super();
    const fn = new.target.name;
    const a = read(given, fn);
    checkOneOf(fn, a);
    const rank = rankOf(new.target);
    this.kernelSize = expand(fn, "kernelSize", a.kernelSize, rank);
    this.outputSize = a.outputSize === null ? null : expand(fn, "outputSize", a.outputSize, rank);
    this.outputRatio = a.outputRatio === null ? null : repeated(fn, "outputRatio", a.outputRatio, rank);
    this.returnIndices = a.returnIndices;
    this.registerBuffer("_randomSamples", a._randomSamples);
  }
  /** @internal */
  abstract get rank(): 2 | 3;
  protected chosen([output, indices]: [Tensor, Tensor]): Pooled<Indices> {
    if (this.returnIndices) return [output, indices] as unknown as Pooled<Indices>;
    indices.dispose();
    return output as Pooled<Indices>;
  }
}
/** The largest values of windows of drawn places in `[N, C, H, W]` or `[C, H, W]`. Graham, 2014. */
export class FractionalMaxPool2d<Indices extends boolean = false> extends FractionalMaxPool<Indices> {
  /** @internal */
  override get rank(): 2 {
    return 2;
  }
  forward(x: Tensor): Pooled<Indices> {
    atMost("FractionalMaxPool2d.forward", arguments, 1);
    const { kernelSize, outputSize, outputRatio, _randomSamples } = this;
    return this.chosen(fractionalMaxPool2dWithIndices(x, kernelSize, { outputSize, outputRatio, _randomSamples }));
  }
}
/** The largest values of windows of drawn places in `[N, C, D, H, W]` or `[C, D, H, W]`. Graham, 2014. */
export class FractionalMaxPool3d<Indices extends boolean = false> extends FractionalMaxPool<Indices> {
  /** @internal */
  override get rank(): 3 {
    return 3;
  }
  forward(x: Tensor): Pooled<Indices> {
    atMost("FractionalMaxPool3d.forward", arguments, 1);
    const { kernelSize, outputSize, outputRatio, _randomSamples } = this;
    return this.chosen(fractionalMaxPool3dWithIndices(x, kernelSize, { outputSize, outputRatio, _randomSamples }));
  }
}
