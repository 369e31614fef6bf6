/** Pooling to a size of the output, whatever that of the input. */
import { byDefault, flag } from "../kinds.js";
import {
  adaptiveAvgPool1d,
  adaptiveAvgPool2d,
  adaptiveAvgPool3d,
  adaptiveMaxPool1d,
  adaptiveMaxPool2d,
  adaptiveMaxPool3d,
} from "../ops/index.js";
import { atMost } from "../options.js";
import { signature, type Call } from "../signature.js";
import type { Tensor } from "../tensor/tensor.js";
import { requireTensor } from "./inputs.js";
import { Module } from "./module.js";
import type { Pooled } from "./pooling.js";
import { tuple } from "./repr.js";
import { OUTPUT_SIZE, outputSizes, rankOf, type OutputSize } from "./sizes.js";

type Ints = readonly number[];
export interface AdaptivePoolArguments {
  /** How many places the output has; null: as many as the input, in one dimension or all. */
  readonly outputSize: OutputSize;
}
export interface AdaptiveMaxPoolArguments<Indices extends boolean = boolean> extends AdaptivePoolArguments {
  /** Give where the maxima stand, too: `[output, indices]`. Default false. */
  readonly returnIndices?: Indices;
}
export type AdaptivePoolCall = Call<AdaptivePoolArguments, ["outputSize"], [outputSize: OutputSize]>;
export type AdaptiveMaxPoolCall<Indices extends boolean> = Call<
  AdaptiveMaxPoolArguments<Indices>,
  ["outputSize", "returnIndices"],
  [outputSize: OutputSize, returnIndices?: Indices]
>;
const readAvg = signature("AdaptiveAvgPool", { outputSize: OUTPUT_SIZE });
const readMax = signature("AdaptiveMaxPool", { outputSize: OUTPUT_SIZE, returnIndices: byDefault(false, flag) });

abstract class AdaptivePool extends Module {
  readonly outputSize: OutputSize;
  /** As numbers, where none is the input's. */
  private readonly size: Ints | null;
  constructor(outputSize: OutputSize) {
    super();
    this.outputSize = outputSize;
    // With a shape of no sizes of its own: it counts them alone.
    const all = outputSizes(new.target.name, outputSize, [-1, -1, -1], rankOf(new.target));
    this.size = all.includes(-1) ? null : all;
  }
  /** @internal */
  abstract get rank(): 1 | 2 | 3;
  protected sizeFor(x: Tensor): Ints {
    if (this.size === null) requireTensor(`${this.constructor.name}.forward`, x);
    return this.size ?? outputSizes(this.constructor.name, this.outputSize, x.shape, this.rank);
  }
  override extraRepr(): string {
    const size = this.outputSize;
    const print = (each: number | null): string => (each === null ? "None" : String(each));
    return `output_size=${Array.isArray(size) ? tuple((size as Ints).map(print)) : print(size as number | null)}`;
  }
}
abstract class AdaptiveAvgPool extends AdaptivePool {
  constructor(...given: AdaptivePoolCall) {
    super(readAvg(given, new.target.name).outputSize);
  }
}
/** The mean over as many windows of `[N, C, L]` as the output has places. */
export class AdaptiveAvgPool1d extends AdaptiveAvgPool {
  /** @internal */
  override get rank(): 1 {
    return 1;
  }
  forward(x: Tensor): Tensor {
    atMost("AdaptiveAvgPool1d.forward", arguments, 1);
    return adaptiveAvgPool1d(x, this.sizeFor(x));
  }
}
/** The mean over as many windows of `[N, C, H, W]` as the output has places. */
export class AdaptiveAvgPool2d extends AdaptiveAvgPool {
  /** @internal */
  override get rank(): 2 {
    return 2;
  }
  forward(x: Tensor): Tensor {
    atMost("AdaptiveAvgPool2d.forward", arguments, 1);
    return adaptiveAvgPool2d(x, this.sizeFor(x));
  }
}
/** The mean over as many windows of `[N, C, D, H, W]` as the output has places. */
export class AdaptiveAvgPool3d extends AdaptiveAvgPool {
  /** @internal */
  override get rank(): 3 {
    return 3;
  }
  forward(x: Tensor): Tensor {
    atMost("AdaptiveAvgPool3d.forward", arguments, 1);
    return adaptiveAvgPool3d(x, this.sizeFor(x));
  }
}

abstract class AdaptiveMaxPool<Indices extends boolean> extends AdaptivePool {
  readonly returnIndices: boolean;
  constructor(...given: AdaptiveMaxPoolCall<Indices>) {
    const { outputSize, returnIndices } = readMax(given, new.target.name);
    super(outputSize);
    this.returnIndices = returnIndices;
  }
  protected chosen([output, indices]: [Tensor, Tensor]): Pooled<Indices> {
    if (this.returnIndices) return [output, indices] as unknown as Pooled<Indices>;
    indices.dispose();
    return output as Pooled<Indices>;
  }
}
/** The largest value of as many windows of `[N, C, L]` as the output has places. */
export class AdaptiveMaxPool1d<Indices extends boolean = false> extends AdaptiveMaxPool<Indices> {
  /** @internal */
  override get rank(): 1 {
    return 1;
  }
  forward(x: Tensor): Pooled<Indices> {
    atMost("AdaptiveMaxPool1d.forward", arguments, 1);
    return this.chosen(adaptiveMaxPool1d(x, this.sizeFor(x)));
  }
}
/** The largest value of as many windows of `[N, C, H, W]` as the output has places. */
export class AdaptiveMaxPool2d<Indices extends boolean = false> extends AdaptiveMaxPool<Indices> {
  /** @internal */
  override get rank(): 2 {
    return 2;
  }
  forward(x: Tensor): Pooled<Indices> {
    atMost("AdaptiveMaxPool2d.forward", arguments, 1);
    return this.chosen(adaptiveMaxPool2d(x, this.sizeFor(x)));
  }
}
/** The largest value of as many windows of `[N, C, D, H, W]` as the output has places. */
export class AdaptiveMaxPool3d<Indices extends boolean = false> extends AdaptiveMaxPool<Indices> {
  /** @internal */
  override get rank(): 3 {
    return 3;
  }
  forward(x: Tensor): Pooled<Indices> {
    atMost("AdaptiveMaxPool3d.forward", arguments, 1);
    return this.chosen(adaptiveMaxPool3d(x, this.sizeFor(x)));
  }
}
