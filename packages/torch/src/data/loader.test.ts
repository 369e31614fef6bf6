import assert from "node:assert/strict";
import { describe, it } from "node:test";
import fc from "fast-check";
import { arange, rand, randint, randn } from "../ops/index.js";
import { Generator, getRngState, manualSeed, setRngState } from "../random.js";
import { isTensor, memory, scope, tensor, type Tensor } from "../tensor/index.js";
import { packState, unpackState } from "../io/index.js";
import {
  BatchSampler,
  collate,
  ConcatDataset,
  DataLoader,
  Dataset,
  DistributedSampler,
  IterableDataset,
  RandomSampler,
  Sampler,
  SequentialSampler,
  Subset,
  TensorDataset,
  WeightedRandomSampler,
  randomSplit,
  type DataLoaderOptions,
} from "./index.js";

class Range extends Dataset<number> {
  readonly seen: number[] = [];
  constructor(readonly length: number) {
    super();
  }
  get(i: number): number {
    this.seen.push(i);
    return i;
  }
}
class Stream extends IterableDataset<number> {
  constructor(readonly count: number) {
    super();
  }
  override *[Symbol.iterator](): IterableIterator<number> {
    for (let i = 0; i < this.count; i++) yield i;
  }
}
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
const values = (batches: Iterable<Tensor>): unknown[] => Array.from(batches, (b) => b.tolist());

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
    refused(() => new DataLoader(d, { numWorkers: -1 }), /numWorkers to be a whole number ≥ 0/);
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
    for (const numWorkers of [0, 1, 2, 3, 50]) {
      const data = new Slow();
      manualSeed(1);
      const found: unknown[] = [];
      for await (const b of new DataLoader(data, { batchSize: 2, shuffle: true, numWorkers })) found.push(b.tolist());
      manualSeed(1);
      assert.deepEqual(found, values(new DataLoader(new Range(12), { batchSize: 2, shuffle: true })));
      assert.ok(data.most <= 2 * Math.max(1, numWorkers));
      if (numWorkers === 3) assert.equal(data.most, 6, "three batches of two at once");
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
    for (const numWorkers of [0, 4]) {
      const found: unknown[] = [];
      for await (const b of new DataLoader(new Waiting(), { batchSize: 2, numWorkers })) found.push(b.tolist());
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
      for await (const b of new DataLoader(failing, { batchSize: 1, numWorkers: 6 })) found.push(b.item());
    }, /bad element/);
    assert.deepEqual(found, [0, 1, 2]);
  });
});

