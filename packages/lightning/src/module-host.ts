import type { Tensor, optim } from "@nbit/torch";
import type { LogValue } from "./logging/metric.js";
import type { LogOptions } from "./logging/results.js";
import type { LightningOptimizer } from "./loops/lightning-optimizer.js";
import type { TrainerView } from "./trainer-view.js";

/** What a Trainer offers to the module that it trains. */
export interface ModuleHost {
  readonly trainer: TrainerView;
  /** Call a method of the module under its name: `log` asks where it is called from. */
  within<T>(hook: string, fn: () => T): T;
  log(name: string, value: LogValue, options: LogOptions): void;
  manualBackward(loss: Tensor): void;
  wrappedOptimizers(): readonly LightningOptimizer[];
  clipGradients(
    optimizer: optim.Optimizer | LightningOptimizer,
    value: number | null,
    algorithm: "norm" | "value" | null,
  ): void;
}
