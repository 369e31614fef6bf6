import { Callback } from "./callback.js";

/**
 * Base class of callbacks that write checkpoints. The Trainer calls them after all others, and adds no `ModelCheckpoint`
 * beside one: extend it for a way of saving of your own.
 *
 * @example
 * class SaveHalfway extends Checkpoint {
 *   override onTrainEpochEnd(trainer: TrainerView): void {
 *     if (trainer.currentEpoch + 1 === trainer.maxEpochs / 2) trainer.saveCheckpoint("halfway.ckpt");
 *   }
 * }
 */
export class Checkpoint extends Callback {
  override get runsLast(): boolean {
    return true;
  }
}
