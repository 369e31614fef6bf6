import { inspect } from "node:util";
import { NbitError } from "@nbit/torch";
import type { StepOutcome } from "../types.js";

/**
 * What a replayed batch did. A replay writes its numbers where the one before wrote its own, so they are read before
 * the next batch, all at once, or not at all: later they would be another batch's.
 */
export class ReplayedOutcome implements StepOutcome {
  readonly #read: () => StepOutcome;
  #values: StepOutcome | null = null;
  #over = false;

  constructor(read: () => StepOutcome) {
    this.#read = read;
  }
  /** Read everything now, for whoever asks later. */
  read(): void {
    this.#values ??= this.#read();
  }
  /** The next batch begins. */
  end(): void {
    this.#over = true;
  }
  get #now(): StepOutcome {
    if (this.#values === null && this.#over) {
      throw new NbitError(
        "lastOutcome: expected to be read before the next batch. Received: the outcome of a batch that a graph replayed, whose numbers the next replay has overwritten. Read what you need of it in onTrainBatchEnd.",
        "OUTCOME_OVERWRITTEN",
      );
    }
    return (this.#values ??= this.#read());
  }
  get stepped(): boolean {
    return this.#now.stepped;
  }
  get skipped(): boolean {
    return this.#now.skipped;
  }
  get lossScale(): number {
    return this.#now.lossScale;
  }
  get gradNorm(): number | undefined {
    return this.#now.gradNorm;
  }
  /** What console.log shows. */
  [inspect.custom](): unknown {
    return this.#values === null && this.#over ? "an outcome that the next replay has overwritten" : this.#now;
  }
}
