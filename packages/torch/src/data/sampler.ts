/**
 * In which order a loader visits a dataset. Every sampler draws as PyTorch's does: the same seed gives the same order.
 */
import { ArgumentError } from "../errors.js";
import type { Generator } from "../random.js";
import { flag, listOf, orNull, such, whole } from "../kinds.js";
import { atMost, checkArguments, checkOptions, type OptionNames } from "../options.js";
import { isTensor, keep, tensor, type Tensor } from "../tensor/index.js";
import { checkGenerator, generatorKind, multinomial, permutation, seededGenerator, uniform } from "./random-ops.js";

/** Anything with a length: a dataset, an array, or a sampler. */
export interface Sized {
  readonly length: number;
}

/**
 * An order over positions: iterate it once per epoch. `length` is how many positions one pass gives.
 *
 * Random draws happen when the first position is asked for, not when the iterator is made (so PyTorch's order of draws
 * is kept), and never again in later passes of an iterator that was left early.
 */
/**
 * @internal The length of something as it is now: it may be a getter, and change.
 * @throws {ArgumentError} `RandomSampler: expected the length of source to be a whole number ≥ 0. Received: NaN.`
 */
export function lengthNow(fn: string, source: Sized, least = 0): number {
  const n: unknown = (source as Sized | null | undefined)?.length;
  if (typeof n !== "number" || !Number.isSafeInteger(n) || n < least)
    throw new ArgumentError(fn, `a length that is a whole number ≥ ${least}`, n);
  return n;
}

/** @internal */
export const sized = such<Sized>(
  "something with a length: a dataset, an array, or a sampler",
  (v) => typeof v === "object" && v !== null && "length" in v && typeof v.length === "number",
);

export abstract class Sampler<T = number> implements Iterable<T> {
  abstract readonly length: number;
  constructor() {
    atMost(new.target.name || "Sampler", arguments, 0);
  }
  abstract [Symbol.iterator](): Iterator<T, void, undefined>;
  /** The generators whose state decides the order, besides the default one. A loader saves and restores them. */
  generators(): readonly Generator[] {
    return [];
  }
}

/** 0, 1, 2, … */
export class SequentialSampler extends Sampler {
  readonly #source: Sized;
  constructor(source: Sized) {
    super();
    atMost("SequentialSampler", arguments, 1);
    checkArguments("SequentialSampler", { source }, { source: sized });
    this.#source = source;
    lengthNow("SequentialSampler", source);
  }
  get length(): number {
    return lengthNow("SequentialSampler", this.#source);
  }
  *[Symbol.iterator](): Iterator<number, void, undefined> {
    const n = this.length;
    for (let i = 0; i < n; i++) yield i;
  }
}

export interface RandomSamplerOptions {
  /** Draw each position anew, so that some come twice and some not at all. Default false: a permutation. */
  readonly replacement?: boolean;
  /**
   * How many positions one pass gives. Default: the length of the source. Without replacement, more than that begins
   * another permutation.
   */
  readonly numSamples?: number | null;
  /** Draw from this. Default: a new generator for each pass, seeded by one draw from the default generator. */
  readonly generator?: Generator | null;
}
const RANDOM: OptionNames<RandomSamplerOptions> = {
  replacement: flag,
  numSamples: orNull(whole("[1, ∞)")),
  generator: generatorKind,
};

/**
 * Positions in random order.
 *
 * @throws {ArgumentError} `RandomSampler: expected numSamples to be a whole number ≥ 1, or null. Received: 0.`
 * @example
 * manualSeed(42);
 * [...new RandomSampler({ length: 5 })]; // the order that PyTorch gives for this seed
 */
export class RandomSampler extends Sampler {
  readonly #source: Sized;
  readonly #numSamples: number | null;
  readonly replacement: boolean;
  readonly generator: Generator | null;

