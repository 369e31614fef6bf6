/** Dropout. */
import { real } from "../kinds.js";
import { atMost, checkArguments } from "../options.js";
import { alphaDropout, dropout, featureDropout } from "../ops/index.js";
import type { Tensor } from "../tensor/tensor.js";
import { Module } from "./module.js";

abstract class DropoutBase extends Module {
  constructor(readonly p = 0.5) {
    super();
    atMost(new.target.name, arguments, 1);
    checkArguments(new.target.name, { p }, { p: real("[0, 1]") });
  }
  override extraRepr(): string {
    return `p=${this.p}, inplace=False`;
  }
}
abstract class FeatureDropout extends DropoutBase {
  forward(x: Tensor): Tensor {
    atMost(`${this.constructor.name}.forward`, arguments, 1);
    return featureDropout(x, this.p, this.training);
  }
}

/** Zeroes elements with probability p while training, and scales the rest by 1 / (1 - p). Srivastava et al., 2014. */
export class Dropout extends DropoutBase {
  forward(x: Tensor): Tensor {
    atMost("Dropout.forward", arguments, 1);
    return dropout(x, this.p, this.training);
  }
}
/** Zeroes whole channels of `[N, C, L]`. */
export class Dropout1d extends FeatureDropout {}
/** Zeroes whole channels of `[N, C, H, W]`. */
export class Dropout2d extends FeatureDropout {}
/** Zeroes whole channels of `[N, C, D, H, W]`. */
export class Dropout3d extends FeatureDropout {}
/** Keeps mean and variance of self-normalising networks. */
export class AlphaDropout extends DropoutBase {
  forward(x: Tensor): Tensor {
    atMost("AlphaDropout.forward", arguments, 1);
    return alphaDropout(x, this.p, this.training);
  }
}
