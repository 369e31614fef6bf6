import assert from "node:assert/strict";
import { test } from "node:test";
import { cuda, DataLoader, optim, randint, TensorDataset, type Tensor } from "@nbit/torch";
import {
  Callback,
  Logger,
  MixedPrecision,
  Trainer,
  type LightningModule,
  type OptimizerConfiguration,
  type TrainerOptions,
  type TrainerView,
} from "@nbit/lightning";
import { SILENT } from "../helpers/training.js";
import { options, SmallGpt, train } from "./support.js";

const EVERY = 10;

/** From the sixth step on, whatever makes the host wait for the device is an error; except where loggers read. */
class NoWaiting extends Callback {
  guarded = 0;
  constructor(readonly epochLength: number) {
    super();
  }
  #steps = 0;
  override onTrainBatchStart(): void {
    if (this.#steps++ < 5) return;
    cuda.setSyncDebugMode("error");
    this.guarded++;
  }
  override onTrainBatchEnd(
    trainer: TrainerView,
    _: LightningModule,
    __: unknown,
    ___: unknown,
    batchIdx: number,
  ): void {
    // Loss, scale and metrics are read for the loggers after this, and an epoch's at its end.
    if (trainer.globalStep % EVERY === 0 || batchIdx + 1 === this.epochLength) cuda.setSyncDebugMode("default");
  }
  override onTrainEnd(): void {
    cuda.setSyncDebugMode("default");
  }
  override onException(): void {
    cuda.setSyncDebugMode("default");
  }
}

/** What loggers were given, and when. */
class Recorder extends Logger {
  readonly name = "recorder";
  readonly version = "0";
  readonly steps: number[] = [];
  override logMetrics(metrics: Readonly<Record<string, number>>, step: number): void {
    if ("loss_step" in metrics) this.steps.push(step);
  }
  override logHyperparams(): void {}
}

class Scheduled extends SmallGpt {
  override configureOptimizers(): OptimizerConfiguration {
    const optimizer = new optim.AdamW(this.parameters(), { lr: 3e-3, fused: true });
    return { optimizer, lrScheduler: { scheduler: new optim.CosineAnnealingLR(optimizer, 100), interval: "step" } };
  }
}

const cases: readonly (readonly [string, TrainerOptions])[] = [
  ["32", { precision: 32 }],
  ["bf16, clipped", { precision: "bf16", gradientClipVal: 1 }],
  ["16 with its scaler, clipped", { precision: 16, gradientClipVal: 1 }],
  ["16, accumulating", { precision: 16, accumulateGradBatches: 2 }],
  [
    "16 with cached casts, accumulating",
    { plugins: new MixedPrecision({ cacheWeightCasts: true }), accumulateGradBatches: 2 },
  ],
  [
    "bf16 with cached casts, as one CUDA graph",
    { plugins: new MixedPrecision({ precision: "bf16-mixed", cacheWeightCasts: true }), cudaGraph: true },
  ],
  [
    "16 with cached casts, accumulating, as CUDA graphs",
    {
      plugins: new MixedPrecision({ cacheWeightCasts: true }),
      gradientClipVal: 1,
      accumulateGradBatches: 2,
      cudaGraph: true,
    },
  ],
  ["16, as one CUDA graph", { precision: 16, gradientClipVal: 1, cudaGraph: true }],
];

for (const [name, settings] of cases)
  test(
    `a steady step of the Trainer does not synchronize; loss, scale and metrics are read at log steps: ${name}`,
    options,
    async () => {
      const guard = new NoWaiting(40);
      const recorder = new Recorder();
      const { losses, trainer } = await train(() => new Scheduled(), SmallGpt.batches(40), {
        ...settings,
        callbacks: [guard],
        logger: recorder,
        logEveryNSteps: EVERY,
      });
      assert.equal(guard.guarded, 35);
      assert.equal(losses.length, 40);
      if (settings.cudaGraph === true)
        assert.ok(trainer.replayedBatches >= 36, `${trainer.replayedBatches} batches were replayed`);
      assert.deepEqual(recorder.steps, settings.accumulateGradBatches === 2 ? [9, 19] : [9, 19, 29, 39]);
    },
  );

test("batches from a loader with pinned memory reach the device without waiting", options, async () => {
  const x = randint(64, [64, 16]);
  const loader = new DataLoader(new TensorDataset(x, x.roll(-1, 1)), { batchSize: 8, shuffle: true, pinMemory: true });
  const guard = new NoWaiting(8);
  const trainer = new Trainer({ accelerator: "gpu", maxEpochs: 3, precision: "bf16", ...SILENT, callbacks: [guard] });
  for (const [a, b] of loader as Iterable<readonly [Tensor, Tensor]>) assert.ok(a.isPinned() && b.isPinned());
  await trainer.fit(new SmallGpt(), { trainDataloaders: loader });
  assert.equal(guard.guarded, 19);
});
