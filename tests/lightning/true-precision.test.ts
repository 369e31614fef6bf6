import assert from "node:assert/strict";
import { readdirSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import {
  LightningModule,
  ModelCheckpoint,
  seedEverything,
  Trainer,
  type PrecisionInput,
  type TrainerOptions,
} from "@nbit/lightning";
import {
  full,
  getDefaultDtype,
  isTensor,
  nn,
  ones,
  optim,
  randn,
  setNumThreads,
  tensor,
  zeros,
  type DType,
  type Tensor,
} from "@nbit/torch";
import { temporaryFolder } from "../helpers/temporary-folder.js";
import { QUIET, warningsOf } from "../helpers/training.js";

setNumThreads(1); // tiny tensors

const folder = temporaryFolder("true");

/** Messages of the warnings with a code that are given while `run` runs. */
const warnings = async (code: string, run: () => unknown): Promise<string[]> =>
  (await warningsOf(run)).filter((w) => w.code === code).map((w) => w.message);

class Probe extends LightningModule {
  readonly layer = new nn.Linear(4, 4);
  readonly norm = new nn.BatchNorm1d(4);
  late: nn.Linear | null = null;
  readonly seen: Record<string, string[]> = {};
  failAt: string | null = null;
  constructor() {
    super();
    this.registerBuffer("table", full([4], 0.1, { dtype: "float32" }));
    this.registerBuffer("index", tensor([1, 2], { dtype: "int64" }));
  }
  declare table: Tensor;
  declare index: Tensor;
  override configureModel(): void {
    this.late ??= new nn.Linear(4, 2);
  }
  #see(where: string, [x, y, rest]: [Tensor, Tensor, { z: Tensor; name: string }]): Tensor {
    this.seen[where] = [
      x.dtype,
      y.dtype,
      rest.z.dtype,
      zeros([1]).dtype,
      this.table.dtype,
      this.index.dtype,
      this.norm.runningMean?.dtype ?? "",
    ];
    if (this.failAt === where) throw new Error(`failed in ${where}`);
    const out = this.late?.forward(this.norm.forward(this.layer.forward(x.add(this.table))));
    assert.ok(out !== undefined);
    return out.square().mean();
  }
  override trainingStep(batch: [Tensor, Tensor, { z: Tensor; name: string }]): Tensor {
    return this.#see("train", batch);
  }
  override validationStep(batch: [Tensor, Tensor, { z: Tensor; name: string }]): void {
    this.#see("validate", batch);
  }
  override testStep(batch: [Tensor, Tensor, { z: Tensor; name: string }]): void {
    this.#see("test", batch);
  }
  override predictStep(batch: [Tensor, Tensor, { z: Tensor; name: string }]): unknown {
    return this.#see("predict", batch);
  }
  override onAfterBackward(): void {
    this.seen["gradients"] = [...new Set(this.parameters().map((p) => p.grad?.dtype ?? "none"))];
  }
  override onTrainBatchEnd(): void {
    this.seen["hook"] = [zeros([1]).dtype];
  }
  override configureOptimizers(): optim.Optimizer {
    return new optim.SGD(this.parameters(), { lr: 0.1 });
  }
}

