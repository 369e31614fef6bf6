/** Normalisation of each channel of each sample. */
import { ArgumentError } from "../errors.js";
import { byDefault, flag, orNull, real } from "../kinds.js";
import { instanceNorm } from "../ops/index.js";
import { atMost, type OptionNames } from "../options.js";
import { signature, type Call } from "../signature.js";
import type { Tensor } from "../tensor/tensor.js";
import { RunningNorm, type BatchNormOptions } from "./batch-norm.js";
import { FACTORY } from "./factory.js";
import { requireSpatial } from "./functional/normalization.js";
import { requireTensor } from "./inputs.js";
import { positive } from "./kernels.js";

export interface InstanceNormOptions extends BatchNormOptions {
  /** Learn a weight and a bias per channel. Default false. */
  readonly affine?: boolean;
  /** Keep running statistics, which evaluation uses. Default false. */
  readonly trackRunningStats?: boolean;
}
export interface InstanceNormArguments extends InstanceNormOptions {
  readonly numFeatures: number;
}
/** @internal Behind the features, in PyTorch's order. */
export const INSTANCE_NORM = {
  eps: byDefault(1e-5, real("[0, ∞)")),
  momentum: byDefault(0.1, orNull(real("[0, 1]"))),
  affine: byDefault(false, flag),
  trackRunningStats: byDefault(false, flag),
};
const read = signature(
  "InstanceNorm",
  {
    numFeatures: positive,
    ...INSTANCE_NORM,
    ...FACTORY,
    bias: byDefault(true, flag),
  } satisfies OptionNames<InstanceNormArguments>,
  5,
);
export type InstanceNormCall = Call<
  InstanceNormArguments,
  ["numFeatures", "eps", "momentum", "affine", "trackRunningStats"],
  [numFeatures: number, eps?: number, momentum?: number | null, affine?: boolean, trackRunningStats?: boolean]
>;

/** @internal */
export abstract class InstanceNorm extends RunningNorm {
  /** @internal */
  abstract get rank(): 1 | 2 | 3;
  forward(x: Tensor): Tensor {
    const fn = this.constructor.name;
    atMost(`${fn}.forward`, arguments, 1);
    requireTensor(`${fn}.forward`, x);
    const { rank, momentum, eps } = this;
    if (x.ndim !== rank + 1 && x.ndim !== rank + 2)
      throw new ArgumentError(fn, `an input of ${rank + 1} or ${rank + 2} dimensions`, x);
    if (this.affine && x.size(-rank - 1) !== this.numFeatures)
      throw new ArgumentError(fn, `an input of ${this.numFeatures} channels`, x);
    const batch = x.ndim === rank + 1 ? x.unsqueeze(0) : x;
    const ofInput = this.training || !this.trackRunningStats;
    if (ofInput) requireSpatial(fn, batch);
    const { weight, bias, runningMean, runningVar } = this;
    const y = instanceNorm(batch, weight, bias, runningMean, runningVar, ofInput, momentum ?? 0, eps, true);
    return batch === x ? y : y.squeeze(0);
  }
}
abstract class PlainInstanceNorm extends InstanceNorm {
  constructor(...given: InstanceNormCall) {
    super(read(given, new.target.name));
  }
}

/**
 * Ulyanov et al., 2016. Per channel of each sample of `[N, C, L]` or `[C, L]`: (x - mean) / √(var + eps) · weight +
 * bias. Without weights and running statistics unless told otherwise.
 */
export class InstanceNorm1d extends PlainInstanceNorm {
  /** @internal */
  override get rank(): 1 {
    return 1;
  }
}
/** {@link InstanceNorm1d} over `[N, C, H, W]` or `[C, H, W]`. */
export class InstanceNorm2d extends PlainInstanceNorm {
  /** @internal */
  override get rank(): 2 {
    return 2;
  }
}
/** {@link InstanceNorm1d} over `[N, C, D, H, W]` or `[C, D, H, W]`. */
export class InstanceNorm3d extends PlainInstanceNorm {
  /** @internal */
  override get rank(): 3 {
    return 3;
  }
}
