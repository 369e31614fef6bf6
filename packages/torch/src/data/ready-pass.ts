/** Passes that give one batch after the other, without loading ahead. */
import { ArgumentError } from "../errors.js";
import type { IterableDataset } from "./dataset.js";
import { isPromise, type Where } from "./fetch.js";
import { Pass, type PassPlan } from "./loader-pass.js";
import type { StoredLoaderState } from "./loader-state.js";
import { END, type StreamReader } from "./stream-reader.js";

/** One batch after the other: at once where the dataset returns its elements at once, else in promises. */
export class ReadyPass<T, B> extends Pass<T, B> {
  readonly #stream: StreamReader<T, B> | null;
  constructor(plan: PassPlan<T, B>, resume: StoredLoaderState | null) {
    super(plan, resume);
    const stream = plan.stream ? (plan.dataset as IterableDataset<T>) : null;
    this.#stream = this.reader(stream?.[Symbol.iterator]?.() ?? stream?.[Symbol.asyncIterator]?.());
  }

  next(): IteratorResult<B, undefined> | Promise<IteratorResult<B, undefined>> {
    if (this.finished) return { done: true, value: undefined };
    const value = this.#stream !== null ? this.#stream.next() : this.#fetchPlace();
    return isPromise(value) ? Promise.resolve(value).then((late) => this.give(late)) : this.give(value);
  }

  #fetchPlace(): B | typeof END | Promise<B> {
    const where = (this.order as Iterator<Where>).next();
    return where.done === true ? END : this.fetch.at(where.value);
  }

  return(): IteratorResult<B, undefined> | Promise<IteratorResult<B, undefined>> {
    const done = { done: true, value: undefined } as const;
    if (this.finished) return done;
    this.order?.return?.();
    const closing = this.#stream?.return();
    return isPromise(closing) ? Promise.resolve(closing).then(() => done) : done;
  }
}

/** The same for `for…of`, which cannot wait. */
export class SyncPass<T, B> extends ReadyPass<T, B> implements IterableIterator<B> {
  constructor(plan: PassPlan<T, B>, resume: StoredLoaderState | null) {
    if (plan.stream && (plan.dataset as IterableDataset<T>)[Symbol.iterator] === undefined) waits(plan.dataset);
    super(plan, resume);
  }

  override next(): IteratorResult<B, undefined> {
    return this.#now(super.next());
  }
  override return(): IteratorResult<B, undefined> {
    return this.#now(super.return());
  }
  #now(result: IteratorResult<B, undefined> | Promise<IteratorResult<B, undefined>>): IteratorResult<B, undefined> {
    if (!isPromise(result)) return result;
    result.then(undefined, () => undefined);
    return waits(this.plan.dataset);
  }
  [Symbol.iterator](): this {
    return this;
  }
}

function waits(dataset: unknown): never {
  throw new ArgumentError(
    "DataLoader",
    "a dataset that returns its elements at once, for a loader iterated with for…of",
    dataset,
    "It returns promises: iterate with `for await`, as the Trainer does.",
  );
}
