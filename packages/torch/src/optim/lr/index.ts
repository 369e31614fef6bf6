/** PyTorch's `torch.optim.lr_scheduler`. */
export { LRScheduler, type SchedulerArguments } from "./scheduler.js";
export {
  ConstantLR,
  CosineAnnealingLR,
  ExponentialLR,
  LambdaLR,
  LinearLR,
  MultiplicativeLR,
  MultiStepLR,
  PolynomialLR,
  StepLR,
  type ConstantArguments,
  type CosineArguments,
  type ExponentialArguments,
  type LambdaArguments,
  type LinearArguments,
  type LrLambda,
  type MultiStepArguments,
  type PolynomialArguments,
  type StepLRArguments,
} from "./schedulers.js";
export { ChainedScheduler, SequentialLR, type ChainedArguments, type SequentialArguments } from "./composed.js";
export { CyclicLR, type CyclicArguments, type ScaleFn } from "./cyclic.js";
export { OneCycleLR, type OneCycleArguments } from "./one-cycle.js";
export { ReduceLROnPlateau, type PlateauArguments, type PlateauOptions } from "./plateau.js";
export { CosineAnnealingWarmRestarts, type WarmRestartsArguments } from "./warm-restarts.js";
