/** Replays give what eager steps give: precisions, windows, overflows, what users change between batches. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { inspect } from "node:util";
import { NbitError, outsideScopes, setNumThreads, type Tensor } from "@nbit/torch";
import { Callback } from "../callbacks/callback.js";
import { GradientAccumulationScheduler } from "../callbacks/gradient-accumulation-scheduler.js";
import { MixedPrecision } from "../precision/mixed.js";
import type { TrainerOptions } from "../trainer-options.js";
import type { TrainerView } from "../trainer-view.js";
import type { StepOutcome } from "../types.js";
import { Graphed, Net, type Course, train } from "./testing/graphed-training.js";

setNumThreads(1);

/** Trains eagerly and with recordings, and compares everything. Returns the part of it that the caller looks at. */
async function compare(course: Course) {
  const eager = await train(course, null);
  const graphed = new Graphed();
  const replayed = await train(course, graphed);
  assert.deepEqual(replayed.losses, eager.losses);
  assert.deepEqual(replayed.outcomes, eager.outcomes);
  assert.deepEqual(replayed.rows, eager.rows);
  assert.deepEqual(replayed.weights, eager.weights);
  assert.deepEqual(
    [replayed.globalStep, replayed.skipped, replayed.scale],
    [eager.globalStep, eager.skipped, eager.scale],
  );
  assert.ok(graphed.step !== null);
  return { step: graphed.step, eager, replayed };
}

const half = (): MixedPrecision => new MixedPrecision({ scaler: { initScale: 256, lazy: true } });
const precisions: readonly (readonly [string, () => TrainerOptions])[] = [
  ["32", () => ({ precision: 32 })],
  ["bf16", () => ({ precision: "bf16" })],
  ["16", () => ({ plugins: half() })],
  ["bf16-true", () => ({ precision: "bf16-true" })],
];

// 11 batches: windows of one to the end of an epoch with 2 to a step, of three with 4. Validation forgets gradients
// after every epoch.
for (const [name, options] of precisions)
  for (const [accumulate, replays] of [
    [1, 30],
    [2, 26],
    [4, 29],
  ] as const)
    test(`replays give what eager steps give: ${name}, ${accumulate} to a step`, async () => {
      const { step, replayed } = await compare({
        options: () => ({ ...options(), accumulateGradBatches: accumulate, gradientClipVal: 0.5 }),
      });
      assert.equal(step.reason, null);
      assert.equal(step.replayed, replays);
      // Losses that a callback keeps are its own with windows; with one batch to a step they lie in the graph's memory.
      if (accumulate > 1) assert.deepEqual(replayed.kept, replayed.losses);
    });

test("an overflow inside a window skips its step, and counts once", async () => {
  const { step, eager } = await compare({
    options: () => ({ plugins: half(), accumulateGradBatches: 2 }),
    infinite: [14, 24, 31],
  });
  assert.equal(step.reason, null);
  assert.equal(eager.skipped, 3);
  assert.equal(step.replayed, 26);
});

test("an overflow in the last step counts once, in a batch that runs eagerly too", async () => {
  assert.equal(
    (
      await compare({
        options: () => ({ plugins: half(), accumulateGradBatches: 2 }),
        lengths: [5, 5, 5, 5],
        infinite: [11],
      })
    ).eager.skipped,
    1,
  );
  assert.equal(
    (await compare({ options: () => ({ plugins: half() }), lengths: [5, 5, 5, 5, 5, 3], infinite: [11, 17] })).eager
      .skipped,
    2,
  );
});

