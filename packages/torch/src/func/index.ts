/** `func`: functions of functions, and modules as functions of their tensors. */
export type { Argnums } from "./argnums.js";
export { replaceAllBatchNormModules_ } from "./batch-norm.js";
export { debugUnwrap, type DebugUnwrapOptions } from "./debug-unwrap.js";
export {
  jacfwd,
  jvp,
  linearize,
  type JacfwdArguments,
  type JacfwdCall,
  type JvpArguments,
  type JvpCall,
} from "./forward.js";
export {
  hessian,
  jacrev,
  type HessianArguments,
  type HessianCall,
  type JacrevArguments,
  type JacrevCall,
} from "./jacobians.js";
export { rearrange } from "./rearrange.js";
export {
  grad,
  gradAndValue,
  vjp,
  type AuxOptions,
  type GradArguments,
  type GradCall,
  type VjpFunction,
} from "./reverse.js";
export { functionalCall, type FunctionalCallArguments, type NamedTensors } from "../nn/utils/stateless.js";
export { stackModuleState } from "./stack-module-state.js";
export { vmap, type Dims, type Randomness, type VmapArguments, type VmapCall } from "./vmap.js";
