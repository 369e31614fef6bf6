import { atMost } from "@nbit/torch";
import type { nn } from "@nbit/torch";
import type { StepOutcome } from "../types.js";

/** Metrics reach a logger as plain numbers, read from the device once, at the log cadence. */
export type Metrics = Readonly<Record<string, number>>;

/** What a logger sees of a `ModelCheckpoint` that has just saved. */
export interface SavedCheckpoint {
  /** The file, or the folder of a sharded one. */
  readonly lastSavedPath: string;
  readonly bestModelPath: string;
}

/**
 * Base class of loggers. `name`, `version` and `logDir` say where; `logMetrics` is the one method that every logger
 * needs.
 *
 * The Trainer calls `logMetrics` at its cadence (every `logEveryNSteps` steps, and at the ends of epochs), then `save`.
 * `step` is the number of optimizer steps made so far; the Trainer adds an `epoch` metric. All methods may be async.
 */
export abstract class Logger {
  constructor() {
    // Classes without a constructor of their own pass on what they are given.
    atMost(new.target.name || "Logger", arguments, 0);
  }

  /** Name of the experiment. */
  abstract readonly name: string;
  /** Version within the experiment: 0, 1, … or a string. */
  abstract readonly version: number | string;

  /** Where this run's files go; null for loggers without files. Checkpoints are placed in `<logDir>/checkpoints`. */
  get logDir(): string | null {
    return null;
  }

  /**
   * Called before each run that logs, in process 0, and waited for: the place to reach a server. An error ends the run
   * before it has started.
   */
  start(): void | Promise<void> {}

  abstract logMetrics(metrics: Metrics, step: number): void | Promise<void>;

  /**
   * What the latest training iteration did: whether it stepped, its loss scale, the gradient's norm, parameters whose
   * gradients were not finite. At the cadence of `logMetrics`, also when there are no metrics. On CUDA reading a field
   * waits for the device.
   */
  logOutcome(_outcome: StepOutcome, _step: number): void | Promise<void> {}

  /**
   * Called instead of anything else where process 0 of several does the logging: `version` is the one that it logs to.
   * A logger that finds its version itself takes this one, and writes nothing. Default: nothing.
   */
  follow(_version: number | string): void {}

  /** Called once before training with what `saveHyperparameters` recorded. */
  logHyperparams(_params: Readonly<Record<string, unknown>>): void | Promise<void> {}

  /** Called before training with the module, converted and restored, before it goes to its device. */
  logGraph(_model: nn.Module): void | Promise<void> {}

  /** Called in process 0 when a `ModelCheckpoint` has saved. It must end when it returns. */
  afterSaveCheckpoint(_checkpoint: SavedCheckpoint): void {}

  /** Make what was logged so far durable. Called after each `logMetrics`; should be cheap when nothing changed. */
  save(): void | Promise<void> {
    atMost(`${this.constructor.name}.save`, arguments, 0);
  }

  /**
   * Called for each checkpoint: make durable what was logged, and say where the log stands. Plain values. Default:
   * nothing to say.
   */
  stateDict(): Record<string, unknown> {
    return {};
  }

  /**
   * A run goes on from a checkpoint: what was logged after `state` was taken will be logged again. Called before
   * anything of this run is logged.
   */
  loadStateDict(_state: Record<string, unknown>): void {}

  /** The run ended. Called exactly once per run. */
  finalize(_status: "success" | "failed" | "interrupted"): void | Promise<void> {}
}
