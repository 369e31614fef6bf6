/** Positions, several at a time. */
import { ArgumentError } from "../errors.js";
import { flag, iterable, whole } from "../kinds.js";
import { atMost, checkArguments } from "../options.js";
import type { Generator } from "../random.js";
import { lengthNow, Sampler } from "./sampler.js";

/**
 * Groups the positions of another sampler into batches.
 *
 * @param sampler - A sampler, or anything that can be iterated anew for each epoch.
 * @param batchSize - Positions per batch, > 0.
 * @param dropLast - Leave out a last batch that is not full.
 * @throws {ArgumentError} `BatchSampler: expected batchSize to be a whole number ≥ 1. Received: 0.`
 * @example [...new BatchSampler(new SequentialSampler({ length: 5 }), 2, false)]; // [[0, 1], [2, 3], [4]]
 */
export class BatchSampler extends Sampler<number[]> {
  readonly sampler: Iterable<number>;
  readonly batchSize: number;
  readonly dropLast: boolean;

  constructor(sampler: Iterable<number>, batchSize: number, dropLast: boolean) {
    super();
    atMost("BatchSampler", arguments, 3);
    checkArguments(
      "BatchSampler",
      { sampler, batchSize, dropLast },
      { sampler: iterable, batchSize: whole("[1, ∞)"), dropLast: flag },
    );
    this.sampler = sampler;
    this.batchSize = batchSize;
    this.dropLast = dropLast;
  }

  get length(): number {
    const n = lengthOf(this.sampler);
    if (n === null)
      throw new ArgumentError(
        "BatchSampler",
        "a sampler with a length",
        this.sampler,
        "Give it a `length` to use the length of its batches.",
      );
    return this.dropLast ? Math.floor(n / this.batchSize) : Math.ceil(n / this.batchSize);
  }
  override generators(): readonly Generator[] {
    return this.sampler instanceof Sampler ? this.sampler.generators() : [];
  }
  *[Symbol.iterator](): Iterator<number[], void, undefined> {
    let batch: number[] = [];
    for (const i of this.sampler) {
      batch.push(i);
      if (batch.length === this.batchSize) {
        yield batch;
        batch = [];
      }
    }
    if (batch.length > 0 && !this.dropLast) yield batch;
  }
}

/** @internal The length of an iterable that has one. */
export function lengthOf(value: Iterable<unknown> | object): number | null {
  return "length" in value && typeof value.length === "number" ? lengthNow("length", { length: value.length }) : null;
}
