import { CSVLogger, ModelSummary, ProgressBar, RunLog, Trainer } from "@nbit/lightning";
import { DataLoader, seedEverything } from "@nbit/torch";
import type { Mnist } from "./data.js";
import { Classifier } from "./model.js";

export type Precision = 32 | "bf16" | 16;

export interface TrainOptions {
  readonly name: string;
  /** Folder of the logs. */
  readonly dir: string;
  readonly maxEpochs: number;
  /** Fewer batches, for a quick look. */
  readonly limitTrainBatches?: number;
  /** Levels of layers to list; 0: none. */
  readonly summaryDepth?: number;
}

/**
 * Train and test one classifier. Every precision starts from the same weights and sees the same batches. Returns its
 * run log.
 */
export async function train(precision: Precision, data: Mnist, options: TrainOptions): Promise<string> {
  seedEverything(42);
  const model = new Classifier();
  const log = new RunLog({ name: options.name, everyNSteps: 2 });
  const trainer = new Trainer({
    accelerator: "cpu",
    precision,
    maxEpochs: options.maxEpochs,
    valCheckInterval: 0.5,
    logger: new CSVLogger(options.dir, { name: "mnist" }),
    callbacks: [new ProgressBar({ unit: "images" }), new ModelSummary({ maxDepth: options.summaryDepth ?? 2 }), log],
    ...(options.limitTrainBatches === undefined ? {} : { limitTrainBatches: options.limitTrainBatches }),
  });
  // The loss scale is doubled after 2,000 good steps in a row; this run is shorter. Doubling it every 100 shows where
  // its limit is.
  const scaler = trainer.precision.stateDict();
  if (scaler !== null) trainer.precision.loadStateDict({ ...scaler, growthInterval: 100 });

  await trainer.fit(model, {
    trainDataloaders: new DataLoader(data.train, { batchSize: 128, shuffle: true, dropLast: true }),
    valDataloaders: new DataLoader(data.validation, { batchSize: 1000 }),
  });
  await trainer.test(model, { dataloaders: new DataLoader(data.test, { batchSize: 1000 }) });
  if (log.path === null) throw new Error("The run left no log.");
  return log.path;
}
