/** One pass over a dataset: which positions, in which order, fetched and collated. */
import { ArgumentError, verbatim } from "../errors.js";
import type { Generator } from "../random.js";
import { defaultCollate, defaultConvert } from "./collate.js";
import type { Dataset, IterableDataset, Source } from "./dataset.js";
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
} from "./loader-state.js";

export interface PassPlan<T, B> {
  readonly dataset: Source<T>;
  readonly stream: boolean;
  /** Positions, or batches of positions; null for a stream. */
  readonly order: Iterable<number | readonly number[]> | null;
  readonly batched: boolean;
  readonly batchSize: number | null;
  readonly dropLast: boolean;
  readonly collateFn: ((elements: readonly T[]) => B) | null;
  readonly pinMemory: boolean;
  readonly generator: Generator | null;
  readonly generators: readonly Generator[];
  readonly epoch: number;
  /** Batches of the pass; null when nobody says. */
  readonly length: number | null;
  finish(): void;
}

type MapStyle<T> = Pick<Dataset<T>, "length" | "get" | "getBatch">;
type Where = number | readonly number[];
type Elements<T> = Iterator<T> | AsyncIterator<T>;

function isPromise<V>(value: V | Promise<V>): value is Promise<V> {
  return typeof value === "object" && value !== null && "then" in value && typeof value.then === "function";
}

/** What all kinds of pass share: the order, where it stands, what is fetched, and what is saved of it. */
abstract class Pass<T, B> {
  protected readonly plan: PassPlan<T, B>;
  protected readonly order: Iterator<Where> | null;
  readonly #before: Snapshot;
  /** Batches still to be skipped in a stream that is resumed. */
  protected skip = 0;
  protected given = 0;
  finished = false;

  constructor(plan: PassPlan<T, B>, resume: StoredLoaderState | null) {
    this.plan = plan;
    const all = withDefault(plan.generators);
    const here = resume === null ? null : snapshot(all.slice(0, 1));
    if (resume?.before) restore(all, resume.before);
    this.#before = resume?.before ?? snapshot(all);
    this.order = plan.order === null ? null : plan.order[Symbol.iterator]();
    // PyTorch seeds the workers of a pass with this draw, and makes it without workers too.
    drawSeed(plan.generator);
    if (resume === null || here === null) return;
    try {
      if (this.order === null) this.skip = resume.position;
      else this.#replay(this.order, resume.position);
    } finally {
      restore(all.slice(0, 1), here);
    }
    resume.restoreNow();
    this.given = resume.position;
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
    return runningState(this.plan.epoch, position ?? this.given, this.#before, here ? this.plan.generators : null);
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

  protected element(index: number): T | Promise<T> {
    const dataset = this.plan.dataset;
    if (!Array.isArray(dataset)) return (dataset as MapStyle<T>).get(index);
    const list: readonly T[] = dataset;
    if (!(index in list)) throw new ArgumentError("DataLoader", `positions from 0 to ${list.length - 1}`, index);
    return list[index] as T;
  }

  /** The batch (or element) at a place of the order. A promise where the dataset, or collateFn, returns one. */
  protected fetch(where: Where): B | Promise<B> {
    if (typeof where === "number") {
      const element = this.element(where);
      return isPromise(element) ? Promise.resolve(element).then((e) => this.convert(e)) : this.convert(element);
    }
    const whole = this.#gathered(where);
    if (whole !== undefined) return whole as B | Promise<B>;
    const elements = this.#elementsAt(where);
    return elements.some(isPromise)
      ? Promise.all(elements).then((all) => this.collate(all))
      : this.collate(elements as T[]);
  }

  /** The whole batch at once, where the dataset can and nobody asked for a collate of their own. */
  #gathered(where: readonly number[]): unknown {
    if (this.plan.collateFn !== null || Array.isArray(this.plan.dataset)) return undefined;
    return (this.plan.dataset as MapStyle<T>).getBatch?.(where);
  }

  #elementsAt(where: readonly number[]): (T | Promise<T>)[] {
    const elements: (T | Promise<T>)[] = [];
    try {
      for (const i of where) elements.push(this.element(i));
    } catch (error) {
      // Nobody will wait for those that are under way: their failures must not count as unheard of.
      for (const element of elements) if (isPromise(element)) element.then(undefined, () => undefined);
      throw error;
    }
    return elements;
  }

