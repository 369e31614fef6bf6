import assert from "node:assert/strict";
import { test } from "node:test";
import { LightningModule, LossScaleMonitor, ProgressBar, Trainer } from "@nbit/lightning";
import type { TrainerOptions } from "@nbit/lightning";
import { nn, optim, randn, seedEverything, setNumThreads } from "@nbit/torch";
import type { Tensor } from "@nbit/torch";
import { MetricRows, QUIET, warningsOf } from "../helpers/training.js";

setNumThreads(1);
const OPTIONS: TrainerOptions = { ...QUIET, maxEpochs: 1, precision: 16, logEveryNSteps: 2 };

/** In batches 1 and 2 the gradient of `second` alone is multiplied beyond float16 and float32. */
class Net extends LightningModule {
  readonly first = new nn.Linear(4, 4);
  readonly second = new nn.Linear(4, 1, { bias: false });
  readonly #bad: readonly number[];
  constructor(bad: readonly number[]) {
    super();
    this.#bad = bad;
  }
  override trainingStep(batch: Tensor, batchIdx: number): Tensor {
    const hidden = this.first.forward(batch);
    const y = this.second.forward(this.#bad.includes(batchIdx) ? hidden.detach().float().mul(1e4) : hidden).float();
    return this.#bad.includes(batchIdx) ? y.mul(1e4).sum() : y.square().mean();
  }
  override configureOptimizers(): optim.Optimizer {
    return new optim.SGD(this.parameters(), { lr: 1e-3 });
  }
}
const batches = (n: number): Tensor[] => Array.from({ length: n }, () => randn([4, 4]));

test("scale and skipped steps reach the loggers at log steps, with the parameters that overflowed", async () => {
  seedEverything(0);
  const monitor = new LossScaleMonitor();
  const logger = new MetricRows();
  let shown = "";
  const stream = { write: (text: string) => ((shown += text), true) };
  await new Trainer({
    ...OPTIONS,
    logger,
    enableProgressBar: true,
    callbacks: [monitor, new ProgressBar({ stream })],
  }).fit(new Net([1, 2]), { trainDataloaders: batches(6) });
  assert.deepEqual(monitor.overflows, [
    { step: 2, lossScale: 65536, nonFinite: ["second.weight"] },
    { step: 3, lossScale: 32768, nonFinite: ["second.weight"] },
  ]);
  assert.deepEqual(
    logger.rows.filter((r) => "loss_scale" in r.metrics),
    [
      { step: 1, metrics: { loss_scale: 32768, skipped_steps: 1, skipped_share: 0.5 } },
      { step: 3, metrics: { loss_scale: 16384, skipped_steps: 2, skipped_share: 0.5 } },
      { step: 5, metrics: { loss_scale: 16384, skipped_steps: 2, skipped_share: 2 / 6 } },
    ],
  );
  assert.match(shown, /skipped 2 \(second\.weight\)/);
});

test("a run without overflow records no parameters, and a precision without a scaler logs nothing", async () => {
  seedEverything(0);
  for (const precision of [16, "bf16"] as const) {
    const monitor = new LossScaleMonitor();
    const logger = new MetricRows();
    await new Trainer({ ...OPTIONS, precision, logger, callbacks: monitor }).fit(new Net([]), {
      trainDataloaders: batches(4),
    });
    assert.deepEqual(monitor.overflows, []);
    assert.equal(
      logger.rows.some((r) => "loss_scale" in r.metrics),
      precision === 16,
    );
  }
});

test("LossScaleMonitor warns once when the scale gets low", async () => {
  seedEverything(0);
  const monitor = new LossScaleMonitor({ warnBelow: 65536 });
  const given = await warningsOf(() =>
    new Trainer({ ...OPTIONS, callbacks: monitor }).fit(new Net([1, 2]), { trainDataloaders: batches(6) }),
  );
  const warnings = given.filter((w) => w.code === "WARN_LOSS_SCALE_LOW").map((w) => w.message);
  assert.deepEqual(warnings, [
    'LossScaleMonitor: the loss scale fell to 32768; gradients overflow in second.weight. Small gradients vanish at this scale: look at these layers, or use precision: "bf16".',
  ]);
  assert.throws(() => new LossScaleMonitor({ warnBelow: -1 }), {
    message: "LossScaleMonitor: expected warnBelow to be a number ≥ 0. Received: -1.",
  });
});
