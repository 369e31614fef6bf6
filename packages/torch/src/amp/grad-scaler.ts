/** Dynamic loss scaling: keeps float16 gradients from underflowing, and skips the steps that overflow. */
import { noGrad } from "../autograd/modes.js";
import { ArgumentError } from "../errors.js";
import { full } from "../ops/index.js";
import { LBFGS } from "../optim/lbfgs.js";
import type { Optimizer } from "../optim/optimizer.js";
import { elementsOf } from "../read-once.js";
import { isTensor } from "../tensor/handle.js";
import { scope } from "../tensor/scope.js";
import type { Tensor } from "../tensor/tensor.js";
import { foundOf, nonFiniteOf, ScalerCore } from "./scaler-core.js";
import * as errors from "./scaler-errors.js";
import { callable, orNull } from "../kinds.js";
import { atMost, checkArguments, optionsFrom } from "../options.js";
import type { Call } from "../signature.js";
import type { DeviceLike } from "../tensor/device.js";
import {
  SCALER_NAMES,
  checkFactor,
  readScalerState,
  resolveScalerOptions,
  type Factor,
  type GradScalerOptions,
  type GradScalerState,
  type ResolvedScalerOptions,
} from "./scaler-state.js";
import { ScalerStages } from "./scaler-stages.js";
import type { ScalerStep } from "./scaler-step.js";

/** `GradScaler("cuda", { initScale })`, `GradScaler({ device: "cuda" })`. */
export type GradScalerCall =
  | Call<
      GradScalerOptions,
      ["device", "initScale", "growthFactor", "backoffFactor", "growthInterval", "enabled"],
      [
        device: DeviceLike,
        initScale?: number,
        growthFactor?: number,
        backoffFactor?: number,
        growthInterval?: number,
        enabled?: boolean,
      ]
    >
  | readonly [options?: GradScalerOptions];

/**
 * scale(loss).backward(); unscale_(optimizer) (optional, before clipping); step(optimizer); update().
 *
 * The scale starts at 65536, is halved when a gradient is not finite (and that step skipped), and doubled after 2000
 * good steps in a row. State is two tensors, float32 and int32; with a fused optimizer nothing waits for the device.
 *
 * Per optimizer a step goes ready → unscaled → stepped; `update` starts over. `update` with an overflow: scale ←
 * max(scale · backoffFactor, minScale); after growthInterval updates without one: scale ← min(scale · growthFactor,
 * maxScale), both rounded to float32.
 *
 * @throws {ArgumentError} `GradScaler: expected growthFactor to be a finite number > 1. Received: 1.`
 * @see Micikevicius et al., 2018, arXiv:1710.03740.
 */
export class GradScaler {
  /** @internal */
  readonly core: ScalerCore;
  #nearFloor = false;
  readonly #stages: ScalerStages;

  constructor(...given: GradScalerCall) {
    this.core = new ScalerCore(resolveScalerOptions(optionsFrom("GradScaler", 0, given, SCALER_NAMES, 6)));
    this.#stages = new ScalerStages(this.core);
  }

  /** With their defaults; factors may be changed by the setters and by a loaded state. */
  get options(): ResolvedScalerOptions {
    return this.core.options;
  }
  isEnabled(): boolean {
    atMost("GradScaler.isEnabled", arguments, 0);
    return this.options.enabled;
  }
  /**
   * Called with what each look at an optimizer's gradients found, float32 `[]`, not zero where one is not finite; it
   * writes there what any rank found. For optimizers that step shards; null: none. Every rank calls {@link unscale_} or
   * {@link step} for the same optimizers in the same order, without gradients too.
   * @example scaler.reduceFoundInf = (found) => allReduce(found, { op: "max" });
   */
  get reduceFoundInf(): ((found: Tensor) => void) | null {
    return this.core.reduceFoundInf;
  }
  set reduceFoundInf(reduce: ((found: Tensor) => void) | null) {
    checkArguments("GradScaler.reduceFoundInf", { reduce }, { reduce: orNull(callable) });
    this.core.reduceFoundInf = reduce;
  }
  /** Whether what steps found stays on the device until somebody asks. */
  get lazy(): boolean {
    return this.core.lazy;
  }
  /** The scale as a number. Waits for the device. */
  getScale(): number {
    atMost("GradScaler.getScale", arguments, 0);
    return this.options.enabled ? this.core.scale.item() : 1;
  }
  /** The scale itself: float32 `[]`, on the scaler's device; changed in place by {@link update}. */
  get scaleTensor(): Tensor {
    return this.core.scale;
  }

