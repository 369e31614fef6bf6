import { atMost, checkOptions, kinds, type OptionNames } from "@nbit/torch";
import type { RankOverflow } from "../diagnostics/non-finite-origin.js";
import type { LightningModule } from "../module.js";
import { overflowInWords } from "../ranks/overflows.js";
import type { TrainerView } from "../trainer-view.js";
import type { HookResult, StepOutcome } from "../types.js";
import { warn } from "../warnings.js";
import { Callback } from "./callback.js";
import { logCallbackMetrics } from "./log-metrics.js";

/** A step that was skipped since gradients were not finite. */
export interface Overflow {
  /** Optimizer-step attempts up to and with this one. */
  readonly step: number;
  /** The scale that its loss was multiplied by. */
  readonly lossScale: number;
  /**
   * Parameters whose gradients were not finite, in the model's order. Empty where they were gone before anybody asked
   * (CUDA, between log steps).
   */
  readonly nonFinite: readonly string[];
  /** With several processes: those whose batches made it, as {@link StepOutcome.ranks} says. */
  readonly ranks?: readonly RankOverflow[];
}

export interface LossScaleMonitorOptions {
  /** Warn once when the scale falls below this: some gradients are then so large that others vanish. Default 1. */
  readonly warnBelow?: number;
  /** The latest overflows to remember. Default 100. */
  readonly keep?: number;
}
const { real, whole } = kinds;
const NAMES: OptionNames<LossScaleMonitorOptions> = { warnBelow: real("[0, ∞]"), keep: whole("[1, ∞)") };

/**
 * Logs the loss scale and counts skipped steps: metrics `loss_scale`, `skipped_steps` and `skipped_share`, at the log
 * cadence. The progress bar names the first parameter whose gradient was not finite.
 *
 * On CPU each skipped step is noted with its parameters' names when it happens. On CUDA asking would wait for the
 * device, so values are read at log steps only, and names are known when the step of a log step was itself skipped.
 * Without a loss scaler it does nothing.
 *
 * @throws {ArgumentError} `LossScaleMonitor: expected warnBelow to be >= 0. Received: -1.`
 * @example
 * const monitor = new LossScaleMonitor();
 * await new Trainer({ precision: 16, callbacks: [monitor] }).fit(model, { trainDataloaders });
 * monitor.overflows.at(-1)?.nonFinite; // ["layers.0.weight"]
 */
export class LossScaleMonitor extends Callback {
  readonly #options: Required<LossScaleMonitorOptions>;
  readonly #overflows: Overflow[] = [];
  #immediate = false;
  #lastStep = 0;
  #lastSkipped = 0;
  #warned = false;

  constructor(options: LossScaleMonitorOptions = {}) {
    atMost("LossScaleMonitor", arguments, 1);
    super();
    checkOptions("LossScaleMonitor", options, NAMES);
    const { warnBelow = 1, keep = 100 } = options;
    this.#options = { warnBelow, keep };
  }

  /** The latest skipped steps, oldest first. */
  get overflows(): readonly Overflow[] {
    return this.#overflows;
  }

  override onTrainStart(trainer: TrainerView): void {
    this.#immediate = trainer.rootDevice.type === "cpu";
    this.#lastStep = trainer.globalStep;
    this.#lastSkipped = trainer.skippedSteps;
    this.#warned = false;
  }

  override onTrainBatchEnd(trainer: TrainerView, _module: LightningModule): HookResult {
    const outcome = trainer.lastOutcome;
    const step = trainer.globalStep;
    if (outcome === null || step === this.#lastStep) return;
    this.#lastStep = step;
    if (this.#immediate && outcome.skipped) this.#note(trainer, outcome);
    if (trainer.isLogStep) return this.#log(trainer, outcome);
  }

  #note(trainer: TrainerView, outcome: StepOutcome): void {
    this.#overflows.push({
      step: trainer.globalStep,
      lossScale: outcome.lossScale,
      nonFinite: outcome.nonFinite ?? [],
      ...(outcome.ranks === undefined ? {} : { ranks: outcome.ranks }),
    });
    if (this.#overflows.length > this.#options.keep) this.#overflows.shift();
  }

  #log(trainer: TrainerView, outcome: StepOutcome): HookResult {
    const scale = trainer.lossScale;
    if (scale === null) return;
    const skipped = trainer.skippedSteps;
    if (!this.#immediate && skipped > this.#lastSkipped) {
      if (trainer.precision.lastStepSkipped) this.#note(trainer, outcome);
      else this.#overflows.push({ step: trainer.globalStep, lossScale: scale, nonFinite: [] });
    }
    this.#lastSkipped = skipped;
    if (scale < this.#options.warnBelow && !this.#warned) {
      this.#warned = true;
      const { nonFinite: names = [], ranks } = this.#overflows.at(-1) ?? {};
      warn(
        "WARN_LOSS_SCALE_LOW",
        `LossScaleMonitor: the loss scale fell to ${scale}${names.length === 0 ? "" : `; gradients overflow in ${names.slice(0, 3).join(", ")}`}. ${ranks === undefined ? "" : `${overflowInWords(ranks)} `}Small gradients vanish at this scale: look at these layers, or use precision: "bf16".`,
      );
    }
    const metrics = {
      loss_scale: scale,
      skipped_steps: skipped,
      skipped_share: skipped / Math.max(1, trainer.globalStep),
    };
    return logCallbackMetrics(trainer, metrics);
  }
}
