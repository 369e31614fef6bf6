/** What processes tell each other at log steps, with the metrics. */
import { NbitError } from "@nbit/torch";

export interface RankNews {
  /** Null: losses are not scaled. */
  readonly lossScale: number | null;
  /** A loss since the last log step was not finite, and no skipped step accounts for it. */
  readonly badLoss: boolean;
}
/** Who has such news, and hears those of all, in the order of ranks. */
export interface NewsOfRanks {
  news(): RankNews;
  heard(all: readonly (RankNews | null)[], rank: number, step: number): void;
}

/** @throws {NbitError} ERR_DIST_LOSS_SCALE where a process scales its losses otherwise than others. */
export function checkSameScale(all: readonly (RankNews | null)[], step: number): void {
  const scales = all.map((one) => one?.lossScale ?? null);
  if (scales.every((scale) => scale === scales[0])) return;
  const ranksOf = new Map<number | null, number[]>();
  scales.forEach((scale, rank) => ranksOf.set(scale, [...(ranksOf.get(scale) ?? []), rank]));
  const received = [...ranksOf].map(([scale, ranks]) => `${scale ?? "none"} on rank ${ranks.join(", ")}`).join("; ");
  throw new NbitError(
    `fit: expected the same loss scale on all ranks. Received: ${received}, at step ${step}. Gradients are averages of losses that were multiplied by different numbers. Load the state of a scaler on every rank, and leave its updates to the Trainer.`,
    "ERR_DIST_LOSS_SCALE",
  );
}