  /** Good updates in a row. Waits for the device. */
  getGrowthTracker(): number {
    atMost("GradScaler.getGrowthTracker", arguments, 0);
    return this.options.enabled ? this.core.growthTracker.item() : 0;
  }
  getGrowthFactor(): number {
    atMost("GradScaler.getGrowthFactor", arguments, 0);
    return this.options.growthFactor;
  }
  setGrowthFactor(value: number): void {
    atMost("GradScaler.setGrowthFactor", arguments, 1);
    this.#set("setGrowthFactor", "growthFactor", value);
  }
  getBackoffFactor(): number {
    atMost("GradScaler.getBackoffFactor", arguments, 0);
    return this.options.backoffFactor;
  }
  setBackoffFactor(value: number): void {
    atMost("GradScaler.setBackoffFactor", arguments, 1);
    this.#set("setBackoffFactor", "backoffFactor", value);
  }
  getGrowthInterval(): number {
    atMost("GradScaler.getGrowthInterval", arguments, 0);
    return this.options.growthInterval;
  }
  setGrowthInterval(value: number): void {
    atMost("GradScaler.setGrowthInterval", arguments, 1);
    this.#set("setGrowthInterval", "growthInterval", value);
  }
  #set(fn: string, name: Factor, value: number): void {
    this.core.options = { ...this.options, [name]: checkFactor(`GradScaler.${fn}`, name, value) };
  }

  /** Updates that found a gradient that was not finite, so far. Waits for the device. */
  get skippedUpdates(): number {
    return this.core.skipped.item();
  }

  /** Whether the latest update found a gradient that was not finite. Waits for the device. */
  get latestSkipped(): boolean {
    return this.core.latest.item() !== 0;
  }

  /**
   * The loss (or several, in arrays) times the scale, in float32 where 16 bits would overflow: a loss of 1 times 65,536
   * is infinity in float16.
   * @throws {ArgumentError} `GradScaler.scale: expected a floating point tensor. Received: …`
   */
  scale(outputs: Tensor): Tensor;
  scale(outputs: readonly Tensor[]): Tensor[];
  scale(outputs: Tensor | readonly Tensor[]): Tensor | Tensor[] {
    atMost("GradScaler.scale", arguments, 1);
    if (Array.isArray(outputs))
      return elementsOf(outputs as readonly Tensor[], "GradScaler.scale", "outputs").map((t) => this.#scaled(t));
    return this.#scaled(outputs as Tensor);
  }
  #scaled(outputs: Tensor): Tensor {
    if (!isTensor(outputs)) throw new ArgumentError("GradScaler.scale", "a tensor or an array of tensors", outputs);
    if (!this.options.enabled) return outputs;
    if (!outputs.isFloatingPoint()) throw new ArgumentError("GradScaler.scale", "a floating point tensor", outputs);
    this.core.losses++;
    const wide = outputs.dtype === "float16" || outputs.dtype === "bfloat16" ? outputs.to("float32") : outputs;
    return wide.mul(this.core.scale);
  }

  #requireScaled(fn: string): void {
    if (this.core.losses === 0) throw errors.notScaled(fn);
  }

  /**
   * Divide this optimizer's gradients by the scale, in place, and note whether all are finite. Before clipping; at most
   * once per step.
   */
  unscale_(optimizer: Optimizer): void {
    atMost("GradScaler.unscale_", arguments, 1);
    if (!this.options.enabled) return;
    this.#requireScaled("unscale_");
    const s = this.#stages.of(optimizer);
    if (s.stage === "unscaled") throw errors.unscaledTwice();
    if (s.stage === "stepped") throw errors.unscaleAfterStep();
    s.record = this.#stages.unscale(optimizer, this.#stages.alreadyUnscaled(optimizer), true);
    s.stage = "unscaled";
  }

  /**
   * Unscale if that was not done, then step unless a gradient is not finite. A skipped step changes neither parameters
   * nor state.
   */
  step(optimizer: Optimizer, closure?: () => Tensor): ScalerStep {
    atMost("GradScaler.step", arguments, 2);
    if (!this.options.enabled) {
      this.#stages.of(optimizer);
      optimizer.step(closure);
      return { stepped: true, lossScale: 1, nonFiniteIndices: [] };
    }
    if (closure !== undefined || optimizer instanceof LBFGS) throw errors.closure();
    this.#requireScaled("step");
    const s = this.#stages.of(optimizer);
    if (s.stage === "stepped") throw errors.steppedTwice();
    const alreadyUnscaled = this.#stages.alreadyUnscaled(optimizer);
    const scaled = s.stage === "ready" && optimizer.supportsAmpScaling && alreadyUnscaled.size === 0;
    s.record ??= this.#stages.unscale(optimizer, alreadyUnscaled, !scaled);
    s.result = this.core.step(optimizer, s.record, scaled);
    s.stage = "stepped";
    return s.result;
  }

  /**
   * Once per iteration, after all steps: back off when any optimizer found a gradient that is not finite, else count
   * towards growth.
   * @param newScale - Set the scale to this instead; the count towards growth goes on.
   * @throws {LossScaleError} when the scale is at its floor and gradients still overflow. A lazy scaler leaves that to
   * {@link checkFloor}.
   */
  update(newScale?: number | Tensor): void {
    atMost("GradScaler.update", arguments, 1);
    if (!this.options.enabled) return;
    this.#requireScaled("update");
    const { all } = this.#stages;
    const found = all.flatMap(({ record }) => (record === null ? [] : [foundOf(record)]));
    if (newScale === undefined && found.length === 0) throw errors.noStep();
    scope(() => {
      const next = newScale === undefined ? null : this.#checkedScale(newScale);
      this.#stages.restart();
      try {
        this.core.update(found, next, () => all.flatMap(({ result }) => result?.nonFiniteIndices ?? []));
      } finally {
        for (const { record } of all) if (record !== null) this.core.records.release(record);
      }
    });
  }

  /**
   * The latest {@link checkFloor} saw an overflow that ended at the floor: the next overflow is one at the floor, so
   * check after the next update, too.
   */
  get nearFloor(): boolean {
    return this.#nearFloor;
  }

  /**
   * For a lazy scaler, at times when waiting for the device is cheap (when values are read for a log): throws what
   * `update` would have thrown, one update late at the earliest.
   *
   * The first check that finds an overflow with the scale at its floor cannot know whether that overflow was at the
   * floor or led there. It returns true, as {@link nearFloor} does from then on: check after the next update too, which
   * decides.
   *
   * @param optimizers - Those whose gradients are looked at for the message; they must not have been cleared.
   * @throws {LossScaleError} when the scale was at its floor and gradients overflowed.
   */
  checkFloor(optimizers: readonly Optimizer[]): boolean {
    atMost("GradScaler.checkFloor", arguments, 1);
    if (!this.options.enabled || !this.lazy) return false;
    const low = this.getScale() <= this.options.minScale && this.latestSkipped;
    const again = low && this.#nearFloor;
    this.#nearFloor = low;
    if (!again) return low;
    this.#nearFloor = false;
    throw new errors.LossScaleError(this.getScale(), optimizers.flatMap(nonFiniteOf));
  }
  #checkedScale(newScale: number | Tensor): Tensor {
    const expected = "newScale to be a number > 0, or a float32 tensor of one element without gradient";
    if (!isTensor(newScale)) {
      if (typeof newScale !== "number" || !(newScale > 0 && newScale < Infinity))
        throw new ArgumentError("GradScaler.update", expected, newScale);
      return full([], newScale, { dtype: "float32", device: this.options.device });
    }
    if (newScale.dtype !== "float32" || newScale.numel() !== 1 || newScale.requiresGrad)
      throw new ArgumentError("GradScaler.update", expected, newScale);
    return newScale.reshape([]);
  }

  /** Waits for the device. */
  stateDict(): GradScalerState | Record<string, never> {
    atMost("GradScaler.stateDict", arguments, 0);
    if (!this.options.enabled) return {};
    return {
      scale: this.getScale(),
      growthFactor: this.options.growthFactor,
      backoffFactor: this.options.backoffFactor,
      growthInterval: this.options.growthInterval,
      growthTracker: this.getGrowthTracker(),
    };
  }
  /**
   * Reads nbit's names, PyTorch's (`growth_factor`, `_growth_tracker`, …) and a Lightning checkpoint's entry
   * (`MixedPrecision`, or `native_amp_scaling_state` of older ones). An empty state leaves everything as it is. A scale
   * beyond minScale or maxScale is brought to them.
   */
  loadStateDict(state: Readonly<Record<string, unknown>>): void {
    atMost("GradScaler.loadStateDict", arguments, 1);
    if (!this.options.enabled) return;
    const next = readScalerState(state);
    if (next === null) return;
    const { minScale, maxScale } = this.options;
    this.core.options = {
      ...this.options,
      growthFactor: next.growthFactor,
      backoffFactor: next.backoffFactor,
      growthInterval: next.growthInterval,
    };
    noGrad(() => {
      this.core.scale.fill_(Math.min(Math.max(next.scale, minScale), maxScale));
      this.core.growthTracker.fill_(next.growthTracker);
    });
  }
}
