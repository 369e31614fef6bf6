/** Dropout. */
import { ArgumentError } from "../errors.js";
import { byDefault } from "../kinds.js";
import { alphaDropout, dropout, featureAlphaDropout, featureDropout } from "../ops/index.js";
import { atMost } from "../options.js";
import { signature, type Call } from "../signature.js";
import type { Tensor } from "../tensor/tensor.js";
import * as functional from "./functional/dropout.js";
import { off, probability } from "./functional/rows.js";
import { inPlace } from "./in-place.js";
import { requireTensor } from "./inputs.js";
import { Module } from "./module.js";
import { bool } from "./repr.js";

export interface DropoutOptions {
  /** Probability of a zero. Default 0.5. */
  readonly p?: number;
  /** Write over the input. Default false; the two that keep mean and variance never do, as in PyTorch. */
  readonly inplace?: boolean;
}
export type DropoutCall = Call<DropoutOptions, ["p", "inplace"], [p?: number, inplace?: boolean]>;
const read = signature("Dropout", { p: byDefault(0.5, probability), inplace: off });

abstract class DropoutBase extends Module {
  readonly p: number;
  readonly inplace: boolean;
  constructor(...given: DropoutCall) {
    super();
    const { p, inplace } = read(given, new.target.name);
    this.p = p;
    this.inplace = inplace;
  }
  override extraRepr(): string {
    return `p=${this.p}, inplace=${bool(this.inplace)}`;
  }
}
const over = inPlace("dropout_");
const overFeatures = inPlace("feature_dropout_");

/** Zeroes elements with probability p while training, and scales the rest by 1 / (1 - p). Srivastava et al., 2014. */
export class Dropout extends DropoutBase {
  forward(x: Tensor): Tensor {
    atMost("Dropout.forward", arguments, 1);
    return this.inplace ? over(x, this.p, this.training) : dropout(x, this.p, this.training);
  }
}
/** Zeroes whole channels of `[N, C, L]` or `[C, L]`. Tompson et al., 2014. */
export class Dropout1d extends DropoutBase {
  forward(x: Tensor): Tensor {
    atMost("Dropout1d.forward", arguments, 1);
    requireTensor("Dropout1d.forward", x);
    if (x.ndim !== 2 && x.ndim !== 3) throw new ArgumentError("Dropout1d", "an input of 2 or 3 dimensions", x);
    return functional.dropout1d(x, this.p, this.training, this.inplace);
  }
}
/** Zeroes whole channels of `[N, C, H, W]`; of three dimensions the first is the batch, as in PyTorch. */
export class Dropout2d extends DropoutBase {
  forward(x: Tensor): Tensor {
    atMost("Dropout2d.forward", arguments, 1);
    return this.inplace ? overFeatures(x, this.p, this.training) : featureDropout(x, this.p, this.training);
  }
}
/** Zeroes whole channels of `[N, C, D, H, W]` or `[C, D, H, W]`. */
export class Dropout3d extends DropoutBase {
  forward(x: Tensor): Tensor {
    atMost("Dropout3d.forward", arguments, 1);
    return functional.dropout3d(x, this.p, this.training, this.inplace);
  }
}
/** Keeps mean and variance of self-normalising networks. Klambauer et al., 2017. */
export class AlphaDropout extends DropoutBase {
  forward(x: Tensor): Tensor {
    atMost("AlphaDropout.forward", arguments, 1);
    return alphaDropout(x, this.p, this.training);
  }
}
/** {@link AlphaDropout} of whole channels of `[N, C, …]`. */
export class FeatureAlphaDropout extends DropoutBase {
  forward(x: Tensor): Tensor {
    atMost("FeatureAlphaDropout.forward", arguments, 1);
    return featureAlphaDropout(x, this.p, this.training);
  }
}
