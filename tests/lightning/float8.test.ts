import assert from "node:assert/strict";
import { join } from "node:path";
import { test } from "node:test";
import {
  CPUAccelerator,
  Float8Precision,
  LightningModule,
  QuantizedPrecision,
  Trainer,
  type TrainerOptions,
} from "@nbit/lightning";
import { FLOAT8_RECIPES, Float8Linear, withFloat8Histories, type Float8RecipeName } from "@nbit/lowbit";
import { memory, nn, optim, randn, seedEverything, setNumThreads, zeros, type Tensor } from "@nbit/torch";
import { PretendedGPU } from "../helpers/pretended-gpu.js";
import { temporaryFolder } from "../helpers/temporary-folder.js";
import { QUIET, warningsOf } from "../helpers/training.js";

setNumThreads(1);
const folder = temporaryFolder("float8");
const RECIPES = Object.keys(FLOAT8_RECIPES) as Float8RecipeName[];

class Net extends LightningModule {
  readonly first = new nn.Linear(32, 64);
  readonly norm = new nn.LayerNorm(64);
  readonly second = new nn.Linear(64, 16);
  readonly losses: number[] = [];
  override trainingStep(x: Tensor): Tensor {
    const loss = this.second
      .forward(this.norm.forward(this.first.forward(x).relu()))
      .sub(x.narrow(1, 0, 16))
      .float()
      .square()
      .mean();
    this.losses.push(loss.item());
    return loss;
  }
  override configureOptimizers(): optim.Optimizer {
    return new optim.AdamW(this.parameters(), { lr: 1e-2, eps: 1e-4 }); // float16 has no 1e-8
  }
}
class Frozen extends Net {
  override configureOptimizers(): optim.Optimizer {
    return new optim.SGD(this.second.parameters(), { lr: 1e-2 });
  }
}
const batches = (n = 20): Tensor[] => {
  seedEverything(1);
  const x = randn([48, 32]);
  return Array.from({ length: n }, () => x);
};

test('precision "float8" says at construction what the device does with float8, once', async () => {
  class Cpu extends CPUAccelerator {
    override support(): ReturnType<CPUAccelerator["support"]> {
      return { float16: false, bfloat16: true, float8: false, description: "test" };
    }
  }
  const warnings = await warningsOf(() => {
    for (let i = 0; i < 2; i++) new Trainer({ ...QUIET, accelerator: new Cpu(), precision: "float8" });
    new Trainer({
      ...QUIET,
      accelerator: new PretendedGPU(() => [8, 0]),
      plugins: new Float8Precision({ precision: "float8-float16" }),
    });
    new Trainer({ ...QUIET, accelerator: new PretendedGPU(() => [9, 0]), precision: "float8" });
  });
  assert.deepEqual(warnings, [
    {
      code: "WARN_PRECISION_EMULATED",
      message:
        'precision "float8": float8 products run on the CPU for correctness (test). Their numbers are right, their speed is not; precision: "bf16-true" is faster here.',
    },
    {
      code: "WARN_PRECISION_EMULATED",
      message:
        'precision "float8-float16": float8 products, which need compute capability 8.9, are emulated in float32 (CUDA device, compute capability 8.0). Their numbers are right, their speed is not; precision: "bf16-true" is faster here.',
    },
  ]);
  assert.throws(() => new Float8Precision({ precision: "fp8" as never }), { code: "ERR_PRECISION_PLUGIN" });
});