  /** The next batch of a stream. A promise where the stream, an element of it, or collateFn returns one. */
  protected fetchNext(elements: Elements<T>): B | typeof END | Promise<B | typeof END> {
    for (; this.skip > 0; this.skip--) {
      const passed = this.#take(elements);
      if (isPromise(passed)) return this.#fetchLater(elements, passed);
      if (passed === END) break;
    }
    const taken = this.#take(elements);
    return isPromise(taken) ? taken.then((t) => this.#join(t)) : this.#join(taken);
  }
  async #fetchLater(elements: Elements<T>, passed: Promise<T[] | typeof END>): Promise<B | typeof END> {
    if ((await passed) === END) this.skip = 0;
    else this.skip--;
    return this.fetchNext(elements);
  }
  #join(taken: T[] | typeof END): B | typeof END {
    if (taken === END) return END;
    return this.plan.batched ? this.collate(taken) : this.convert(taken[0] as T);
  }

  /** The elements of the next batch of a stream. */
  #take(elements: Elements<T>): T[] | typeof END | Promise<T[] | typeof END> {
    const taken: T[] = [];
    while (taken.length < this.#size) {
      const next = elements.next();
      if (isPromise(next)) return this.#takeLater(elements, taken, next);
      if (next.done === true) break;
      if (isPromise(next.value)) return this.#takeLater(elements, taken, Promise.resolve(next));
      taken.push(next.value);
    }
    return this.#enough(taken);
  }
  async #takeLater(elements: Elements<T>, taken: T[], pending: Promise<IteratorResult<T>>): Promise<T[] | typeof END> {
    let next = await pending;
    while (next.done !== true) {
      taken.push(await next.value);
      if (taken.length >= this.#size) break;
      next = await elements.next();
    }
    return this.#enough(taken);
  }
  #enough(taken: T[]): T[] | typeof END {
    return taken.length === 0 || (taken.length < this.#size && this.plan.dropLast) ? END : taken;
  }
  get #size(): number {
    return this.plan.batchSize ?? 1;
  }

  protected give(value: B | typeof END): IteratorResult<B, undefined> {
    if (value === END) {
      this.end();
      return { done: true, value: undefined };
    }
    this.given++;
    return { done: false, value: this.plan.pinMemory ? pinBatch(value) : value };
  }

  protected collate(elements: readonly T[]): B {
    // B is Collated<T> when there is no collateFn: the class's default type argument says so, which the compiler cannot
    // carry to here.
    return this.plan.collateFn === null ? (defaultCollate(elements) as unknown as B) : this.plan.collateFn(elements);
  }
  /** One element, without batches. A collateFn sees it as it is, as PyTorch's does. */
  protected convert(element: T): B {
    return this.plan.collateFn === null
      ? (defaultConvert(element) as B)
      : this.plan.collateFn(element as unknown as readonly T[]);
  }
}

/** One batch after the other: at once where the dataset returns its elements at once, else in promises. */
export class ReadyPass<T, B> extends Pass<T, B> {
  readonly #elements: Elements<T> | null;
  constructor(plan: PassPlan<T, B>, resume: StoredLoaderState | null) {
    super(plan, resume);
    const stream = plan.stream ? (plan.dataset as IterableDataset<T>) : null;
    this.#elements = stream === null ? null : (stream[Symbol.iterator]?.() ?? stream[Symbol.asyncIterator]?.() ?? null);
  }

  next(): IteratorResult<B, undefined> | Promise<IteratorResult<B, undefined>> {
    if (this.finished) return { done: true, value: undefined };
    const value = this.#elements !== null ? this.fetchNext(this.#elements) : this.#fetchPlace();
    return isPromise(value) ? Promise.resolve(value).then((late) => this.give(late)) : this.give(value);
  }

  #fetchPlace(): B | typeof END | Promise<B> {
    const where = (this.order as Iterator<Where>).next();
    return where.done === true ? END : this.fetch(where.value);
  }

  return(): IteratorResult<B, undefined> | Promise<IteratorResult<B, undefined>> {
    const done = { done: true, value: undefined } as const;
    if (this.finished) return done;
    this.order?.return?.();
    const closing = this.#elements?.return?.();
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

export class AsyncPass<T, B> extends Pass<T, B> implements AsyncIterableIterator<B> {
  readonly #elements: Elements<T> | null;
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
    this.#elements = stream === null ? null : (stream[Symbol.asyncIterator]?.() ?? stream[Symbol.iterator]?.() ?? null);
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
    if (this.#elements !== null) {
      const elements = this.#elements;
      loading = this.#turn.then(() => this.fetchNext(elements));
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
    const fetched = this.fetch(where);
    this.#slow ||= isPromise(fetched);
    return fetched;
  }

  async return(): Promise<IteratorResult<B, undefined>> {
    if (!this.finished) {
      this.order?.return?.();
      await this.#elements?.return?.();
    }
    return { done: true, value: undefined };
  }
  [Symbol.asyncIterator](): this {
    return this;
  }
}

const END = Symbol("end");

function waits(dataset: unknown): never {
  throw new ArgumentError(
    "DataLoader",
    "a dataset that returns its elements at once, for a loader iterated with for…of",
    dataset,
    "It returns promises: iterate with `for await`, as the Trainer does.",
  );
}
