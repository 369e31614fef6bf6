/** Metrics of @nbit/metrics through `log`: exact over uneven batches, per step and epoch, across a resume and a replay. */
import assert from "node:assert/strict";
import { join } from "node:path";
import { beforeEach, test } from "node:test";
import { Callback, LightningModule, Logger, Trainer, type Metrics, type TrainerOptions } from "@nbit/lightning";
import { MeanMetric, MetricCollection, MulticlassAccuracy, MulticlassF1Score } from "@nbit/metrics";
import { manualSeed, nn, optim, randint, randn, scope, setNumThreads, type Tensor } from "@nbit/torch";
import { temporaryFolder } from "../helpers/temporary-folder.js";
import { QUIET } from "../helpers/training.js";

setNumThreads(1);
beforeEach(() => void manualSeed(1));

class Rows extends Logger {
  readonly name = "rows";
  readonly version = 0;
  readonly rows: (Record<string, number> & { at: number })[] = [];
  override logMetrics(metrics: Metrics, step: number): void {
    this.rows.push({ ...metrics, at: step });
  }
  override logHyperparams(): void {}
}

class Classifier extends LightningModule {
  readonly layer = new nn.Linear(4, 3);
  readonly trainAccuracy = new MulticlassAccuracy(3, { average: "micro" });
  readonly seen = new MeanMetric();
  readonly valMetrics = new MetricCollection(
    { accuracy: new MulticlassAccuracy(3, { average: "macro" }), f1: new MulticlassF1Score(3) },
    { prefix: "val_" },
  );
  override trainingStep([x, y]: [Tensor, Tensor]): Tensor {
    const logits = this.layer.forward(x);
    this.trainAccuracy.forward(logits.detach(), y);
    this.log("accuracy", this.trainAccuracy, { onStep: true, onEpoch: true });
    this.seen.update(x);
    this.log("seen", this.seen, { onStep: false, onEpoch: true });
    return nn.functional.crossEntropy(logits, y);
  }
  override validationStep([x, y]: [Tensor, Tensor]): void {
    this.valMetrics.update(this.layer.forward(x), y);
    this.logDict(this.valMetrics);
  }
  override configureOptimizers(): optim.Optimizer {
    return new optim.SGD(this.parameters(), { lr: 0.1 });
  }
}
const batches = (sizes: readonly number[]): [Tensor, Tensor][] => sizes.map((n) => [randn([n, 4]), randint(0, 3, [n])]);
const OPTIONS: TrainerOptions = { ...QUIET, maxEpochs: 2, logEveryNSteps: 1, numSanityValSteps: 0 };

async function fit(options: TrainerOptions): Promise<Rows> {
  const logger = new Rows();
  manualSeed(4);
  const data = batches([7, 2, 5]);
  const trainer = new Trainer({ ...OPTIONS, logger, ...options });
  await trainer.fit(new Classifier(), { trainDataloaders: data, valDataloaders: batches([4, 1, 6]) });
  return logger;
}

test("values of steps are those of batches, those of epochs of all samples, whatever the sizes of batches", async () => {
  const { rows } = await fit({});
  const steps = rows.filter((row) => "accuracy_step" in row).map((row) => row["accuracy_step"] as number);
  const epochs = rows.filter((row) => "accuracy_epoch" in row).map((row) => row["accuracy_epoch"] as number);
  assert.deepEqual([steps.length, epochs.length], [6, 2]);
  [0, 1].forEach((epoch) => {
    const [a, b, c] = steps.slice(3 * epoch, 3 * epoch + 3) as [number, number, number];
    assert.ok(Math.abs((epochs[epoch] as number) - (7 * a + 2 * b + 5 * c) / 14) < 1e-6);
  });
  assert.equal(rows.filter((row) => "val_accuracy" in row && "val_f1" in row).length, 2);
  assert.equal(rows.filter((row) => "seen" in row).length, 2);
});

test("validation's metrics begin anew each time, and are those of one pass over all samples", async () => {
  const data = batches([4, 1, 6]);
  const module = new Classifier();
  const trainer = new Trainer({ ...OPTIONS, logger: false });
  const [first] = await trainer.validate(module, { dataloaders: data });
  const [second] = await trainer.validate(module, { dataloaders: data });
  assert.deepEqual(first, second);
  scope(() => {
    const whole = new MulticlassF1Score(3);
    for (const [x, y] of data) whole.update(module.layer.forward(x), y);
    assert.equal(first?.["val_f1"], whole.compute().item());
  });
});

test("replayed steps count as eager ones do", async () => {
  const eager = await fit({ replay: false });
  const replayed = await fit({ replay: true });
  assert.deepEqual(replayed.rows, eager.rows);
});

test("a fit that is resumed within an epoch logs what it would have logged", async () => {
  const root = temporaryFolder("metric-objects");
  const path = join(root, "middle.nbit");
  class Save extends Callback {
    override onTrainBatchEnd(
      trainer: Trainer,
      _module: LightningModule,
      _out: unknown,
      _batch: unknown,
      batchIdx: number,
    ): void {
      if (batchIdx === 1 && trainer.currentEpoch === 1) trainer.saveCheckpoint(path);
    }
  }
  const straight = await fit({ callbacks: [new Save() as never] });
  manualSeed(4);
  const data = batches([7, 2, 5]);
  const resumed = new Rows();
  await new Trainer({ ...OPTIONS, logger: resumed }).fit(new Classifier(), {
    trainDataloaders: data,
    valDataloaders: batches([1]),
    ckptPath: path,
  });
  const last = (rows: Rows["rows"]): unknown => rows.findLast((row) => "accuracy_epoch" in row);
  assert.deepEqual(last(resumed.rows), last(straight.rows));
});

test("a metric that is no field, or was not called for its step, is named", async () => {
  class Loose extends Classifier {
    override trainingStep([x]: [Tensor, Tensor]): Tensor {
      this.log("loose", new MeanMetric());
      return this.layer.forward(x).mean();
    }
  }
  class Uncalled extends Classifier {
    override trainingStep([x]: [Tensor, Tensor]): Tensor {
      this.seen.update(x);
      this.log("seen", this.seen);
      return this.layer.forward(x).mean();
    }
  }
  const run = (module: LightningModule): Promise<unknown> =>
    new Trainer({ ...OPTIONS, logger: false }).fit(module, { trainDataloaders: batches([2]) });
  await assert.rejects(run(new Loose()), { code: "ERR_LOG_METRIC" });
  await assert.rejects(run(new Uncalled()), /onStep: false, onEpoch: true/);
});
