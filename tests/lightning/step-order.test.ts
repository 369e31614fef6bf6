import assert from "node:assert/strict";
import { beforeEach, test } from "node:test";
import { Trainer } from "@nbit/lightning";
import type { TrainerOptions } from "@nbit/lightning";
import { amp, manualSeed, nn, optim, randn, setNumThreads } from "@nbit/torch";
import type { Tensor } from "@nbit/torch";
import { RecordedHooks } from "../helpers/recorded-hooks.js";
import { QUIET } from "../helpers/training.js";
import { RecordedPrecision } from "./recorded-precision.js";

setNumThreads(1); // tiny tensors
beforeEach(() => void manualSeed(1)); // batches and weights are the same in every run

interface Case {
  readonly name: string;
  readonly options: TrainerOptions;
  readonly fused?: boolean;
  readonly manual?: boolean;
  /** What becomes of the loss of a batch. */
  readonly loss?: (loss: Tensor, batchIdx: number) => Tensor | null;
  readonly batches: number;
  readonly expected: readonly string[];
}

class Net extends RecordedHooks {
  readonly layer = new nn.Linear(4, 2);
  constructor(
    calls: string[],
    readonly recipe: Case,
  ) {
    super(calls);
    this.automaticOptimization = recipe.manual !== true;
  }
  override forward(x: Tensor): Tensor {
    return this.layer.forward(x);
  }
  override trainingStep(batch: Tensor, batchIdx: number): Tensor | null {
    assert.equal(amp.isAutocastEnabled(), true);
    const loss = this.forward(batch).float().square().mean();
    this.calls.push("trainingStep");
    if (this.recipe.manual === true) {
      for (const optimizer of [this.optimizers()].flat()) {
        optimizer.zeroGrad();
        this.manualBackward(this.forward(batch).float().square().mean());
        optimizer.step();
      }
    }
    return this.recipe.loss === undefined ? loss : this.recipe.loss(loss, batchIdx);
  }
  override onBeforeBackward(loss: Tensor): void {
    assert.equal(amp.isAutocastEnabled(), false);
    assert.equal(loss.dtype, "float32");
    this.calls.push("onBeforeBackward");
  }
  override backward(loss: Tensor): void {
    assert.equal(amp.isAutocastEnabled(), false);
    super.backward(loss);
    this.calls.push("backward");
  }
  override onBeforeOptimizerStep(): void {
    assert.equal(amp.isAutocastEnabled(), false);
    this.calls.push("onBeforeOptimizerStep");
  }
  override configureOptimizers(): never {
    const make = (): optim.Optimizer =>
      new optim.AdamW(this.parameters(), { lr: 0.01, fused: this.recipe.fused ?? false });
    if (this.recipe.manual === true) return [make(), make()] as never;
    const optimizer = make();
    return [[optimizer], [{ scheduler: new optim.StepLR(optimizer, 1, 0.9), interval: "step" }]] as never;
  }
}

const FORWARD = ["onTrainBatchStart", "autocast on", "trainingStep", "autocast off"];
const ZERO = ["onBeforeZeroGrad", "optimizerZeroGrad"];
const BACKWARD = ["scale", "onBeforeBackward", "backward", "onAfterBackward"];
const STEP = ["unscale", "onBeforeOptimizerStep", "step"];
const CLIPPED = ["unscale", "onBeforeOptimizerStep", "unscale", "clip", "step"]; // the second finds it done
const END = ["update", "lrSchedulerStep", "onTrainBatchEnd"];
const WAIT = ["onTrainBatchEnd"]; // nothing was stepped
const MANUAL_HALF = [...BACKWARD, "unscale", "onBeforeOptimizerStep", "step"];

