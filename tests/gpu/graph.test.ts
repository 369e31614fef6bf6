import assert from "node:assert/strict";
import { test } from "node:test";
import { cuda, memory, NbitError, nn, optim, program, randint, randn, scope, tensor, type Tensor } from "@nbit/torch";
import { LightningModule, type TrainerOptions } from "@nbit/lightning";
import { on, options, SmallGpt, SmallResNet, train, type Training } from "./support.js";
import { warningsOf } from "../helpers/training.js";

const close = (eager: readonly number[], graph: readonly number[], tolerance = 2e-3): void => {
  assert.equal(graph.length, eager.length);
  eager.forEach((loss, i) =>
    assert.ok(
      Math.abs(loss - (graph[i] as number)) <= tolerance * Math.max(1, Math.abs(loss)),
      `step ${i}: eager ${loss}, graph ${graph[i]}`,
    ),
  );
};

for (const precision of [32, 16, "bf16", "bf16-true"] as const)
  for (const [name, make, batches] of [
    ["GPT", () => new SmallGpt(), () => SmallGpt.batches(40)],
    ["ResNet", () => new SmallResNet(), () => SmallResNet.batches(40)],
  ] as const)
    test(`a whole step in one CUDA graph gives the losses of eager steps: ${name}, ${precision}`, options, async () => {
      const settings: TrainerOptions = { precision, gradientClipVal: 1 };
      const eager = await train(make, batches(), settings);
      const graph = await train(make, batches(), { ...settings, cudaGraph: true });
      close(eager.losses, graph.losses, precision === "bf16-true" ? 3e-2 : 5e-3);
    });

/** One linear layer: a batch with an infinite input gives gradients that are not finite. */
class Line extends LightningModule {
  readonly fc = new nn.Linear(16, 16);
  override trainingStep(batch: unknown): Tensor {
    const [x] = batch as readonly [Tensor];
    return this.fc.forward(x).pow(2).mean();
  }
  override configureOptimizers(): optim.Optimizer {
    return new optim.SGD(this.parameters(), { lr: 0.05, momentum: 0.9, fused: true });
  }
}

test("float16 scaling and skipping happen inside the graph, as in eager steps", options, async () => {
  const good = on(randn([8, 16]));
  const bad = good.clone();
  bad.select(0, 0).fill_(Infinity);
  const batches = Array.from({ length: 30 }, (_, i) => [i === 12 || i === 20 ? bad : good]);
  const weights = (run: Training): number[] =>
    [...run.module.parameters()].flatMap((p) => p.detach().flatten().tolist() as number[]);
  const eager = await train(() => new Line(), batches, { precision: 16 });
  const graph = await train(() => new Line(), batches, { precision: 16, cudaGraph: true });
  assert.equal(eager.trainer.skippedSteps, 2);
  assert.equal(graph.trainer.skippedSteps, 2);
  assert.equal(graph.trainer.precision.lossScale, eager.trainer.precision.lossScale);
  close(weights(eager), weights(graph), 1e-4);
  assert.ok(weights(graph).every(Number.isFinite));
});

test("a batch of another shape runs eagerly, and says so once", options, async () => {
  const whole = SmallGpt.batches(20);
  const batches = whole.map((batch, i) => (i % 7 === 6 ? batch.map((t) => t.narrow(0, 0, 5).contiguous()) : batch));
  let run: Training | null = null;
  const warnings = (
    await warningsOf(
      async () => (run = await train(() => new SmallGpt(), batches, { precision: "bf16", cudaGraph: true })),
    )
  ).map((w) => w.message);
  assert.equal(warnings.filter((w) => /runs eagerly; the graph was made for/.test(w)).length, 1, warnings.join("\n"));
  close(
    (await train(() => new SmallGpt(), batches, { precision: "bf16" })).losses,
    (run as unknown as Training).losses,
    5e-3,
  );
});

/** Reads the loss in the middle of the step, which no graph can hold. */
class Reads extends Line {
  override trainingStep(batch: unknown): Tensor {
    const loss = super.trainingStep(batch);
    return loss.mul(loss.item() > 1e9 ? 0 : 1);
  }
}
test("a step that reads a value cannot be recorded: it goes on eagerly, and says why", options, async () => {
  const batches = Array.from({ length: 10 }, () => [on(randn([8, 16]))]);
  let run: Training | null = null;
  const warnings = (
    await warningsOf(async () => (run = await train(() => new Reads(), batches, { precision: 32, cudaGraph: true })))
  ).map((w) => w.message);
  assert.ok(
    warnings.some((w) => /the step could not be recorded/.test(w)),
    warnings.join("\n"),
  );
  close((await train(() => new Line(), batches, { precision: 32 })).losses, (run as unknown as Training).losses);
});

