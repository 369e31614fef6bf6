/** Learning rates and batch sizes that are looked for: Lightning's numbers, and everything else as before. */
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import {
  BatchSizeFinder,
  Callback,
  LearningRateFinder,
  Tuner,
  type LrFindOptions,
  type TrainerOptions,
  type TrainerView,
} from "@nbit/lightning";
import { getRngState, NbitError, nn, optim, type Tensor } from "@nbit/torch";
import { temporaryFolder } from "../helpers/temporary-folder.js";
import { loaders, FIXTURE, fit, near, Net, trainerOf, weights } from "./callback-net.js";

const coded =
  (code: string, message = /./) =>
  (error: unknown) => {
    assert.ok(error instanceof NbitError, String(error));
    assert.equal(error.code, code, error.message);
    assert.match(error.message, message);
    return true;
  };
/** Without the lines that searches print. */
async function quietly<T>(run: () => Promise<T>): Promise<T> {
  const { log } = console;
  console.log = () => undefined;
  try {
    return await run();
  } finally {
    console.log = log;
  }
}
const lrFind = (net: Net, options: LrFindOptions = {}, more: TrainerOptions = {}) =>
  quietly(() => new Tuner(trainerOf([], more)).lrFind(net, options));

test("rates, losses and suggestions are Lightning's", async (t) => {
  const cases: Readonly<Record<string, LrFindOptions>> = {
    exponential: { minLr: 1e-4, maxLr: 10, numTraining: 40 },
    linear: { minLr: 1e-3, maxLr: 0.5, numTraining: 30, mode: "linear" },
    diverging: { minLr: 1e-3, maxLr: 1e4, numTraining: 60 },
    endless: { minLr: 1e-3, maxLr: 100, numTraining: 30, earlyStopThreshold: null },
    accumulate: { minLr: 1e-4, maxLr: 10, numTraining: 20 },
  };
  for (const [name, options] of Object.entries(cases))
    await t.test(name, async () => {
      const net = new Net({ momentum: 0 });
      const before = weights(net);
      const finder = await lrFind(net, options, { accumulateGradBatches: name === "accumulate" ? 3 : 1 });
      const want = FIXTURE.lr_find[name];
      assert.ok(finder !== null && want !== undefined);
      near(finder.results.lr, want.lr, "lr");
      const losses = (list: readonly (number | null)[]): number[] =>
        list.map((x) => (Number.isFinite(x) ? (x as number) : -1));
      near(losses(finder.results.loss), losses(want.loss), "loss", 1e-9);
      near(
        [finder.suggestion() ?? 0, finder.suggestion(0, 1) ?? 0, net.lr],
        [want.suggestion ?? 0, want.all ?? 0, want.set],
        "suggestion",
      );
      assert.deepEqual(weights(net), before);
    });
});

test("a search leaves weights, random numbers, modes, scaler, loaders and the Trainer as they were", async () => {
  for (const options of [
    { precision: 16 },
    { precision: "bf16-true" },
    { precision: 64 },
    { ampBackend: "apex", ampLevel: "O2", precision: 16 },
  ] as const) {
    const searched = new Net({ norm: true });
    const plain = new Net({ norm: true });
    searched.norm.eval();
    plain.norm.eval();
    const [data, same] = [loaders(new Net({ shuffle: true })), loaders(new Net({ shuffle: true }))];
    const trainer = trainerOf([], { ...options, maxEpochs: 2 });
    const rng = getRngState().tolist();
    const before = weights(searched);
    await quietly(() => new Tuner(trainer).lrFind(searched, { ...data, numTraining: 12, updateAttr: false }));
    assert.deepEqual(getRngState().tolist(), rng);
    assert.deepEqual(weights(searched), before);
    assert.deepEqual([trainer.globalStep, trainer.state.status, searched.norm.training], [0, "initializing", false]);
    assert.ok(searched.parameters().every((p) => p.grad === null));
    searched.losses.length = 0;
    await trainer.fit(searched, data);
    const { setRngState, tensor } = await import("@nbit/torch");
    setRngState(tensor(rng as number[], { dtype: "uint8" }));
    await trainerOf([], { ...options, maxEpochs: 2 }).fit(plain, same);
    assert.deepEqual(searched.losses, plain.losses);
    assert.deepEqual(weights(searched), weights(plain));
  }
});

