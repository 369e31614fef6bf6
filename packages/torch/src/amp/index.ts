export {
  autocast,
  observeAutocast,
  isAutocastAvailable,
  isAutocastEnabled,
  getAutocastDtype,
  type AutocastOptions,
} from "./autocast.js";
export { GradScaler } from "./grad-scaler.js";
export type { ScalerStep } from "./scaler-step.js";
export { UnscaledGradients } from "./unscaled-gradients.js";
export { LossScaleError } from "./scaler-errors.js";
export type { GradScalerOptions, GradScalerState } from "./scaler-state.js";
export { policy, AutocastPolicy, type PolicyRule, type PolicyRules } from "./policy.js";
export { policyTable, type AutocastRule } from "./policy-table.js";
export { customBwd, customFwd, type CustomForwardOptions } from "./custom.js";
export { FrozenCasts } from "./frozen.js";
export { WeightCasts, type Weights } from "./weight-casts.js";
