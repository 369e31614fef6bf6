/**
 * The order of a training step under float16, and its outcome, for every combination: automatic and manual
 * optimization, one and two optimizers, accumulation 1 and 4, no clipping, by norm and by value, plain and fused
 * optimizers; all batches good, one that returns null, one whose loss overflows. The order is written down once, in
 * `expected`.
 */
import assert from "node:assert/strict";
import { beforeEach, test } from "node:test";
import { Callback, Logger, Trainer } from "@nbit/lightning";
import type { LightningOptimizer, StepOutcome, TrainerView } from "@nbit/lightning";
import { amp, manualSeed, nn, optim, randn, setNumThreads } from "@nbit/torch";
import type { Tensor } from "@nbit/torch";
import { RecordedHooks } from "../helpers/recorded-hooks.js";
import { QUIET } from "../helpers/training.js";
import { RecordedPrecision } from "./recorded-precision.js";

setNumThreads(1); // tiny tensors
beforeEach(() => void manualSeed(1));

interface Recipe {
  readonly manual: boolean;
  readonly optimizers: 1 | 2;
  readonly accumulate: 1 | 4;
  readonly clip: "norm" | "value" | null;
  readonly fused: boolean;
  readonly event: "good" | "null" | "overflow";
}
const INIT_SCALE = 256;
/** The batch at which the event happens. */
const EVENT = 1;
const batchesOf = (r: Recipe): number => (r.accumulate === 1 ? 3 : 5);
const windowEndsAt = (r: Recipe, i: number): boolean =>
  (i + 1) % r.accumulate === 0 || (!r.manual && i + 1 === batchesOf(r));

interface Seen {
  readonly calls: string[];
  readonly outcomes: unknown[];
}

const happens = (r: Recipe, event: Recipe["event"], i: number): boolean => r.event === event && i === EVENT;
const BACKWARD = ["scale", "onBeforeBackward", "backward", "onAfterBackward"];

/** What an attempt to step calls. */
function attemptCalls(r: Recipe, skips: boolean): string[] {
  const clip = r.clip === null ? [] : ["unscale", "clip"];
  return [
    ...(r.manual ? clip : []),
    "unscale",
    "onBeforeOptimizerStep",
    ...(r.manual ? [] : clip),
    skips ? "skip" : "step",
  ];
}

/** Whose gradients are not finite when a step is skipped. */
const nonFiniteOf = (r: Recipe, skipped: boolean): string[] | undefined => {
  if (!skipped) return undefined;
  return r.optimizers === 2 ? ["a.weight", "a.bias"] : ["a.weight", "a.bias", "b.weight", "b.bias"];
};

/** Of this batch, or, where a step is not the user's own, of others of its window. */
const hasGradients = (r: Recipe, i: number, windowOpen: boolean): boolean =>
  !happens(r, "null", i) || (windowOpen && !r.manual);
/** Of a window that ends without a loss: its optimizer steps with what the other batches left. */
const whatIsLeft = (endsWithNull: boolean, attempt: (optimizer: number) => string[]): string[] =>
  endsWithNull ? attempt(0) : [];

/** The order of precision.md, § 2. */
function expected(r: Recipe): Seen {
  const calls: string[] = [];
  const outcomes: unknown[] = [];
  let scale = INIT_SCALE;
  let overflowed = false; // in the window that is open
  let windowOpen = false;
  for (let i = 0; i < batchesOf(r); i++) {
    const isNull = happens(r, "null", i);
    overflowed ||= happens(r, "overflow", i);
    const steps: boolean = windowEndsAt(r, i) && hasGradients(r, i, windowOpen);
    const attempt = (optimizer: number): string[] => attemptCalls(r, overflowed && optimizer === 0);
    calls.push(
      "onAfterBatchTransfer",
      "callback.onTrainBatchStart",
      "onTrainBatchStart",
      "autocast on",
      "trainingStep",
    );
    const optimizers = isNull ? [] : Array.from({ length: r.manual ? r.optimizers : 1 }, (_, o) => o);
    const backwards = [
      ...optimizers.flatMap((o) => [...BACKWARD, ...(steps ? attempt(o) : [])]),
      ...whatIsLeft(isNull && steps, attempt),
    ];
    const zeroGrad = windowOpen ? [] : ["onBeforeZeroGrad", "optimizerZeroGrad"];
    calls.push(...(r.manual ? [...backwards, "autocast off"] : ["autocast off", ...zeroGrad, ...backwards]));
    windowOpen = !steps && (windowOpen || !isNull);
    if (steps) calls.push("update");
    if (!r.manual && windowEndsAt(r, i)) calls.push("lrSchedulerStep");
    calls.push("callback.onTrainBatchEnd", "onTrainBatchEnd");
    const skipped = steps && overflowed;
    outcomes.push({
      stepped: steps && (!overflowed || r.optimizers === 2),
      skipped,
      lossScale: scale,
      hasNorm: steps && r.clip === "norm",
      nonFinite: nonFiniteOf(r, skipped),
    });
    if (skipped) scale /= 2;
    if (steps) overflowed = false;
  }
  return { calls, outcomes };
}

