/**
 * Float16 on the CPU against a plain PyTorch loop with torch.amp.GradScaler("cpu"): the scale after every step, skipped
 * steps, losses. By a loop of our own and by the Trainer.
 */
import { incomparable, type FixtureOrigin } from "../../helpers/reproducible.js";
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import { LightningModule, MixedPrecision, Trainer } from "@nbit/lightning";
import {
  autocast,
  cpuCapability,
  crossEntropyLoss,
  GradScaler,
  keep,
  nn,
  noGrad,
  optim,
  scope,
  setCpuKernels,
  setNumThreads,
  tensor,
  versions,
} from "@nbit/torch";
import type { Tensor } from "@nbit/torch";
import { hashed } from "../../helpers/formula-input.js";
import { otherRoots } from "../../helpers/square-roots.js";
import { QUIET } from "../../helpers/training.js";

interface RecordedRun {
  readonly name: string;
  readonly optimizer: "sgd" | "adamw" | "fused" | "two";
  readonly initScale: number;
  readonly growthFactor: number;
  readonly backoffFactor: number;
  readonly growthInterval: number;
  readonly clip: number | null;
  /** Steps whose loss is infinite or NaN, in turn. */
  readonly bad: readonly number[];
  readonly seed: number;
  readonly steps: number;
  /** After each step's update. */
  readonly scales: readonly number[];
  readonly trackers: readonly number[];
  readonly skipped: readonly number[];
  readonly losses: readonly string[];
  readonly final: readonly (readonly number[])[];
  readonly state: Readonly<Record<string, number>>;
}
type Origin = FixtureOrigin & {
  readonly lightning: {
    readonly lightning: string;
    readonly key: string;
    readonly state: Readonly<Record<string, number>>;
  };
};

const [first = "", ...rest] = readFileSync(new URL("../../../parity/scaler/fixtures.jsonl", import.meta.url), "utf8")
  .trimEnd()
  .split("\n");
const origin = JSON.parse(first) as Origin;
const runs = rest.map((line) => JSON.parse(line) as RecordedRun);
setNumThreads(1);
setCpuKernels("libtorch");
/**
 * Other kernels sum in another order, and other square roots make other steps of Adam; the trajectory of the scale was
 * made to hold there, too. Null: losses and weights are compared to the bit.
 */
const reason = incomparable(origin, { libtorch: versions().libtorch, capability: cpuCapability() });
const roots = reason === null ? otherRoots() : null;
function toleranceOf(run: RecordedRun): { readonly rtol: number; readonly atol: number } | null {
  if (reason !== null) return { rtol: 2e-2, atol: 2e-3 };
  return roots !== null && run.optimizer === "adamw" ? { rtol: 2 ** -11, atol: 2 ** -11 } : null;
}
const noteOf = (run: RecordedRun): string =>
  toleranceOf(run) === null ? "" : `, within a tolerance: ${reason ?? roots ?? ""}`;

const [BATCH, IN, HIDDEN, OUT] = [16, 12, 24, 5];

/** On a grid of 1/256. Python rounds halves to even. */
function filled(seed: number, shape: readonly number[], low: number, high: number): Tensor {
  const even = (v: number): number => (Math.abs(v % 1) === 0.5 ? 2 * Math.round(v / 2) : Math.round(v));
  return tensor(
    hashed(
      seed,
      shape.reduce((a, b) => a * b, 1),
    ).map((u) => even((low + (high - low) * u) * 256) / 256),
  )
    .float()
    .reshape(shape);
}

class Net extends LightningModule {
  readonly net = new nn.Sequential(new nn.Linear(IN, HIDDEN), new nn.ReLU(), new nn.Linear(HIDDEN, OUT));
  readonly losses: number[] = [];
  readonly scales: number[] = [];
  readonly trackers: number[] = [];
  readonly skipped: number[] = [];
  constructor(readonly run: RecordedRun) {
    super();
    noGrad(() => scope(() => this.parameters().forEach((p, i) => void p.copy_(filled(100 + i, p.shape, -0.5, 0.5)))));
    this.automaticOptimization = run.optimizer !== "two";
  }
  lossOf([x, y]: readonly [Tensor, Tensor], step: number): Tensor {
    const loss = crossEntropyLoss(this.net.forward(x), y);
    const at = this.run.bad.indexOf(step);
    const total = at === -1 ? loss : loss.mul(at % 2 === 1 ? NaN : Infinity);
    this.losses.push(total.item());
    return total;
  }
  override trainingStep(batch: readonly [Tensor, Tensor], batchIdx: number): Tensor {
    const loss = this.lossOf(batch, batchIdx);
    if (!this.automaticOptimization) {
      const optimizers = [this.optimizers()].flat();
      for (const o of optimizers) o.zeroGrad();
      this.manualBackward(loss);
      for (const o of optimizers) o.step();
    }
    return loss;
  }
  override onTrainBatchEnd(_: unknown, __: unknown, batchIdx: number): void {
    const { precision, lastOutcome } = this.trainer as Trainer;
    assert.ok(precision instanceof MixedPrecision && precision.scaler !== null);
    this.scales.push(precision.scaler.getScale());
    this.trackers.push(precision.scaler.getGrowthTracker());
    if (lastOutcome?.skipped === true) this.skipped.push(batchIdx);
  }
  override configureOptimizers(): optim.Optimizer[] {
    const parameters = this.parameters();
    switch (this.run.optimizer) {
      case "sgd":
        return [new optim.SGD(parameters, { lr: 0.05, momentum: 0.5 })];
      case "two":
        return [new optim.SGD(parameters.slice(0, 2), { lr: 0.05 }), new optim.SGD(parameters.slice(2), { lr: 0.02 })];
      default:
        return [new optim.AdamW(parameters, { lr: 0.01, fused: this.run.optimizer === "fused" })];
    }
  }
}

