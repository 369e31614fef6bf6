import assert from "node:assert/strict";
import { beforeEach, test } from "node:test";
import {
  DoublePrecision,
  Float8Precision,
  FullPrecision,
  HalfPrecision,
  LightningModule,
  MixedPrecision,
  Trainer,
} from "@nbit/lightning";
import type { Precision } from "@nbit/lightning";
import {
  getDefaultDtype,
  isGradEnabled,
  isTensor,
  manualSeed,
  matmul,
  nn,
  optim,
  randn,
  scope,
  setNumThreads,
  tensor,
  zeros,
} from "@nbit/torch";
import type { Tensor } from "@nbit/torch";
import { QUIET } from "../helpers/training.js";

setNumThreads(1); // tiny tensors
beforeEach(() => void manualSeed(1)); // batches and weights are the same in every run

/** What every precision plugin must do, ours and others': the suite runs the same checks on each. */
const PLUGINS: readonly (readonly [string, () => Precision])[] = [
  ["FullPrecision", () => new FullPrecision()],
  ["DoublePrecision", () => new DoublePrecision()],
  ["MixedPrecision 16", () => new MixedPrecision({ precision: "16-mixed" })],
  ["MixedPrecision bf16", () => new MixedPrecision({ precision: "bf16-mixed" })],
  ["HalfPrecision 16", () => new HalfPrecision("16-true")],
  ["HalfPrecision bf16", () => new HalfPrecision("bf16-true")],
  ["Float8Precision", () => new Float8Precision()],
  ["Float8Precision float16", () => new Float8Precision({ precision: "float8-float16", recipe: "rowwise" })],
];

class Net extends LightningModule {
  readonly layer = new nn.Linear(4, 3);
  readonly norm = new nn.BatchNorm1d(3);
  override forward(x: Tensor): Tensor {
    return this.norm.forward(this.layer.forward(x));
  }
  override trainingStep(batch: Tensor): Tensor {
    return this.forward(batch).float().square().mean();
  }
  override configureOptimizers(): optim.Optimizer {
    return new optim.AdamW(this.parameters(), { lr: 0.01, eps: 1e-4 }); // 1e-8 is 0 in float16
  }
}

for (const [name, make] of PLUGINS) {
  test(`${name}: the module's dtypes are those that it names`, () => {
    const precision = make();
    const module = new Net();
    precision.convertModule(module);
    for (const parameter of module.parameters()) assert.equal(parameter.dtype, precision.dtypes.parameters);
  });

  test(`${name}: matrix products inside forward are in its compute dtype; outside, nothing is left of it`, () => {
    const precision = make();
    const dtype = getDefaultDtype();
    scope(() => {
      const batch = precision.convertInput([zeros([2, 4]), tensor([1, 2], { dtype: "int64" }), "name"]) as [
        Tensor,
        Tensor,
        string,
      ];
      assert.equal(batch[0].dtype, precision.convertsInput ? precision.dtypes.compute : "float32");
      assert.equal(batch[1].dtype, "int64");
      assert.equal(batch[2], "name");
      const product = precision.forward(() => matmul(batch[0], batch[0].t()));
      assert.equal(product.dtype, precision.dtypes.compute);
      const inner = precision.forward(() => precision.outside(() => isGradEnabled()));
      assert.equal(inner, true);
      assert.equal(matmul(zeros([2, 2]), zeros([2, 2])).dtype, "float32");
    });
    assert.throws(() => precision.forward(() => assert.fail("inside")), /inside/);
    assert.equal(getDefaultDtype(), dtype);
    assert.equal(
      scope(() => matmul(zeros([2, 2]), zeros([2, 2])).dtype),
      "float32",
    );
  });

  test(`${name}: a step changes weights, and a scaled loss leaves unscaled gradients`, () => {
    const precision = make();
    const module = new Net();
    precision.convertModule(module);
    const optimizer = new optim.SGD(module.parameters(), { lr: 0.5 });
    precision.connect(module, [optimizer]);
    const before = module.layer.weight.detach().clone();
    const input = precision.convertInput(randn([8, 4])) as Tensor;
    const loss = precision.forward(() => module.trainingStep(input));
    precision.scaleLoss(loss).backward();
    precision.unscale(optimizer);
    precision.unscale(optimizer); // a second time does nothing
    const gradient = module.layer.weight.grad;
    assert.ok(gradient !== null && Number(gradient.abs().max().item()) < 10);
    assert.equal(gradient.dtype, precision.dtypes.gradients);
    const step = precision.step(optimizer);
    precision.update();
    assert.equal(step.stepped, true);
    assert.equal(step.nonFinite, undefined);
    assert.notDeepEqual(module.layer.weight.detach().tolist(), before.tolist());
    assert.deepEqual(precision.mainParams(optimizer).length, 4);
    assert.equal(precision.skippedSteps, 0);
  });

  test(`${name}: its state goes through plain values and tensors and back`, () => {
    const state = make().stateDict();
    const other = make();
    if (state !== null) other.loadStateDict(state);
    assert.deepEqual(other.stateDict(), state);
  });

  test(`${name}: trains through the Trainer and explains itself`, async () => {
    const trainer = new Trainer({ ...QUIET, maxEpochs: 2, plugins: make() });
    const net = new Net();
    const batches = Array.from({ length: 3 }, () => randn([8, 4]));
    await trainer.fit(net, { trainDataloaders: batches });
    assert.equal(trainer.globalStep, 6);
    const explanation = trainer.precision.explain({ print: false });
    assert.equal(explanation.name, trainer.precision.name);
    assert.match(
      explanation.toString(),
      /^asked {2,}\(default\)\nruns {2,}\S+ \(\w+\)\nbecause {2,}a plugin was given\n( {6,}products of .+\n)?device {2,}cpu: /,
    );

    // The forecast is what there is.
    const { memory } = explanation;
    assert.ok(memory !== null);
    const parameters = net.parameters();
    const bytes = (tensors: Iterable<Tensor>): number => [...tensors].reduce((sum, t) => sum + t.nbytes, 0);
    assert.equal(memory.parameters, bytes(parameters));
    assert.equal(memory.gradients, bytes(parameters.map((p) => p.grad).filter((g) => g !== null)));
    const perElement = memory.optimizerState / memory.parameters;
    assert.equal(perElement, 2);
  });
}

