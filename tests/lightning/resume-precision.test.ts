/**
 * A run that another precision began goes on from its weights, optimizer state, gradients of an open window and scale:
 * every pair.
 */
import assert from "node:assert/strict";
import { join } from "node:path";
import { test } from "node:test";
import { ApexPrecision, Float8Precision, LightningModule, MixedPrecision, Trainer } from "@nbit/lightning";
import type { TrainerOptions } from "@nbit/lightning";
import { loadCheckpoint, nn, optim, randn, saveCheckpoint, seedEverything, setNumThreads, tensor } from "@nbit/torch";
import type { DType, Tensor } from "@nbit/torch";
import { temporaryFolder } from "../helpers/temporary-folder.js";
import { QUIET } from "../helpers/training.js";

setNumThreads(1);
const OPTIONS: TrainerOptions = { ...QUIET, accumulateGradBatches: 2 };
const folder = temporaryFolder("resume-precision");

const SIDE = 16; // the least that float8 products take

interface Seen {
  readonly globalStep: number;
  readonly scale: number | null;
  readonly skipped: number;
  readonly weight: number[];
  readonly momentum: number[];
  readonly gradient: number[];
}
class Net extends LightningModule {
  readonly layer = new nn.Linear(SIDE, SIDE);
  readonly norm = new nn.BatchNorm1d(SIDE);
  seen: Seen | null = null;
  constructor(readonly stopAfter: number | null) {
    super();
  }
  look(): Seen {
    const { trainer } = this;
    const [optimizer] = trainer.optimizers;
    const stepped = optimizer?.paramGroups[0]?.params[0];
    const momentum = stepped === undefined ? null : optimizer?.state.get(stepped)?.["momentumBuffer"];
    const numbers = (t: unknown): number[] => ((t as Tensor | null)?.double().flatten().tolist() ?? []) as number[];
    return {
      globalStep: trainer.globalStep,
      scale: trainer.lossScale,
      skipped: trainer.skippedSteps,
      weight: numbers(this.stateDict().get("layer.weight")),
      momentum: numbers(momentum),
      gradient: numbers(trainer.precision.gradients.of(this.layer.weight)),
    };
  }
  override onTrainStart(): void {
    if (this.stopAfter === null) this.seen = this.look();
  }
  override onTrainBatchEnd(_outputs: unknown, _batch: unknown, batchIdx: number): void {
    if (batchIdx + 1 !== this.stopAfter) return;
    this.seen = this.look();
    this.trainer.saveCheckpoint(join(folder, "run.ckpt"));
  }
  override trainingStep(x: Tensor): Tensor {
    return this.norm
      .forward(this.layer.forward(x))
      .float()
      .square()
      .mean()
      .add(this.layer.weight.float().square().sum());
  }
  override configureOptimizers(): optim.Optimizer {
    return new optim.SGD(this.parameters(), { lr: 2 ** -6, momentum: 0.5 });
  }
}

const apex =
  (optLevel: "O0" | "O1" | "O2" | "O3", more = {}) =>
  (): TrainerOptions => ({ plugins: new ApexPrecision({ optLevel, ...more }) });
/** Options, the dtype of weights and their state as they are saved, and where the scale moves its first value. */
const PRECISIONS: readonly (readonly [string, () => TrainerOptions, DType, number | null])[] = [
  ["32", () => ({ precision: 32 }), "float32", null],
  ["64", () => ({ precision: 64 }), "float64", null],
  ["bf16", () => ({ precision: "bf16" }), "float32", null],
  [
    "16",
    () => ({ plugins: new MixedPrecision({ scaler: { initScale: 2 ** 11, growthInterval: 2 } }) }),
    "float32",
    2 ** 11,
  ],
  [
    "16, lazy",
    () => ({ plugins: new MixedPrecision({ scaler: { initScale: 2 ** 9, growthInterval: 2, lazy: true } }) }),
    "float32",
    2 ** 9,
  ],
  ["16-true", () => ({ precision: "16-true" }), "float16", null],
  ["bf16-true", () => ({ precision: "bf16-true" }), "bfloat16", null],
  ["O0", apex("O0"), "float32", null],
  ["O1", apex("O1", { maxLossScale: 2 ** 12 }), "float32", 2 ** 12],
  ["O2", apex("O2", { maxLossScale: 2 ** 13 }), "float32", 2 ** 13],
  ["O2, two losses", apex("O2", { maxLossScale: 2 ** 13, numLosses: 2 }), "float32", 2 ** 13],
  ["O3", apex("O3"), "float16", null],
  ["float8", () => ({ precision: "float8" }), "bfloat16", null],
  ["float8 beside float16", () => ({ precision: "float8-float16" }), "float16", null],
  ["float8, delayed", () => ({ plugins: new Float8Precision({ recipe: "delayed" }) }), "bfloat16", null],
];
const batches = (): Tensor[] => {
  seedEverything(3);
  return Array.from({ length: 8 }, () => randn([4, SIDE]));
};
const rounded = (values: readonly number[], dtype: DType): number[] =>
  tensor([...values], { dtype: "float64" })
    .to(dtype)
    .double()
    .tolist() as number[];

