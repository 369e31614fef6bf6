/** From recorded steps to StableHLO. */
import "../lowerings/index.js";

export { lower } from "./lower.js";
export type { LoweredStep, ProgramArgument, ProgramResult } from "./lowered-step.js";
export type { LowerOptions } from "./options.js";
export type { Lowering, Operation, Out, Result } from "./operation.js";
export { coveredOperators, registerLowering } from "./registry.js";
export type { ShardOptions, SplitDim } from "./sharding.js";
