/** What the Trainer tells, and options of callbacks that no other test gives: by Lightning's names, with its meaning. */
import assert from "node:assert/strict";
import { existsSync } from "node:fs";
import { join } from "node:path";
import { beforeEach, test } from "node:test";
import {
  BackboneFinetuning,
  Callback,
  EarlyStopping,
  GradientAccumulationScheduler,
  LearningRateFinder,
  LearningRateMonitor,
  LightningModule,
  Logger,
  ModelPruning,
  Trainer,
  type Metrics,
  type TrainerOptions,
  type TrainerView,
} from "@nbit/lightning";
import { DataLoader, manualSeed, nn, optim, randn, setNumThreads, type Tensor } from "@nbit/torch";
import { temporaryFolder } from "../helpers/temporary-folder.js";
import { QUIET } from "../helpers/training.js";

setNumThreads(1);
beforeEach(() => void manualSeed(1));

class Net extends LightningModule {
  learningRate = 0.01;
  readonly backbone = new nn.Linear(2, 2);
  readonly head = new nn.Linear(2, 1);
  override trainingStep(x: Tensor): Tensor {
    const loss = this.head.forward(this.backbone.forward(x)).square().mean();
    this.log("loss", loss);
    return loss;
  }
  override validationStep(x: Tensor, _idx: number, _dataloaderIdx = 0): void {
    this.log("val", x.mean(), { addDataloaderIdx: true });
  }
  override testStep(x: Tensor): void {
    this.log("test", x.mean());
  }
  override predictStep(x: Tensor): Tensor {
    return this.backbone.forward(x);
  }
  override configureOptimizers(): optim.Optimizer {
    return new optim.SGD([...this.head.parameters()], { lr: this.learningRate });
  }
}
const batches = (n: number): Tensor[] => Array.from({ length: n }, () => randn([3, 2]));
const loader = (n: number): DataLoader<Tensor, Tensor> => new DataLoader(batches(n), { batchSize: null });
const OPTIONS: TrainerOptions = { ...QUIET, maxEpochs: 2, logEveryNSteps: 1, numSanityValSteps: 1 };

test("a Trainer tells how many batches, which stage and which module there are, while it runs", async () => {
  const seen: Record<string, unknown> = {};
  class Look extends Callback {
    override onSanityCheckStart(trainer: TrainerView): void {
      seen["sanity"] = [trainer.numSanityValBatches, trainer.sanityChecking];
    }
    override onTrainStart(trainer: TrainerView): void {
      seen["fit"] = [trainer.numTrainingBatches, trainer.numValBatches, trainer.estimatedSteppingBatches];
      seen["who"] = [trainer.enableValidation, trainer.isGlobalZero, trainer.training];
    }
    override onTestStart(trainer: TrainerView): void {
      seen["test"] = [trainer.numTestBatches, trainer.testing];
    }
    override onPredictStart(trainer: TrainerView): void {
      seen["predict"] = [trainer.numPredictBatches, trainer.predicting];
    }
  }
  const module = new Net();
  const trainer = new Trainer({ ...OPTIONS, callbacks: [new Look()] });
  await trainer.fit(module, { trainDataloaders: batches(5), valDataloaders: [loader(2), loader(3)] });
  assert.ok("val/dataloader_idx_1" in trainer.callbackMetrics, "both loaders have logged");
  await trainer.test(module, { dataloaders: batches(4) });
  await trainer.predict(module, { dataloaders: batches(6) });
  assert.deepEqual(seen, {
    sanity: [[1, 1], true],
    fit: [5, [2, 3], 10],
    who: [true, true, true],
    test: [[4], true],
    predict: [[6], true],
  });
  assert.equal(trainer.lightningModule, module);
  assert.deepEqual([trainer.predicting, trainer.testing], [false, false]);
});

