/** Exponentials that sum to 1 over one dimension. */
import { ArgumentError } from "../errors.js";
import { byDefault, orNull } from "../kinds.js";
import * as ops from "../ops/index.js";
import { atMost } from "../options.js";
import { signature, type Call } from "../signature.js";
import type { Tensor } from "../tensor/tensor.js";
import { dimension } from "./functional/rows.js";
import { softmaxDimension } from "./functional/softmax.js";
import { requireTensor } from "./inputs.js";
import { Module } from "./module.js";

export interface SoftmaxOptions {
  /** Over which dimension. Say it: without it PyTorch's old rule holds, 0 of tensors of 0, 1 and 3 dimensions, else 1. */
  readonly dim?: number | null;
}
const read = signature("Softmax", { dim: byDefault(null, orNull(dimension)) });

abstract class OverDimension extends Module {
  readonly dim: number | null;
  constructor(...given: Call<SoftmaxOptions, ["dim"], [dim?: number | null]>) {
    super();
    this.dim = read(given, new.target.name).dim;
  }
  override extraRepr(): string {
    return `dim=${this.dim ?? "None"}`;
  }
}
/** e^x / Σ e^x */
export class Softmax extends OverDimension {
  forward(x: Tensor): Tensor {
    atMost("Softmax.forward", arguments, 1);
    requireTensor("Softmax.forward", x);
    return ops.softmax(x, softmaxDimension(x, this.dim));
  }
}
/** log(e^x / Σ e^x) */
export class LogSoftmax extends OverDimension {
  forward(x: Tensor): Tensor {
    atMost("LogSoftmax.forward", arguments, 1);
    requireTensor("LogSoftmax.forward", x);
    return ops.logSoftmax(x, softmaxDimension(x, this.dim));
  }
}
/** softmax(-x) */
export class Softmin extends OverDimension {
  forward(x: Tensor): Tensor {
    atMost("Softmin.forward", arguments, 1);
    requireTensor("Softmin.forward", x);
    return ops.softmax(x.neg(), softmaxDimension(x, this.dim));
  }
}
/** Softmax over the channels of `[N, C, H, W]` or `[C, H, W]`, for each place. */
export class Softmax2d extends Module {
  forward(x: Tensor): Tensor {
    atMost("Softmax2d.forward", arguments, 1);
    requireTensor("Softmax2d.forward", x);
    if (x.ndim !== 3 && x.ndim !== 4) throw new ArgumentError("Softmax2d", "an input of 3 or 4 dimensions", x);
    return ops.softmax(x, -3);
  }
}
