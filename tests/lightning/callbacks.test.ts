import assert from "node:assert/strict";
import { readdirSync } from "node:fs";
import { basename, join } from "node:path";
import { beforeEach, test } from "node:test";
import {
  Callback,
  EarlyStopping,
  GradientAccumulationScheduler,
  LearningRateMonitor,
  type LightningModule,
  ModelCheckpoint,
  readCheckpoint,
  Timer,
  Trainer,
} from "@nbit/lightning";
import type { ModelCheckpointOptions, TrainerOptions, TrainerView } from "@nbit/lightning";
import { manualSeed, optim, randn, setNumThreads } from "@nbit/torch";
import type { Tensor } from "@nbit/torch";
import { Line } from "../helpers/modules.js";
import { temporaryFolder } from "../helpers/temporary-folder.js";
import { MetricRows, QUIET } from "../helpers/training.js";

setNumThreads(1); // tiny tensors
beforeEach(() => void manualSeed(1)); // batches and weights are the same in every run

const folder = temporaryFolder("callbacks");

/** Logs a given value per epoch, as if it were a validation loss. */
/** With losses of validation as given, one per epoch. */
class Net extends Line {
  constructor(readonly valLosses: readonly number[] = []) {
    super();
  }
  override validationStep(): void {
    this.log("val_loss", this.valLosses[this.currentEpoch] ?? 0, { batchSize: 1 });
  }
}

const SAVING: TrainerOptions = { ...QUIET, enableCheckpointing: true, defaultRootDir: folder };
const batches = (n: number): Tensor[] => Array.from({ length: n }, () => randn([4, 2]));

async function files(
  name: string,
  options: ModelCheckpointOptions,
  trainer: TrainerOptions,
  net: LightningModule,
  validates = true,
): Promise<{ names: string[]; saver: ModelCheckpoint }> {
  const dirpath = join(folder, name);
  const saver = new ModelCheckpoint({ dirpath, ...options });
  await new Trainer({ ...SAVING, ...trainer, callbacks: [saver] }).fit(net, {
    trainDataloaders: batches(4),
    ...(validates ? { valDataloaders: batches(1) } : {}),
  });
  return { names: readdirSync(dirpath).sort(), saver };
}

test("ModelCheckpoint keeps the best k by a metric, and names files by a template", async () => {
  const { names, saver } = await files(
    "best",
    { monitor: "val_loss", saveTopK: 2, filename: "{epoch:02d}-{val_loss:.2f}" },
    { maxEpochs: 5 },
    new Net([0.5, 0.125, 0.75, 0.25, NaN]),
  );
  assert.deepEqual(
    names,
    ["epoch=01-val_loss=0.13.ckpt", "epoch=03-val_loss=0.25.ckpt"].map((n) => n.replace("0.13", (0.125).toFixed(2))),
  );
  assert.equal(saver.bestModelScore, 0.125);
  assert.ok(basename(saver.bestModelPath).startsWith("epoch=01"));
  assert.equal(readCheckpoint(saver.bestModelPath).epoch, 1);
});

test("ModelCheckpoint keeps the largest with mode max, all with saveTopK -1, only the last with saveTopK 0", async () => {
  assert.deepEqual(
    (await files("max", { monitor: "val_loss", mode: "max" }, { maxEpochs: 3 }, new Net([1, 3, 2]))).names,
    ["epoch=1-step=8.ckpt"],
  );
  assert.deepEqual(
    (
      await files(
        "all",
        { saveTopK: -1, autoInsertMetricName: false, filename: "e{epoch}" },
        { maxEpochs: 3 },
        new Net(),
      )
    ).names,
    ["e0.ckpt", "e1.ckpt", "e2.ckpt"],
  );
  assert.deepEqual((await files("last", { saveTopK: 0, saveLast: true }, { maxEpochs: 3 }, new Net())).names, [
    "last.ckpt",
  ]);
});

