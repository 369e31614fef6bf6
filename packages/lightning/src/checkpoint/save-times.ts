/** When a ModelCheckpoint saves, as far as the trainer's settings and progress say it. */
import type { TrainerView } from "../trainer-view.js";

/**
 * At the end of training epochs, and not after validation.
 * @param asked - What `saveOnTrainEpochEnd` says. Default: where every epoch ends with one validation, or there is none.
 */
export function savesAtEpochEnd(trainer: TrainerView, asked: boolean | undefined): boolean {
  if (asked !== undefined) return asked;
  if (trainer.checkValEveryNEpoch !== 1) return false;
  return !trainer.enableValidation || trainer.valCheckInterval === undefined;
}

/** A value of the metric from an earlier validation would be stale when another follows this very batch. */
export function validationFollows(trainer: TrainerView, asked: boolean | undefined): boolean {
  if (!trainer.enableValidation || savesAtEpochEnd(trainer, asked) || !trainer.isLastBatch) return false;
  const every = trainer.checkValEveryNEpoch;
  return every === null || (trainer.currentEpoch + 1) % every === 0;
}

/** In a fit, and not in its sanity check or a trial run. */
export function isTraining(trainer: TrainerView): boolean {
  return trainer.fastDevRun === false && trainer.state.fn === "fit" && !trainer.sanityChecking;
}
