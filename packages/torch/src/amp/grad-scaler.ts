/** Dynamic loss scaling: keeps float16 gradients from underflowing, and skips the steps that overflow. */
import { noGrad } from "../autograd/modes.js";
import { ArgumentError } from "../errors.js";
import { full, zeros } from "../ops/index.js";
import { operator } from "../optim/operators.js";
import { parts } from "../optim/pairs.js";
import { LateNumbers, type LateRow } from "../late-numbers.js";
import { LBFGS } from "../optim/lbfgs.js";
import type { Optimizer } from "../optim/optimizer.js";
import { device as deviceOf } from "../tensor/device.js";
import { isTensor } from "../tensor/handle.js";
import { TensorList } from "../tensor/list.js";
import { outsideScopes, scope } from "../tensor/scope.js";
import type { Tensor } from "../tensor/tensor.js";
import * as errors from "./scaler-errors.js";
import { FOUND, LateStep, SCALE } from "./late-step.js";
import { atMost } from "../options.js";
import { checkFactor, readScalerState, resolveScalerOptions, type Factor, type GradScalerOptions, type GradScalerState, type ResolvedScalerOptions } from "./scaler-state.js";

/** What became of a step. Fields are read when asked for: on CUDA that waits for the device. */
export interface ScalerStep {
  readonly stepped: boolean;
  /** The scale that multiplied this step's loss. */
  readonly lossScale: number;
  /** Positions, over all groups, of the parameters whose gradients were not finite. Looks at the gradients when it is first read: empty when the next loss was scaled by then. */
  readonly nonFiniteIndices: readonly number[];
  /** For a graph that recorded this step, and whose replays write to its memory: where the scale lies, float32 []. That memory belongs to the graph from here on, and this step tells nothing any more. */
  lend?(): Tensor;
}

type Stage = "ready" | "unscaled" | "stepped";
interface PerOptimizer {
  stage: Stage;
  /** What was found, from the check of its gradients until the update. */
  record: LateRow | null;
  nonFinite: readonly number[];
}

const checkAndUnscale_ = operator("_amp_foreach_non_finite_check_and_unscale_");
const updateScale_ = operator("_amp_update_scale_");

const SMALLEST_NORMAL = 2 ** -126;

/** So many steps of a lazy scaler may wait on the device before they are read. */
const UNREAD_STEPS = 256;
/** Of one that reads at once: as many as there are optimizers in an iteration. */
const STEPS_AT_ONCE = 4;

/**
 * scale(loss).backward(); unscale_(optimizer) (optional, before clipping); step(optimizer); update().
 *
 * The scale starts at 65536, is halved when a gradient is not finite (and that step skipped), and doubled after 2000 good steps in a row. State is two tensors, float32 and int32;
 * with a fused optimizer nothing waits for the device.
 *
 * Per optimizer a step goes ready → unscaled → stepped; `update` begins anew. `update` with an overflow: scale ← max(scale · backoffFactor, minScale); after growthInterval updates
 * without one: scale ← min(scale · growthFactor, maxScale), both rounded to float32.
 *
 * @throws {ArgumentError} `GradScaler: expected growthFactor to be a finite number > 1. Received: 1.`
 * @see Micikevicius et al., 2018, arXiv:1710.03740.
 */
export class GradScaler {
  /** With their defaults; factors may be changed by the setters and by a loaded state. */
  options: ResolvedScalerOptions;
  readonly #scale: Tensor;
  readonly #growthTracker: Tensor;
  /** Counts the updates that found a gradient that was not finite: int32, on the scaler's device, so that nobody has to wait to count. */
  readonly #skipped: Tensor;
  /** What the latest update found: float32, not zero when a gradient was not finite. */
  readonly #latest: Tensor;
  readonly #deviceType: string;
  readonly #lazy: boolean;
  /** The latest check saw an overflow that ended at the floor; the next overflow is one at the floor. */
  #nearFloor = false;
  #optimizers = new Map<Optimizer, PerOptimizer>();
  readonly #records: LateNumbers;
  /** How many losses were scaled. */
  #losses = 0;

