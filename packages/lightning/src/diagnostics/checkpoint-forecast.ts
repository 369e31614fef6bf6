/** What activation checkpointing saves in a step on a batch, and what it costs. */
import { verbatim } from "@nbit/torch";
import { MisconfigurationError } from "../errors.js";
import type { ModuleClass } from "../module-classes.js";
import type { Batch } from "../types.js";

export interface CheckpointForecast {
  /** Names of the classes. */
  readonly modules: string;
  /** Forwards that run again. */
  readonly calls: number;
  /** Bytes of activations that are not kept, and of arguments that are in their place. */
  readonly saved: number;
  readonly kept: number;
  /** Seconds of forward and backward, without and with. */
  readonly plainSeconds: number;
  readonly seconds: number;
}

/** Makes dry runs on a batch, with these classes; null: those of the Trainer's option. */
export type CheckpointObserver = (batch: Batch, classes: readonly ModuleClass[] | null) => CheckpointForecast;

// By precision, which knows nothing of modules' steps.
const observers = new WeakMap<object, CheckpointObserver>();

export function forecastCheckpointsWith(precision: object, observer: CheckpointObserver): void {
  observers.set(precision, observer);
}

/** @throws {MisconfigurationError} ERR_NOT_ATTACHED before the first fit. */
export function forecastCheckpoints(
  precision: object,
  batch: Batch,
  classes: readonly ModuleClass[] | null,
): CheckpointForecast {
  const observer = observers.get(precision);
  if (observer === undefined)
    throw new MisconfigurationError(
      "explain",
      "a module in training, for a batch",
      verbatim("none"),
      "Call trainer.fit first.",
      "ERR_NOT_ATTACHED",
    );
  return observer(batch, classes);
}
