/** Normalisations that learn how many channels there are from their first input. */
import { byDefault, flag } from "../kinds.js";
import { atMost } from "../options.js";
import { signature, type Call } from "../signature.js";
import type { Tensor } from "../tensor/tensor.js";
import {
  BATCH_NORM,
  BatchNorm1d,
  BatchNorm2d,
  BatchNorm3d,
  type BatchNormOptions,
  type RunningNorm,
} from "./batch-norm.js";
import { FACTORY, type FactoryOptions } from "./factory.js";
import {
  INSTANCE_NORM,
  InstanceNorm1d,
  InstanceNorm2d,
  InstanceNorm3d,
  type InstanceNormOptions,
} from "./instance-norm.js";
import { requireTensor } from "./inputs.js";
import { becomes, uninitializedOf, type LazyModule } from "./lazy.js";
import type { Parameter } from "./parameter.js";
import { isUninitialized, UninitializedBuffer, UninitializedParameter } from "./uninitialized.js";

type Order = ["eps", "momentum", "affine", "trackRunningStats"];
type Positions = [eps?: number, momentum?: number | null, affine?: boolean, trackRunningStats?: boolean];
type BatchNormCall = Call<BatchNormOptions, Order, Positions>;
type InstanceNormCall = Call<InstanceNormOptions, Order, Positions>;
const BIAS = { bias: byDefault(true, flag) };
const readBatchNorm = signature("LazyBatchNorm", { ...BATCH_NORM, ...FACTORY, ...BIAS }, 4);
const readInstanceNorm = signature("LazyInstanceNorm", { ...INSTANCE_NORM, ...FACTORY, ...BIAS }, 4);
const lazyParameter = ({ device, dtype }: FactoryOptions): Parameter => new UninitializedParameter({ device, dtype });
const lazyStatistic = ({ device, dtype }: FactoryOptions): Tensor => new UninitializedBuffer({ device, dtype });

/** Features of what a state dict gave, or of the input. */
function initialize(norm: RunningNorm, type: { readonly prototype: RunningNorm }, features: () => number): void {
  const given = [norm.weight, norm.runningMean].find((t) => t !== null && !isUninitialized(t));
  norm.numFeatures = uninitializedOf(norm).length > 0 || given === undefined ? features() : (given?.size(0) ?? 0);
  const shape = [norm.numFeatures];
  becomes(norm, type, { weight: shape, bias: shape, runningMean: shape, runningVar: shape });
}

