/** `explain()` forecasts memory before the first step; what training then holds is measured in bytes. */
import assert from "node:assert/strict";
import { beforeEach, test } from "node:test";
import { Adam4bit, AdamFp8, AdamW32bit, AdamW8bit, Lion8bit } from "@nbit/lowbit";
import {
  ApexPrecision,
  DoublePrecision,
  FullPrecision,
  HalfPrecision,
  LightningModule,
  MixedPrecision,
  Trainer,
} from "@nbit/lightning";
import type { Explanation, Precision } from "@nbit/lightning";
import { isTensor, manualSeed, memory, nn, optim, randn, relu, setNumThreads } from "@nbit/torch";
import type { Tensor } from "@nbit/torch";
import { collectGarbage } from "../helpers/collect-garbage.js";
import { QUIET } from "../helpers/training.js";

setNumThreads(1); // tiny tensors
beforeEach(() => void manualSeed(1));

const PLUGINS: readonly (readonly [string, () => Precision])[] = [
  ["32-true", () => new FullPrecision()],
  ["64-true", () => new DoublePrecision()],
  ["16-mixed", () => new MixedPrecision({ scaler: { initScale: 16 } })],
  ["bf16-mixed", () => new MixedPrecision({ precision: "bf16-mixed" })],
  ["16-true", () => new HalfPrecision("16-true")],
  ["bf16-true", () => new HalfPrecision("bf16-true")],
  ["apex O0", () => new ApexPrecision({ optLevel: "O0" })],
  ["apex O1", () => new ApexPrecision({ optLevel: "O1", lossScale: 16 })],
  ["apex O2", () => new ApexPrecision({ optLevel: "O2", lossScale: 16 })],
  ["apex O2 without masters", () => new ApexPrecision({ optLevel: "O2", lossScale: 16, masterWeights: false })],
  ["apex O3", () => new ApexPrecision({ optLevel: "O3" })],
];
const OPTIMIZERS: readonly (readonly [string, (params: Tensor[]) => optim.Optimizer])[] = [
  ["AdamW", (p) => new optim.AdamW(p, { lr: 1e-3, eps: 1e-4 })],
  ["Adam with amsgrad", (p) => new optim.Adam(p, { lr: 1e-3, eps: 1e-4, amsgrad: true })],
  ["SGD with momentum", (p) => new optim.SGD(p, { lr: 0.01, momentum: 0.9 })],
  ["SGD", (p) => new optim.SGD(p, { lr: 0.01 })],
  ["AdamW with Kahan summation", (p) => new optim.AdamW(p, { lr: 1e-3, eps: 1e-4, rounding: "kahan" })],
  ["SGD with Kahan summation", (p) => new optim.SGD(p, { lr: 0.01, rounding: "kahan" })],
];

class Net extends LightningModule {
  readonly hidden = new nn.Linear(64, 128);
  readonly norm = new nn.BatchNorm1d(128);
  readonly head = new nn.Linear(128, 64);
  forecast: Explanation | null = null;

  constructor(readonly make: (params: Tensor[]) => optim.Optimizer) {
    super();
    this.head.bias?.requiresGrad_(false); // a frozen one
  }
  override forward(x: Tensor): Tensor {
    return this.head.forward(relu(this.norm.forward(this.hidden.forward(x))));
  }
  override trainingStep(batch: Tensor): Tensor {
    return this.forward(batch).float().square().mean();
  }
  override configureOptimizers(): optim.Optimizer {
    return this.make([...this.parameters()]);
  }
}

/**
 * Bytes of everything that a trainer holds between two steps: each tensor of module, gradients, masters and state,
 * once.
 */
function held(trainer: Trainer, net: Net): number {
  const tensors = new Set<Tensor>();
  const [optimizer] = trainer.optimizers;
  assert.ok(optimizer !== undefined);
  for (const p of new Set<Tensor>([...net.parameters(), ...optimizer.paramGroups.flatMap((g) => g.params)])) {
    tensors.add(p);
    if (p.grad !== null) tensors.add(p.grad);
  }
  for (const state of optimizer.state.values())
    for (const [name, value] of Object.entries(state))
      if (isTensor(value) && !name.startsWith("qmap")) tensors.add(value);
  return [...tensors].reduce((sum, t) => sum + t.nbytes, 0);
}

const near = (forecast: number, measured: number): void =>
  assert.ok(Math.abs(forecast - measured) <= 0.05 * measured, `${forecast} forecast, ${measured} measured`);
const OPTIONS = { ...QUIET, maxEpochs: 1 } as const;

