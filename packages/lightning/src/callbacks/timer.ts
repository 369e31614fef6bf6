import { atMost, checkArguments, checkOptions, kinds, type OptionNames } from "@nbit/torch";
import { fieldsOf, notNegative, optional } from "@nbit/torch/schema";
import { checkState } from "../checkpoint/schema.js";
import { misconfigured } from "../errors.js";
import type { LightningModule } from "../module.js";
import { parseDuration } from "../duration.js";
import type { Duration } from "../duration.js";
import type { TrainerView } from "../trainer-view.js";
import { formatClock } from "@nbit/torch/format";
import { Callback } from "./callback.js";

type Stage = "train" | "validate" | "test";
const STAGE = kinds.oneOf("train", "validate", "test");

export interface TimerOptions {
  /** Training ends after this time: "DD:HH:MM:SS", or an object of days, hours, minutes, seconds. Default: never. */
  readonly duration?: string | Duration;
  /** Whether training may end after any batch (default) or only between epochs. */
  readonly interval?: "step" | "epoch";
  /** Say that the time is over. Default true. */
  readonly verbose?: boolean;
}
const { flag, oneOf } = kinds;
const NAMES: OptionNames<TimerOptions> = { duration: true, interval: oneOf("step", "epoch"), verbose: flag };
const STATE = fieldsOf({ seconds: optional(notNegative) });

/**
 * Measures the time spent in training, validation and testing, and ends training when a limit is reached. The time of
 * resumed runs counts.
 */
export class Timer extends Callback {
  readonly #limit: number | null;
  readonly #interval: "step" | "epoch";
  readonly #verbose: boolean;
  #said = false;
  readonly #started: Partial<Record<Stage, number>> = {};
  readonly #ended: Partial<Record<Stage, number>> = {};
  #before = 0;

  constructor(options: TimerOptions = {}) {
    atMost("Timer", arguments, 1);
    super();
    checkOptions("Timer", options, NAMES, misconfigured("Timer", "ERR_TIMER"));
    this.#limit = options.duration === undefined ? null : parseDuration(options.duration, "Timer");
    this.#interval = options.interval ?? "step";
    this.#verbose = options.verbose ?? true;
  }

  /** Seconds. */
  timeElapsed(stage: Stage = "train"): number {
    atMost("Timer.timeElapsed", arguments, 1);
    checkArguments("Timer.timeElapsed", { stage }, { stage: STAGE });
    const started = this.#started[stage];
    const before = stage === "train" ? this.#before : 0;
    return started === undefined ? before : before + ((this.#ended[stage] ?? performance.now()) - started) / 1000;
  }

  /** Seconds until training ends; null without a limit. */
  timeRemaining(): number | null {
    atMost("Timer.timeRemaining", arguments, 0);
    return this.#limit === null ? null : this.#limit - this.timeElapsed();
  }

  #begin(stage: Stage): void {
    this.#started[stage] = performance.now();
    delete this.#ended[stage];
  }

  #check(trainer: TrainerView): void {
    const remaining = this.timeRemaining();
    if (remaining === null || remaining > 0) return;
    trainer.shouldStop = true;
    if (this.#verbose && !this.#said && trainer.isGlobalZero)
      console.log(`Timer: training ends, its time is over after ${formatClock(this.timeElapsed())}.`);
    this.#said = true;
  }

  override onFitStart(trainer: TrainerView): void {
    this.#said = false;
    this.#check(trainer); // a resumed run may have used up its time
  }
  override onTrainStart(): void {
    this.#begin("train");
  }
  override onTrainBatchEnd(trainer: TrainerView): void {
    if (this.#interval === "step") this.#check(trainer);
  }
  override onTrainEpochEnd(trainer: TrainerView): void {
    if (this.#interval === "epoch") this.#check(trainer);
  }
  override onTrainEnd(): void {
    this.#ended.train = performance.now();
  }
  override onValidationStart(_trainer: TrainerView, _module: LightningModule): void {
    this.#begin("validate");
  }
  override onValidationEnd(): void {
    this.#ended.validate = performance.now();
  }
  override onTestStart(): void {
    this.#begin("test");
  }
  override onTestEnd(): void {
    this.#ended.test = performance.now();
  }

  override stateDict(): Record<string, unknown> {
    return { seconds: this.timeElapsed() };
  }
  override loadStateDict(state: Record<string, unknown>): void {
    this.#before = checkState("Timer.loadStateDict", STATE, state).seconds ?? this.#before;
  }
}