function plain(outcome: StepOutcome | null): unknown {
  assert.ok(outcome !== null);
  const { stepped, skipped, lossScale, gradNorm, nonFinite } = outcome;
  return { stepped, skipped, lossScale, hasNorm: gradNorm !== undefined, nonFinite };
}

class Net extends RecordedHooks {
  readonly a = new nn.Linear(4, 2);
  readonly b = new nn.Linear(2, 2);
  readonly outcomes: unknown[] = [];
  constructor(
    readonly recipe: Recipe,
    calls: string[],
  ) {
    super(calls);
    this.automaticOptimization = !recipe.manual;
  }
  lossOf(batch: Tensor, i: number): Tensor {
    const loss = this.b.forward(this.a.forward(batch)).float().square().mean();
    return this.recipe.event === "overflow" && i === EVENT ? loss.mul(Infinity) : loss;
  }
  override trainingStep(batch: Tensor, i: number): Tensor | null {
    assert.equal(amp.isAutocastEnabled(), true);
    this.calls.push("trainingStep");
    if (this.recipe.event === "null" && i === EVENT) return null;
    if (!this.recipe.manual) return this.lossOf(batch, i);
    [this.optimizers()]
      .flat()
      .forEach((optimizer, o) =>
        this.#stepByHand(
          optimizer,
          this.recipe.optimizers === 1
            ? this.lossOf(batch, i)
            : o === 0
              ? this.#firstLoss(batch, i)
              : this.#secondLoss(batch),
          i,
        ),
      );
    return null;
  }
  #firstLoss(batch: Tensor, i: number): Tensor {
    const loss = this.a.forward(batch).float().square().mean();
    return this.recipe.event === "overflow" && i === EVENT ? loss.mul(Infinity) : loss;
  }
  #secondLoss(batch: Tensor): Tensor {
    return this.b
      .forward(batch.narrow(1, 0, 2))
      .float()
      .square()
      .mean();
  }
  #stepByHand(optimizer: LightningOptimizer, loss: Tensor, i: number): void {
    const { accumulate, clip } = this.recipe;
    if (i % accumulate === 0) optimizer.zeroGrad();
    this.manualBackward(loss.div(accumulate));
    if (!windowEndsAt(this.recipe, i)) return;
    if (clip !== null) this.clipGradients(optimizer, { gradientClipVal: 0.1, gradientClipAlgorithm: clip });
    optimizer.step();
  }
  override onAfterBatchTransfer(batch: unknown): unknown {
    this.calls.push("onAfterBatchTransfer");
    return batch;
  }
  override onBeforeBackward(): void {
    this.calls.push("onBeforeBackward");
  }
  override backward(loss: Tensor): void {
    assert.equal(amp.isAutocastEnabled(), false);
    this.calls.push("backward");
    super.backward(loss);
  }
  override onBeforeOptimizerStep(optimizer: optim.Optimizer): void {
    assert.equal(amp.isAutocastEnabled(), false);
    // Unscaled gradients: of losses of this size they are small, or not finite.
    for (const p of optimizer.paramGroups.flatMap((group) => group.params)) {
      const largest = Number(p.grad?.abs().max().item() ?? 0);
      assert.ok(largest < 40 || !Number.isFinite(largest), `${largest}`);
    }
    this.calls.push("onBeforeOptimizerStep");
  }
  override onTrainBatchEnd(): void {
    super.onTrainBatchEnd();
    this.outcomes.push(plain(this.trainer.lastOutcome));
  }
  override configureOptimizers(): never {
    const make = (parameters: Tensor[]): optim.Optimizer =>
      new optim.AdamW(parameters, { lr: 0.01, fused: this.recipe.fused });
    if (this.recipe.optimizers === 2) return [make(this.a.parameters()), make(this.b.parameters())] as never;
    const optimizer = make(this.parameters());
    return (
      this.recipe.manual
        ? [optimizer]
        : [[optimizer], [{ scheduler: new optim.StepLR(optimizer, 1, 0.9), interval: "step" }]]
    ) as never;
  }
}