test("ModelCheckpoint saves every n steps or every n epochs, and keeps the newest without a metric", async () => {
  assert.deepEqual(
    (await files("steps", { everyNTrainSteps: 3, saveTopK: -1 }, { maxEpochs: 2 }, new Net(), false)).names,
    ["epoch=0-step=3.ckpt", "epoch=1-step=6.ckpt"],
  );
  assert.deepEqual(
    (await files("epochs", { everyNEpochs: 2, saveLast: true }, { maxEpochs: 5 }, new Net(), false)).names,
    ["epoch=3-step=16.ckpt", "last.ckpt"],
  );
});

test("monitoring a metric that was not logged is an error that lists the logged ones", async () => {
  await assert.rejects(files("missing", { monitor: "acc" }, { maxEpochs: 1 }, new Net([1])), {
    code: "ERR_MONITOR",
    message: /the metric "acc"\. Received: the metrics val_loss/,
  });
});

test("saveOnException saves a failing run, and existing files are not overwritten", async () => {
  class Failing extends Net {
    override trainingStep(batch: Tensor, batchIdx: number): Tensor | null {
      if (this.globalStep === 2) throw new Error("on purpose");
      return super.trainingStep(batch, batchIdx);
    }
  }
  for (let i = 0; i < 2; i++)
    await assert.rejects(
      files("failed", { saveOnException: true, filename: "x" }, { maxEpochs: 1 }, new Failing(), false),
      { message: "on purpose" },
    );
  // Each run is another one: none takes the place of what it did not write.
  assert.deepEqual(readdirSync(join(folder, "failed")).sort(), ["x-v1.ckpt", "x.ckpt"]);
  await files("failed", { filename: "x" }, { maxEpochs: 1 }, new Net(), false);
  assert.deepEqual(readdirSync(join(folder, "failed")).sort(), ["x-v1.ckpt", "x-v2.ckpt", "x.ckpt"]);
});

test('ckptPath "best" and "last" load the best and the last checkpoint', async () => {
  const saver = new ModelCheckpoint({ dirpath: join(folder, "names"), monitor: "val_loss", saveLast: true });
  const trainer = new Trainer({ ...SAVING, maxEpochs: 3, callbacks: [saver] });
  const net = new Net([2, 1, 3]);
  await trainer.fit(net, { trainDataloaders: batches(2), valDataloaders: batches(1) });
  const last = net.layer.weight.detach().tolist();
  await trainer.validate(net, { dataloaders: batches(1), ckptPath: "best" });
  assert.notDeepEqual(net.layer.weight.detach().tolist(), last);
  assert.equal(trainer.ckptPath, saver.bestModelPath);
  await trainer.validate(net, { dataloaders: batches(1), ckptPath: "last" });
  assert.equal(readCheckpoint(saver.lastModelPath).globalStep, 6);
});

test("EarlyStopping stops by patience, threshold, divergence and NaN, not before the minimum of epochs", async () => {
  const run = async (
    options: Partial<ConstructorParameters<typeof EarlyStopping>[0]>,
    values: readonly number[],
    trainer: TrainerOptions = {},
  ): Promise<string> => {
    const stopping = new EarlyStopping({ monitor: "val_loss", verbose: false, ...options });
    const t = new Trainer({ ...QUIET, defaultRootDir: folder, maxEpochs: 8, callbacks: [stopping], ...trainer });
    await t.fit(new Net(values), { trainDataloaders: batches(1), valDataloaders: batches(1) });
    return `${t.currentEpoch} ${stopping.stoppingReason}`;
  };
  assert.equal(await run({ patience: 2 }, [3, 2, 2.5, 2.5, 2.5]), "4 patience");
  assert.equal(await run({ patience: 2, minDelta: 0.5 }, [3, 2.9, 2.8, 2.7]), "3 patience");
  assert.equal(await run({ patience: 2, mode: "max" }, [1, 2, 3, 2, 2]), "5 patience");
  assert.equal(await run({ stoppingThreshold: 1 }, [3, 2, 0.5]), "3 threshold");
  assert.equal(await run({ divergenceThreshold: 5 }, [3, 6]), "2 diverged");
  assert.equal(await run({}, [3, NaN]), "2 non_finite");
  assert.equal(await run({ patience: 1 }, [1, 2, 2, 2], { minEpochs: 4 }), "4 patience");
});

