/** Sharded parameters are gathered by every forward: ranks validate equally many batches, and count nothing twice. */
import assert from "node:assert/strict";
import { DataLoader, TensorDataset, type Tensor } from "@nbit/torch";
import { everywhere, numbers, Seen, trainer } from "./seen.js";
import { testRanks, type RankCase } from "../helpers/ranks.js";

class Forward extends Seen {
  override validationStep(batch: unknown): void {
    super.validationStep(batch);
    this.net.forward((batch as [Tensor])[0].float());
  }
}
const loader = (n: number, batchSize: number, dropLast = false): DataLoader<unknown> =>
  new DataLoader<unknown>(new TensorDataset(numbers(n)), { batchSize, dropLast });

async function validated(n: number, batchSize: number, dropLast = false): Promise<{ val: number[]; sum: unknown }> {
  const module = new Forward();
  const t = trainer({ strategy: "fsdp" });
  await t.fit(module, { trainDataloaders: loader(8, 2), valDataloaders: loader(n, batchSize, dropLast) });
  return { val: module.val, sum: t.callbackMetrics.sum };
}

const cases: Record<string, RankCase> = {
  "a rank with one element less cuts its last batch in two": async (rank) => {
    for (const [n, batchSize] of [
      [5, 2],
      [9, 4],
      [9, 2],
      [8, 2],
      [7, 3],
    ] as const) {
      const { val, sum } = await validated(n, batchSize);
      const all = everywhere(val).flat();
      assert.deepEqual(
        all.sort((a, b) => a - b),
        [...Array(n).keys()],
      );
      assert.equal(sum, (n * (n - 1)) / 2);
      assert.equal(val.length, Math.ceil((n - rank) / 2));
    }
  },
  "dropLast leaves out on all ranks": async () => {
    const { val } = await validated(9, 2, true);
    assert.deepEqual(
      everywhere(val).map((v) => v.length),
      [4, 4],
    );
  },
  "data that cannot be cut so is an error before training": async () => {
    await assert.rejects(validated(5, 1), { code: "ERR_DIST_EVEN_BATCHES", message: /batchSize of 2 or more/ });
  },
};
testRanks(import.meta.url, 2, cases);
