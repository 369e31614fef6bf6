/** Replayed steps with everything else that a Trainer does around them. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { Callback, type Trainer, type TrainerOptions } from "@nbit/lightning";
import { AdamW8bit, SGD8bit } from "@nbit/lowbit";
import { binaryCrossEntropy, crossEntropyLoss, optim, type nn, randint, randn, type Tensor } from "@nbit/torch";
import { warningsOf } from "../helpers/training.js";
import { Classifier, KINDS, type Batch, type Kind } from "./models.js";
import { replaysEqual, trained } from "./train.js";

const MLP = KINDS["mlp"] as Kind;
type MakeOptimizer = (parameters: Iterable<nn.Parameter>) => optim.Optimizer;
const adamw: MakeOptimizer = (p) => new optim.AdamW(p, { lr: 1e-2, fused: true });

function of(kind: Kind, optimizer: MakeOptimizer = adamw, count = 8) {
  return () => ({ module: new Classifier(kind, optimizer), batches: Array.from({ length: count }, kind.batch) });
}

const OPTIMIZERS: Readonly<Record<string, MakeOptimizer>> = {
  "AdamW, not fused": (p) => new optim.AdamW(p, { lr: 1e-2 }),
  "SGD with momentum": (p) => new optim.SGD(p, { lr: 0.1, momentum: 0.9, nesterov: true }),
  AdamW8bit: (p) => new AdamW8bit(p, { lr: 1e-2 }),
  SGD8bit: (p) => new SGD8bit(p, { lr: 1e-2, momentum: 0.9 }),
  Adadelta: (p) => new optim.Adadelta(p, { lr: 0.5 }),
  Adafactor: (p) => new optim.Adafactor(p, { lr: 0.05, weightDecay: 0.1 }),
  Adagrad: (p) => new optim.Adagrad(p, { lr: 0.1, lrDecay: 0.1 }),
  "Adagrad, fused": (p) => new optim.Adagrad(p, { lr: 0.1, fused: true }),
  Adamax: (p) => new optim.Adamax(p, { lr: 0.05 }),
  ASGD: (p) => new optim.ASGD(p, { lr: 0.1, t0: 3, lambd: 0.01 }),
  Muon: (p) =>
    new optim.Muon(
      Array.from(p).filter((each) => each.dim() === 2),
      { lr: 0.02 },
    ),
  NAdam: (p) => new optim.NAdam(p, { lr: 0.05 }),
  RAdam: (p) => new optim.RAdam(p, { lr: 0.05, betas: [0.8, 0.9] }),
  "RMSprop, centered, with momentum": (p) => new optim.RMSprop(p, { lr: 0.01, momentum: 0.5, centered: true }),
  Rprop: (p) => new optim.Rprop(p),
  "NAdam over lists": (p) => new optim.NAdam(p, { lr: 0.05, foreach: true }),
  LBFGS: (p) => new optim.LBFGS(p, { lr: 0.5, maxIter: 3 }),
};
for (const [name, optimizer] of Object.entries(OPTIMIZERS))
  test(`optimizer ${name}`, async () => {
    assert.ok((await replaysEqual(of(MLP, optimizer), {})) > 8);
  });

const SETTINGS: Readonly<Record<string, TrainerOptions>> = {
  "windows of three batches": { accumulateGradBatches: 3 },
  "windows of three batches, float16": { accumulateGradBatches: 3, precision: 16 },
  "clipped by norm": { gradientClipVal: 0.05 },
  "clipped by value, float16": { gradientClipVal: 0.01, gradientClipAlgorithm: "value", precision: 16 },
  "the loss is watched": { detectNonFinite: "gradients" },
  "operators are deterministic": { deterministic: true },
};
for (const [name, options] of Object.entries(SETTINGS))
  for (const kind of ["mlp", "cnn"])
    test(`${name}, ${kind}`, async () => {
      await replaysEqual(of(KINDS[kind] as Kind), options);
    });

test("a loss whose kernel cannot be given memory is the eager one", async () => {
  class Binary extends Classifier {
    override trainingStep([x, y]: Batch): Tensor {
      const loss = binaryCrossEntropy(this.net.forward(x).sigmoid().select(1, 0), y.gt(2).float());
      this.log("loss", loss);
      return loss;
    }
  }
  const replayed = await replaysEqual(
    () => ({ module: new Binary(MLP, adamw), batches: Array.from({ length: 8 }, MLP.batch) }),
    {},
  );
  assert.ok(replayed > 8);
});

test("steps that a scaler skips leave the same", async () => {
  const big: Kind = {
    ...MLP,
    batch: () => [randn([4, 12]).mul(randint(0, 4, [1]).sub(1).mul(3e3)), randint(0, 5, [4])],
  };
  assert.ok((await replaysEqual(of(big), { precision: 16, maxEpochs: 3 })) > 8);
});

test("a schedule, and callbacks that look at gradients", async () => {
  class Looking extends Callback {
    readonly norms: number[] = [];
    override onAfterBackward(_trainer: Trainer, module: Classifier): void {
      this.norms.push(...[...module.parameters()].map((p) => p.grad?.norm().item() ?? -1));
    }
    override onBeforeOptimizerStep(): void {
      this.norms.push(0);
    }
  }
  class Scheduled extends Classifier {
    override configureOptimizers() {
      const optimizer = new optim.SGD(this.parameters(), { lr: 0.1 });
      return { optimizer, lrScheduler: { scheduler: new optim.StepLR(optimizer, 2), interval: "step" } } as never;
    }
  }
  const looks = new Looking();
  const replayed = await replaysEqual(
    () => ({ module: new Scheduled(MLP, adamw), batches: Array.from({ length: 8 }, MLP.batch) }),
    { callbacks: looks },
  );
  assert.ok(replayed > 8);
  assert.deepEqual(looks.norms.splice(looks.norms.length / 2), looks.norms);
});

test("batches of several shapes are recorded each; with too many the run says how to have fewer", async () => {
  const lengths: Kind = { ...MLP, batch: () => [randn([3, 12]), randint(0, 5, [3])] };
  const batchesOf = (sizes: readonly number[]): Batch[] => sizes.map((n) => [randn([n, 12]), randint(0, 5, [n])]);
  const make = (sizes: readonly number[]) => () => ({
    module: new Classifier(lengths, adamw),
    batches: batchesOf(sizes),
  });
  assert.equal(await replaysEqual(make([3, 4, 3, 4, 3, 4]), {}), 8);
  const many = Array.from({ length: 40 }, (_, i) => 1 + (i % 20));
  const warnings = await warningsOf(() => replaysEqual(make(many), {}));
  assert.ok(warnings.some(({ code }) => code === "WARN_REPLAY_SHAPES"));
});

test("what the module counts and decides is as in eager steps", async () => {
  class Counting extends Classifier {
    calls = 0;
    override trainingStep([x, y]: Batch): Tensor {
      this.calls++;
      const loss = crossEntropyLoss(this.net.forward(x), y);
      this.log("calls", this.calls);
      return this.calls % 5 === 0 ? loss.mul(0.5) : loss;
    }
  }
  const modules: Counting[] = [];
  await replaysEqual(() => {
    const module = new Counting(MLP, adamw);
    modules.push(module);
    return { module, batches: Array.from({ length: 12 }, MLP.batch) };
  }, {});
  assert.deepEqual(
    modules.map(({ calls }) => calls),
    [24, 24],
  );
});

test("a layer that is frozen for an epoch is recorded anew, twice", async () => {
  class Freezing extends Callback {
    override onTrainEpochStart(trainer: Trainer, module: Classifier): void {
      for (const p of [...module.parameters()].slice(0, 2)) p.requiresGrad_(trainer.currentEpoch !== 1);
    }
  }
  const replayed = await replaysEqual(of(MLP, adamw, 14), { maxEpochs: 3, callbacks: new Freezing() });
  assert.ok(replayed >= 12 + 4 + 4, String(replayed));
});

test("explain says how steps ran", async () => {
  const { trainer } = await trained(of(MLP), {});
  assert.match(
    trainer.precision.explain({ print: false }).toString(),
    /steps +14 of 16 batches replayed; the others were recorded/,
  );
  class Manual extends Classifier {
    constructor() {
      super(MLP, adamw);
      this.automaticOptimization = false;
    }
    override trainingStep([x, y]: Batch): Tensor {
      const [optimizer] = [this.optimizers()].flat();
      optimizer?.zeroGrad();
      const loss = crossEntropyLoss(this.net.forward(x), y);
      this.manualBackward(loss);
      optimizer?.step();
      return loss;
    }
  }
  const manual = () => ({ module: new Manual(), batches: Array.from({ length: 3 }, MLP.batch) });
  const warnings = await warningsOf(() => trained(manual, { replay: true }));
  assert.ok(warnings.some(({ code, message }) => code === "WARN_NO_REPLAY" && /manual optimization/.test(message)));
  const silent = await warningsOf(() => trained(manual, {}));
  assert.deepEqual(silent, []);
});
