/** What can go wrong with a loss scaler, each with its own message and code. */
import { NbitError } from "../errors.js";

/**
 * The scale reached its floor and gradients still overflow: they are not finite for a reason that scaling cannot cure.
 */
export class LossScaleError extends NbitError {
  /** Positions over an optimizer's groups. */
  readonly parameters: readonly number[];
  constructor(scale: number, parameters: readonly number[]) {
    super(
      `GradScaler.update: expected finite gradients at the smallest loss scale. Received: gradients that are not finite at scale ${scale}, of parameters ${parameters.join(", ")}. The loss or a layer yields NaN or infinity: look there, or lower minScale.`,
      "LOSS_SCALE_FLOOR",
    );
    this.parameters = parameters;
  }
}

const misuse = (code: string, message: string): NbitError => new NbitError(message, code);

export const notScaled = (fn: string): NbitError =>
  misuse(
    "SCALER_NOT_SCALED",
    `GradScaler.${fn}: expected scale(loss) first. Received: ${fn} before any loss was scaled. Call scaler.scale(loss).backward().`,
  );
export const noGradients = (): NbitError =>
  misuse(
    "SCALER_NO_GRADIENTS",
    "GradScaler: expected gradients. Received: an optimizer none of whose parameters has one. Call scaler.scale(loss).backward() first.",
  );
export const fp16Gradients = (i: number): NbitError =>
  misuse(
    "SCALER_FP16_GRADIENTS",
    `GradScaler.unscale_: expected gradients of float32 parameters. Received: a float16 gradient of parameter ${i}. Keep parameters in float32 and let autocast cast them, or use precision "16-true" without a scaler.`,
  );
export const bf16OnCuda = (i: number): NbitError =>
  misuse(
    "SCALER_BF16_GRADIENTS",
    `GradScaler.unscale_: expected gradients in float32 or float64 on CUDA. Received: a bfloat16 gradient of parameter ${i}. bfloat16 has float32's range: train it without a scaler.`,
  );
export const otherDevice = (i: number, of: string, scaler: string): NbitError =>
  misuse(
    "SCALER_DEVICE",
    `GradScaler.unscale_: expected gradients on the scaler's device, ${scaler}. Received: a gradient of parameter ${i} on ${of}. Make the scaler with new GradScaler({ device: ${JSON.stringify(of)} }).`,
  );
export const unscaledTwice = (): NbitError =>
  misuse(
    "SCALER_UNSCALED_TWICE",
    "GradScaler.unscale_: expected one unscale_ per step. Received: a second one since the last update(). Remove it.",
  );
export const unscaleAfterStep = (): NbitError =>
  misuse(
    "SCALER_UNSCALE_AFTER_STEP",
    "GradScaler.unscale_: expected unscale_ before step. Received: unscale_ after step. Swap them.",
  );
export const steppedTwice = (): NbitError =>
  misuse(
    "SCALER_STEPPED_TWICE",
    "GradScaler.step: expected one step per update. Received: a second step since the last update(). Call scaler.update() once per iteration.",
  );
export const closure = (): NbitError =>
  misuse(
    "SCALER_CLOSURE",
    "GradScaler.step: expected an optimizer that steps once per backward. Received: a closure. Under loss scaling the loss cannot be evaluated inside the step.",
  );
export const noStep = (): NbitError =>
  misuse(
    "SCALER_NO_STEP",
    "GradScaler.update: expected a step before. Received: update() without unscale_ or step since the last one.",
  );
