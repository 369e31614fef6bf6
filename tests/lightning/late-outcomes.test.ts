/**
 * What steps did, where it stays on the device until somebody asks: on CUDA, and here with a scaler that is told to.
 */
import assert from "node:assert/strict";
import { test } from "node:test";
import { Callback, LightningModule, LossScaleMonitor, MixedPrecision, RunLog, Trainer } from "@nbit/lightning";
import type { StepOutcome, TrainerOptions, TrainerView } from "@nbit/lightning";
import { join } from "node:path";
import { GradScaler, memory, nn, ones, optim, randn, scope, seedEverything, setNumThreads } from "@nbit/torch";
import type { amp, Tensor } from "@nbit/torch";
import { temporaryFolder } from "../helpers/temporary-folder.js";
import { QUIET } from "../helpers/training.js";

setNumThreads(1);
const OPTIONS: TrainerOptions = { ...QUIET, maxEpochs: -1 };
const BATCHES = 40;

/** In every seventh batch the gradient overflows in float32, at any scale that comes. */
class Net extends LightningModule {
  readonly layer = new nn.Linear(4, 2);
  constructor(readonly overflows = true) {
    super();
  }
  protected lossOf(batch: Tensor, batchIdx: number): Tensor {
    const loss = this.layer.forward(batch).float().square().mean();
    return this.overflows && batchIdx % 7 === 3 ? loss.mul(3e38) : loss;
  }
  override trainingStep(batch: Tensor, batchIdx: number): Tensor | null {
    return this.lossOf(batch, batchIdx);
  }
  override configureOptimizers(): optim.Optimizer | optim.Optimizer[] {
    return new optim.SGD(this.parameters(), { lr: 1e-3, fused: true });
  }
}
/** Two optimizers, of which the second steps in every third batch. */
class Two extends Net {
  override automaticOptimization = false;
  readonly other = new nn.Linear(4, 1);
  override trainingStep(batch: Tensor, batchIdx: number): null {
    const [first, second] = [this.optimizers()].flat();
    first?.zeroGrad();
    this.manualBackward(this.lossOf(batch, batchIdx).add(this.other.forward(batch).float().sum()));
    first?.step();
    if (batchIdx % 3 !== 2) return null;
    second?.step();
    second?.zeroGrad();
    return null;
  }
  override configureOptimizers(): optim.Optimizer[] {
    return [new optim.SGD(this.layer.parameters(), { lr: 1e-3 }), new optim.SGD(this.other.parameters(), { lr: 1e-3 })];
  }
}

type When = "at once" | "much later" | "never";
class Reader extends Callback {
  readonly #held: (readonly [number, StepOutcome])[] = [];
  readonly seen: string[] = [];
  readonly unreleased: number[] = [];
  constructor(
    readonly when: When,
    readonly measureAt: readonly number[] = [],
  ) {
    super();
  }
  #read(batch: number, { stepped, skipped, lossScale, gradNorm }: StepOutcome): void {
    this.seen[batch] = [stepped, skipped, lossScale, gradNorm].join(" ");
  }
  override onTrainBatchEnd(trainer: TrainerView): void {
    const batch = this.#batches++;
    if (this.measureAt.includes(batch)) this.unreleased.push(memory().unreleased);
    const { lastOutcome } = trainer;
    assert.ok(lastOutcome !== null);
    if (this.when === "at once") this.#read(batch, lastOutcome);
    if (this.when !== "much later") return;
    this.#held.push([batch, lastOutcome]);
    if (this.#held.length > 300) this.#readOldest(100);
  }
  #batches = 0;
  #readOldest(count: number): void {
    for (const [batch, outcome] of this.#held.splice(0, count)) this.#read(batch, outcome);
  }
  override onTrainEnd(): void {
    this.#readOldest(Infinity);
  }
}

interface Told {
  readonly seen: readonly string[];
  readonly weights: unknown;
  readonly scale: number | null;
  readonly skipped: number;
}
async function train(
  make: () => Net,
  when: When,
  scaler: amp.GradScalerOptions,
  options: TrainerOptions,
  batches: number,
): Promise<Told> {
  seedEverything(1);
  const model = make();
  const data = Array.from({ length: BATCHES }, () => randn([8, 4]));
  const reader = new Reader(when);
  const trainer = new Trainer({
    ...OPTIONS,
    ...options,
    limitTrainBatches: BATCHES,
    maxEpochs: batches / BATCHES,
    plugins: new MixedPrecision({ scaler: { minScale: 2 ** -120, growthInterval: 5, ...scaler } }),
    callbacks: [reader, ...[options.callbacks ?? []].flat()],
  });
  await trainer.fit(model, { trainDataloaders: data });
  return {
    seen: reader.seen,
    weights: model.layer.weight.tolist(),
    scale: trainer.lossScale,
    skipped: trainer.skippedSteps,
  };
}

