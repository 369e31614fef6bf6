import { BatchSampler, DataLoader, getRngState, keep, outsideScopes, setRngState, Tensor, verbatim } from "@nbit/torch";
import { eachTensor } from "../collections.js";
import { MisconfigurationError } from "../errors.js";
import { AT_ONCE, isPromise, mustEnd, named } from "../promises.js";
import { yieldToEventLoop } from "./yield-to-event-loop.js";
import type { BatchLimit, BatchSource, Fetched, FetcherState, Loader } from "./batch-source.js";

export type { BatchLimit, Fetched, FetcherState, Loader };

/** Loaders that say where they stand can be resumed without fetching again what was used. */
interface StatefulLoader {
  stateDict(options?: { readonly position?: number }): Record<string, unknown>;
  loadStateDict(state: Record<string, unknown>): void;
}

function isStateful(loader: Loader): loader is Loader & StatefulLoader {
  return (
    "stateDict" in loader &&
    typeof loader.stateDict === "function" &&
    "loadStateDict" in loader &&
    typeof loader.loadStateDict === "function"
  );
}

/**
 * Takes batches from a loader, up to a limit, and knows which is the last.
 *
 * Loaders without a length are read one batch ahead, since only then is the last one known. Synchronous iterators are
 * read synchronously; promises appear only where the loader returns them.
 *
 * A DataLoader over positions makes each batch anew, so its tensors are freed with the iteration (a dataset that caches
 * tensors of its own must `keep` them). Any other loader, a generator or one with `numWorkers` or `concurrency` for example, may hold
 * what it made for later batches: its tensors live until they are collected.
 */
export class Fetcher implements BatchSource {
  /** Batches per epoch after the limit; Infinity when the loader does not say. */
  length: number;
  /** Whether the number of batches is known in advance. */
  readonly sized: boolean;
  /** The loader says how many batches it has. */
  readonly known: boolean;
  /** Batches are made in the iteration's tensor scope. */
  readonly #inScope: boolean;
  #limit: number;
  #iterator: Batches | null = null;
  #ahead: IteratorResult<unknown> | null = null;
  #fetched = 0;
  #rng: Tensor | null = null;

  constructor(
    readonly loader: Loader,
    limit: BatchLimit,
    option: string,
  ) {
    const length = lengthOf(loader);
    this.#limit = limitBatches(length, limit, option);
    this.length = Math.min(length ?? Infinity, this.#limit);
    this.sized = length !== null || this.#limit !== Infinity;
    this.known = length !== null;
    // Loading that waits goes on when the scope that asked for it is closed, and begins later batches in it.
    this.#inScope =
      loader instanceof DataLoader && loadsHere(loader) && (loader.sampler !== null || loader.batchSampler !== null);
  }

  /** Samples in a batch, where the loader says so. */
  get batchSize(): number | null {
    const { loader } = this;
    if (!(loader instanceof DataLoader)) return null;
    return loader.batchSampler instanceof BatchSampler ? loader.batchSampler.batchSize : loader.batchSize;
  }

  get loaders(): readonly Loader[] {
    return [this.loader];
  }

  get fetched(): number {
    return this.#fetched;
  }

  /** Take at most so many batches per epoch: as many as other processes have. */
  limitTo(batches: number): void {
    this.#limit = Math.min(this.#limit, batches);
    this.length = Math.min(this.length, batches);
  }

  /** Begin an epoch. Draws from the random number generator as the loader's iterator does. */
  start(epoch: number): void {
    setEpoch(this.loader, epoch);
    this.#rng?.dispose();
    this.#rng = isStateful(this.loader) ? null : keep(getRngState());
    this.#iterator = iterate(this.loader);
    this.#ahead = null;
    this.#fetched = 0;
  }

  /** The next batch, or null when there is none. */
  next(): Fetched | null | Promise<Fetched | null> {
    if (this.#fetched >= this.#limit) return null;
    const result = this.#ahead ?? this.#pull();
    if (isPromise(result)) return this.#nextAsync(result);
    if (result.done === true) return null;
    if (this.#endKnown()) return this.#give(result.value, this.#fetched + 1 >= this.length);
    const ahead = this.#pull();
    if (isPromise(ahead)) return this.#afterAhead(result.value, ahead);
    return this.#giveAhead(result.value, ahead);
  }

  async #nextAsync(pending: Promise<IteratorResult<unknown>>): Promise<Fetched | null> {
    const result = await pending;
    if (result.done === true) return null;
    if (this.#endKnown()) return this.#give(result.value, this.#fetched + 1 >= this.length);
    return this.#giveAhead(result.value, await this.#pull());
  }

  async #afterAhead(value: unknown, pending: Promise<IteratorResult<unknown>>): Promise<Fetched> {
    return this.#giveAhead(value, await pending);
  }

  /** Whether this batch is known to be the last, or not, without reading ahead. */
  #endKnown(): boolean {
    return this.known || this.#fetched + 1 >= this.#limit;
  }

  #pull(): IteratorResult<unknown> | Promise<IteratorResult<unknown>> {
    if (this.#iterator === null)
      throw new MisconfigurationError("fit", "an epoch that has begun", verbatim("no iterator"));
    const iterator = this.#iterator;
    const result = this.#inScope ? iterator.next() : outsideScopes(() => iterator.next());
    if (isPromise(result)) return fromLoader(result);
    const { done, value } = result;
    return done !== true && isPromise(value)
      ? fromLoader(value.then((batch) => ({ done: false, value: batch })))
      : result;
  }

  #giveAhead(value: unknown, ahead: IteratorResult<unknown>): Fetched {
    // What was read ahead belongs to the next iteration, so it outlives this one's scope.
    if (ahead.done !== true) eachTensor(ahead.value, keep);
    this.#ahead = ahead;
    return this.#give(value, ahead.done === true || this.#fetched + 1 >= this.#limit);
  }