test("LearningRateMonitor names rates by scheduler, optimizer class and group", async () => {
  class Scheduled extends Net {
    override configureOptimizers(): never {
      const [weight, bias] = this.layer.parameters();
      assert.ok(weight !== undefined && bias !== undefined);
      const optimizer = new optim.AdamW([
        { params: [weight], lr: 0.4 },
        { params: [bias], lr: 0.2, name: "bias" },
      ]);
      return [[optimizer], [{ scheduler: new optim.StepLR(optimizer, 1, 0.5), interval: "step" }]] as never;
    }
  }
  const logger = new MetricRows();
  await new Trainer({
    ...QUIET,
    defaultRootDir: folder,
    logger,
    logEveryNSteps: 2,
    maxEpochs: 1,
    callbacks: [new LearningRateMonitor({ logMomentum: true, logWeightDecay: true })],
  }).fit(new Scheduled(), { trainDataloaders: batches(4) });
  const row = (lr: number): unknown => ({
    "lr-AdamW/pg1": lr,
    "lr-AdamW/pg1-momentum": 0.9,
    "lr-AdamW/pg1-weight_decay": 0.01,
    "lr-AdamW/bias": lr / 2,
    "lr-AdamW/bias-momentum": 0.9,
    "lr-AdamW/bias-weight_decay": 0.01,
  });
  assert.deepEqual(
    logger.rows.map(({ step, metrics }) => [step, { ...metrics }]),
    [
      [1, row(0.2)],
      [3, row(0.05)],
    ],
  );
  await assert.rejects(
    new Trainer({ ...QUIET, defaultRootDir: folder, maxEpochs: 1, callbacks: [new LearningRateMonitor()] }).fit(
      new Net(),
      { trainDataloaders: batches(1) },
    ),
    { code: "ERR_LR_MONITOR" },
  );
});

test("GradientAccumulationScheduler changes the number of batches per step by epoch", async () => {
  const steps: number[] = [];
  class Counter extends Callback {
    override onTrainEpochEnd(trainer: TrainerView): void {
      steps.push(trainer.globalStep);
    }
  }
  await new Trainer({
    ...QUIET,
    defaultRootDir: folder,
    maxEpochs: 3,
    callbacks: [new GradientAccumulationScheduler({ 0: 4, 2: 1 }), new Counter()],
  }).fit(new Net(), { trainDataloaders: batches(4) });
  assert.deepEqual(steps, [1, 2, 6]);
  assert.throws(() => new GradientAccumulationScheduler({ 0: 0 }), { code: "ERR_ACCUMULATION" });
});

test("Timer ends training, and counts the time of earlier runs", async () => {
  const timer = new Timer({ duration: { seconds: 0 } });
  const trainer = new Trainer({ ...QUIET, defaultRootDir: folder, maxEpochs: 100, callbacks: [timer] });
  await trainer.fit(new Net(), { trainDataloaders: batches(50) });
  assert.equal(trainer.globalStep, 0);
  const bounded = new Trainer({ ...QUIET, defaultRootDir: folder, maxTime: "00:00:00:00" });
  await bounded.fit(new Net(), { trainDataloaders: batches(2) });
  assert.equal(bounded.maxEpochs, -1);
  const other = new Timer();
  other.loadStateDict({ seconds: 12 });
  assert.equal(other.timeElapsed(), 12);
  assert.equal(other.timeRemaining(), null);
});
