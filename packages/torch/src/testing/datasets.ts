/** Datasets that tests of loaders read. */
import { type Tensor } from "../tensor/index.js";
import { Dataset, IterableDataset } from "../data/index.js";

export class Range extends Dataset<number> {
  readonly seen: number[] = [];
  constructor(readonly length: number) {
    super();
  }
  get(i: number): number {
    this.seen.push(i);
    return i;
  }
}
export class Stream extends IterableDataset<number> {
  constructor(readonly count: number) {
    super();
  }
  override *[Symbol.iterator](): IterableIterator<number> {
    for (let i = 0; i < this.count; i++) yield i;
  }
}
export const values = (batches: Iterable<Tensor>): unknown[] => Array.from(batches, (b) => b.tolist());
