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

/** The other way. Counts that Lightning keeps and this package does not are those of a run without anything unusual. */
export function lightningLoops({ progress }: Pick<LoopsState, "progress">): Record<string, unknown> {
  const { epoch, batchesDone, totalBatches, globalStep, batchesThatStepped, isLastBatch, phase } = progress;
  const between = phase === "between_epochs";
  // Lightning counts a batch as completed after the hooks of its end, and an epoch after those of its own.
  const open = phase === "batch_end" || phase === "batch_logged" ? 1 : 0;
  const batch = (n: number): Counts => ({ ready: n, completed: n - open, started: n, processed: n });
  const begun = between ? epoch : epoch + 1;
  const epochs: Counts = {
    ready: begun,
    completed: epoch,
    started: begun,
    processed: phase === "epoch_end" ? begun : epoch,
  };
  const steps = { total: pair(globalStep), current: pair(Math.min(globalStep, batchesDone)) };
  const none = { ready: 0, completed: 0, started: 0, processed: 0 };
  const evaluation = { total: none, current: none };
  return {
    fit_loop: {
      state_dict: {},
      "epoch_loop.state_dict": { _batches_that_stepped: batchesThatStepped },
      "epoch_loop.batch_progress": {
        total: batch(totalBatches),
        current: batch(batchesDone),
        is_last_batch: isLastBatch || between,
      },
      "epoch_loop.scheduler_progress": { total: pair(0), current: pair(0) },
      "epoch_loop.automatic_optimization.state_dict": {},
      "epoch_loop.automatic_optimization.optim_progress": {
        optimizer: { step: steps, zero_grad: { total: started(steps.total), current: started(steps.current) } },
      },
      // Which of the two optimizes, the module says: the other one's counts are not looked at.
      "epoch_loop.manual_optimization.state_dict": {},
      "epoch_loop.manual_optimization.optim_step_progress": steps,
      "epoch_loop.val_loop.state_dict": {},
      "epoch_loop.val_loop.batch_progress": { ...evaluation, is_last_batch: false },
      epoch_progress: { total: epochs, current: epochs },
    },
    validate_loop: { state_dict: {}, batch_progress: { ...evaluation, is_last_batch: false } },
    test_loop: { state_dict: {}, batch_progress: { ...evaluation, is_last_batch: false } },
    predict_loop: { state_dict: {}, batch_progress: evaluation },
  };
}
interface Counts {
  readonly ready: number;
  readonly completed: number;
  readonly started: number;
  readonly processed: number;
}
function pair(n: number): { readonly ready: number; readonly completed: number } {
  return { ready: n, completed: n };
}
function started(of: { readonly ready: number; readonly completed: number }): Omit<Counts, "processed"> {
  return { ...of, started: of.ready };
}