for (const [precision, dtype] of [
  ["16-true", "float16"],
  ["bf16-true", "bfloat16"],
  ["64-true", "float64"],
] as const) {
  const batches = [
    [randn([4, 4]), tensor([1, 2, 3, 4], { dtype: "int64" }), { z: randn([4, 1], { dtype: "float64" }), name: "a" }],
  ];

  test(`${precision}: inputs, buffers and tensors made inside every kind of step are ${dtype}; integers stay; nothing is left outside`, async () => {
    const model = new Probe();
    const trainer = new Trainer({ ...QUIET, precision, maxEpochs: 1 });
    await trainer.fit(model, { trainDataloaders: batches, valDataloaders: batches });
    await trainer.test(model, { dataloaders: batches });
    const [prediction] = await trainer.predict(model, { dataloaders: batches });
    const inside = [dtype, "int64", dtype, dtype, dtype, "int64", dtype];
    assert.deepEqual(model.seen, {
      train: inside,
      validate: inside,
      test: inside,
      predict: inside,
      gradients: [dtype],
      hook: ["float32"],
    });
    assert.equal((prediction as Tensor).dtype, dtype);
    assert.equal(model.late?.weight.dtype, dtype, "layers of configureModel");
    assert.equal(getDefaultDtype(), "float32");
  });

  test(`${precision}: the default dtype is restored when a step throws`, async () => {
    for (const where of ["train", "validate", "test", "predict"]) {
      const model = new Probe();
      model.failAt = where;
      const trainer = new Trainer({ ...QUIET, precision, maxEpochs: 1 });
      const run =
        where === "test"
          ? trainer.test(model, { dataloaders: batches })
          : where === "predict"
            ? trainer.predict(model, { dataloaders: batches })
            : trainer.fit(model, { trainDataloaders: batches, valDataloaders: batches });
      await assert.rejects(run, new Error(`failed in ${where}`));
      assert.equal(getDefaultDtype(), "float32", where);
    }
  });
}

// ---------------------------------------------------------------- rounding

/** Weights near 1 that have to come down to 0.9 in steps of 1e-3. */
class Near1 extends LightningModule {
  readonly weight = new nn.Parameter(ones([512]));
  readonly losses: number[] = [];
  constructor(readonly make: (params: Tensor[]) => optim.Optimizer) {
    super();
  }
  override trainingStep(target: Tensor): Tensor {
    const loss = this.weight.sub(target).abs().sum();
    this.losses.push(loss.item());
    return loss;
  }
  override configureOptimizers(): optim.Optimizer {
    return this.make(this.parameters());
  }
}
const MAKE: Record<string, (params: Tensor[], rounding: "nearest" | "kahan" | "stochastic") => optim.Optimizer> = {
  SGD: (p, rounding) => new optim.SGD(p, { lr: 1e-3, momentum: 0.4, rounding }),
  Adam: (p, rounding) => new optim.Adam(p, { lr: 1e-3, rounding }),
  AdamW: (p, rounding) => new optim.AdamW(p, { lr: 1e-3, weightDecay: 0, rounding }),
};
async function train(
  precision: PrecisionInput,
  make: (params: Tensor[]) => optim.Optimizer,
  options: TrainerOptions = {},
  ckptPath: string | null = null,
): Promise<Near1> {
  if (ckptPath === null) seedEverything(5);
  const model = new Near1(make);
  await new Trainer({ ...QUIET, precision, maxSteps: 60, ...options }).fit(model, {
    trainDataloaders: Array.from({ length: 20 }, () => full([512], 0.9)),
    ckptPath,
  });
  return model;
}

for (const [name, make] of Object.entries(MAKE)) {
  test(`bf16-true with ${name}: plain rounding stalls at 1; Kahan and stochastic rounding follow float32`, async () => {
    const mean = async (precision: PrecisionInput, rounding: "nearest" | "kahan" | "stochastic"): Promise<number> =>
      (await train(precision, (p) => make(p, rounding))).weight.float().mean().item();
    const exact = await mean(32, "nearest");
    assert.ok(exact < 0.95, `${exact}`);
    const plain = await mean("bf16-true", "nearest");
    assert.ok(plain > exact + 0.03, `plain ${plain}`);
    for (const rounding of ["kahan", "stochastic"] as const) {
      const reached = await mean("bf16-true", rounding);
      assert.ok(Math.abs(reached - exact) < 0.008, `${rounding} ${reached}, exact ${exact}`);
    }
  });

  for (const rounding of ["kahan", "stochastic"] as const) {
    test(`bf16-true with ${name}, ${rounding}: a run goes on from its checkpoints bit for bit`, async () => {
      const dirpath = join(folder, `${name}-${rounding}`);
      const through = await train("bf16-true", (p) => make(p, rounding), {
        enableCheckpointing: true,
        callbacks: new ModelCheckpoint({ dirpath, everyNTrainSteps: 13, saveTopK: -1 }),
      });
      const files = readdirSync(dirpath);
      assert.equal(files.length, 4);
      for (const file of files) {
        seedEverything(77);
        const again = await train("bf16-true", (p) => make(p, rounding), {}, join(dirpath, file));
        assert.ok(again.weight.equal(through.weight), file);
        assert.deepEqual(again.losses, through.losses.slice(-again.losses.length));
      }
    });
  }
}

