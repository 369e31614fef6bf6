/** Which data each rank sees: training, evaluation, predict, samplers of the user's own. */
import assert from "node:assert/strict";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import {
  BatchSampler,
  DataLoader,
  DistributedSampler,
  dropout,
  manualSeed,
  ones,
  SequentialSampler,
  TensorDataset,
  type Tensor,
  WeightedRandomSampler,
} from "@nbit/torch";
import * as dist from "@nbit/torch/distributed";
import { everywhere, first, fit, numbers, Seen, trainer } from "./seen.js";
import { testRanks, type RankCase } from "../helpers/ranks.js";

const data = (n: number): TensorDataset<[Tensor]> => new TensorDataset(numbers(n));
const sorted = (all: readonly (readonly number[])[]): number[] => all.flat().sort((a, b) => a - b);

const cases: Record<string, RankCase> = {
  "training: every position once, in another order each epoch, equally many on all ranks": async () => {
    manualSeed(3);
    const module = await fit(new DataLoader(data(10), { batchSize: 2, shuffle: true }), { maxEpochs: 2 });
    const all = everywhere(module.train_);
    const [one, two] = [0, 5].map((from) => all.map((seen) => seen.slice(from, from + 5)));
    for (const epoch of [one, two]) assert.deepEqual(sorted(epoch ?? []), first(10));
    assert.notDeepEqual(one, two);
    // As a DistributedSampler with the seed of the run.
    const sampler = new DistributedSampler(data(10), { numReplicas: 2, rank: dist.getRank(), seed: 3 });
    assert.deepEqual(module.train_.slice(0, 5), [...sampler]);
  },
  "training without shuffling repeats from the beginning where it must": async (rank) => {
    const module = await fit(new DataLoader(data(5), { batchSize: 2 }));
    assert.deepEqual(module.train_, rank === 0 ? [0, 2, 4] : [1, 3, 0]);
  },
  "a DistributedSampler of the user's own, and useDistributedSampler: false, are left alone": async (rank) => {
    const sampler = new DistributedSampler(data(6), { numReplicas: 2, rank: 1 - rank, shuffle: false });
    const own = await fit(new DataLoader(data(6), { batchSize: 3, sampler }));
    assert.deepEqual(own.train_, rank === 1 ? [0, 2, 4] : [1, 3, 5]);
    const whole = await fit(new DataLoader(data(4), { batchSize: 2 }), { useDistributedSampler: false });
    assert.deepEqual(whole.train_, first(4));
  },
  "other samplers and batch samplers are shared out too, whatever random numbers ranks have drawn": async (rank) => {
    manualSeed(20);
    if (rank === 1) dropout(ones([5]), 0.5, true);
    const weighted = new WeightedRandomSampler([1, 1, 1, 50], 40);
    const [even, odd] = everywhere((await fit(new DataLoader(data(4), { batchSize: 4, sampler: weighted }))).train_);
    manualSeed(20);
    const whole = [...weighted];
    assert.deepEqual(
      whole,
      whole.map((_, i) => (i % 2 === 0 ? even : odd)?.[i >> 1]),
    );
    class Pairs extends BatchSampler {}
    const batchSampler = new Pairs(new SequentialSampler({ length: 6 }), 2, false);
    const module = await fit(new DataLoader(data(6), { batchSampler }));
    assert.deepEqual(module.train_, rank === 0 ? [0, 1, 4, 5] : [2, 3, 0, 1]);
    assert.deepEqual(module.sizes, [2, 2]);
  },
  "evaluation counts nothing twice: 5 elements, 3 batches here and 2 there": async (rank) => {
    const module = new Seen();
    const t = trainer();
    const [metrics] = await t.validate(module, { dataloaders: new DataLoader(data(5), { batchSize: 1 }) });
    assert.deepEqual(sorted(everywhere(module.val)), first(5));
    assert.deepEqual(module.val, rank === 0 ? [0, 2, 4] : [1, 3]);
    assert.deepEqual(metrics, { sum: 10, mean: 2 });
    assert.deepEqual(t.callbackMetrics, { sum: 10, mean: 2 });
  },
  "a rank without any element takes part": async () => {
    const module = new Seen();
    const t = trainer();
    const loaders = [new DataLoader(data(1)), new DataLoader(data(3), { batchSize: 2 })];
    const results = await t.validate(module, { dataloaders: loaders });
    assert.deepEqual(sorted(everywhere(module.val)), [0, 0, 1, 2]);
    assert.equal(results[0]?.["sum/dataloader_idx_0"], 0);
    assert.equal(results[1]?.["sum/dataloader_idx_1"], 3);
    assert.equal(results[1]?.["mean/dataloader_idx_1"], 1);
  },
  "predict returns this rank's batches, or all in order": async (rank) => {
    const loader = new DataLoader(data(7), { batchSize: 2 });
    const values = (all: readonly unknown[]): unknown[] =>
      all.map((one) => (one as { twice: Tensor }).twice.flatten().tolist());
    const t = trainer();
    const mine = await t.predict(new Seen(), { dataloaders: loader });
    assert.deepEqual(
      values(mine),
      rank === 0
        ? [
            [0, 2],
            [8, 10],
          ]
        : [[4, 6], [12]],
    );
    const all = await t.predict(new Seen(), { dataloaders: loader, gather: true });
    assert.deepEqual(values(all), [[0, 2], [4, 6], [8, 10], [12]]);
  },
  "a resumed run draws orders from the seed of the one before": async (rank) => {
    const folder = dist.broadcastObject(rank === 0 ? mkdtempSync(join(tmpdir(), "nbit-ranks-")) : "");
    const ckptPath = join(folder, "one.ckpt");
    const loader = (): DataLoader<unknown> => new DataLoader<unknown>(data(10), { batchSize: 1, shuffle: true });
    manualSeed(8);
    const t = trainer();
    await t.fit(new Seen(), { trainDataloaders: loader() });
    t.saveCheckpoint(ckptPath);
    manualSeed(99);
    const module = new Seen();
    await trainer({ maxEpochs: 2 }).fit(module, { trainDataloaders: loader(), ckptPath });
    const sampler = new DistributedSampler(data(10), { numReplicas: 2, rank, seed: 8 });
    sampler.setEpoch(1);
    assert.deepEqual(module.train_, [...sampler]);
    dist.barrier();
    if (rank === 0) rmSync(folder, { recursive: true });
  },
  "a sampler that differs between ranks is an error that says so": async (rank) => {
    const sampler = { length: 4, [Symbol.iterator]: () => (rank === 0 ? [0, 1, 2, 3] : [3, 2, 1, 0]).values() };
    await assert.rejects(fit(new DataLoader(data(4), { batchSize: 2, sampler })), { code: "ERR_DIST_ORDER" });
  },
};

testRanks(import.meta.url, 2, cases);
