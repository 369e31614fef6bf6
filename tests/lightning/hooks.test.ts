import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { beforeEach, test } from "node:test";
import { Callback, LightningModule, MixedPrecision, Trainer } from "@nbit/lightning";
import type { TrainerOptions } from "@nbit/lightning";
import { DataLoader, manualSeed, nn, optim, randn, setNumThreads } from "@nbit/torch";
import type { Tensor } from "@nbit/torch";
import { QUIET } from "../helpers/training.js";

setNumThreads(1); // tiny tensors
beforeEach(() => void manualSeed(1)); // batches and weights are the same in every run

/** Calls of a fit, in order, as Lightning makes them: made by lightning_hooks.py. */
const reference = JSON.parse(
  readFileSync(new URL("../../lightning/fixtures/lightning-hooks.json", import.meta.url), "utf8"),
) as { name: string; calls: string[] }[];

const STEPS = [
  "trainingStep",
  "validationStep",
  "testStep",
  "predictStep",
  "configureOptimizers",
  "optimizerZeroGrad",
  "backward",
  "lrSchedulerStep",
  "prepareData",
  "configureCallbacks",
  "onBeforeBatchTransfer",
  "transferBatchToDevice",
  "onAfterBatchTransfer",
  "onValidationModelZeroGrad",
];

function methodsOf(prototype: object): string[] {
  const above: unknown = Object.getPrototypeOf(prototype);
  const names = Object.getOwnPropertyNames(prototype);
  return above === nn.Module.prototype || above === Object.prototype || typeof above !== "object" || above === null
    ? names
    : [...names, ...methodsOf(above)];
}

/** Every method of `prototype` that is a hook or a step, wrapped so that it leaves its name. */
function record(object: object, prototype: object, prefix: string, calls: string[]): void {
  for (const name of methodsOf(prototype)) {
    const isHook = /^on[A-Z]/.test(name) || name === "setup" || name === "teardown" || STEPS.includes(name);
    if (!isHook || /Checkpoint$|^onException$/.test(name)) continue;
    const original: unknown = Reflect.get(object, name);
    if (typeof original !== "function") continue;
    Object.defineProperty(object, name, {
      configurable: true,
      value: (...args: unknown[]): unknown => {
        calls.push(`${prefix}.${name}`);
        return Reflect.apply(original, object, args);
      },
    });
  }
}

interface NetOptions {
  readonly manual?: boolean;
  readonly scheduler?: boolean;
  readonly loss?: (loss: Tensor, batchIdx: number) => Tensor | null;
  readonly optimizers?: number;
}

class Net extends LightningModule {
  readonly layer = new nn.Linear(4, 2);
  readonly options: NetOptions;

  constructor(options: NetOptions = {}) {
    super();
    this.options = options;
    this.automaticOptimization = options.manual !== true;
  }
  override forward(x: Tensor): Tensor {
    return this.layer.forward(x);
  }
  override trainingStep(batch: Tensor, batchIdx: number): Tensor | null {
    const loss = this.forward(batch).float().square().mean();
    if (this.options.manual === true) {
      for (const optimizer of [this.optimizers()].flat()) {
        optimizer.zeroGrad();
        this.manualBackward(this.forward(batch).float().square().mean());
        optimizer.step();
      }
      return loss;
    }
    return this.options.loss === undefined ? loss : this.options.loss(loss, batchIdx);
  }
  override validationStep(batch: Tensor): void {
    this.forward(batch);
  }
  override testStep(batch: Tensor): void {
    this.forward(batch);
  }
  override configureOptimizers() {
    const optimizers = Array.from(
      { length: this.options.optimizers ?? 1 },
      () => new optim.SGD(this.parameters(), { lr: 0.1 }),
    );
    const [first] = optimizers;
    assert.ok(first);
    return this.options.scheduler === false
      ? optimizers
      : [optimizers, [{ scheduler: new optim.StepLR(first, 1), interval: "step" }]];
  }
}

function makeTrainer(options: TrainerOptions, net: Net): { trainer: Trainer; calls: string[] } {
  const calls: string[] = [];
  const callback = new Callback();
  record(callback, Callback.prototype, "callback", calls);
  record(net, LightningModule.prototype, "module", calls);
  return { trainer: new Trainer({ ...QUIET, maxEpochs: 1, callbacks: [callback], ...options }), calls };
}

const loader = (): DataLoader<Tensor, Tensor> =>
  new DataLoader<Tensor, Tensor>(
    Array.from({ length: 20 }, () => randn([4])),
    { batchSize: 2 },
  );

