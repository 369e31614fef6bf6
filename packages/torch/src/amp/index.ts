export { autocast, isAutocastEnabled, getAutocastDtype, type AutocastOptions } from "./autocast.js";
export { GradScaler, LossScaleError, type GradScalerOptions, type GradScalerState, type ScalerStep } from "./grad-scaler.js";
export { policy, AutocastPolicy, type PolicyRule, type PolicyRules } from "./policy.js";
export { policyTable, type AutocastRule } from "./policy-table.js";
