/** Dynamic loss scaling: keeps float16 gradients from underflowing, and skips the steps that overflow. */
import { noGrad } from "../autograd/modes.js";
import { ArgumentError, NbitError } from "../errors.js";
import { full, zeros } from "../ops/index.js";
import { operator } from "../optim/operators.js";
import { LBFGS } from "../optim/lbfgs.js";
import type { Optimizer } from "../optim/optimizer.js";
import { device as deviceOf, type DeviceLike } from "../tensor/device.js";
import { isTensor } from "../tensor/handle.js";
import { TensorList } from "../tensor/list.js";
import { outsideScopes, scope } from "../tensor/scope.js";
import type { Tensor } from "../tensor/tensor.js";

export interface GradScalerOptions {
  readonly device?: DeviceLike;
  readonly initScale?: number;
  readonly growthFactor?: number;
  readonly backoffFactor?: number;
  readonly growthInterval?: number;
  readonly enabled?: boolean;
  /** The scale does not fall below; reaching it with overflowing gradients is a {@link LossScaleError}. Default 2^-14. */
  readonly minScale?: number;
  /** Nor rise above. Default 2^24. */
  readonly maxScale?: number;
}
export interface GradScalerState {
  readonly scale: number;
  readonly growthFactor: number;
  readonly backoffFactor: number;
  readonly growthInterval: number;
  readonly growthTracker: number;
}
/** What became of a step. Fields are read when asked for: on CUDA that waits for the device. */
export interface ScalerStep {
  readonly stepped: boolean;
  /** The scale that multiplied this step's loss. */
  readonly lossScale: number;
  /** Positions, over all groups, of the parameters whose gradients were not finite. Looks at the gradients: read it before the next backward. */
  readonly nonFiniteIndices: readonly number[];
}

/** The scale reached its floor and gradients still overflow: they are not finite for a reason that scaling cannot cure. */
export class LossScaleError extends NbitError {
  readonly parameters: readonly number[];
  constructor(scale: number, parameters: readonly number[]) {
    super(`GradScaler.update: expected finite gradients at the smallest loss scale. Received: gradients that are not finite at scale ${scale}, of parameters ${parameters.join(", ")}. The loss or a layer yields NaN or infinity: look there, or lower minScale.`, "LOSS_SCALE_FLOOR");
    this.parameters = parameters;
  }
}

type Stage = "ready" | "unscaled" | "stepped";
interface PerOptimizer {
  stage: Stage;
  /** float32 [1]: not zero when a gradient is not finite. */
  foundInf: Tensor | null;
  nonFinite: number[];
}

const checkAndUnscale_ = operator("_amp_foreach_non_finite_check_and_unscale_");
const updateScale_ = operator("_amp_update_scale_");

const misuse = (message: string, code: string): NbitError => new NbitError(message, code);

/**
 * scale(loss).backward(); unscale_(optimizer) (optional, before clipping); step(optimizer); update().
 *
 * The scale starts at 65536, is halved when a gradient is not finite (and that step skipped), and doubled after 2000 good steps in a row. State is two tensors, float32 and int32;
 * with a fused optimizer nothing waits for the device.
 *
 * @throws {ArgumentError} `GradScaler: expected growthFactor to be > 1. Received: 1.`
 * @see Micikevicius et al., 2018, arXiv:1710.03740.
 */
export class GradScaler {
  readonly options: Required<GradScalerOptions>;
  readonly #scale: Tensor;
  readonly #growthTracker: Tensor;
  /** Counts the updates that found a gradient that was not finite: int32, on the scaler's device, so that nobody has to wait to count. */
  readonly #skipped: Tensor;
  /** What the latest update found: float32, not zero when a gradient was not finite. */
  readonly #latest: Tensor;
  readonly #onCpu: boolean;
  #optimizers = new Map<Optimizer, PerOptimizer>();
  #scaledOnce = false;

