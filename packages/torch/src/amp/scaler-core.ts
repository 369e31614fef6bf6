/**
 * What both users of a loss scale stand on, the public scaler and loops: its tensors, the records of steps, a step or
 * none, and the update.
 */
import { noGrad } from "../autograd/modes.js";
import { LateNumbers, type LateRow } from "../late-numbers.js";
import { full, zeros } from "../ops/index.js";
import { isFiniteGradient } from "../optim/gradient-values.js";
import { operator } from "../optim/operators.js";
import type { Optimizer } from "../optim/optimizer.js";
import { device as deviceOf } from "../tensor/device.js";
import { outsideScopes, scope } from "../tensor/scope.js";
import type { Tensor } from "../tensor/tensor.js";
import { parametersOf, type Gradients } from "./gradients.js";
import { FOUND, LateStep, SCALE, type ScalerStep } from "./scaler-step.js";
import * as errors from "./scaler-errors.js";
import type { ResolvedScalerOptions } from "./scaler-state.js";

const updateScale_ = operator("_amp_update_scale_");

/** One divided by less is infinity in float32. */
const SMALLEST_NORMAL = 2 ** -126;
/** So many steps of a lazy scaler may wait on the device before they are read. */
export const UNREAD_STEPS = 256;
/** Of one that reads at once: as many as there are optimizers in an iteration. */
const STEPS_AT_ONCE = 4;

/** float32 []: not zero when a gradient is not finite. */
export const foundOf = (record: LateRow): Tensor => record.values[FOUND] as Tensor;
const scaleOf = (record: LateRow): Tensor => record.values[SCALE] as Tensor;

export class ScalerCore {
  /** With their defaults; factors may be changed by setters and by a loaded state. */
  options: ResolvedScalerOptions;
  readonly deviceType: string;
  readonly lazy: boolean;
  /** float32 []. */
  readonly scale: Tensor;
  /** int32 []: good updates in a row. */
  readonly growthTracker: Tensor;
  /**
   * Counts the updates that found a gradient that was not finite: int32, on the scaler's device, so that nobody has to
   * wait to count.
   */
  readonly skipped: Tensor;
  /** What the latest update found: float32, not zero when a gradient was not finite. */
  readonly latest: Tensor;
  readonly records: LateNumbers;
  /**
   * Ranks that step shards tell each other of gradients that are not finite: a rank without any takes part. Null: this
   * process sees all gradients.
   */
  reduceFoundInf: ((found: Tensor) => void) | null = null;
  /** How many losses were scaled. */
  losses = 0;

  constructor(options: ResolvedScalerOptions) {
    this.options = options;
    const { initScale } = options;
    this.deviceType = deviceOf(options.device, "GradScaler").type;
    // One that is off asks nothing of a device, which may not be there.
    const device = options.enabled ? options.device : "cpu";
    this.lazy = options.lazy ?? this.deviceType !== "cpu";
    this.records = new LateNumbers({
      device,
      dtype: "float32",
      columns: 2,
      rows: this.lazy ? UNREAD_STEPS : STEPS_AT_ONCE,
    });
    [this.scale, this.growthTracker, this.skipped, this.latest] = outsideScopes(() => [
      full([], initScale, { dtype: "float32", device }),
      zeros([], { dtype: "int32", device }),
      zeros([], { dtype: "int32", device }),
      zeros([], { dtype: "float32", device }),
    ]);
  }

  #inverse(): Tensor {
    return this.scale.to("float64").reciprocal().to("float32");
  }

  /** A record in which nothing was found. */
  newRecord(): LateRow {
    const record = this.records.take();
    noGrad(() => foundOf(record).zero_());
    return record;
  }

  /** Note in `record` whether all gradients are finite, and where `divide` divide them by the scale. */
  check(gradients: Gradients, record: LateRow, divide: boolean): void {
    noGrad(() =>
      scope(() => {
        const { device, minScale } = this.options;
        const factor = divide ? this.#inverse() : full([], 1, { dtype: "float32", device });
        // Gradients times infinity are nothing to step with.
        if (minScale < SMALLEST_NORMAL) foundOf(record).add_(this.#inverse().isinf());
        gradients.checkAndMultiply(foundOf(record), factor, this.deviceType);
        this.reduceFoundInf?.(foundOf(record));
      }),
    );
  }
  /** Without a look at them. */
  divide(gradients: Gradients): void {
    noGrad(() => scope(() => gradients.multiply(this.#inverse())));
  }

  /**
   * Step, unless `record` says that a gradient is not finite. `scaled`: the gradients are; a fused optimizer divides
   * them.
   */
  step(optimizer: Optimizer, record: LateRow, scaled: boolean): ScalerStep {
    const lossScale = this.#note(record);
    if (optimizer.supportsAmpScaling) {
      optimizer.gradScale = scaled ? this.scale : null;
      optimizer.foundInf = foundOf(record);
      try {
        optimizer.step();
      } finally {
        optimizer.gradScale = null;
        optimizer.foundInf = null;
      }
    } else if (foundOf(record).item() === 0) optimizer.step();
    if (lossScale === null) return this.#late(optimizer, record);
    const stepped = foundOf(record).item() === 0;
    return { stepped, lossScale, nonFiniteIndices: stepped ? [] : nonFiniteOf(optimizer) };
  }

  /** The result of a step that nothing could keep from being made. */
  unchecked(optimizer: Optimizer): ScalerStep {
    if (!this.lazy) return { stepped: true, lossScale: this.scale.item(), nonFiniteIndices: [] };
    const record = this.newRecord();
    this.#note(record);
    const result = this.#late(optimizer, record);
    this.records.release(record);
    return result;
  }

  /** The scale as a number, or kept in `record`, where reading would wait. */
  #note(record: LateRow): number | null {
    if (!this.lazy) return this.scale.item();
    noGrad(() => scaleOf(record).copy_(this.scale));
    return null;
  }
  #late(optimizer: Optimizer, record: LateRow): ScalerStep {
    const { losses } = this;
    return new LateStep(this.records, record, () => (this.losses === losses ? nonFiniteOf(optimizer) : []));
  }

  /**
   * One update, from what was found since the last one; or to `next`.
   * @param parameters - Those whose gradients were not finite, for the error.
   * @throws {LossScaleError} when the scale is at its floor already and something was found. Not of a lazy scaler.
   */
  update(found: readonly Tensor[], next: Tensor | null, parameters: () => readonly number[]): void {
    const atFloor =
      next === null && !this.lazy && this.scale.item() <= this.options.minScale && found.some((t) => t.item() !== 0);
    noGrad(() => scope(() => this.#update(found, next)));
    if (atFloor) throw new errors.LossScaleError(this.scale.item(), parameters());
  }
  #update(found: readonly Tensor[], next: Tensor | null): void {
    const [first, ...others] = found;
    let total = first;
    if (total !== undefined) {
      for (const t of others) total = total.add(t);
      this.skipped.add_(total.ne(0));
      this.latest.copy_(total);
    }
    if (next !== null) {
      this.scale.copy_(next);
      return;
    }
    const { growthFactor, backoffFactor, growthInterval, minScale, maxScale } = this.options;
    updateScale_(this.scale, this.growthTracker, total, growthFactor, backoffFactor, growthInterval);
    this.scale.clamp_(minScale, maxScale);
  }
}

/** Positions, over all groups, of the parameters whose gradients are not finite. */
export function nonFiniteOf(optimizer: Optimizer): number[] {
  return scope(() =>
    parametersOf(optimizer).flatMap((p, i) => (p.grad !== null && !isFiniteGradient(p.grad) ? [i] : [])),
  );
}
