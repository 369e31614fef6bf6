/** The loaders of a run: passed, or of whoever brings the data, and of several processes this one's share. */
import { DataLoader, SequentialSampler, verbatim } from "@nbit/torch";
import { MisconfigurationError } from "../errors.js";
import type { BatchSource } from "../loops/batch-source.js";
import type { Loader } from "../loops/fetch.js";
import { evaluationGroups, trainingGroup, withLoaders, type LoaderGroup } from "../loops/loader-group.js";
import { mayRepeat, splitLoader, type LoaderUse } from "../ranks/split-loaders.js";
import type { Run } from "../run.js";
import type { TrainerFn } from "../types.js";

/** Loaders that are read together, and whether processes may read the same of them. */
export interface OwnGroup extends LoaderGroup {
  readonly mayRepeat: boolean;
}

/** Of training. @throws {MisconfigurationError} ERR_LOADERS: there is none. */
export function trainingLoaders(run: Run, given: unknown): OwnGroup {
  const group = trainingGroup(given);
  if (group === null) throw noLoaders(run, given);
  return own(run, group, "train");
}

/** Of validation, testing or prediction: none, where there is none. */
export function evaluationLoaders(run: Run, given: unknown, use: LoaderUse): OwnGroup[] {
  return evaluationGroups(given).map((group) => own(run, group, use));
}

/** @throws {MisconfigurationError} ERR_LOADERS: there is none. */
export function requireLoaders(run: Run, groups: readonly LoaderGroup[], given: unknown): void {
  if (groups.length === 0) throw noLoaders(run, given);
}

function noLoaders({ fn, data }: Run, given: unknown): MisconfigurationError {
  const where: Record<TrainerFn, string> = {
    fit: "trainDataloader",
    validate: "valDataloader",
    test: "testDataloader",
    predict: "predictDataloader",
  };
  return new MisconfigurationError(
    fn,
    "a loader: an iterable (or async iterable) of batches",
    given,
    data.datamodule === null
      ? "Pass it, or define it on the module."
      : `Define ${where[fn]} on ${data.datamodule.constructor.name}.`,
    "ERR_LOADERS",
  );
}

function own(run: Run, group: LoaderGroup, use: LoaderUse): OwnGroup {
  const ordered = overfits(run, use) ? group.loaders.map((loader) => inOrder(run, loader, use)) : group.loaders;
  const loaders = ordered.map((loader) => shareOf(run, loader, use));
  return {
    ...withLoaders(group, loaders),
    mayRepeat: run.options.useDistributedSampler && loaders.some((loader) => mayRepeat(loader)),
  };
}

/** What this process reads of a loader. */
function shareOf(run: Run, loader: Loader, use: LoaderUse): Loader {
  const { collectives, strategy, options, warnings } = run;
  if (collectives === null || !options.useDistributedSampler) return loader;
  const { worldSize: numReplicas, globalRank: rank } = strategy;
  const evenBatches = use === "evaluate" && run.fn === "fit" && strategy.forwardExchanges === true;
  return splitLoader(loader, { use, numReplicas, rank, seed: run.seed(), evenBatches, warnings });
}

function overfits({ fn, options }: Run, use: LoaderUse): boolean {
  return fn === "fit" && options.overfitBatches > 0 && use !== "predict";
}

/** A model is to learn the same few batches by heart: loaders give them in the same order in every epoch. */
function inOrder({ warnings }: Run, loader: Loader, use: LoaderUse): Loader {
  if (!(loader instanceof DataLoader)) return loader;
  const { sampler, dataset } = loader;
  if (sampler === null || sampler instanceof SequentialSampler) return loader;
  if (loader.constructor !== DataLoader)
    throw new MisconfigurationError(
      "Trainer",
      "a DataLoader that goes through the data in order, for overfitBatches",
      verbatim(`a ${loader.constructor.name} that does not, and that the Trainer cannot make anew`),
      "Leave out shuffle and sampler.",
      "ERR_OVERFIT_BATCHES",
    );
  warnings.warn(
    "WARN_OVERFIT_SHUFFLE",
    `fit: overfitBatches wants the same batches in every epoch: the ${use === "train" ? "training" : "validation"} loader's shuffling is off.`,
  );
  return loader.withOrder({ sampler: new SequentialSampler(dataset as { readonly length: number }) });
}

/** Every process trains on as many batches as the one that has the fewest. */
export function equalLengths({ collectives, warnings }: Run, source: BatchSource): void {
  if (collectives === null) return;
  const all = collectives.allGatherObject(source.length);
  const least = Math.min(...all);
  if (all.some((length) => length !== least))
    warnings.warn(
      "WARN_DIST_UNEVEN",
      `fit: processes have different numbers of training batches (${all.join(", ")}): each trains on ${least} of them per epoch.`,
    );
  source.limitTo(least);
}
