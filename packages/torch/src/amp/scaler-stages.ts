/** How far each optimizer is since the latest update: ready → unscaled → stepped, and what its gradients came to. */
import { ArgumentError } from "../errors.js";
import type { LateRow } from "../late-numbers.js";
import type { Optimizer } from "../optim/optimizer.js";
import type { Tensor } from "../tensor/tensor.js";
import { parametersOf, withGradients } from "./gradients.js";
import type { ScalerCore } from "./scaler-core.js";
import * as errors from "./scaler-errors.js";
import type { ScalerStep } from "./scaler-step.js";

/** One optimizer's. */
export interface StageOf {
  stage: "ready" | "unscaled" | "stepped";
  /** What was found, from the check of its gradients until the update. */
  record: LateRow | null;
  result: ScalerStep | null;
  /** How many losses had been scaled when its gradients were divided; null: they were not. */
  dividedAt: number | null;
}

export class ScalerStages {
  readonly #core: ScalerCore;
  #stages = new Map<Optimizer, StageOf>();

  constructor(core: ScalerCore) {
    this.#core = core;
  }

  of(optimizer: Optimizer): StageOf {
    let found = this.#stages.get(optimizer);
    if (found === undefined) {
      const { paramGroups, step } = (optimizer ?? {}) as Partial<Optimizer>;
      if (!Array.isArray(paramGroups) || typeof step !== "function")
        throw new ArgumentError("GradScaler", "an optimizer", optimizer);
      found = { stage: "ready", record: null, result: null, dividedAt: null };
      this.#stages.set(optimizer, found);
    }
    return found;
  }

  get all(): readonly StageOf[] {
    return [...this.#stages.values()];
  }
  /** All are ready again. */
  restart(): void {
    this.#stages = new Map();
  }

  /**
   * Parameters that this optimizer shares with others whose unscale has divided them, when no loss was scaled since.
   * They are unscaled: once is enough.
   */
  alreadyUnscaled(optimizer: Optimizer): ReadonlySet<Tensor> {
    const found = new Set<Tensor>();
    for (const [other, { dividedAt }] of this.#stages) {
      if (other === optimizer || dividedAt !== this.#core.losses) continue;
      const own = new Set(parametersOf(optimizer));
      for (const p of parametersOf(other)) if (own.has(p)) found.add(p);
    }
    return found;
  }

  /**
   * Look at an optimizer's gradients, and divide them by the scale where `divide` says so.
   * @param alreadyUnscaled - Looked at, but not divided again.
   */
  unscale(optimizer: Optimizer, alreadyUnscaled: ReadonlySet<Tensor>, divide: boolean): LateRow {
    const core = this.#core;
    const params = parametersOf(optimizer);
    return withGradients(params, (all) => {
      if (all.none && core.reduceFoundInf === null) throw errors.noGradients();
      const record = core.newRecord();
      try {
        if (alreadyUnscaled.size === 0) core.check(all, record, divide);
        else {
          withGradients(
            params.filter((p) => !alreadyUnscaled.has(p)),
            (own) => core.check(own, record, divide),
          );
          withGradients([...alreadyUnscaled], (shared) => core.check(shared, record, false));
        }
      } catch (error) {
        core.records.release(record);
        throw error;
      }
      this.of(optimizer).dividedAt = divide ? core.losses : null;
      return record;
    });
  }
}
