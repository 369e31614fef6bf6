import assert from "node:assert/strict";
import { test } from "node:test";
import { DeviceStatsMonitor, LightningModule, Trainer } from "@nbit/lightning";
import type { DeviceStats, Metrics, TrainerOptions } from "@nbit/lightning";
import { memory, nn, optim, randn, seedEverything, setNumThreads } from "@nbit/torch";
import type { Tensor } from "@nbit/torch";
import { MetricRows, QUIET } from "../helpers/training.js";

setNumThreads(1);

/** A step holds `wide` bytes more for a moment, in the batches that are told. */
class Net extends LightningModule {
  readonly layer = new nn.Linear(8, 8);
  constructor(readonly wide: ReadonlyMap<number, number> = new Map()) {
    super();
  }
  override trainingStep(batch: Tensor, index: number): Tensor {
    const bytes = this.wide.get(index);
    if (bytes !== undefined) randn([bytes / 4]).dispose();
    return this.layer.forward(batch).square().mean();
  }
  override configureOptimizers(): optim.Optimizer {
    return new optim.SGD(this.parameters(), { lr: 1e-3 });
  }
}
const MIB = 2 ** 20;

async function stats(
  net: Net,
  count: number,
  options: TrainerOptions = {},
): Promise<{ rows: readonly { step: number; metrics: Metrics }[]; latest: DeviceStats | null; trainer: Trainer }> {
  seedEverything(0);
  const monitor = new DeviceStatsMonitor();
  const logger = new MetricRows();
  const trainer = new Trainer({ ...QUIET, logger, callbacks: [monitor], maxEpochs: 1, logEveryNSteps: 3, ...options });
  await trainer.fit(net, { trainDataloaders: Array.from({ length: count }, () => randn([4, 8])) });
  return { rows: logger.rows.filter(({ metrics }) => "memory_allocated" in metrics), latest: monitor.latest, trainer };
}

test("memory of the device reaches loggers at log steps: the step's peak, and the peak since the log step before", async () => {
  // 64 MiB in step 1, 32 MiB in step 5, which is logged, as is step 2; 16 MiB in the last, which is not.
  const { rows, latest, trainer } = await stats(
    new Net(
      new Map([
        [1, 64 * MIB],
        [5, 32 * MIB],
        [6, 16 * MIB],
      ]),
    ),
    7,
  );
  assert.deepEqual(
    rows.map((r) => r.step),
    [2, 5],
  );
  const [first, second] = rows.map((r) => r.metrics);
  assert.ok(first !== undefined && second !== undefined);
  const above = (metrics: Metrics, name: string): number =>
    Math.floor(((metrics[name] ?? NaN) - (metrics["memory_allocated"] ?? NaN)) / MIB);
  assert.deepEqual(
    [above(first, "memory_peak") >= 63, above(first, "memory_step_peak") <= 1],
    [true, true],
    JSON.stringify(first),
  );
  assert.ok(above(second, "memory_step_peak") >= 31 && above(second, "memory_step_peak") < 63, JSON.stringify(second));
  assert.equal(second["memory_peak"], second["memory_step_peak"], "the peak before the first log step is forgotten");
  assert.ok(
    (second["memory_reserved"] ?? 0) >= (second["memory_allocated"] ?? 0) && (second["memory_allocated"] ?? 0) > 0,
  );
  assert.equal(second["memory_retries"], 0);
  assert.deepEqual(latest, {
    step: 5,
    allocated: second["memory_allocated"],
    stepPeak: second["memory_step_peak"],
    peak: second["memory_peak"],
    reserved: second["memory_reserved"],
    retries: 0,
  });
  assert.equal(trainer.callbackMetrics["memory_step_peak"], second["memory_step_peak"]);
  assert.ok(memory().peakBytes - memory().bytes < 33 * MIB, "new peaks began at the log step");
});

test("the peak of a step covers all batches of its accumulation window", async () => {
  const { rows } = await stats(
    new Net(
      new Map([
        [0, 32 * MIB],
        [4, 32 * MIB],
      ]),
    ),
    8,
    { accumulateGradBatches: 2, logEveryNSteps: 2 },
  );
  assert.deepEqual(
    rows.map((r) => r.step),
    [1, 3],
  );
  const [first, second] = rows.map((r) => r.metrics);
  const gap = (m: Metrics | undefined): number =>
    ((m?.["memory_peak"] ?? NaN) - (m?.["memory_step_peak"] ?? NaN)) / MIB;
  assert.ok(gap(first) > 30, "the wide batch was in the window before");
  const wideInside = await stats(new Net(new Map([[2, 32 * MIB]])), 4, { accumulateGradBatches: 2, logEveryNSteps: 2 });
  assert.equal(gap(wideInside.rows[0]?.metrics), 0, "the wide batch opened the window");
  assert.ok(gap(second) > 30);
});

test("DeviceStatsMonitor without a logger is an error", async () => {
  await assert.rejects(stats(new Net(), 2, { logger: false }), {
    code: "ERR_DEVICE_STATS",
    message: /^DeviceStatsMonitor: expected a Trainer with a logger\. Received: "?logger: false"?\./,
  });
});
