/** A schedule that reacts to a metric. */
import { ArgumentError } from "../../errors.js";
import { byDefault, oneOf, real, whole as wholeKind, either, listOf } from "../../kinds.js";
import { atMost, type OptionNames } from "../../options.js";
import { signature, type Call } from "../../signature.js";
import { isTensor } from "../../tensor/handle.js";
import type { Tensor } from "../../tensor/tensor.js";
import type { Optimizer } from "../optimizer.js";
import type { ParamGroup } from "../state.js";
import { forGroups, NON_NEGATIVE, OPTIMIZER, savedRates, savedState, whole } from "./arguments.js";

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
  /** Learning rates do not fall below, of all groups or of each. Default 0. */
  readonly minLr?: number | readonly number[];
  /** A smaller change of the learning rate is not made. Default 1e-8. */
  readonly eps?: number;
}
export interface PlateauArguments extends PlateauOptions {
  readonly optimizer: Optimizer;
}
const COUNT = wholeKind("[0, ∞)");
const read = signature("ReduceLROnPlateau", {
  optimizer: OPTIMIZER,
  mode: byDefault("min", oneOf("min", "max")),
  factor: byDefault(0.1, real("[0, 1)")),
  patience: byDefault(10, COUNT),
  threshold: byDefault(1e-4, NON_NEGATIVE),
  thresholdMode: byDefault("rel", oneOf("rel", "abs")),
  cooldown: byDefault(0, COUNT),
  minLr: byDefault(0, either(NON_NEGATIVE, listOf(NON_NEGATIVE))),
  eps: byDefault(1e-8, NON_NEGATIVE),
} satisfies OptionNames<PlateauArguments>);
type PlateauCall = Call<
  PlateauArguments,
  ["optimizer", "mode", "factor", "patience", "threshold", "thresholdMode", "cooldown", "minLr", "eps"],
  [
    optimizer: Optimizer,
    mode?: "min" | "max",
    factor?: number,
    patience?: number,
    threshold?: number,
    thresholdMode?: "rel" | "abs",
    cooldown?: number,
    minLr?: number | readonly number[],
    eps?: number,
  ]
>;

/** × factor when the metric has not improved for more than `patience` steps. */
export class ReduceLROnPlateau {
  readonly optimizer: Optimizer;
  readonly options: Required<PlateauOptions>;
  best: number;
  numBadEpochs = 0;
  cooldownCounter = 0;
  lastEpoch = 0;

  constructor(...given: PlateauCall) {
    const { optimizer, ...options } = read(given, new.target.name);
    if (typeof options.minLr !== "number") forGroups(new.target.name, "minLr", optimizer, options.minLr);
    this.optimizer = optimizer;
    this.options = options;
    this.best = options.mode === "min" ? Infinity : -Infinity;
  }
  #better(metric: number): boolean {
    const { mode, threshold, thresholdMode } = this.options;
    const sign = mode === "min" ? -1 : 1;
    const bound = thresholdMode === "rel" ? this.best * (1 + sign * threshold) : this.best + sign * threshold;
    return mode === "min" ? metric < bound : metric > bound;
  }
  /** @param metric - A number, or a tensor of one element, which is read: that waits for its device. */
  step(metric?: number | Tensor): void {
    const fn = "ReduceLROnPlateau.step";
    atMost(fn, arguments, 1);
    const value: unknown = isTensor(metric) && !metric.isComplex() && metric.numel() === 1 ? metric.item() : metric;
    if (typeof value !== "number") throw new ArgumentError(fn, "the metric as a number", metric);
    this.#checkGroups(fn);
    this.lastEpoch++;
    if (this.#better(value)) {
      this.best = value;
      this.numBadEpochs = 0;
    } else {
      this.numBadEpochs++;
    }
    if (this.cooldownCounter > 0) {
      this.cooldownCounter--;
      this.numBadEpochs = 0;
    }
    if (this.numBadEpochs > this.options.patience) {
      const { factor, minLr, eps } = this.options;
      this.optimizer.paramGroups.forEach((g, i) => {
        const lr = Math.max(g.lr * factor, typeof minLr === "number" ? minLr : (minLr[i] as number));
        if (g.lr - lr > eps) g.lr = lr;
      });
      this.cooldownCounter = this.options.cooldown;
      this.numBadEpochs = 0;
    }
  }
  #checkGroups(fn: string): void {
    const { minLr } = this.options;
    const n = this.optimizer.paramGroups.length;
    if (typeof minLr !== "number" && minLr.length !== n)
      throw new ArgumentError(fn, `as many groups as minLr has numbers (${minLr.length})`, n);
  }
  /** Steps for which no change is counted are still to come. */
  get inCooldown(): boolean {
    return this.cooldownCounter > 0;
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