/** {@link BatchNorm1d} whose `numFeatures` is that of its first input. From then on it is a BatchNorm1d. */
export class LazyBatchNorm1d extends BatchNorm1d implements LazyModule {
  constructor(...given: BatchNormCall) {
    // Any number of features: nothing is made of it.
    super({ numFeatures: 1, ...readBatchNorm(given, new.target.name) });
    this.numFeatures = 0;
  }
  protected override parameter(_features: number, options: FactoryOptions): Parameter {
    return lazyParameter(options);
  }
  protected override statistic(_features: number, options: FactoryOptions): Tensor {
    return lazyStatistic(options);
  }
  hasUninitializedParams(): boolean {
    atMost("LazyBatchNorm1d.hasUninitializedParams", arguments, 0);
    return uninitializedOf(this).length > 0;
  }
  override resetParameters(): void {
    atMost("LazyBatchNorm1d.resetParameters", arguments, 0);
    if (!this.hasUninitializedParams()) super.resetParameters();
  }
  initializeParameters(x: Tensor): void {
    atMost("LazyBatchNorm1d.initializeParameters", arguments, 1);
    requireTensor("LazyBatchNorm1d.initializeParameters", x);
    initialize(this, BatchNorm1d, () => x.size(1));
  }
  override forward(x: Tensor): Tensor {
    atMost("LazyBatchNorm1d.forward", arguments, 1);
    if (this.numFeatures === 0 && "initializeParameters" in this) this.initializeParameters(x);
    return super.forward(x);
  }
}
/** {@link BatchNorm2d} whose `numFeatures` is that of its first input. From then on it is a BatchNorm2d. */
export class LazyBatchNorm2d extends BatchNorm2d implements LazyModule {
  constructor(...given: BatchNormCall) {
    // Any number of features: nothing is made of it.
    super({ numFeatures: 1, ...readBatchNorm(given, new.target.name) });
    this.numFeatures = 0;
  }
  protected override parameter(_features: number, options: FactoryOptions): Parameter {
    return lazyParameter(options);
  }
  protected override statistic(_features: number, options: FactoryOptions): Tensor {
    return lazyStatistic(options);
  }
  hasUninitializedParams(): boolean {
    atMost("LazyBatchNorm2d.hasUninitializedParams", arguments, 0);
    return uninitializedOf(this).length > 0;
  }
  override resetParameters(): void {
    atMost("LazyBatchNorm2d.resetParameters", arguments, 0);
    if (!this.hasUninitializedParams()) super.resetParameters();
  }
  initializeParameters(x: Tensor): void {
    atMost("LazyBatchNorm2d.initializeParameters", arguments, 1);
    requireTensor("LazyBatchNorm2d.initializeParameters", x);
    initialize(this, BatchNorm2d, () => x.size(1));
  }
  override forward(x: Tensor): Tensor {
    atMost("LazyBatchNorm2d.forward", arguments, 1);
    if (this.numFeatures === 0 && "initializeParameters" in this) this.initializeParameters(x);
    return super.forward(x);
  }
}
/** {@link BatchNorm3d} whose `numFeatures` is that of its first input. From then on it is a BatchNorm3d. */
export class LazyBatchNorm3d extends BatchNorm3d implements LazyModule {
  constructor(...given: BatchNormCall) {
    // Any number of features: nothing is made of it.
    super({ numFeatures: 1, ...readBatchNorm(given, new.target.name) });
    this.numFeatures = 0;
  }
  protected override parameter(_features: number, options: FactoryOptions): Parameter {
    return lazyParameter(options);
  }
  protected override statistic(_features: number, options: FactoryOptions): Tensor {
    return lazyStatistic(options);
  }
  hasUninitializedParams(): boolean {
    atMost("LazyBatchNorm3d.hasUninitializedParams", arguments, 0);
    return uninitializedOf(this).length > 0;
  }
  override resetParameters(): void {
    atMost("LazyBatchNorm3d.resetParameters", arguments, 0);
    if (!this.hasUninitializedParams()) super.resetParameters();
  }
  initializeParameters(x: Tensor): void {
    atMost("LazyBatchNorm3d.initializeParameters", arguments, 1);
    requireTensor("LazyBatchNorm3d.initializeParameters", x);
    initialize(this, BatchNorm3d, () => x.size(1));
  }
  override forward(x: Tensor): Tensor {
    atMost("LazyBatchNorm3d.forward", arguments, 1);
    if (this.numFeatures === 0 && "initializeParameters" in this) this.initializeParameters(x);
    return super.forward(x);
  }
}
/** {@link InstanceNorm1d} whose `numFeatures` is that of its first input. From then on it is an InstanceNorm1d. */
export class LazyInstanceNorm1d extends InstanceNorm1d implements LazyModule {
  constructor(...given: InstanceNormCall) {
    // Any number of features: nothing is made of it.
    super({ numFeatures: 1, ...readInstanceNorm(given, new.target.name) });
    this.numFeatures = 0;
  }
  protected override parameter(_features: number, options: FactoryOptions): Parameter {
    return lazyParameter(options);
  }
  protected override statistic(_features: number, options: FactoryOptions): Tensor {
    return lazyStatistic(options);
  }
  hasUninitializedParams(): boolean {
    atMost("LazyInstanceNorm1d.hasUninitializedParams", arguments, 0);
    return uninitializedOf(this).length > 0;
  }
  override resetParameters(): void {
    atMost("LazyInstanceNorm1d.resetParameters", arguments, 0);
    if (!this.hasUninitializedParams()) super.resetParameters();
  }
  initializeParameters(x: Tensor): void {
    atMost("LazyInstanceNorm1d.initializeParameters", arguments, 1);
    requireTensor("LazyInstanceNorm1d.initializeParameters", x);
    initialize(this, InstanceNorm1d, () => x.size(-2));
  }
  override forward(x: Tensor): Tensor {
    atMost("LazyInstanceNorm1d.forward", arguments, 1);
    if (this.numFeatures === 0 && "initializeParameters" in this) this.initializeParameters(x);
    return super.forward(x);
  }
}
/** {@link InstanceNorm2d} whose `numFeatures` is that of its first input. From then on it is an InstanceNorm2d. */
export class LazyInstanceNorm2d extends InstanceNorm2d implements LazyModule {
  constructor(...given: InstanceNormCall) {
    // Any number of features: nothing is made of it.
    super({ numFeatures: 1, ...readInstanceNorm(given, new.target.name) });
    this.numFeatures = 0;
  }
  protected override parameter(_features: number, options: FactoryOptions): Parameter {
    return lazyParameter(options);
  }
  protected override statistic(_features: number, options: FactoryOptions): Tensor {
    return lazyStatistic(options);
  }
  hasUninitializedParams(): boolean {
    atMost("LazyInstanceNorm2d.hasUninitializedParams", arguments, 0);
    return uninitializedOf(this).length > 0;
  }
  override resetParameters(): void {
    atMost("LazyInstanceNorm2d.resetParameters", arguments, 0);
    if (!this.hasUninitializedParams()) super.resetParameters();
  }
  initializeParameters(x: Tensor): void {
    atMost("LazyInstanceNorm2d.initializeParameters", arguments, 1);
    requireTensor("LazyInstanceNorm2d.initializeParameters", x);
    initialize(this, InstanceNorm2d, () => x.size(-3));
  }
  override forward(x: Tensor): Tensor {
    atMost("LazyInstanceNorm2d.forward", arguments, 1);
    if (this.numFeatures === 0 && "initializeParameters" in this) this.initializeParameters(x);
    return super.forward(x);
  }
}
/** {@link InstanceNorm3d} whose `numFeatures` is that of its first input. From then on it is an InstanceNorm3d. */
export class LazyInstanceNorm3d extends InstanceNorm3d implements LazyModule {
  constructor(...given: InstanceNormCall) {
    // Any number of features: nothing is made of it.
    super({ numFeatures: 1, ...readInstanceNorm(given, new.target.name) });
    this.numFeatures = 0;
  }
  protected override parameter(_features: number, options: FactoryOptions): Parameter {
    return lazyParameter(options);
  }
  protected override statistic(_features: number, options: FactoryOptions): Tensor {
    return lazyStatistic(options);
  }
  hasUninitializedParams(): boolean {
    atMost("LazyInstanceNorm3d.hasUninitializedParams", arguments, 0);
    return uninitializedOf(this).length > 0;
  }
  override resetParameters(): void {
    atMost("LazyInstanceNorm3d.resetParameters", arguments, 0);
    if (!this.hasUninitializedParams()) super.resetParameters();
  }
  initializeParameters(x: Tensor): void {
    atMost("LazyInstanceNorm3d.initializeParameters", arguments, 1);
    requireTensor("LazyInstanceNorm3d.initializeParameters", x);
    initialize(this, InstanceNorm3d, () => x.size(-4));
  }
  override forward(x: Tensor): Tensor {
    atMost("LazyInstanceNorm3d.forward", arguments, 1);
    if (this.numFeatures === 0 && "initializeParameters" in this) this.initializeParameters(x);
    return super.forward(x);
  }
}
