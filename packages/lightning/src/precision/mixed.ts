import { amp } from "@nbit/torch";
import type { Tensor, optim } from "@nbit/torch";
import { MisconfigurationError } from "../errors.js";
import { Precision } from "./precision.js";
import type { PrecisionDTypes, PrecisionStep } from "./precision.js";

export interface MixedPrecisionOptions {
  /** "16-mixed" (default) or "bf16-mixed". */
  readonly precision?: "16-mixed" | "bf16-mixed";
  /** Type of the device whose operators are autocast. Default "cpu". */
  readonly device?: string;
  /** A scaler, or the settings of one. float16 only; bfloat16 has float32's range and needs none. */
  readonly scaler?: amp.GradScaler | amp.GradScalerOptions;
}

/**
 * 16-mixed and bf16-mixed: parameters in float32; matrix operators compute in 16 bits, sensitive ones in float32.
 *
 * float16 gradients underflow below 6e-8, so its loss is multiplied by a dynamic scale before backward and gradients are divided
 * by it after; a step whose gradients are not finite is skipped and the scale halved. Weights are cast where they are used, so a
 * weight used twice gets its gradients summed in float32.
 */
export class MixedPrecision extends Precision {
  readonly name: "16-mixed" | "bf16-mixed";
  readonly dtypes: PrecisionDTypes;
  readonly scaler: amp.GradScaler | null;
  readonly #region: amp.AutocastOptions;
  readonly #unscaled = new Set<optim.Optimizer>();
  #stepped = false;

  constructor(options: MixedPrecisionOptions = {}) {
    super();
    const precision = options.precision ?? "16-mixed";
    if (precision !== "16-mixed" && precision !== "bf16-mixed") {
      throw new MisconfigurationError("MixedPrecision", 'precision to be "16-mixed" or "bf16-mixed"', precision, "The true precisions have no scaler and no autocast.", "ERR_PRECISION_PLUGIN");
    }
    if (options.scaler !== undefined && precision === "bf16-mixed") {
      throw new MisconfigurationError("MixedPrecision", 'no scaler with precision "bf16-mixed"', options.scaler, "bfloat16 has the range of float32: leave the scaler out.", "ERR_PRECISION_SCALER");
    }
    const deviceType = options.device ?? "cpu";
    const dtype = precision === "16-mixed" ? "float16" : "bfloat16";
    this.name = precision;
    this.dtypes = { parameters: "float32", compute: dtype, gradients: "float32", optimizerState: "float32", checkpoint: "float32" };
    this.#region = { deviceType, dtype, cacheEnabled: false };
    if (precision === "bf16-mixed") this.scaler = null;
    else this.scaler = options.scaler instanceof amp.GradScaler ? options.scaler : new amp.GradScaler({ device: deviceType, ...options.scaler });
  }

  override forward<T>(fn: () => T): T {
    return amp.autocast(this.#region, fn);
  }

  override scaleLoss(loss: Tensor): Tensor {
    return this.scaler === null ? loss : this.scaler.scale(loss);
  }

  override unscale(optimizer: optim.Optimizer): void {
    if (this.scaler === null || this.#unscaled.has(optimizer)) return;
    this.scaler.unscale_(optimizer);
    this.#unscaled.add(optimizer);
  }

  override step(optimizer: optim.Optimizer, closure?: () => Tensor): PrecisionStep {
    if (this.scaler === null) return super.step(optimizer, closure);
    const result = this.scaler.step(optimizer);
    this.#stepped = true;
    return result;
  }

  override update(): void {
    if (this.scaler === null || !this.#stepped) return;
    this.scaler.update();
    this.#stepped = false;
    this.#unscaled.clear();
  }

  override checkOptimizer(optimizer: optim.Optimizer, needsClosure: boolean): void {
    if (this.scaler === null || !needsClosure) return;
    throw new MisconfigurationError(
      `precision "16-mixed"`,
      "an optimizer that steps once per backward",
      optimizer,
      `${optimizer.constructor.name} evaluates the loss several times per step, which a loss scaler cannot follow. Use precision: "bf16" or 32, or another optimizer.`,
      "ERR_PRECISION_CLOSURE",
    );
  }

  override get lossScale(): number | null {
    return this.scaler === null ? null : this.scaler.getScale();
  }

  protected override get lossScaling(): string {
    return this.scaler === null ? "none: bfloat16 has the range of float32" : `dynamic, now ${this.scaler.getScale()}`;
  }

  override stateDict(): Record<string, unknown> | null {
    return this.scaler === null ? null : { ...this.scaler.stateDict() };
  }

  override loadStateDict(state: Record<string, unknown>): void {
    this.scaler?.loadStateDict(state);
  }
}
