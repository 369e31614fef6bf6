/** From a dataset to batches, in the order that PyTorch's loader would give. */
import { whole } from "../kinds.js";
import { atMost, checkOptions, type OptionNames } from "../options.js";
import type { Generator } from "../random.js";
import { BatchSampler, lengthOf } from "./batch-sampler.js";
import type { Collated } from "./collate.js";
import type { Source } from "./dataset.js";
import { isStream, orderOf, settleOptions, type DataLoaderOptions } from "./loader-options.js";
import { AsyncPass } from "./async-pass.js";
import type { PassPlan } from "./loader-pass.js";
import { ReadyPass, SyncPass } from "./ready-pass.js";
import { finishedState, readState, type LoaderState, type StoredLoaderState } from "./loader-state.js";
import { Sampler, type Sized } from "./sampler.js";

const STATE: OptionNames<LoaderStateOptions> = { position: whole("[0, ∞)") };

export interface LoaderStateOptions {
  /** Batches of this pass that were used, when fewer than were taken (something reads ahead). */
  readonly position?: number;
}

/**
 * Batches of a dataset, by `for…of` or `for await…of`. Each iteration is one pass (epoch).
 *
 * Draws as PyTorch's loader does: one 63-bit seed from the generator when an iterator is made, then, for `shuffle`
 * without a generator, one seed when the first batch is asked for, and a permutation from it. So the same seed gives
 * the same batches, and leaves the default generator in the same state.
 *
 * A dataset with `getBatch` (TensorDataset, and subsets of it) is asked for whole batches when there is no `collateFn`:
 * equal results, one gather per tensor.
 *
 * @throws {ArgumentError} `DataLoader: expected shuffle to be left out when there is a sampler. Received: true.`
 * @example
 * const loader = new DataLoader(new TensorDataset(images, labels), { batchSize: 64, shuffle: true });
 * for (const [x, y] of loader) step(x, y);
 */
export class DataLoader<T, B = Collated<T>> implements Iterable<B>, AsyncIterable<B> {
  readonly dataset: Source<T>;
  readonly batchSize: number | null;
  readonly dropLast: boolean;
  readonly sampler: Iterable<number> | null;
  readonly batchSampler: Iterable<readonly number[]> | null;
  readonly generator: Generator | null;
  readonly numWorkers: number;
  readonly pinMemory: boolean;
  readonly collateFn: ((elements: readonly T[]) => B) | null;
  readonly #stream: boolean;
  #pass: { readonly finished: boolean; state(position?: number): LoaderState } | null = null;
  #resume: StoredLoaderState | null = null;
  #epoch = 0;

