import { plainText, Tensor, verbatim } from "@nbit/torch";
import { Callback } from "../callbacks/callback.js";
import type { Trials } from "../callbacks/finder.js";
import { MisconfigurationError } from "../errors.js";
import { trainingGroup } from "../loops/loader-group.js";
import type { LightningModule } from "../module.js";
import type { FitOptions } from "../run-options.js";
import type { TrainerView } from "../trainer-view.js";
import type { Batch, StepResult } from "../types.js";
import type { LRFinder } from "./lr-finder.js";
import { BeforeTrials } from "./trial.js";

/** How much of the average a new loss is: 2 %. */
const BETA = 0.98;

/**
 * Raises the learning rate from step to step, and notes the smoothed loss with each; ends training where the loss is
 * more than `threshold` times the best. @see Smith, 2015, arXiv:1506.01186.
 */
class RangeTest extends Callback {
  readonly lr: number[] = [];
  readonly loss: number[] = [];
  readonly #finder: LRFinder;
  readonly #threshold: number | null;
  #windows = 0;
  #average = 0;
  #best = 0;

  constructor(finder: LRFinder, threshold: number | null) {
    super();
    this.#finder = finder;
    this.#threshold = threshold;
  }

  override onFitStart(trainer: TrainerView): void {
    if (trainer.optimizers.length !== 1)
      throw new MisconfigurationError(
        "lrFind",
        "configureOptimizers to return one optimizer",
        verbatim(`${trainer.optimizers.length} of them`),
        undefined,
        "ERR_TUNER_OPTIMIZERS",
      );
    this.#setRate(trainer);
  }

  #setRate(trainer: TrainerView): void {
    const rate = this.#finder.rateAt(this.#windows);
    for (const optimizer of trainer.optimizers)
      for (const group of optimizer.paramGroups) {
        group.lr = rate;
        group.initialLr = this.#finder.lrMin;
      }
  }

  override onTrainBatchEnd(
    trainer: TrainerView,
    _module: LightningModule,
    outputs: StepResult,
    _batch: Batch,
    batchIdx: number,
  ): void {
    const isFull = (batchIdx + 1) % trainer.accumulateGradBatches === 0;
    if (isFull) this.#note(trainer, outputs.loss);
    if (!isFull && !trainer.isLastBatch) return;
    this.#windows++;
    this.#setRate(trainer);
  }

  #note(trainer: TrainerView, loss: unknown): void {
    this.lr.push(this.#finder.rateAt(this.#windows));
    if (!(loss instanceof Tensor)) {
      this.loss.push(NaN);
      return;
    }
    const step = trainer.globalStep;
    this.#average = BETA * this.#average + (1 - BETA) * loss.item();
    const smoothed = this.#average / (1 - BETA ** (step + 1));
    if (this.#threshold !== null && step > 1 && smoothed > this.#threshold * this.#best) trainer.shouldStop = true;
    if (smoothed < this.#best || step === 1) this.#best = smoothed;
    this.loss.push(smoothed);
  }
}

/** Run the test, and fill in what it saw. Everything else is as before. */
export async function findLr(trials: Trials, finder: LRFinder, threshold: number | null): Promise<void> {
  const { trainer, module } = trials;
  const test = new RangeTest(finder, threshold);
  const before = new BeforeTrials(
    trainer,
    module,
    trainingGroup((trials.options as FitOptions).trainDataloaders)?.loaders ?? [],
  );
  try {
    await trials.run({
      callbacks: [test],
      schedules: false,
      options: {
        maxSteps: finder.numTraining,
        maxEpochs: -1,
        minSteps: 0,
        minEpochs: 0,
        limitValBatches: 0,
        // The test goes on until losses are far off.
        detectNonFinite: false,
      },
    });
  } finally {
    before.restore();
    before.dispose();
  }
  const { lr, loss } = test;
  const { collectives } = trainer.strategy;
  finder.results = collectives?.broadcastObject({ lr, loss }) ?? { lr, loss };
  if (lr.length < finder.numTraining && trainer.isGlobalZero)
    console.log(plainText(`lrFind: ended after ${lr.length} steps, since the loss diverged.`));
}
