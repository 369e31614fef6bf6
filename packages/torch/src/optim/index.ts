export {
  Optimizer,
  registerOptimizerStepPostHook,
  registerOptimizerStepPreHook,
  type LoadStateDictPostHook,
  type LoadStateDictPreHook,
  type OptimizerPostHook,
  type OptimizerPreHook,
  type StateDictPostHook,
  type StateDictPreHook,
} from "./optimizer.js";
export type { OptimizerState, ParamGroup, ParameterState, ParamsLike, StateFields, StateValue } from "./state.js";
export { likeParameter, requireNonNegative, stepCount } from "./adopt-state.js";
export type { Refuse, SavedParameter } from "./saved-state.js";
export { fromTorch, toTorch } from "./torch-state.js";
export { Adadelta, type AdadeltaArguments } from "./adadelta.js";
export { Adafactor, type AdafactorArguments } from "./adafactor.js";
export { Adagrad, type AdagradArguments } from "./adagrad.js";
export { Adamax, type AdamaxArguments } from "./adamax.js";
export { ASGD, type ASGDArguments } from "./asgd.js";
export { Muon, type MuonArguments } from "./muon.js";
export { NAdam, type NAdamArguments } from "./nadam.js";
export { RAdam, type RAdamArguments } from "./radam.js";
export { RMSprop, type RMSpropArguments } from "./rmsprop.js";
export { Rprop, type RpropArguments } from "./rprop.js";
export { SparseAdam, type SparseAdamArguments } from "./sparse-adam.js";
export type { CapturableOptions, ComputeOptions } from "./common-options.js";
export type { StateDictHookOptions, StepArguments, StepOptions } from "./step-hooks.js";
export { SGD, type SGDArguments, type SGDOptions } from "./sgd.js";
export { Adam, AdamW, type AdamArguments, type AdamOptions, type AdamWArguments } from "./adam.js";
export { LBFGS, type LBFGSArguments, type LBFGSOptions } from "./lbfgs.js";
export {
  clipGradNorm_ as clipGradNorm,
  clipGradValue_ as clipGradValue,
  getTotalNorm,
  type ClipNormOptions,
} from "./clip.js";
export * as lrScheduler from "./lr/index.js";
export * from "./lr/index.js";
export * as swaUtils from "./swa/index.js";
export type { Rounding, RoundingOptions } from "./rounding.js";
export { numelOfWhole, parameterOfMaster, setMaster, setShard, shardOf, type ShardOf } from "./master-weights.js";
export type { Shards } from "./shards.js";
export { setParameterName } from "./parameter-names.js";
export { gradientValues, isFiniteGradient } from "./gradient-values.js";
