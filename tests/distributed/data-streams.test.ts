/** Loaders that are no DataLoader over positions, and what random numbers ranks draw. */
import assert from "node:assert/strict";
import {
  DataLoader,
  IterableDataset,
  IterableDatasetShard,
  manualSeed,
  tensor,
  TensorDataset,
  type Tensor,
} from "@nbit/torch";
import { everywhere, first, fit, numbers, Seen, trainer } from "./seen.js";
import { testRanks, type RankCase } from "../helpers/ranks.js";

const data = (n: number): TensorDataset<[Tensor]> => new TensorDataset(numbers(n));

const cases: Record<string, RankCase> = {
  "a stream is shared out by IterableDatasetShard; epochs end together": async (rank) => {
    const stream = new (class extends IterableDataset<Tensor> {
      override *[Symbol.iterator](): Iterator<Tensor> {
        for (let i = 0; i < 7; i++) yield tensor([i]);
      }
    })();
    const mine = new IterableDatasetShard(stream, { numReplicas: 2, rank });
    const module = await fit(new DataLoader(mine, { batchSize: 2 }), { maxEpochs: 2 });
    assert.deepEqual(module.train_.slice(0, 3), rank === 0 ? [0, 2, 4] : [1, 3, 5]);
    assert.equal(module.train_.length, 6);
    // Of unequal length: the shorter one ends the epoch of both.
    const uneven = await fit({
      *[Symbol.iterator]() {
        for (let i = 0; i < 3 + rank; i++) yield [tensor([10 * rank + i])];
      },
    });
    assert.equal(uneven.train_.length, 3);
  },
  "loaders of unequal length: all train on as many batches as the shortest has": async (rank) => {
    const batches = first(2 + rank).map((i) => [tensor([[10 * rank + i]])]);
    assert.equal((await fit(batches)).train_.length, 2);
  },
  "dropout differs between ranks, weights do not": async () => {
    manualSeed(5);
    const module = await fit(new DataLoader(data(8), { batchSize: 2 }));
    const [a, b] = everywhere(module.masks);
    assert.notDeepEqual(a, b);
    const [v, w] = everywhere(module.net.weight.tolist());
    assert.deepEqual(v, w);
  },
  "the same data on every rank is an error that says what to do": async () => {
    const stream = new (class extends IterableDataset<Tensor> {
      override *[Symbol.iterator](): Iterator<Tensor> {
        for (let i = 0; i < 4; i++) yield tensor([i]);
      }
    })();
    const same = { code: "ERR_DIST_SAME_DATA", message: /IterableDatasetShard/ };
    await assert.rejects(trainer().validate(new Seen(), { dataloaders: new DataLoader(stream) }), same);
  },
};

testRanks(import.meta.url, 2, cases);
