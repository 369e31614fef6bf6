import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { arange, rand, randn } from "../ops/index.js";
import { type Generator, manualSeed } from "../random.js";
import { memory, scope, tensor, type Tensor } from "../tensor/index.js";
import {
  BatchSampler,
  collate,
  ConcatDataset,
  DataLoader,
  Dataset,
  DistributedSampler,
  IterableDataset,
  SequentialSampler,
  Subset,
  TensorDataset,
  WeightedRandomSampler,
  randomSplit,
  type DataLoaderOptions,
} from "./index.js";
import { Range, Stream, values } from "../testing/datasets.js";

class Slow extends Dataset<number> {
  readonly length = 12;
  running = 0;
  most = 0;
  async get(i: number): Promise<number> {
    this.running++;
    this.most = Math.max(this.most, this.running);
    await new Promise((done) => setTimeout(done, i % 3));
    this.running--;
    return i;
  }
}

void describe("DataLoader", () => {
  void it("gathers whole batches with the same result as stacking", () => {
    const data = new TensorDataset(randn([20, 3]), arange(20, { dtype: "int64" }), rand([20]).bfloat16());
    const same = (a: readonly Tensor[], b: readonly Tensor[]): void => {
      assert.equal(a.length, b.length);
      a.forEach((t, i) => {
        const u = b[i] as Tensor;
        assert.deepEqual([t.dtype, t.shape], [u.dtype, u.shape]);
        assert.deepEqual(new Uint8Array(t.toBytes()), new Uint8Array(u.toBytes()));
      });
    };
    const plain = (d: Dataset<readonly Tensor[]>): Dataset<readonly Tensor[]> =>
      new (class extends Dataset<readonly Tensor[]> {
        readonly length = d.length;
        get(i: number): readonly Tensor[] | Promise<readonly Tensor[]> {
          return d.get(i);
        }
      })();
    for (const d of [
      data,
      new Subset(data, [3, 1, 4, 1, 5, -1]),
      randomSplit(data, [5, 15])[0] as Subset<readonly Tensor[]>,
    ] as Dataset<readonly Tensor[]>[]) {
      manualSeed(3);
      const fast = [...new DataLoader(d, { batchSize: 4, shuffle: true })];
      manualSeed(3);
      const slow = [...new DataLoader(plain(d), { batchSize: 4, shuffle: true })];
      assert.equal(fast.length, slow.length);
      fast.forEach((batch, i) => same(batch as unknown as Tensor[], slow[i] as unknown as Tensor[]));
    }
    assert.throws(() => data.getBatch([20]), {
      message: "TensorDataset: expected positions from 0 to 19. Received: 20.",
    });
  });

  void it("calls a subclass's get instead of gathering", () => {
    class Doubled extends TensorDataset<[Tensor]> {
      override get(i: number): [Tensor] {
        return [super.get(i)[0].mul(2)];
      }
    }
    assert.deepEqual(
      [...new DataLoader(new Doubled(arange(4)), { batchSize: 2 })].map(([x]) => x.tolist()),
      [
        [0, 2],
        [4, 6],
      ],
    );
    class Late extends Subset<number> {
      override get(i: number): number | Promise<number> {
        return i + 100;
      }
    }
    assert.deepEqual(values(new DataLoader(new Late(new Range(9), [1, 2]), { batchSize: 2 })), [[100, 101]]);
  });

  void it("frees what it makes", () => {
    const data = new TensorDataset(randn([50, 3]), arange(50));
    const before = memory().unreleased;
    for (const batch of new DataLoader(data, { batchSize: 8, shuffle: true })) for (const t of batch) t.dispose();
    scope(() => {
      for (const [x] of new DataLoader(new Subset(data, [1, 2, 3]), { batchSize: 2 })) assert.equal(x.ndim, 2);
    });
    assert.equal(memory().unreleased, before);
  });

  void it("takes arrays, and any object with length and get", () => {
    assert.deepEqual(values(new DataLoader([5, 6, 7], { batchSize: 2 })), [[5, 6], [7]]);
    assert.deepEqual(values(new DataLoader({ length: 3, get: (i: number) => i * i }, { batchSize: 3 })), [[0, 1, 4]]);
    assert.deepEqual([...new DataLoader(["a", "b"], { batchSize: null })], ["a", "b"]);
  });

  void it("has a length where it can", () => {
    const length = (d: number, o: DataLoaderOptions<number, Tensor>): number | null =>
      new DataLoader(new Range(d), o).length;
    assert.equal(length(10, { batchSize: 3 }), 4);
    assert.equal(length(10, { batchSize: 3, dropLast: true }), 3);
    assert.equal(length(10, { batchSize: null }), 10);
    assert.equal(length(10, { batchSampler: [[0, 1], [2]] }), 2);
    assert.equal(length(10, { batchSize: 2, sampler: new Set([1, 2, 3]).values() }), null);
    assert.equal(new DataLoader(new Stream(10), { batchSize: 3 }).length, null);
    class Sized extends Stream {
      override readonly length = 10;
    }
    assert.equal(new DataLoader(new Sized(10), { batchSize: 3 }).length, 4);
  });

  void it("uses samplers and collate functions of the user", () => {
    assert.deepEqual(values(new DataLoader(new Range(9), { batchSize: 2, sampler: [8, 7, 1] })), [[8, 7], [1]]);
    assert.deepEqual(values(new DataLoader(new Range(9), { batchSampler: [[8], [7, 1]] })), [[8], [7, 1]]);
    assert.deepEqual(
      [...new DataLoader(new Range(4), { batchSize: 3, collateFn: (xs) => xs.join("+") })],
      ["0+1+2", "3"],
    );
    assert.deepEqual(
      [...new DataLoader(new TensorDataset(arange(2)), { batchSize: 2, collateFn: (xs) => xs.length })],
      [2],
    );
    const [batch] = new DataLoader([{ x: 1, y: 2 }], { collateFn: collate({ numbers: { y: "int64" } }) });
    assert.deepEqual([batch?.x.dtype, batch?.y.dtype], ["float32", "int64"]);
  });

  void it("closes the iterators of a pass that is left", () => {
    const closed: string[] = [];
    const order: Iterable<number> = {
      [Symbol.iterator]: () =>
        Object.assign([0, 1, 2].values(), {
          return: () => (closed.push("order"), { done: true as const, value: undefined }),
        }),
    };
    for (const b of new DataLoader(new Range(3), { batchSize: null, sampler: order })) {
      assert.equal(b, 0);
      break;
    }
    assert.deepEqual(closed, ["order"]);
  });

  void it("refuses what does not fit together", () => {
    const d = new Range(4);
    const stream = new Stream(4);
    const refused = (f: () => unknown, message: string | RegExp): void =>
      assert.throws(f, { code: "ERR_ARGUMENT", message });
    refused(
      () => new DataLoader(d, { batchSize: 0 }),
      "DataLoader: expected batchSize to be a whole number ≥ 1, or null. Received: 0.",
    );
    refused(
      () => new DataLoader(d, { shuffle: true, sampler: [1] }),
      "DataLoader: expected shuffle to be left out when there is a sampler. Received: true.",
    );
    refused(
      () => new DataLoader(d, { batchSampler: [[1]], batchSize: 2 }),
      "DataLoader: expected batchSize, shuffle, sampler and dropLast to be left out when there is a batchSampler. Received: an object with keys batchSampler, batchSize.",
    );
    refused(() => new DataLoader(d, { batchSampler: [[1]], batchSize: null }), /left out when there is a batchSampler/);
    refused(() => new DataLoader(d, { batchSampler: [[1]], dropLast: true }), /left out when there is a batchSampler/);
    refused(
      () => new DataLoader(d, { batchSize: null, dropLast: true }),
      /dropLast to be left out when batchSize is null/,
    );
    refused(() => new DataLoader(stream, { shuffle: true }), /shuffle to be left out for a stream/);
    refused(() => new DataLoader(stream, { sampler: [1] }), /left out for a stream/);
    refused(() => new DataLoader(d, { numWorkers: -1 }), /numWorkers to be a whole number from 0 to 1024/);
    refused(
      () => new DataLoader(5 as unknown as Range),
      /dataset to be an object with length and get, a stream, or an array/,
    );
    refused(() => new DataLoader({} as unknown as Range), /dataset to be an object with length and get/);
    refused(() => new DataLoader(d, { generator: 3 as unknown as Generator }), /generator to be a Generator/);
    refused(
      () => new DataLoader(new Range(0), { shuffle: true }),
      "RandomSampler: expected a source that is not empty. Received: an instance of Range.",
    );
    refused(() => [...new DataLoader(new Slow(), {})], /a dataset that returns its elements at once/);
    refused(
      () => new TensorDataset(arange(3), arange(4)),
      "TensorDataset: expected tensors whose first dimensions agree. Received: [3, 4].",
    );
    refused(() => new TensorDataset(tensor(1)), /tensors with at least one dimension/);
    refused(
      () => new ConcatDataset([new Range(2), new Range(3)]).get(5),
      "ConcatDataset: expected index to be from -5 to 4. Received: 5.",
    );
    refused(() => new Subset(d, [0]).get(1), "Subset: expected index to be from -1 to 0. Received: 1.");
    refused(
      () => randomSplit(d, [3, 2]),
      "randomSplit: expected lengths to sum to 4, the length of the dataset. Received: [3, 2].",
    );
    refused(
      () => new DistributedSampler(d, { numReplicas: 2, rank: 2 }),
      "DistributedSampler: expected rank to be from 0 to 1. Received: 2.",
    );
    refused(
      () => new WeightedRandomSampler(rand([2, 2]), 1),
      "WeightedRandomSampler: expected weights to have one dimension. Received: [2, 2].",
    );
    refused(
      () => new BatchSampler(new SequentialSampler(d), 0, false),
      "BatchSampler: expected batchSize to be a whole number ≥ 1. Received: 0.",
    );
  });

  void it("finds elements of concatenated datasets", () => {
    const all = new ConcatDataset([new Range(2), new Range(0), new Range(3), new Range(1)]);
    assert.deepEqual(
      Array.from({ length: 12 }, (_, i) => all.get(i - 6)),
      [0, 1, 0, 1, 2, 0, 0, 1, 0, 1, 2, 0],
    );
  });
});