  constructor(options: GradScalerOptions = {}) {
    const o = { device: "cpu", initScale: 65536, growthFactor: 2, backoffFactor: 0.5, growthInterval: 2000, enabled: true, minScale: 2 ** -14, maxScale: 2 ** 24, ...options };
    if (!(o.growthFactor > 1)) throw new ArgumentError("GradScaler", "growthFactor to be > 1", o.growthFactor);
    if (!(o.backoffFactor > 0 && o.backoffFactor < 1)) throw new ArgumentError("GradScaler", "backoffFactor to be in (0, 1)", o.backoffFactor);
    if (!Number.isInteger(o.growthInterval) || o.growthInterval < 1) throw new ArgumentError("GradScaler", "growthInterval to be a whole number ≥ 1", o.growthInterval);
    if (!(o.minScale >= 0 && o.minScale <= o.maxScale)) throw new ArgumentError("GradScaler", "0 ≤ minScale ≤ maxScale", o.minScale);
    if (!(o.initScale > 0 && o.initScale < Infinity)) throw new ArgumentError("GradScaler", "initScale to be finite and > 0", o.initScale);
    this.options = o;
    this.#onCpu = deviceOf(o.device, "GradScaler").type === "cpu";
    [this.#scale, this.#growthTracker, this.#skipped, this.#latest] = outsideScopes(() => [
      full([], o.initScale, { dtype: "float32", device: o.device }),
      zeros([], { dtype: "int32", device: o.device }),
      zeros([], { dtype: "int32", device: o.device }),
      zeros([], { dtype: "float32", device: o.device }),
    ]);
  }

  isEnabled(): boolean {
    return this.options.enabled;
  }
  /** The scale as a number. Waits for the device. */
  getScale(): number {
    return this.options.enabled ? this.#scale.item() : 1;
  }
  /** The scale itself: float32 `[]`, on the scaler's device; changed in place by {@link update}. */
  get scaleTensor(): Tensor {
    return this.#scale;
  }

  /** Updates that found a gradient that was not finite, so far. Waits for the device. */
  get skippedUpdates(): number {
    return this.#skipped.item();
  }

  /** Whether the latest update found a gradient that was not finite. Waits for the device. */
  get latestSkipped(): boolean {
    return this.#latest.item() !== 0;
  }

  /** The loss (or several, in arrays) times the scale, in float32 where 16 bits would overflow. */
  scale(outputs: Tensor): Tensor;
  scale(outputs: readonly Tensor[]): Tensor[];
  scale(outputs: Tensor | readonly Tensor[]): Tensor | Tensor[] {
    if (Array.isArray(outputs)) return (outputs as readonly Tensor[]).map((t) => this.scale(t));
    if (!isTensor(outputs)) throw new ArgumentError("GradScaler.scale", "a tensor or an array of tensors", outputs);
    if (!this.options.enabled) return outputs;
    this.#scaledOnce = true;
    const wide = outputs.dtype === "float16" || outputs.dtype === "bfloat16" ? outputs.to("float32") : outputs;
    return wide.mul(this.#scale);
  }

  #of(optimizer: Optimizer): PerOptimizer {
    let found = this.#optimizers.get(optimizer);
    if (found === undefined) {
      found = { stage: "ready", foundInf: null, nonFinite: [] };
      this.#optimizers.set(optimizer, found);
    }
    return found;
  }
  #requireScaled(fn: string): void {
    if (!this.#scaledOnce) throw misuse(`GradScaler.${fn}: expected scale(loss) first. Received: ${fn} before any loss was scaled. Call scaler.scale(loss).backward().`, "SCALER_NOT_SCALED");
  }

  #unscale(optimizer: Optimizer, divide: boolean): Tensor {
    const params = optimizer.paramGroups.flatMap((g) => g.params);
    const all = TensorList.gradsOf(TensorList.of(params));
    try {
      if (all.missing.length === params.length) throw misuse("GradScaler: expected gradients. Received: an optimizer none of whose parameters has one. Call scaler.scale(loss).backward() first.", "SCALER_NO_GRADIENTS");
      const absent = new Set(all.missing);
      const present = params.map((_, i) => i).filter((i) => !absent.has(i));
      return noGrad(() => {
        const foundInf = outsideScopes(() => zeros([], { dtype: "float32", device: this.options.device }));
        scope(() => {
          const inverse = divide ? this.#scale.to("float64").reciprocal().to("float32") : full([], 1, { dtype: "float32", device: this.options.device });
          // One call per dtype: the kernel takes one kind.
          const byDtype = new Map<string, number[]>();
          for (const i of present) {
            const grad = (params[i] as Tensor).grad as Tensor;
            if (grad.dtype === "float16") throw misuse(`GradScaler.unscale_: expected gradients of float32 parameters. Received: a float16 gradient of parameter ${i}. Keep parameters in float32 and let autocast cast them, or use precision "16-true" without a scaler.`, "SCALER_FP16_GRADIENTS");
            const key = `${grad.isSparse ? "sparse " : ""}${grad.dtype} ${grad.device.toString()}`;
            const list = byDtype.get(key);
            if (list === undefined) byDtype.set(key, [i]);
            else list.push(i);
          }
          for (const [key, indices] of byDtype) {
            if (key.startsWith("sparse")) checkAndUnscale_(indices.map((i) => valuesOf((params[i] as Tensor).grad as Tensor)), foundInf, inverse);
            else checkAndUnscale_(all.select(indices), foundInf, inverse);
          }
        });
        return foundInf;
      });
    } finally {
      all.dispose();
    }
  }

  /** Divide this optimizer's gradients by the scale, in place, and note whether all are finite. Before clipping; at most once per step. */
  unscale_(optimizer: Optimizer): void {
    if (!this.options.enabled) return;
    this.#requireScaled("unscale_");
    const s = this.#of(optimizer);
    if (s.stage === "unscaled") throw misuse("GradScaler.unscale_: expected one unscale_ per step. Received: a second one since the last update(). Remove it.", "SCALER_UNSCALED_TWICE");
    if (s.stage === "stepped") throw misuse("GradScaler.unscale_: expected unscale_ before step. Received: unscale_ after step. Swap them.", "SCALER_UNSCALE_AFTER_STEP");
    s.foundInf = this.#unscale(optimizer, true);
    s.stage = "unscaled";
  }

  /** Unscale if that was not done, then step unless a gradient is not finite. A skipped step changes neither parameters nor state. */
  step(optimizer: Optimizer, ...rest: readonly unknown[]): ScalerStep {
    if (rest.length > 0 || optimizer instanceof LBFGS) throw misuse("GradScaler.step: expected an optimizer that steps once per backward. Received: a closure. Under loss scaling the loss cannot be evaluated inside the step.", "SCALER_CLOSURE");
    if (!this.options.enabled) {
      optimizer.step();
      return { stepped: true, lossScale: 1, nonFiniteIndices: [] };
    }
    this.#requireScaled("step");
    const s = this.#of(optimizer);
    if (s.stage === "stepped") throw misuse("GradScaler.step: expected one step per update. Received: a second step since the last update(). Call scaler.update() once per iteration.", "SCALER_STEPPED_TWICE");
    const lossScale = this.#onCpu ? this.getScale() : outsideScopes(() => noGrad(() => this.#scale.clone()));
    if (optimizer.supportsAmpScaling) {
      const scaled = s.stage === "ready";
      if (scaled) s.foundInf = this.#unscale(optimizer, false);
      optimizer.gradScale = scaled ? this.#scale : null;
      optimizer.foundInf = s.foundInf;
      try {
        optimizer.step();
      } finally {
        optimizer.gradScale = null;
        optimizer.foundInf = null;
      }
    } else {
      if (s.stage === "ready") s.foundInf = this.#unscale(optimizer, true);
      if ((s.foundInf as Tensor).item() === 0) optimizer.step();
    }
    s.stage = "stepped";
    return this.#result(optimizer, s, lossScale);
  }

  // Holds its own tensors: it may be read long after the update, and then gives them back.
  #result(optimizer: Optimizer, s: PerOptimizer, scaleOfStep: number | Tensor): ScalerStep {
    let foundInf: Tensor | null = s.foundInf;
    let lossScale = scaleOfStep;
    let stepped = true;
    let indices: readonly number[] | null = null;
    const read = (): boolean => {
      if (foundInf === null) return stepped;
      stepped = foundInf.item() === 0;
      if (!this.#onCpu) foundInf.dispose();
      foundInf = null;
      return stepped;
    };
    const find = (): readonly number[] => (indices ??= read() ? [] : (s.nonFinite = nonFiniteOf(optimizer)));
    if (this.#onCpu && !read()) find();
    return {
      get stepped() {
        return read();
      },
      get lossScale() {
        if (typeof lossScale !== "number") {
          const value = lossScale.item();
          lossScale.dispose();
          lossScale = value;
        }
        return lossScale;
      },
      get nonFiniteIndices() {
        return find();
      },
    };
  }

  /**
   * Once per iteration, after all steps: back off when any optimizer found a gradient that is not finite, else count towards growth.
   * @throws {LossScaleError} when the scale is at its floor and gradients still overflow (checked where reading is free: on CPU).
   */
  update(newScale?: number | Tensor): void {
    if (!this.options.enabled) return;
    this.#requireScaled("update");
    const all = [...this.#optimizers.values()];
    if (newScale !== undefined) {
      noGrad(() => (isTensor(newScale) ? this.#scale.copy_(newScale) : this.#scale.fill_(newScale)));
    } else {
      const found = all.map((s) => s.foundInf).filter((t) => t !== null);
      if (found.length === 0) throw misuse("GradScaler.update: expected a step before. Received: update() without unscale_ or step since the last one.", "SCALER_NO_STEP");
      const floor = this.#onCpu && this.getScale() <= this.options.minScale && found.some((t) => t.item() !== 0);
      noGrad(() =>
        scope(() => {
          let total = found[0] as Tensor;
          for (const t of found.slice(1)) total = total.add(t);
          updateScale_(this.#scale, this.#growthTracker, total, this.options.growthFactor, this.options.backoffFactor, this.options.growthInterval);
          this.#scale.clamp_(this.options.minScale, this.options.maxScale);
          this.#skipped.add_(total.ne(0));
          this.#latest.copy_(total);
        }),
      );
      if (floor) {
        const parameters = all.flatMap((s) => s.nonFinite);
        this.#reset();
        throw new LossScaleError(this.getScale(), parameters);
      }
    }
    this.#reset();
  }
  #reset(): void {
    if (this.#onCpu) for (const s of this.#optimizers.values()) s.foundInf?.dispose();
    this.#optimizers = new Map();
  }

  /** Waits for the device. */
  stateDict(): GradScalerState | Record<string, never> {
    if (!this.options.enabled) return {};
    return { scale: this.getScale(), growthFactor: this.options.growthFactor, backoffFactor: this.options.backoffFactor, growthInterval: this.options.growthInterval, growthTracker: this.#growthTracker.item() };
  }
  /** Reads nbit's names and PyTorch's (`growth_factor`, `_growth_tracker`, …). An empty state leaves everything as it is. */
  loadStateDict(state: Readonly<Record<string, unknown>>): void {
    if (!this.options.enabled || Object.keys(state).length === 0) return;
    const read = (camel: keyof GradScalerState, snake: string): number => {
      const value = state[camel] ?? state[snake];
      const n = isTensor(value) ? value.item() : value;
      if (typeof n !== "number" || !(n >= 0)) throw new ArgumentError("GradScaler.loadStateDict", `${camel} to be a number`, value);
      return n;
    };
    const next = { scale: read("scale", "scale"), growthFactor: read("growthFactor", "growth_factor"), backoffFactor: read("backoffFactor", "backoff_factor"), growthInterval: read("growthInterval", "growth_interval"), growthTracker: read("growthTracker", "_growth_tracker") };
    Object.assign(this.options, { growthFactor: next.growthFactor, backoffFactor: next.backoffFactor, growthInterval: next.growthInterval });
    noGrad(() => {
      this.#scale.fill_(next.scale);
      this.#growthTracker.fill_(next.growthTracker);
    });
  }
}

function nonFiniteOf(optimizer: Optimizer): number[] {
  const params = optimizer.paramGroups.flatMap((g) => g.params);
  return scope(() => params.map((p, i) => (p.grad !== null && !p.grad.isfinite().all().item() ? i : -1)).filter((i) => i >= 0));
}

const sparseValues = operator("_values");
function valuesOf(t: Tensor): Tensor {
  return sparseValues(t);
}
