/** Layers as functions, with PyTorch's argument names in camelCase. */
export * from "./functional/index.js";
export { scaledDotProductAttention } from "../ops/index.js";

export { biasGelu, type BiasGeluOptions } from "./bias-gelu.js";
export { batchNormRelu, batchNormReluForBranches, type BatchNormReluOptions } from "./fused-batch-norm.js";
export { splitHeads, type Heads, type SplitHeadsOptions } from "./split-heads.js";
export { addLayerNorm, addRmsNorm, type AddNormOptions, type NormPair } from "./fused-norm.js";
export {
  fusedLinearCrossEntropy,
  linearCrossEntropyReference,
  type FusedLinearCrossEntropyOptions,
} from "./fused-linear-cross-entropy.js";

export {
  binaryCrossEntropy,
  binaryCrossEntropyWithLogits,
  cosineEmbeddingLoss,
  crossEntropy,
  ctcLoss,
  gaussianNllLoss,
  hingeEmbeddingLoss,
  huberLoss,
  klDiv,
  l1Loss,
  linearCrossEntropy,
  marginRankingLoss,
  mseLoss,
  multilabelMarginLoss,
  multilabelSoftMarginLoss,
  multiMarginLoss,
  nllLoss,
  poissonNllLoss,
  smoothL1Loss,
  softMarginLoss,
  tripletMarginLoss,
  tripletMarginWithDistanceLoss,
  type BCEWithLogitsOptions,
  type CrossEntropyOptions,
  type CTCOptions,
  type DifferenceOptions,
  type Distance,
  type GaussianNLLOptions,
  type HuberOptions,
  type KLDivOptions,
  type Lengths,
  type LinearCrossEntropyOptions,
  type MarginOptions,
  type MultiMarginOptions,
  type NLLOptions,
  type PoissonNLLOptions,
  type Reduction,
  type ReductionOptions,
  type SmoothL1Options,
  type TripletOptions,
  type TripletWithDistanceOptions,
  type WeightedOptions,
} from "../ops/losses/index.js";

export { multiHeadAttentionForward, type MultiHeadAttentionForwardArguments } from "./transformer/attention-forward.js";
