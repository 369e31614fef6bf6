import { waitFor, type MaybePending } from "./pending.js";

/** From so many milliseconds on, a wait is not made on this thread. */
const BRIEF_MS = 2;

/** A step that a device has begun. */
export interface Flight {
  /** Resolves when the device is done with it. */
  readonly done: () => Promise<void>;
  /** Look at what came of it, which waits where it is not done. Null: there is nothing to look at. */
  readonly look: (() => void) | null;
}

/** Steps that a device has before it, the oldest first. */
export class Flights {
  readonly #flights: Flight[] = [];
  /** The latest wait was short. */
  #waitsBriefly = true;

  push(flight: Flight): void {
    this.#flights.push(flight);
  }

  /**
   * Go on with `then` when at most `most` are left: those before are done, and looked at. The wait is made on this thread
   * where it is a moment, since a promise costs more than a small step; else off it.
   */
  landTo<T>(most: number, then: () => MaybePending<T>): MaybePending<T> {
    if (this.#flights.length <= most) return then();
    const oldest = this.#flights.shift() as Flight;
    const before = performance.now();
    const landed = (): MaybePending<T> => {
      oldest.look?.();
      this.#waitsBriefly = performance.now() - before < BRIEF_MS;
      return this.landTo(most, then);
    };
    return this.#waitsBriefly && oldest.look !== null ? landed() : waitFor(oldest.done(), landed);
  }

  /** Look at all that are left. Waits for the device. */
  settle(): void {
    for (const { look } of this.#flights.splice(0)) look?.();
  }
  /** Nobody looks at them any more. */
  forget(): void {
    this.#flights.length = 0;
  }
}
