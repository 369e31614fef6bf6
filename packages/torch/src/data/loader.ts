/** From a dataset to batches, in the order that PyTorch's loader would give. */
import { ArgumentError } from "../errors.js";
import { whole } from "../kinds.js";
import { atMost, checkOptions, type OptionNames } from "../options.js";
import type { Generator } from "../random.js";
import type { Call } from "../signature.js";
import { AsyncPass } from "./async-pass.js";
import { BatchSampler, lengthOf } from "./batch-sampler.js";
import type { Collated } from "./collate.js";
import type { Source } from "./dataset.js";
import {
  orderOf,
  settleOptions,
  type DataLoaderArguments,
  type DataLoaderOptions,
  type Settled,
} from "./loader-options.js";
import type { Pass, PassPlan } from "./loader-pass.js";
import { finishedState, readState, type LoaderState, type StoredLoaderState, type Workers } from "./loader-state.js";
import { ReadyPass, SyncPass } from "./ready-pass.js";
import { Sampler, type Sized } from "./sampler.js";
import { endWith, Pool } from "./workers/pool.js";
import { recipeOf } from "./workers/remote.js";
import { isLoaderThread } from "./workers/worker-info.js";
import { AsyncWorkerPass, SyncWorkerPass, type WorkerPlan } from "./workers/worker-pass.js";

type DataLoaderCall<T, B> = Call<
  DataLoaderArguments<T, B>,
  [
    "dataset",
    "batchSize",
    "shuffle",
    "sampler",
    "batchSampler",
    "numWorkers",
    "collateFn",
    "pinMemory",
    "dropLast",
    "timeout",
    "workerInitFn",
    "multiprocessingContext",
    "generator",
  ],
  [
    dataset: DataLoaderArguments<T, B>["dataset"],
    batchSize?: number | null,
    shuffle?: boolean | null,
    sampler?: Iterable<number> | null,
    batchSampler?: Iterable<readonly number[]> | null,
    numWorkers?: number,
    collateFn?: ((elements: readonly T[]) => B) | null,
    pinMemory?: boolean,
    dropLast?: boolean,
    timeout?: number,
    workerInitFn?: ((id: number) => unknown) | null,
    multiprocessingContext?: null,
    generator?: Generator | null,
  ]