const cells: readonly (readonly [string, () => Net, TrainerOptions])[] = [
  ["one optimizer", () => new Net(), {}],
  ["clipping", () => new Net(), { gradientClipVal: 0.5 }],
  ["three batches to a step", () => new Net(), { accumulateGradBatches: 3, gradientClipVal: 0.5 }],
  ["manual optimization with two optimizers", () => new Two(), {}],
];
for (const [name, make, options] of cells) {
  test(`${name}: outcomes read late, at once or never are those of a scaler that reads everything`, async () => {
    const expected = await train(make, "at once", { lazy: false }, options, 640);
    assert.ok(
      expected.seen.some((line) => line.startsWith("false true")) &&
        expected.seen.some((line) => line.startsWith("true false")),
    );
    for (const when of ["at once", "much later", "never"] as const) {
      const told = await train(make, when, { lazy: true }, options, 640);
      assert.deepEqual(told, { ...expected, seen: when === "never" ? [] : expected.seen }, when);
    }
  });
}

test("training is the same whether or not callbacks read outcomes", async () => {
  const folder = temporaryFolder("late");
  const bare = await train(() => new Net(), "never", { lazy: true }, {}, 640);
  const read = await train(
    () => new Net(),
    "never",
    { lazy: true },
    { callbacks: [new LossScaleMonitor(), new RunLog({ path: join(folder, "run.jsonl") })], logEveryNSteps: 13 },
    640,
  );
  assert.deepEqual(read, bare);
});

for (const [name, make, options] of cells) {
  for (const when of ["at once", "never"] as const) {
    test(`${name}, read ${when}: 3,000 steps hold no more than the first`, async () => {
      seedEverything(1);
      const reader = new Reader(when, [2, 10, 299, 1000, 2990]);
      const trainer = new Trainer({
        ...OPTIONS,
        ...options,
        maxEpochs: 75,
        plugins: new MixedPrecision({ scaler: { lazy: true, growthInterval: 4 } }),
        callbacks: reader,
      });
      await trainer.fit(make(), { trainDataloaders: Array.from({ length: BATCHES }, () => randn([8, 4])) });
      assert.equal(reader.unreleased.length, 5);
      const [, first] = reader.unreleased;
      assert.deepEqual(reader.unreleased.slice(1), [first, first, first, first]);
    });
  }
}

test("results of a lazy scaler can be read before the update, after it, and a thousand steps later", () => {
  const w = new nn.Parameter(ones([2]));
  const optimizer = new optim.SGD([w], { lr: 0.25 });
  const step = (scaler: GradScaler, i: number): amp.ScalerStep => {
    optimizer.zeroGrad();
    scope(() => scaler.scale(w.mul(i % 5 === 0 ? 3e38 : 1).sum()).backward());
    return scaler.step(optimizer);
  };
  const options = { initScale: 1024, growthInterval: 3 } as const;
  const run = (
    lazy: boolean,
    when: "before" | "after" | "later",
  ): readonly (readonly [boolean, number, readonly number[]])[] => {
    const scaler = new GradScaler({ ...options, lazy });
    const results: amp.ScalerStep[] = [];
    const told: (readonly [boolean, number, readonly number[]])[] = [];
    for (let i = 0; i < 1200; i++) {
      const result = step(scaler, i);
      if (when === "before") told.push([result.stepped, result.lossScale, result.nonFiniteIndices]);
      scaler.update();
      if (when === "after") told.push([result.stepped, result.lossScale, result.nonFiniteIndices]);
      results.push(result);
    }
    return when === "later" ? results.map((r) => [r.stepped, r.lossScale, r.nonFiniteIndices]) : told;
  };
  const expected = run(false, "before");
  assert.deepEqual(expected.slice(0, 3), [
    [false, 1024, [0]],
    [true, 512, []],
    [true, 512, []],
  ]);
  assert.deepEqual(run(true, "before"), expected);
  assert.deepEqual(run(true, "after"), expected);
  // Which gradients were not finite is seen in the gradients, and only the last step's are still there.
  assert.deepEqual(
    run(true, "later"),
    expected.map(([stepped, scale, indices], i) => [stepped, scale, i === 1199 ? indices : []]),
  );
  const held = memory().unreleased;
  const again = new GradScaler({ ...options, lazy: true });
  step(again, 1);
  again.update();
  const after = memory().unreleased;
  for (let i = 1; i < 2000; i++) {
    step(again, i);
    again.update();
  }
  assert.ok(after > held);
  assert.equal(memory().unreleased, after);
  assert.equal(again.skippedUpdates, 399);
});