for (const [name, plugin] of PLUGINS) {
  test(`the forecast of memory, made before training, is within 5 % of what is held after: ${name}`, async () => {
    for (const [label, make] of OPTIMIZERS) {
      const net = new Net(make);
      const trainer = new Trainer({ ...OPTIONS, plugins: plugin() });
      const { memory: forecast } = trainer.precision.explain({
        module: net,
        optimizers: [net.configureOptimizers()],
        print: false,
      });
      assert.ok(forecast !== null);
      assert.equal(
        forecast.total,
        forecast.parameters + forecast.masters + forecast.gradients + forecast.optimizerState,
      );
      await trainer.fit(net, { trainDataloaders: [randn([8, 64])] });
      assert.equal(trainer.skippedSteps, 0, label);
      near(forecast.total, held(trainer, net));
      // The same forecast while the masters are in place.
      assert.deepEqual(trainer.precision.explain({ print: false }).memory, forecast, label);
    }
  });
}

test("8-bit state is forecast in its own bytes", async () => {
  for (const make of [
    (p: Tensor[]) => new AdamW8bit(p, { lr: 1e-3 }),
    (p: Tensor[]) => new Lion8bit(p, { lr: 1e-3 }),
  ]) {
    const net = new Net(make);
    const trainer = new Trainer({ ...OPTIONS, precision: 32 });
    const { memory: forecast } = trainer.precision.explain({
      module: net,
      optimizers: [net.configureOptimizers()],
      print: false,
    });
    assert.ok(forecast !== null && forecast.optimizerState < 0.6 * forecast.parameters);
    await trainer.fit(net, { trainDataloaders: [randn([8, 64])] });
    near(forecast.total, held(trainer, net));
  }
});

test("the compensation of Kahan rounding is forecast before the module is converted", async () => {
  const net = new Net((p) => new AdamW8bit(p, { lr: 1e-3, rounding: "kahan" }));
  const trainer = new Trainer({ ...OPTIONS, precision: "bf16-true" });
  const { memory: forecast } = trainer.precision.explain({
    module: net,
    optimizers: [net.configureOptimizers()],
    print: false,
  });
  assert.ok(forecast !== null);
  await trainer.fit(net, { trainDataloaders: [randn([8, 64])] });
  near(forecast.total, held(trainer, net));
  assert.deepEqual(trainer.precision.explain({ print: false }).memory, forecast);
});

test("the table says how state is kept", () => {
  const row = (make: (params: Tensor[]) => optim.Optimizer, more: optim.Optimizer[] = []): string => {
    const net = new Net(make);
    const explanation = new Trainer({ ...OPTIONS, precision: "bf16-true" }).precision.explain({
      module: net,
      optimizers: [net.configureOptimizers(), ...more],
      print: false,
    });
    return /^optimizer state +(.*)$/m.exec(explanation.toString())?.[1] ?? "";
  };
  assert.equal(
    row((p) => new AdamW8bit(p)),
    "8-bit dynamic, blocks of 256; float32 for 4 of 6 parameters",
  );
  assert.equal(
    row((p) => new AdamW8bit(p, { min8bitSize: 1, blockSize: 64 })),
    "8-bit dynamic, blocks of 64",
  );
  assert.equal(
    row((p) => new Adam4bit(p, { min8bitSize: 1 })),
    "4-bit dynamic and linear, blocks of 128",
  );
  assert.equal(
    row((p) => new AdamFp8(p, { min8bitSize: 1 })),
    "float8 e4m3, blocks of 256",
  );
  assert.equal(
    row((p) => new AdamW32bit(p)),
    "float32",
  );
  assert.equal(
    row((p) => new optim.AdamW(p)),
    "bfloat16",
  );
  assert.equal(
    row((p) => new Lion8bit(p, { min8bitSize: 1 }), [new optim.SGD([new nn.Parameter(randn([2]))])]),
    "8-bit dynamic, blocks of 256; bfloat16",
  );
});

test("the forecast agrees with what the allocator holds", async () => {
  await collectGarbage(); // what earlier tests left outside scopes
  const before = memory().bytes;
  const net = new Net((p) => new optim.AdamW(p));
  const batch = randn([8, 64]);
  const trainer = new Trainer({ ...OPTIONS, precision: 32 });
  await trainer.fit(net, { trainDataloaders: [batch] });
  const { memory: forecast } = trainer.precision.explain({ print: false });
  assert.ok(forecast !== null);
  await collectGarbage();
  near(forecast.total, memory().bytes - before - batch.nbytes);
  assert.ok(!batch.disposed);
});

test("the table names masters where there are some", () => {
  const net = new Net((p) => new optim.AdamW(p));
  const table = (precision: Precision): string =>
    new Trainer({ ...OPTIONS, plugins: precision }).precision
      .explain({ module: net, optimizers: [net.configureOptimizers()], print: false })
      .toString();
  assert.match(
    table(new ApexPrecision({ optLevel: "O2" })),
    /^memory +[\d.]+ KiB: parameters [\d.]+ KiB, masters [\d.]+ KiB, gradients [\d.]+ KiB, optimizer state [\d.]+ KiB; activations come on top$/m,
  );
  assert.doesNotMatch(table(new FullPrecision()), /masters/);
});
