import { amp, atMost, checkOptions, device, type OptionNames, verbatim } from "@nbit/torch";
import type { Tensor, nn, optim } from "@nbit/torch";
import type { PrecisionDescription } from "../diagnostics/explain.js";
import { MisconfigurationError, misconfigured } from "../errors.js";
import type { PrecisionEntry } from "./entry.js";
import { allIn } from "./facts.js";
import type { PrecisionDTypes } from "./facts.js";
import type { GradientAccess } from "./gradient-access.js";
import type { GraphSupport } from "./graph-support.js";
import type { LossScaling } from "./loss-scaling.js";
import { ALONE, Precision } from "./precision.js";
import type { BackwardParts, PrecisionStep, RankExchange } from "./precision.js";
import { ScaledTraining } from "./scaled-training.js";
import { RunCasts } from "./weight-casts.js";

declare module "./names.js" {
  interface PrecisionNames {
    "16-mixed": 16 | "16";
    "bf16-mixed": "bf16";
  }
}

export interface MixedPrecisionOptions {
  /** "16-mixed" (default) or "bf16-mixed". */
  readonly precision?: "16-mixed" | "bf16-mixed";
  /** Type of the device whose operators are autocast. Default: the Trainer's; "cpu" without one. */
  readonly device?: string;
  /** A scaler, or the settings of one. float16 only; bfloat16 has float32's range and needs none. */
  readonly scaler?: amp.GradScaler | amp.GradScalerOptions;
  /**
   * Keep the 16-bit casts of weights until the weights change: each is cast once per optimizer step, all together,
   * instead of at every use in every batch of an accumulation window and of a validation. Results are the same to the
   * last bit. Costs two bytes per weight that matrix operators use, which `explain()` forecasts. Pays with
   * `accumulateGradBatches` and with weights that are used several times; with a fused Adam or AdamW on a GPU, whose step
   * writes the casts with the weights, always. Default: where such steps are recorded as CUDA graphs.
   */
  readonly cacheWeightCasts?: boolean;
}
const NAMES: OptionNames<MixedPrecisionOptions> = {
  precision: true,
  device: true,
  scaler: true,
  cacheWeightCasts: true,
};

const deviceTypeOf = (scaler: amp.GradScaler): string => device(scaler.options.device).type;

/**
 * 16-mixed and bf16-mixed: parameters in float32; matrix operators compute in 16 bits, sensitive ones in float32.
 *
 * float16 gradients underflow below 6e-8, so its loss is multiplied by a dynamic scale before backward and gradients
 * are divided by it after; a step whose gradients are not finite is skipped and the scale halved. Weights are cast
 * where they are used, so a weight used twice gets its gradients summed in float32.
 */
export class MixedPrecision extends Precision {
  readonly name: "16-mixed" | "bf16-mixed";
  readonly dtypes: PrecisionDTypes;
  readonly #options: MixedPrecisionOptions;
  /** Null in bf16-mixed, which scales nothing. */
  #scaled: ScaledTraining | null;
  #region: amp.AutocastOptions;
  #outside: amp.AutocastOptions;
  readonly #casts: RunCasts;

  constructor(options: MixedPrecisionOptions = {}) {
    super();
    checkOptions("MixedPrecision", options, NAMES, misconfigured("MixedPrecision", "ERR_PRECISION_PLUGIN"));
    atMost("MixedPrecision", arguments, 1);
    const precision = options.precision ?? "16-mixed";
    if (precision !== "16-mixed" && precision !== "bf16-mixed") {
      throw new MisconfigurationError(
        "MixedPrecision",
        'precision to be "16-mixed" or "bf16-mixed"',
        precision,
        "The true precisions have no scaler and no autocast.",
        "ERR_PRECISION_PLUGIN",
      );
    }
    if (options.scaler !== undefined && precision === "bf16-mixed") {
      throw new MisconfigurationError(
        "MixedPrecision",
        'no scaler with precision "bf16-mixed"',
        options.scaler,
        "bfloat16 has the range of float32: leave the scaler out.",
        "ERR_PRECISION_SCALER",
      );
    }
    const dtype = precision === "16-mixed" ? "float16" : "bfloat16";
    this.name = precision;
    this.dtypes = { ...allIn("float32"), compute: dtype };
    this.#options = options;
    this.#casts = new RunCasts("MixedPrecision", options.cacheWeightCasts, null);
    const deviceType =
      options.device ?? (options.scaler instanceof amp.GradScaler ? deviceTypeOf(options.scaler) : "cpu");
    this.#region = { deviceType, dtype, cacheEnabled: false };
    this.#outside = { deviceType, enabled: false };
    this.#scaled = this.#scaledOn(deviceType);
  }

  /** Null in bf16-mixed. */
  get scaler(): amp.GradScaler | null {
    return this.#scaled?.scaler ?? null;
  }

