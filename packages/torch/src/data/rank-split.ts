/** Orders and streams, shared out among the processes that train together. */
import { ArgumentError } from "../errors.js";
import { flag, iterable, such, whole } from "../kinds.js";
import { atMost, checkArguments, checkOptions, type OptionNames } from "../options.js";
import { defaultGenerator, type Generator } from "../random.js";
import { iterated } from "../read-once.js";
import { lengthOf } from "./batch-sampler.js";
import { IterableDataset, isIterableDataset } from "./dataset.js";
import { Sampler, SequentialSampler } from "./sampler.js";

/** Which of several processes this is. */
export interface ReplicaOptions {
  /** How many processes share. */
  readonly numReplicas: number;
  /** Which of them this is, from 0. */
  readonly rank: number;
}
export interface OrderSplitOptions extends ReplicaOptions {
  /** The same in every process. Default 0. */
  readonly seed?: number;
}
export interface DistributedSamplerWrapperOptions extends OrderSplitOptions {
  /** Leave out what cannot be shared evenly. Default false: repeat some from the beginning instead. */
  readonly dropLast?: boolean;
}
const REPLICA: OptionNames<ReplicaOptions> = { numReplicas: whole("[1, ∞)"), rank: whole("[0, ∞)") };
const SPLIT: OptionNames<OrderSplitOptions> = { ...REPLICA, seed: whole("[0, ∞)") };
const WRAPPER: OptionNames<DistributedSamplerWrapperOptions> = { ...SPLIT, dropLast: flag };

function checkReplica(fn: string, options: ReplicaOptions): void {
  const { numReplicas, rank } = options;
  checkArguments(fn, { numReplicas, rank }, { numReplicas: REPLICA.numReplicas, rank: REPLICA.rank });
  if (rank >= numReplicas) throw new ArgumentError(fn, `rank to be from 0 to ${numReplicas - 1}`, rank);
}

/** An order that every process draws for itself, from the same seed, and of which each visits its share. */
abstract class OrderSplit<T> extends Sampler<T> {
  readonly sampler: Iterable<T>;
  readonly numReplicas: number;
  readonly rank: number;
  readonly seed: number;
  epoch = 0;
  /** Drawn, and not yet visited. */
  #next: readonly T[] | null = null;
  #digest = 0;
  /** How many of so many this process visits. */
  readonly #share: (n: number) => number;

  constructor(fn: string, sampler: Iterable<T>, options: OrderSplitOptions, share: (n: number) => number) {
    super();
    this.#share = share;
    checkArguments(fn, { sampler }, { sampler: iterable });
    checkReplica(fn, options);
    this.sampler = sampler;
    this.numReplicas = options.numReplicas;
    this.rank = options.rank;
    this.seed = options.seed ?? 0;
  }

  /** Draw differently from now on: an order that draws from the default generator depends on `seed + epoch`. */
  setEpoch(epoch: number): void {
    atMost("setEpoch", arguments, 1);
    checkArguments("setEpoch", { epoch }, { epoch: whole() });
    if (epoch !== this.epoch) this.#next = null;
    this.epoch = epoch;
  }
  override generators(): readonly Generator[] {
    return this.sampler instanceof Sampler ? this.sampler.generators() : [];
  }
  /** A number that tells the order of the latest pass from others: equal in all processes, or their shares overlap. */
  get digest(): number {
    return this.#digest;
  }
  get length(): number {
    return this.#share(lengthOf(this.sampler) ?? (this.#next ??= this.#draw()).length);
  }
  *[Symbol.iterator](): Iterator<T, void, undefined> {
    if (this.sampler instanceof SequentialSampler) {
      // Without a list of them, whose length may be anything.
      const { numReplicas, rank, length, sampler } = this;
      this.#digest = digestOf([sampler.length]);
      for (let i = 0; i < length; i++) yield ((rank + i * numReplicas) % sampler.length) as T;
      return;
    }
    const order = this.#next ?? this.#draw();
    this.#next = null;
    const count = this.#share(order.length);
    this.#digest = digestOf(order);
    for (let i = 0; i < count; i++) yield order[(this.rank + i * this.numReplicas) % order.length] as T;
  }
  /** The whole order. The default generator is as before afterwards. */
  #draw(): readonly T[] {
    const before = defaultGenerator.getState();
    defaultGenerator.manualSeed(this.seed + this.epoch);
    try {
      return iterated(this.constructor.name, "sampler", this.sampler) as T[];
    } finally {
      defaultGenerator.setState(before);
      before.dispose();
    }
  }
}

/** FNV-1a over 32 bits. */
function digestOf(order: readonly unknown[]): number {
  let hash = 0x811c9dc5;
  const mix = (value: unknown): void => {
    if (Array.isArray(value)) value.forEach(mix);
    else hash = Math.imul(hash ^ Number(value), 0x01000193) >>> 0;
  };
  order.forEach(mix);
  return hash;
}

