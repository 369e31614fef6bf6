/** Losses as functions: one set, under PyTorch's names in `nn.functional`, and under ATen's at the top level. */
export * from "./binary.js";
export * from "./classes.js";
export * from "./differences.js";
export * from "./likelihoods.js";
export * from "./linear.js";
export * from "./rankings.js";
export type { NewReductionOptions, Reduction, ReductionOptions } from "./reduction.js";
