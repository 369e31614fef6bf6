/** Datasets of workers.test.ts, which threads load from here. */
import {
  Dataset,
  dropout,
  getWorkerInfo,
  IterableDataset,
  ones,
  rand,
  randint,
  randn,
  randperm,
  type Tensor,
} from "@nbit/torch";

export class Noise extends Dataset<readonly unknown[]> {
  readonly length = 11;
  get(i: number): readonly unknown[] {
    return [randn([2]), dropout(ones([4]), 0.5, true), randperm(5), randint(0, 100, [1]), i];
  }
}
export class Shards extends IterableDataset<Tensor> {
  override *[Symbol.iterator](): IterableIterator<Tensor> {
    const { id, numWorkers } = getWorkerInfo() ?? { id: 0, numWorkers: 1 };
    for (let i = id; i < 13; i += numWorkers) yield rand([1]).add(i);
  }
}
