/** A loader's state: a pass goes on as if it had not been left. */
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { rand, randint } from "../ops/index.js";
import { Generator, getRngState, manualSeed, setRngState } from "../random.js";
import { isTensor, scope, type Tensor } from "../tensor/index.js";
import { packState, unpackState } from "../io/index.js";
import { BatchSampler, DataLoader, RandomSampler, WeightedRandomSampler, type DataLoaderOptions } from "./index.js";
import { Range, Stream, values } from "../testing/datasets.js";

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
