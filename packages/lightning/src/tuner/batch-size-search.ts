/** Searches for the largest batch size that works: doubling, and halving the interval. */

export interface BatchSizeSearch {
  readonly mode: "power" | "binsearch";
  readonly maxTrials: number;
  /** A share that is taken off what bisection found. */
  readonly margin: number;
  readonly maxVal: number;
}

/** What sizes are tried on. */
export interface SizedTrials {
  /** The size now. */
  readonly get: () => number;
  readonly set: (size: number) => void;
  /** Elements in the dataset: a larger batch than that is no other; null: not known. */
  readonly most: number | null;
  /** Whether a size works. */
  readonly works: (size: number) => Promise<boolean>;
  readonly say: (line: string) => void;
}

/** @returns the size found, which is set. */
export async function searchBatchSize(trials: SizedTrials, initial: number, how: BatchSizeSearch): Promise<number> {
  const search = new Search(trials, how);
  const [size] = search.adjust(initial, null);
  return how.mode === "power" ? search.byPowers(size) : search.byBisection(size);
}

class Search {
  readonly #trials: SizedTrials;
  readonly #how: BatchSizeSearch;

  constructor(trials: SizedTrials, how: BatchSizeSearch) {
    this.#trials = trials;
    this.#how = how;
  }

  /** Go to another size, and say whether it is another. What is as large as the dataset stays. */
  adjust(to: number, outcome: "succeeded" | "failed" | null): readonly [size: number, changed: boolean] {
    const { get, set, most, say } = this.#trials;
    const { maxVal } = this.#how;
    const now = get();
    if (most !== null && now >= most) {
      say(`batch size ${now} is at least the ${most} elements of the dataset`);
      return [now, false];
    }
    const next = Math.min(to, maxVal);
    if (outcome !== null) say(`batch size ${now} ${outcome}; the next is ${next}`);
    set(next);
    return [next, next !== now];
  }

  /** Whether a size that works is the largest that is asked for. */
  #isEnough(size: number): boolean {
    const { maxVal } = this.#how;
    if (size < maxVal) return false;
    this.#trials.say(`batch size ${maxVal} is the largest that is asked for`);
    return true;
  }

  async byPowers(initial: number): Promise<number> {
    const { maxTrials } = this.#how;
    let size = initial;
    let succeeded = false;
    for (let trial = 1; trial <= maxTrials; trial++) {
      if (await this.#trials.works(size)) {
        if (trial === maxTrials || this.#isEnough(size)) break;
        const [next, changed] = this.adjust(this.#trials.get() * 2, "succeeded");
        size = next;
        if (!changed) break;
        succeeded = true;
      } else {
        if (size <= 1) throw new NoBatchSize();
        [size] = this.adjust(Math.floor(this.#trials.get() / 2), "failed");
        if (succeeded) break;
      }
    }
    return size;
  }

  async byBisection(initial: number): Promise<number> {
    const { maxTrials, margin } = this.#how;
    let size = initial;
    let low = 1;
    let high: number | null = null;
    let successes = 0;
    for (;;) {
      if (await this.#trials.works(size)) {
        successes++;
        if (successes >= maxTrials || this.#isEnough(size)) break;
        low = size;
        if (high !== null && high - low <= 1) break;
        const next = high === null ? this.#trials.get() * 2 : Math.floor((high + low) / 2);
        const [changedTo, changed] = this.adjust(next, "succeeded");
        size = changedTo;
        if (!changed) break;
      } else {
        if (size <= 1) throw new NoBatchSize();
        high = size;
        [size] = this.adjust(Math.floor((high + low) / 2), "failed");
        if (high - low <= 1 && successes > 0) break;
      }
    }
    const reduced = Math.max(1, Math.trunc(size * (1 - margin)));
    if (reduced === size) return size;
    this.#trials.say(`less ${100 * margin} %: batch size ${reduced}`);
    this.#trials.set(reduced);
    return reduced;
  }
}

/** Not even one element fits. */
export class NoBatchSize extends Error {}
