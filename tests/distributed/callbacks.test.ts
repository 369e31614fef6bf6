/** Callbacks that change what is trained, and searches, in several processes. */
import assert from "node:assert/strict";
import {
  BackboneFinetuning,
  BatchSizeFinder,
  BasePredictionWriter,
  DDPStrategy,
  EMAWeightAveraging,
  FSDPStrategy,
  LightningModule,
  ModelPruning,
  StochasticWeightAveraging,
  Trainer,
  Tuner,
  type Callback,
} from "@nbit/lightning";
import { DataLoader, device, manualSeed, NbitError, nn, optim, randn, TensorDataset, type Tensor } from "@nbit/torch";
import * as dist from "@nbit/torch/distributed";
import { testRanks, type RankCase } from "../helpers/ranks.js";
import { SILENT } from "../helpers/training.js";

class Net extends LightningModule {
  lr = 0.05;
  batchSize = 4;
  readonly backbone = new nn.Linear(6, 8);
  readonly head = new nn.Linear(8, 1);
  override trainingStep([x, y]: [Tensor, Tensor]): Tensor {
    return this.head.forward(this.backbone.forward(x).tanh()).sub(y).square().mean();
  }
  override predictStep([x]: [Tensor]): Tensor {
    return x;
  }
  override configureOptimizers(): optim.Optimizer {
    const params = this.parameters().filter((p) => p.requiresGrad);
    return new optim.SGD(params, { lr: this.lr, momentum: 0.9 });
  }
}
function data(): TensorDataset<[Tensor, Tensor]> {
  manualSeed(1);
  return new TensorDataset(randn([32, 6]), randn([32, 1]));
}
function trainerOf(callbacks: Callback | readonly Callback[], world: number): Trainer {
  const strategy = world === 1 ? "single_device" : new DDPStrategy(device("cpu"));
  return new Trainer({ accelerator: "cpu", strategy, precision: 64, maxEpochs: 4, callbacks, ...SILENT });
}
/** Weights after training; the batches of all processes together are those of one. */
async function train(make: () => Callback, world: number): Promise<number[][]> {
  const dataset = data();
  manualSeed(2);
  const net = new Net();
  const loader = new DataLoader(dataset, { batchSize: 8 / world });
  await trainerOf(make(), world).fit(net, { trainDataloaders: loader });
  return net.parameters().map((p) => p.flatten().tolist() as number[]);
}
async function asOneProcess(make: () => Callback): Promise<void> {
  const world = dist.getWorldSize();
  const mine = await train(make, world);
  for (const other of dist.allGatherObject(mine)) assert.deepEqual(other, mine);
  if (dist.getRank() === 0) {
    const one = await train(make, 1);
    mine.forEach((values, i) =>
      values.forEach((value, j) => {
        const expected = one[i]?.[j] ?? NaN;
        assert.ok(Math.abs(value - expected) < 1e-12, `${i} ${j}: ${value}, not ${expected}`);
      }),
    );
  }
  dist.barrier();
}
const coded = (code: string) => (error: unknown) => error instanceof NbitError && error.code === code;

const cases: Record<string, RankCase> = {
  "what is unfrozen is trained by all": () =>
    asOneProcess(() => new BackboneFinetuning({ unfreezeBackboneAtEpoch: 1 })),
  averages: () => asOneProcess(() => new EMAWeightAveraging({ decay: 0.8 })),
  "stochastic weight averaging": () => asOneProcess(() => new StochasticWeightAveraging(0.02, 2, 2)),
  pruning: () =>
    asOneProcess(() => new ModelPruning("l1_unstructured", { amount: 0.3, useLotteryTicketHypothesis: false })),
  "a learning rate is the same for all": async () => {
    const net = new Net();
    const dataset = data();
    const { log } = console;
    console.log = () => undefined;
    const loader = new DataLoader(dataset, { batchSize: 4, shuffle: true });
    const finder = await new Tuner(trainerOf([], 2)).lrFind(net, {
      trainDataloaders: loader,
      numTraining: 30,
      minLr: 1e-3,
    });
    console.log = log;
    for (const other of dist.allGatherObject([net.lr, finder?.results]))
      assert.deepEqual(other, [net.lr, finder?.results]);
    assert.notEqual(net.lr, 0.05);
  },
  "a batch size is for one process": async () => {
    await assert.rejects(new Tuner(trainerOf([], 2)).scaleBatchSize(new Net()), coded("ERR_BATCH_SIZE_FINDER"));
    const trainer = trainerOf(new BatchSizeFinder(), 2);
    await assert.rejects(trainer.fit(new Net()), coded("ERR_BATCH_SIZE_FINDER"));
  },
  "each writes its own predictions": async () => {
    const mine: number[] = [];
    class Writer extends BasePredictionWriter {
      override writeOnBatchEnd(
        _trainer: unknown,
        _module: unknown,
        _prediction: unknown,
        indices: readonly number[] | null,
      ): void {
        mine.push(...(indices ?? []));
      }
    }
    await trainerOf(new Writer(), 2).predict(new Net(), { dataloaders: new DataLoader(data(), { batchSize: 4 }) });
    const all = dist.allGatherObject(mine).flat();
    assert.deepEqual(
      [...all].sort((a, b) => a - b),
      Array.from({ length: 32 }, (_, i) => i),
    );
  },
  "parameters that are shared out are refused": () => {
    const strategy = new FSDPStrategy(device("cpu"));
    for (const callback of [
      new EMAWeightAveraging(),
      new BackboneFinetuning(),
      new ModelPruning("l1_unstructured"),
      new StochasticWeightAveraging(0.1),
    ])
      assert.throws(() => callback.setup({ strategy } as never, new Net(), "fit"), coded("ERR_CALLBACK_STRATEGY"));
  },
};
testRanks(import.meta.url, 2, cases);