function batchesOf(run: RecordedRun): [Tensor, Tensor][] {
  return Array.from({ length: run.steps }, (_, i) => [
    filled(run.seed + i, [BATCH, IN], -2, 2),
    tensor(hashed(run.seed + 500 + i, BATCH).map((u) => Math.floor(u * OUT))).long(),
  ]);
}

function compare(run: RecordedRun, net: Net): void {
  assert.deepEqual(net.scales, run.scales, "scales");
  assert.deepEqual(net.trackers, run.trackers, "growth trackers");
  assert.deepEqual(net.skipped, run.skipped, "skipped steps");
  assert.equal(net.losses.length, run.steps);
  const tolerance = toleranceOf(run);
  const check = (ours: number, theirs: number, what: string): void => {
    if (tolerance === null || !Number.isFinite(theirs))
      assert.ok(Object.is(ours, theirs), `${what}: ${ours} instead of ${theirs}`);
    else {
      const far = Math.abs(ours - theirs) > tolerance.atol + tolerance.rtol * Math.abs(theirs);
      assert.ok(!far && Number.isFinite(ours), `${what}: ${ours} is far from ${theirs}`);
    }
  };
  const number = (text: string): number => (text === "nan" ? NaN : text === "inf" ? Infinity : Number(text));
  run.losses.forEach((text, i) => check(net.losses[i] ?? -1, number(text), `loss of step ${i}`));
  net
    .parameters()
    .forEach((p, i) =>
      (p.detach().flatten().tolist() as number[]).forEach((v, k) =>
        check(v, run.final[i]?.[k] ?? NaN, `weight ${i}.${k}`),
      ),
    );
}

for (const run of runs) {
  const settings = {
    initScale: run.initScale,
    growthFactor: run.growthFactor,
    backoffFactor: run.backoffFactor,
    growthInterval: run.growthInterval,
  };

  test(`a hand-written loop: ${run.name}${noteOf(run)}`, () => {
    const net = new Net(run);
    const optimizers = net.configureOptimizers();
    const scaler = new GradScaler(settings);
    batchesOf(run).forEach((batch, step) =>
      scope(() => {
        for (const o of optimizers) o.zeroGrad();
        scaler.scale(autocast({ dtype: "float16" }, () => net.lossOf(batch, step))).backward();
        const [only] = optimizers;
        if (run.clip !== null && only !== undefined) {
          scaler.unscale_(only);
          optim.clipGradNorm(net.parameters(), run.clip);
        }
        const results = optimizers.map((o) => scaler.step(o).stepped);
        if (results.includes(false)) net.skipped.push(step);
        scaler.update();
        net.scales.push(scaler.getScale());
        net.trackers.push(scaler.getGrowthTracker());
      }),
    );
    compare(run, net);
    assert.deepEqual(scaler.stateDict(), {
      scale: run.state["scale"],
      growthFactor: run.state["growth_factor"],
      backoffFactor: run.state["backoff_factor"],
      growthInterval: run.state["growth_interval"],
      growthTracker: run.state["_growth_tracker"],
    });
  });

  test(`the Trainer: ${run.name}${noteOf(run)}`, async () => {
    const net = new Net(run);
    const trainer = new Trainer({
      ...QUIET,
      maxEpochs: 1,
      gradientClipVal: run.clip,
      plugins: new MixedPrecision({ scaler: settings }),
    });
    await trainer.fit(net, { trainDataloaders: batchesOf(run).map((batch) => batch.map((t) => keep(t))) });
    compare(run, net);
    assert.equal(trainer.skippedSteps, run.skipped.length * (run.optimizer === "two" ? 2 : 1));
  });
}

test(`Lightning ${origin.lightning.lightning}'s entry of a checkpoint is read, by the scaler and by the plugin`, () => {
  const { key, state } = origin.lightning;
  const expected = { scale: 512, growthFactor: 2, backoffFactor: 0.5, growthInterval: 7, growthTracker: 0 };
  for (const given of [state, { epoch: 3, [key]: state }]) {
    const scaler = new GradScaler();
    scaler.loadStateDict(given);
    assert.deepEqual(scaler.stateDict(), expected);
    const plugin = new MixedPrecision();
    plugin.loadStateDict(given);
    assert.deepEqual(plugin.stateDict(), { ...expected, skippedSteps: 0 });
  }
});
