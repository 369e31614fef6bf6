import assert from "node:assert/strict";
import { statSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import {
  LightningModule,
  ModelCheckpoint,
  precisionFor,
  readCheckpoint,
  seedEverything,
  Trainer,
  type ModulePrecisions,
  type PrecisionInput,
  type TrainerOptions,
} from "@nbit/lightning";
import {
  Complex,
  full,
  memory,
  nn,
  ones,
  optim,
  randn,
  relu,
  scope,
  setNumThreads,
  tensor,
  type Tensor,
} from "@nbit/torch";
import { temporaryFolder } from "../helpers/temporary-folder.js";
import { QUIET } from "../helpers/training.js";

setNumThreads(1); // tiny tensors

const OPTIONS: TrainerOptions = { ...QUIET, maxSteps: 3 };
const folder = temporaryFolder("per-module");
const seen = new Map<string, string>();

class Probe extends nn.Module {
  readonly fc = new nn.Linear(4, 4);
  readonly norm = new nn.LayerNorm([4]);
  constructor(readonly label: string) {
    super();
  }
  forward(x: Tensor): Tensor {
    const y = this.fc.forward(x);
    seen.set(this.label, `${x.dtype} ${y.dtype}`);
    return this.norm.forward(relu(y));
  }
}
class Net extends LightningModule {
  readonly backbone = new nn.Sequential(new Probe("backbone.0"), new Probe("backbone.1"));
  readonly head = new Probe("head");
  override forward(x: Tensor): Tensor {
    return this.head.forward(this.backbone.forward(x) as Tensor);
  }
  override trainingStep(x: Tensor): Tensor {
    const out = this.forward(x);
    seen.set("out", out.dtype);
    return out.sub(x).square().mean();
  }
  override validationStep(x: Tensor): void {
    const out = this.forward(x);
    seen.set("validation", `${this.head.fc.weight.dtype} ${out.dtype}`);
    this.log("val", out.float().square().mean());
  }
  override configureOptimizers(): optim.Optimizer {
    return new optim.AdamW(this.parameters(), { lr: 0.01 });
  }
}
const BATCHES = [randn([8, 4]), randn([8, 4]), randn([8, 4])];

async function run(
  rules: ModulePrecisions,
  base?: Exclude<PrecisionInput, "auto">,
): Promise<{ model: Net; trainer: Trainer }> {
  seen.clear();
  seedEverything(1);
  const model = new Net();
  const trainer = new Trainer({ ...OPTIONS, plugins: precisionFor(rules, base === undefined ? {} : { base }) });
  await trainer.fit(model, { trainDataloaders: BATCHES });
  assert.equal(trainer.globalStep, 3);
  return { model, trainer };
}

test("with a mixed-precision backbone and a float32 head tensors are cast between them, and explain lists both", async () => {
  const { model, trainer } = await run({ head: "32-true", "backbone.*": "bf16" });
  assert.deepEqual(Object.fromEntries(seen), {
    "backbone.0": "float32 bfloat16",
    "backbone.1": "float32 bfloat16",
    head: "float32 float32",
    out: "float32",
  });
  for (const p of model.parameters()) assert.equal(p.dtype, "float32");
  const explanation = trainer.precision.explain({ print: false });
  assert.deepEqual(explanation.modules, [
    ["backbone.0", "bf16-mixed"],
    ["backbone.1", "bf16-mixed"],
    ["head", "32-true"],
  ]);
  assert.match(
    explanation.toString(),
    /modules {2,}backbone\.0: bf16-mixed\n {2,}backbone\.1: bf16-mixed\n {2,}head: 32-true/,
  );
});

test("a true 16-bit backbone has 16-bit weights, inputs and outputs, and the most specific pattern wins", async () => {
  const { model, trainer } = await run({ backbone: "bf16-true", "**.norm": "32-true", "backbone.1": "64" });
  assert.equal(model.backbone.parameters()[0]?.dtype, "bfloat16");
  assert.equal(model.getParameter("backbone.0.norm.weight").dtype, "float32");
  assert.equal(model.getParameter("backbone.1.fc.weight").dtype, "float64");
  assert.equal(model.getParameter("backbone.1.norm.weight").dtype, "float32");
  assert.deepEqual(Object.fromEntries(seen), {
    "backbone.0": "bfloat16 bfloat16",
    "backbone.1": "float64 float64",
    head: "float32 float32",
    out: "float32",
  });
  for (const p of model.parameters()) assert.ok(p.detach().isfinite().all().item());
  assert.equal(
    trainer.precision.explain({ print: false }).memory?.parameters,
    model.parameters().reduce((n, p) => n + p.nbytes, 0),
  );
  assert.equal(model.forward(ones([2, 4])).dtype, "float32", "also outside the Trainer");
});

test("a module stays float32 under autocast, and a head in bf16-true", async () => {
  await run({ head: 32 }, "bf16");
  assert.deepEqual(Object.fromEntries(seen), {
    "backbone.0": "float32 bfloat16",
    "backbone.1": "bfloat16 bfloat16",
    head: "float32 float32",
    out: "float32",
  });
  const { model } = await run({ head: "32" }, "bf16-true");
  assert.equal(model.head.fc.weight.dtype, "float32");
  assert.equal(seen.get("head"), "float32 float32");
  assert.equal(seen.get("out"), "bfloat16");
});

test("one float16 module brings a loss scaler for the whole loss", async () => {
  const { trainer } = await run({ backbone: 16 });
  assert.equal(seen.get("backbone.0"), "float32 float16");
  assert.equal(trainer.lossScale, 65536 / 2 ** trainer.skippedSteps);
  assert.match(trainer.precision.explain({ print: false }).toString(), /loss scaling {2,}dynamic, now \d+/);
});

test("another Trainer starts over, and an equal run gives equal weights", async () => {
  const { model } = await run({ backbone: "bf16-true" });
  const again = await run({ backbone: "bf16-true" });
  for (const [name, t] of model.stateDict()) assert.ok(t.equal(again.model.stateDict().get(name) as Tensor), name);
  const trainer = new Trainer({ ...OPTIONS, plugins: precisionFor({ head: "64-true" }) });
  await trainer.fit(model, { trainDataloaders: BATCHES });
  assert.equal(model.head.fc.weight.dtype, "float64");
  assert.equal(model.getParameter("backbone.0.fc.weight").dtype, "float32");
});

test("wrong rules are refused as soon as they can be checked", async () => {
  const code = "ERR_PRECISION_PATTERN";
  assert.throws(() => precisionFor({}), { code });
  assert.throws(() => precisionFor({ head: 8 as 16 }), { code: "ERR_PRECISION_UNKNOWN" });
  assert.throws(() => precisionFor({ head: "float8" }), { code });
  assert.throws(() => precisionFor({ head: "16-true" }, { base: 16 }), {
    code,
    message: /A loss scaler cannot take float16 gradients/,
  });
  const rejects = (rules: ModulePrecisions, message: RegExp): Promise<void> =>
    assert.rejects(run(rules), { code, message });
  await rejects(
    { haed: "32" },
    /^precisionFor: expected patterns that match modules \(backbone, backbone\.0, .*\)\. Received: "haed"\. `\*` stands for one part of a dotted name, `\*\*` for any number\.$/,
  );
  await rejects(
    { "backbone.*": "bf16", "*.0": "64" },
    /Received: backbone\.\* and \*\.0 for backbone\.0\. Name the module itself\./,
  );
  class Shared extends nn.Module {
    constructor(readonly weight: nn.Parameter) {
      super();
    }
    forward(x: Tensor): Tensor {
      return x.mm(this.weight);
    }
  }
  class Tied extends Net {
    readonly tied = new Shared(this.head.fc.weight);
  }
  const net = new Tied();
  const trainer = new Trainer({ ...OPTIONS, plugins: precisionFor({ backbone: "bf16-true", tied: "bf16-true" }) });
  await assert.rejects(trainer.fit(net, { trainDataloaders: BATCHES }), {
    code,
    message:
      /a weight that is shared to be held in one dtype\. Received: head\.fc\.weight in float32, which is tied\.weight in bfloat16/,
  });
  assert.ok(
    [...net.parameters()].every((p) => p.dtype === "float32"),
    "nothing has changed",
  );
});

// ---------------------------------------------------------------- validation

test("validation in another precision: weights are lent in its dtype and given back exactly", async () => {
  for (const [precision, validationPrecision, expected] of [
    ["bf16-true", 32, "float32 float32"],
    [32, "bf16-true", "bfloat16 bfloat16"],
    ["bf16", 64, "float64 float64"],
    [16, "bf16", "float32 bfloat16"],
  ] as const) {
    const fit = async (options: TrainerOptions): Promise<{ model: Net; trainer: Trainer }> => {
      seedEverything(2);
      const model = new Net();
      const trainer = new Trainer({ ...OPTIONS, precision, accumulateGradBatches: 2, valCheckInterval: 1, ...options });
      await trainer.fit(model, { trainDataloaders: BATCHES, valDataloaders: [ones([2, 4])] });
      return { model, trainer };
    };
    const plain = await fit({});
    const other = await fit({ validationPrecision });
    assert.equal(seen.get("validation"), expected);
    for (const [name, t] of plain.model.stateDict()) {
      const mine = other.model.stateDict().get(name);
      assert.ok(mine?.dtype === t.dtype && mine.equal(t), `${precision} ${name}: training is not disturbed`);
    }
    const before = memory().unreleased;
    await other.trainer.validate(other.model, { dataloaders: [ones([2, 4])] });
    await other.trainer.validate(other.model, { dataloaders: [ones([2, 4])] });
    assert.equal(memory().unreleased, before + 2); // the two batches
  }
  assert.throws(() => new Trainer({ ...OPTIONS, validationPrecision: 8 as 16 }), { code: "ERR_PRECISION_UNKNOWN" });
  assert.throws(() => new Trainer({ ...OPTIONS, ampBackend: "apex", precision: 16, validationPrecision: 32 }), {
    code: "ERR_VALIDATION_PRECISION",
  });
});

// ---------------------------------------------------------------- checkpoints

test("checkpoints in bfloat16 take half the room, and load in a chosen dtype", async () => {
  class Wide extends LightningModule {
    readonly layer = new nn.Linear(64, 256);
    override trainingStep(x: Tensor): Tensor {
      return this.layer.forward(x).square().mean();
    }
    override predictStep(x: Tensor): unknown {
      return this.layer.forward(x);
    }
    override configureOptimizers(): optim.Optimizer {
      return new optim.SGD(this.parameters(), { lr: 0.1 });
    }
  }
  const model = new Wide();
  const trainer = new Trainer({
    ...OPTIONS,
    enableCheckpointing: true,
    callbacks: new ModelCheckpoint({
      dirpath: folder,
      filename: "half",
      saveWeightsOnly: true,
      dtype: "bfloat16",
      everyNTrainSteps: 3,
    }),
  });
  await trainer.fit(model, { trainDataloaders: Array.from({ length: 3 }, () => randn([4, 64])) });
  const [half, whole] = [join(folder, "half.ckpt"), join(folder, "whole.ckpt")];
  trainer.saveCheckpoint(whole, { weightsOnly: true });
  assert.ok(Math.abs(statSync(half).size / statSync(whole).size - 0.5) < 0.05);
  assert.equal(readCheckpoint(half).stateDict["layer.weight"]?.dtype, "bfloat16");
  assert.equal(readCheckpoint(half, { dtype: "float32" }).stateDict["layer.weight"]?.dtype, "float32");
  assert.equal(model.layer.weight.dtype, "float32");

  const loaded = Wide.loadFromCheckpoint(whole, {}, { dtype: "float16" });
  assert.equal(loaded.layer.weight.dtype, "float16");
  const rounded = new Wide();
  await new Trainer(OPTIONS).predict(rounded, {
    dataloaders: [randn([2, 64])],
    ckptPath: whole,
    ckptDtype: "bfloat16",
  });
  assert.equal(rounded.layer.weight.dtype, "float32");
  assert.ok(rounded.layer.weight.equal(model.layer.weight.bfloat16().float()));
  assert.throws(() => trainer.saveCheckpoint(whole, { dtype: "int8" }), {
    code: "ERR_CHECKPOINT_DTYPE",
    message: 'saveCheckpoint: expected dtype to be "float16", "bfloat16", "float32" or "float64". Received: "int8".',
  });
  assert.throws(() => new ModelCheckpoint({ dtype: "int8" }), { code: "ERR_CHECKPOINT_DTYPE" });
  assert.throws(() => readCheckpoint(whole, { dtype: "int8" }), { code: "ERR_CHECKPOINT_DTYPE" });
});

// ---------------------------------------------------------------- metrics

test("16-bit values that are logged accumulate in float32", async () => {
  for (const [precision, dtype] of [
    ["bf16-true", "bfloat16"],
    ["16-true", "float16"],
  ] as const) {
    const count = 3000; // a sum in bfloat16 stops at 256, one in float16 at 2048
    class Logs extends LightningModule {
      readonly w = new nn.Parameter(ones([1]));
      override testStep(x: Tensor): void {
        const one = x.mean().to(dtype);
        assert.equal(one.dtype, dtype);
        this.log("sum", one, { reduceFx: "sum" });
        this.log("mean", one);
      }
    }
    const [result] = await new Trainer({ ...OPTIONS, precision }).test(new Logs(), {
      dataloaders: Array.from({ length: count }, () => full([1], 1, { dtype: "float32" })),
    });
    assert.deepEqual(result, { sum: count, mean: 1 });
  }
  assert.ok(scope(() => tensor([1]).bfloat16().add(256).item()) === 256, "the check can fail");
});

class Tables extends nn.Module {
  readonly shift = new nn.Parameter(tensor([1000.125]));
  declare readonly table: Tensor;
  declare readonly spectrum: Tensor;
  declare readonly count: Tensor;
  constructor(shared: Tensor) {
    super();
    this.registerBuffer("table", tensor([3000.75, 0.1]));
    this.registerBuffer("spectrum", tensor([new Complex(1000.125, 0.1)]));
    this.registerBuffer("count", shared);
  }
  forward(x: Tensor): Tensor {
    return x.add(this.table.sum()).add(this.shift);
  }
}
class Positions extends LightningModule {
  readonly shared = tensor([2 ** 40 + 1], { dtype: "int64" });
  readonly pos = new Tables(this.shared);
  readonly rest = new Tables(this.shared);
  readonly head = new nn.Linear(2, 1);
  override trainingStep(x: Tensor): Tensor {
    return this.head.forward(this.rest.forward(this.pos.forward(x))).sum();
  }
  override configureOptimizers(): optim.Optimizer {
    return new optim.SGD(this.head.parameters(), { lr: 0 });
  }
}
for (const [base, inside] of [
  ["bf16-true", "32-true"],
  ["16-true", "64-true"],
  ["bf16-true", "16-mixed"],
  [64, "32-true"],
  ["16-true", "bf16"],
] as const)
  test(`${inside} in a model of ${base}: no tensor is rounded on its way through the other dtype, complex and whole ones stay, what is shared stays shared`, async () => {
    const model = new Positions();
    await new Trainer({ ...OPTIONS, maxSteps: 1, plugins: precisionFor({ pos: inside }, { base }) }).fit(model, {
      trainDataloaders: [ones([1, 2])],
    });
    const dtypes = {
      "bf16-true": "bfloat16",
      "16-true": "float16",
      64: "float64",
      "32-true": "float32",
      "64-true": "float64",
      "16-mixed": "float32",
      bf16: "float32",
    } as const;
    for (const [tables, precision] of [
      [model.pos, inside],
      [model.rest, base],
    ] as const) {
      const dtype = dtypes[precision];
      assert.deepEqual(
        [tables.table, tables.shift, tables.spectrum, tables.count].map((t) => t.dtype),
        [dtype, dtype, "complex64", "int64"],
      );
      assert.deepEqual(
        [tables.table, tables.shift].map((t) => t.tolist()),
        [tensor([3000.75, 0.1]), tensor([1000.125])].map((t) => t.to(dtype).tolist()),
      );
      assert.deepEqual(tables.spectrum.tolist(), tensor([new Complex(1000.125, 0.1)]).tolist());
      assert.equal(tables.count.item(), 2 ** 40 + 1);
    }
    assert.equal(model.pos.count, model.rest.count);
  });

for (const [precision, options] of [
  [64, {}],
  ["16-true", {}],
  ["bf16-true", {}],
  ["bf16", {}],
  [16, {}],
  [16, { ampBackend: "apex", ampLevel: "O1" }],
  [16, { ampBackend: "apex", ampLevel: "O2" }],
  [16, { ampBackend: "apex", ampLevel: "O3" }],
] as const)
  test(`${precision} ${JSON.stringify(options)}: a complex parameter keeps and learns its imaginary part as in 32`, async () => {
    class Waves extends LightningModule {
      readonly z = new nn.Parameter(tensor([new Complex(1, 2), new Complex(-0.5, 0.25)]));
      readonly fc = new nn.Linear(2, 2);
      override trainingStep(x: Tensor): Tensor {
        return this.z.sub(new Complex(0.5, -3)).abs().square().sum().add(this.fc.forward(x).float().square().mean());
      }
      override configureOptimizers(): optim.Optimizer {
        return new optim.Adam(this.parameters(), { lr: 0.125 });
      }
    }
    const fit = async (extra: TrainerOptions): Promise<Complex[]> => {
      seedEverything(1);
      const model = new Waves();
      await new Trainer({ ...OPTIONS, maxSteps: 4, gradientClipVal: 4, ...extra }).fit(model, {
        trainDataloaders: Array.from({ length: 4 }, () => ones([1, 2])),
      });
      assert.equal(model.z.dtype, "complex64");
      return model.z.tolist() as Complex[];
    };
    const [exact, learned] = [await fit({}), await fit({ precision, ...options })];
    assert.ok(
      exact.every((z, i) => Math.hypot(z.re - (learned[i] as Complex).re, z.im - (learned[i] as Complex).im) < 2e-2),
      `${JSON.stringify(learned)} for ${JSON.stringify(exact)}`,
    );
    assert.ok(Math.abs((exact[0] as Complex).im - 2) > 0.3);
  });
