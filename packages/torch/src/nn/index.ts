export * as functional from "./functional.js";
export * as attention from "./attention.js";
export * as init from "./init.js";
export * as modules from "./modules.js";
export * as utils from "./utils/index.js";
export { snakeCase } from "./keys.js";
export {
  Module,
  type ForwardHook,
  type ForwardPreHook,
  type HookHandle,
  type IncompatibleKeys,
  type LoadResult,
  type StateDict,
} from "./module.js";
export type { BackwardHook, BackwardPreHook, ForwardHookWithKwargs } from "./call-hooks.js";
export { Parameter } from "./parameter.js";
export type { WeightCodes } from "./weight-codes.js";
import "./parameter-fields.js";
export * from "./layers.js";
export * from "./losses/index.js";
export * from "./recurrent/index.js";
export * from "./transformer/index.js";
