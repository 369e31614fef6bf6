/** Callbacks that write, watch, and are made of functions. */
import assert from "node:assert/strict";
import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import {
  BasePredictionWriter,
  Callback,
  Checkpoint,
  InterruptError,
  LambdaCallback,
  LightningModule,
  ModelCheckpoint,
  ModelSummary,
  OnExceptionCheckpoint,
  ProgressBar,
  RichModelSummary,
  RichProgressBar,
  SpikeDetection,
  TQDMProgressBar,
  Trainer,
  TrainingSpikeException,
  type SpikeDetectionOptions,
  type TrainerView,
} from "@nbit/lightning";
import { DataLoader, NbitError, nn, optim, Tensor, tensor, zeros } from "@nbit/torch";
import { camel } from "../helpers/camel.js";
import { temporaryFolder } from "../helpers/temporary-folder.js";
import { QUIET } from "../helpers/training.js";
import { data, fit, FIXTURE, loaders, Net, trainerOf, weights } from "./callback-net.js";

const coded =
  (code: string, message = /./) =>
  (error: unknown) => {
    assert.ok(error instanceof NbitError, String(error));
    assert.equal(error.code, code, error.message);
    assert.match(error.message, message);
    return true;
  };

test("LambdaCallback calls functions as hooks, and refuses what is none", async () => {
  const calls: string[] = [];
  const note = (name: string) => (): void => void calls.push(name);
  const hooks = new LambdaCallback({
    setup: note("setup"),
    onTrainEpochEnd: (trainer) => void calls.push(`epoch ${trainer.currentEpoch}`),
    onTrainEnd: async () => {
      await Promise.resolve();
      calls.push("end");
    },
    teardown: note("teardown"),
  });
  await fit(hooks, new Net(), { maxEpochs: 2 });
  assert.deepEqual(calls, ["setup", "epoch 0", "epoch 1", "end", "teardown"]);
  assert.throws(
    () => new LambdaCallback({ onTrainend: note("") } as never),
    coded("ERR_LAMBDA_CALLBACK", /onTrainEnd/),
  );
  assert.throws(() => new LambdaCallback({ onTrainEnd: 1 } as never), coded("ERR_LAMBDA_CALLBACK", /a function/));
});

class Writer extends BasePredictionWriter {
  readonly batches: unknown[] = [];
  epoch: unknown = null;
  override writeOnBatchEnd(
    _trainer: TrainerView,
    _module: LightningModule,
    prediction: unknown,
    indices: readonly number[] | null,
    _batch: unknown,
    batchIdx: number,
    dataloaderIdx: number,
  ): void {
    this.batches.push([(prediction as Tensor).size(0), indices, batchIdx, dataloaderIdx]);
  }
  override writeOnEpochEnd(
    _trainer: TrainerView,
    _module: LightningModule,
    predictions: readonly unknown[],
    indices: unknown,
  ): void {
    const sizes = (all: readonly unknown[]): unknown[] =>
      all.map((each) => (each instanceof Tensor ? each.size(0) : sizes(each as readonly unknown[])));
    this.epoch = [sizes(predictions), indices];
  }
}
class Predicts extends Net {
  override predictStep([x]: [Tensor]): Tensor {
    return this.backbone.forward(x);
  }
}
test("a prediction writer is given predictions and positions", async () => {
  const order = [[3, 1], [0, 2, 5], [4]];
  const loader = (): DataLoader<unknown, unknown> => new DataLoader(data(6) as never, { batchSampler: order }) as never;
  const run = async (writer: Writer, dataloaders: unknown, returnPredictions = true): Promise<unknown[]> =>
    trainerOf(writer).predict(new Predicts(), { dataloaders: dataloaders as never, returnPredictions });
  const both = new Writer("batch_and_epoch");
  assert.equal((await run(both, loader())).length, 3);
  assert.deepEqual(both.batches, [
    [2, [3, 1], 0, 0],
    [3, [0, 2, 5], 1, 0],
    [1, [4], 2, 0],
  ]);
  assert.deepEqual(both.epoch, [[2, 3, 1], [order]]);
  const epoch = new Writer({ writeInterval: "epoch" });
  assert.deepEqual(await run(epoch, loader(), false), []);
  assert.deepEqual([epoch.batches, epoch.epoch], [[], [[2, 3, 1], [order]]]);
  const several = new Writer("epoch");
  await run(several, [loader(), loader()]);
  assert.deepEqual(several.epoch, [
    [
      [2, 3, 1],
      [2, 3, 1],
    ],
    [order, order],
  ]);
  const workers = new Writer("batch");
  await run(workers, new DataLoader(data(6), { batchSize: 4, concurrency: 2 }));
  assert.deepEqual(workers.batches, [
    [4, [0, 1, 2, 3], 0, 0],
    [2, [4, 5], 1, 0],
  ]);
  const plain = new Writer("batch");
  await run(plain, [[zeros([2, 4], { dtype: "float64" })]]);
  assert.deepEqual(plain.batches, [[2, null, 0, 0]]);
  class Nothing extends BasePredictionWriter {}
  const lacking = trainerOf(new Nothing("epoch")).predict(new Predicts(), { dataloaders: loader() });
  await assert.rejects(lacking, coded("ERR_PREDICTION_WRITER", /Nothing: expected writeOnEpochEnd to be defined/));
  assert.throws(() => new Writer("never" as never), coded("ERR_ARGUMENT", /one of batch, epoch, batch_and_epoch/));
});