  constructor(dataset: Source<T>, options: DataLoaderOptions<T, B> = {}) {
    atMost("DataLoader", arguments, 2);
    this.#stream = isStream(dataset);
    this.dataset = dataset;
    const settled = settleOptions<T, B>(options, this.#stream);
    this.batchSize = settled.batchSize;
    this.dropLast = settled.dropLast;
    this.generator = settled.generator;
    this.numWorkers = settled.numWorkers;
    this.pinMemory = settled.pinMemory;
    this.collateFn = settled.collateFn ?? null;
    const order = this.#stream ? null : orderOf(dataset as Sized, settled);
    this.sampler = order?.sampler ?? null;
    this.batchSampler = order?.batchSampler ?? null;
  }

  /** Batches of one pass; null when the stream or the sampler does not say. */
  get length(): number | null {
    if (!this.#stream) {
      const order = this.batchSampler ?? this.sampler;
      if (order instanceof BatchSampler && lengthOf(order.sampler) === null) return null;
      return order === null ? null : lengthOf(order);
    }
    const n = lengthOf(this.dataset);
    if (n === null || this.batchSize === null) return n;
    return this.dropLast ? Math.floor(n / this.batchSize) : Math.ceil(n / this.batchSize);
  }

  /** Passes that came to their end. */
  get epoch(): number {
    return this.#epoch;
  }

  /**
   * Begin a pass, or continue the one that {@link loadStateDict} left off in. The seed is drawn here, before the first
   * batch.
   */
  [Symbol.iterator](): IterableIterator<B> {
    return this.#begin((plan, resume) => new SyncPass<T, B>(plan, resume));
  }
  /** The same, for datasets whose elements come as promises. */
  [Symbol.asyncIterator](): AsyncIterableIterator<B> {
    return this.#begin((plan, resume) => new AsyncPass<T, B>(plan, resume, this.numWorkers));
  }

  /** @internal The same loader with another order of positions (`sampler`), or with its batches (`batchSampler`). */
  withOrder(
    order: { readonly sampler: Iterable<number> } | { readonly batchSampler: Iterable<readonly number[]> },
  ): DataLoader<T, B> {
    const { collateFn, generator, numWorkers, pinMemory, batchSize, dropLast } = this;
    const shared = { generator, numWorkers, pinMemory, ...(collateFn === null ? {} : { collateFn }) };
    return new DataLoader<T, B>(this.dataset, {
      ...shared,
      ...order,
      ...("sampler" in order ? { batchSize, dropLast } : {}),
    });
  }

  /**
   * @internal The same, where a batch may come at once or in a promise, as the dataset has it: for loops that wait only
   * where they must. Loads nothing ahead.
   */
  whenReady(): ReadyPass<T, B> {
    atMost("DataLoader.whenReady", arguments, 0);
    return this.#begin((plan, resume) => new ReadyPass<T, B>(plan, resume));
  }

  #begin<P extends ReadyPass<T, B> | AsyncPass<T, B>>(
    make: (plan: PassPlan<T, B>, resume: StoredLoaderState | null) => P,
  ): P {
    const resume = this.#resume;
    this.#resume = null;
    const epoch = this.#epoch;
    const pass = make(
      {
        dataset: this.dataset,
        stream: this.#stream,
        order: this.batchSampler ?? this.sampler,
        batched: this.batchSampler !== null || (this.#stream && this.batchSize !== null),
        batchSize: this.batchSize,
        dropLast: this.dropLast,
        collateFn: this.collateFn,
        pinMemory: this.pinMemory,
        generator: this.generator,
        generators: this.#generators(),
        epoch,
        length: this.length,
        finish: () => {
          this.#epoch = epoch + 1;
        },
      },
      resume,
    );
    this.#pass = pass;
    return pass;
  }

  /** The generators besides the default one that decide the order. */
  #generators(): readonly Generator[] {
    const found = new Set<Generator>();
    if (this.generator !== null) found.add(this.generator);
    for (const order of [this.sampler, this.batchSampler])
      if (order instanceof Sampler) for (const g of order.generators()) found.add(g);
    return [...found];
  }

  /**
   * Where the loader stands: passes done, batches given in this one, and the generators' states, so that {@link
   * loadStateDict} continues with the very next batch.
   *
   * The state of the default generator as it is now is not part of it: it belongs to the whole program (`getRngState`,
   * or the Trainer's checkpoint).
   *
   * @param options.position - Batches of this pass that were used, when fewer than were taken (something reads ahead).
   * @returns A plain object of numbers and uint8 tensors.
   */
  stateDict(options: LoaderStateOptions = {}): Record<string, unknown> & LoaderState {
    atMost("DataLoader.stateDict", arguments, 1);
    checkOptions("DataLoader.stateDict", options, STATE);
    if (this.#resume !== null) return { ...this.#resume.dict };
    const pass = this.#pass;
    if (pass === null || pass.finished) return { ...finishedState(this.#epoch, this.#generators()) };
    return { ...pass.state(options.position) };
  }

  /**
   * Continue where {@link stateDict} was taken: the next iterator returns the batches that were still to come, the same
   * to the last bit.
   *
   * The order is drawn anew from the saved generator states; the elements of batches that are skipped are not fetched
   * (a stream has to read past them). The default generator keeps the state that it has when the iterator is made. A
   * sampler that draws from the default generator between batches cannot be replayed.
   *
   * @throws {ArgumentError} `loadStateDict: expected a loader state of version 1. Received: an object with keys a.`
   */
  loadStateDict(state: Readonly<Record<string, unknown>>): void {
    atMost("DataLoader.loadStateDict", arguments, 1);
    const stored = readState(state, this.#generators());
    this.#epoch = stored.epoch;
    this.#pass = null;
    // Between passes there is nothing to replay: the generators take their states at once.
    if (stored.before === null) stored.restoreNow();
    this.#resume = stored.before === null ? null : stored;
  }
}