  #give(batch: unknown, isLast: boolean): Fetched {
    this.#fetched++;
    return { batch, isLast };
  }

  stateDict(): FetcherState {
    return { rng: this.#rng, fetched: this.#fetched, loader: this.loaderState() };
  }

  /** What the loader says of itself; null where it says nothing. */
  loaderState(): Record<string, unknown> | null {
    return isStateful(this.loader)
      ? mustEnd("stateDict", this.loader.stateDict(this.#ahead === null ? {} : { position: this.#fetched }), AT_ONCE)
      : null;
  }

  /**
   * Go to where `state` says: by the loader's own state when it has one, else by beginning the epoch again from the
   * random numbers that it began with and fetching what was used. The default generator's state afterwards is the
   * caller's business.
   */
  async resume(state: FetcherState, epoch: number): Promise<void> {
    if (isStateful(this.loader) && state.loader !== null) {
      const before = mustEnd("stateDict", this.loader.stateDict(), AT_ONCE);
      mustEnd("loadStateDict", this.loader.loadStateDict(state.loader), AT_ONCE);
      try {
        this.start(epoch);
      } catch (error) {
        this.loader.loadStateDict(before);
        throw error;
      }
      this.#fetched = state.fetched;
      return;
    }
    if (state.rng !== null) setRngState(state.rng);
    this.start(epoch);
    const yieldIfDue = yieldToEventLoop();
    while (this.#fetched < state.fetched) {
      const skipped = await this.next();
      await yieldIfDue();
      if (skipped === null) throw wrongLoader(state.fetched, this.#fetched);
    }
  }

  /**
   * Take over what a loader carries from one epoch to the next (its own generators), before an epoch that has not
   * begun.
   */
  resumeBetweenEpochs(state: FetcherState): void {
    this.resumeLoader(state.loader, state.fetched > 0);
  }

  /** The same, from what {@link loaderState} said, after a pass or before the first. */
  resumeLoader(state: Record<string, unknown> | null, begun: boolean): void {
    if (!isStateful(this.loader) || state === null) return;
    mustEnd("loadStateDict", this.loader.loadStateDict(state), AT_ONCE);
    // A pass that was under way is continued where it was, and left: the next iterator begins a new one. Where none
    // was, an iterator would draw once too often.
    if (this.loader instanceof DataLoader ? state.before !== null : begun) leave(iterate(this.loader));
  }

  /** Let go of the iterator. */
  async close(): Promise<void> {
    const iterator = this.#iterator;
    this.#iterator = null;
    this.#ahead = null;
    this.#rng?.dispose();
    this.#rng = null;
    await iterator?.return?.();
  }
}

function wrongLoader(fetched: number, batches: number): MisconfigurationError {
  return new MisconfigurationError(
    "fit",
    `a loader with at least the ${fetched} batches that the checkpoint has seen in this epoch`,
    verbatim(`${batches} batches`),
    "Resume with the loader that the checkpoint was made with.",
    "ERR_RESUME_LOADER",
  );
}

/** What a loader promises; failing with anything but an Error, it fails with one. */
async function fromLoader(promise: Promise<IteratorResult<unknown>>): Promise<IteratorResult<unknown>> {
  return named("the loader", promise);
}

/** Let go of an iterator, whatever becomes of that. */
function leave(batches: Batches): void {
  const left = batches.return?.();
  if (isPromise(left)) left.then(undefined, () => undefined);
}

/** Batches that come at once, in promises, or now so and now so. */
interface Batches {
  next(): IteratorResult<unknown> | Promise<IteratorResult<unknown>>;
  return?(): unknown;
}

function iterate(loader: Loader): Batches {
  if (loader instanceof DataLoader && loadsHere(loader)) return loader.whenReady();
  const prefersAsync = ["numWorkers", "concurrency"].some((name) => Number(Reflect.get(loader, name)) > 0);
  if (isAsync(loader) && (prefersAsync || !isSync(loader))) return loader[Symbol.asyncIterator]();
  if (isSync(loader)) return loader[Symbol.iterator]();
  throw new MisconfigurationError("fit", "a loader that can be iterated", loader, undefined, "ERR_LOADERS");
}

/** Whether every batch is made when it is asked for, and by this thread. */
function loadsHere(loader: DataLoader<unknown, unknown>): boolean {
  return loader.numWorkers === 0 && loader.concurrency === 0;
}

function isSync(loader: Loader): loader is Iterable<unknown> {
  return Symbol.iterator in loader;
}
function isAsync(loader: Loader): loader is AsyncIterable<unknown> {
  return Symbol.asyncIterator in loader;
}

function lengthOf(loader: Loader): number | null {
  const length: unknown = "length" in loader ? loader.length : undefined;
  return typeof length === "number" ? length : null;
}

/** Number of batches that a limit leaves of `length` (null: unknown); Infinity for no limit. */
export function limitBatches(length: number | null, limit: BatchLimit, option: string): number {
  if (limit === undefined) return Infinity;
  if (Number.isInteger(limit)) return limit;
  if (length === null) {
    throw new MisconfigurationError(
      "Trainer",
      `${option} to be a whole number for a loader without a length`,
      limit,
      "A share of an unknown number of batches is unknown.",
      "ERR_LIMIT",
    );
  }
  const batches = Math.floor(length * limit);
  if (batches === 0 && length > 0) {
    throw new MisconfigurationError(
      "Trainer",
      `${option} to leave at least one of ${length} batches`,
      limit,
      `Use at least ${1 / length}, or a whole number.`,
      "ERR_LIMIT",
    );
  }
  return batches;
}

/** Samplers that shuffle by epoch are told which it is. */
function setEpoch(loader: Loader, epoch: number): void {
  const sampler: unknown = Reflect.get(loader, "sampler");
  const batchSampler: unknown = Reflect.get(loader, "batchSampler");
  const inner: unknown =
    typeof batchSampler === "object" && batchSampler !== null ? Reflect.get(batchSampler, "sampler") : null;
  for (const target of new Set([sampler, batchSampler, inner])) {
    if (typeof target === "object" && target !== null && "setEpoch" in target && typeof target.setEpoch === "function")
      target.setEpoch(epoch);
  }
}

export function isLoader(value: unknown): value is Loader {
  return (
    typeof value === "object" &&
    value !== null &&
    !(value instanceof Tensor) &&
    (Symbol.iterator in value || Symbol.asyncIterator in value)
  );
}