void describe("asynchronous loading", () => {
  void it("keeps the order, however many load at once", async () => {
    for (const concurrency of [0, 1, 2, 3, 50]) {
      const data = new Slow();
      manualSeed(1);
      const found: unknown[] = [];
      for await (const b of new DataLoader(data, { batchSize: 2, shuffle: true, concurrency })) found.push(b.tolist());
      manualSeed(1);
      assert.deepEqual(found, values(new DataLoader(new Range(12), { batchSize: 2, shuffle: true })));
      assert.ok(data.most <= 2 * Math.max(1, concurrency));
      if (concurrency === 3) assert.equal(data.most, 6, "three batches of two at once");
    }
  });
  void it("reads streams that wait, in order", async () => {
    class Waiting extends IterableDataset<number> {
      override async *[Symbol.asyncIterator](): AsyncIterableIterator<number> {
        for (let i = 0; i < 7; i++) {
          await new Promise((done) => setTimeout(done, (7 - i) % 3));
          yield i;
        }
      }
    }
    for (const concurrency of [0, 4]) {
      const found: unknown[] = [];
      for await (const b of new DataLoader(new Waiting(), { batchSize: 2, concurrency })) found.push(b.tolist());
      assert.deepEqual(found, [[0, 1], [2, 3], [4, 5], [6]]);
    }
    assert.throws(() => [...new DataLoader(new Waiting())], /iterate with `for await`/);
  });
  void it("reports a failure in its turn", async () => {
    const failing: Dataset<number> = {
      length: 6,
      get: async (i) => (i === 3 ? Promise.reject(new Error("bad element")) : i),
    };
    const found: unknown[] = [];
    await assert.rejects(async () => {
      for await (const b of new DataLoader(failing, { batchSize: 1, concurrency: 6 })) found.push(b.item());
    }, /bad element/);
    assert.deepEqual(found, [0, 1, 2]);
  });
});
