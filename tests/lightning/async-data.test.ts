import assert from "node:assert/strict";
import { setImmediate as turn } from "node:timers/promises";
import { test } from "node:test";
import { LightningModule, Trainer } from "@nbit/lightning";
import { DataLoader, mseLoss, nn, optim, randn, seedEverything, tensor } from "@nbit/torch";
import type { Tensor } from "@nbit/torch";
import { QUIET } from "../helpers/training.js";

type Pair = [Tensor, Tensor];
class Line extends LightningModule {
  layer = new nn.Linear(3, 1);
  readonly validated: number[] = [];
  override trainingStep([x, y]: Pair): Tensor {
    return mseLoss(this.layer.forward(x), y);
  }
  override validationStep([x, y]: Pair): void {
    this.validated.push(mseLoss(this.layer.forward(x), y).item());
  }
  override configureOptimizers(): optim.Optimizer {
    return new optim.SGD(this.parameters(), { lr: 0.1 });
  }
}

/** Makes an element when it is asked for it: at once, in a promise that is ready, or after a turn of the event loop. */
const GETS: Readonly<Record<string, (make: () => Pair) => Pair | Promise<Pair>>> = {
  "at once": (make) => make(),
  "in a ready promise": (make) => Promise.resolve(make()),
  "after waiting": async (make) => {
    await turn();
    return make();
  },
};

async function trained(get: (make: () => Pair) => unknown, numWorkers: number): Promise<unknown> {
  seedEverything(3);
  const values = randn(24, 3).tolist() as number[][];
  const dataset = {
    length: 24,
    get: (i: number) =>
      get(() => {
        const x = values[i] ?? [];
        return [tensor(x), tensor([x.reduce((a, b) => a + b, 0)])];
      }),
  };
  const model = new Line();
  const loader = (): Iterable<unknown> => new DataLoader(dataset, { batchSize: 4, numWorkers });
  await new Trainer({ ...QUIET, maxEpochs: 2 }).fit(model, { trainDataloaders: loader(), valDataloaders: loader() });
  return [model.layer.weight.tolist(), model.validated];
}

test("datasets whose elements are promises train and validate like those that give them at once", async () => {
  const expected = await trained(GETS["at once"] as (make: () => Pair) => Pair, 0);
  for (const [name, get] of Object.entries(GETS)) for (const numWorkers of [1, 2, 5]) assert.deepEqual(await trained(get, numWorkers), expected, `${name}, numWorkers ${numWorkers}`);
});