test("explain counts the compensation", async () => {
  class Model extends Near1 {}
  const trainer = new Trainer({ ...QUIET, precision: "bf16-true", maxSteps: 1 });
  const model = new Model((p) => new optim.AdamW(p, { rounding: "kahan" }));
  await trainer.fit(model, { trainDataloaders: [full([512], 0.9)] });
  const held = [...(trainer.optimizers[0]?.state.values() ?? [])]
    .flatMap((s) => Object.values(s))
    .reduce((sum: number, v) => sum + (isTensor(v) && v.ndim > 0 ? v.nbytes : 0), 0);
  assert.equal(held, 3 * 512 * 2);
  assert.equal(trainer.precision.explain({ print: false }).memory?.optimizerState, held);
});

// ---------------------------------------------------------------- warnings

test("an eps that is 0 in float16 warns when fit starts, with the fix; other values and dtypes do not", async () => {
  const fit =
    (precision: PrecisionInput, make: (p: Tensor[]) => optim.Optimizer, options: TrainerOptions = {}) =>
    () =>
      train(precision, make, { ...options, maxSteps: 1 }).then(() => undefined);
  const given = await warnings(
    "WARN_EPS_VANISHES",
    fit("16-true", (p) => new optim.AdamW(p)),
  );
  assert.deepEqual(given, [
    'AdamW: its eps of 1e-8 is 0 in float16, so that weights without a gradient become NaN. Use new AdamW(params, { eps: 1e-4 }), precision "bf16-true", or precision 16, whose weights are float32.',
  ]);
  for (const quiet of [
    fit("16-true", (p) => new optim.AdamW(p, { eps: 1e-4 })),
    fit("16-true", (p) => new optim.AdamW(p, { rounding: "kahan" })),
    fit("16-true", (p) => new optim.SGD(p, { lr: 0.1 })),
    fit("bf16-true", (p) => new optim.AdamW(p)),
    fit(16, (p) => new optim.AdamW(p)),
    fit(16, (p) => new optim.AdamW(p), { ampBackend: "apex", ampLevel: "O2" }),
  ])
    assert.deepEqual(await warnings("WARN_EPS_VANISHES", quiet), []);
  assert.equal(
    (
      await warnings(
        "WARN_EPS_VANISHES",
        fit(16, (p) => new optim.AdamW(p), { ampBackend: "apex", ampLevel: "O3" }),
      )
    ).length,
    1,
  );
});

test("updates that vanish for most weights warn once", async () => {
  const code = "WARN_UPDATES_VANISH";
  const plain = await warnings(code, () => train("bf16-true", (p) => new optim.AdamW(p, { lr: 1e-3 })));
  assert.equal(plain.length, 1);
  assert.match(
    plain[0] ?? "",
    /^AdamW: at step 2 most bfloat16 weights did not change although their gradients are not 0: updates are below the spacing of bfloat16's numbers, and training stalls\. Use new AdamW\(params, \{ rounding: "kahan" \}\) or "stochastic", a larger learning rate, or precision "bf16", whose weights are float32\.$/,
  );
  for (const quiet of [
    (p: Tensor[]) => new optim.AdamW(p, { lr: 1e-3, rounding: "kahan" }),
    (p: Tensor[]) => new optim.AdamW(p, { lr: 0.1 }),
  ])
    assert.deepEqual(await warnings(code, () => train("bf16-true", quiet)), []);
  assert.deepEqual(await warnings(code, () => train(32, (p) => new optim.AdamW(p, { lr: 1e-9 }))), []);
  const half: DType = "float16";
  const tiny = await warnings(code, () => train("16-true", (p) => new optim.SGD(p, { lr: 1e-5 })));
  assert.match(tiny[0] ?? "", new RegExp(`most ${half} weights .* precision 16, whose`));
});
