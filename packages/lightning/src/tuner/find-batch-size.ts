import { DataLoader, OutOfMemoryError, plainText, verbatim } from "@nbit/torch";
import { isError } from "@nbit/torch/realm";
import type { Trials } from "../callbacks/finder.js";
import { MisconfigurationError } from "../errors.js";
import type { LightningDataModule } from "../datamodule.js";
import { evaluationGroups, trainingGroup } from "../loops/loader-group.js";
import type { LightningModule } from "../module.js";
import { BEFORE_TRAINING, mustEnd } from "../promises.js";
import type { ResolvedOptions } from "../resolve-options.js";
import type { TrainerFn } from "../types.js";
import type { Attribute } from "./attribute.js";
import { NoBatchSize, searchBatchSize, type BatchSizeSearch } from "./batch-size-search.js";
import { BeforeTrials, freeMemory } from "./trial.js";

export interface FindBatchSizeOptions extends BatchSizeSearch {
  readonly stepsPerTrial: number;
  readonly initVal: number;
}

/** @returns the largest size that works, which is set. Everything else is as before. */
export async function findBatchSize(trials: Trials, size: Attribute, options: FindBatchSizeOptions): Promise<number> {
  const { trainer, module, fn } = trials;
  const before = new BeforeTrials(trainer, module, []);
  const asked = size.get();
  let lack: unknown = null;
  const works = async (): Promise<boolean> => {
    freeMemory();
    try {
      await trials.run({ callbacks: [], schedules: true, options: limits(fn, options.stepsPerTrial) });
      return true;
    } catch (error) {
      if (!isOutOfMemory(error)) throw error;
      lack = error;
      return false;
    } finally {
      before.restore();
    }
  };
  const get = (): number => {
    const value = size.get();
    return typeof value === "number" ? value : NaN;
  };
  const say = (line: string): void => {
    if (trainer.isGlobalZero) console.log(plainText(`scaleBatchSize: ${line}.`));
  };
  try {
    return await searchBatchSize(
      { get, set: (value) => size.set(value), most: elementsOf(module, trials), works, say },
      options.initVal,
      options,
    );
  } catch (error) {
    if (typeof asked === "number") size.set(asked);
    if (!(error instanceof NoBatchSize)) throw error;
    throw lack;
  } finally {
    before.dispose();
  }
}

function limits(fn: TrainerFn, steps: number): Partial<ResolvedOptions> {
  switch (fn) {
    case "fit":
      return {
        maxSteps: steps,
        maxEpochs: -1,
        minSteps: 0,
        minEpochs: 0,
        limitTrainBatches: undefined,
        limitValBatches: steps,
        numSanityValSteps: 0,
      };
    case "validate":
      return { limitValBatches: steps };
    case "test":
      return { limitTestBatches: steps };
    case "predict":
      return { limitPredictBatches: steps };
  }
}

const HOOKS = {
  fit: "trainDataloader",
  validate: "valDataloader",
  test: "testDataloader",
  predict: "predictDataloader",
} as const;

/** Elements in the dataset that batches are of; null: nobody knows. Asks for the loaders. */
function elementsOf(module: LightningModule, { fn, datamodule }: Trials): number | null {
  const owner: LightningModule | LightningDataModule = datamodule ?? module;
  const given: unknown = mustEnd(HOOKS[fn], owner[HOOKS[fn]](), BEFORE_TRAINING);
  const loaders =
    fn === "fit" ? (trainingGroup(given)?.loaders ?? []) : evaluationGroups(given).flatMap((g) => g.loaders);
  if (fn !== "fit" && loaders.length > 1)
    throw new MisconfigurationError(
      "BatchSizeFinder",
      `one loader in ${HOOKS[fn]}`,
      verbatim(`${loaders.length} of them`),
      undefined,
      "ERR_BATCH_SIZE_FINDER",
    );
  const lengths = loaders.map((each) => (each instanceof DataLoader ? lengthOf(each.dataset) : null));
  if (loaders.length === 0 || lengths.includes(null)) return null;
  return Math.max(...lengths.map((length) => length ?? 0));
}
function lengthOf(dataset: unknown): number | null {
  const length: unknown = typeof dataset === "object" && dataset !== null ? Reflect.get(dataset, "length") : undefined;
  return typeof length === "number" ? length : null;
}

/** Of ours, or of a library that says so in words. */
function isOutOfMemory(error: unknown): boolean {
  return (
    error instanceof OutOfMemoryError || (isError(error) && /out of memory|can't allocate memory/i.test(error.message))
  );
}
