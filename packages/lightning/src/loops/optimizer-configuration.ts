/** What `configureOptimizers` may return, and what it becomes. */
import type { optim } from "@nbit/torch";

/** What a learning rate scheduler must be able to do. */
export interface Scheduler {
  readonly optimizer: optim.Optimizer;
  step(metric?: number): void;
  stateDict(): Record<string, unknown>;
  loadStateDict(state: Record<string, unknown>): void;
}

/** A scheduler and when it is stepped. */
export interface LRSchedulerConfig {
  readonly scheduler: Scheduler;
  /** Step after each optimizer step, or after each epoch. Default "epoch". */
  readonly interval: "step" | "epoch";
  /** Step at every n-th of these. Default 1. */
  readonly frequency: number;
  /** True: it is stepped with a metric, after validation (ReduceLROnPlateau). */
  readonly reduceOnPlateau: boolean;
  /** Name of that metric. */
  readonly monitor: string | null;
  /** Whether a missing metric is an error (default) or a warning. */
  readonly strict: boolean;
  /** For LearningRateMonitor. */
  readonly name: string | null;
}

export interface SchedulerSpec extends Partial<Omit<LRSchedulerConfig, "scheduler" | "interval" | "monitor" | "name">> {
  readonly scheduler: Scheduler;
  /** "step" or "epoch", which is checked when it is read: a literal in what a method returns is a string to TypeScript. */
  readonly interval?: LRSchedulerConfig["interval"] | (string & {});
  readonly monitor?: string;
  readonly name?: string;
}

export interface OptimizerSpec {
  readonly optimizer: optim.Optimizer;
  readonly lrScheduler?: Scheduler | SchedulerSpec;
  readonly monitor?: string;
}

/** What `configureOptimizers` may return. */
export type OptimizerConfiguration =
  | optim.Optimizer
  | readonly optim.Optimizer[]
  | OptimizerSpec
  | readonly OptimizerSpec[]
  | readonly [readonly optim.Optimizer[], readonly (Scheduler | SchedulerSpec)[]]
  // What TypeScript makes of such a pair in a method whose return type nobody wrote.
  | readonly (readonly (optim.Optimizer | Scheduler | SchedulerSpec)[])[]
  | null
  | undefined
  | void;
