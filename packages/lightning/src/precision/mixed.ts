import { amp, atMost, checkOptions, device, NbitError, type OptionNames, verbatim } from "@nbit/torch";
import type { Tensor, nn, optim } from "@nbit/torch";
import type { PrecisionDescription } from "../diagnostics/explain.js";
import type { MemoryLayout } from "../diagnostics/memory.js";
import { MisconfigurationError, misconfigured } from "../errors.js";
import type { PrecisionEntry } from "./entry.js";
import { Precision } from "./precision.js";
import { allIn } from "./facts.js";
import type { BackwardParts, PrecisionStep } from "./precision.js";
import type { PrecisionDTypes } from "./facts.js";
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
   * `accumulateGradBatches` and with weights that are used several times. Default false.
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

/** A scaler's step, with names. */
class ScaledStep implements PrecisionStep {
  readonly #step: amp.ScalerStep;
  readonly #names: () => readonly string[];

  constructor(step: amp.ScalerStep, names: () => readonly string[]) {
    this.#step = step;
    this.#names = names;
  }
  get stepped(): boolean {
    return this.#step.stepped;
  }
  get lossScale(): number {
    return this.#step.lossScale;
  }
  lend(): Tensor | null {
    return this.#step.lend?.() ?? null;
  }
  get nonFinite(): readonly string[] | undefined {
    return this.stepped ? undefined : this.#names();
  }
}

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
  #scaler: amp.GradScaler | null;
  #region: amp.AutocastOptions;
  #outside: amp.AutocastOptions;
  /** Null where nothing is scaled. */
  #gradients: amp.TrueGradients | null;
  /** Parameters with gradients that no optimizer has. */
  #others: readonly Tensor[] = [];
  /** Steps skipped in earlier runs. */
  #skippedBefore = 0;
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
    this.#casts = new RunCasts("MixedPrecision", options.cacheWeightCasts);
    const deviceType =
      options.device ?? (options.scaler instanceof amp.GradScaler ? deviceTypeOf(options.scaler) : "cpu");
    this.#region = { deviceType, dtype, cacheEnabled: false };
    this.#outside = { deviceType, enabled: false };
    this.#scaler = this.#makeScaler(deviceType);
    this.#gradients = this.#trueGradients();
  }

  /** Null in bf16-mixed. */
  get scaler(): amp.GradScaler | null {
    return this.#scaler;
  }

  #makeScaler(deviceType: string): amp.GradScaler | null {
    if (this.name === "bf16-mixed") return null;
    const { scaler } = this.#options;
    return scaler instanceof amp.GradScaler ? scaler : new amp.GradScaler({ device: deviceType, ...scaler });
  }

  #trueGradients(): amp.TrueGradients | null {
    return this.#scaler === null || !this.#scaler.isEnabled() ? null : new amp.TrueGradients(this.#scaler);
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
    this.#skippedBefore = this.skippedSteps;
    this.#scaler = this.#makeScaler(deviceType);
    this.#gradients = this.#trueGradients();
  }

  override connect(module: nn.Module, optimizers: readonly optim.Optimizer[]): void {
    super.connect(module, optimizers);
    this.#casts.begin(module, this.#region.deviceType ?? "cpu");
    const optimized = new Set(optimizers.flatMap((o) => o.paramGroups.flatMap((g) => g.params)));
    this.#others = [...module.parameters()].filter((p) => p.isFloatingPoint() && !optimized.has(p));
    this.#skippedBefore = this.skippedSteps;
    this.#gradients = this.#trueGradients(); // nothing is known of gradients of an earlier run
  }

  override endRun(): void {
    this.#casts.end();
  }

  /** Bytes of the casts that are kept now: of `cacheWeightCasts`, while a run lasts. */
  get weightCastBytes(): number {
    return this.#casts.bytes;
  }

  override forward<T>(fn: () => T): T {
    return amp.autocast(this.#region, () => this.#casts.run(fn));
  }

  override memoryLayout(module: nn.Module): MemoryLayout {
    return { dtypes: this.dtypes, casts: this.#casts.forecast(module) };
  }

  override outside<T>(fn: () => T): T {
    return amp.autocast(this.#outside, fn);
  }

  override scaleLoss(loss: Tensor): Tensor {
    this.#gradients?.expectScaled();
    return this.previewLoss(loss);
  }
  override previewLoss(loss: Tensor): Tensor {
    return this.scaler === null ? loss : this.scaler.scale(loss);
  }

  override backward(loss: Tensor, { before, run, stepFollows }: BackwardParts): void {
    const gradients = this.#gradients;
    if (gradients === null) return super.backward(loss, { before, run, stepFollows });
    gradients.settle(this.optimizers, this.#others);
    const scaled = this.scaleLoss(loss);
    gradients.expectTrue();
    before?.(scaled);
    try {
      gradients.beforeBackward(this.optimizers, this.#others);
      run(scaled);
      if (stepFollows) return;
    } catch (error) {
      gradients.settle(this.optimizers, this.#others);
      throw error;
    }
    gradients.settle(this.optimizers, this.#others);
  }

  override unscale(_optimizer: optim.Optimizer): void {
    this.#gradients?.settle(this.optimizers, this.#others);
  }

  override cleared(optimizer: optim.Optimizer): void {
    this.#gradients?.cleared(optimizer);
  }

  override step(optimizer: optim.Optimizer, closure?: () => Tensor): PrecisionStep {
    const gradients = this.#gradients;
    if (gradients === null) return super.step(optimizer, closure);
    gradients.settle(this.optimizers, this.#others);
    const result = gradients.step(optimizer);
    return new ScaledStep(result, () => this.#names(optimizer, result.nonFiniteIndices));
  }

  override update(stepped: readonly optim.Optimizer[] = this.optimizers): void {
    if (stepped.length === 0) return;
    try {
      this.#gradients?.update();
    } catch (error) {
      throw error instanceof amp.LossScaleError ? this.#floorReached(error, stepped) : error;
    }
  }

  override checkOutcome(due: boolean): void {
    if (this.scaler === null || !(due || this.scaler.nearFloor)) return;
    try {
      this.scaler.checkFloor(this.optimizers);
    } catch (error) {
      throw error instanceof amp.LossScaleError ? this.#floorReached(error, this.optimizers) : error;
    }
  }

  #floorReached(error: amp.LossScaleError, stepped: readonly optim.Optimizer[]): NbitError {
    const names = stepped.length === 1 && stepped[0] !== undefined ? this.#names(stepped[0], error.parameters) : [];
    if (names.length === 0) return error;
    const message = `precision "16-mixed": expected finite gradients at the smallest loss scale. Received: gradients that are not finite at scale ${this.scaler?.getScale()}, of ${names.join(", ")}. The loss or a layer yields NaN or infinity: look there, or lower minScale.`;
    return new NbitError(message, error.code, { cause: error });
  }

  /** Names of parameters, from their positions over an optimizer's groups. */
  #names(optimizer: optim.Optimizer, indices: readonly number[]): string[] {
    if (indices.length === 0) return [];
    const names = new Map<Tensor, string>();
    if (this.module !== null) for (const [name, parameter] of this.module.namedParameters()) names.set(parameter, name);
    const parameters = optimizer.paramGroups.flatMap((group) => group.params);
    return indices.map((i) => (parameters[i] === undefined ? undefined : names.get(parameters[i])) ?? `parameter ${i}`);
  }

  override get skippedSteps(): number {
    return this.#skippedBefore + (this.#gradients?.skippedSteps ?? 0);
  }

  override get skipsOverflow(): boolean {
    return this.#gradients !== null;
  }
  override get readsLate(): boolean {
    return this.scaler?.lazy ?? false;
  }

  override get lastStepSkipped(): boolean {
    return this.scaler?.latestSkipped ?? false;
  }

  override beginReplays(): void {
    this.#gradients?.beginRecording();
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

  override describe(): PrecisionDescription {
    return {
      lossScaling:
        this.scaler === null ? "none: bfloat16 has the range of float32" : `dynamic, now ${this.scaler.getScale()}`,
    };
  }

  override stateDict(): Record<string, unknown> | null {
    return this.scaler === null ? null : { ...this.scaler.stateDict(), skippedSteps: this.skippedSteps };
  }

  /** Also reads the scaler of a PyTorch or Lightning checkpoint, and that of a run under APEX. */
  override loadStateDict(state: Record<string, unknown>): void {
    this.scaler?.loadStateDict(this.#fromApex(state) ?? state);
    if (typeof state.skippedSteps === "number")
      this.#skippedBefore = state.skippedSteps - (this.#gradients?.skippedSteps ?? 0);
  }

  /** APEX keeps a scale and its count only: the factors stay this scaler's own. */
  #fromApex(state: Record<string, unknown>): Record<string, unknown> | null {
    const inner = state.amp_scaling_state;
    const given: Record<string, unknown> = typeof inner === "object" && inner !== null ? { ...inner } : state;
    const first: unknown = given.loss_scaler0;
    // A scale that did not move says nothing of this one.
    if (this.scaler !== null && typeof first === "object" && first !== null && given.dynamic === false)
      return { ...this.scaler.stateDict() };
    if (
      this.scaler === null ||
      typeof first !== "object" ||
      first === null ||
      !("loss_scale" in first) ||
      !("unskipped" in first)
    )
      return null;
    return { ...this.scaler.stateDict(), scale: first.loss_scale, growthTracker: first.unskipped };
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
