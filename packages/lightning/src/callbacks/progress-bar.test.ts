import assert from "node:assert/strict";
import { test } from "node:test";
import { DataLoader, mseLoss, nn, optim, randn, TensorDataset } from "@nbit/torch";
import type { Tensor } from "@nbit/torch";
import { LightningModule } from "../module.js";
import { Trainer } from "../trainer.js";
import type { TrainerOptions } from "../trainer-options.js";
import { Log, Screen } from "../ui/testing/screen.js";
import { Callback } from "./callback.js";
import { ProgressBar } from "./progress-bar.js";

delete process.env["CI"]; // a terminal is pretended here, wherever the tests run

type Batch = [Tensor, Tensor];

class Line extends LightningModule {
  layer = new nn.Linear(4, 1);
  override trainingStep([x, y]: Batch): Tensor {
    const loss = mseLoss(this.layer.forward(x), y);
    this.log("loss", loss, { progBar: true });
    this.log("hidden", loss);
    return loss;
  }
  override validationStep([x, y]: Batch): void {
    this.log("val_loss", mseLoss(this.layer.forward(x), y), { progBar: true });
  }
  override testStep([x, y]: Batch): void {
    this.log("test_loss", mseLoss(this.layer.forward(x), y), { progBar: true });
  }
  override configureOptimizers() {
    return new optim.SGD(this.parameters(), { lr: 0.01 });
  }
}

/** 10 batches, of 8 samples but for the last of 4. */
function loader(): DataLoader<Batch> {
  return new DataLoader(new TensorDataset(randn(76, 4), randn(76, 1)), { batchSize: 8 });
}

const QUIET: TrainerOptions = {
  accelerator: "cpu",
  logger: false,
  enableCheckpointing: false,
  enableModelSummary: false,
};

test("a terminal keeps one line per epoch, and nothing of the live line", async () => {
  const screen = new Screen(160);
  const trainer = new Trainer({
    ...QUIET,
    precision: 16,
    maxEpochs: 2,
    callbacks: new ProgressBar({ stream: screen, unit: "samples" }),
  });
  const model = new Line();
  // Gradients of this size overflow at a scale of 65536: the first steps are skipped.
  model.layer.weight.requiresGrad_(false).fill_(10).requiresGrad_(true);
  await trainer.fit(model, { trainDataloaders: loader(), valDataloaders: loader() });
  await trainer.test(model, { dataloaders: loader() });
  assert.equal(screen.lines.length, 4, screen.lines.join("\n"));
  for (const epoch of [0, 1]) {
    const line = screen.lines[epoch] ?? "";
    assert.match(
      line,
      new RegExp(
        `^Epoch ${epoch + 1}/2 done {2}10 batches in .*samples/s {2}.*loss [\\d.]+.*val_loss [\\d.]+.*scale [\\d,]+ {2}skipped \\d+$`,
      ),
    );
    assert.doesNotMatch(line, /hidden/);
  }
  assert.match(screen.lines[2] ?? "", /^Test done {2}10 batches in .* test_loss [\d.]+$/);
  assert.equal(screen.lines[3], "");
});

test("a single batch is counted in the singular", async () => {
  const screen = new Screen(160);
  await new Trainer({
    ...QUIET,
    maxEpochs: 1,
    limitTrainBatches: 1,
    callbacks: new ProgressBar({ stream: screen }),
  }).fit(new Line(), { trainDataloaders: loader() });
  assert.match(screen.lines[0] ?? "", /^Epoch 1\/1 done {2}1 batch in /);
});

test("the live line shows bar, counts and the time left", async () => {
  const seen: string[] = [];
  const screen = new Screen(160);
  const write = screen.write.bind(screen);
  screen.write = (text) => {
    write(text);
    seen.push(screen.lines.at(-1) ?? "");
    return true;
  };
  await new Trainer({ ...QUIET, maxEpochs: 1, callbacks: new ProgressBar({ stream: screen }) }).fit(new Line(), {
    trainDataloaders: loader(),
  });
  const first =
    seen.find((line) => line.startsWith("Epoch 1/1  ━")) ?? seen.find((line) => line.startsWith("Epoch 1/1  ─"));
  assert.match(
    first ?? seen.join("\n"),
    /^Epoch 1\/1 {2}[━╸─]{32} {3}1\/10 {3}10% {2}.* it\/s {2}eta 0:0\d {2}loss [\d.]+$/,
  );
});

test("after an error the bar shows where training stopped, and the line is complete", async () => {
  class Failing extends Line {
    override trainingStep(batch: Batch): Tensor {
      if (this.trainer.globalStep === 3) throw new Error("on purpose");
      return super.trainingStep(batch);
    }
  }
  const screen = new Screen(100);
  const original = screen.write;
  const fit = new Trainer({ ...QUIET, maxEpochs: 1, callbacks: new ProgressBar({ stream: screen }) }).fit(
    new Failing(),
    { trainDataloaders: loader() },
  );
  await assert.rejects(fit, /on purpose/);
  assert.deepEqual(screen.lines, ["Epoch 1/1 stopped   3/10", ""]);
  assert.equal(screen.write, original);
});

test("metrics are read for a redraw, not in every step", async () => {
  let reads = 0;
  const screen = new Screen(100);
  class Counting extends Callback {
    override onTrainBatchStart(trainer: object): void {
      if (Object.hasOwn(trainer, "progressBarMetrics")) return;
      const metrics = (): Readonly<Record<string, number>> => {
        reads++;
        return { loss: 1 };
      };
      Object.defineProperty(trainer, "progressBarMetrics", { get: metrics, configurable: true });
    }
  }
  const many = new DataLoader(new TensorDataset(randn(2000, 4), randn(2000, 1)), { batchSize: 1 });
  await new Trainer({
    ...QUIET,
    maxEpochs: 1,
    callbacks: [new Counting(), new ProgressBar({ stream: screen, refreshRate: 0.001 })],
  }).fit(new Line(), { trainDataloaders: many });
  assert.equal(reads, 2, "the first step, and the line that stays");
});

test("without a terminal: plain lines, no escape sequences", async () => {
  const log = new Log();
  await new Trainer({ ...QUIET, maxEpochs: 2, callbacks: new ProgressBar({ stream: log }) }).fit(new Line(), {
    trainDataloaders: loader(),
    valDataloaders: loader(),
  });
  const lines = log.text.split("\n");
  assert.equal(lines.filter((line) => /^Epoch [12]\/2 done {2}10 batches/.test(line)).length, 2, log.text);
  // eslint-disable-next-line no-control-regex -- looking for escape sequences
  assert.doesNotMatch(log.text, /[\x1b\r]/);
});

test("a loader without a length counts without a bar", async () => {
  const screen = new Screen(100);
  const stream = {
    *[Symbol.iterator]() {
      for (let i = 0; i < 5; i++) yield [randn(8, 4), randn(8, 1)];
    },
  };
  await new Trainer({ ...QUIET, maxEpochs: 1, callbacks: new ProgressBar({ stream: screen }) }).fit(new Line(), {
    trainDataloaders: stream,
  });
  assert.match(screen.lines[0] ?? "", /^Epoch 1\/1 done {2}5 batches/);
});

test("a refresh rate above ten is refused", () => {
  assert.throws(() => new ProgressBar({ refreshRate: 50 }), {
    message: "ProgressBar: expected refreshRate to be a number in (0, 10]. Received: 50.",
  });
});
