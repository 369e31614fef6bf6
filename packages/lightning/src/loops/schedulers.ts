import { verbatim } from "@nbit/torch";
import { MisconfigurationError } from "../errors.js";
import { mustEnd } from "../promises.js";
import type { LightningModule } from "../module.js";
import type { MetricStore } from "../logging/metric-store.js";
import type { Collectives } from "../strategies/strategy.js";
import { warn } from "../warnings.js";
import type { LRSchedulerConfig } from "./optimizer-configuration.js";

/** Steps the schedulers of automatic optimization when their interval comes round. */
export class SchedulerStepper {
  #configs: readonly LRSchedulerConfig[];

  constructor(
    configs: readonly LRSchedulerConfig[],
    readonly module: LightningModule,
    readonly metricStore: MetricStore,
    readonly collectives: Collectives | null = null,
  ) {
    this.#configs = configs;
  }

  get hasPlateauPerStep(): boolean {
    return this.#configs.some((config) => config.reduceOnPlateau && config.interval === "step");
  }

  /** Step others from here on. */
  replace(configs: readonly LRSchedulerConfig[]): void {
    this.#configs = configs;
  }

  /**
   * @param index - How many steps of this epoch, or epochs, are complete.
   * @param plateau - Those that take a metric, which come after validation, or all others.
   */
  step(interval: "step" | "epoch", index: number, plateau: boolean): void {
    if (this.#configs.length === 0 || !this.module.automaticOptimization) return;
    for (const config of this.#configs) {
      if (config.reduceOnPlateau !== plateau || config.interval !== interval || index % config.frequency !== 0)
        continue;
      const metric = plateau ? this.#metric(config) : null;
      if (plateau && metric === null) continue;
      mustEnd("lrSchedulerStep", this.module.lrSchedulerStep(config.scheduler, metric));
    }
  }

  #metric(config: LRSchedulerConfig): number | null {
    const metrics = this.metricStore.view("callback");
    const mine = config.monitor === null ? undefined : metrics[config.monitor];
    // Rates stay equal in all processes: that of process 0 counts, where it is a value of this process's batches.
    const value = this.collectives === null ? mine : this.collectives.broadcastObject(mine);
    if (value !== undefined) return value;
    const have = Object.keys(metrics);
    const message = `the metric ${JSON.stringify(config.monitor)} that a ReduceLROnPlateau scheduler is stepped with`;
    if (config.strict) {
      throw new MisconfigurationError(
        "fit",
        message,
        verbatim(have.length === 0 ? "no metrics" : `the metrics ${have.join(", ")}`),
        "log it, or change the scheduler's monitor.",
        "ERR_MONITOR",
      );
    }
    warn("WARN_MONITOR", `fit: ${message} was not logged; the scheduler was not stepped.`);
    return null;
  }
}
