/** Data modules, several loaders and gathered tensors in two processes. */
import assert from "node:assert/strict";
import { LightningDataModule } from "@nbit/lightning";
import { DataLoader, tensor, TensorDataset, type Tensor } from "@nbit/torch";
import { everywhere, first, numbers, Seen, trainer } from "./seen.js";
import { testRanks, type RankCase } from "../helpers/ranks.js";

const loader = (n: number, from = 0): DataLoader<[Tensor], [Tensor]> =>
  new DataLoader(new TensorDataset(numbers(n).add(from)), { batchSize: 1 });

class Prepared extends LightningDataModule {
  readonly calls: string[] = [];
  override async prepareData(): Promise<void> {
    await new Promise((resolve) => setTimeout(resolve, 20));
    this.calls.push("prepared");
  }
  override setup(): void {
    this.calls.push("set up");
  }
  override trainDataloader(): unknown {
    return loader(4);
  }
}

const cases: Record<string, RankCase> = {
  "data is prepared by one process of a machine, and set up by all, once it is there": async (rank) => {
    const datamodule = new Prepared();
    const t = trainer();
    await t.fit(new Seen(), { datamodule });
    assert.deepEqual(datamodule.calls, rank === 0 ? ["prepared", "set up"] : ["set up"]);
    assert.deepEqual(t.distributedSamplerKwargs, { numReplicas: 2, rank });
    assert.deepEqual([t.deviceIds.length, t.numDevices], [2, 2]);
    const once = Object.assign(new Prepared(), { prepareDataPerNode: false });
    await trainer().fit(new Seen(), { datamodule: once });
    assert.deepEqual(once.calls, datamodule.calls);
  },
  "each of several loaders is shared out": async (rank) => {
    const module = new (class extends Seen {
      override trainingStep(batch: unknown): Tensor {
        const { a, b } = batch as { a: [Tensor]; b: [Tensor] };
        return super.trainingStep(a).add(super.trainingStep(b));
      }
    })();
    await trainer().fit(module, { trainDataloaders: { a: loader(4), b: loader(2, 10) } });
    assert.deepEqual(module.train_, rank === 0 ? [0, 10, 2, 10] : [1, 11, 3, 11]);
  },
  "allGather gives the tensors of all ranks, and gradients of all back": async (rank) => {
    const seen: unknown[] = [];
    class Gathers extends Seen {
      override trainingStep(batch: unknown): Tensor {
        const mine = tensor([rank + 1, 10]);
        const { x, n } = this.allGather({ x: mine, n: 3 });
        seen.push([x.tolist(), n]);
        const weight = tensor([2, 3], { requiresGrad: true });
        const all = this.allGather(weight, { syncGrads: true });
        all
          .mul(rank + 1)
          .sum()
          .backward();
        seen.push(all.shape, weight.grad?.tolist());
        return super.trainingStep(batch);
      }
    }
    await trainer({ limitTrainBatches: 1 }).fit(new Gathers(), { trainDataloaders: loader(2) });
    const gathered = [
      [1, 10],
      [2, 10],
    ];
    assert.deepEqual(seen, [
      [gathered, 3],
      [2, 2],
      [3, 3],
    ]);
    assert.deepEqual(everywhere(rank), first(2));
  },
  // Last: a process that has failed takes part in nothing more.
  "what prepareData fails with in one process ends the run in all": async (rank) => {
    const seen: unknown[] = [];
    class Failing extends Prepared {
      override prepareData(): never {
        throw new RangeError("no such server");
      }
      override onException(error: unknown): void {
        seen.push(error);
      }
    }
    await assert.rejects(trainer().fit(new Seen(), { datamodule: new Failing() }), (error) => {
      assert.ok(error instanceof Error);
      assert.match(error.message, rank === 0 ? /^no such server$/ : /^prepareData: rank 0 failed: no such server$/);
      return true;
    });
    assert.equal(seen.length, 1);
  },
};

testRanks(import.meta.url, 2, cases);