  #scaledOn(deviceType: string, skippedBefore = 0): ScaledTraining | null {
    if (this.name === "bf16-mixed") return null;
    const { scaler } = this.#options;
    const made = scaler instanceof amp.GradScaler ? scaler : new amp.GradScaler({ device: deviceType, ...scaler });
    return new ScaledTraining(made, skippedBefore);
  }

  override onDevice(deviceType: string): void {
    const made = this.#region.deviceType;
    if (made === deviceType) return;
    const { device, scaler } = this.#options;
    if (device !== undefined || scaler instanceof amp.GradScaler) {
      throw new MisconfigurationError(
        "Trainer",
        `a precision plugin for ${JSON.stringify(deviceType)}, the accelerator's device`,
        verbatim(`${device === undefined ? "a scaler" : this.constructor.name} for ${JSON.stringify(made)}`),
        `Leave ${device === undefined ? "its" : "the"} device out${device === undefined ? " by giving the scaler's settings instead of a scaler" : ": it is taken from the Trainer"}.`,
        "ERR_PRECISION_DEVICE",
      );
    }
    this.#region = { ...this.#region, deviceType };
    this.#outside = { ...this.#outside, deviceType };
    this.#scaled = this.#scaledOn(deviceType, this.skippedSteps);
  }

  override connect(
    module: nn.Module,
    optimizers: readonly optim.Optimizer[],
    ranks: RankExchange = ALONE,
    recorded = false,
  ): void {
    super.connect(module, optimizers, ranks, recorded);
    if (this.scaler !== null) this.scaler.reduceFoundInf = ranks.reduceFoundInf;
    this.#casts.begin(module, this.#region.deviceType ?? "cpu", optimizers, recorded);
    this.#scaled?.connect(module, optimizers);
  }

  override endRun(): void {
    this.#casts.end();
  }

  /** Bytes of the casts that are kept now: of `cacheWeightCasts`, while a run lasts. */
  get weightCastBytes(): number {
    return this.#casts.bytes;
  }

  /** How many of them were cast by a pass of their own so far, while a run lasts. */
  get weightCastsMade(): number {
    return this.#casts.made;
  }

  override forward<T>(fn: () => T): T {
    return amp.autocast(this.#region, () => this.#casts.run(fn));
  }
  override outside<T>(fn: () => T): T {
    return amp.autocast(this.#outside, fn);
  }

  override scaleLoss(loss: Tensor): Tensor {
    return this.#scaled === null ? loss : this.#scaled.scaleLoss(loss);
  }
  override backward(loss: Tensor, parts: BackwardParts): void {
    if (this.#scaled === null) super.backward(loss, parts);
    else this.#scaled.backward(() => this.scaleLoss(loss), parts);
  }
  override unscale(_optimizer: optim.Optimizer): void {
    this.#scaled?.unscale();
  }
  override step(optimizer: optim.Optimizer, closure?: () => Tensor): PrecisionStep {
    return this.#scaled?.step(optimizer) ?? super.step(optimizer, closure);
  }
  override update(stepped: readonly optim.Optimizer[] = this.optimizers): void {
    this.#scaled?.update(stepped);
  }
  override checkOptimizer(optimizer: optim.Optimizer, needsClosure: boolean): void {
    if (this.#scaled === null || !needsClosure) return;
    throw new MisconfigurationError(
      `precision "16-mixed"`,
      "an optimizer that steps once per backward",
      optimizer,
      `${optimizer.constructor.name} evaluates the loss several times per step, which a loss scaler cannot follow. Use precision: "bf16" or 32, or another optimizer.`,
      "ERR_PRECISION_CLOSURE",
    );
  }

  override get scaling(): LossScaling {
    return this.#scaled ?? super.scaling;
  }
  override get gradients(): GradientAccess {
    return this.#scaled?.gradients ?? super.gradients;
  }
  override get graphs(): GraphSupport {
    return this.#scaled?.graphs ?? super.graphs;
  }

  override stateDict(): Record<string, unknown> | null {
    return this.#scaled?.stateDict() ?? null;
  }
  /** Also reads the scaler of a PyTorch or Lightning checkpoint, and that of a run under APEX. */
  override loadStateDict(state: Record<string, unknown>): void {
    this.#scaled?.loadStateDict(state);
  }

  override describe(): PrecisionDescription {
    return {
      lossScaling:
        this.#scaled === null ? "none: bfloat16 has the range of float32" : `dynamic, now ${this.#scaled.scale}`,
      memory: (module) => ({ dtypes: this.dtypes, casts: this.#casts.forecast(module) }),
    };
  }
}

export const float16Mixed: PrecisionEntry<"16-mixed"> = {
  name: "16-mixed",
  aliases: [16, "16"],
  otherNames: ["fp16", "float16", "half", "mixed"],
  dtypes: { ...allIn("float32"), compute: "float16" },
  needs: "float16",
  uniformWeights: true,
  scalesLoss: true,
  label: "float16 mixed",
  summary: "autocast to float16 with loss scaling",
  plugin: MixedPrecision,
  create: () => new MixedPrecision({ precision: "16-mixed" }),
};

export const bfloat16Mixed: PrecisionEntry<"bf16-mixed"> = {
  name: "bf16-mixed",
  aliases: ["bf16"],
  otherNames: ["bfloat16"],
  dtypes: { ...allIn("float32"), compute: "bfloat16" },
  needs: "bfloat16",
  uniformWeights: true,
  scalesLoss: false,
  label: "bfloat16 mixed",
  summary: "autocast to bfloat16",
  plugin: MixedPrecision,
  create: () => new MixedPrecision({ precision: "bf16-mixed" }),
};
