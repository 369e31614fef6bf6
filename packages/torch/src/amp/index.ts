export { autocast, isAutocastEnabled, getAutocastDtype, type AutocastOptions } from "./autocast.js";
export { GradScaler, LossScaleError, type GradScalerOptions, type GradScalerState, type ScalerStep } from "./grad-scaler.js";
