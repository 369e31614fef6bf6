import { atMost, checkOptions, kinds, verbatim, type OptionNames } from "@nbit/torch";
import { BatchSizeFinder, SIZES, type BatchSizeFinderOptions } from "../callbacks/batch-size-finder.js";
import { FINDER, LearningRateFinder, type LearningRateFinderOptions } from "../callbacks/learning-rate-finder.js";
import { MisconfigurationError, misconfigured } from "../errors.js";
import type { LightningModule } from "../module.js";
import { checkCall } from "../run-checks.js";
import type { EvaluateOptions, FitOptions } from "../run-options.js";
import { Trainer, trialsOf } from "../trainer.js";
import type { TrainerFn } from "../types.js";
import type { LRFinder } from "./lr-finder.js";

type RunOptions = Omit<FitOptions, "ckptPath" | "ckptDtype"> & Pick<EvaluateOptions, "dataloaders">;
export interface LrFindOptions extends RunOptions, Omit<LearningRateFinderOptions, "numTrainingSteps"> {
  /** "fit", which is the only one. */
  readonly method?: "fit";
  /** Steps of the search. Default 100. */
  readonly numTraining?: number;
}
export interface ScaleBatchSizeOptions extends RunOptions, BatchSizeFinderOptions {
  /** What is tried. Default "fit". */
  readonly method?: TrainerFn;
}
const RUN = {
  trainDataloaders: true,
  valDataloaders: true,
  dataloaders: true,
  datamodule: true,
  signal: true,
} as const;
const { numTrainingSteps, ...OF_LR } = FINDER;
const LR_FIND: OptionNames<LrFindOptions> = {
  ...RUN,
  ...OF_LR,
  method: kinds.oneOf("fit", "validate", "test", "predict"),
  numTraining: numTrainingSteps,
};
const SCALE: OptionNames<ScaleBatchSizeOptions> = {
  ...RUN,
  ...SIZES,
  method: kinds.oneOf("fit", "validate", "test", "predict"),
};

/**
 * Finds settings of a model by trying them out with a Trainer. Weights, random numbers, loaders and the Trainer are then
 * as before; only the setting has changed.
 *
 * @example
 * const tuner = new Tuner(trainer);
 * const finder = await tuner.lrFind(model, { trainDataloaders: loader });
 * finder?.plot({ suggest: true });
 * await trainer.fit(model, { trainDataloaders: loader }); // with the rate found
 */
export class Tuner {
  readonly #trainer: Trainer;

  constructor(trainer: Trainer) {
    atMost("Tuner", arguments, 1);
    if (!(trainer instanceof Trainer))
      throw new MisconfigurationError("Tuner", "a Trainer", trainer, undefined, "ERR_TUNER");
    this.#trainer = trainer;
  }

  /**
   * Look for a learning rate, and set `model.lr` (or `learningRate`, or `attrName`) to the suggestion. @returns what the
   * search saw; null with `fastDevRun`.
   *
   * @throws {MisconfigurationError} `ERR_TUNER_ATTRIBUTE`: the model has no such field. `ERR_TUNER_OPTIMIZERS`: it has
   * several optimizers, or none. `ERR_TUNER`: the Trainer has a LearningRateFinder already.
   */
  async lrFind(model: LightningModule, options: LrFindOptions = {}): Promise<LRFinder | null> {
    atMost("Tuner.lrFind", arguments, 2);
    checkOptions("lrFind", options, LR_FIND, misconfigured("lrFind", "ERR_TUNER"));
    const { method = "fit", numTraining, ...rest } = options;
    if (method !== "fit") throw new MisconfigurationError("lrFind", 'method: "fit"', method, undefined, "ERR_TUNER");
    const { run, own } = split(rest);
    this.#check("lrFind", model, method, run, LearningRateFinder);
    const finder = new LearningRateFinder({
      ...own,
      ...(numTraining === undefined ? {} : { numTrainingSteps: numTraining }),
    });
    await finder.search(trialsOf(this.#trainer, method, model, run));
    return finder.optimalLr;
  }

  /**
   * Look for the largest batch size that memory suffices for, and set `model.batchSize` (or `batchArgName`) to it.
   * @returns the size; null with `fastDevRun`.
   *
   * @throws {MisconfigurationError} `ERR_TUNER_ATTRIBUTE`: neither model nor data module has such a field.
   * `ERR_BATCH_SIZE_FINDER`: loaders are passed, so that nobody makes them with another size, or there are several
   * processes. `ERR_TUNER`: the Trainer has a BatchSizeFinder already.
   */
  async scaleBatchSize(model: LightningModule, options: ScaleBatchSizeOptions = {}): Promise<number | null> {
    atMost("Tuner.scaleBatchSize", arguments, 2);
    checkOptions("scaleBatchSize", options, SCALE, misconfigured("scaleBatchSize", "ERR_TUNER"));
    const { method = "fit", ...rest } = options;
    const { run, own } = split(rest);
    this.#check("scaleBatchSize", model, method, run, BatchSizeFinder);
    const finder = new BatchSizeFinder(own);
    await finder.search(trialsOf(this.#trainer, method, model, run));
    return finder.optimalBatchSize;
  }

  #check(
    fn: string,
    model: LightningModule,
    method: TrainerFn,
    run: RunOptions,
    finder: typeof LearningRateFinder | typeof BatchSizeFinder,
  ): void {
    if ((model as unknown) == null)
      throw new MisconfigurationError(fn, "a LightningModule", model, undefined, "ERR_NO_MODULE");
    const wrong = method === "fit" ? run.dataloaders : (run.trainDataloaders ?? run.valDataloaders);
    if (wrong !== undefined)
      throw new MisconfigurationError(
        fn,
        method === "fit" ? "trainDataloaders and valDataloaders for fit" : `dataloaders for ${method}`,
        wrong,
        undefined,
        "ERR_TUNER",
      );
    checkCall(method, model, run);
    if (this.#trainer.callbacks.some((callback) => callback instanceof finder))
      throw new MisconfigurationError(
        fn,
        `a Trainer without a ${finder.name}`,
        verbatim("one that has one"),
        `Leave the callback out, or the call of ${fn}.`,
        "ERR_TUNER",
      );
  }
}

/** What the run takes, and what the search does. */
function split<T extends RunOptions>(
  options: T,
): { readonly run: RunOptions; readonly own: Omit<T, keyof RunOptions> } {
  const names: readonly string[] = Object.keys(RUN);
  const of = (mine: boolean): object =>
    Object.fromEntries(Object.entries(options).filter(([name]) => names.includes(name) === mine));
  return { run: of(true), own: of(false) as Omit<T, keyof RunOptions> };
}
