import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { figuresOf, readRunLog, renderReport } from "@nbit/dashboard";
import type { Run } from "@nbit/dashboard";
import { CSVLogger, LightningModule, MixedPrecision, RunLog, Trainer } from "@nbit/lightning";
import type { TrainerOptions } from "@nbit/lightning";
import { DataLoader, mseLoss, nn, optim, randn, seedEverything, TensorDataset } from "@nbit/torch";
import type { Tensor } from "@nbit/torch";
import { temporaryFolder } from "../helpers/temporary-folder.js";
import { QUIET } from "../helpers/training.js";

/** What the Trainer writes is what the report reads: one run through both. */

type Batch = [Tensor, Tensor];
const root = temporaryFolder("run-log");

class Line extends LightningModule {
  layer = new nn.Linear(4, 1);
  override trainingStep([x, y]: Batch): Tensor {
    const loss = mseLoss(this.layer.forward(x), y);
    this.log("loss", loss, { onStep: true, onEpoch: true });
    return loss;
  }
  override validationStep([x, y]: Batch): void {
    this.log("val_loss", mseLoss(this.layer.forward(x), y));
  }
  override testStep([x, y]: Batch): void {
    this.log("test_acc", mseLoss(this.layer.forward(x), y).lt(1e9).float());
  }
  override configureOptimizers() {
    return new optim.SGD(this.parameters(), { lr: 0.01 });
  }
}

const loader = (): DataLoader<Batch> => {
  const x = randn(80, 4);
  return new DataLoader(new TensorDataset(x, x.sum([1], { keepdim: true })), { batchSize: 8 });
};

async function runOf(options: TrainerOptions, name: string, given?: LightningModule): Promise<Run> {
  seedEverything(3); // before the model is made: its weights come from it, too
  const model = given ?? new Line();
  const path = join(root, `${name}.jsonl`);
  const trainer = new Trainer({ ...QUIET, maxEpochs: 2, ...options, callbacks: new RunLog({ path, everyNSteps: 1 }) });
  try {
    await trainer.fit(model, { trainDataloaders: loader(), valDataloaders: loader() });
    await trainer.test(model, { dataloaders: loader() });
  } catch (error) {
    if (!(error instanceof Error && error.message === "on purpose")) throw error;
  }
  return readRunLog(path);
}

test("a float32 run: every step, both epochs, validation, test, end", async () => {
  const run = await runOf({ precision: 32 }, "full");
  assert.equal(run.precision, "32-true");
  assert.equal(run.model, "Line");
  assert.equal(run.parameters, 5);
  assert.deepEqual(
    run.steps.map((s) => s.step),
    Array.from({ length: 20 }, (_, i) => i + 1),
  );
  assert.deepEqual(
    run.steps.map((s) => Object.keys(s.metrics)),
    Array.from({ length: 20 }, () => ["loss"]),
    "the step's own metric, under its plain name",
  );
  assert.ok((run.steps.at(-1)?.metrics["loss"] ?? 9) < (run.steps[0]?.metrics["loss"] ?? 0));
  assert.deepEqual(
    run.epochs.map((e) => [e.epoch, e.step, e.batches, e.samples]),
    [
      [0, 10, 10, 80],
      [1, 20, 10, 80],
    ],
  );
  assert.deepEqual(
    run.evaluations.map((e) => [e.stage, e.step, Object.keys(e.metrics)]),
    [
      ["validate", 10, ["val_loss"]],
      ["validate", 20, ["val_loss"]],
      ["test", 20, ["test_acc"]],
    ],
  );
  assert.equal(run.end?.status, "success");
  assert.deepEqual([run.scales, run.skips], [[], []]);
  const figures = figuresOf(run, run);
  assert.equal(figures.accuracy, 1);
  assert.ok((figures.peakMemory ?? 0) > 0 && (figures.samplesPerSecond ?? 0) > 0 && figures.speed === 1);
});

test("a float16 run whose scale starts too high: skips, their parameters, and the scale that follows", async () => {
  const run = await runOf({ plugins: new MixedPrecision({ scaler: { initScale: 2 ** 24 } }) }, "half");
  assert.equal(run.precision, "16-mixed");
  const skipped = run.skips.length;
  assert.ok(skipped > 0 && skipped < 20, `${skipped} skipped`);
  assert.equal(run.end?.skippedSteps, skipped);
  run.skips.forEach((skip, i) => {
    // From the first step on; a later batch with larger gradients may overflow once more.
    assert.ok(
      i === 0 ? skip.step === 1 : skip.step > (run.skips[i - 1]?.step ?? Infinity),
      `skip ${i} at step ${skip.step}`,
    );
    assert.equal(skip.lossScale, 2 ** (24 - i));
    assert.ok(
      skip.nonFinite.length > 0 && skip.nonFinite.every((name) => ["layer.weight", "layer.bias"].includes(name)),
      skip.nonFinite.join(),
    );
  });
  assert.deepEqual(
    run.scales.map((s) => s.value),
    Array.from({ length: skipped }, (_, i) => 2 ** (23 - i)),
  );
  const page = renderReport({ title: "half", runs: [run] });
  assert.equal(page.match(/class="mark"/g)?.length, skipped);
});

test("the log of a failed run has its status and all earlier records", async () => {
  class Failing extends Line {
    override trainingStep(batch: Batch): Tensor {
      if (this.globalStep === 13) throw new Error("on purpose");
      return super.trainingStep(batch);
    }
  }
  const run = await runOf({ precision: 32 }, "failed", new Failing());
  assert.equal(run.steps.length, 13);
  assert.deepEqual([run.end?.status, run.end?.step], ["failed", 13]);
  assert.match(renderReport({ title: "failed", runs: [run] }), /float32 · failed/);
});

test("accumulation: one record per optimizer step, samples of all batches", async () => {
  const run = await runOf({ precision: 32, accumulateGradBatches: 4 }, "accumulated");
  assert.deepEqual(
    run.steps.map((s) => s.step),
    [1, 2, 3, 4, 5, 6],
  );
  assert.deepEqual(
    run.epochs.map((e) => e.samples),
    [80, 80],
  );
});

test("the log lies beside the CSV by default", async () => {
  const logger = new CSVLogger(root, { name: "beside" });
  const log = new RunLog();
  const trainer = new Trainer({ ...QUIET, maxEpochs: 1, logger, logEveryNSteps: 5, callbacks: log });
  await trainer.fit(new Line(), { trainDataloaders: loader(), valDataloaders: loader() });
  assert.equal(log.path, join(root, "beside", "version_0", "run.jsonl"));
  assert.deepEqual(
    readRunLog(log.path).steps.map((s) => s.step),
    [1, 5, 10],
  );
  const [header = "", ...rows] = readFileSync(join(logger.logDir, "metrics.csv"), "utf8").trim().split("\n");
  assert.deepEqual(header.split(","), ["epoch", "loss_epoch", "loss_step", "step", "val_loss"]);
  assert.equal(rows.length, 4, "two steps, one validation, one epoch");
});
