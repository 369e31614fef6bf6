import { atMost, checkArguments, kinds, verbatim } from "@nbit/torch";
import { MisconfigurationError } from "../errors.js";
import type { LightningModule } from "../module.js";
import type { TrainerView } from "../trainer-view.js";
import { Callback } from "./callback.js";

/**
 * Changes `accumulateGradBatches` at given epochs.
 *
 * @param scheduling - Epoch (from 0) to batches per optimizer step. 1 before the first entry.
 * @example new GradientAccumulationScheduler({ 0: 8, 4: 4, 8: 1 })
 */
export class GradientAccumulationScheduler extends Callback {
  readonly #steps: readonly (readonly [epoch: number, batches: number])[];

  constructor(scheduling: Readonly<Record<number, number>>) {
    atMost("GradientAccumulationScheduler", arguments, 1);
    super();
    checkArguments("GradientAccumulationScheduler", { scheduling }, { scheduling: kinds.record });
    const steps = Object.entries(scheduling).map(([epoch, batches]) => [Number(epoch), batches] as const);
    if (steps.length === 0)
      throw new MisconfigurationError(
        "GradientAccumulationScheduler",
        "at least one epoch",
        scheduling,
        undefined,
        "ERR_ACCUMULATION",
      );
    for (const [epoch, batches] of steps) {
      if (!Number.isInteger(epoch) || epoch < 0)
        throw new MisconfigurationError(
          "GradientAccumulationScheduler",
          "epochs to be whole numbers ≥ 0",
          epoch,
          undefined,
          "ERR_ACCUMULATION",
        );
      if (!Number.isInteger(batches) || batches < 1)
        throw new MisconfigurationError(
          "GradientAccumulationScheduler",
          "batches per step to be whole numbers ≥ 1",
          batches,
          undefined,
          "ERR_ACCUMULATION",
        );
    }
    this.#steps = steps.sort(([a], [b]) => a - b);
  }

  batchesAt(epoch: number): number {
    atMost("GradientAccumulationScheduler.batchesAt", arguments, 1);
    checkArguments("GradientAccumulationScheduler.batchesAt", { epoch }, { epoch: kinds.whole("[0, ∞)") });
    return this.#steps.findLast(([from]) => from <= epoch)?.[1] ?? 1;
  }

  override onTrainStart(trainer: TrainerView, module: LightningModule): void {
    if (!module.automaticOptimization) {
      throw new MisconfigurationError(
        "GradientAccumulationScheduler",
        "automatic optimization",
        verbatim("automaticOptimization = false"),
        "Step the optimizers in every n-th trainingStep instead.",
        "ERR_MANUAL_OPTIMIZATION",
      );
    }
    // A checkpoint from inside an epoch goes on with that epoch's number.
    const batches = this.batchesAt(trainer.currentEpoch);
    if (trainer.accumulateGradBatches !== 1 && trainer.accumulateGradBatches !== batches) {
      throw new MisconfigurationError(
        "GradientAccumulationScheduler",
        "accumulateGradBatches: 1",
        trainer.accumulateGradBatches,
        "Remove it, or this callback.",
        "ERR_ACCUMULATION",
      );
    }
    trainer.accumulateGradBatches = batches;
  }

  override onTrainEpochStart(trainer: TrainerView): void {
    trainer.accumulateGradBatches = this.batchesAt(trainer.currentEpoch);
  }
}
