/** Loss scaling for loops that others' code takes part in: gradients are unscaled whenever that code can see them. */
import { noGrad } from "../autograd/modes.js";
import type { LateRow } from "../late-numbers.js";
import type { Optimizer } from "../optim/optimizer.js";
import type { Tensor } from "../tensor/tensor.js";
import type { GradScaler } from "./grad-scaler.js";
import { parametersOf, withGradients } from "./gradients.js";
import { foundOf, UNREAD_STEPS, type ScalerCore } from "./scaler-core.js";
import type { ScalerStep } from "./scaler-step.js";

/** What is known of an optimizer's gradients. It lives as long as they do. */
interface Known {
  /** What backwards found since the last update of the scale. */
  fresh: LateRow | null;
  /** What they found before, which an update has counted. */
  counted: LateRow | null;
  /** A step was made (or skipped) with these gradients. */
  spent: boolean;
}

/**
 * What a gradient is multiplied by is not remembered: it is always one. A scaled backward adds to gradients that are
 * multiplied by the scale for its time only, and all are divided when it ends. So clipping, gradients set or cleared by
 * hand, several optimizers, windows, batches that are thrown away, and updates of the scale between two backwards need
 * no rules of their own.
 *
 * That a backward overflowed is remembered for each optimizer until its gradients are cleared or the next backward
 * after a step, even if somebody has clamped infinity meanwhile: the next step is skipped. Every overflow counts in one
 * update, that of a batch that was thrown away too.
 */
export class UnscaledGradients {
  readonly #core: ScalerCore;
  readonly #known = new Map<Optimizer, Known>();
  /** Overflows of gradients that were cleared before an update. */
  #lost: LateRow | null = null;
  /** Rows that a step was made with and nobody needs after the update. */
  #passing: LateRow[] = [];
  #results: ScalerStep[] = [];
  #skipped = 0;
  /** Steps of a lazy scaler, whose outcomes are still on the device. */
  #unread: ScalerStep[] = [];
  /** The scaler's own count when a graph took over, whose replays nobody else counts. */
  #replaysFrom: number | null = null;
  /** Gradients are multiplied by the scale now. */
  #scaled = false;
  /** A graph records what comes. */
  #recording = false;

  constructor(scaler: GradScaler) {
    this.#core = scaler.core;
  }