const ON = { enableCheckpointing: true } as const;
test("a checkpoint where an error ends training, which goes when all is well", async () => {
  const folder = temporaryFolder("exception");
  class Fails extends Net {
    fails = true;
    override onTrainBatchEnd(_outputs: unknown, _batch: unknown, batchIdx: number): void {
      if (this.fails && this.currentEpoch === 1 && batchIdx === 2) throw new RangeError("now");
    }
  }
  const whole = new Net();
  await fit([], whole, { maxEpochs: 3 });
  const error = console.error;
  console.error = () => undefined;
  try {
    const net = new Fails();
    await assert.rejects(fit(new OnExceptionCheckpoint(folder), net, { maxEpochs: 3, ...ON }), RangeError);
  } finally {
    console.error = error;
  }
  const path = join(folder, "on_exception.ckpt");
  assert.ok(existsSync(path));
  const part = new Net();
  const callback = new OnExceptionCheckpoint({ dirpath: folder });
  assert.equal(callback.ckptPath, path);
  await trainerOf(callback, { maxEpochs: 3, ...ON }).fit(part, { ...loaders(part), ckptPath: path });
  assert.deepEqual(weights(part), weights(whole));
  assert.equal(existsSync(path), false);
  class Early extends Net {
    override setup(): void {
      throw new RangeError("early");
    }
  }
  await assert.rejects(fit(new OnExceptionCheckpoint(folder), new Early(), ON), RangeError);
  assert.equal(existsSync(path), false);
  assert.throws(
    () => new OnExceptionCheckpoint(folder, "../a"),
    coded("ERR_ON_EXCEPTION_CHECKPOINT", /stay in dirpath/),
  );
  assert.throws(() => new OnExceptionCheckpoint(folder, ""), coded("ERR_ARGUMENT", /filename/));
  assert.ok(InterruptError);
});

class Losses extends LightningModule {
  readonly p = new nn.Parameter(zeros([1]));
  constructor(readonly losses: readonly number[]) {
    super();
  }
  override trainingStep(_batch: unknown, i: number): Tensor {
    return this.p
      .sum()
      .mul(0)
      .add(this.losses[i] ?? 0);
  }
  override configureOptimizers() {
    return new optim.SGD(this.parameters(), { lr: 0.1 });
  }
}
test("spikes are Lightning's", async () => {
  const folder = temporaryFolder("spikes");
  let n = 0;
  for (const { run, losses, how, at, bad } of FIXTURE.spikes) {
    const options = Object.fromEntries(Object.entries(how).map(([name, value]) => [camel(name), value]));
    const path = join(folder, String(n++), "skip.json");
    const spikes = new SpikeDetection({ ...(options as SpikeDetectionOptions), excludeBatchesPath: path });
    const trainer = new Trainer({ ...QUIET, maxEpochs: 1, callbacks: spikes, detectNonFinite: false });
    const values = losses.map((loss) => loss ?? NaN);
    let found: number | null = null;
    const loader = new DataLoader(
      values.map((_, i) => tensor([i])),
      { batchSize: 1 },
    );
    await trainer.fit(new Losses(values), { trainDataloaders: loader }).catch((error: unknown) => {
      assert.ok(error instanceof TrainingSpikeException, String(error));
      found = error.batchIdx;
    });
    assert.deepEqual([found, spikes.badBatches], [at, bad], `${run} ${JSON.stringify(how)}`);
    if (at !== null) assert.deepEqual(JSON.parse(readFileSync(path, "utf8")), bad);
  }
});
test("what spikes are held against goes through checkpoints", () => {
  const spikes = new SpikeDetection({ window: 3 });
  const step = (s: SpikeDetection, loss: number, i: number): void => {
    s.onTrainBatchEnd({ strategy: {} } as never, null as never, { loss }, null, i);
  };
  [1, 2, 1.5].forEach((loss, i) => step(spikes, loss, i));
  const other = new SpikeDetection({ window: 3 });
  other.loadStateDict(JSON.parse(JSON.stringify(spikes.stateDict())) as Record<string, unknown>);
  assert.deepEqual(other.stateDict(), spikes.stateDict());
  assert.throws(() => other.loadStateDict({ lastVal: "1" }), coded("CHECKPOINT_STATE", /lastVal/));
});

test("a callback that extends Checkpoint is the run's way of saving", async () => {
  const order: string[] = [];
  class Own extends Checkpoint {
    override onTrainEpochEnd(): void {
      order.push("checkpoint");
    }
  }
  class Other extends Callback {
    override onTrainEpochEnd(): void {
      order.push("other");
    }
  }
  const trainer = trainerOf([new Own(), new Other()], { enableCheckpointing: true, maxEpochs: 1 });
  assert.equal(
    trainer.callbacks.some((callback) => callback instanceof ModelCheckpoint),
    false,
  );
  const net = new Net();
  await trainer.fit(net, loaders(net));
  assert.deepEqual(order, ["other", "checkpoint"]);
  assert.ok(new ModelCheckpoint() instanceof Checkpoint);
  assert.throws(() => trainerOf(new Own(), { enableCheckpointing: false }), coded("ERR_CALLBACKS", /with a Own/));
});

test("Lightning's other names of the summary and the bar", () => {
  const trainer = new Trainer({
    logger: false,
    enableCheckpointing: false,
    callbacks: [new RichProgressBar({ refreshRate: 2 }), new RichModelSummary({ maxDepth: 2 })],
  });
  assert.equal(trainer.callbacks.length, 2);
  assert.ok(new TQDMProgressBar() instanceof ProgressBar && new RichModelSummary() instanceof ModelSummary);
  assert.throws(() => new TQDMProgressBar({ refreshRate: 20 }), coded("ERR_ARGUMENT", /refreshRate/));
  assert.throws(() => new RichProgressBar({ theme: {} } as never), coded("ERR_ARGUMENT", /theme/));
});
