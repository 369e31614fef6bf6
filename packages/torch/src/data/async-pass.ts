/** A pass for `for await`, which loads batches ahead of their turn where loading waits for something. */
import type { IterableDataset } from "./dataset.js";
import { isPromise, type Where } from "./fetch.js";
import { Pass, type PassPlan } from "./loader-pass.js";
import type { StoredLoaderState } from "./loader-state.js";
import { END, type StreamReader } from "./stream-reader.js";

export class AsyncPass<T, B> extends Pass<T, B> implements AsyncIterableIterator<B> {
  readonly #stream: StreamReader<T, B> | null;
  readonly #most: number;
  readonly #queue: Promise<B | typeof END>[] = [];
  #slow = false;
  #dry = false;
  /** A stream is read by one batch at a time, or batches would take each other's elements. */
  #turn: Promise<unknown> = Promise.resolve();
  constructor(plan: PassPlan<T, B>, resume: StoredLoaderState | null, most: number) {
    super(plan, resume);
    this.#most = most;
    const stream = plan.stream ? (plan.dataset as IterableDataset<T>) : null;
    this.#slow = stream?.[Symbol.asyncIterator] !== undefined;
    this.#stream = this.reader(stream?.[Symbol.asyncIterator]?.() ?? stream?.[Symbol.iterator]?.());
  }

  async next(): Promise<IteratorResult<B, undefined>> {
    if (this.finished) return { done: true, value: undefined };
    // Batches that load at once only help where loading waits for something.
    do this.#start();
    while (this.#slow && this.#queue.length < this.#most && this.#moreToCome());
    const head = this.#queue.shift();
    return this.give(head === undefined ? END : await head);
  }

  protected override get ahead(): number {
    return this.#queue.length;
  }

  /** The end is not looked for ahead of its turn: samplers may draw once more there. */
  #moreToCome(): boolean {
    return !this.#dry && (this.plan.length === null || this.given + this.#queue.length < this.plan.length);
  }

  /** Begin loading one more batch, unless enough are being loaded. */
  #start(): void {
    if (this.#dry || (this.#queue.length > 0 && (this.#queue.length >= this.#most || !this.#moreToCome()))) return;
    let loading: Promise<B | typeof END>;
    if (this.#stream !== null) {
      const stream = this.#stream;
      loading = this.#turn.then(() => stream.next());
      this.#turn = loading.catch(() => undefined);
    } else {
      const where = (this.order as Iterator<Where>).next();
      if (where.done === true) {
        this.#dry = true;
        return;
      }
      loading = this.#fetch(where.value);
    }
    // A failure is reported when its turn comes, not as an unhandled rejection before.
    loading.catch(() => undefined);
    this.#queue.push(loading);
  }

  async #fetch(where: Where): Promise<B> {
    const fetched = this.fetch.at(where);
    this.#slow ||= isPromise(fetched);
    return fetched;
  }

  async return(): Promise<IteratorResult<B, undefined>> {
    if (!this.finished) {
      this.order?.return?.();
      await this.#stream?.return();
    }
    return { done: true, value: undefined };
  }
  [Symbol.asyncIterator](): this {
    return this;
  }
}