  constructor(options: GradScalerOptions = {}) {
    atMost("GradScaler", arguments, 1);
    const o = resolveScalerOptions(options);
    this.options = o;
    this.#deviceType = deviceOf(o.device, "GradScaler").type;
    this.#lazy = o.lazy ?? this.#deviceType !== "cpu";
    this.#records = new LateNumbers({ device: o.device, dtype: "float32", columns: 2, rows: this.#lazy ? UNREAD_STEPS : STEPS_AT_ONCE });
    [this.#scale, this.#growthTracker, this.#skipped, this.#latest] = outsideScopes(() => [
      full([], o.initScale, { dtype: "float32", device: o.device }),
      zeros([], { dtype: "int32", device: o.device }),
      zeros([], { dtype: "int32", device: o.device }),
      zeros([], { dtype: "float32", device: o.device }),
    ]);
  }

  isEnabled(): boolean {
    atMost("GradScaler.isEnabled", arguments, 0);
    return this.options.enabled;
  }
  /** Whether what steps found stays on the device until somebody asks. */
  get lazy(): boolean {
    return this.#lazy;
  }
  /** The scale as a number. Waits for the device. */
  getScale(): number {
    atMost("GradScaler.getScale", arguments, 0);
    return this.options.enabled ? this.#scale.item() : 1;
  }
  /** The scale itself: float32 `[]`, on the scaler's device; changed in place by {@link update}. */
  get scaleTensor(): Tensor {
    return this.#scale;
  }

  /** Good updates in a row. Waits for the device. */
  getGrowthTracker(): number {
    atMost("GradScaler.getGrowthTracker", arguments, 0);
    return this.options.enabled ? this.#growthTracker.item() : 0;
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
    this.options = { ...this.options, [name]: checkFactor(`GradScaler.${fn}`, name, value) };
  }

  /** Updates that found a gradient that was not finite, so far. Waits for the device. */
  get skippedUpdates(): number {
    return this.#skipped.item();
  }

  /** Whether the latest update found a gradient that was not finite. Waits for the device. */
  get latestSkipped(): boolean {
    return this.#latest.item() !== 0;
  }

  /**
   * The loss (or several, in arrays) times the scale, in float32 where 16 bits would overflow: a loss of 1 times 65,536 is infinity in float16.
   * @throws {ArgumentError} `GradScaler.scale: expected a floating point tensor. Received: …`
   */
  scale(outputs: Tensor): Tensor;
  scale(outputs: readonly Tensor[]): Tensor[];
  scale(outputs: Tensor | readonly Tensor[]): Tensor | Tensor[] {
    atMost("GradScaler.scale", arguments, 1);
    if (Array.isArray(outputs)) return (outputs as readonly Tensor[]).map((t) => this.scale(t));
    if (!isTensor(outputs)) throw new ArgumentError("GradScaler.scale", "a tensor or an array of tensors", outputs);
    if (!this.options.enabled) return outputs;
    if (!outputs.isFloatingPoint()) throw new ArgumentError("GradScaler.scale", "a floating point tensor", outputs);
    this.#losses++;
    const wide = outputs.dtype === "float16" || outputs.dtype === "bfloat16" ? outputs.to("float32") : outputs;
    return wide.mul(this.#scale);
  }

  #inverse(): Tensor {
    return this.#scale.to("float64").reciprocal().to("float32");
  }
  #of(optimizer: Optimizer): PerOptimizer {
    let found = this.#optimizers.get(optimizer);
    if (found === undefined) {
      found = { stage: "ready", record: null, nonFinite: [] };
      this.#optimizers.set(optimizer, found);
    }
    return found;
  }
  #requireScaled(fn: string): void {
    if (this.#losses === 0) throw errors.notScaled(fn);
  }

  #unscale(optimizer: Optimizer, divide: boolean): LateRow {
    const params = optimizer.paramGroups.flatMap((g) => g.params);
    const all = TensorList.gradsOf(TensorList.of(params));
    try {
      if (all.missing.length === params.length) throw errors.noGradients();
      const byKind = this.#kinds(params, new Set(all.missing));
      const record = this.#records.take();
      const foundInf = foundOf(record);
      try {
        noGrad(() =>
          scope(() => {
            foundInf.zero_();
            const inverse = divide ? this.#inverse() : full([], 1, { dtype: "float32", device: this.options.device });
            // Of a scale below, the inverse is infinity: gradients divided so are nothing to step with.
            if (this.options.minScale < SMALLEST_NORMAL) foundInf.copy_(this.#inverse().isinf());
            // One call per kind: the kernel takes one.
            for (const { indices, sparse } of byKind) {
              if (sparse) checkAndUnscale_(indices.map((i) => valuesOf((params[i] as Tensor).grad as Tensor)), foundInf, inverse);
              else checkAndUnscale_(all.select(indices), foundInf, inverse);
            }
          }),
        );
      } catch (error) {
        this.#records.release(record);
        throw error;
      }
      return record;
    } finally {
      all.dispose();
    }
  }

  /** Positions of parameters with gradients, by dtype, device and layout. Throws before anything is divided. */
  #kinds(params: readonly Tensor[], absent: ReadonlySet<number>): { indices: number[]; sparse: boolean }[] {
    const kinds = new Map<string, { indices: number[]; sparse: boolean }>();
    scope(() =>
      params.forEach((p, i) => {
        const grad = absent.has(i) ? null : p.grad;
        if (grad === null) return;
        if (grad.device.type !== this.#deviceType) throw errors.otherDevice(i, grad.device.type, this.#deviceType);
        if (grad.dtype === "float16") throw errors.fp16Gradients(i);
        if (grad.dtype === "bfloat16" && this.#deviceType === "cuda") throw errors.bf16OnCuda(i);
        const key = `${grad.isSparse} ${grad.dtype} ${grad.device.toString()}`;
        const kind = kinds.get(key);
        if (kind === undefined) kinds.set(key, { indices: [i], sparse: grad.isSparse || grad.isComplex() });
        else kind.indices.push(i);
      }),
    );
    return [...kinds.values()];
  }

  /** Divide this optimizer's gradients by the scale, in place, and note whether all are finite. Before clipping; at most once per step. */
  unscale_(optimizer: Optimizer): void {
    atMost("GradScaler.unscale_", arguments, 1);
    if (!this.options.enabled) return;
    this.#requireScaled("unscale_");
    const s = this.#of(optimizer);
    if (s.stage === "unscaled") throw errors.unscaledTwice();
    if (s.stage === "stepped") throw errors.unscaleAfterStep();
    s.record = this.#unscale(optimizer, true);
    s.stage = "unscaled";
  }

  /** Unscale if that was not done, then step unless a gradient is not finite. A skipped step changes neither parameters nor state. */
  step(optimizer: Optimizer, closure?: () => Tensor): ScalerStep {
    atMost("GradScaler.step", arguments, 2);
    if (!this.options.enabled) {
      optimizer.step(closure);
      return { stepped: true, lossScale: 1, nonFiniteIndices: [] };
    }
    if (closure !== undefined || optimizer instanceof LBFGS) throw errors.closure();
    this.#requireScaled("step");
    const s = this.#of(optimizer);
    if (s.stage === "stepped") throw errors.steppedTwice();
    const lossScale = this.#lazy ? null : this.getScale();
    const { supportsAmpScaling } = optimizer;
    const scaled = s.stage === "ready" && supportsAmpScaling;
    const record = (s.record ??= this.#unscale(optimizer, !scaled));
    if (lossScale === null) noGrad(() => (record.values[SCALE] as Tensor).copy_(this.#scale));
    if (supportsAmpScaling) {
      optimizer.gradScale = scaled ? this.#scale : null;
      optimizer.foundInf = foundOf(record);
      try {
        optimizer.step();
      } finally {
        optimizer.gradScale = null;
        optimizer.foundInf = null;
      }
    } else if (foundOf(record).item() === 0) optimizer.step();
    s.stage = "stepped";
    return lossScale === null ? this.#lateResult(optimizer, record) : this.#result(optimizer, s, record, lossScale);
  }

  #result(optimizer: Optimizer, s: PerOptimizer, record: LateRow, lossScale: number): ScalerStep {
    const stepped = foundOf(record).item() === 0;
    if (!stepped) s.nonFinite = nonFiniteOf(optimizer);
    return { stepped, lossScale, nonFiniteIndices: s.nonFinite };
  }

  #lateResult(optimizer: Optimizer, record: LateRow): ScalerStep {
    const losses = this.#losses;
    return new LateStep(this.#records, record, () => (this.#losses === losses ? nonFiniteOf(optimizer) : []));
  }

  /** Read now what lazy steps left on the device, with one wait: before something that must not be interrupted, as the recording of a graph. */
  readSteps(): void {
    this.#records.readAll();
  }

  /**
   * Once per iteration, after all steps: back off when any optimizer found a gradient that is not finite, else count towards growth.
   * @param newScale - Set the scale to this instead; the count towards growth goes on.
   * @throws {LossScaleError} when the scale is at its floor and gradients still overflow. A lazy scaler leaves that to {@link checkFloor}.
   */
  update(newScale?: number | Tensor): void {
    atMost("GradScaler.update", arguments, 1);
    if (!this.options.enabled) return;
    this.#requireScaled("update");
    const all = [...this.#optimizers.values()];
    const found = all.flatMap(({ record }) => (record === null ? [] : [foundOf(record)]));
    if (newScale === undefined && found.length === 0) throw errors.noStep();
    const atFloor = newScale === undefined && !this.#lazy && this.getScale() <= this.options.minScale && found.some((t) => t.item() !== 0);
    noGrad(() => scope(() => this.#record(found, newScale === undefined ? null : this.#checkedScale(newScale))));
    const parameters = all.flatMap((s) => s.nonFinite);
    this.#reset();
    if (atFloor) throw new errors.LossScaleError(this.getScale(), parameters);
  }

  /**
   * For a lazy scaler, at times when waiting for the device is cheap (when values are read for a log): throws what `update` would have thrown, one update late at the earliest.
   *
   * The first check that finds an overflow with the scale at its floor cannot know whether that overflow was at the floor or led there. It says true: check after the next update too, which decides.
   *
   * @param optimizers - Those whose gradients are looked at for the message; they must not have been cleared.
   * @throws {LossScaleError} when the scale was at its floor and gradients overflowed.
   */
  checkFloor(optimizers: readonly Optimizer[]): boolean {
    atMost("GradScaler.checkFloor", arguments, 1);
    if (!this.options.enabled || !this.#lazy) return false;
    const low = this.getScale() <= this.options.minScale && this.latestSkipped;
    const again = low && this.#nearFloor;
    this.#nearFloor = low;
    if (!again) return low;
    this.#nearFloor = false;
    throw new errors.LossScaleError(this.getScale(), optimizers.flatMap(nonFiniteOf));
  }
  #record(found: readonly Tensor[], next: Tensor | null): void {
    const [first, ...others] = found;
    let total = first;
    if (total !== undefined) {
      for (const t of others) total = total.add(t);
      this.#skipped.add_(total.ne(0));
      this.#latest.copy_(total);
    }
    if (next !== null) {
      this.#scale.copy_(next);
      return;
    }
    updateScale_(this.#scale, this.#growthTracker, total, this.options.growthFactor, this.options.backoffFactor, this.options.growthInterval);
    this.#scale.clamp_(this.options.minScale, this.options.maxScale);
  }
  #checkedScale(newScale: number | Tensor): Tensor {
    const expected = "newScale to be a number > 0, or a float32 tensor of one element without gradient";
    if (!isTensor(newScale)) {
      if (typeof newScale !== "number" || !(newScale > 0 && newScale < Infinity)) throw new ArgumentError("GradScaler.update", expected, newScale);
      return full([], newScale, { dtype: "float32", device: this.options.device });
    }
    if (newScale.dtype !== "float32" || newScale.numel() !== 1 || newScale.requiresGrad) throw new ArgumentError("GradScaler.update", expected, newScale);
    return newScale.reshape([]);
  }
  #reset(): void {
    for (const { record } of this.#optimizers.values()) if (record !== null) this.#records.release(record);
    this.#optimizers = new Map();
  }

  /** Waits for the device. */
  stateDict(): GradScalerState | Record<string, never> {
    atMost("GradScaler.stateDict", arguments, 0);
    if (!this.options.enabled) return {};
    return { scale: this.getScale(), growthFactor: this.options.growthFactor, backoffFactor: this.options.backoffFactor, growthInterval: this.options.growthInterval, growthTracker: this.getGrowthTracker() };
  }
  /**
   * Reads nbit's names, PyTorch's (`growth_factor`, `_growth_tracker`, …) and a Lightning checkpoint's entry (`MixedPrecision`, or `native_amp_scaling_state` of older ones). An empty
   * state leaves everything as it is. A scale beyond minScale or maxScale is brought to them.
   */
  loadStateDict(state: Readonly<Record<string, unknown>>): void {
    atMost("GradScaler.loadStateDict", arguments, 1);
    if (!this.options.enabled) return;
    const next = readScalerState(state);
    if (next === null) return;
    const { minScale, maxScale } = this.options;
    this.options = { ...this.options, growthFactor: next.growthFactor, backoffFactor: next.backoffFactor, growthInterval: next.growthInterval };
    noGrad(() => {
      this.#scale.fill_(Math.min(Math.max(next.scale, minScale), maxScale));
      this.#growthTracker.fill_(next.growthTracker);
    });
  }
}

const foundOf = (record: LateRow): Tensor => record.values[FOUND] as Tensor;

function nonFiniteOf(optimizer: Optimizer): number[] {
  const params = optimizer.paramGroups.flatMap((g) => g.params);
  return scope(() => params.map((p, i) => (p.grad !== null && !p.grad.isfinite().all().item() ? i : -1)).filter((i) => i >= 0));
}

const sparseValues = operator("_values");
/** The real numbers of a gradient that is sparse or complex, in its memory: what the kernel takes. */
function valuesOf(t: Tensor): Tensor {
  return parts(t.isSparse ? sparseValues(t) : t);
}
