import { kinds, plainText, signature, verbatim, type Call, type OptionNames } from "@nbit/torch";
import { count, fieldsOf, orNull } from "@nbit/torch/schema";
import type { Checkpoint } from "../checkpoint/format.js";
import { checkState } from "../checkpoint/schema.js";
import { LightningDataModule } from "../datamodule.js";
import { MisconfigurationError } from "../errors.js";
import type { LightningModule } from "../module.js";
import type { EvaluateOptions, FitOptions } from "../run-options.js";
import type { TrainerView } from "../trainer-view.js";
import { Attribute, type Holder } from "../tuner/attribute.js";
import { findBatchSize } from "../tuner/find-batch-size.js";
import { holdersIn, holdersOf } from "../tuner/holders.js";
import { warn } from "../warnings.js";
import { Finder, type Trials } from "./finder.js";

export interface BatchSizeFinderOptions {
  /** "power" (default): double until memory does not suffice; "binsearch": then bisect. */
  readonly mode?: "power" | "binsearch";
  /** Batches that are tried with each size. Default 3. */
  readonly stepsPerTrial?: number;
  /** The first size. Default 2. */
  readonly initVal?: number;
  /** Sizes that are tried at most. Default 25. */
  readonly maxTrials?: number;
  /** The field, or hyperparameter, of module or data module. Default "batchSize". */
  readonly batchArgName?: string;
  /** The share that is taken off what "binsearch" found. Default 0.05. */
  readonly margin?: number;
  /** The largest size. Default 8192. */
  readonly maxVal?: number;
}
const { byDefault, filled, oneOf, real, whole } = kinds;
/** @internal */
export const SIZES = {
  mode: byDefault("power", oneOf("power", "binsearch")),
  stepsPerTrial: byDefault(3, whole("[1, ∞)")),
  initVal: byDefault(2, whole("[1, ∞)")),
  maxTrials: byDefault(25, whole("[1, ∞)")),
  batchArgName: byDefault("batchSize", filled),
  margin: byDefault(0.05, real("[0, 1)")),
  maxVal: byDefault(8192, whole("[1, ∞)")),
} satisfies OptionNames<BatchSizeFinderOptions>;
const read = signature("BatchSizeFinder", SIZES);
type BatchSizeFinderCall = Call<
  BatchSizeFinderOptions,
  ["mode", "stepsPerTrial", "initVal", "maxTrials", "batchArgName", "margin", "maxVal"],
  [
    mode?: "power" | "binsearch",
    stepsPerTrial?: number,
    initVal?: number,
    maxTrials?: number,
    batchArgName?: string,
    margin?: number,
    maxVal?: number,
  ]
>;
const STATE = fieldsOf({ batchSize: orNull(count) });

/**
 * Looks for the largest batch size that memory suffices for, before a run: trains (or validates, tests, predicts) a few
 * batches with each size. Weights, optimizer and random numbers are then as before, and the run has the size found in
 * `module.batchSize`, or where `batchArgName` says; loaders are made with it by the module or the data module.
 *
 * A fit that goes on from a checkpoint has its size, and does not search. One process only.
 *
 * @throws {MisconfigurationError} before the search. `ERR_BATCH_SIZE_FINDER`: loaders are passed to the call, or there are
 * several processes. `ERR_TUNER_ATTRIBUTE`: there is no such field.
 * @example new BatchSizeFinder({ mode: "binsearch", initVal: 16 });
 */
export class BatchSizeFinder extends Finder {
  /** The size found; null before a search. */
  optimalBatchSize: number | null = null;
  readonly #options: ReturnType<typeof read>;

  constructor(...given: BatchSizeFinderCall) {
    const options = read(given, new.target.name);
    super();
    this.#options = options;
  }

  /** @internal */
  override async search(trials: Trials): Promise<void> {
    const { trainer, module } = trials;
    this.#check(trials);
    if (trainer.fastDevRun !== false) {
      warn("WARN_TUNER_DEV_RUN", "BatchSizeFinder: no search with fastDevRun.");
      return;
    }
    const size = this.#attribute(holdersOf(module, trials.datamodule));
    if (size.isTwice)
      warn(
        "WARN_TUNER_ATTRIBUTE",
        plainText(`BatchSizeFinder: ${size.name} is a field and a hyperparameter: both are set. Keep one of them.`),
      );
    this.optimalBatchSize = await findBatchSize(trials, size, this.#options);
  }
  #attribute(holders: readonly Holder[]): Attribute {
    const { batchArgName } = this.#options;
    const fix = "Make loaders with it; another name goes into batchArgName.";
    return Attribute.demand("BatchSizeFinder", [batchArgName], holders, fix);
  }
  #check({ trainer, options }: Trials): void {
    const refused = (expected: string, received: unknown, fix: string): MisconfigurationError =>
      new MisconfigurationError("BatchSizeFinder", expected, received, fix, "ERR_BATCH_SIZE_FINDER");
    if (trainer.worldSize > 1)
      throw refused("one process", verbatim(`${trainer.worldSize} of them`), "Look for the size with devices: 1.");
    const given = (options as FitOptions).trainDataloaders ?? (options as EvaluateOptions).dataloaders;
    if (given != null && !(given instanceof LightningDataModule))
      throw refused(
        "loaders that the module or a data module makes",
        given,
        "Define trainDataloader, or the like, with the batch size of the module.",
      );
  }

  override stateDict(): Record<string, unknown> {
    return { batchSize: this.optimalBatchSize };
  }
  override loadStateDict(state: Record<string, unknown>): void {
    this.optimalBatchSize = checkState("BatchSizeFinder.loadStateDict", STATE, state).batchSize;
  }
  /** Loaders are made after this. */
  override onLoadCheckpoint(trainer: TrainerView, module: LightningModule, checkpoint: Checkpoint): void {
    const state = checkpoint.callbacks?.[this.stateKey];
    if (trainer.state.fn !== "fit" || state === undefined) return;
    const { batchSize } = checkState("BatchSizeFinder", STATE, state);
    if (batchSize !== null) this.#attribute(holdersIn(trainer, module)).set(batchSize);
  }
}