class Watcher extends Callback {
  readonly outcomes: unknown[] = [];
  constructor(readonly calls: string[]) {
    super();
  }
  override onTrainBatchStart(): void {
    this.calls.push("callback.onTrainBatchStart");
  }
  override onTrainBatchEnd(trainer: TrainerView): void {
    this.calls.push("callback.onTrainBatchEnd");
    this.outcomes.push(plain(trainer.lastOutcome));
  }
}

class OutcomeLogger extends Logger {
  readonly name = "outcomes";
  readonly version = 0;
  readonly outcomes: unknown[] = [];
  override logMetrics(): void {}
  override logOutcome(outcome: StepOutcome): Promise<void> {
    this.outcomes.push(plain(outcome));
    return Promise.resolve();
  }
}

const RECIPES: Recipe[] = [];
for (const [manual, optimizers] of [
  [false, 1],
  [true, 1],
  [true, 2],
] as const)
  for (const accumulate of [1, 4] as const)
    for (const clip of [null, "norm", "value"] as const)
      for (const fused of [false, true])
        for (const event of ["good", "null", "overflow"] as const)
          RECIPES.push({ manual, optimizers, accumulate, clip, fused, event });

for (const event of ["good", "null", "overflow"] as const) {
  for (const [manual, optimizers] of [
    [false, 1],
    [true, 1],
    [true, 2],
  ] as const) {
    test(`the order and the outcome of every step: ${manual ? `manual, ${optimizers} optimizer${optimizers === 2 ? "s" : ""}` : "automatic"}, ${event === "good" ? "good batches" : event === "null" ? "a null step" : "an overflow"}`, async () => {
      const mine = RECIPES.filter((r) => r.event === event && r.manual === manual && r.optimizers === optimizers);
      assert.equal(mine.length, 12);
      for (const recipe of mine) {
        const name = JSON.stringify(recipe);
        const calls: string[] = [];
        const net = new Net(recipe, calls);
        const watcher = new Watcher(calls);
        const logger = new OutcomeLogger();
        const trainer = new Trainer({
          ...QUIET,
          maxEpochs: 1,
          logger,
          logEveryNSteps: 1,
          callbacks: [watcher],
          plugins: new RecordedPrecision(calls, INIT_SCALE),
          ...(manual
            ? {}
            : {
                accumulateGradBatches: recipe.accumulate,
                gradientClipVal: recipe.clip === null ? null : 0.1,
                gradientClipAlgorithm: recipe.clip ?? "norm",
              }),
        });
        await trainer.fit(net, { trainDataloaders: Array.from({ length: batchesOf(recipe) }, () => randn([8, 4])) });
        const { calls: order, outcomes } = expected(recipe);
        assert.deepEqual(calls, order, name);
        assert.deepEqual(net.outcomes, outcomes, `${name}: outcomes in the module's hook`);
        assert.deepEqual(watcher.outcomes, outcomes, `${name}: outcomes in a callback`);
        // Loggers see iterations that end a window (every iteration under manual optimization).
        assert.deepEqual(
          logger.outcomes,
          outcomes.filter((_, i) => manual || windowEndsAt(recipe, i)),
          `${name}: outcomes in a logger`,
        );
        assert.equal(trainer.skippedSteps, event === "overflow" && order.includes("skip") ? 1 : 0, name);
        assert.equal(trainer.globalStep, order.filter((c) => c === "step" || c === "skip").length, name);
      }
    });
  }
}