test("batch sizes are Lightning's", async () => {
  for (const { mode, limit, how, size } of FIXTURE.scale_batch_size) {
    const net = new Net({ limit });
    const before = weights(net);
    const { steps_per_trial, init_val, max_trials, max_val, margin } = how;
    const options = {
      mode,
      ...(steps_per_trial === undefined ? {} : { stepsPerTrial: steps_per_trial }),
      ...(init_val === undefined ? {} : { initVal: init_val }),
      ...(max_trials === undefined ? {} : { maxTrials: max_trials }),
      ...(max_val === undefined ? {} : { maxVal: max_val }),
      ...(margin === undefined ? {} : { margin }),
    };
    const found = await quietly(() => new Tuner(trainerOf([])).scaleBatchSize(net, options));
    const what = JSON.stringify({ mode, limit, how });
    // Lightning's limit of doubling is none: it ends at the first size beyond, which it does not try.
    const want = Math.min(size, max_val ?? Infinity);
    assert.deepEqual([found, net.batchSize], [want, want], what);
    assert.deepEqual(weights(net), before, what);
  }
});

test("the finders as callbacks: training begins with what they found, and goes on from checkpoints with it", async () => {
  const folder = temporaryFolder("tuner");
  class Save extends Callback {
    override onTrainBatchEnd(trainer: TrainerView): void {
      if (trainer.globalStep === 2) trainer.saveCheckpoint(join(folder, "a.ckpt"));
    }
  }
  const finders = (): Callback[] => [
    new BatchSizeFinder({ stepsPerTrial: 1 }),
    new LearningRateFinder({ minLr: 1e-4, maxLr: 10, numTrainingSteps: 30 }),
  ];
  const whole = new Net({ limit: 20 });
  const [size, rate] = finders() as [BatchSizeFinder, LearningRateFinder];
  await quietly(() => trainerOf([size, rate, new Save()], { maxEpochs: 2 }).fit(whole));
  assert.deepEqual([whole.batchSize, size.optimalBatchSize], [16, 16]);
  assert.equal(whole.lr, rate.optimalLr?.suggestion());
  assert.deepEqual(whole.rates.flat().slice(-2), [whole.lr, whole.lr]);
  const part = new Net({ limit: 20 });
  await trainerOf(finders(), { maxEpochs: 2 }).fit(part, { ckptPath: join(folder, "a.ckpt") });
  assert.deepEqual([part.batchSize, part.lr, weights(part)], [16, whole.lr, weights(whole)]);
});

test("a batch size of predict, validate and test", async () => {
  class Sized extends Net {
    override predictStep([x]: [Tensor]): Tensor {
      if (x.size(0) > 9) throw new Error("CUDA out of memory");
      return x;
    }
    override predictDataloader() {
      return this.trainDataloader();
    }
  }
  const net = new Sized();
  const size = await quietly(() =>
    new Tuner(trainerOf([])).scaleBatchSize(net, { method: "predict", stepsPerTrial: 2 }),
  );
  assert.deepEqual([size, net.batchSize], [8, 8]);
  assert.equal(await quietly(() => new Tuner(trainerOf([])).scaleBatchSize(net, { method: "validate" })), 8);
});

