/** A schedule that reacts to a metric. */
import { ArgumentError } from "../../errors.js";
import { checkOptions, type OptionNames } from "../../options.js";
import { Optimizer } from "../optimizer.js";

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
const NAMES: OptionNames<PlateauOptions> = { mode: true, factor: true, patience: true, threshold: true, thresholdMode: true, cooldown: true, minLr: true, eps: true };

/** × factor when the metric has not improved for more than `patience` steps. */
export class ReduceLROnPlateau {
  readonly optimizer: Optimizer;
  readonly options: Required<PlateauOptions>;
  best: number;
  numBadEpochs = 0;
  cooldownCounter = 0;
  lastEpoch = 0;

  constructor(optimizer: Optimizer, options: PlateauOptions = {}) {
    if (!(optimizer instanceof Optimizer)) throw new ArgumentError("ReduceLROnPlateau", "an optimizer", optimizer);
    checkOptions("ReduceLROnPlateau", options, NAMES);
    this.optimizer = optimizer;
    this.options = { mode: "min", factor: 0.1, patience: 10, threshold: 1e-4, thresholdMode: "rel", cooldown: 0, minLr: 0, eps: 1e-8, ...options };
    if (!(this.options.factor < 1)) throw new ArgumentError("ReduceLROnPlateau", "factor < 1", this.options.factor);
    if (this.options.mode !== "min" && this.options.mode !== "max") throw new ArgumentError("ReduceLROnPlateau", "mode to be min or max", this.options.mode);
    this.best = this.options.mode === "min" ? Infinity : -Infinity;
  }
  #better(metric: number): boolean {
    const { mode, threshold, thresholdMode } = this.options;
    const sign = mode === "min" ? -1 : 1;
    const bound = thresholdMode === "rel" ? this.best * (1 + sign * threshold) : this.best + sign * threshold;
    return mode === "min" ? metric < bound : metric > bound;
  }
  step(metric?: number): void {
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
    return this.optimizer.paramGroups.map((g) => g.lr);
  }
  stateDict(): Record<string, unknown> {
    return { best: this.best, numBadEpochs: this.numBadEpochs, cooldownCounter: this.cooldownCounter, lastEpoch: this.lastEpoch, lrs: this.getLastLr() };
  }
  loadStateDict(state: Record<string, unknown>): void {
    for (const key of ["best", "numBadEpochs", "cooldownCounter", "lastEpoch"] as const) {
      const value = state[key];
      if (typeof value !== "number") throw new ArgumentError("ReduceLROnPlateau.loadStateDict", `${key} to be a number`, value);
      this[key] = value;
    }
    if (Array.isArray(state["lrs"]))
      state["lrs"].forEach((lr, i) => {
        const g = this.optimizer.paramGroups[i];
        if (g !== undefined) g.lr = Number(lr);
      });
  }
}