test("a replayed batch's outcome is read before the next batch, or says that it is too late", async () => {
  const late: (readonly [number, StepOutcome])[] = [];
  const read: (readonly [StepOutcome, string])[] = [];
  class Keep extends Callback {
    #batches = 0;
    override onTrainBatchEnd({ lastOutcome }: TrainerView): void {
      assert.ok(lastOutcome !== null);
      if (this.#batches++ % 2 === 0) late.push([this.#batches, lastOutcome]);
      else read.push([lastOutcome, inspect(lastOutcome)]);
    }
  }
  const graphed = new Graphed();
  await train(
    {
      options: () => ({ plugins: half(), accumulateGradBatches: 2, callbacks: new Keep() }),
      infinite: [14],
      readsOutcomes: false,
    },
    graphed,
  );
  let refused = 0;
  for (const [batch, outcome] of late) {
    try {
      assert.ok(outcome.lossScale > 0, `batch ${batch}`);
    } catch (error) {
      assert.ok(error instanceof NbitError && error.code === "OUTCOME_OVERWRITTEN", String(error));
      refused++;
    }
  }
  assert.ok(refused >= 10 && refused < late.length, String(refused));
  for (const [outcome, was] of read) assert.equal(inspect(outcome), was);
});

test("replays with cached weight casts give what eager steps give", async () => {
  for (const accumulateGradBatches of [1, 2, 4]) {
    const { step } = await compare({
      options: () => ({
        plugins: new MixedPrecision({ precision: "bf16-mixed", cacheWeightCasts: true }),
        accumulateGradBatches,
      }),
    });
    assert.ok(step.replayed > 25);
  }
});

test("batches of another shape run eagerly within windows whose others are replayed", async () => {
  const { step } = await compare({
    options: () => ({ accumulateGradBatches: 4 }),
    lengths: [5, 5, 5, 5, 5, 3, 5, 5, 3, 5, 5, 5],
  });
  assert.equal(step.reason, null);
  assert.equal(step.replayed, 6 + 10 + 10);
});

test("changes of gradients between batches are part of the step", async () => {
  const meddle = (net: Net, batch: number): void => {
    if (batch % 4 === 1) net.head.weight.grad = null;
    if (batch % 4 === 2) {
      const { grad } = net.first.weight;
      if (grad !== null) net.first.weight.grad = outsideScopes(() => grad.mul(3));
    }
    if (batch % 4 === 3) net.zeroGrad();
  };
  const { step } = await compare({ options: () => ({ accumulateGradBatches: 4 }), meddle });
  assert.equal(step.replayed, 29);
});

test("another number of batches to a step is recorded again", async () => {
  const changes: Readonly<Record<number, number>> = { 0: 2, 2: 4, 4: 1, 5: 2 };
  const course: Course = {
    options: () => ({ callbacks: new GradientAccumulationScheduler(changes) }),
    epochs: 7,
    lengths: [5, 5, 5, 5, 5, 5, 5, 5],
  };
  const eager = await train(course, null);
  const graphed = new Graphed();
  const replayed = await train(course, graphed);
  assert.deepEqual(replayed.losses, eager.losses);
  assert.deepEqual(replayed.weights, eager.weights);
  assert.equal(graphed.step?.reason, null);
  assert.equal(graphed.step?.replayed, 4 + 8 + 4 + 8 + 5 + 4 + 8);
});

/** From batch 20 on another layer learns, too. */
class Late extends Net {
  #batches = 0;
  override trainingStep(x: Tensor): Tensor {
    const loss = super.trainingStep(x);
    // Only eager batches of length 3 reach it.
    return this.#batches++ > 5 && x.shape[0] === 3
      ? loss.add(
          this.unused
            .forward(x.narrow(1, 0, 2))
            .square()
            .mean(),
        )
      : loss;
  }
}
test("a parameter's first gradient starts over, with what its window holds", async () => {
  const course: Course = {
    options: () => ({ accumulateGradBatches: 2 }),
    make: () => new Late(),
    lengths: [5, 5, 5, 5, 5, 5, 5, 3, 5, 5, 5, 5],
  };
  const eager = await train({ ...course, epochs: 1 }, null);
  const graphed = new Graphed();
  const replayed = await train({ ...course, epochs: 1 }, graphed);
  assert.deepEqual(replayed.losses.slice(0, 8), eager.losses.slice(0, 8));
  assert.equal(graphed.step?.reason, null);
  assert.equal(graphed.step?.replayed, 3);
});

test("explain says how batches ran", async () => {
  const { step } = await compare({ options: () => ({ accumulateGradBatches: 2 }) });
  // On the CPU the Trainer reads the loss within the step, which no program can say.
  assert.match(
    step.describe() ?? "",
    /^26 of 33 batches replayed as CUDA graphs \(opens not written down: .* reads a number .*, closes .*\)$/,
  );
  assert.equal(step.program, null);
});