  /**
   * A scaled loss was given to somebody who calls backward without {@link beforeBackward}: {@link settle} will divide.
   */
  expectScaled(): void {
    this.#scaled = true;
  }
  /** Gradients are shards, and what is found is that of all ranks. */
  get #shared(): boolean {
    return this.#core.reduceFoundInf !== null;
  }
  /** That backward has not come. */
  expectUnscaled(): void {
    this.#scaled = false;
  }

  /** A scaled backward comes: bring gradients that are there to the scale. `others`: parameters of no optimizer. */
  beforeBackward(optimizers: readonly Optimizer[], others: readonly Tensor[]): void {
    this.#scaled = true;
    const done = optimizers.length > 1 ? new Set<Tensor>() : null;
    for (const optimizer of optimizers) {
      const params = fresh(parametersOf(optimizer), done);
      const none = withGradients(params, (gradients) => {
        gradients.multiply(this.#core.scale);
        // Others may have some of an optimizer of which this rank has nothing.
        return gradients.none && !(this.#shared && params.length === 0);
      });
      if (none && (done === null || params.length === parametersOf(optimizer).length)) this.cleared(optimizer);
    }
    if (others.length > 0) withGradients(others, (gradients) => gradients.multiply(this.#core.scale));
  }

  /** Divide gradients that are scaled, and note what is not finite. Does nothing where they are unscaled. */
  settle(optimizers: readonly Optimizer[], others: readonly Tensor[]): void {
    if (!this.#scaled) return;
    this.#scaled = false;
    const done = optimizers.length > 1 ? new Set<Tensor>() : null;
    try {
      for (const optimizer of optimizers) {
        const all = parametersOf(optimizer);
        const own = fresh(all, done);
        withGradients(own, (gradients) => {
          if (!gradients.none || this.#shared) this.#core.check(gradients, this.#freshOf(optimizer), true);
        });
        if (own.length === all.length) continue;
        // Shared ones were divided with another optimizer's.
        withGradients(
          all.filter((p) => !own.includes(p)),
          (gradients) => {
            if (!gradients.none) this.#core.check(gradients, this.#freshOf(optimizer), false);
          },
        );
      }
    } finally {
      if (others.length > 0) withGradients(others, (gradients) => this.#core.divide(gradients));
      this.#recording = false;
    }
  }

  #freshOf(optimizer: Optimizer): LateRow {
    let known = this.#known.get(optimizer);
    if (known?.spent === true) {
      this.cleared(optimizer);
      known = undefined;
    }
    if (known === undefined) {
      known = { fresh: null, counted: null, spent: false };
      this.#known.set(optimizer, known);
    }
    known.fresh ??= this.#core.newRecord();
    if (this.#recording) this.#core.records.retire(known.fresh);
    return known.fresh;
  }

  /** An optimizer's gradients were thrown away, or filled with zeros. */
  cleared(optimizer: Optimizer): void {
    const known = this.#known.get(optimizer);
    if (known === undefined) return;
    this.#known.delete(optimizer);
    const { records } = this.#core;
    if (known.counted !== null) records.release(known.counted);
    if (known.fresh === null) return;
    if (this.#recording) return records.release(known.fresh);
    if (this.#lost === null) this.#lost = known.fresh;
    else this.#add(this.#lost, known.fresh);
  }

  /** What `from` found, too; `from` is given back. */
  #add(to: LateRow, from: LateRow): void {
    noGrad(() => foundOf(to).add_(foundOf(from)));
    this.#core.records.release(from);
  }

  /**
   * Step with unscaled gradients, or skip when a backward found some that are not finite. An optimizer without gradients
   * steps as it would without a scaler.
   */
  step(optimizer: Optimizer): ScalerStep {
    const record = this.#recordOf(optimizer);
    if (record === null) {
      optimizer.step();
      return this.#core.unchecked(optimizer);
    }
    const result = this.#core.step(optimizer, record, false);
    const known = this.#known.get(optimizer);
    if (known !== undefined) known.spent = true;
    this.#results.push(result);
    if (this.#replaysFrom === null) this.#unread.push(result);
    if (!this.#core.lazy || this.#unread.length > UNREAD_STEPS) this.#countSkipped();
    return result;
  }

  #countSkipped(): void {
    for (const { stepped } of this.#unread.splice(0)) if (!stepped) this.#skipped++;
  }

  /** Steps skipped so far, of all optimizers. Waits for the device. */
  get skippedSteps(): number {
    this.#countSkipped();
    return this.#skipped + (this.#replaysFrom === null ? 0 : this.#core.skipped.item() - this.#replaysFrom);
  }

  /** Whether a backward since the latest update found a gradient that is not finite. Waits for the device. */
  get overflowing(): boolean {
    for (const { fresh } of this.#known.values()) if (fresh !== null && foundOf(fresh).item() !== 0) return true;
    return false;
  }

  #recordOf(optimizer: Optimizer): LateRow | null {
    const known = this.#known.get(optimizer);
    if (known === undefined) return null;
    if (!this.#shared && withGradients(parametersOf(optimizer), ({ none }) => none)) {
      this.cleared(optimizer);
      return null;
    }
    if (known.counted === null) return known.fresh;
    // A row of this step's own, which counts nothing again.
    const record = this.#core.newRecord();
    this.#passing.push(record);
    noGrad(() => {
      for (const found of [known.counted, known.fresh]) if (found !== null) foundOf(record).add_(foundOf(found));
    });
    return record;
  }

  /**
   * One update of the scale, with everything that backwards have found since the last; none when they found nothing to
   * count.
   * @throws {LossScaleError} as {@link GradScaler.update}.
   */
  update(): void {
    const all = [...this.#known.values()];
    const results = this.#results.splice(0);
    const found = [this.#lost, ...all.map((known) => known.fresh)].filter((row) => row !== null);
    try {
      if (found.length > 0)
        this.#core.update(found.map(foundOf), null, () => results.flatMap((result) => result.nonFiniteIndices));
    } finally {
      const { records } = this.#core;
      for (const record of this.#passing.splice(0)) records.release(record);
      if (this.#lost !== null) records.release(this.#lost);
      this.#lost = null;
      for (const known of all) {
        if (known.counted === null) known.counted = known.fresh;
        else if (known.fresh !== null) this.#add(known.counted, known.fresh);
        known.fresh = null;
      }
    }
  }

  /**
   * The next backward and what follows is recorded by a graph, which must not be interrupted, and whose replays write
   * to what it uses. What earlier steps left on the device is read.
   */
  beginRecording(): void {
    this.#core.records.readAll();
    this.#recording = true;
    if (this.#replaysFrom !== null) return;
    this.#countSkipped();
    this.#replaysFrom = this.#core.skipped.item();
  }
}

/** Those of `params` that are not `done`, which then are. */
function fresh(params: readonly Tensor[], done: Set<Tensor> | null): readonly Tensor[] {
  if (done === null) return params;
  const own = params.filter((p) => !done.has(p));
  for (const p of own) done.add(p);
  return own;
}
