/** From a dataset to batches, in the order that PyTorch's loader would give. */
import { ArgumentError } from "../errors.js";
import { callable, flag, iterable, orNull, whole } from "../kinds.js";
import { atMost, checkOptions, type OptionNames } from "../options.js";
import type { Generator } from "../random.js";
import { BatchSampler, lengthOf } from "./batch-sampler.js";
import type { Collated } from "./collate.js";
import { isIterableDataset, type Source } from "./dataset.js";
import { checkGenerator, generatorKind } from "./random-ops.js";
import { AsyncPass, ReadyPass, SyncPass, type PassPlan } from "./loader-pass.js";
import { finishedState, readState, type LoaderState, type StoredLoaderState } from "./loader-state.js";
import { RandomSampler, Sampler, SequentialSampler } from "./sampler.js";

export interface DataLoaderOptions<T, B> {
  /** Elements per batch. Default 1. Null: no batches, one element at a time, without a new dimension. */
  readonly batchSize?: number | null;
  /** A new random order each pass. Default false. */
  readonly shuffle?: boolean;
  /** The order of positions, instead of `shuffle`. */
  readonly sampler?: Iterable<number>;
  /** The positions of each batch, instead of `batchSize`, `shuffle`, `sampler` and `dropLast`. */
  readonly batchSampler?: Iterable<readonly number[]>;
  /** From elements to a batch. Default: `defaultCollate` (without batches: typed arrays become tensors). */
  readonly collateFn?: (elements: readonly T[]) => B;
  /** Leave out a last batch that is not full. Default false. */
  readonly dropLast?: boolean;
  /** What the order and the pass's seed are drawn from. Default: the default generator. */
  readonly generator?: Generator | null;
  /**
   * How many batches `for await` (and the Trainer) keeps loading at once when the dataset's `get` returns promises. Default 0: one after the other. Loading stays in this process and
   * thread; batches and their order do not depend on it.
   */
  readonly numWorkers?: number;
  /** Return batches in page-locked memory, from which a copy to a GPU does not make the host wait (the Trainer copies so). Default false. Without a GPU nothing is done. */
  readonly pinMemory?: boolean;
}
const NAMES: OptionNames<DataLoaderOptions<never, unknown>> = {
  batchSize: orNull(whole("[1, ∞)")), shuffle: flag, sampler: iterable, batchSampler: iterable, collateFn: callable, dropLast: flag, generator: generatorKind, numWorkers: whole("[0, ∞)"), pinMemory: flag,
};
const STATE: OptionNames<LoaderStateOptions> = { position: whole("[0, ∞)") };

export interface LoaderStateOptions {
  /** Batches of this pass that were used, when fewer than were taken (something reads ahead). */
  readonly position?: number;
}

