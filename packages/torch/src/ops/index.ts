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
export {
  atleast1d,
  atleast2d,
  atleast3d,
  blockDiag,
  broadcastTensors,
  cartesianProd,
  einsum,
  meshgrid,
  type MeshgridOptions,
} from "./varargs.js";
export {
  unique,
  uniqueConsecutive,
  type Unique,
  type UniqueArguments,
  type UniqueConsecutiveArguments,
} from "./unique.js";
export {
  conj,
  getDevice,
  isConj,
  isInference,
  isNeg,
  isSameSize,
  isSigned,
  isStorage,
  numel,
  saddmm,
  spmm,
  typename,
  unravelIndex,
  type SaddmmArguments,
  type UnravelIndexArguments,
} from "./small-functions.js";
export { lobpcg, type LobpcgArguments } from "./lobpcg.js";
export { pcaLowrank, svdLowrank, type PcaLowrankArguments, type SvdLowrankArguments } from "./low-rank.js";
export * as linalg from "./linalg.js";
export * as fft from "../generated/fft.js";
export * as special from "../generated/special.js";
export { aten, operators, operatorNames, type AtenOperator, type AtenResult } from "./aten.js";
export { Complex, type Scalar } from "./complex.js";
export type { Int, Ints, Layout, MemoryFormat, Tensors } from "./types.js";