for (const { name, calls: expected } of reference) {
  test(`hooks of a run are Lightning's, in its order: ${name}`, async () => {
    const manual = name === "manual";
    const accumulate = name === "accumulation" ? 4 : 1;
    const net = new Net({ manual });
    const { trainer, calls } = makeTrainer(
      {
        accumulateGradBatches: accumulate,
        numSanityValSteps: 1,
        limitTrainBatches: accumulate > 1 ? 5 : 2,
        limitValBatches: 1,
        limitTestBatches: 1,
        limitPredictBatches: 1,
      },
      net,
    );
    if (name === "validate" || name === "test" || name === "predict")
      await trainer[name](net, { dataloaders: loader() });
    else await trainer.fit(net, { trainDataloaders: loader(), valDataloaders: loader() });
    assert.deepEqual(calls, expected);
  });
}

/** The calls of the training step alone, from one batch's start to its end. */
async function stepCalls(options: TrainerOptions, net: Net, batches: number): Promise<string[]> {
  const { trainer, calls } = makeTrainer({ limitTrainBatches: batches, limitValBatches: 0, ...options }, net);
  await trainer.fit(net, { trainDataloaders: loader() });
  const inner = calls.slice(
    calls.indexOf("callback.onTrainBatchStart"),
    calls.lastIndexOf("module.onTrainBatchEnd") + 1,
  );
  return inner
    .filter((call) => call.startsWith("module."))
    .map((call) => call.slice("module.".length))
    .filter((call) => !/Batch(Transfer|ToDevice)$/.test(call));
}

/** float16 with a scale at which none of these gradients comes near 65,504. */
function atPrecision(precision: 16 | 32, initScale = 256): TrainerOptions {
  return precision === 32 ? { precision } : { plugins: new MixedPrecision({ scaler: { initScale } }) };
}

const FORWARD = ["onTrainBatchStart", "trainingStep"];
const ZERO = ["onBeforeZeroGrad", "optimizerZeroGrad"];
const BACKWARD = ["onBeforeBackward", "backward", "onAfterBackward"];

test("a null step does neither backward nor step", async () => {
  const net = new Net({ scheduler: false, loss: (loss, i) => (i === 0 ? null : loss) });
  assert.deepEqual(await stepCalls({}, net, 2), [
    ...FORWARD,
    ...ZERO,
    "onTrainBatchEnd",
    ...FORWARD,
    ...ZERO,
    ...BACKWARD,
    "onBeforeOptimizerStep",
    "onTrainBatchEnd",
  ]);
});

test("a null step inside a window leaves earlier gradients", async () => {
  const net = new Net({ scheduler: false, loss: (loss, i) => (i === 1 ? null : loss) });
  assert.deepEqual(await stepCalls({ accumulateGradBatches: 3 }, net, 3), [
    ...FORWARD,
    ...ZERO,
    ...BACKWARD,
    "onTrainBatchEnd",
    ...FORWARD,
    "onTrainBatchEnd",
    ...FORWARD,
    ...BACKWARD,
    "onBeforeOptimizerStep",
    "onTrainBatchEnd",
  ]);
});

for (const algorithm of ["norm", "value"] as const) {
  for (const precision of [32, 16] as const) {
    test(`clipping by ${algorithm} comes after onBeforeOptimizerStep and sees unscaled gradients, precision ${precision}`, async () => {
      const seen: { before: number; norm: number | undefined; after: number }[] = [];
      class Clipped extends Net {
        before = 0;
        override onBeforeOptimizerStep(): void {
          this.before = largest(this);
        }
        override onTrainBatchEnd(): void {
          seen.push({ before: this.before, norm: this.trainer.lastOutcome?.gradNorm, after: largest(this) });
        }
      }
      const net = new Clipped({ scheduler: false, loss: (loss) => loss.mul(100) });
      await stepCalls({ ...atPrecision(precision, 8), gradientClipVal: 0.5, gradientClipAlgorithm: algorithm }, net, 3);
      assert.equal(seen.length, 3);
      for (const { before, norm, after } of seen) {
        assert.ok(before > 0.5 && before < 1e3, `unscaled gradients: ${before}`);
        assert.ok(after <= 0.5 + 1e-6, `clipped: ${after}`);
        if (algorithm === "norm")
          assert.ok(norm !== undefined && norm >= before * 0.999, `norm before clipping: ${norm}`);
        else assert.equal(norm, undefined);
      }
    });
  }
}

function largest(module: LightningModule): number {
  return Math.max(
    ...module
      .parameters()
      .map((p) => p.grad?.abs().max().item() ?? 0)
      .map(Number),
  );
}

