/** Windows of several batches as CUDA graphs: what eager steps give, and replayed, not run eagerly. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { cuda, memory, nn, optim, randint, randn, seedEverything, type Tensor } from "@nbit/torch";
import {
  Callback,
  GradientAccumulationScheduler,
  LightningModule,
  MixedPrecision,
  type TrainerOptions,
  type TrainerView,
} from "@nbit/lightning";
import { on, options, sgd, SmallGpt, SmallResNet, train, type Training } from "./support.js";
import { warningsOf } from "../helpers/training.js";

const weightsOf = (run: Training): number[] =>
  [...run.module.parameters()].flatMap((p) => p.detach().float().flatten().tolist() as number[]);
const norm = (values: readonly number[]): number => Math.hypot(...values);

/**
 * Every loss within `tolerance`, of the step's whole loss, and all weights within twice that of their common length.
 */
function agree(eager: Training, graph: Training, tolerance: number, accumulate: number): void {
  assert.equal(graph.losses.length, eager.losses.length);
  eager.losses.forEach((loss, i) =>
    assert.ok(
      Math.abs(loss - (graph.losses[i] as number)) * accumulate <= tolerance * Math.max(1, loss * accumulate),
      `batch ${i}: eager ${loss}, graph ${graph.losses[i]}`,
    ),
  );
  const [a, b] = [weightsOf(eager), weightsOf(graph)];
  const apart = norm(a.map((v, i) => v - (b[i] as number))) / norm(a);
  assert.ok(apart <= 2 * tolerance, `weights are ${apart} apart`);
  assert.equal(graph.trainer.globalStep, eager.trainer.globalStep);
  assert.equal(graph.trainer.skippedSteps, eager.trainer.skippedSteps);
  assert.equal(graph.trainer.precision.lossScale, eager.trainer.precision.lossScale);
}

/** Batches that differ: a lost gradient shows. */
const texts = (n: number): Tensor[][] => {
  seedEverything(1);
  return Array.from({ length: n }, () => {
    const x = randint(64, [8, 16]);
    return [on(x), on(x.roll(-1, 1))];
  });
};
const images = (n: number): Tensor[][] => {
  seedEverything(1);
  const classes = randn([8, 3, 12, 12]);
  return Array.from({ length: n }, () => {
    const y = randint(8, [32]);
    return [on(classes.indexSelect(0, y).add(randn([32, 3, 12, 12]).mul(0.5))), on(y)];
  });
};

/** Batches that are replayed in `epochs` epochs of `length`: all but the warm-up, and windows of one batch. */
function replays(accumulate: number, length: number, epochs: number): number {
  const alone = length % accumulate === 1 ? 1 : 0;
  const warmUp = accumulate * Math.ceil(3 / accumulate);
  return epochs * (length - alone) - warmUp;
}

const LENGTH = 11;
const EPOCHS = 3;
for (const precision of [32, 16, "bf16", "bf16-true"] as const)
  for (const accumulateGradBatches of [2, 4])
    for (const [name, make, batches] of [
      ["GPT", () => new SmallGpt(), texts],
      ["ResNet", () => new SmallResNet(sgd), images],
    ] as const)
      test(
        `windows as CUDA graphs give the losses and weights of eager steps: ${name}, ${precision}, ${accumulateGradBatches} to a step`,
        options,
        async () => {
          const settings: TrainerOptions = {
            precision,
            accumulateGradBatches,
            gradientClipVal: 1,
            maxEpochs: EPOCHS,
            maxSteps: -1,
          };
          const eager = await train(make, batches(LENGTH), settings);
          let graph: Training | null = null;
          const warnings = await warningsOf(
            async () => (graph = await train(make, batches(LENGTH), { ...settings, cudaGraph: true })),
          );
          assert.deepEqual(
            warnings.filter((w) => w.message.includes("cudaGraph")),
            [],
          );
          assert.ok(graph !== null);
          agree(eager, graph, precision === "bf16-true" ? 3e-2 : 5e-3, accumulateGradBatches);
          assert.equal((graph as Training).trainer.replayedBatches, replays(accumulateGradBatches, LENGTH, EPOCHS));
        },
      );