/**
 * Batches of a dataset, by `for…of` or `for await…of`. Each iteration is one pass (epoch).
 *
 * Draws as PyTorch's loader does: one 63-bit seed from the generator when an iterator is made, then, for `shuffle` without a generator, one seed when the first
 * batch is asked for, and a permutation from it. So the same seed gives the same batches, and leaves the default generator in the same state.
 *
 * A dataset with `getBatch` (TensorDataset, and subsets of it) is asked for whole batches when there is no `collateFn`: equal results, one gather per tensor.
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

  // eslint-disable-next-line complexity -- every combination of options is checked here; to become a table of options
  constructor(dataset: Source<T>, options: DataLoaderOptions<T, B> = {}) {
    const fn = "DataLoader";
    atMost(fn, arguments, 2);
    if (typeof dataset !== "object" || dataset === null) throw new ArgumentError(fn, "dataset to be an object with length and get, a stream, or an array", dataset);
    this.dataset = dataset;
    this.#stream = !Array.isArray(dataset) && isIterableDataset(dataset);
    if (!this.#stream && !Array.isArray(dataset) && !(typeof Reflect.get(dataset, "get") === "function" && typeof Reflect.get(dataset, "length") === "number"))
      throw new ArgumentError(fn, "dataset to be an object with length and get, a stream, or an array", dataset);
    checkOptions(fn, options, NAMES);
    const { sampler, batchSampler } = options;
    const shuffle = options.shuffle ?? false;
    this.dropLast = options.dropLast ?? false;
    this.pinMemory = options.pinMemory ?? false;
    this.generator = checkGenerator(fn, options.generator);
    this.numWorkers = options.numWorkers ?? 0;
    this.collateFn = options.collateFn ?? null;

    if (this.#stream && shuffle) throw new ArgumentError(fn, "shuffle to be left out for a stream", shuffle, "Shuffle inside the stream.");
    if (this.#stream && (sampler !== undefined || batchSampler !== undefined)) throw new ArgumentError(fn, "sampler and batchSampler to be left out for a stream", sampler ?? batchSampler, "A stream has no positions.");
    if (sampler !== undefined && shuffle) throw new ArgumentError(fn, "shuffle to be left out when there is a sampler", shuffle);
    if (batchSampler !== undefined && ((options.batchSize ?? 1) !== 1 || options.batchSize === null || shuffle || sampler !== undefined || this.dropLast))
      throw new ArgumentError(fn, "batchSize, shuffle, sampler and dropLast to be left out when there is a batchSampler", options);
    if (options.batchSize === null && this.dropLast) throw new ArgumentError(fn, "dropLast to be left out when batchSize is null", this.dropLast);
    this.batchSize = batchSampler !== undefined || options.batchSize === null ? null : (options.batchSize ?? 1);

    if (this.#stream) {
      this.sampler = null;
      this.batchSampler = null;
    } else {
      const sized = dataset as { readonly length: number };
      this.sampler = batchSampler !== undefined ? null : (sampler ?? (shuffle ? new RandomSampler(sized, { generator: this.generator }) : new SequentialSampler(sized)));
      this.batchSampler = batchSampler ?? (this.batchSize === null || this.sampler === null ? null : new BatchSampler(this.sampler, this.batchSize, this.dropLast));
    }
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

  /** Begin a pass, or continue the one that {@link loadStateDict} left off in. The seed is drawn here, before the first batch. */
  [Symbol.iterator](): IterableIterator<B> {
    return this.#begin((plan, resume) => new SyncPass<T, B>(plan, resume));
  }
  /** The same, for datasets whose elements come as promises. */
  [Symbol.asyncIterator](): AsyncIterableIterator<B> {
    return this.#begin((plan, resume) => new AsyncPass<T, B>(plan, resume, this.numWorkers));
  }

  /** @internal The same, where a batch may come at once or in a promise, as the dataset has it: for loops that wait only where they must. Loads nothing ahead. */
  whenReady(): ReadyPass<T, B> {
    atMost("DataLoader.whenReady", arguments, 0);
    return this.#begin((plan, resume) => new ReadyPass<T, B>(plan, resume));
  }

  #begin<P extends ReadyPass<T, B> | AsyncPass<T, B>>(make: (plan: PassPlan<T, B>, resume: StoredLoaderState | null) => P): P {
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
    for (const order of [this.sampler, this.batchSampler]) if (order instanceof Sampler) for (const g of order.generators()) found.add(g);
    return [...found];
  }

  /**
   * Where the loader stands: passes done, batches given in this one, and the generators' states, so that {@link loadStateDict} continues with the very next batch.
   *
   * The state of the default generator as it is now is not part of it: it belongs to the whole program (`getRngState`, or the Trainer's checkpoint).
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
   * Continue where {@link stateDict} was taken: the next iterator returns the batches that were still to come, the same to the last bit.
   *
   * The order is drawn anew from the saved generator states; the elements of batches that are skipped are not fetched (a stream has to read past them). The default
   * generator keeps the state that it has when the iterator is made. A sampler that draws from the default generator between batches cannot be replayed.
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
