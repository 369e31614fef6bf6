/** The p-norm of each window. */
import { byDefault, flag, orNull } from "../kinds.js";
import { atMost } from "../options.js";
import { signature, type Call } from "../signature.js";
import type { Tensor } from "../tensor/tensor.js";
import { lpPool1d, lpPool2d, lpPool3d } from "./functional/lp-pooling.js";
import { anyNumber } from "./functional/rows.js";
import { Module } from "./module.js";
import { bool, float, sizes } from "./repr.js";
import { STEP, type Size } from "./sizes.js";

export interface LPPoolOptions {
  /** p; ∞ is the largest magnitude, -∞ the smallest. */
  readonly normType: number;
  readonly kernelSize: Size;
  /** Default null: the kernel size. */
  readonly stride?: Size | null;
  /** Where the last window stands over the edge, take it too. Default false. */
  readonly ceilMode?: boolean;
}
export type LPPoolCall = Call<
  LPPoolOptions,
  ["normType", "kernelSize", "stride", "ceilMode"],
  [normType: number, kernelSize: Size, stride?: Size | null, ceilMode?: boolean]
>;
const read = signature("LPPool", {
  normType: anyNumber,
  kernelSize: STEP,
  stride: byDefault(null, orNull(STEP)),
  ceilMode: byDefault(false, flag),
});

abstract class LPPool extends Module {
  readonly normType: number;
  readonly kernelSize: Size;
  readonly stride: Size | null;
  readonly ceilMode: boolean;
  constructor(...given: LPPoolCall) {
    super();
    const { normType, kernelSize, stride, ceilMode } = read(given, new.target.name);
    this.normType = normType;
    this.kernelSize = kernelSize;
    this.stride = stride;
    this.ceilMode = ceilMode;
  }
  override extraRepr(): string {
    const print = (size: Size): string => (typeof size === "number" ? String(size) : sizes(size));
    return (
      `norm_type=${Number.isInteger(this.normType) ? this.normType : float(this.normType)}, ` +
      `kernel_size=${print(this.kernelSize)}, stride=${this.stride === null ? "None" : print(this.stride)}, ` +
      `ceil_mode=${bool(this.ceilMode)}`
    );
  }
}
/** (Σ xᵖ)^(1/p) over each window of `[N, C, L]` or `[C, L]`. */
export class LPPool1d extends LPPool {
  forward(x: Tensor): Tensor {
    atMost("LPPool1d.forward", arguments, 1);
    return lpPool1d(x, this.normType, this.kernelSize, this.stride, this.ceilMode);
  }
}
/** (Σ xᵖ)^(1/p) over each window of `[N, C, H, W]` or `[C, H, W]`. */
export class LPPool2d extends LPPool {
  forward(x: Tensor): Tensor {
    atMost("LPPool2d.forward", arguments, 1);
    return lpPool2d(x, this.normType, this.kernelSize, this.stride, this.ceilMode);
  }
}
/** (Σ xᵖ)^(1/p) over each window of `[N, C, D, H, W]` or `[C, D, H, W]`. */
export class LPPool3d extends LPPool {
  forward(x: Tensor): Tensor {
    atMost("LPPool3d.forward", arguments, 1);
    return lpPool3d(x, this.normType, this.kernelSize, this.stride, this.ceilMode);
  }
}