for (const [name, make] of PLUGINS) {
  test(`${name}: the forecast of memory is within 5 % of what training holds`, async () => {
    for (const create of [
      (p: Tensor[]) => new optim.AdamW(p),
      (p: Tensor[]) => new optim.SGD(p, { lr: 0.01, momentum: 0.9 }),
      (p: Tensor[]) => new optim.SGD(p, { lr: 0.01 }),
    ]) {
      class Wide extends LightningModule {
        readonly layer = new nn.Linear(64, 64);
        override forward(x: Tensor): Tensor {
          return this.layer.forward(x);
        }
        override trainingStep(batch: Tensor): Tensor {
          return this.forward(batch).float().square().mean();
        }
        override configureOptimizers(): optim.Optimizer {
          return create(this.parameters());
        }
      }
      const trainer = new Trainer({ ...QUIET, maxEpochs: 1, plugins: make() });
      const net = new Wide();
      await trainer.fit(net, { trainDataloaders: [randn([4, 64])] });
      const { memory } = trainer.precision.explain({ print: false });
      assert.ok(memory !== null);
      let held = 0;
      for (const parameter of net.parameters()) held += parameter.nbytes + (parameter.grad?.nbytes ?? 0);
      for (const state of trainer.optimizers[0]?.state.values() ?? [])
        for (const value of Object.values(state)) if (isTensor(value)) held += value.nbytes;
      assert.ok(Math.abs(memory.total - held) <= 0.05 * held, `${memory.total} forecast, ${held} held`);
    }
  });
}

test("LBFGS sees fresh gradients in each of its evaluations, and equals a hand-written loop", async () => {
  const batches = [randn([8, 4]), randn([8, 4])];
  class Closed extends Net {
    override configureOptimizers(): optim.Optimizer {
      return new optim.LBFGS(this.parameters(), { lr: 0.1, maxIter: 4 });
    }
  }
  const start = new Net().stateDict();
  const trained = new Closed();
  trained.loadStateDict(start);
  await new Trainer({ ...QUIET, maxEpochs: 1 }).fit(trained, { trainDataloaders: batches });

  const looped = new Net();
  looped.loadStateDict(start);
  const optimizer = new optim.LBFGS(looped.parameters(), { lr: 0.1, maxIter: 4 });
  for (const batch of batches) {
    optimizer.step(() => {
      optimizer.zeroGrad();
      const loss = looped.trainingStep(batch);
      loss.backward();
      return loss;
    });
  }
  for (const [name, tensor] of looped.stateDict())
    assert.deepEqual(trained.stateDict().get(name)?.detach().tolist(), tensor.detach().tolist(), name);
});

test("LBFGS works without a scaler and is refused with one", async () => {
  class Quadratic extends Net {
    override configureOptimizers(): optim.Optimizer {
      return new optim.LBFGS(this.parameters(), { lr: 0.1, maxIter: 3 });
    }
  }
  const batches = [randn([8, 4]), randn([8, 4])];
  await new Trainer({ ...QUIET, maxEpochs: 1 }).fit(new Quadratic(), { trainDataloaders: batches });
  await assert.rejects(
    new Trainer({ ...QUIET, maxEpochs: 1, precision: 16 }).fit(new Quadratic(), { trainDataloaders: batches }),
    {
      code: "ERR_PRECISION_CLOSURE",
      message:
        /^precision "16-mixed": expected an optimizer that steps once per backward\. .*LBFGS evaluates the loss several times per step, which a loss scaler cannot follow\. Use precision: "bf16" or 32, or another optimizer\.$/,
    },
  );
});

test("a float16 run that was started under APEX goes on natively at its scale", () => {
  const plugin = new MixedPrecision({ scaler: { growthInterval: 50 } });
  plugin.loadStateDict({ loss_scaler0: { loss_scale: 512, unskipped: 7 }, masters: {}, skippedSteps: 2 });
  assert.deepEqual(plugin.stateDict(), {
    scale: 512,
    growthFactor: 2,
    backoffFactor: 0.5,
    growthInterval: 50,
    growthTracker: 7,
    skippedSteps: 2,
  });
});
