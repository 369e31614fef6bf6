/** Normalisation over neighbouring channels. */
import { ArgumentError } from "../errors.js";
import { byDefault } from "../kinds.js";
import { atMost } from "../options.js";
import { signature, type Call } from "../signature.js";
import type { Tensor } from "../tensor/tensor.js";
import { localResponseNorm } from "./functional/normalization.js";
import { number } from "./functional/rows.js";
import { requireTensor } from "./inputs.js";
import { positive } from "./kernels.js";
import { Module } from "./module.js";
import { float } from "./repr.js";

export interface LocalResponseNormOptions {
  /** Channels that count for one. */
  readonly size: number;
  /** Default 1e-4. */
  readonly alpha?: number;
  /** Default 0.75. */
  readonly beta?: number;
  /** Default 1. */
  readonly k?: number;
}
const read = signature("LocalResponseNorm", {
  size: positive,
  alpha: byDefault(1e-4, number),
  beta: byDefault(0.75, number),
  k: byDefault(1, number),
});
abstract class AcrossChannels extends Module {
  readonly size: number;
  readonly alpha: number;
  readonly beta: number;
  readonly k: number;
  constructor(
    ...given: Call<
      LocalResponseNormOptions,
      ["size", "alpha", "beta", "k"],
      [size: number, alpha?: number, beta?: number, k?: number]
    >
  ) {
    super();
    const { size, alpha, beta, k } = read(given, new.target.name);
    this.size = size;
    this.alpha = alpha;
    this.beta = beta;
    this.k = k;
  }
}
/** x / (k + α · mean of x² over `size` neighbouring channels)^β; `[N, C, …]`, 3 dimensions or more. Krizhevsky, 2012. */
export class LocalResponseNorm extends AcrossChannels {
  forward(x: Tensor): Tensor {
    atMost("LocalResponseNorm.forward", arguments, 1);
    return localResponseNorm(x, this.size, this.alpha, this.beta, this.k);
  }
  override extraRepr(): string {
    return `${this.size}, alpha=${float(this.alpha)}, beta=${this.beta}, k=${float(this.k)}`;
  }
}
/**
 * The same over `[N, C, H, W]`; an even size stands for the odd one below it, with the sum still divided by the size.
 *
 * What PyTorch computes under this name is that only for channels near the first: its loops, counted from 0 where they
 * were written for 1, never let go of the first channel, and its gradients are those of a window moved by one. This is
 * the formula itself, with its own gradients.
 */
export class CrossMapLRN2d extends AcrossChannels {
  forward(x: Tensor): Tensor {
    atMost("CrossMapLRN2d.forward", arguments, 1);
    requireTensor("CrossMapLRN2d.forward", x);
    if (x.ndim !== 4) throw new ArgumentError("CrossMapLRN2d", "an input of 4 dimensions", x);
    const window = this.size - 1 + (this.size % 2);
    return localResponseNorm(x, window, (this.alpha * window) / this.size, this.beta, this.k);
  }
  override extraRepr(): string {
    return `${this.size}, alpha=${float(this.alpha)}, beta=${this.beta}, k=${this.k}`;
  }
}
