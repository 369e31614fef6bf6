export { Optimizer, type OptimizerState, type ParamGroup, type ParameterState, type ParamsLike } from "./optimizer.js";
export { SGD, type SGDOptions } from "./sgd.js";
export { Adam, AdamW, type AdamOptions } from "./adam.js";
export { LBFGS, type LBFGSOptions } from "./lbfgs.js";
export { clipGradNorm, clipGradValue, getTotalNorm, type ClipNormOptions } from "./clip.js";
export { LRScheduler } from "./lr/scheduler.js";
export { ConstantLR, CosineAnnealingLR, ExponentialLR, LambdaLR, LinearLR, MultiStepLR, PolynomialLR, StepLR } from "./lr/schedulers.js";
export { ReduceLROnPlateau, type PlateauOptions } from "./lr/plateau.js";
export type { Rounding, RoundingOptions } from "./rounding.js";
