/** From what callbacks see of a Trainer to the run behind it: for callbacks of ours that take part in the loops. */
import type { Run } from "./run.js";
import type { TrainerView } from "./trainer-view.js";

const runs = new WeakMap<TrainerView, Run>();

/** The Trainer has a run, from here on until it has another; null: it has none. For the Trainer only. */
export function noteRun(trainer: TrainerView, run: Run | null): void {
  if (run === null) runs.delete(trainer);
  else runs.set(trainer, run);
}

/** The run in progress, or the latest; null before the first. */
export function runOf(trainer: TrainerView): Run | null {
  return runs.get(trainer) ?? null;
}