/**
 * The share of any sampler's order (or of a batch sampler's batches) that one of several processes visits in training:
 * every `numReplicas`-th, beginning with `rank`. All processes get equally many: some are repeated, or left out.
 *
 * Every process draws the whole order, with the default generator seeded by `seed + epoch`, which is put back
 * afterwards; a sampler with a generator of its own, or another source of chance, must give the same order in every
 * process ({@link digest}).
 *
 * @throws {ArgumentError} `DistributedSamplerWrapper: expected rank to be from 0 to 1. Received: 2.`
 * @example
 * const balanced = new WeightedRandomSampler(weights, 1000);
 * new DataLoader(data, { sampler: new DistributedSamplerWrapper(balanced, { numReplicas: 2, rank }) });
 */
export class DistributedSamplerWrapper<T = number> extends OrderSplit<T> {
  readonly dropLast: boolean;
  constructor(sampler: Iterable<T>, options: DistributedSamplerWrapperOptions) {
    atMost("DistributedSamplerWrapper", arguments, 2);
    checkOptions("DistributedSamplerWrapper", options, WRAPPER);
    const dropLast = options.dropLast ?? false;
    super("DistributedSamplerWrapper", sampler, options, (n) =>
      dropLast ? Math.floor(n / options.numReplicas) : Math.ceil(n / options.numReplicas),
    );
    this.dropLast = dropLast;
  }
}

/**
 * The same for evaluation: nothing twice, nothing left out, so that processes may get one more or less.
 *
 * @throws {ArgumentError} `UnrepeatedDistributedSampler: expected rank to be from 0 to 1. Received: 2.`
 * @example
 * [...new UnrepeatedDistributedSampler([0, 1, 2, 3, 4], { numReplicas: 2, rank: 1 })]; // [1, 3]
 */
export class UnrepeatedDistributedSampler<T = number> extends OrderSplit<T> {
  constructor(sampler: Iterable<T>, options: OrderSplitOptions) {
    atMost("UnrepeatedDistributedSampler", arguments, 2);
    checkOptions("UnrepeatedDistributedSampler", options, SPLIT);
    super("UnrepeatedDistributedSampler", sampler, options, (n) =>
      Math.max(0, Math.ceil((n - options.rank) / options.numReplicas)),
    );
  }
}

export interface IterableDatasetShardOptions extends ReplicaOptions {
  /**
   * All processes get equally many elements: the last ones, too few for all, are left out. Default true, which training
   * needs; false for evaluation: nothing is left out.
   */
  readonly dropLast?: boolean;
}
const SHARD: OptionNames<IterableDatasetShardOptions> = { ...REPLICA, dropLast: flag };

/**
 * Every `numReplicas`-th element of a stream, beginning with element `rank`. The stream must give the same elements in
 * every process, each of which reads all of it: one that can skip faster than it reads had better split itself.
 *
 * @throws {ArgumentError} `IterableDatasetShard: expected rank to be from 0 to 1. Received: 2.`
 * @example
 * const mine = new IterableDatasetShard(lines, { numReplicas: getWorldSize(), rank: getRank() });
 */
export class IterableDatasetShard<T> extends IterableDataset<T> {
  readonly dataset: IterableDataset<T>;
  readonly numReplicas: number;
  readonly rank: number;
  readonly dropLast: boolean;
  constructor(dataset: IterableDataset<T>, options: IterableDatasetShardOptions) {
    const fn = "IterableDatasetShard";
    super();
    atMost(fn, arguments, 2);
    checkArguments(fn, { dataset }, { dataset: such<IterableDataset<T>>("a stream", isIterableDataset) });
    checkOptions(fn, options, SHARD);
    checkReplica(fn, options);
    this.dataset = dataset;
    this.numReplicas = options.numReplicas;
    this.rank = options.rank;
    this.dropLast = options.dropLast ?? true;
    const n = lengthOf(dataset);
    if (n !== null) Object.defineProperty(this, "length", { value: this.#share(n), enumerable: true });
    // A stream that waits makes one that waits.
    if (dataset[Symbol.iterator] === undefined) Object.defineProperty(this, Symbol.iterator, { value: undefined });
  }
  #share(n: number): number {
    return this.dropLast
      ? Math.floor(n / this.numReplicas)
      : Math.max(0, Math.ceil((n - this.rank) / this.numReplicas));
  }
  override *[Symbol.iterator](): Iterator<T, void, undefined> {
    const pick = new Picker<T>(this);
    for (const element of this.dataset as Iterable<T>) if (pick.see(element)) yield pick.take();
  }
  override async *[Symbol.asyncIterator](): AsyncIterator<T, void, undefined> {
    const pick = new Picker<T>(this);
    const { dataset } = this;
    const elements =
      dataset[Symbol.asyncIterator] === undefined ? (dataset as Iterable<T>) : (dataset as AsyncIterable<T>);
    for await (const element of elements) if (pick.see(element)) yield pick.take();
  }
}

/** Holds this rank's element of a round until every rank has one, where all are to get equally many. */
class Picker<T> {
  #seen = 0;
  #mine: { readonly element: T } | null = null;
  constructor(readonly of: IterableDatasetShard<T>) {}
  /** @returns whether an element can be given now. */
  see(element: T): boolean {
    const { numReplicas, rank, dropLast } = this.of;
    const place = this.#seen++ % numReplicas;
    if (place === rank) this.#mine = { element };
    return this.#mine !== null && place === (dropLast ? numReplicas - 1 : rank);
  }
  take(): T {
    const { element } = this.#mine as { readonly element: T };
    this.#mine = null;
    return element;
  }
}
