/** `func`: modules as functions of their tensors. */
export { functionalCall, type FunctionalCallArguments, type NamedTensors } from "../nn/utils/stateless.js";
export { stackModuleState } from "./stack-module-state.js";