test("both precisions train near bfloat16, keep their dtypes and explain themselves", async () => {
  const last = async (options: TrainerOptions): Promise<{ loss: number; net: Net; trainer: Trainer }> => {
    seedEverything(2);
    const net = new Net();
    const trainer = new Trainer({ ...QUIET, maxEpochs: 1, ...options });
    await trainer.fit(net, { trainDataloaders: batches(30) });
    return { loss: net.losses.at(-1) ?? NaN, net, trainer };
  };
  const reference = await last({ precision: "bf16-true" });
  assert.ok(reference.loss < 0.5 * (reference.net.losses[0] ?? NaN));
  for (const [precision, dtype] of [
    ["float8", "bfloat16"],
    ["float8-float16", "float16"],
  ] as const) {
    const { loss, net, trainer } = await last({ precision });
    assert.ok(
      Math.abs(loss - reference.loss) < 0.15 * (reference.net.losses[0] ?? NaN),
      `${precision} ${loss}, bf16 ${reference.loss}`,
    );
    assert.ok((net.first as unknown) instanceof Float8Linear);
    for (const p of net.parameters()) assert.equal(p.dtype, dtype);
    const text = trainer.precision.explain({ print: false }).toString();
    assert.match(
      text,
      new RegExp(
        `runs +${precision} \\(Float8Precision\\)\\nbecause +products of 2 of 2 layers in float8, recipe tensorwise\\n`,
      ),
    );
  }
  for (const recipe of RECIPES) {
    const precision = new Float8Precision({ recipe, filter: (_, path) => path === "first" });
    const { loss } = await last({ plugins: precision });
    assert.ok(Math.abs(loss - reference.loss) < 0.15 * (reference.net.losses[0] ?? NaN), `${recipe} ${loss}`);
    assert.deepEqual(
      precision.conversion?.layers.map((l) => l.reason),
      [recipe, "the filter refused it"],
    );
  }
});

test("accumulation, mixed precision with layers converted by hand, and a model without float8 layers", async () => {
  seedEverything(3);
  const net = new Net();
  (net as { first: nn.Module }).first = Float8Linear.from(net.first, { recipe: "rowwise" });
  await new Trainer({ ...QUIET, precision: "bf16", maxEpochs: 1, accumulateGradBatches: 4 }).fit(net, {
    trainDataloaders: batches(24),
  });
  assert.ok((net.losses.at(-1) ?? NaN) < 0.8 * (net.losses[0] ?? NaN));
  assert.equal(net.first.weight.dtype, "float32");

  class Odd extends LightningModule {
    readonly fc = new nn.Linear(5, 3);
    override trainingStep(x: Tensor): Tensor {
      return this.fc.forward(x).float().square().mean();
    }
    override configureOptimizers(): optim.Optimizer {
      return new optim.SGD(this.parameters(), { lr: 0.1 });
    }
  }
  const warnings = await warningsOf(() =>
    new Trainer({ ...QUIET, plugins: new Float8Precision(), maxEpochs: 1 }).fit(new Odd(), {
      trainDataloaders: [randn([4, 5])],
    }),
  );
  assert.deepEqual(
    warnings.filter((w) => w.code === "WARN_FLOAT8_NOTHING"),
    [
      {
        code: "WARN_FLOAT8_NOTHING",
        message:
          'precision "float8": no layer runs in float8, everything runs in bfloat16. fc: inFeatures 5 and outFeatures 3 are not a multiple of 16.',
      },
    ],
  );
});

test("resume equals uninterrupted to the last bit, with the histories of delayed scaling, and steps leave nothing behind", async () => {
  const make = (): { net: Net; trainer: (maxEpochs: number) => Trainer } => {
    seedEverything(4);
    return {
      net: new Net(),
      trainer: (maxEpochs) => new Trainer({ ...QUIET, maxEpochs, plugins: new Float8Precision({ recipe: "delayed" }) }),
    };
  };
  const whole = make();
  const data = batches(5).map((x, i) => x.mul(1 + i));
  const live: number[] = [];
  whole.net.onTrainBatchEnd = () => void live.push(memory().unreleased);
  await whole.trainer(2).fit(whole.net, { trainDataloaders: data });
  assert.equal(new Set(live.slice(-4)).size, 1, String(live));

  const half = make();
  const trainer = half.trainer(1);
  await trainer.fit(half.net, { trainDataloaders: data });
  const path = join(folder, "half.ckpt");
  trainer.saveCheckpoint(path);
  const resumed = make();
  await resumed.trainer(2).fit(resumed.net, { trainDataloaders: data, ckptPath: path });
  assert.deepEqual(resumed.net.losses, whole.net.losses.slice(5));
  for (const [name, t] of whole.net.stateDict())
    assert.deepEqual(resumed.net.stateDict().get(name)?.tolist(), t.tolist(), name);
  assert.ok([...whole.net.stateDict().keys()].includes("first.amax_history_gradient"));
});

