/**
 * Cached casts, the memory monitor and the loss scale's floor on the GPU. tests/lightning has the same on the CPU, bit
 * for bit.
 */
import assert from "node:assert/strict";
import { test } from "node:test";
import { cuda, nn, optim, randn, type Tensor } from "@nbit/torch";
import {
  DeviceStatsMonitor,
  LightningModule,
  Logger,
  MixedPrecision,
  NonFiniteError,
  Trainer,
  type TrainerOptions,
} from "@nbit/lightning";
import { SILENT } from "../helpers/training.js";
import { on, options, SmallGpt, SmallResNet, train } from "./support.js";

const kept = (precision: "16-mixed" | "bf16-mixed", cacheWeightCasts: boolean): TrainerOptions => ({
  plugins: new MixedPrecision({
    precision,
    cacheWeightCasts,
    ...(precision === "16-mixed" ? { scaler: { initScale: 1024 } } : {}),
  }),
});
const close = (a: readonly number[], b: readonly number[], what: string): void => {
  assert.equal(a.length, b.length);
  a.forEach((loss, i) =>
    assert.ok(
      Math.abs(loss - (b[i] as number)) <= 5e-3 * Math.max(1, Math.abs(loss)),
      `${what}, step ${i}: ${loss} and ${b[i]}`,
    ),
  );
};

for (const precision of ["16-mixed", "bf16-mixed"] as const)
  for (const [name, make, batches] of [
    ["GPT", () => new SmallGpt(), () => SmallGpt.batches(40)],
    ["ResNet", () => new SmallResNet(), () => SmallResNet.batches(40)],
  ] as const)
    test(
      `cached casts: the same losses, accumulating and as one CUDA graph: ${name}, ${precision}`,
      options,
      async () => {
        for (const settings of [{}, { accumulateGradBatches: 4 }, { cudaGraph: true }] as const) {
          const plain = await train(make, batches(), { ...kept(precision, false), ...settings });
          const cached = await train(make, batches(), { ...kept(precision, true), ...settings });
          close(plain.losses, cached.losses, JSON.stringify(settings));
        }
      },
    );

/** Trains, and after a replay reads in JavaScript what the weights give: a cast from before the replay would show. */
class Checked extends LightningModule {
  readonly fc = new nn.Linear(16, 16);
  readonly seen: string[] = [];
  override trainingStep(x: Tensor): Tensor {
    return this.fc.forward(x).float().sub(x).square().mean();
  }
  override validationStep(x: Tensor): void {
    this.seen.push(
      `${
        this.fc
          .forward(x)
          .float()
          .sub(
            x
              .bfloat16()
              .mm(this.fc.weight.bfloat16().t())
              .add(this.fc.bias?.bfloat16() as Tensor)
              .float(),
          )
          .abs()
          .max()
          .item() < 0.05
      }`,
    );
  }
  override configureOptimizers(): optim.Optimizer {
    return new optim.SGD(this.parameters(), { lr: 1, fused: true });
  }
}
test("cached casts: validation between replays sees the weights of the replays", options, async () => {
  const x = on(randn([8, 16]));
  const module = new Checked();
  const trainer = new Trainer({
    accelerator: "gpu",
    devices: 1,
    ...SILENT,
    ...kept("bf16-mixed", true),
    cudaGraph: true,
    maxEpochs: 1,
    valCheckInterval: 5,
    numSanityValSteps: 0,
  });
  await trainer.fit(module, { trainDataloaders: Array.from({ length: 20 }, () => x), valDataloaders: [x] });
  assert.deepEqual(module.seen, ["true", "true", "true", "true"]);
});

class Silent extends Logger {
  readonly name = "silent";
  readonly version = 0;
  override logMetrics(): void {}
}
test("memory is logged at log steps, of eager steps and of replays, without synchronization", options, async () => {
  for (const cudaGraph of [false, true]) {
    const monitor = new DeviceStatsMonitor();
    await train(() => new SmallGpt(), SmallGpt.batches(20), {
      precision: "bf16",
      cudaGraph,
      callbacks: [monitor],
      logger: new Silent(),
      logEveryNSteps: 5,
    });
    const { latest } = monitor;
    assert.ok(latest !== null && latest.stepPeak !== null && latest.step === 19);
    assert.ok(
      latest.allocated > 0 &&
        latest.stepPeak >= latest.allocated &&
        latest.peak >= latest.stepPeak &&
        latest.reserved >= latest.peak,
      JSON.stringify(latest),
    );
    cuda.setSyncDebugMode("error");
    try {
      cuda.memoryStats();
      cuda.resetPeakMemoryStats();
    } finally {
      cuda.setSyncDebugMode("default");
    }
  }
});

class Broken extends LightningModule {
  readonly fc = new nn.Linear(8, 8);
  override trainingStep(x: Tensor): Tensor {
    return this.fc.forward(x).float().sub(100).sqrt().mean();
  }
  override configureOptimizers(): optim.Optimizer {
    return new optim.SGD(this.parameters(), { lr: 0.1, fused: true });
  }
}
test(
  "the loss scale's floor ends training at log steps, with the names of parameters and the place",
  options,
  async () => {
    const batches = Array.from({ length: 40 }, () => on(randn([4, 8])));
    for (const cudaGraph of [false, true]) {
      const trainer = new Trainer({
        accelerator: "gpu",
        devices: 1,
        ...SILENT,
        maxEpochs: 1,
        cudaGraph,
        logEveryNSteps: 10,
        plugins: new MixedPrecision({ scaler: { initScale: 4, minScale: 1 } }),
      });
      const error = await trainer.fit(new Broken(), { trainDataloaders: batches }).then(
        () => null,
        (e: unknown) => e,
      );
      assert.ok(error instanceof NonFiniteError && error.code === "LOSS_SCALE_FLOOR", String(error));
      assert.match(error.message, /at scale 1, of fc\.weight, fc\.bias.* in the forward of operator sqrt: /);
      assert.equal(trainer.globalStep, 11);
    }
  },
);
