/** Shares of unequal length, cut into equally many batches. */
import { Sampler, verbatim, type UnrepeatedDistributedSampler } from "@nbit/torch";
import { MisconfigurationError } from "../errors.js";

/**
 * For strategies whose forward is a common act of all processes: each has as many batches as any other, and nothing
 * comes twice. A process with one position less than others makes two batches of its last one, where it must.
 */
export class EvenBatches extends Sampler<number[]> {
  readonly #share: UnrepeatedDistributedSampler;
  readonly #batchSize: number;
  readonly length: number;

  /**
   * @param n - Positions of all processes.
   * @throws {MisconfigurationError} ERR_DIST_EVEN_BATCHES where some process would have an empty batch.
   */
  constructor(share: UnrepeatedDistributedSampler, n: number, batchSize: number, dropLast: boolean) {
    super();
    const { numReplicas } = share;
    const [most, least] = [Math.ceil(n / numReplicas), Math.floor(n / numReplicas)];
    this.#share = share;
    this.#batchSize = batchSize;
    this.length = dropLast ? Math.floor(least / batchSize) : Math.ceil(most / batchSize);
    if (least < this.length || (n > 0 && least === 0))
      throw new MisconfigurationError(
        "fit",
        "validation data that comes to equally many batches in every process, which this strategy's forward needs",
        verbatim(`${n} elements in batches of ${batchSize} for ${numReplicas} processes`),
        `Use a batchSize of 2 or more and at least ${numReplicas} elements, or a number of elements that ${numReplicas} divides.`,
        "ERR_DIST_EVEN_BATCHES",
      );
  }

  *[Symbol.iterator](): Iterator<number[], void, undefined> {
    const positions = [...this.#share];
    for (let left = this.length, at = 0; left > 0; left--) {
      // As many as fit, and at least one for each batch that is still to come.
      const size = Math.min(this.#batchSize, positions.length - at - (left - 1));
      yield positions.slice(at, at + size);
      at += size;
    }
  }
}