class Checked extends Net {
  override validationStep(): void {}
}
const values = (net: nn.Module): unknown =>
  [...net.stateDict()]
    .filter(([name]) => !name.includes("amax_history"))
    .map(([name, t]) => [name, t.double().tolist()]);

test("histories of delayed scaling are ignored by another recipe, precision or module, start empty where missing, and keep the newest entries when longer", async () => {
  const of = (options: TrainerOptions): Trainer => new Trainer({ ...QUIET, maxEpochs: 1, ...options });
  seedEverything(5);
  const saved = join(folder, "delayed.ckpt");
  const net = new Checked();
  const first = of({ plugins: new Float8Precision({ recipe: "delayed", historyLength: 4 }) });
  await first.fit(net, { trainDataloaders: batches(3) });
  first.saveCheckpoint(saved);
  const histories = (n: Net): number[][] =>
    [...n.stateDict()].filter(([name]) => name.endsWith("amax_history_input")).map(([, t]) => t.tolist() as number[]);
  const [history = []] = histories(net);
  assert.deepEqual(
    history.map((bits) => bits > 0),
    [true, true, true, false],
  );

  for (const options of [{ precision: 32 }, { plugins: new Float8Precision({ recipe: "rowwise" }) }] as const) {
    const other = new Checked();
    await of(options).validate(other, { dataloaders: batches(1), ckptPath: saved });
    assert.deepEqual(values(other), values(net));
    assert.deepEqual(histories(other), []);
  }
  assert.deepEqual(values(Checked.loadFromCheckpoint(saved, {}, { dtype: "bfloat16" })), values(net));
  for (const [historyLength, kept] of [
    [6, [...history, 0, 0]],
    [2, history.slice(0, 2)],
  ] as const) {
    const other = new Checked();
    await of({ plugins: new Float8Precision({ recipe: "delayed", historyLength }) }).validate(other, {
      dataloaders: batches(1),
      ckptPath: saved,
    });
    assert.deepEqual(histories(other)[0], kept);
    // Weights that come without histories leave none of other weights behind.
    other.loadStateDict(
      withFloat8Histories(other, new Map([...net.stateDict()].filter(([name]) => !name.includes("amax_history")))),
    );
    assert.deepEqual(
      histories(other)[0],
      kept.map(() => 0),
    );
  }
  const wrong = new Checked();
  const state = { ...Object.fromEntries(net.stateDict()), "first.amax_history_input": zeros([4]) };
  assert.throws(() => wrong.loadStateDict(withFloat8Histories(wrong, { ...state, "first.weight": zeros([2]) })), {
    code: "STATE_DICT_MISMATCH",
  });
  assert.throws(() => withFloat8Histories(null as never, {}), {
    code: "ERR_ARGUMENT",
    message: /^withFloat8Histories: expected module to be a module\. Received: null/,
  });
});

test("frozen quantized weights do not load into another format or float8: the error comes before any change, with what to do", async () => {
  const last = (_: nn.Linear, path: string): boolean => path !== "second";
  const forms: readonly (() => TrainerOptions)[] = [
    () => ({ precision: 32 }),
    () => ({ precision: "float8" }),
    () => ({ plugins: new QuantizedPrecision("nf4", { filter: last }) }),
    () => ({ plugins: new QuantizedPrecision("int8", { filter: last }) }),
  ];
  const path = join(folder, "frozen.ckpt");
  for (const [i, from] of forms.entries()) {
    seedEverything(6);
    const trainer = new Trainer({ ...QUIET, maxEpochs: 1, ...from() });
    await trainer.fit(new Frozen(), { trainDataloaders: batches(2) });
    trainer.saveCheckpoint(path);
    for (const [j, to] of forms.entries()) {
      const net = new Frozen();
      const resumed = new Trainer({ ...QUIET, maxEpochs: 2, ...to() }).fit(net, {
        trainDataloaders: batches(2),
        ckptPath: path,
      });
      if (i === j || (i < 2 && j < 2)) {
        await resumed;
        continue;
      }
      await assert.rejects(resumed, {
        code: "STATE_DICT_MISMATCH",
        message:
          / Weights that are frozen in nf4, fp4 or int8 go on in the QuantizedPrecision that they were saved in; for another, /,
      });
      assert.equal(net.losses.length, 0);
    }
  }
});
