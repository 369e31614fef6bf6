import type { Hooks } from "../hooks.js";
import type { MetricBoard } from "../logging/board.js";
import type { Logger } from "../loggers/logger.js";
import type { LightningModule, ModuleHost } from "../module.js";
import type { Precision } from "../precision/precision.js";
import type { Strategy } from "../strategies/strategy.js";
import type { ResolvedOptions } from "../trainer-options.js";
import type { Batch, RunningStage, StepOutcome } from "../types.js";
import type { WarnOnce } from "../warnings.js";

/** What every loop of one run works with. */
export interface LoopContext {
  readonly module: LightningModule;
  readonly host: ModuleHost;
  readonly hooks: Hooks;
  readonly precision: Precision;
  readonly strategy: Strategy;
  readonly board: MetricBoard;
  readonly loggers: readonly Logger[];
  readonly options: ResolvedOptions;
  readonly warnings: WarnOnce;
  stage: RunningStage | null;
  readonly shouldStop: boolean;
  /** Throws when the user asked to stop; called between batches. */
  checkInterrupt(): void;
}

/** Brings a batch to where it is used: converted by the precision, then moved, with the module's hooks around the move. */
export function makeTransfer(context: LoopContext, precision: Precision = context.precision): (batch: Batch, dataloaderIdx: number) => Batch {
  const { module, strategy } = context;
  return (batch, dataloaderIdx) => {
    const converted = precision.convertsInput ? precision.convertInput(batch) : batch;
    const moved = strategy.toDevice(module.onBeforeBatchTransfer(converted, dataloaderIdx));
    return module.onAfterBatchTransfer(moved, dataloaderIdx);
  };
}

/** Gives control back to Node's event loop now and then, so that timers, signals and sockets stay alive in a busy loop. */
export class Breather {
  #last = performance.now();

  /** A promise when it is time to breathe, else null. */
  due(): Promise<void> | null {
    const now = performance.now();
    if (now - this.#last < 20) return null;
    return new Promise((resolve) => {
      setImmediate(() => {
        this.#last = performance.now();
        resolve();
      });
    });
  }
}

/** Send metrics to all loggers. Gives a promise only when a logger does. */
export function logMetrics(context: LoopContext, metrics: Record<string, number>, step: number, epoch: number | null): void | Promise<void> {
  if (context.loggers.length === 0 || Object.keys(metrics).length === 0) return;
  let at = step;
  if (epoch !== null) {
    const own = metrics.step;
    if (own === undefined) metrics.epoch ??= epoch;
    else {
      at = Math.trunc(own);
      delete metrics.step;
    }
  }
  let pending: Promise<void> | null = null;
  for (const logger of context.loggers) {
    const write = async (first: void | Promise<void>): Promise<void> => {
      await first;
      await logger.save();
    };
    const logged = logger.logMetrics(metrics, at);
    if (logged instanceof Promise) pending = both(pending, write(logged));
    else {
      const saved = logger.save();
      if (saved instanceof Promise) pending = both(pending, saved);
    }
  }
  if (pending !== null) return pending;
}

/** Send what an iteration did to the loggers that want it. Gives a promise only when a logger does. */
export function logOutcome(context: LoopContext, outcome: StepOutcome | null, step: number): void | Promise<void> {
  if (outcome === null) return;
  let pending: Promise<void> | null = null;
  for (const logger of context.loggers) {
    const logged = logger.logOutcome(outcome, step);
    if (logged instanceof Promise) pending = both(pending, logged);
  }
  if (pending !== null) return pending;
}

async function both(a: Promise<void> | null, b: Promise<void>): Promise<void> {
  await a;
  await b;
}
