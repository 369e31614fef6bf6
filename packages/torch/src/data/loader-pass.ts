/** One pass over a dataset: which positions, in which order, fetched and collated. */
import { ArgumentError, words } from "../errors.js";
import type { Generator } from "../random.js";
import { defaultCollate, defaultConvert } from "./collate.js";
import type { Dataset, IterableDataset } from "./dataset.js";
import { drawSeed } from "./draw.js";
import type { Source } from "./loader.js";
import { pinBatch } from "./pin.js";
import { restore, runningState, snapshot, withDefault, type LoaderState, type Snapshot, type StoredLoaderState } from "./loader-state.js";

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
  finish(): void;
}

type MapStyle<T> = Pick<Dataset<T>, "length" | "get" | "getBatch">;
type Where = number | readonly number[];

function isPromise(value: unknown): value is PromiseLike<unknown> {
  return typeof value === "object" && value !== null && "then" in value && typeof value.then === "function";
}

/** What both kinds of pass share: the order, where it stands, and what is saved of it. */
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
      if (order.next().done === true) throw new ArgumentError("loadStateDict", `a loader with at least ${position} batches`, words(`${i} batches`), "Resume with the dataset, batch size and sampler that the state was saved with.");
    }
  }

  state(position?: number): LoaderState {
    if (position !== undefined && (!Number.isSafeInteger(position) || position < 0 || position > this.given)) throw new ArgumentError("stateDict", `position to be from 0 to ${this.given}, the batches given in this pass`, position);
    return runningState(this.plan.epoch, position ?? this.given, this.#before, position === undefined || position === this.given ? this.plan.generators : null);
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

  /** The whole batch at once, where the dataset can and nobody asked for a collate of their own. */
  protected gathered(where: readonly number[]): unknown {
    if (this.plan.collateFn !== null || Array.isArray(this.plan.dataset)) return undefined;
    return (this.plan.dataset as MapStyle<T>).getBatch?.(where);
  }

  protected collate(elements: readonly T[]): B {
    // B is Collated<T> when there is no collateFn: the class's default type argument says so, which the compiler cannot carry to here.
    return this.plan.collateFn === null ? (defaultCollate(elements) as unknown as B) : this.plan.collateFn(elements);
  }
  /** One element, without batches. A collateFn sees it as it is, as PyTorch's does. */
  protected convert(element: T): B {
    return this.plan.collateFn === null ? (defaultConvert(element) as B) : this.plan.collateFn(element as unknown as readonly T[]);
  }
}

export class SyncPass<T, B> extends Pass<T, B> implements IterableIterator<B> {
  readonly #elements: Iterator<T> | null;
  constructor(plan: PassPlan<T, B>, resume: StoredLoaderState | null) {
    super(plan, resume);
    const make = plan.stream ? (plan.dataset as IterableDataset<T>)[Symbol.iterator] : undefined;
    if (plan.stream && make === undefined) waits(plan.dataset);
    this.#elements = make === undefined ? null : make.call(plan.dataset as IterableDataset<T>);
  }

  next(): IteratorResult<B, undefined> {
    if (this.finished) return { done: true, value: undefined };
    let value: B | typeof END;
    if (this.#elements !== null) {
      for (; this.skip > 0; this.skip--) if (this.#take(this.#elements) === END) break;
      const elements = this.#take(this.#elements);
      value = elements === END ? END : this.plan.batched ? this.collate(elements) : this.convert(elements[0] as T);
    } else {
      const where = (this.order as Iterator<Where>).next();
      value = where.done === true ? END : this.#fetch(where.value);
    }
    if (value === END) {
      this.end();
      return { done: true, value: undefined };
    }
    this.given++;
    return { done: false, value: this.plan.pinMemory ? pinBatch(value) : value };
  }

  /** The elements of the next batch of a stream. */
  #take(elements: Iterator<T>): T[] | typeof END {
    const size = this.plan.batchSize ?? 1;
    const taken: T[] = [];
    while (taken.length < size) {
      const next = elements.next();
      if (next.done === true) break;
      if (isPromise(next.value)) waits(this.plan.dataset);
      taken.push(next.value);
    }
    return taken.length === 0 || (taken.length < size && this.plan.dropLast) ? END : taken;
  }

  #fetch(where: Where): B {
    if (typeof where === "number") return this.convert(this.#get(where));
    const whole = this.gathered(where);
    if (isPromise(whole)) waits(this.plan.dataset);
    if (whole !== undefined) return whole as B;
    return this.collate(where.map((i) => this.#get(i)));
  }
  #get(index: number): T {
    const element = this.element(index);
    if (isPromise(element)) waits(this.plan.dataset);
    return element as T;
  }

  return(): IteratorResult<B, undefined> {
    if (!this.finished) {
      this.order?.return?.();
      this.#elements?.return?.();
    }
    return { done: true, value: undefined };
  }
  [Symbol.iterator](): this {
    return this;
  }
}

export class AsyncPass<T, B> extends Pass<T, B> implements AsyncIterableIterator<B> {
  readonly #elements: AsyncIterator<T> | Iterator<T> | null;
  readonly #ahead: number;
  readonly #queue: Promise<B | typeof END>[] = [];
  #slow = false;
  #dry = false;
  /** A stream is read by one batch at a time, or batches would take each other's elements. */
  #turn: Promise<unknown> = Promise.resolve();
  constructor(plan: PassPlan<T, B>, resume: StoredLoaderState | null, ahead: number) {
    super(plan, resume);
    this.#ahead = ahead;
    const stream = plan.stream ? (plan.dataset as IterableDataset<T>) : null;
    this.#slow = stream?.[Symbol.asyncIterator] !== undefined;
    this.#elements = stream === null ? null : (stream[Symbol.asyncIterator]?.() ?? stream[Symbol.iterator]?.() ?? null);
  }

  async next(): Promise<IteratorResult<B, undefined>> {
    if (this.finished) return { done: true, value: undefined };
    // Batches that load at once only help where loading waits for something.
    do this.#start();
    while (!this.#dry && this.#slow && this.#queue.length < this.#ahead);
    const head = this.#queue.shift();
    const value = head === undefined ? END : await head;
    if (value === END) {
      this.end();
      return { done: true, value: undefined };
    }
    this.given++;
    return { done: false, value: this.plan.pinMemory ? pinBatch(value) : value };
  }

  /** Begin loading one more batch, unless enough are being loaded. */
  #start(): void {
    if (this.#dry || (this.#queue.length > 0 && this.#queue.length >= this.#ahead)) return;
    let loading: Promise<B | typeof END>;
    if (this.#elements !== null) {
      const elements = this.#elements;
      loading = this.#turn.then(() => this.#stream(elements));
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

  async #stream(elements: AsyncIterator<T> | Iterator<T>): Promise<B | typeof END> {
    for (; this.skip > 0; this.skip--) if ((await this.#take(elements)) === END) break;
    const taken = await this.#take(elements);
    if (taken === END) return END;
    return this.plan.batched ? this.collate(taken) : this.convert(taken[0] as T);
  }
  async #take(elements: AsyncIterator<T> | Iterator<T>): Promise<T[] | typeof END> {
    const size = this.plan.batchSize ?? 1;
    const taken: T[] = [];
    while (taken.length < size) {
      const next = await elements.next();
      if (next.done === true) break;
      taken.push(next.value);
    }
    return taken.length === 0 || (taken.length < size && this.plan.dropLast) ? END : taken;
  }

  async #fetch(where: Where): Promise<B> {
    if (typeof where === "number") {
      const element = this.element(where);
      this.#slow ||= isPromise(element);
      return this.convert(await element);
    }
    const whole = this.gathered(where);
    this.#slow ||= isPromise(whole);
    if (whole !== undefined) return (isPromise(whole) ? await whole : whole) as B;
    const elements = where.map((i) => this.element(i));
    this.#slow ||= elements.some(isPromise);
    return this.collate(await Promise.all(elements));
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
  throw new ArgumentError("DataLoader", "a dataset that gives its elements at once, for a loader iterated with for…of", dataset, "Its elements are promises: iterate with `for await`, which the Trainer does when numWorkers > 0.");
}
