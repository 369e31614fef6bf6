/** Where a fit of Lightning's stood, in this package's words. */
import { count, fieldsOf, flag, optional } from "@nbit/torch/schema";
import type { LoopsState } from "./format.js";
import { checkState } from "./schema.js";

const progress = fieldsOf({ ready: count, completed: count });
const batches = fieldsOf({ processed: count, completed: count });
const STATE = fieldsOf({
  fit_loop: fieldsOf({
    epoch_progress: fieldsOf({ current: progress }),
    "epoch_loop.batch_progress": fieldsOf({ current: batches, total: batches, is_last_batch: flag }),
    "epoch_loop.state_dict": optional(fieldsOf({ _batches_that_stepped: optional(count) })),
  }),
});

/**
 * Saved at the end of an epoch, or after it: the next epoch comes. Saved within one: the batch behind the last that was
 * processed. Loaders pass over what was processed; Lightning itself begins them anew. Gradients of an open window are
 * in no file of Lightning's.
 */
export function loopsOf(path: string, loops: unknown, globalStep: number): LoopsState {
  const { fit_loop: fit } = checkState(path, STATE, loops);
  const { current: epochs } = fit.epoch_progress;
  const { current, total, is_last_batch: isLastBatch } = fit["epoch_loop.batch_progress"];
  const within = epochs.ready > epochs.completed;
  const hooksAreDone = current.completed === current.processed;
  const between = !within || (isLastBatch && hooksAreDone);
  const done = between ? 0 : current.processed;
  const phase = between ? "between_epochs" : hooksAreDone ? "batch_done" : "batch_end";
  return {
    progress: {
      epoch: epochs.completed + (within && between ? 1 : 0),
      batchesDone: done,
      batchIdx: Math.max(0, done - 1),
      totalBatches: total.processed,
      globalStep,
      batchesThatStepped: Math.min(fit["epoch_loop.state_dict"]?._batches_that_stepped ?? globalStep, total.processed),
      windowOpen: false,
      isLastBatch: !between && isLastBatch,
      phase,
    },
    fetcher: { rng: null, fetched: done, loader: null },
    metrics: [],
    callbackMetrics: {},
    gradients: null,
  };
}
