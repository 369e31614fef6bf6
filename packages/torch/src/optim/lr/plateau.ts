/** A schedule that reacts to a metric. */
import { ArgumentError } from "../../errors.js";
import { atMost, checkOptions, type OptionNames } from "../../options.js";
import { Optimizer } from "../optimizer.js";
import type { ParamGroup } from "../state.js";
import { inRange, savedRates, savedState, whole } from "./arguments.js";

export interface PlateauOptions {
  /** Whether smaller ("min", default) or larger is better. */
  readonly mode?: "min" | "max";
  /** What the learning rate is multiplied by, < 1. Default 0.1. */
  readonly factor?: number;
  /** Steps without improvement that are borne. Default 10. */
  readonly patience?: number;
  /** The least change that is an improvement. Default 1e-4. */
  readonly threshold?: number;
  /** Whether `threshold` is a share of the best ("rel", default) or a difference. */
  readonly thresholdMode?: "rel" | "abs";
  /** Steps after a reduction that are not counted. Default 0. */
  readonly cooldown?: number;
  /** Learning rates do not fall below. Default 0. */
  readonly minLr?: number;
  /** A smaller change of the learning rate is not made. Default 1e-8. */
  readonly eps?: number;
}
const NAMES: OptionNames<PlateauOptions> = {
  mode: true,
  factor: true,
  patience: true,
  threshold: true,
  thresholdMode: true,
  cooldown: true,
  minLr: true,
  eps: true,
};

/** × factor when the metric has not improved for more than `patience` steps. */
export class ReduceLROnPlateau {
  readonly optimizer: Optimizer;
  readonly options: Required<PlateauOptions>;
  best: number;
  numBadEpochs = 0;
  cooldownCounter = 0;
  lastEpoch = 0;

  constructor(optimizer: Optimizer, options: PlateauOptions = {}) {
    atMost("ReduceLROnPlateau", arguments, 2);
    if (!(optimizer instanceof Optimizer)) throw new ArgumentError("ReduceLROnPlateau", "an optimizer", optimizer);
    checkOptions("ReduceLROnPlateau", options, NAMES);
    this.optimizer = optimizer;
    this.options = {
      mode: "min",
      factor: 0.1,
      patience: 10,
      threshold: 1e-4,
      thresholdMode: "rel",
      cooldown: 0,
      minLr: 0,
      eps: 1e-8,
      ...options,
    };
    checkValues(this.options);
    this.best = this.options.mode === "min" ? Infinity : -Infinity;
  }
  #better(metric: number): boolean {
    const { mode, threshold, thresholdMode } = this.options;
    const sign = mode === "min" ? -1 : 1;
    const bound = thresholdMode === "rel" ? this.best * (1 + sign * threshold) : this.best + sign * threshold;
    return mode === "min" ? metric < bound : metric > bound;
  }
  step(metric?: number): void {
    atMost("ReduceLROnPlateau.step", arguments, 1);
    if (typeof metric !== "number") throw new ArgumentError("ReduceLROnPlateau.step", "the metric as a number", metric);
    this.lastEpoch++;
    if (this.#better(metric)) {
      this.best = metric;
      this.numBadEpochs = 0;
    } else {
      this.numBadEpochs++;
    }
    if (this.cooldownCounter > 0) {
      this.cooldownCounter--;
      this.numBadEpochs = 0;
    }
    if (this.numBadEpochs > this.options.patience) {
      for (const g of this.optimizer.paramGroups) {
        const lr = Math.max(g.lr * this.options.factor, this.options.minLr);
        if (g.lr - lr > this.options.eps) g.lr = lr;
      }
      this.cooldownCounter = this.options.cooldown;
      this.numBadEpochs = 0;
    }
  }
  getLastLr(): number[] {
    atMost("ReduceLROnPlateau.getLastLr", arguments, 0);
    return this.optimizer.paramGroups.map((g) => g.lr);
  }
  stateDict(): Record<string, unknown> {
    atMost("ReduceLROnPlateau.stateDict", arguments, 0);
    return {
      best: this.best,
      numBadEpochs: this.numBadEpochs,
      cooldownCounter: this.cooldownCounter,
      lastEpoch: this.lastEpoch,
      lrs: this.getLastLr(),
    };
  }
  /**
   * Load what {@link stateDict} returned, learning rates of the groups included. @throws {ArgumentError} before anything
   * changes, when it is not such a state.
   */
  loadStateDict(state: Record<string, unknown>): void {
    atMost("ReduceLROnPlateau.loadStateDict", arguments, 1);
    const fn = "ReduceLROnPlateau.loadStateDict";
    const { best, lrs, ...counts } = savedState(fn, state);
    const groups = this.optimizer.paramGroups;
    // Infinite before the first metric.
    if (typeof best !== "number" || Number.isNaN(best)) throw new ArgumentError(fn, "best to be a number", best);
    for (const key of COUNTS) whole(fn, key, counts[key], 0);
    const rates = lrs === undefined ? null : savedRates(fn, "lrs", lrs, groups.length, groups.length);
    this.best = best;
    for (const key of COUNTS) this[key] = counts[key] as number;
    rates?.forEach((rate, i) => {
      (groups[i] as ParamGroup).lr = rate;
    });
  }
}
const COUNTS = ["numBadEpochs", "cooldownCounter", "lastEpoch"] as const;

function checkValues(o: Required<PlateauOptions>): void {
  const fn = "ReduceLROnPlateau";
  if (o.mode !== "min" && o.mode !== "max") throw new ArgumentError(fn, "mode to be min or max", o.mode);
  if (o.thresholdMode !== "rel" && o.thresholdMode !== "abs")
    throw new ArgumentError(fn, "thresholdMode to be rel or abs", o.thresholdMode);
  inRange(fn, "factor", o.factor);
  if (o.factor >= 1) throw new ArgumentError(fn, "factor < 1", o.factor);
  for (const name of ["patience", "cooldown"] as const) whole(fn, name, o[name], 0);
  for (const name of ["threshold", "minLr", "eps"] as const) inRange(fn, name, o[name]);
}
