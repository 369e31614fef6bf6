import {
  atMost,
  checkOptions,
  kinds,
  type Filled,
  type OptionNames,
  withDefaults,
  verbatim,
  plainText,
} from "@nbit/torch";
import { count, fieldsOf, optional, ordered } from "@nbit/torch/schema";
import { checkState } from "../checkpoint/schema.js";
import { MisconfigurationError, misconfigured } from "../errors.js";
import type { TrainerView } from "../trainer-view.js";
import { warn } from "../warnings.js";
import { Callback } from "./callback.js";

export interface EarlyStoppingOptions {
  /** Name of the metric. */
  readonly monitor: string;
  /** Whether smaller ("min", default) or larger is better. */
  readonly mode?: "min" | "max";
  /** A change of at most this is no improvement. Default 0. */
  readonly minDelta?: number;
  /** Checks without improvement before training ends. Default 3. */
  readonly patience?: number;
  /** A missing metric is an error. Default true. */
  readonly strict?: boolean;
  /** End when the metric is NaN or infinite. Default true. */
  readonly checkFinite?: boolean;
  /** End as soon as the metric is better than this. */
  readonly stoppingThreshold?: number;
  /** End as soon as the metric is worse than this. */
  readonly divergenceThreshold?: number;
  /**
   * Check at the end of training epochs, not after validation. Default: true when every epoch ends with one validation.
   */
  readonly checkOnTrainEpochEnd?: boolean;
  /** Say why training ended. Default true. */
  readonly verbose?: boolean;
  /** Say it once. False: every process says it, with its rank. Default true, as all decide alike. */
  readonly logRankZeroOnly?: boolean;
}
const { byDefault, filled, flag, oneOf, real, whole } = kinds;
const OPTIONS = {
  monitor: filled,
  mode: byDefault("min", oneOf("min", "max")),
  minDelta: byDefault(0, real("[0, ∞)")),
  patience: byDefault(3, whole("[0, ∞)")),
  strict: byDefault(true, flag),
  checkFinite: byDefault(true, flag),
  stoppingThreshold: real(),
  divergenceThreshold: real(),
  checkOnTrainEpochEnd: flag,
  verbose: byDefault(true, flag),
  logRankZeroOnly: byDefault(true, flag),
} satisfies OptionNames<EarlyStoppingOptions>;

const STATE = fieldsOf({ waitCount: optional(count), stoppedEpoch: optional(count), bestScore: optional(ordered) });

export type StoppingReason = "not_stopped" | "non_finite" | "threshold" | "diverged" | "patience";

/** Ends training when a metric stops improving. */
export class EarlyStopping extends Callback {
  readonly monitor: string;
  readonly mode: "min" | "max";
  readonly patience: number;
  waitCount = 0;
  stoppedEpoch = 0;
  bestScore: number;
  stoppingReason: StoppingReason = "not_stopped";

  readonly #options: Filled<EarlyStoppingOptions, typeof OPTIONS>;
  #atEpochEnd = true;

  constructor(options: EarlyStoppingOptions) {
    atMost("EarlyStopping", arguments, 1);
    super();
    checkOptions("EarlyStopping", options, OPTIONS, misconfigured("EarlyStopping", "ERR_EARLY_STOPPING"));
    if (typeof options.monitor !== "string")
      throw new MisconfigurationError(
        "EarlyStopping",
        "monitor to be the name of a metric",
        options.monitor,
        undefined,
        "ERR_EARLY_STOPPING",
      );
    this.#options = withDefaults(options, OPTIONS);
    this.monitor = this.#options.monitor;
    this.mode = this.#options.mode;
    this.patience = this.#options.patience;
    this.bestScore = this.mode === "min" ? Infinity : -Infinity;
  }

  override get stateKey(): string {
    return `EarlyStopping(${this.monitor}, ${this.mode})`;
  }
  override get runsLast(): boolean {
    return true;
  }

  override setup(trainer: TrainerView): void {
    this.#atEpochEnd =
      this.#options.checkOnTrainEpochEnd ??
      (trainer.valCheckInterval === undefined && trainer.checkValEveryNEpoch === 1);
  }

