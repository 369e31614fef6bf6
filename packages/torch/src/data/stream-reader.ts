/** Batches of a dataset without positions: as many elements as come, in their order. */
import { isPromise, type Fetch } from "./fetch.js";

export interface StreamPlan {
  readonly batched: boolean;
  readonly batchSize: number | null;
  readonly dropLast: boolean;
}
/** There is no further batch. */
export const END = Symbol("end");

export class StreamReader<T, B> {
  readonly #elements: Iterator<T> | AsyncIterator<T>;
  readonly #plan: StreamPlan;
  readonly #fetch: Fetch<T, B>;
  /** Batches still to be passed over, of a pass that is resumed. */
  #skip: number;

  constructor(elements: Iterator<T> | AsyncIterator<T>, plan: StreamPlan, fetch: Fetch<T, B>, skip: number) {
    this.#elements = elements;
    this.#plan = plan;
    this.#fetch = fetch;
    this.#skip = skip;
  }

  /** The next batch of a stream. A promise where the stream, an element of it, or collateFn returns one. */
  next(): B | typeof END | Promise<B | typeof END> {
    for (; this.#skip > 0; this.#skip--) {
      const passed = this.#take();
      if (isPromise(passed)) return this.#nextLater(passed);
      if (passed === END) break;
    }
    const taken = this.#take();
    return isPromise(taken) ? taken.then((t) => this.#join(t)) : this.#join(taken);
  }
  async #nextLater(passed: Promise<T[] | typeof END>): Promise<B | typeof END> {
    if ((await passed) === END) this.#skip = 0;
    else this.#skip--;
    return this.next();
  }
  #join(taken: T[] | typeof END): B | typeof END {
    if (taken === END) return END;
    return this.#plan.batched ? this.#fetch.collate(taken) : this.#fetch.convert(taken[0] as T);
  }

  /** The elements of the next batch of a stream. */
  #take(): T[] | typeof END | Promise<T[] | typeof END> {
    const taken: T[] = [];
    while (taken.length < this.#size) {
      const next = this.#elements.next();
      if (isPromise(next)) return this.#takeLater(taken, next);
      if (next.done === true) break;
      if (isPromise(next.value)) return this.#takeLater(taken, Promise.resolve(next));
      taken.push(next.value);
    }
    return this.#enough(taken);
  }
  async #takeLater(taken: T[], pending: Promise<IteratorResult<T>>): Promise<T[] | typeof END> {
    let next = await pending;
    while (next.done !== true) {
      taken.push(await next.value);
      if (taken.length >= this.#size) break;
      next = await this.#elements.next();
    }
    return this.#enough(taken);
  }
  #enough(taken: T[]): T[] | typeof END {
    return taken.length === 0 || (taken.length < this.#size && this.#plan.dropLast) ? END : taken;
  }
  get #size(): number {
    return this.#plan.batchSize ?? 1;
  }

  /** Nobody wants more of it. */
  return(): unknown {
    return this.#elements.return?.();
  }
}
