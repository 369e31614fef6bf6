import assert from "node:assert/strict";
import { test } from "node:test";
import { memory, ones, type Tensor } from "../index.js";
import { Dataset } from "./dataset.js";
import { DataLoader } from "./loader.js";

const BATCH = 16;

/** Elements of 2 MB, which are there later. */
class Large extends Dataset<Tensor> {
  readonly kept: Tensor[] = [];
  constructor(
    readonly length: number,
    readonly keeps = 0,
  ) {
    super();
  }
  async get(i: number): Promise<Tensor> {
    await Promise.resolve();
    if (i < this.keeps) return (this.kept[i] ??= ones([1 << 19]));
    return ones([1 << 19]);
  }
}

test("elements that were collated do not pile up", async () => {
  let most = 0;
  const before = memory().tensors;
  for await (const batch of new DataLoader(new Large(BATCH * 20), { batchSize: BATCH })) {
    most = Math.max(most, memory().tensors - before);
    batch.dispose();
  }
  // Of 320 elements: those of the batches that are being loaded, of the last one, and what was among the old by then.
  assert.ok(most < 8 * BATCH, `${most} tensors at once`);
});

test("what the dataset keeps stays", async () => {
  const dataset = new Large(BATCH * 6, BATCH);
  for (let pass = 0; pass < 2; pass++)
    for await (const batch of new DataLoader(dataset, { batchSize: BATCH })) batch.dispose();
  assert.equal(dataset.kept.length, BATCH);
  for (const element of dataset.kept) assert.equal(element.at(0).item(), 1);
});
