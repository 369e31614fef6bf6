export * as functional from "./functional.js";
export * as init from "./init.js";
export * as utils from "./utils/index.js";
export { snakeCase } from "./keys.js";
export {
  Module,
  type ForwardHook,
  type ForwardPreHook,
  type HookHandle,
  type IncompatibleKeys,
  type LoadResult,
  type StateDict,
} from "./module.js";
export type { BackwardHook, BackwardPreHook, ForwardHookWithKwargs } from "./call-hooks.js";
export { Parameter } from "./parameter.js";
export type { WeightCodes } from "./weight-codes.js";
export { Sequential, ModuleList, Flatten } from "./containers.js";
export { Linear, Identity, type FactoryOptions, type LinearOptions } from "./linear.js";
export { Conv1d, Conv2d, Conv3d, type ConvOptions } from "./conv.js";
export { BatchNorm1d, BatchNorm2d, BatchNorm3d, type BatchNormOptions } from "./batch-norm.js";
export { SyncBatchNorm, type SyncBatchNormOptions } from "./sync-batch-norm.js";
export { LayerNorm, RMSNorm, GroupNorm, type LayerNormOptions } from "./layer-norm.js";
export { Embedding, type EmbeddingOptions } from "./embedding.js";
export { Dropout, Dropout1d, Dropout2d, Dropout3d, AlphaDropout } from "./dropout.js";
export * from "./pooling.js";
export * from "./activation.js";
export * from "./losses/index.js";
export * from "./recurrent/index.js";