test("replays hold no more tensors as they go on", options, async () => {
  const batch = [on(randn([8, 16]))];
  const held = async (steps: number): Promise<number> => {
    const before = memory().unreleased;
    await train(
      () => new Line(),
      Array.from({ length: steps }, () => batch),
      { cudaGraph: true },
    );
    return memory().unreleased - before - steps; // this test keeps every step's loss
  };
  await held(12);
  assert.equal(await held(60), await held(12));
});

test("a graph by hand: replays read new inputs from the memory that was recorded", options, () => {
  const x = on(randint(10, [4])).float();
  const graph = new cuda.CudaGraph();
  assert.throws(
    () => graph.replay(),
    (e) => e instanceof NbitError && e.code === "CUDA_GRAPH_EMPTY",
  );
  graph.warmUp(() => scope(() => void x.mul(2)));
  const y = graph.capture(() => x.mul(2).add(1));
  assert.throws(
    () => graph.capture(() => x),
    (e) => e instanceof NbitError && e.code === "CUDA_GRAPH_CAPTURED",
  );
  x.copy_(tensor([1, 2, 3, 4]));
  graph.replay();
  assert.deepEqual(y.tolist(), [3, 5, 7, 9]);
  x.copy_(tensor([0, 0, 0, 1]));
  graph.replay();
  assert.deepEqual(y.tolist(), [1, 1, 1, 3]);
});

test(
  "graphs that share a pool hold the room of one; a later result outlives the earlier graph's replays only as a copy",
  options,
  () => {
    const MIB = 2 ** 20;
    const x = on(randn([4 * MIB]));
    const work = (t: Tensor): Tensor => scope(() => t.mul(2).add(1).mul(t).sum());
    /** What recording adds to the memory that is taken from the driver. */
    const added = (graph: cuda.CudaGraph, fn: () => Tensor): readonly [number, Tensor] => {
      cuda.emptyCache();
      const before = cuda.memoryStats().reserved;
      const result = graph.capture(fn);
      return [cuda.memoryStats().reserved - before, result];
    };
    const first = new cuda.CudaGraph();
    first.warmUp(() => scope(() => void work(x)));
    const [own, a] = added(first, () => work(x));
    const sharing = new cuda.CudaGraph({ pool: first });
    const [shared, b] = added(sharing, () => work(x).neg());
    const alone = new cuda.CudaGraph();
    const [more, c] = added(alone, () => work(x).neg());
    assert.ok(own >= 16 * MIB && more >= 16 * MIB && shared < 16 * MIB, `${own}, ${shared}, ${more} bytes`);
    const expected = work(x).item();
    first.replay();
    sharing.replay();
    const copy = b.clone();
    alone.replay();
    first.replay();
    assert.deepEqual([a.item(), copy.item(), c.item()], [expected, -expected, -expected]);
    sharing.dispose();
    first.dispose();
    assert.throws(
      () => first.replay(),
      (e) => e instanceof NbitError && e.code === "CUDA_GRAPH_EMPTY",
    );
    assert.throws(() => new cuda.CudaGraph({ pool: first }), /expected pool to be a CudaGraph that is not disposed of/);
    alone.replay();
    assert.equal(c.item(), -expected);
  },
);

test("a recorded step is a program to read, and explain says how batches ran", options, async () => {
  const { trainer } = await train(() => new SmallGpt(), SmallGpt.batches(8), { precision: "bf16", cudaGraph: true });
  assert.ok(trainer.stepProgram !== null);
  const text = program.print(trainer.stepProgram);
  assert.match(text, /^input batch0 = %\d+: int64\[8, 16\]\ninput batch1 = /);
  assert.match(text, /aten::mm[^]*nbit::fused_adam_/);
  assert.match(
    trainer.precision.explain({ print: false }).steps ?? "",
    /^5 of 8 batches replayed as CUDA graphs \(\d+ operators\)$/,
  );
});

class LooksAtItsLoss extends SmallGpt {
  override trainingStep(batch: unknown): Tensor {
    const loss = super.trainingStep(batch);
    return loss.item() > 1e9 ? loss.mul(2) : loss;
  }
}
test("a step that reads a value is not recorded, and its line is named", options, async () => {
  const { trainer } = await train(() => new LooksAtItsLoss(), SmallGpt.batches(8), { cudaGraph: true });
  assert.equal(trainer.replayedBatches, 0);
  assert.match(
    trainer.precision.explain({ print: false }).steps ?? "",
    /^eagerly: the step could not be recorded \(.*; .*graph\.test\.[jt]s:\d+:\d+\)$/,
  );
});
