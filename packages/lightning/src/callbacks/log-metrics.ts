import type { Metrics } from "../loggers/logger.js";
import type { TrainerView } from "../trainer-view.js";
import type { HookResult } from "../types.js";
import { isPromise } from "@nbit/torch/realm";

/**
 * What a monitor measured, to `trainer.callbackMetrics` and to every logger, at the log step. A promise only where a
 * logger returns one.
 */
export function logCallbackMetrics(trainer: TrainerView, metrics: Metrics): HookResult {
  trainer.addCallbackMetrics(metrics);
  if (!trainer.isGlobalZero) return;
  const pending = trainer.loggers
    .map((logger) => logger.logMetrics(metrics, trainer.logStep))
    .filter((result) => isPromise(result));
  if (pending.length > 0) return Promise.all(pending).then(() => undefined);
}
