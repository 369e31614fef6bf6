/**
 * Samplers, loaders and splits visit what PyTorch's visit, in the same order, and draw no more and no less. The
 * fixtures are made by make_order.py.
 */
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { describe, it } from "node:test";
import {
  ChainDataset,
  DataLoader,
  Dataset,
  DistributedSampler,
  Generator,
  IterableDataset,
  isTensor,
  manualSeed,
  memory,
  RandomSampler,
  randint,
  randomSplit,
  SubsetRandomSampler,
  WeightedRandomSampler,
} from "@nbit/torch";

interface Args {
  readonly n: number;
  readonly numSamples?: number;
  readonly replacement?: boolean;
  readonly indices: readonly number[];
  readonly weights: readonly number[];
  readonly numReplicas: number;
  readonly rank: number;
  readonly shuffle: boolean;
  readonly samplerSeed: number;
  readonly dropLast: boolean;
  readonly batchSize: number | null;
  readonly lengths: readonly number[];
}
interface Case {
  readonly kind: string;
  readonly seed: number;
  readonly own: number | null;
  readonly args: Args;
  readonly passes: readonly unknown[];
  readonly after: readonly number[];
}

class Range extends Dataset<bigint> {
  constructor(readonly length: number) {
    super();
  }
  get(i: number): bigint {
    return BigInt(i);
  }
}
class Stream extends IterableDataset<bigint> {
  override *[Symbol.iterator](): IterableIterator<bigint> {
    for (let i = 0n; i < 10n; i++) yield i;
  }
}

function draws(generator: Generator | null = null): number[] {
  return randint(0, 2 ** 31, [3], { generator, dtype: "int64" }).tolist() as number[];
}
const plain = (v: unknown): unknown => (isTensor(v) ? v.tolist() : typeof v === "bigint" ? Number(v) : v);

function visitor(c: Case, generator: Generator | null): (epoch: number) => Iterable<unknown> {
  const a = c.args;
  const range = new Range(a.n);
  switch (c.kind) {
    case "random": {
      const s = new RandomSampler(range, {
        numSamples: a.numSamples ?? null,
        replacement: a.replacement ?? false,
        generator,
      });
      assert.equal(s.length, a.numSamples ?? a.n);
      return () => s;
    }
    case "subset": {
      const s = new SubsetRandomSampler(a.indices, { generator });
      return () => s;
    }
    case "weighted": {
      const s = new WeightedRandomSampler(a.weights, a.numSamples as number, {
        replacement: a.replacement as boolean,
        generator,
      });
      return () => s;
    }
    case "distributed": {
      const s = new DistributedSampler(range, {
        numReplicas: a.numReplicas,
        rank: a.rank,
        shuffle: a.shuffle as boolean,
        dropLast: a.dropLast as boolean,
        seed: a.samplerSeed,
      });
      return (epoch) => {
        s.setEpoch(epoch);
        return s;
      };
    }
    case "loader": {
      const fresh = (): DataLoader<bigint> =>
        new DataLoader(range, { batchSize: a.batchSize, shuffle: a.shuffle, dropLast: a.dropLast ?? false, generator });
      const one = fresh();
      return () => (c.seed === 21 ? fresh() : one);
    }
    case "loader with draws": {
      const loader = new DataLoader(new Range(20), { batchSize: 6, shuffle: true });
      return () => Array.from(loader, (b) => [...(b.tolist() as number[]), ...draws()]);
    }
    case "loader left early": {
      const loader = new DataLoader(new Range(20), { batchSize: 6, shuffle: true });
      return (epoch) => {
        const iterator = loader[Symbol.iterator]();
        return epoch === 1 ? [] : [iterator.next().value];
      };
    }
    case "stream":
      return () => new DataLoader(new Stream(), { batchSize: a.batchSize, dropLast: a.dropLast });
    case "split":
      return () => randomSplit(range, a.lengths, { generator }).map((s) => s.indices);
    default:
      throw new Error(c.kind);
  }
}

const cases = readFileSync(new URL("../../../parity/data/order.jsonl", import.meta.url), "utf8")
  .trimEnd()
  .split("\n")
  .map((line) => JSON.parse(line) as Case);

void describe("the order of data", () => {
  void it("has the recorded cases", () => {
    assert.ok(cases.length > 200, String(cases.length));
  });
  for (const [i, c] of cases.entries()) {
    void it(`${i}: ${c.kind} ${JSON.stringify(c.args).slice(0, 120)} seed ${c.seed} own ${c.own}`, () => {
      manualSeed(c.seed);
      const generator = c.own === null ? null : new Generator().manualSeed(c.own);
      const visit = visitor(c, generator);
      const passes = c.passes.map((_, epoch) => Array.from(visit(epoch), plain));
      assert.deepEqual(passes, c.passes);
      assert.deepEqual([...draws(), ...(generator === null ? [] : draws(generator))], c.after);
    });
  }
  void it("asynchronous iteration gives the same", async () => {
    for (const c of cases.filter((c) => c.kind === "loader" || c.kind === "stream")) {
      manualSeed(c.seed);
      const generator = c.own === null ? null : new Generator().manualSeed(c.own);
      const visit = visitor(c, generator);
      const passes: unknown[][] = [];
      for (const epoch of c.passes.keys()) {
        const batches: unknown[] = [];
        for await (const b of visit(epoch) as DataLoader<bigint>) batches.push(plain(b));
        passes.push(batches);
      }
      assert.deepEqual(passes, c.passes);
      assert.deepEqual([...draws(), ...(generator === null ? [] : draws(generator))], c.after);
    }
  });
  void it("makes no tensors that stay", () => {
    const before = memory().unreleased;
    for (const b of new DataLoader(new Range(100), { batchSize: 8, shuffle: true })) b.dispose();
    for (const b of new DataLoader(new ChainDataset([new Stream(), new Stream()]), { batchSize: 8 })) b.dispose();
    assert.equal(memory().unreleased, before);
  });
});