  constructor(source: Sized, options: RandomSamplerOptions = {}) {
    super();
    atMost("RandomSampler", arguments, 2);
    checkArguments("RandomSampler", { source }, { source: sized });
    checkOptions("RandomSampler", options, RANDOM);
    this.#source = source;
    this.#numSamples = options.numSamples ?? null;
    this.replacement = options.replacement ?? false;
    this.generator = checkGenerator("RandomSampler", options.generator);
    if (lengthNow("RandomSampler", source) === 0)
      throw new ArgumentError("RandomSampler", "a source that is not empty", source);
  }
  get length(): number {
    return this.#numSamples ?? lengthNow("RandomSampler", this.#source);
  }
  override generators(): readonly Generator[] {
    return this.generator === null ? [] : [this.generator];
  }
  *[Symbol.iterator](): Iterator<number, void, undefined> {
    const n = lengthNow("RandomSampler", this.#source, 1);
    const count = this.length;
    const generator = this.generator ?? seededGenerator();
    if (this.replacement) {
      // In chunks of 32, the last one drawn even when it is empty: the generator ends where PyTorch's does.
      for (let i = 0; i < Math.floor(count / 32); i++) yield* uniform(n, 32, generator);
      yield* uniform(n, count % 32, generator);
    } else {
      for (let i = 0; i < Math.floor(count / n); i++) yield* permutation(n, generator);
      yield* permutation(n, generator).subarray(0, count % n);
    }
  }
}

export interface DrawOptions {
  /** Default: the default generator. */
  readonly generator?: Generator | null;
}
export interface WeightedSamplerOptions extends DrawOptions {
  /** Default true. False: no position twice; then at most as many as have a weight > 0. */
  readonly replacement?: boolean;
}
/** @internal */
export const DRAW: OptionNames<DrawOptions> = { generator: generatorKind };
const WEIGHTED: OptionNames<WeightedSamplerOptions> = { replacement: flag, ...DRAW };

/** Some positions, in random order, each once. */
export class SubsetRandomSampler extends Sampler {
  readonly indices: readonly number[];
  readonly generator: Generator | null;
  constructor(indices: readonly number[], options: DrawOptions = {}) {
    super();
    atMost("SubsetRandomSampler", arguments, 2);
    checkArguments("SubsetRandomSampler", { indices }, { indices: listOf(whole()) });
    checkOptions("SubsetRandomSampler", options, DRAW);
    this.indices = indices;
    this.generator = checkGenerator("SubsetRandomSampler", options.generator);
  }
  get length(): number {
    return this.indices.length;
  }
  override generators(): readonly Generator[] {
    return this.generator === null ? [] : [this.generator];
  }
  *[Symbol.iterator](): Iterator<number, void, undefined> {
    for (const i of permutation(this.indices.length, this.generator)) yield this.indices[i] as number;
  }
}

/**
 * Positions drawn with given probabilities.
 *
 * @param weights - One weight ≥ 0 per position; they need not sum to 1. Kept as float64.
 * @param numSamples - How many positions one pass gives.
 * @throws {ArgumentError} `WeightedRandomSampler: expected weights to have one dimension. Received: [2, 2].`
 * @example new WeightedRandomSampler([0.1, 0.9, 0.4, 0.7, 3.0, 0.6], 5)
 */
export class WeightedRandomSampler extends Sampler {
  readonly weights: Tensor;
  readonly length: number;
  readonly replacement: boolean;
  readonly generator: Generator | null;
  constructor(
    weights: readonly number[] | Float32Array | Float64Array | Tensor,
    numSamples: number,
    options: WeightedSamplerOptions = {},
  ) {
    super();
    atMost("WeightedRandomSampler", arguments, 3);
    checkArguments("WeightedRandomSampler", { numSamples }, { numSamples: whole("[1, ∞)") });
    checkOptions("WeightedRandomSampler", options, WEIGHTED);
    this.replacement = options.replacement ?? true;
    this.generator = checkGenerator("WeightedRandomSampler", options.generator);
    if (isTensor(weights) && weights.ndim !== 1)
      throw new ArgumentError("WeightedRandomSampler", "weights to have one dimension", weights.shape);
    this.length = numSamples;
    this.weights = keep(tensor(weights, { dtype: "float64", device: "cpu" }));
  }
  override generators(): readonly Generator[] {
    return this.generator === null ? [] : [this.generator];
  }
  *[Symbol.iterator](): Iterator<number, void, undefined> {
    yield* multinomial(this.weights, this.length, this.replacement, this.generator);
  }
}