test("loggedMetrics are what loggers were given, and a checkpoint stands where filepath says", async () => {
  class Last extends Logger {
    readonly name = "last";
    readonly version = 0;
    row: Metrics = {};
    override logMetrics(metrics: Metrics): void {
      this.row = metrics;
    }
    override logHyperparams(): void {}
  }
  const logger = new Last();
  const trainer = new Trainer({ ...OPTIONS, logger, maxEpochs: 1 });
  await trainer.fit(new Net(), { trainDataloaders: batches(2) });
  assert.equal(trainer.loggedMetrics["loss"], logger.row["loss"]);
  const filepath = join(temporaryFolder("members"), "here.nbit");
  trainer.saveCheckpoint(filepath);
  assert.ok(existsSync(filepath));
});

test("checkFinite says whether a number that is none ends training", async () => {
  class Broken extends Net {
    override validationStep(): void {
      this.log("val", NaN);
    }
  }
  for (const checkFinite of [true, false]) {
    const trainer = new Trainer({
      ...OPTIONS,
      maxEpochs: 3,
      numSanityValSteps: 0,
      callbacks: [new EarlyStopping({ monitor: "val", checkFinite, patience: 10 })],
    });
    await trainer.fit(new Broken(), { trainDataloaders: batches(1), valDataloaders: batches(1) });
    assert.equal(trainer.currentEpoch, checkFinite ? 1 : 3);
  }
});

test("scheduling says by epoch how many batches make a step; loggingInterval when rates are logged", async () => {
  const rows: [step: number, lr: number][] = [];
  class Rates extends Logger {
    readonly name = "rates";
    readonly version = 0;
    override logMetrics(metrics: Metrics, step: number): void {
      const lr = metrics["lr-SGD"];
      if (lr !== undefined) rows.push([step, lr]);
    }
    override logHyperparams(): void {}
  }
  const scheduling = { 0: 1, 1: 4 };
  const trainer = new Trainer({
    ...OPTIONS,
    logger: new Rates(),
    callbacks: [new GradientAccumulationScheduler(scheduling), new LearningRateMonitor({ loggingInterval: "epoch" })],
  });
  await trainer.fit(new Net(), { trainDataloaders: batches(4) });
  assert.equal(trainer.globalStep, 4 + 1);
  assert.deepEqual(
    rows.map(([, lr]) => lr),
    [0.01, 0.01],
  );
});

test("a thawed backbone begins with the first group's rate over initialDenomLr", async () => {
  const thaw = new BackboneFinetuning({ unfreezeBackboneAtEpoch: 1, initialDenomLr: 4, shouldAlign: false });
  const trainer = new Trainer({ ...OPTIONS, callbacks: [thaw] });
  const module = new Net();
  await trainer.fit(module, { trainDataloaders: batches(2) });
  const [head, backbone] = trainer.optimizers[0]?.paramGroups ?? [];
  assert.ok(head !== undefined && backbone !== undefined);
  assert.ok(backbone.lr > 0 && backbone.lr !== head.lr, `${backbone.lr} beside ${head.lr}`);
});

test("attrName is where a found rate goes; pruneOnTrainEpochEnd says when weights go", async () => {
  const module = new Net();
  const finder = new LearningRateFinder({ numTrainingSteps: 20, attrName: "learningRate", updateAttr: true });
  await new Trainer({ ...OPTIONS, maxEpochs: 1, callbacks: [finder] }).fit(module, { trainDataloaders: batches(30) });
  assert.notEqual(module.learningRate, 0.01);

  for (const pruneOnTrainEpochEnd of [true, false]) {
    const pruned = new Net();
    const pruning = new ModelPruning({ pruningFn: "l1_unstructured", amount: 0.5, pruneOnTrainEpochEnd });
    await new Trainer({ ...OPTIONS, maxEpochs: 1, callbacks: [pruning] }).fit(pruned, { trainDataloaders: batches(2) });
    const zeros = pruned.backbone.weight.eq(0).sum().item() + pruned.head.weight.eq(0).sum().item();
    assert.equal(zeros > 0, pruneOnTrainEpochEnd, "without validation nothing else prunes");
  }
});
