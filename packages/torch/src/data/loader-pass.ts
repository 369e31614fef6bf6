/** One pass over a dataset: which positions, in which order, fetched and collated. */
import { ArgumentError, verbatim } from "../errors.js";
import type { Generator } from "../random.js";
import { Fetch, type FetchPlan, type Where } from "./fetch.js";
import { drawSeed } from "./random-ops.js";
import { pinBatch } from "./pin.js";
import {
  restore,
  runningState,
  snapshot,
  withDefault,
  type LoaderState,
  type Snapshot,
  type StoredLoaderState,
  type Workers,
} from "./loader-state.js";
import { END, StreamReader, type StreamPlan } from "./stream-reader.js";

export interface PassPlan<T, B> extends FetchPlan<T, B>, StreamPlan {
  readonly stream: boolean;
  /** Positions, or batches of positions; null for a stream. */
  readonly order: Iterable<number | readonly number[]> | null;
  readonly pinMemory: boolean;
  readonly generator: Generator | null;
  readonly generators: readonly Generator[];
  readonly epoch: number;
  /** Batches of the pass; null when nobody says. */
  readonly length: number | null;
  /** Whether the first place is drawn with the pass: threads begin to load it at once. */
  readonly eager: boolean;
  /** Whether a seed is drawn; threads that stay from pass to pass keep theirs. */
  readonly drawsSeed: boolean;
  finish(): void;
}

/** What all kinds of pass share: the order, where it stands, what is fetched, and what is saved of it. */
export abstract class Pass<T, B> {
  protected readonly plan: PassPlan<T, B>;
  protected readonly order: Iterator<Where> | null;
  protected readonly fetch: Fetch<T, B>;
  readonly #before: Snapshot;
  /** Batches to be passed over in a stream that is resumed. */
  #skip = 0;
  protected given = 0;
  finished = false;
  /** What threads draw from; null where none was drawn. */
  protected readonly seed: bigint | null;
  #first: IteratorResult<Where, unknown> | null = null;

  constructor(plan: PassPlan<T, B>, resume: StoredLoaderState | null) {
    this.plan = plan;
    this.fetch = new Fetch(plan);
    const all = withDefault(plan.generators);
    const here = resume === null ? null : snapshot(all.slice(0, 1));
    if (resume?.before) restore(all, resume.before);
    this.#before = resume?.before ?? snapshot(all);
    this.order = plan.order === null ? null : plan.order[Symbol.iterator]();
    // PyTorch seeds the workers of a pass with this draw, and makes it without workers too.
    const drawn = (resume?.workers?.drawn ?? plan.drawsSeed) ? drawSeed(plan.generator) : null;
    this.seed = resume?.workers?.seed ?? drawn;
    if (resume === null || here === null) {
      this.#draw();
      return;
    }
    try {
      if (this.order === null) this.#skip = resume.position;
      else this.#replay(this.order, resume.position);
      this.#draw();
    } finally {
      restore(all.slice(0, 1), here);
    }
    resume.restoreNow();
    this.given = resume.position;
  }

  #draw(): void {
    if (this.plan.eager && this.order !== null) this.#first = this.order.next();
  }
  /** The next place of the order; of a stream, which has none, null for ever. */
  protected place(): IteratorResult<Where | null, unknown> {
    const next = this.#first ?? this.order?.next() ?? { done: false, value: null };
    this.#first = null;
    return next;
  }

  #replay(order: Iterator<Where>, position: number): void {
    for (let i = 0; i < position; i++) {
      if (order.next().done === true)
        throw new ArgumentError(
          "loadStateDict",
          `a loader with at least ${position} batches`,
          verbatim(`${i} batches`),
          "Resume with the dataset, batch size and sampler that the state was saved with.",
        );
    }
  }

  state(position?: number): LoaderState {
    if (position !== undefined && (!Number.isSafeInteger(position) || position < 0 || position > this.given))
      throw new ArgumentError(
        "stateDict",
        `position to be from 0 to ${this.given}, the batches given in this pass`,
        position,
      );
    const here = this.ahead === 0 && (position === undefined || position === this.given);
    return runningState(
      this.plan.epoch,
      position ?? this.given,
      this.#before,
      here ? this.plan.generators : null,
      this.workersAt(position ?? this.given),
    );
  }
  /** What threads have to go on from after so many batches. */
  protected workersAt(_position: number): Workers | null {
    return null;
  }

  /** Of a stream's elements, from where the pass is resumed; null where there is no stream. */
  protected reader(elements: Iterator<T> | AsyncIterator<T> | undefined): StreamReader<T, B> | null {
    return elements === undefined ? null : new StreamReader(elements, this.plan, this.fetch, this.#skip);
  }

  /** Batches whose positions were drawn and that have not been given. */
  protected get ahead(): number {
    return 0;
  }

  protected end(): void {
    if (this.finished) return;
    this.finished = true;
    this.plan.finish();
  }

  protected give(value: B | typeof END): IteratorResult<B, undefined> {
    if (value === END) {
      this.end();
      return { done: true, value: undefined };
    }
    this.given++;
    return { done: false, value: this.plan.pinMemory ? pinBatch(value) : value };
  }
}
