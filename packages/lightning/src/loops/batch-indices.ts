import { DataLoader } from "@nbit/torch";
import type { Loader } from "./fetch.js";

/** Batches of positions on their way to a loader, in their order, and a note of each. */
class Noted implements Iterable<readonly number[]> {
  readonly seen: (readonly number[])[] = [];
  readonly #batches: Iterable<readonly number[]>;
  /** As the batches have it: a loader asks for its length. */
  declare readonly length?: number;

  constructor(batches: Iterable<readonly number[]>) {
    this.#batches = batches;
    if ("length" in batches) Object.defineProperty(this, "length", { get: () => Reflect.get(batches, "length") });
  }

  *[Symbol.iterator](): Iterator<readonly number[]> {
    this.seen.length = 0;
    for (const batch of this.#batches) {
      this.seen.push(batch);
      yield batch;
    }
  }
}

/** A loader that gives the same batches, and tells which positions are in each; null: nobody knows. */
export interface IndexedLoader {
  readonly loader: Loader;
  readonly indices: (batchIdx: number) => readonly number[] | null;
}

/** Batches are counted in the order in which they are asked for, also where workers load them ahead. */
export function withIndices(loader: Loader): IndexedLoader {
  const batches = loader instanceof DataLoader ? loader.batchSampler : null;
  if (!(loader instanceof DataLoader) || batches === null) return { loader, indices: () => null };
  const noted = new Noted(batches);
  return { loader: loader.withOrder({ batchSampler: noted }), indices: (batchIdx) => noted.seen[batchIdx] ?? null };
}