>;

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
  /** Batches that are loaded at once where `get` returns promises. */
  readonly concurrency: number;
  readonly pinMemory: boolean;
  readonly pinMemoryDevice: string;
  readonly timeout: number;
  readonly workerInitFn: ((id: number) => unknown) | null;
  /** Null without workers. */
  readonly prefetchFactor: number | null;
  readonly persistentWorkers: boolean;
  readonly inOrder: boolean;
  readonly collateFn: ((elements: readonly T[]) => B) | null;
  readonly #stream: boolean;
  #pass: { readonly finished: boolean; state(position?: number): LoaderState } | null = null;
  #resume: StoredLoaderState | null = null;
  #epoch = 0;
  /** Threads that stay from pass to pass, and where they stand. */
  #pool: Pool | null = null;
  #workers: Workers | null = null;
  #working: { readonly workers: Workers } | null = null;

  constructor(dataset: Source<T>, options?: DataLoaderOptions<T, B>);
  constructor(...given: DataLoaderCall<T, B>);
  constructor(...given: readonly unknown[]) {
    const settled = settleOptions<T, B>(given);
    this.#stream = settled.stream;
    this.dataset = settled.dataset;
    this.batchSize = settled.batchSize;
    this.dropLast = settled.dropLast;
    this.generator = settled.generator;
    this.numWorkers = settled.numWorkers;
    this.concurrency = settled.concurrency;
    this.pinMemory = settled.pinMemory;
    this.pinMemoryDevice = settled.pinMemoryDevice;
    this.timeout = settled.timeout;
    this.workerInitFn = settled.workerInitFn;
    this.prefetchFactor = settled.numWorkers === 0 ? null : (settled.prefetchFactor ?? 2);
    this.persistentWorkers = settled.persistentWorkers;
    this.inOrder = settled.inOrder;
    this.collateFn = settled.collateFn;
    const order = this.#stream ? null : orderOf(this.dataset as Sized, settled as Settled<never, unknown>);
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
    return this.numWorkers > 0
      ? this.#beginWorkers((plan, resume, how) => new SyncWorkerPass<T, B>(plan, resume, how))
      : this.#begin((plan, resume) => new SyncPass<T, B>(plan, resume));
  }
  /** The same, for datasets whose elements come as promises, and to do something else while workers load. */
  [Symbol.asyncIterator](): AsyncIterableIterator<B> {
    return this.numWorkers > 0
      ? this.#beginWorkers((plan, resume, how) => new AsyncWorkerPass<T, B>(plan, resume, how))
      : this.#begin((plan, resume) => new AsyncPass<T, B>(plan, resume, this.concurrency));
  }

  /** @internal The same loader with another order of positions (`sampler`), or with its batches (`batchSampler`). */
  withOrder(
    order: { readonly sampler: Iterable<number> } | { readonly batchSampler: Iterable<readonly number[]> },
  ): DataLoader<T, B> {
    const { collateFn, generator, numWorkers, concurrency, pinMemory, batchSize, dropLast } = this;
    const { timeout, workerInitFn, prefetchFactor, persistentWorkers, pinMemoryDevice, inOrder } = this;
    const ofWorkers = { numWorkers, timeout, workerInitFn, prefetchFactor, persistentWorkers, inOrder };
    return new DataLoader<T, B>(this.dataset, {
      ...{ generator, concurrency, pinMemory, pinMemoryDevice, collateFn },
      ...ofWorkers,
      ...order,
      ...("sampler" in order ? { batchSize, dropLast } : {}),
    });
  }

  /**
   * @internal The same, where a batch may come at once or in a promise, as the dataset has it: for loops that wait only
   * where they must. Loads nothing ahead, and without workers.
   */
  whenReady(): ReadyPass<T, B> {
    atMost("DataLoader.whenReady", arguments, 0);
    return this.#begin((plan, resume) => new ReadyPass<T, B>(plan, resume));
  }

  #begin<P extends Pass<T, B>>(
    make: (plan: PassPlan<T, B>, resume: StoredLoaderState | null) => P,
    ofWorkers: Pick<PassPlan<T, B>, "eager" | "drawsSeed"> = { eager: false, drawsSeed: true },
  ): P {
    const resume = this.#resume;
    this.#resume = null;
    const epoch = this.#epoch;
    const pass = make(
      {
        ...ofWorkers,
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

  #beginWorkers<P extends Pass<T, B> & { readonly workers: Workers }>(
    make: (plan: PassPlan<T, B>, resume: StoredLoaderState | null, how: WorkerPlan) => P,
  ): P {
    if (isLoaderThread())
      throw new ArgumentError(
        "DataLoader",
        "numWorkers to be 0 in a worker",
        this.numWorkers,
        "Was the program itself loaded again, by a worker that looks for its dataset? Move the dataset to a module of its own, or begin the program where getWorkerInfo() is null and isMainThread is true.",
      );
    const { numWorkers, timeout, inOrder, workerInitFn, collateFn, batchSize, dropLast } = this;
    if (this.#pool?.ended === true) this.#pool = null;
    const standing = this.persistentWorkers ? (this.#working?.workers ?? this.#workers) : null;
    const stays = this.#pool !== null || (standing !== null && this.#working === null);
    const how: WorkerPlan = {
      pool: (seed) => {
        if (this.#pool !== null) return this.#pool;
        const batched = this.batchSampler !== null || (this.#stream && batchSize !== null);
        const dataset = this.dataset;
        const made = { dataset, recipe: recipeOf(dataset), collateFn, workerInitFn, numWorkers, seed };
        const pool = new Pool({ ...made, batched, batchSize, dropLast });
        if (this.persistentWorkers) {
          this.#pool = pool;
          endWith(this, pool);
        }
        return pool;
      },
      persistent: this.persistentWorkers,
      numWorkers,
      prefetchFactor: this.prefetchFactor ?? 2,
      inOrder,
      timeout,
      before: stays ? standing : null,
      restore: this.#pool === null && stays,
    };
    const pass = this.#begin((plan, resume) => make(plan, resume, how), { eager: true, drawsSeed: !stays });
    if (this.persistentWorkers) this.#working = pass;
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
    if (pass === null || pass.finished)
      return { ...finishedState(this.#epoch, this.#generators(), this.#working?.workers ?? this.#workers) };
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
    const stored = readState(state, this.#generators(), this.numWorkers);
    this.#epoch = stored.epoch;
    this.#pass = null;
    // Between passes there is nothing to replay: the generators take their states at once.
    if (stored.before === null) stored.restoreNow();
    this.#resume = stored.before === null ? null : stored;
    // Threads that stay go on from where those of the state stood.
    this.#working = null;
    this.#workers = this.persistentWorkers ? stored.workers : null;
    if (this.#pool !== null) void this.#pool.end();
  }
}