const CASES: Case[] = [];
for (const fused of [false, true]) {
  const kind = fused ? "fused" : "plain";
  CASES.push({
    name: `${kind}`,
    fused,
    options: {},
    batches: 2,
    expected: [...FORWARD, ...ZERO, ...BACKWARD, ...STEP, ...END, ...FORWARD, ...ZERO, ...BACKWARD, ...STEP, ...END],
  });
  for (const gradientClipAlgorithm of ["norm", "value"] as const) {
    CASES.push({
      name: `${kind}, clipping by ${gradientClipAlgorithm}`,
      fused,
      options: { gradientClipAlgorithm, gradientClipVal: 0.1 },
      batches: 1,
      expected: [...FORWARD, ...ZERO, ...BACKWARD, ...CLIPPED, ...END],
    });
  }
  CASES.push({
    name: `${kind}, accumulation 4 with clipping, and a last window that is not full`,
    fused,
    options: { accumulateGradBatches: 4, gradientClipVal: 0.1 },
    batches: 5,
    expected: [
      ...FORWARD,
      ...ZERO,
      ...BACKWARD,
      ...WAIT,
      ...FORWARD,
      ...BACKWARD,
      ...WAIT,
      ...FORWARD,
      ...BACKWARD,
      ...WAIT,
      ...FORWARD,
      ...BACKWARD,
      ...CLIPPED,
      ...END,
      ...FORWARD,
      ...ZERO,
      ...BACKWARD,
      ...CLIPPED,
      ...END,
    ],
  });
  CASES.push({
    name: `${kind}, a batch that overflows`,
    fused,
    options: {},
    batches: 2,
    loss: (loss, i) => (i === 0 ? loss.mul(Infinity) : loss),
    expected: [
      ...FORWARD,
      ...ZERO,
      ...BACKWARD,
      "unscale",
      "onBeforeOptimizerStep",
      "skip",
      ...END,
      ...FORWARD,
      ...ZERO,
      ...BACKWARD,
      ...STEP,
      ...END,
    ],
  });
  CASES.push({
    name: `${kind}, several optimizers, manual`,
    fused,
    manual: true,
    options: {},
    batches: 1,
    expected: [
      "onTrainBatchStart",
      "autocast on",
      "trainingStep",
      ...MANUAL_HALF,
      ...MANUAL_HALF,
      "autocast off",
      "update",
      "onTrainBatchEnd",
    ],
  });
}
CASES.push({
  name: "a step that returns null",
  options: {},
  batches: 2,
  loss: (loss, i) => (i === 0 ? null : loss),
  expected: [
    ...FORWARD,
    ...ZERO,
    "lrSchedulerStep",
    "onTrainBatchEnd",
    ...FORWARD,
    ...ZERO,
    ...BACKWARD,
    ...STEP,
    ...END,
  ],
});

for (const recipe of CASES) {
  test(`the order of a step under float16: ${recipe.name}`, async () => {
    const calls: string[] = [];
    const net = new Net(calls, recipe);
    const batches = Array.from({ length: recipe.batches }, () => randn([8, 4]));
    await new Trainer({ ...QUIET, maxEpochs: 1, plugins: new RecordedPrecision(calls, 256), ...recipe.options }).fit(
      net,
      { trainDataloaders: batches },
    );
    assert.deepEqual(calls, recipe.expected);
  });
}

test("a fused optimizer and a plain one give the same weights, scaled, clipped and through an overflow", async () => {
  const weights: number[][] = [];
  const batches = Array.from({ length: 6 }, () => randn([8, 4]));
  const start = new nn.Linear(4, 2).stateDict();
  for (const fused of [false, true]) {
    const recipe: Case = {
      name: "",
      fused,
      options: {},
      batches: 6,
      loss: (loss, i) => (i === 2 ? loss.mul(Infinity) : loss),
      expected: [],
    };
    const net = new Net([], recipe);
    net.layer.loadStateDict(start);
    const trainer = new Trainer({
      ...QUIET,
      maxEpochs: 1,
      gradientClipVal: 0.05,
      plugins: new RecordedPrecision([], 256),
    });
    await trainer.fit(net, { trainDataloaders: batches });
    assert.equal(trainer.skippedSteps, 1);
    weights.push(Array.from(net.layer.weight.detach().toTypedArray(), Number));
  }
  const [plain, fused] = weights;
  assert.ok(plain !== undefined && fused !== undefined && plain.length === 8 && fused.length === 8);
  plain.forEach((w, i) =>
    assert.ok(Math.abs(w - (fused[i] ?? NaN)) < 1e-5, `weight ${i}: ${w} plain, ${fused[i]} fused`),
  );
});