for (const [from, fromOptions, , fromScale] of PRECISIONS)
  test(`a run in ${from} resumes in every other precision`, async () => {
    const first = new Net(5); // two steps, and one batch of a third window
    const data = batches();
    const trainer = new Trainer({ ...OPTIONS, ...fromOptions(), maxEpochs: 1 });
    await trainer.fit(first, { trainDataloaders: data });
    const was = first.seen;
    assert.ok(
      was !== null && was.globalStep === 2 && was.momentum.length === SIDE ** 2 && was.gradient.length === SIDE ** 2,
    );
    for (const [to, toOptions, dtype, toScale] of PRECISIONS) {
      const where = `${from} to ${to}`;
      const second = new Net(null);
      const next = new Trainer({ ...OPTIONS, ...toOptions(), maxEpochs: 1 });
      await next.fit(second, { trainDataloaders: data, ckptPath: join(folder, "run.ckpt") });
      const is = second.seen;
      assert.ok(is !== null, where);
      assert.equal(is.globalStep, 2, where);
      assert.deepEqual(is.weight, rounded(was.weight, dtype), where);
      assert.deepEqual(is.momentum, rounded(was.momentum, dtype), where);
      assert.deepEqual(is.gradient, rounded(was.gradient, dtype), where);
      // A scale that moves goes on from one that moved; any other begins as it is told.
      if (toScale !== null) assert.equal(is.scale, fromScale !== null ? was.scale : toScale, where);
      else assert.ok(is.scale === null || is.scale === 1, where);
      assert.equal(next.globalStep, 4, where);
      assert.ok(
        second.look().weight.every(Number.isFinite) &&
          JSON.stringify(second.look().weight) !== JSON.stringify(is.weight),
        where,
      );
    }
  });

test("APEX resumes with the scale of PyTorch's, Lightning's and its own state; a wrong one is refused", async () => {
  const net = new Net(null);
  const scale = async (
    state: Record<string, unknown>,
    options: ConstructorParameters<typeof ApexPrecision>[0] = {},
  ): Promise<number | null> => {
    const precision = new ApexPrecision({ optLevel: "O2", ...options });
    await new Trainer({ ...OPTIONS, plugins: precision, maxEpochs: 1, limitTrainBatches: 2 }).fit(net, {
      trainDataloaders: batches(),
    });
    precision.loadStateDict(state);
    return precision.lossScale;
  };
  const pytorch = { scale: 512, growth_factor: 2, backoff_factor: 0.5, growth_interval: 2000, _growth_tracker: 3 };
  for (const state of [
    pytorch,
    { MixedPrecision: pytorch },
    { native_amp_scaling_state: pytorch },
    { loss_scaler0: { loss_scale: 512, unskipped: 3 } },
    { amp_scaling_state: { loss_scaler0: { loss_scale: 512, unskipped: 3 } } },
  ])
    assert.equal(await scale(state), 512, JSON.stringify(state));
  assert.equal(await scale(pytorch, { lossScale: 128 }), 128, "a static scale is this run's own");
  await assert.rejects(scale({ ...pytorch, scale: 0 }), {
    code: "ERR_ARGUMENT",
    message: /expected scale to be a finite number > 0\. Received: 0/,
  });
  const native = new MixedPrecision();
  native.loadStateDict({ amp_scaling_state: { loss_scaler0: { loss_scale: 512, unskipped: 3 } } });
  assert.deepEqual([native.lossScale, native.scaler?.getGrowthTracker()], [512, 3]);
});

test("a file of format 1 from inside a window under a scale is refused before anything is touched: nothing tells whether its gradients are scaled", async () => {
  const old = join(folder, "old.ckpt");
  const write = async (options: TrainerOptions, stopAfter: number): Promise<void> => {
    await new Trainer({ ...OPTIONS, ...options, maxEpochs: 1 }).fit(new Net(stopAfter), {
      trainDataloaders: batches(),
    });
    saveCheckpoint(old, { ...(loadCheckpoint(join(folder, "run.ckpt")) as object), format: 1 });
  };
  const resume = async (net: Net): Promise<void> =>
    new Trainer({ ...OPTIONS, maxEpochs: 1 }).fit(net, { trainDataloaders: batches(), ckptPath: old });
  const weights = (net: Net): unknown => [...net.stateDict()].map(([name, t]) => [name, t.tolist()]);
  for (const options of [
    { precision: 16 },
    apex("O1")(),
    apex("O2", { lossScale: 128 })(),
    apex("O2", { numLosses: 2 })(),
  ] as const) {
    await write(options, 5);
    const net = new Net(null);
    const before = weights(net);
    await assert.rejects(resume(net), {
      code: "ERR_RESUME_WINDOW",
      message:
        /^fit: expected unscaled gradients in a checkpoint from inside an accumulation window\. Received: .*old\.ckpt, of format 1, which may hold them multiplied by the loss scale\. Go on from a checkpoint of the end of a window, /,
    });
    assert.deepEqual(weights(net), before);
    assert.equal(net.seen, null);
    await write(options, 4); // between two windows there are no gradients
    await resume(net);
  }
  // A scale of 1, or none, multiplies nothing.
  for (const options of [{ precision: 32 }, { precision: "bf16-true" }, apex("O0")(), apex("O3")()] as const) {
    await write(options, 5);
    const net = new Net(null);
    await resume(net);
    assert.equal((net.seen as Seen | null)?.gradient.length, SIDE ** 2);
  }
});
