/** The loaders of a run: given or the module's own, and of several processes this one's share. */
import type { LightningModule } from "../module.js";
import { MisconfigurationError } from "../errors.js";
import { asLoaders, type Fetcher, type Loader } from "../loops/fetch.js";
import { BEFORE_TRAINING, mustEnd } from "../promises.js";
import { splitLoader, type LoaderUse } from "../ranks/split-loaders.js";
import type { Run } from "../run.js";
import type { Loaders } from "../run-options.js";
import type { TrainerFn } from "../types.js";

/** The loaders that a module brings itself. */
export function ownLoaders(
  module: LightningModule,
  name: "trainDataloader" | "valDataloader" | "testDataloader" | "predictDataloader",
): unknown {
  return mustEnd(name, module[name](), BEFORE_TRAINING);
}

/** @throws {MisconfigurationError} ERR_LOADERS: there is none. */
export function requireLoaders(fn: TrainerFn, given: Loaders, own: unknown): Loader[] {
  const loaders = asLoaders(given ?? own);
  if (loaders.length === 0)
    throw new MisconfigurationError(
      fn,
      "a loader: an iterable (or async iterable) of batches",
      given ?? own,
      "Pass it, or define it on the module.",
      "ERR_LOADERS",
    );
  return loaders;
}

/** What this process reads of a loader. */
export function shareOf(run: Run, loader: Loader, use: LoaderUse): Loader {
  const { collectives, strategy, options, warnings } = run;
  if (collectives === null || !options.useDistributedSampler) return loader;
  const { worldSize: numReplicas, globalRank: rank } = strategy;
  const evenBatches = use === "evaluate" && run.fn === "fit" && strategy.forwardExchanges === true;
  return splitLoader(loader, { use, numReplicas, rank, seed: run.seed(), evenBatches, warnings });
}

/** Every process trains on as many batches as the one that has the fewest. */
export function equalLengths({ collectives, warnings }: Run, fetcher: Fetcher): void {
  if (collectives === null) return;
  const all = collectives.allGatherObject(fetcher.length);
  const least = Math.min(...all);
  if (all.some((length) => length !== least))
    warnings.warn(
      "WARN_DIST_UNEVEN",
      `fit: processes have different numbers of training batches (${all.join(", ")}): each trains on ${least} of them per epoch.`,
    );
  fetcher.limitTo(least);
}
