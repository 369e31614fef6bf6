import { atMost, checkOptions, kinds, type optim, type OptionNames, verbatim } from "@nbit/torch";
import { MisconfigurationError, misconfigured } from "../errors.js";
import type { TrainerView } from "../trainer-view.js";
import type { HookResult } from "../types.js";
import { Callback } from "./callback.js";
import { logCallbackMetrics } from "./log-metrics.js";

export interface LearningRateMonitorOptions {
  /** Log at every log step, at every epoch, or (default) each scheduler at its own interval. */
  readonly loggingInterval?: "step" | "epoch" | null;
  /** Log momentum (the first beta of Adam and its kin) too. Default false. */
  readonly logMomentum?: boolean;
  /** Log weight decay too. Default false. */
  readonly logWeightDecay?: boolean;
}
const { flag, oneOf, orNull } = kinds;
const NAMES: OptionNames<LearningRateMonitorOptions> = {
  loggingInterval: orNull(oneOf("step", "epoch")),
  logMomentum: flag,
  logWeightDecay: flag,
};

/**
 * Logs learning rates.
 *
 * Names: the scheduler's `name`, else `lr-` and the optimizer's class; `-1`, `-2`, … for further ones of that class;
 * `/pg1`, `/pg2`, … (or the group's own name) for parameter groups when there are several.
 */
export class LearningRateMonitor extends Callback {
  readonly #options: LearningRateMonitorOptions;

  constructor(options: LearningRateMonitorOptions = {}) {
    atMost("LearningRateMonitor", arguments, 1);
    super();
    checkOptions("LearningRateMonitor", options, NAMES, misconfigured("LearningRateMonitor", "ERR_LR_MONITOR"));
    this.#options = options;
  }

  override onTrainStart(trainer: TrainerView): void {
    if (trainer.loggers.length === 0) {
      throw new MisconfigurationError(
        "LearningRateMonitor",
        "a Trainer with a logger",
        verbatim("logger: false"),
        "Remove this callback, or add a logger.",
        "ERR_LR_MONITOR",
      );
    }
  }

  override onTrainBatchStart(trainer: TrainerView): HookResult {
    if (trainer.isLogStep && this.#options.loggingInterval !== "epoch") return this.#log(trainer, "step");
  }

  override onTrainEpochStart(trainer: TrainerView): HookResult {
    if (this.#options.loggingInterval !== "step") return this.#log(trainer, "epoch");
  }

  #log(trainer: TrainerView, interval: "step" | "epoch"): HookResult {
    const rates = this.#read(trainer, interval);
    if (Object.keys(rates).length === 0) return;
    return logCallbackMetrics(trainer, rates);
  }

  #read(trainer: TrainerView, interval: "step" | "epoch"): Record<string, number> {
    const all = this.#options.loggingInterval != null;
    const rates: Record<string, number> = {};
    const seen = new Set<optim.Optimizer>();
    const classes = new Map<string, number>();
    const visit = (optimizer: optim.Optimizer, ownName: string | null, take: boolean): void => {
      seen.add(optimizer);
      let name = ownName ?? `lr-${optimizer.constructor.name}`;
      if (ownName === null) {
        const count = classes.get(name) ?? 0;
        classes.set(name, count + 1);
        if (count > 0) name = `${name}-${count}`;
      }
      if (take) this.#readGroups(optimizer, name, rates);
    };
    for (const config of trainer.lrSchedulerConfigs)
      visit(config.scheduler.optimizer, config.name, all || config.interval === interval);
    for (const optimizer of trainer.optimizers) if (!seen.has(optimizer)) visit(optimizer, null, true);
    return rates;
  }

  #readGroups(optimizer: optim.Optimizer, name: string, rates: Record<string, number>): void {
    const groups = optimizer.paramGroups;
    groups.forEach((group, i) => {
      const own: unknown = Reflect.get(group, "name");
      const groupName = typeof own === "string" ? own : groups.length > 1 ? `pg${i + 1}` : null;
      const key = groupName === null ? name : `${name}/${groupName}`;
      rates[key] = Number(group.lr);
      if (this.#options.logMomentum === true) {
        const betas: unknown = Reflect.get(group, "betas");
        const momentum: unknown = Array.isArray(betas) ? betas[0] : Reflect.get(group, "momentum");
        rates[`${key}-momentum`] = typeof momentum === "number" ? momentum : 0;
      }
      const decay: unknown = Reflect.get(group, "weightDecay");
      if (this.#options.logWeightDecay === true && typeof decay === "number") rates[`${key}-weight_decay`] = decay;
    });
  }
}
