/** Normalisations that learn how many channels there are from their first input. */
import { byDefault, flag } from "../kinds.js";
import { signature, type Call } from "../signature.js";
import {
  BATCH_NORM,
  BatchNorm1d,
  BatchNorm2d,
  BatchNorm3d,
  type BatchNormOptions,
  type RunningNorm,
} from "./batch-norm.js";
import { FACTORY } from "./factory.js";
import {
  INSTANCE_NORM,
  InstanceNorm1d,
  InstanceNorm2d,
  InstanceNorm3d,
  type InstanceNormOptions,
} from "./instance-norm.js";
import { becomes, lazily, uninitializedOf, type LazyModule } from "./lazy.js";
import { isUninitialized } from "./uninitialized.js";

type Order = ["eps", "momentum", "affine", "trackRunningStats"];
type Positions = [eps?: number, momentum?: number | null, affine?: boolean, trackRunningStats?: boolean];
type BatchNormCall = Call<BatchNormOptions, Order, Positions>;
type InstanceNormCall = Call<InstanceNormOptions, Order, Positions>;
const BIAS = { bias: byDefault(true, flag) };
const readBatchNorm = signature("LazyBatchNorm", { ...BATCH_NORM, ...FACTORY, ...BIAS }, 4);
const readInstanceNorm = signature("LazyInstanceNorm", { ...INSTANCE_NORM, ...FACTORY, ...BIAS }, 4);

/** Features of what a state dict gave, or of the input. */
function initialize(norm: RunningNorm, type: { readonly prototype: RunningNorm }, features: () => number): void {
  const given = [norm.weight, norm.runningMean].find((t) => t !== null && !isUninitialized(t));
  norm.numFeatures = uninitializedOf(norm).length > 0 || given === undefined ? features() : (given?.size(0) ?? 0);
  const shape = [norm.numFeatures];
  becomes(norm, type, { weight: shape, bias: shape, runningMean: shape, runningVar: shape });
}

/** {@link BatchNorm1d} whose `numFeatures` is that of its first input. From then on it is a BatchNorm1d. */
export class LazyBatchNorm1d extends BatchNorm1d implements LazyModule {
  declare readonly hasUninitializedParams: LazyModule["hasUninitializedParams"];
  declare readonly initializeParameters: LazyModule["initializeParameters"];
  constructor(...given: BatchNormCall) {
    // Any number of features: nothing is made of it.
    super({ numFeatures: 1, ...readBatchNorm(given, new.target.name) });
    this.numFeatures = 0;
  }
}
lazily(LazyBatchNorm1d, BatchNorm1d, {
  size: "numFeatures",
  initialize: (norm, x) => initialize(norm, BatchNorm1d, () => x.size(1)),
});
/** {@link BatchNorm2d} whose `numFeatures` is that of its first input. From then on it is a BatchNorm2d. */
export class LazyBatchNorm2d extends BatchNorm2d implements LazyModule {
  declare readonly hasUninitializedParams: LazyModule["hasUninitializedParams"];
  declare readonly initializeParameters: LazyModule["initializeParameters"];
  constructor(...given: BatchNormCall) {
    // Any number of features: nothing is made of it.
    super({ numFeatures: 1, ...readBatchNorm(given, new.target.name) });
    this.numFeatures = 0;
  }
}
lazily(LazyBatchNorm2d, BatchNorm2d, {
  size: "numFeatures",
  initialize: (norm, x) => initialize(norm, BatchNorm2d, () => x.size(1)),
});
/** {@link BatchNorm3d} whose `numFeatures` is that of its first input. From then on it is a BatchNorm3d. */
export class LazyBatchNorm3d extends BatchNorm3d implements LazyModule {
  declare readonly hasUninitializedParams: LazyModule["hasUninitializedParams"];
  declare readonly initializeParameters: LazyModule["initializeParameters"];
  constructor(...given: BatchNormCall) {
    // Any number of features: nothing is made of it.
    super({ numFeatures: 1, ...readBatchNorm(given, new.target.name) });
    this.numFeatures = 0;
  }
}
lazily(LazyBatchNorm3d, BatchNorm3d, {
  size: "numFeatures",
  initialize: (norm, x) => initialize(norm, BatchNorm3d, () => x.size(1)),
});
/** {@link InstanceNorm1d} whose `numFeatures` is that of its first input. From then on it is an InstanceNorm1d. */
export class LazyInstanceNorm1d extends InstanceNorm1d implements LazyModule {
  declare readonly hasUninitializedParams: LazyModule["hasUninitializedParams"];
  declare readonly initializeParameters: LazyModule["initializeParameters"];
  constructor(...given: InstanceNormCall) {
    // Any number of features: nothing is made of it.
    super({ numFeatures: 1, ...readInstanceNorm(given, new.target.name) });
    this.numFeatures = 0;
  }
}
lazily(LazyInstanceNorm1d, InstanceNorm1d, {
  size: "numFeatures",
  initialize: (norm, x) => initialize(norm, InstanceNorm1d, () => x.size(-2)),
});
/** {@link InstanceNorm2d} whose `numFeatures` is that of its first input. From then on it is an InstanceNorm2d. */
export class LazyInstanceNorm2d extends InstanceNorm2d implements LazyModule {
  declare readonly hasUninitializedParams: LazyModule["hasUninitializedParams"];
  declare readonly initializeParameters: LazyModule["initializeParameters"];
  constructor(...given: InstanceNormCall) {
    // Any number of features: nothing is made of it.
    super({ numFeatures: 1, ...readInstanceNorm(given, new.target.name) });
    this.numFeatures = 0;
  }
}
lazily(LazyInstanceNorm2d, InstanceNorm2d, {
  size: "numFeatures",
  initialize: (norm, x) => initialize(norm, InstanceNorm2d, () => x.size(-3)),
});
/** {@link InstanceNorm3d} whose `numFeatures` is that of its first input. From then on it is an InstanceNorm3d. */
export class LazyInstanceNorm3d extends InstanceNorm3d implements LazyModule {
  declare readonly hasUninitializedParams: LazyModule["hasUninitializedParams"];
  declare readonly initializeParameters: LazyModule["initializeParameters"];
  constructor(...given: InstanceNormCall) {
    // Any number of features: nothing is made of it.
    super({ numFeatures: 1, ...readInstanceNorm(given, new.target.name) });
    this.numFeatures = 0;
  }
}
lazily(LazyInstanceNorm3d, InstanceNorm3d, {
  size: "numFeatures",
  initialize: (norm, x) => initialize(norm, InstanceNorm3d, () => x.size(-4)),
});
