/** Layers as functions, by families; losses, attention and what is fused stand beside this folder. */
export * from "./affine.js";
export * from "./activation.js";
export * from "./dropout.js";
export {
  embedding,
  embeddingBag,
  type BagMode,
  type EmbeddingBagFunctionArguments,
  type EmbeddingFunctionArguments,
  type LookUpOptions,
} from "./embedding.js";
export { fold, unfold, type FoldOptions, type UnfoldOptions } from "./fold.js";
export {
  fractionalMaxPool2d,
  fractionalMaxPool2dWithIndices,
  fractionalMaxPool3d,
  fractionalMaxPool3dWithIndices,
  type FractionalPoolArguments,
  type FractionalPoolIndicesArguments,
  type FractionalPoolOptions,
  type Ratio,
} from "./fractional-pooling.js";
export * from "./grid.js";
export {
  interpolate,
  upsample,
  upsampleBilinear,
  upsampleNearest,
  type InterpolateArguments,
  type InterpolationMode,
  type UpsampleOptions,
} from "./interpolation.js";
export * from "./lp-pooling.js";
export {
  batchNorm,
  groupNorm,
  instanceNorm,
  layerNorm,
  localResponseNorm,
  normalize,
  rmsNorm,
  type BatchNormFunctionArguments,
  type GroupNormFunctionArguments,
  type InstanceNormFunctionArguments,
  type LayerNormFunctionArguments,
  type LocalResponseNormArguments,
  type NormalizeArguments,
  type RmsNormFunctionArguments,
} from "./normalization.js";
export * from "./padding.js";
export * from "./pooling.js";
export { type InplaceArguments, type InputArguments } from "./rows.js";
export * from "./shuffle.js";
export {
  gumbelSoftmax,
  logSoftmax,
  softmax,
  softmin,
  type GumbelSoftmaxArguments,
  type SoftmaxArguments,
} from "./softmax.js";
export * from "./unpooling.js";
export {
  bilinear,
  cosineSimilarity,
  oneHot,
  pairwiseDistance,
  pdist,
  type BilinearFunctionArguments,
  type CosineSimilarityOptions,
  type PairwiseDistanceOptions,
} from "./distance.js";
