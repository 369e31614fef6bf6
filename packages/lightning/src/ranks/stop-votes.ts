/** How several processes end at the same batch, whichever of them was asked to. */
import { scope, tensor } from "@nbit/torch";
import type { Ending } from "../signals.js";
import { ENDINGS } from "../signals.js";
import type { Collectives } from "../strategies/strategy.js";

/** What one process would do. */
export interface Wish {
  readonly stop: boolean;
  readonly signal: Ending | null;
}

/** Between two votes that nothing but time asks for. */
const INTERVAL_MS = 100;
const MOST_BATCHES = 10_000;

/**
 * What all processes do, of what each would: any one's wish to stop, or signal, counts for all.
 *
 * A vote is one small collective (0.1 ms within a machine). Processes vote where they must not part, such as at log
 * steps and at the end of an epoch, and in between about ten times a second: each vote tells all when the next one is, in batches, from
 * the slowest one's pace.
 */
export class StopVotes {
  readonly #collectives: Collectives;
  readonly #wish: () => Wish;
  #stop = false;
  #signal: Ending | null = null;
  #batches = 0;
  #every = 1;
  #since = performance.now();

  constructor(collectives: Collectives, wish: () => Wish) {
    this.#collectives = collectives;
    this.#wish = wish;
  }

  /** What was agreed on. */
  get stop(): boolean {
    return this.#stop;
  }
  get signal(): Ending | null {
    return this.#signal;
  }

  /** A batch is done, by every process. */
  afterBatch(due: boolean): void {
    this.#batches++;
    if (due || this.#batches >= this.#every) this.vote();
  }

  /** Every process calls it at the same place. */
  vote(): void {
    const { stop, signal } = this.#wish();
    const pace = (performance.now() - this.#since) / Math.max(1, this.#batches);
    const [stops, signalled, slowest] = scope(() => {
      const most = tensor([stop ? 1 : 0, signal === null ? 0 : 1 + ENDINGS.indexOf(signal), pace], {
        dtype: "float64",
      });
      this.#collectives.reduce(most, "max");
      return most.tolist() as [number, number, number];
    });
    this.#stop = stops > 0;
    this.#signal = signalled > 0 ? (ENDINGS[signalled - 1] ?? null) : null;
    // A pace is known from the second vote on.
    if (this.#batches > 0) this.#every = Math.min(MOST_BATCHES, Math.max(1, Math.floor(INTERVAL_MS / slowest)));
    this.#batches = 0;
    this.#since = performance.now();
  }
}
