import { amp, NbitError, optim } from "@nbit/torch";
import type { nn, Tensor } from "@nbit/torch";
import { OWN_GRADIENTS, type GradientAccess } from "./gradient-access.js";
import type { GraphSupport } from "./graph-support.js";
import { LossScaling } from "./loss-scaling.js";
import type { BackwardParts, PrecisionStep } from "./precision.js";

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

/** Training under a dynamic loss scale: gradients are unscaled whenever a module's code can see them. */
export class ScaledTraining extends LossScaling {
  readonly scaler: amp.GradScaler;
  /** Null where the scaler is not enabled. */
  #unscaled: amp.UnscaledGradients | null;
  #module: nn.Module | null = null;
  #optimizers: readonly optim.Optimizer[] = [];
  /** Parameters with gradients that no optimizer has. */
  #others: readonly Tensor[] = [];
  /** Steps skipped in earlier runs. */
  #skippedBefore: number;

  constructor(scaler: amp.GradScaler, skippedBefore: number) {
    super();
    this.scaler = scaler;
    this.#skippedBefore = skippedBefore;
    this.#unscaled = this.#knowingNothing();
  }

  #knowingNothing(): amp.UnscaledGradients | null {
    return this.scaler.isEnabled() ? new amp.UnscaledGradients(this.scaler) : null;
  }

  /** A run begins: nothing is known of gradients of an earlier one. */
  connect(module: nn.Module, optimizers: readonly optim.Optimizer[]): void {
    this.#module = module;
    this.#optimizers = optimizers;
    const stepped = optimizers.flatMap((o) => o.paramGroups.flatMap((g) => g.params));
    const optimized = new Set(stepped.flatMap((p) => [p, optim.parameterOfMaster(p)]));
    this.#others = [...module.parameters()].filter((p) => p.isFloatingPoint() && !optimized.has(p));
    this.#skippedBefore = this.skippedSteps;
    this.#unscaled = this.#knowingNothing();
  }

  scaleLoss(loss: Tensor): Tensor {
    this.#unscaled?.expectScaled();
    return this.preview(loss);
  }
  override preview(loss: Tensor): Tensor {
    return this.scaler.scale(loss);
  }

  /** `scale` returns the loss to call backward on, as {@link scaleLoss}. */
  backward(scale: () => Tensor, { before, run, stepFollows }: BackwardParts): void {
    const unscaled = this.#unscaled;
    if (unscaled === null) {
      const loss = scale();
      before?.(loss);
      return run(loss);
    }
    this.unscale();
    const scaled = scale();
    unscaled.expectUnscaled();
    before?.(scaled);
    try {
      unscaled.beforeBackward(this.#optimizers, this.#others);
      run(scaled);
      if (stepFollows) return;
    } catch (error) {
      this.unscale();
      throw error;
    }
    this.unscale();
  }

  /** All gradients: an optimizer's own are not told apart. */
  unscale(): void {
    this.#unscaled?.settle(this.#optimizers, this.#others);
  }

  /** Null where the scaler is not enabled: step as without one. */
  step(optimizer: optim.Optimizer): PrecisionStep | null {
    const unscaled = this.#unscaled;
    if (unscaled === null) return null;
    this.unscale();
    const result = unscaled.step(optimizer);
    return new ScaledStep(result, () => this.#names(optimizer, result.nonFiniteIndices));
  }

  update(stepped: readonly optim.Optimizer[]): void {
    if (stepped.length === 0) return;
    try {
      this.#unscaled?.update();
    } catch (error) {
      throw error instanceof amp.LossScaleError ? this.#floorReached(error, stepped) : error;
    }
  }

  readonly gradients: GradientAccess = { ...OWN_GRADIENTS, cleared: (optimizer) => this.#unscaled?.cleared(optimizer) };

  readonly graphs: GraphSupport = { unsupportedReason: null, beginReplays: () => this.#unscaled?.beginRecording() };

  override get scale(): number {
    return this.scaler.getScale();
  }
  override get skipsOverflow(): boolean {
    return this.#unscaled !== null;
  }
  override get overflowing(): boolean {
    return !this.scaler.lazy && (this.#unscaled?.overflowing ?? false);
  }
  override get skippedSteps(): number {
    return this.#skippedBefore + (this.#unscaled?.skippedSteps ?? 0);
  }
  override get lastStepSkipped(): boolean {
    return this.scaler.latestSkipped;
  }
  override get readsLate(): boolean {
    return this.scaler.lazy;
  }
  override checkOutcome(due: boolean): void {
    if (!(due || this.scaler.nearFloor)) return;
    try {
      this.scaler.checkFloor(this.#optimizers);
    } catch (error) {
      throw error instanceof amp.LossScaleError ? this.#floorReached(error, this.#optimizers) : error;
    }
  }

  #floorReached(error: amp.LossScaleError, stepped: readonly optim.Optimizer[]): NbitError {
    const names = stepped.length === 1 && stepped[0] !== undefined ? this.#names(stepped[0], error.parameters) : [];
    if (names.length === 0) return error;
    const message = `precision "16-mixed": expected finite gradients at the smallest loss scale. Received: gradients that are not finite at scale ${this.scale}, of ${names.join(", ")}. The loss or a layer yields NaN or infinity: look there, or lower minScale.`;
    return new NbitError(message, error.code, { cause: error });
  }

  /** Names of parameters, from their positions over an optimizer's groups. */
  #names(optimizer: optim.Optimizer, indices: readonly number[]): string[] {
    if (indices.length === 0) return [];
    const names = new Map<Tensor, string>();
    for (const [name, parameter] of this.#module?.namedParameters() ?? []) names.set(parameter, name);
    const parameters = optimizer.paramGroups.flatMap((group) => group.params.map((p) => optim.parameterOfMaster(p)));
    return indices.map((i) => (parameters[i] === undefined ? undefined : names.get(parameters[i])) ?? `parameter ${i}`);
  }

  stateDict(): Record<string, unknown> {
    return { ...this.scaler.stateDict(), skippedSteps: this.skippedSteps };
  }
  loadStateDict(state: Record<string, unknown>): void {
    this.scaler.loadStateDict(this.#fromApex(state) ?? state);
    if (typeof state.skippedSteps === "number")
      this.#skippedBefore = state.skippedSteps - (this.#unscaled?.skippedSteps ?? 0);
  }

  /** APEX keeps a scale and its count only: the factors stay this scaler's own. */
  #fromApex(state: Record<string, unknown>): Record<string, unknown> | null {
    const inner = state.amp_scaling_state;
    const given: Record<string, unknown> = typeof inner === "object" && inner !== null ? { ...inner } : state;
    const first: unknown = given.loss_scaler0;
    if (typeof first !== "object" || first === null) return null;
    // A scale that did not move says nothing of this one.
    if (given.dynamic === false) return { ...this.scaler.stateDict() };
    if (!("loss_scale" in first) || !("unskipped" in first)) return null;
    return { ...this.scaler.stateDict(), scale: first.loss_scale, growthTracker: first.unskipped };
  }
}
