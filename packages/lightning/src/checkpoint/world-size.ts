/** Where a run of another number of processes stands: what counts is how many samples were seen. */
import { plainText, verbatim } from "@nbit/torch";
import { MisconfigurationError } from "../errors.js";
import type { FetcherState } from "../loops/fetch.js";
import type { ProgressState } from "../loops/progress.js";
import type { Run } from "../run.js";
import { warn } from "../warnings.js";
import type { Checkpoint, LoopsState } from "./format.js";

/**
 * The place in the epoch in this run's batches. As many processes as before: as it was saved.
 *
 * @throws {MisconfigurationError} `ERR_RESUME_WORLD_SIZE` within an accumulation window whose samples are no whole
 * number of this run's batches.
 */
export function placedIn(run: Run, checkpoint: Checkpoint, loops: LoopsState): LoopsState {
  const { worldSize, collectives } = run.strategy;
  const others = checkpoint.ranks ?? [];
  const saved = others.length + 1;
  if (saved === worldSize || run.fit === null || loops.progress.phase === "between_epochs") return loops;
  refuseSeveral(run, loops.fetcher);
  const before = sum([loops.batchSize, ...others.map((rank) => rank.loops?.batchSize)]);
  const mine = run.fit.fetcher.batchSize;
  const now = sum(collectives?.allGatherObject(mine) ?? [mine]);
  const batchesDone = scaled(loops.progress, { before: before ?? saved, now: now ?? worldSize }, run);
  return {
    ...loops,
    progress: movedTo(loops.progress, batchesDone),
    fetcher: fetchedTo(loops.fetcher, batchesDone, loops.progress.batchesDone),
  };
}

/** Samples in a step's batches of all processes; null where one does not say. */
function sum(sizes: readonly (number | null | undefined)[]): number | null {
  const known = sizes.filter((size) => typeof size === "number");
  return known.length === sizes.length ? known.reduce((a, b) => a + b, 0) : null;
}

function scaled(
  { batchesDone, isLastBatch, windowOpen }: ProgressState,
  samples: { readonly before: number; readonly now: number },
  run: Run,
): number {
  const { length } = run.fit?.fetcher ?? { length: Infinity };
  if (isLastBatch && Number.isFinite(length)) return length;
  const seen = batchesDone * samples.before;
  const again = seen % samples.now;
  if (again !== 0 && windowOpen)
    throw new MisconfigurationError(
      "fit",
      `a checkpoint from the end of an accumulation window, to go on with ${run.strategy.worldSize} processes`,
      verbatim(
        `${run.checkpointPath}, within one, after ${seen} samples: no whole number of batches of ${samples.now}`,
      ),
      "Go on with as many processes as before, or with a batch size that divides them.",
      "ERR_RESUME_WORLD_SIZE",
    );
  if (again !== 0 && run.strategy.isGlobalZero)
    warn(
      "WARN_RESUME_WORLD_SIZE",
      plainText(
        `fit: ${seen} samples of the epoch were seen, which is no whole number of batches of ${samples.now} over all processes: ${again} are seen again.`,
      ),
    );
  return Math.min(Math.floor(seen / samples.now), length);
}

function movedTo(progress: ProgressState, batchesDone: number): ProgressState {
  const moved = batchesDone - progress.batchesDone;
  return {
    ...progress,
    batchesDone,
    batchIdx: Math.max(0, progress.batchIdx + moved),
    totalBatches: progress.totalBatches + moved,
    batchesThatStepped: Math.min(progress.batchesThatStepped, progress.totalBatches + moved),
  };
}

/** Where several loaders stand in batches of other sizes, nobody knows. */
function refuseSeveral(run: Run, { loader, fetched }: FetcherState): void {
  if (loader === null || !Array.isArray(loader["loaders"]) || fetched === 0) return;
  throw new MisconfigurationError(
    "fit",
    `a checkpoint from between two epochs, to go on with ${run.strategy.worldSize} processes and several training loaders`,
    verbatim(`${run.checkpointPath}, from within one`),
    "Go on with as many processes as before.",
    "ERR_RESUME_WORLD_SIZE",
  );
}

/** A loader's own place moves with it; what its generators drew since is drawn again. */
function fetchedTo({ rng, fetched, loader }: FetcherState, batchesDone: number, before: number): FetcherState {
  const under = loader !== null && loader.before !== null && typeof loader.position === "number";
  const ahead = fetched - before;
  return {
    rng,
    fetched: batchesDone + ahead,
    loader: under ? { ...loader, position: batchesDone + ahead, now: null } : loader,
  };
}
