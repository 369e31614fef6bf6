import assert from "node:assert/strict";
import { test } from "node:test";
import { LightningModule, measureFlops, Throughput, ThroughputMonitor, Trainer } from "@nbit/lightning";
import { nn, ones, optim, setNumThreads } from "@nbit/torch";
import type { Tensor } from "@nbit/torch";
import { MetricRows, QUIET, warningsOf } from "../helpers/training.js";

setNumThreads(1);

test("figures are Lightning's, once the window is full", () => {
  const t = new Throughput({ availableFlops: 1e3, windowSize: 3 });
  t.update({ time: 1, batches: 1, samples: 3, lengths: 8, flops: 10 });
  t.update({ time: 3, batches: 2, samples: 6, lengths: 16, flops: 20 });
  assert.deepEqual(t.compute(), { time: 3, batches: 2, samples: 6, lengths: 16 });
  t.update({ time: 5, batches: 3, samples: 10, lengths: 24, flops: 40 });
  assert.deepEqual(t.compute(), {
    time: 5,
    batches: 3,
    samples: 10,
    lengths: 24,
    "device/batches_per_sec": 0.5,
    "device/samples_per_sec": 1.75,
    "device/items_per_sec": 4,
    "device/flops_per_sec": 15,
    "device/mfu": 0.015,
  });
  t.update({ time: 6, batches: 4, samples: 11, lengths: 25, flops: 40 });
  assert.equal(t.compute()["device/batches_per_sec"], 2 / 3);
  t.reset();
  assert.throws(() => t.compute(), { code: "ERR_ARGUMENT" });
});

test("several devices have global figures, and separators are as asked", () => {
  const t = new Throughput({ windowSize: 2, worldSize: 4, separator: "." });
  t.update({ time: 1, batches: 1, samples: 1, flops: 3 });
  t.update({ time: 2, batches: 3, samples: 5, flops: 3 });
  assert.deepEqual(t.compute(), {
    time: 2,
    batches: 3,
    samples: 5,
    "device.batches_per_sec": 2,
    batches_per_sec: 8,
    "device.samples_per_sec": 4,
    samples_per_sec: 16,
    "device.flops_per_sec": 3,
    flops_per_sec: 12,
  });
});

test("totals that do not grow are refused, and change nothing", () => {
  const t = new Throughput({ windowSize: 2 });
  t.update({ time: 1, batches: 1, samples: 2, lengths: 4 });
  for (const wrong of [
    { time: 1, batches: 2, samples: 3, lengths: 5 },
    { time: 2, batches: 1, samples: 3, lengths: 5 },
    { time: 2, batches: 2, samples: 2, lengths: 5 },
    { time: 2, batches: 4, samples: 3, lengths: 5 },
    { time: 2, batches: 2, samples: 5, lengths: 4 },
  ])
    assert.throws(() => t.update(wrong), { code: "ERR_ARGUMENT" });
  assert.deepEqual(t.compute(), { time: 1, batches: 1, samples: 2, lengths: 4 });
  assert.throws(() => new Throughput({ windowSize: 1 }), { code: "ERR_ARGUMENT" });
});

class Net extends LightningModule {
  readonly layer = new nn.Linear(3, 2);
  flopsPerBatch: number | undefined = undefined;
  override trainingStep(x: Tensor): Tensor {
    return this.layer.forward(x).mean();
  }
  override validationStep(x: Tensor): void {
    this.layer.forward(x);
  }
  override configureOptimizers(): optim.Optimizer {
    return new optim.SGD(this.parameters(), { lr: 0.1 });
  }
}
const batches = Array.from({ length: 6 }, () => ones([4, 3]));

test("the monitor logs rates by stage at log steps", async () => {
  const net = new Net();
  net.flopsPerBatch = measureFlops(
    net,
    () => net.layer.forward(ones([4, 3])),
    (y) => y.sum(),
  );
  assert.equal(net.flopsPerBatch, 48 + 48);
  const logger = new MetricRows();
  const monitor = new ThroughputMonitor({
    batchSizeFn: (x) => (x as Tensor).size(0),
    lengthFn: (x) => (x as Tensor).numel(),
    windowSize: 2,
    availableFlops: 1e9,
  });
  const trainer = new Trainer({
    ...QUIET,
    logger,
    callbacks: monitor,
    maxEpochs: 1,
    logEveryNSteps: 2,
    accumulateGradBatches: 1,
  });
  await trainer.fit(net, { trainDataloaders: batches, valDataloaders: batches.slice(0, 3) });
  const rows = logger.rows.filter(({ metrics }) => metrics["train/batches"] !== undefined);
  assert.deepEqual(
    rows.map(({ metrics }) => metrics["train/batches"]),
    [2, 4, 6],
  );
  const last = rows.at(-1)?.metrics ?? {};
  assert.equal(last["train/samples"], 24);
  assert.equal(last["train/lengths"], 72);
  const rate = last["train/device/batches_per_sec"] ?? 0;
  assert.ok(rate > 0);
  const close = (a: number | undefined, b: number): void => assert.ok(Math.abs((a ?? NaN) / b - 1) < 1e-9, `${a} ${b}`);
  close(last["train/device/samples_per_sec"], rate * 4);
  close(last["train/device/items_per_sec"], rate * 12);
  close(last["train/device/flops_per_sec"], rate * 96);
  close(last["train/device/mfu"], (rate * 96) / 1e9);
  assert.ok(logger.rows.some(({ metrics }) => metrics["validate/device/samples_per_sec"] !== undefined));
  assert.equal(monitor.latest("validate")?.["samples"], 12);
});

test("what it lacks is said", async () => {
  const monitor = (): ThroughputMonitor => new ThroughputMonitor({ batchSizeFn: (x) => (x as Tensor).size(0) });
  const warnings = await warningsOf(async () => {
    const logger = new MetricRows();
    await new Trainer({ ...QUIET, logger, callbacks: monitor(), maxEpochs: 1 }).fit(new Net(), {
      trainDataloaders: batches,
    });
  });
  assert.equal(warnings.filter(({ code }) => code === "WARN_FLOPS_PER_BATCH").length, 1);
  await assert.rejects(
    new Trainer({ ...QUIET, callbacks: monitor(), maxEpochs: 1 }).fit(new Net(), { trainDataloaders: batches }),
    { code: "ERR_THROUGHPUT" },
  );
  assert.throws(() => new ThroughputMonitor({} as never), { code: "ERR_ARGUMENT" });
});