void describe("resuming", () => {
  const options: readonly (() => [DataLoaderOptions<number, Tensor>, number])[] = [
    () => [{ batchSize: 3, shuffle: true }, 20],
    () => [{ batchSize: 3, shuffle: true, generator: new Generator().manualSeed(4) }, 20],
    () => [{ batchSize: 4 }, 18],
    () => [
      {
        batchSize: 3,
        sampler: new RandomSampler(new Range(20), {
          replacement: true,
          numSamples: 70,
          generator: new Generator().manualSeed(9),
        }),
      },
      20,
    ],
    () => [
      {
        batchSize: 3,
        sampler: new WeightedRandomSampler(
          Array.from({ length: 20 }, (_, i) => i + 1),
          40,
        ),
      },
      20,
    ],
    () => [
      {
        batchSampler: new BatchSampler(
          new RandomSampler(new Range(20), { generator: new Generator().manualSeed(2) }),
          7,
          true,
        ),
      },
      20,
    ],
  ];
  /**
   * Three passes with draws in between, as a training loop makes them; stopped and started anew after `stop` batches.
   */
  function run(make: () => [DataLoaderOptions<number, Tensor>, number], stop: number | null): unknown[] {
    manualSeed(77);
    const fresh = (): [DataLoader<number, Tensor>, Range] => {
      const [o, n] = make();
      const data = new Range(n);
      return [new DataLoader<number, Tensor>(data, o), data];
    };
    let [loader, data] = fresh();
    const seen: unknown[] = [];
    while (loader.epoch < 3) {
      const iterator = loader[Symbol.iterator]();
      let resumed = false;
      for (let next = iterator.next(); next.done !== true; next = iterator.next()) {
        seen.push(next.value.tolist(), rand([2]).tolist());
        if (seen.length / 2 === stop) {
          const { tensors, json } = packState({ loader: loader.stateDict(), rng: getRngState() });
          manualSeed(123456);
          [loader, data] = fresh();
          const state = unpackState({ tensors, json }) as { loader: Record<string, unknown>; rng: Tensor };
          loader.loadStateDict(state.loader);
          assert.deepEqual(Object.keys(loader.stateDict()), Object.keys(state.loader));
          setRngState(state.rng);
          resumed = true;
          break;
        }
      }
      if (resumed) assert.deepEqual(data.seen, [], "nothing is fetched again");
    }
    seen.push(randint(0, 1000, [3]).tolist());
    return seen;
  }
  for (const [i, make] of options.entries()) {
    void it(`continues exactly, from any batch: ${i}`, () => {
      const whole = run(make, null);
      const batches = (whole.length - 1) / 2;
      assert.ok(batches >= 6);
      for (let stop = 1; stop <= batches; stop++)
        assert.deepEqual(run(make, stop), whole, `stopped after ${stop} of ${batches}`);
    });
  }

  void it("continues between passes, and before the first", () => {
    const make = (): DataLoader<number> =>
      new DataLoader(new Range(10), { batchSize: 5, shuffle: true, generator: new Generator().manualSeed(1) });
    const a = make();
    const first = values(a);
    const state = a.stateDict();
    assert.equal(state.epoch, 1);
    assert.equal(state.before, null);
    const b = make();
    b.loadStateDict(state);
    assert.equal(b.epoch, 1);
    assert.deepEqual(values(b), values(a));
    const c = make();
    c.loadStateDict(make().stateDict());
    assert.deepEqual(values(c), first);
  });

  void it("goes back by what was read ahead", () => {
    manualSeed(5);
    const a = new DataLoader(new Range(20), { batchSize: 3, shuffle: true });
    const all = values(a);
    manualSeed(5);
    const iterator = a[Symbol.iterator]();
    for (let i = 0; i < 4; i++) iterator.next();
    const b = new DataLoader(new Range(20), { batchSize: 3, shuffle: true });
    b.loadStateDict(a.stateDict({ position: 2 }));
    assert.deepEqual(values(b), all.slice(2));
    assert.throws(() => a.stateDict({ position: 5 }), {
      message: "stateDict: expected position to be from 0 to 4, the batches given in this pass. Received: 5.",
    });
  });

  void it("brings back a generator that others draw from too", () => {
    const make = (): [DataLoader<number>, Generator] => {
      const generator = new Generator().manualSeed(3);
      return [new DataLoader(new Range(8), { batchSize: 4, shuffle: true, generator }), generator];
    };
    const [a, generatorOfA] = make();
    const iterator = a[Symbol.iterator]();
    iterator.next();
    randint(0, 10, [5], { generator: generatorOfA });
    const [b] = make();
    b.loadStateDict(a.stateDict());
    assert.deepEqual(values(b), values({ [Symbol.iterator]: () => iterator }));
    assert.deepEqual(values(b), values(a), "the pass after");
  });

  void it("reads past what a stream has given", async () => {
    const a = new DataLoader(new Stream(10), { batchSize: 3 });
    const iterator = a[Symbol.iterator]();
    iterator.next();
    iterator.next();
    const b = new DataLoader(new Stream(10), { batchSize: 3 });
    b.loadStateDict(a.stateDict());
    assert.deepEqual(values(b), [[6, 7, 8], [9]]);
    const c = new DataLoader(new Stream(10), { batchSize: 3 });
    c.loadStateDict(a.stateDict());
    const found: unknown[] = [];
    for await (const x of c) found.push(x.tolist());
    assert.deepEqual(found, [[6, 7, 8], [9]]);
  });

  void it("leaves the default generator as it finds it", () => {
    manualSeed(1);
    const a = new DataLoader(new Range(10), { batchSize: 2, shuffle: true });
    const iterator = a[Symbol.iterator]();
    iterator.next();
    const state = a.stateDict();
    manualSeed(99);
    const before = getRngState().tolist();
    const b = new DataLoader(new Range(10), { batchSize: 2, shuffle: true });
    b.loadStateDict(state);
    const rest = b[Symbol.iterator]();
    assert.deepEqual(getRngState().tolist(), before);
    assert.deepEqual(rest.next().value?.tolist(), iterator.next().value?.tolist());
  });

  void it("survives scopes", () => {
    const a = new DataLoader(new Range(10), { batchSize: 2, shuffle: true });
    const iterator = scope(() => a[Symbol.iterator]());
    scope(() => void iterator.next());
    const state = scope(() => a.stateDict());
    const b = new DataLoader(new Range(10), { batchSize: 2, shuffle: true });
    scope(() => b.loadStateDict(state));
    assert.deepEqual(values(b), values({ [Symbol.iterator]: () => iterator }));
    assert.ok(isTensor(state.before?.[0]) && !state.before[0].disposed);
  });

  void it("refuses states of something else", () => {
    const shuffled = new DataLoader(new Range(10), { batchSize: 2, shuffle: true });
    const iterator = shuffled[Symbol.iterator]();
    for (let i = 0; i < 4; i++) iterator.next();
    const state = shuffled.stateDict();
    assert.throws(() => shuffled.loadStateDict({ a: 1 }), {
      message: "loadStateDict: expected a loader state of version 1. Received: an object with keys a.",
    });
    assert.throws(() => shuffled.loadStateDict({ ...state, position: -1 }), /position to be a whole number ≥ 0/);
    assert.throws(
      () => shuffled.loadStateDict({ ...state, before: [1] }),
      /before to be a list of uint8 tensors or null/,
    );
    assert.throws(
      () => new DataLoader(new Range(10), { shuffle: true, generator: new Generator() }).loadStateDict(state),
      /states of 2 generators/,
    );
    const short = new DataLoader(new Range(4), { batchSize: 2, shuffle: true });
    short.loadStateDict(state);
    assert.throws(() => short[Symbol.iterator](), {
      message:
        "loadStateDict: expected a loader with at least 4 batches. Received: 2 batches. Resume with the dataset, batch size and sampler that the state was saved with.",
    });
  });
});

void describe("samplers of any size", () => {
  void it("shares of all ranks together cover everything evenly", () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 1, max: 40 }),
        fc.integer({ min: 1, max: 7 }),
        fc.boolean(),
        fc.boolean(),
        fc.nat(5),
        (n, numReplicas, shuffle, dropLast, epoch) => {
          const shares = Array.from({ length: numReplicas }, (_, rank) => {
            const s = new DistributedSampler({ length: n }, { numReplicas, rank, shuffle, dropLast });
            s.setEpoch(epoch);
            const all = [...s];
            assert.equal(all.length, s.length);
            return all;
          });
          assert.equal(new Set(shares.map((s) => s.length)).size, 1);
          const seen = new Set(shares.flat());
          if (dropLast) assert.equal(seen.size, shares.flat().length);
          else assert.equal(seen.size, n);
        },
      ),
      { numRuns: 200, seed: 1 },
    );
  });
  void it("a permutation holds every position once", () => {
    for (const n of [1, 2, 255, 256, 70000]) {
      const all = [...new RandomSampler({ length: n })];
      assert.deepEqual(all.length, n);
      assert.equal(new Set(all).size, n);
    }
    assert.ok(new RandomSampler({ length: 3 }) instanceof Sampler);
  });
});