  override onTrainEpochEnd(trainer: TrainerView): void {
    if (this.#atEpochEnd) this.#check(trainer);
  }
  override onValidationEnd(trainer: TrainerView): void {
    if (!this.#atEpochEnd) this.#check(trainer);
  }

  #check(trainer: TrainerView): void {
    if (trainer.state.fn !== "fit" || trainer.sanityChecking || trainer.fastDevRun !== false) return;
    const ofRanks = trainer.metricOfRanks(this.monitor);
    const bad = this.#options.checkFinite ? ofRanks.findIndex((v) => v !== undefined && !Number.isFinite(v)) : -1;
    // One of them is enough, whichever counts otherwise.
    const current = bad === -1 ? trainer.agreedMetric(this.monitor, ofRanks) : ofRanks[bad];
    if (current === undefined) {
      const have = Object.keys(trainer.callbackMetrics).join(", ");
      if (this.#options.strict)
        throw new MisconfigurationError(
          "EarlyStopping",
          `the metric ${JSON.stringify(this.monitor)}`,
          verbatim(have === "" ? "no metrics" : `the metrics ${have}`),
          "log it, or change monitor.",
          "ERR_MONITOR",
        );
      warn("WARN_MONITOR", `EarlyStopping: the metric ${JSON.stringify(this.monitor)} was not logged.`);
      return;
    }
    const reason = this.#judge(current);
    if (reason === null) return;
    this.stoppingReason = reason;
    this.stoppedEpoch = trainer.currentEpoch;
    trainer.shouldStop = true;
    const { verbose, logRankZeroOnly } = this.#options;
    const who = logRankZeroOnly || trainer.worldSize === 1 ? "" : `[rank ${trainer.globalRank}] `;
    if (verbose && (trainer.isGlobalZero || !logRankZeroOnly))
      console.log(
        plainText(
          `${who}EarlyStopping: training ends, ${this.#explain(reason, current)}${bad === -1 || ofRanks.every((v) => Object.is(v, current)) ? "" : ` (on rank ${bad})`}.`,
        ),
      );
  }

  #better(a: number, b: number): boolean {
    return this.mode === "min" ? a < b : a > b;
  }

  #judge(current: number): StoppingReason | null {
    const { checkFinite, minDelta, stoppingThreshold, divergenceThreshold } = this.#options;
    if (checkFinite && !Number.isFinite(current)) return "non_finite";
    if (stoppingThreshold !== undefined && this.#better(current, stoppingThreshold)) return "threshold";
    if (divergenceThreshold !== undefined && this.#better(divergenceThreshold, current)) return "diverged";
    const margin = this.mode === "min" ? minDelta : -minDelta;
    if (this.#better(current + margin, this.bestScore)) {
      this.bestScore = current;
      this.waitCount = 0;
      return null;
    }
    this.waitCount++;
    return this.waitCount >= this.patience ? "patience" : null;
  }

  #explain(reason: StoppingReason, current: number): string {
    switch (reason) {
      case "non_finite":
        return `${this.monitor} is ${current}; its best was ${this.bestScore}`;
      case "threshold":
        return `${this.monitor} reached ${current}`;
      case "diverged":
        return `${this.monitor} went to ${current}`;
      default:
        return `${this.monitor} did not improve in ${this.waitCount} checks; its best was ${this.bestScore}`;
    }
  }

  override stateDict(): Record<string, unknown> {
    return {
      waitCount: this.waitCount,
      stoppedEpoch: this.stoppedEpoch,
      bestScore: this.bestScore,
      patience: this.patience,
      stoppingReason: this.stoppingReason,
    };
  }

  override loadStateDict(state: Record<string, unknown>): void {
    const { waitCount, stoppedEpoch, bestScore } = checkState("EarlyStopping.loadStateDict", STATE, state);
    this.waitCount = waitCount ?? this.waitCount;
    this.stoppedEpoch = stoppedEpoch ?? this.stoppedEpoch;
    this.bestScore = bestScore ?? this.bestScore;
  }
}