/** One linear layer, whose results depend on nothing but its inputs. */
class Line extends LightningModule {
  readonly fc = new nn.Linear(16, 16);
  override trainingStep(batch: unknown): Tensor {
    const [x] = batch as readonly [Tensor];
    const loss = this.fc.forward(x).float().sub(1).pow(2).mean();
    this.log("loss", loss, { onStep: true, onEpoch: true });
    return loss;
  }
  override configureOptimizers(): optim.Optimizer {
    return new optim.SGD(this.parameters(), { lr: 0.05, momentum: 0.9, fused: true });
  }
}
const rows = (n: number, length: (i: number) => number = () => 8): Tensor[][] => {
  seedEverything(3);
  return Array.from({ length: n }, (_, i) => [on(randn([length(i), 16]))]);
};

test("float16: an overflow anywhere in a window skips its step, inside the graph", options, async () => {
  const batches = rows(30).map((batch, i) => (i === 12 || i === 21 ? batch.map((t) => t.mul(Infinity)) : batch));
  for (const accumulateGradBatches of [2, 3]) {
    const settings: TrainerOptions = { precision: 16, accumulateGradBatches };
    const eager = await train(() => new Line(), batches, settings);
    const graph = await train(() => new Line(), batches, { ...settings, cudaGraph: true });
    assert.equal(eager.trainer.skippedSteps, 2);
    const finite = (run: Training): Training => ({
      ...run,
      losses: run.losses.map((l) => (Number.isFinite(l) ? l : 0)),
    });
    agree(finite(eager), finite(graph), 1e-4, accumulateGradBatches);
    assert.ok(weightsOf(graph).every(Number.isFinite));
    assert.equal(graph.trainer.replayedBatches, replays(accumulateGradBatches, 30, 1));
  }
});

/** What is known of every batch's step: whether it was made, its scale, and its gradients' norm. */
class Outcomes extends Callback {
  readonly seen: { readonly made: unknown; readonly norm: number | undefined }[] = [];
  override onTrainBatchEnd(trainer: TrainerView): void {
    const { stepped, skipped, lossScale, gradNorm } = trainer.lastOutcome ?? {};
    this.seen.push({ made: [stepped, skipped, lossScale], norm: gradNorm });
  }
}
test("every replayed batch has the outcome of its own step", options, async () => {
  for (const accumulateGradBatches of [1, 2]) {
    const [eager, graph] = [new Outcomes(), new Outcomes()];
    const settings: TrainerOptions = { precision: 16, accumulateGradBatches, gradientClipVal: 0.1 };
    const batches = rows(14).map((batch, i) => (i === 9 ? batch.map((t) => t.mul(Infinity)) : batch));
    await train(() => new Line(), batches, { ...settings, callbacks: eager });
    await train(() => new Line(), batches, { ...settings, callbacks: graph, cudaGraph: true });
    assert.deepEqual(
      graph.seen.map((s) => s.made),
      eager.seen.map((s) => s.made),
    );
    eager.seen.forEach(({ norm: a }, i) => {
      const b = graph.seen[i]?.norm;
      assert.ok(
        a === b ||
          Math.abs((a as number) - (b as number)) <= 1e-4 * (a as number) ||
          (!Number.isFinite(a) && !Number.isFinite(b)),
        `batch ${i}: norm ${a} eagerly, ${b} of the graph`,
      );
    });
    assert.equal(
      new Set(graph.seen.map((s) => s.norm).filter((n) => n !== undefined)).size,
      accumulateGradBatches === 1 ? 14 : 7,
    );
  }
});

test("batches of another shape run eagerly within windows whose others are replayed", options, async () => {
  const batches = rows(24, (i) => (i === 9 || i === 16 ? 5 : 8));
  const settings: TrainerOptions = { accumulateGradBatches: 4 };
  const eager = await train(() => new Line(), batches, settings);
  const graph = await train(() => new Line(), batches, { ...settings, cudaGraph: true });
  agree(eager, graph, 1e-5, 4);
  assert.equal(graph.trainer.replayedBatches, 18);
});

