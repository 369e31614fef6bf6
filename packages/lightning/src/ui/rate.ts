/** Seconds over which the shown rate averages: long enough to stand still, short enough to follow a change. */
const TIME_CONSTANT = 3;

/**
 * Things per second: an exponential average over the last seconds, started with the plain average.
 *
 * Time is in milliseconds, as `performance.now()` gives it.
 */
export class RateMeter {
  readonly #startedAt: number;
  #at: number;
  #done = 0;
  #average = 0;

  constructor(now: number) {
    this.#startedAt = now;
    this.#at = now;
  }

  /** The rate after `done` things in all. */
  update(done: number, now: number): number {
    const seconds = (now - this.#at) / 1000;
    if (seconds > 0 && done > this.#done) {
      const rate = (done - this.#done) / seconds;
      const age = (now - this.#startedAt) / 1000;
      // Young meters weigh by age, which makes them the plain average.
      const weight = 1 - Math.exp(-seconds / Math.max(1e-9, Math.min(TIME_CONSTANT, age - seconds)));
      this.#average += weight * (rate - this.#average);
      this.#at = now;
      this.#done = done;
    }
    return this.#average;
  }

  /** Leave out a pause (a validation run): the clock goes on from `now`. */
  skipTo(now: number): void {
    this.#at = Math.max(this.#at, now);
  }
}
