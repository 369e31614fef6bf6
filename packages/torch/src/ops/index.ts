/** Every public operator, in camelCase; `aten` reaches the rest by schema name. */
import "./bind.js";

export * from "../generated/functions.js";
export {
  binaryCrossEntropy,
  binaryCrossEntropyWithLogits,
  cosineEmbeddingLoss,
  crossEntropy as crossEntropyLoss,
  ctcLoss,
  hingeEmbeddingLoss,
  huberLoss,
  klDiv,
  l1Loss,
  marginRankingLoss,
  mseLoss,
  multilabelMarginLoss,
  multiMarginLoss,
  nllLoss,
  poissonNllLoss,
  smoothL1Loss,
  softMarginLoss,
  tripletMarginLoss,
} from "./losses/index.js";
export { full } from "./full.js";
export { broadcastShapes } from "./shapes.js";
export * as linalg from "../generated/linalg.js";
export * as fft from "../generated/fft.js";
export * as special from "../generated/special.js";
export { aten, operators, operatorNames, type AtenOperator, type AtenResult } from "./aten.js";
export { Complex, type Scalar } from "./complex.js";
export type { Int, Ints, Layout, MemoryFormat, Tensors } from "./types.js";