/** What a user's code may do to gradients between batches. */
class Meddler extends Callback {
  override onTrainBatchEnd(_: TrainerView, module: LightningModule, __: unknown, ___: unknown, batchIdx: number): void {
    const [weight] = module.parameters();
    if (batchIdx % 4 === 1 && weight !== undefined) weight.grad = null;
    if (batchIdx % 4 === 3) module.zeroGrad(); // as validation does
  }
}
test("gradients removed between batches are linked again, as zeros", options, async () => {
  const settings: TrainerOptions = { accumulateGradBatches: 4, callbacks: new Meddler() };
  const eager = await train(() => new Line(), rows(24), settings);
  const graph = await train(() => new Line(), rows(24), { ...settings, cudaGraph: true });
  agree(eager, graph, 1e-5, 4);
  assert.equal(graph.trainer.replayedBatches, 20);
});

for (const precision of ["16-mixed", "bf16-mixed"] as const)
  test(`cached casts in windows of graphs: ${precision}`, options, async () => {
    const settings = (): TrainerOptions => ({
      plugins: new MixedPrecision({ precision, cacheWeightCasts: true }),
      accumulateGradBatches: 4,
      maxEpochs: EPOCHS,
      maxSteps: -1,
    });
    const eager = await train(() => new SmallGpt(), texts(LENGTH), settings());
    const graph = await train(() => new SmallGpt(), texts(LENGTH), { ...settings(), cudaGraph: true });
    agree(eager, graph, 5e-3, 4);
    assert.equal(graph.trainer.replayedBatches, replays(4, LENGTH, EPOCHS));
  });

test("another number of batches to a step is recorded again, with a warning", options, async () => {
  const settings = (): TrainerOptions => ({
    callbacks: new GradientAccumulationScheduler({ 0: 1, 1: 4, 3: 2 }),
    maxEpochs: 5,
    maxSteps: -1,
  });
  const eager = await train(() => new Line(), rows(8), settings());
  let graph: Training | null = null;
  const warnings = (
    await warningsOf(async () => (graph = await train(() => new Line(), rows(8), { ...settings(), cudaGraph: true })))
  ).map((w) => w.message);
  assert.ok(
    warnings.some((w) => /accumulateGradBatches is 4 now: steps are recorded anew/.test(w)),
    warnings.join("\n"),
  );
  assert.ok(graph !== null);
  agree(eager, graph, 1e-5, 1);
  assert.equal((graph as Training).trainer.replayedBatches, 5 + 4 + 8 + 4 + 8);
});

/** Bytes of the device that tensors hold after each window, and that the allocator has. */
class Held extends Callback {
  readonly seen: (readonly [number, number])[] = [];
  override onTrainBatchEnd(): void {
    const { allocated, reserved } = cuda.memoryStats();
    this.seen.push([allocated, reserved]);
  }
}
test("windows of replays hold no more memory as they go on", options, async () => {
  const run = async (
    accumulateGradBatches: number,
    steps: number,
  ): Promise<{ readonly held: Held; readonly tensors: number }> => {
    const held = new Held();
    const before = memory().unreleased;
    await train(
      () => new SmallResNet(sgd),
      images(1).flatMap((batch) => Array.from({ length: steps }, () => batch)),
      { cudaGraph: true, accumulateGradBatches, callbacks: held },
    );
    return { held, tensors: memory().unreleased - before - steps }; // this test keeps every batch's loss
  };
  await run(4, 16);
  const [short, long] = [await run(4, 16), await run(4, 64)];
  assert.equal(long.tensors, short.tensors);
  const [early, late] = [long.held.seen[15], long.held.seen[63]] as const;
  // The losses that the test keeps are 512 bytes each.
  assert.ok(
    early !== undefined && late !== undefined && late[0] - early[0] <= 48 * 512,
    `${early?.[0]} bytes held after 16 batches, ${late?.[0]} after 64`,
  );
  assert.ok(late[1] <= early[1] + 2 * 2 ** 20, `${early[1]} bytes reserved after 16 batches, ${late[1]} after 64`);
});
