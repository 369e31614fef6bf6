/** The share of a dataset that one of several processes visits. */
import { ArgumentError } from "../errors.js";
import { flag, whole } from "../kinds.js";
import { atMost, checkArguments, checkOptions, type OptionNames } from "../options.js";
import { Generator } from "../random.js";
import { permutation } from "./random-ops.js";
import { lengthNow, Sampler, sized, type Sized } from "./sampler.js";

export interface DistributedSamplerOptions {
  /** How many processes share the dataset. */
  readonly numReplicas: number;
  /** Which of them this is, from 0. */
  readonly rank: number;
  /** Default true. */
  readonly shuffle?: boolean;
  /** The same in every process. Default 0. */
  readonly seed?: number;
  /** Leave out the positions that cannot be shared evenly. Default false: repeat some from the beginning instead. */
  readonly dropLast?: boolean;
}
const NAMES: OptionNames<DistributedSamplerOptions> = {
  numReplicas: whole("[1, ∞)"),
  rank: whole("[0, ∞)"),
  shuffle: flag,
  seed: whole(),
  dropLast: flag,
};

/**
 * Every `numReplicas`-th position, beginning with `rank`, of an order that all processes know: shuffled by `seed +
 * epoch`, or as the dataset stands.
 *
 * Call {@link setEpoch} before each epoch, or every epoch has the same order. All processes get equally many positions.
 * Draws nothing from the default generator.
 *
 * @throws {ArgumentError} `DistributedSampler: expected rank to be from 0 to 1. Received: 2.`
 * @example
 * const mine = new DistributedSampler({ length: 10 }, { numReplicas: 4, rank: 3, shuffle: false });
 * [...mine]; // [3, 7, 1]
 */
export class DistributedSampler extends Sampler {
  readonly #source: Sized;
  readonly numReplicas: number;
  readonly rank: number;
  readonly shuffle: boolean;
  readonly seed: number;
  readonly dropLast: boolean;
  readonly length: number;
  epoch = 0;

  constructor(source: Sized, options: DistributedSamplerOptions) {
    super();
    const fn = "DistributedSampler";
    atMost(fn, arguments, 2);
    checkArguments(fn, { source }, { source: sized });
    checkOptions(fn, options, NAMES);
    const { numReplicas, rank } = options;
    checkArguments(fn, { numReplicas, rank }, { numReplicas: NAMES.numReplicas, rank: NAMES.rank });
    this.#source = source;
    this.numReplicas = numReplicas;
    if (rank >= numReplicas)
      throw new ArgumentError(fn, `rank to be from 0 to ${options.numReplicas - 1}`, options.rank);
    this.rank = options.rank;
    this.shuffle = options.shuffle ?? true;
    this.seed = options.seed ?? 0;
    this.dropLast = options.dropLast ?? false;
    const n = lengthNow(fn, source);
    this.length = this.dropLast ? Math.max(0, Math.floor(n / this.numReplicas)) : Math.ceil(n / this.numReplicas);
  }

  /** Shuffle differently from now on: the order depends on `seed + epoch`. */
  setEpoch(epoch: number): void {
    atMost("setEpoch", arguments, 1);
    checkArguments("setEpoch", { epoch }, { epoch: whole() });
    this.epoch = epoch;
  }

  *[Symbol.iterator](): Iterator<number, void, undefined> {
    const n = lengthNow("DistributedSampler", this.#source, this.length === 0 ? 0 : 1);
    const order = this.shuffle ? permutation(n, new Generator().manualSeed(this.seed + this.epoch)) : null;
    const total = this.length * this.numReplicas;
    for (let i = this.rank; i < total; i += this.numReplicas) {
      // Past the end: from the beginning again, as often as it takes.
      const at = i % n;
      yield order === null ? at : (order[at] as number);
    }
  }
}
