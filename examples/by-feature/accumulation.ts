/** Large batches in little memory: gradients of four batches of 16 make one step, as one batch of 64 would. */
import { Trainer } from "@nbit/lightning";
import { seedEverything } from "@nbit/torch";
import { QUIET, Regressor, waves } from "./base.js";

for (const [batchSize, accumulateGradBatches] of [
  [64, 1],
  [16, 4],
] as const) {
  seedEverything(1);
  const trainer = new Trainer({ ...QUIET, maxEpochs: 5, accumulateGradBatches });
  await trainer.fit(new Regressor(), { trainDataloaders: waves(batchSize) });
  console.log(
    `batch size ${batchSize}, ${accumulateGradBatches} per step: ${trainer.globalStep} steps, last loss ${trainer.callbackMetrics["loss"]?.toFixed(5)}`,
  );
}
