/**
 * Keep single batches from throwing the weights off: gradients are scaled down to a norm of at most 0.1, after
 * unscaling.
 */
import { Callback, Trainer } from "@nbit/lightning";
import type { TrainerView } from "@nbit/lightning";
import { seedEverything } from "@nbit/torch";
import { QUIET, Regressor, waves } from "./base.js";

class LargestNorm extends Callback {
  norm = 0;
  override onTrainBatchEnd(trainer: TrainerView): void {
    this.norm = Math.max(this.norm, trainer.lastOutcome?.gradNorm ?? 0);
  }
}

for (const precision of [32, 16] as const) {
  seedEverything(1);
  const largest = new LargestNorm();
  const trainer = new Trainer({ ...QUIET, precision, maxEpochs: 2, gradientClipVal: 0.1, callbacks: largest });
  await trainer.fit(new Regressor(), { trainDataloaders: waves(64) });
  console.log(
    `precision ${precision}: the largest norm before clipping was ${largest.norm.toFixed(3)}, with loss scale ${trainer.lossScale ?? "none"}`,
  );
}
