export { Optimizer } from "./optimizer.js";
export type { OptimizerState, ParamGroup, ParameterState, ParamsLike, StateFields, StateValue } from "./state.js";
export { likeParameter, requireNonNegative, stepCount } from "./adopt-state.js";
export type { Refuse, SavedParameter } from "./saved-state.js";
export { fromTorch, toTorch } from "./torch-state.js";
export { SGD, type SGDOptions } from "./sgd.js";
export { Adam, AdamW, type AdamOptions } from "./adam.js";
export { LBFGS, type LBFGSOptions } from "./lbfgs.js";
export {
  clipGradNorm_ as clipGradNorm,
  clipGradValue_ as clipGradValue,
  getTotalNorm,
  type ClipNormOptions,
} from "./clip.js";
export { LRScheduler } from "./lr/scheduler.js";
export {
  ConstantLR,
  CosineAnnealingLR,
  ExponentialLR,
  LambdaLR,
  LinearLR,
  MultiStepLR,
  PolynomialLR,
  StepLR,
} from "./lr/schedulers.js";
export { ReduceLROnPlateau, type PlateauOptions } from "./lr/plateau.js";
export type { Rounding, RoundingOptions } from "./rounding.js";
export { numelOfWhole, parameterOfMaster, setMaster, setShard, shardOf, type ShardOf } from "./master-weights.js";
export type { Shards } from "./shards.js";
export { setParameterName } from "./parameter-names.js";
export { gradientValues, isFiniteGradient } from "./gradient-values.js";
