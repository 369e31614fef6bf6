/** Layers without recurrence and attention, and containers of modules. */
export { ModuleList, Sequential, type Layer, type NamedLayers } from "./containers.js";
export { ModuleDict } from "./module-dict.js";
export { ParameterDict, ParameterList, type Held } from "./parameter-list.js";
export type { Pairs } from "./pairs.js";
export type { FactoryOptions } from "./factory.js";
export type { OutputSize, Size } from "./sizes.js";
export {
  Bilinear,
  Identity,
  Linear,
  type BilinearArguments,
  type LinearArguments,
  type LinearOptions,
} from "./linear.js";
export { Conv1d, Conv2d, Conv3d, type ConvArguments, type ConvOptions, type ConvPaddingMode } from "./conv.js";
export {
  ConvTranspose1d,
  ConvTranspose2d,
  ConvTranspose3d,
  type ConvTransposeArguments,
  type ConvTransposeOptions,
} from "./conv-transpose.js";
export { BatchNorm1d, BatchNorm2d, BatchNorm3d, type BatchNormArguments, type BatchNormOptions } from "./batch-norm.js";
export { SyncBatchNorm, type SyncBatchNormArguments, type SyncBatchNormOptions } from "./sync-batch-norm.js";
export {
  InstanceNorm1d,
  InstanceNorm2d,
  InstanceNorm3d,
  type InstanceNormArguments,
  type InstanceNormOptions,
} from "./instance-norm.js";
export {
  GroupNorm,
  LayerNorm,
  RMSNorm,
  type GroupNormArguments,
  type GroupNormOptions,
  type LayerNormArguments,
  type LayerNormOptions,
  type RMSNormArguments,
  type RMSNormOptions,
} from "./layer-norm.js";
export { CrossMapLRN2d, LocalResponseNorm, type LocalResponseNormOptions } from "./local-response-norm.js";
export { Embedding, type EmbeddingArguments, type EmbeddingOptions } from "./embedding.js";
export { EmbeddingBag, type EmbeddingBagArguments } from "./embedding-bag.js";
export {
  AlphaDropout,
  Dropout,
  Dropout1d,
  Dropout2d,
  Dropout3d,
  FeatureAlphaDropout,
  type DropoutOptions,
} from "./dropout.js";
export * from "./pooling.js";
export * from "./adaptive-pooling.js";
export * from "./fractional-pooling.js";
export * from "./lp-pooling.js";
export * from "./unpooling.js";
export * from "./padding.js";
export * from "./upsampling.js";
export * from "./shuffle.js";
export * from "./distance.js";
export * from "./activation.js";
export * from "./activation-parametric.js";
export * from "./softmax.js";
export { Buffer, type BufferArguments } from "./buffer.js";
export {
  UninitializedBuffer,
  UninitializedParameter,
  type MaterializeArguments,
  type UninitializedBufferOptions,
  type UninitializedOptions,
} from "./uninitialized.js";
export type { LazyModule } from "./lazy.js";
export { LazyLinear, type LazyLinearArguments } from "./lazy-linear.js";
export {
  LazyConv1d,
  LazyConv2d,
  LazyConv3d,
  LazyConvTranspose1d,
  LazyConvTranspose2d,
  LazyConvTranspose3d,
  type LazyConvArguments,
  type LazyConvTransposeArguments,
} from "./lazy-conv.js";
export {
  LazyBatchNorm1d,
  LazyBatchNorm2d,
  LazyBatchNorm3d,
  LazyInstanceNorm1d,
  LazyInstanceNorm2d,
  LazyInstanceNorm3d,
} from "./lazy-norm.js";