test("hyperparameters may hold the settings, and errors leave them", async () => {
  class Recorded extends Net {
    constructor() {
      super({ limit: 20 });
      this.saveHyperparameters({ learningRate: 0.5, size: 4 });
      Reflect.deleteProperty(this, "lr");
    }
    override trainDataloader() {
      this.batchSize = this.hparams.size as number;
      return super.trainDataloader();
    }
    override configureOptimizers() {
      return new optim.SGD(this.parameters(), { lr: this.hparams.learningRate as number });
    }
  }
  const net = new Recorded();
  await quietly(() => new Tuner(trainerOf([])).scaleBatchSize(net, { batchArgName: "size", stepsPerTrial: 1 }));
  assert.equal(net.hparams.size, 16);
  await lrFind(net, { minLr: 1e-4, maxLr: 10, numTraining: 30 });
  assert.notEqual(net.hparams.learningRate, 0.5);
  class Broken extends Recorded {
    override trainingStep(): Tensor {
      throw new TypeError("no");
    }
  }
  const broken = new Broken();
  await assert.rejects(
    quietly(() => new Tuner(trainerOf([])).scaleBatchSize(broken, { batchArgName: "size" })),
    TypeError,
  );
  assert.equal(broken.hparams.size, 4);
  const none = new Net({ limit: 0 });
  await assert.rejects(
    quietly(() => new Tuner(trainerOf([])).scaleBatchSize(none)),
    coded("TORCH_OUT_OF_MEMORY"),
  );
  assert.equal(none.batchSize, 4);
});

test("a picture", async () => {
  const net = new Net({ momentum: 0 });
  const finder = await lrFind(net, { minLr: 1e-4, maxLr: 10, numTraining: 40 });
  const path = finder?.plot({ suggest: true, path: join(temporaryFolder("plot"), "lr.svg") }) ?? "";
  const svg = readFileSync(path, "utf8");
  assert.match(svg, /^<svg [^>]*role="img"/);
  assert.match(svg, /<title>Loss by learning rate; suggested: /);
  assert.match(svg, /class="mark"/);
  assert.doesNotMatch(svg, /NaN|Infinity|undefined/);
});

test("wrong calls are errors before anything is tried", async () => {
  const tuner = new Tuner(trainerOf([]));
  const net = new Net();
  const nameless = new (class extends Net {
    constructor() {
      super();
      Reflect.deleteProperty(this, "lr");
      Reflect.deleteProperty(this, "batchSize");
    }
  })();
  await assert.rejects(tuner.lrFind(nameless), coded("ERR_TUNER_ATTRIBUTE", /lr or learningRate in the module/));
  await assert.rejects(tuner.scaleBatchSize(nameless), coded("ERR_TUNER_ATTRIBUTE", /batchSize in the module/));
  await assert.rejects(
    tuner.scaleBatchSize(net, loaders(net)),
    coded("ERR_BATCH_SIZE_FINDER", /loaders that the module/),
  );
  await assert.rejects(tuner.lrFind(net, { method: "test" as never }), coded("ERR_TUNER", /method: "fit"/));
  await assert.rejects(tuner.lrFind(net, { minLR: 1 } as never), coded("ERR_TUNER", /minLR/));
  await assert.rejects(tuner.lrFind(net, { minLr: 1, maxLr: 0.5 }), coded("ERR_LR_FINDER"));
  await assert.rejects(tuner.scaleBatchSize(net, { dataloaders: [] as never }), coded("ERR_TUNER", /trainDataloaders/));
  const twice = new Tuner(trainerOf(new LearningRateFinder()));
  await assert.rejects(twice.lrFind(net), coded("ERR_TUNER", /a Trainer without a LearningRateFinder/));
  assert.throws(() => new Tuner({} as never), coded("ERR_TUNER", /a Trainer/));
  class Two extends Net {
    override automaticOptimization = false;
    override configureOptimizers() {
      return [new optim.SGD(this.backbone.parameters()), new optim.SGD(this.head.parameters())] as never;
    }
  }
  await assert.rejects(tuner.lrFind(new Two()), coded("ERR_TUNER_OPTIMIZERS"));
  assert.deepEqual(net.losses, []);
  assert.ok(nn);
  await fit([], net, { maxEpochs: 1 });
});