test("a batch that overflows: gradients are unscaled, the step is skipped, the scale halves, weights stay", async () => {
  const outcomes: unknown[] = [];
  const weights: number[][] = [];
  class Overflowing extends Net {
    override onTrainBatchEnd(): void {
      const { lastOutcome, skippedSteps, globalStep, lossScale } = this.trainer;
      outcomes.push({
        stepped: lastOutcome?.stepped,
        skipped: lastOutcome?.skipped,
        scale: lastOutcome?.lossScale,
        next: lossScale,
        nonFinite: lastOutcome?.nonFinite,
        skippedSteps,
        globalStep,
      });
      weights.push(Array.from(this.layer.weight.detach().toTypedArray(), Number));
    }
  }
  const net = new Overflowing({ scheduler: false, loss: (loss, i) => (i === 1 ? loss.mul(Infinity) : loss) });
  const calls = await stepCalls(atPrecision(16), net, 3);
  assert.deepEqual(outcomes, [
    { stepped: true, skipped: false, scale: 256, next: 256, nonFinite: undefined, skippedSteps: 0, globalStep: 1 },
    {
      stepped: false,
      skipped: true,
      scale: 256,
      next: 128,
      nonFinite: ["layer.weight", "layer.bias"],
      skippedSteps: 1,
      globalStep: 2,
    },
    { stepped: true, skipped: false, scale: 128, next: 128, nonFinite: undefined, skippedSteps: 1, globalStep: 3 },
  ]);
  assert.deepEqual(weights[1], weights[0]);
  assert.notDeepEqual(weights[2], weights[1]);
  const one = [...FORWARD, ...ZERO, ...BACKWARD, "onBeforeOptimizerStep", "onTrainBatchEnd"];
  assert.deepEqual(calls, [...one, ...one, ...one]);
});

for (const precision of [32, 16] as const) {
  test(`several optimizers step in one iteration, with one scaler update, precision ${precision}`, async () => {
    const scales: (number | null)[] = [];
    class Two extends Net {
      override onTrainBatchEnd(): void {
        scales.push(this.trainer.globalStep, this.trainer.lossScale);
      }
    }
    const net = new Two({ manual: true, scheduler: false, optimizers: 2 });
    const half = [...BACKWARD, "onBeforeOptimizerStep"];
    assert.deepEqual(await stepCalls(atPrecision(precision), net, 2), [
      ...FORWARD,
      ...half,
      ...half,
      "onTrainBatchEnd",
      ...FORWARD,
      ...half,
      ...half,
      "onTrainBatchEnd",
    ]);
    assert.deepEqual(scales, precision === 32 ? [2, null, 4, null] : [2, 256, 4, 256]);
  });
}

test("an asynchronous hook outside the step is awaited, inside it is an error", async () => {
  const order: string[] = [];
  class Waiting extends Net {
    override async onTrainBatchStart(): Promise<void> {
      await new Promise((resolve) => setTimeout(resolve, 1));
      order.push("start");
    }
    override trainingStep(batch: Tensor, batchIdx: number): Tensor | null {
      order.push("step");
      return super.trainingStep(batch, batchIdx);
    }
    override async onTrainBatchEnd(outputs: Record<string, unknown>): Promise<void> {
      await new Promise((resolve) => setTimeout(resolve, 1));
      order.push(`end ${Number.isFinite((outputs["loss"] as Tensor).item())}`);
    }
  }
  const net = new Waiting({ scheduler: false });
  await new Trainer({ ...QUIET, maxEpochs: 1, limitTrainBatches: 2 }).fit(net, { trainDataloaders: loader() });
  assert.deepEqual(order, ["start", "step", "end true", "start", "step", "end true"]);

  class Wrong extends Net {
    override async onAfterBackward(): Promise<void> {
      await Promise.resolve();
    }
  }
  await assert.rejects(new Trainer({ ...QUIET, maxEpochs: 1 }).fit(new Wrong(), { trainDataloaders: loader() }), {
    code: "ERR_ASYNC_HOOK",
  });
});

test("a callback that monitors comes after the module in hooks that end something", async () => {
  const calls: string[] = [];
  class Saver extends Callback {
    override get runsLast(): boolean {
      return true;
    }
    override onTrainBatchEnd(): void {
      calls.push("saver batch");
    }
    override onTrainEpochEnd(): void {
      calls.push("saver epoch");
    }
  }
  class Own extends Net {
    override onTrainBatchEnd(): void {
      calls.push("module batch");
    }
    override onTrainEpochEnd(): void {
      calls.push("module epoch");
    }
  }
  await new Trainer({ ...QUIET, maxEpochs: 1, limitTrainBatches: 1, callbacks: [new Saver()] }).fit(new Own(), {
    trainDataloaders: loader(),
  });
  assert.deepEqual(calls, ["module batch", "saver batch", "module epoch", "saver epoch"]);
});
