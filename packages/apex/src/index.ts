/** @nbit/apex: NVIDIA APEX's automatic mixed precision, opt levels O0 to O3, as a second backend. */
export { Amp, ampOf, initialize, initializeSharded, type ScaleLossOptions } from "./amp.js";
export type { AmpState } from "./amp-state.js";
export { checkInitializeOptions, type InitializeOptions } from "./initialize-arguments.js";
export {
  levelWith,
  OPT_LEVELS,
  resolveOptLevel,
  type LossScale,
  type OptLevel,
  type OptLevelTable,
  type OptOverrides,
  type OptProperties,
} from "./opt-levels.js";
export { LossScaler, type LossScalerState } from "./loss-scaler.js";
export { disableCasts, floatFunction, halfFunction, promoteFunction } from "./functions.js";
export { o1Rules, registerFloatFunction, registerHalfFunction, registerPromoteFunction } from "./lists.js";
export { castModel, castTensors, isAffineBatchNorm } from "./casts.js";
