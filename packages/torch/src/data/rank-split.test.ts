import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { getRngState, manualSeed, tensor } from "../index.js";
import {
  BatchSampler,
  DataLoader,
  DistributedSamplerWrapper,
  IterableDataset,
  IterableDatasetShard,
  RandomSampler,
  SequentialSampler,
  UnrepeatedDistributedSampler,
  WeightedRandomSampler,
} from "./index.js";

const ranks = <T>(n: number, of: (rank: number) => Iterable<T>): T[][] =>
  Array.from({ length: n }, (_, rank) => [...of(rank)]);
const sorted = (all: readonly (readonly number[])[]): number[] => all.flat().sort((a, b) => a - b);

void describe("shares of an order", () => {
  void test("evaluation visits every position once, whatever the length", () => {
    for (const n of [0, 1, 2, 5, 12])
      for (const numReplicas of [1, 2, 3, 4]) {
        const of = (rank: number): UnrepeatedDistributedSampler =>
          new UnrepeatedDistributedSampler(new SequentialSampler({ length: n }), { numReplicas, rank });
        const all = ranks(numReplicas, of);
        assert.deepEqual(sorted(all), [...Array(n).keys()]);
        all.forEach((share, rank) => assert.equal(of(rank).length, share.length));
        all.forEach((share, rank) => assert.ok(share.every((at, i) => at === rank + i * numReplicas)));
      }
  });

  void test("training gives all equally many: repeated from the beginning, or left out", () => {
    const share = (dropLast: boolean): number[][] =>
      ranks(3, (rank) => new DistributedSamplerWrapper([7, 5, 3, 1], { numReplicas: 3, rank, dropLast }));
    assert.deepEqual(share(false), [
      [7, 1],
      [5, 7],
      [3, 5],
    ]);
    assert.deepEqual(share(true), [[7], [5], [3]]);
  });

  void test("the order comes from seed and epoch, not from the state of the default generator, which stays", () => {
    const weighted = new WeightedRandomSampler([1, 5, 2, 4], 9);
    const draw = (start: number, rank: number, epoch: number): { order: number[]; digest: number } => {
      manualSeed(start);
      const before = getRngState().tolist();
      const mine = new DistributedSamplerWrapper(weighted, { numReplicas: 2, rank, seed: 3 });
      mine.setEpoch(epoch);
      const order = [...mine];
      assert.deepEqual(getRngState().tolist(), before);
      return { order, digest: mine.digest };
    };
    assert.deepEqual(draw(1, 0, 0), draw(2, 0, 0));
    assert.equal(draw(1, 0, 0).digest, draw(5, 1, 0).digest);
    assert.notDeepEqual(draw(1, 0, 0).order, draw(1, 0, 1).order);
    assert.notEqual(draw(1, 0, 0).digest, draw(1, 0, 1).digest);
    manualSeed(3);
    const whole = [...weighted];
    const [even, odd] = [draw(8, 0, 0).order, draw(9, 1, 0).order];
    assert.deepEqual(
      whole,
      whole.map((_, i) => (i % 2 === 0 ? even : odd)[i >> 1]),
    );
  });

  void test("batches are shared out as they are; a sampler without a length is drawn to know it, once", () => {
    const batches = new BatchSampler(new SequentialSampler({ length: 7 }), 2, false);
    assert.deepEqual(
      ranks(2, (rank) => new UnrepeatedDistributedSampler(batches, { numReplicas: 2, rank })),
      [
        [
          [0, 1],
          [4, 5],
        ],
        [[2, 3], [6]],
      ],
    );
    let drawn = 0;
    const endless: Iterable<number> = {
      *[Symbol.iterator]() {
        drawn++;
        yield* [4, 2, 9];
      },
    };
    const mine = new DistributedSamplerWrapper(endless, { numReplicas: 2, rank: 1 });
    assert.equal(mine.length, 2);
    assert.deepEqual([...mine], [2, 4]);
    assert.equal(drawn, 1);
  });

  void test("wrong arguments are named", () => {
    assert.throws(() => new UnrepeatedDistributedSampler([1], { numReplicas: 2, rank: 2 }), /rank to be from 0 to 1/);
    assert.throws(() => new DistributedSamplerWrapper([1], { numReplicas: 0, rank: 0 }), /numReplicas/);
    assert.throws(() => new DistributedSamplerWrapper(3 as never, { numReplicas: 1, rank: 0 }), /sampler/);
    assert.throws(() => new IterableDatasetShard([1] as never, { numReplicas: 1, rank: 3 }), /rank/);
  });

  void test("a loader keeps everything but its order", () => {
    const data = [...Array(10).keys()].map((i) => tensor([i]));
    const loader = new DataLoader(data, { batchSize: 3, dropLast: true, sampler: new RandomSampler(data) });
    const mine = loader.withOrder({ sampler: new SequentialSampler({ length: 7 }) });
    assert.deepEqual([mine.batchSize, mine.dropLast, mine.length], [3, true, 2]);
    assert.deepEqual(
      [...mine].flatMap((batch) => batch.flatten().tolist()),
      [0, 1, 2, 3, 4, 5],
    );
    const whole = loader.withOrder({ batchSampler: [[1, 2], [9]] });
    assert.deepEqual(
      [...whole].map((batch) => batch.flatten().tolist()),
      [[1, 2], [9]],
    );
  });
});

void describe("shares of a stream", () => {
  class Lines extends IterableDataset<number> {
    override *[Symbol.iterator](): Iterator<number> {
      for (let i = 0; i < 7; i++) yield i;
    }
  }
  class Later extends IterableDataset<number> {
    override readonly length = 7;
    override async *[Symbol.asyncIterator](): AsyncIterator<number> {
      for (let i = 0; i < 7; i++) yield i;
    }
  }
  const shard = (dropLast: boolean, rank: number): IterableDatasetShard<number> =>
    new IterableDatasetShard(new Lines(), { numReplicas: 3, rank, dropLast });

  void test("equally many in training, all of them in evaluation", () => {
    assert.deepEqual(
      ranks(3, (rank) => shard(true, rank) as Iterable<number>),
      [
        [0, 3],
        [1, 4],
        [2, 5],
      ],
    );
    assert.deepEqual(
      ranks(3, (rank) => shard(false, rank) as Iterable<number>),
      [
        [0, 3, 6],
        [1, 4],
        [2, 5],
      ],
    );
    assert.equal(shard(true, 0).length, undefined);
  });

  void test("a stream that waits", async () => {
    const mine = new IterableDatasetShard(new Later(), { numReplicas: 2, rank: 0, dropLast: false });
    assert.equal(mine.length, 4);
    const seen: number[] = [];
    for await (const batch of new DataLoader(mine, { batchSize: 3 })) seen.push(...(batch.tolist() as number[]));
    assert.deepEqual(seen, [0, 2, 4, 6]);
  });
});
