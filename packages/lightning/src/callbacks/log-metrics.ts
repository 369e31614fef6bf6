import type { Metrics } from "../loggers/logger.js";
import type { TrainerView } from "../trainer-view.js";
import type { HookResult } from "../types.js";
import { isPromise } from "@nbit/torch/realm";

/**
 * What a monitor measured, to `trainer.callbackMetrics` and to every logger, at the log step. A promise only where a
 * logger returns one.
 */
export function logCallbackMetrics(trainer: TrainerView, metrics: Metrics): HookResult {
  return logTo(trainer, metrics, trainer.logStep);
}

/** The same at a step of one's own. */
export function logTo(trainer: TrainerView, metrics: Metrics, step: number): HookResult {
  trainer.addCallbackMetrics(metrics);
  if (!trainer.isGlobalZero) return;
  const pending = trainer.loggers
    .map((logger) => logger.logMetrics(metrics, step))
    .filter((result) => isPromise(result));
  if (pending.length > 0) return Promise.all(pending).then(() => undefined);
}
