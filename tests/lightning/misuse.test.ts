/** Fits that cannot work, or not as they were meant. */
import assert from "node:assert/strict";
import { existsSync } from "node:fs";
import { join } from "node:path";
import { inspect } from "node:util";
import { beforeEach, test } from "node:test";
import { CSVLogger, type LightningModule, Trainer } from "@nbit/lightning";
import { nn, optim, randn, save, seedEverything } from "@nbit/torch";
import type { Tensor } from "@nbit/torch";
import { temporaryFolder } from "../helpers/temporary-folder.js";
import { QUIET, warningsOf } from "../helpers/training.js";
import { type Pair, Small, batches, loosely, fails } from "./small-module.js";

beforeEach(() => seedEverything(1));

test("fit says what is wrong with what it was called with", async () => {
  const fit =
    (...args: unknown[]) =>
    (): unknown =>
      Reflect.apply(Trainer.prototype.fit, new Trainer({ ...QUIET, maxEpochs: 1 }), args);
  await fails(
    fit(new Small(), batches()),
    "ERR_LOADERS",
    "fit: expected an object with trainDataloaders. Received: an instance of DataLoader. Loaders go by name: fit(model, { trainDataloaders: loader }).",
  );
  await fails(
    fit(new Small(), { train_dataloaders: batches() }),
    "ERR_RUN_OPTION",
    'fit: expected the option trainDataloaders. Received: "train_dataloaders".',
  );
  await fails(
    fit(Small, { trainDataloaders: batches() }),
    "ERR_NO_MODULE",
    "fit: expected a LightningModule. Received: function Small. Pass an instance: new Small().",
  );
  await fails(
    fit(new nn.Linear(2, 2), { trainDataloaders: batches() }),
    "ERR_NO_MODULE",
    "fit: expected a LightningModule. Received: an instance of Linear. Extend LightningModule, with a trainingStep and configureOptimizers.",
  );
  await fails(
    fit(new Small(), { trainDataloaders: batches(), ckptPath: "absent.ckpt" }),
    "ERR_CHECKPOINT_PATH",
    'ckptPath: expected a checkpoint file that exists, "last" or "best". Received: "absent.ckpt".',
  );
  const trainer = new Trainer({ ...QUIET, maxEpochs: 1 });
  await fails(
    () => trainer.test(new Small(), loosely({ testDataloaders: batches() })),
    "ERR_RUN_OPTION",
    'test: expected options among dataloaders, datamodule, ckptPath, ckptDtype, signal, verbose. Received: "testDataloaders".',
  );
});

test("a loss that cannot be trained on is an error that says what it is, and why", async () => {
  const run = async (step: (model: Small, batch: Pair) => Tensor, options: object = {}): Promise<void> => {
    const model = new (class extends Small {
      override trainingStep(batch: Pair): Tensor {
        return step(this, batch);
      }
    })();
    await new Trainer({ ...QUIET, maxEpochs: 1, ...options }).fit(model, { trainDataloaders: batches() });
  };
  const wide =
    "trainingStep: expected a loss of one element. Received: Tensor float32 [4, 2] cpu. Reduce it, for example with mean().";
  await fails(() => run((model, [x]) => model.layer.forward(x)), "ERR_LOSS_SHAPE", wide);
  await fails(() => run((model, [x]) => model.layer.forward(x), { detectNonFinite: false }), "ERR_LOSS_SHAPE", wide);
  await fails(
    () => run((model, batch) => model.loss(batch).detach()),
    "ERR_LOSS_GRAPH",
    "trainingStep: expected a loss that depends on parameters that learn. Received: Tensor float32 [] cpu. Nothing connects it to them: are all of them frozen, or was it made under noGrad, with detach(), or from numbers?",
  );
  const twice = (model: Small, batch: Pair): Tensor => {
    const loss = model.loss(batch);
    loss.backward();
    return loss;
  };
  await fails(
    () => run(twice),
    "ERR_BACKWARD_TWICE",
    "trainingStep: expected a loss whose graph is still there. Received: Tensor float32 [] cpu. backward has been called on it, or on what it shares with a loss of an earlier step. The Trainer calls backward itself: remove that call, or set automaticOptimization = false and call manualBackward(loss); detach() what you keep between steps.",
  );
  const mine = new Error("mine");
  await assert.rejects(
    run(() => {
      throw mine;
    }),
    (error) => error === mine,
  );
});

test("a fit with parts that have no effect warns", async () => {
  const folder = temporaryFolder("gaps");
  const codes = async (model: LightningModule, fitOptions: object, options: object = {}): Promise<string[]> => {
    const given = await warningsOf(() =>
      new Trainer({ ...QUIET, maxEpochs: 1, ...options }).fit(model, { trainDataloaders: batches(), ...fitOptions }),
    );
    return given.map(({ code }) => code);
  };
  class Validates extends Small {
    override validationStep(): void {}
  }
  assert.deepEqual(await codes(new Small(), {}), []);
  assert.deepEqual(await codes(new Small(), { valDataloaders: batches() }), ["WARN_NO_VALIDATION_STEP"]);
  assert.deepEqual(await codes(new Small(), { valDataloaders: batches() }, { limitValBatches: 0 }), []);
  assert.deepEqual(await codes(new Validates(), {}), ["WARN_NO_VALIDATION_LOADER"]);
  assert.deepEqual(await codes(new Validates(), { valDataloaders: batches() }), []);
  assert.deepEqual(await codes(new Small(), { trainDataloaders: [] }), ["WARN_NO_BATCHES"]);
  assert.deepEqual(await codes(new Small(), { trainDataloaders: [] }, { limitTrainBatches: 0 }), []);
  const logger = new CSVLogger(folder);
  const [cadence] = await warningsOf(() =>
    new Trainer({ ...QUIET, maxEpochs: 3, logger }).fit(new Small(), { trainDataloaders: batches() }),
  );
  assert.deepEqual(cadence, {
    code: "WARN_LOG_CADENCE",
    message:
      "fit: loggers get values of steps every 50 steps, and there will be only 6. Pass logEveryNSteps: 1 for a row per step.",
  });
  assert.ok(!existsSync(join(folder, "nbit_logs", "version_0", "metrics.csv")));
  assert.deepEqual(await codes(new Small(), {}, { logger, logEveryNSteps: 2 }), []);
  assert.deepEqual(await codes(new Small(), {}, { logger, logEveryNSteps: 0 }), []);
});

test("layers and parameters that the tree does not see are named before training", async () => {
  class Stack extends Small {
    readonly blocks = [new nn.Linear(4, 4), new nn.Linear(4, 4)];
    readonly heads = { left: new nn.Linear(4, 4), note: "x" };
    readonly byName = new Map([["a", new nn.Linear(4, 4)]]);
    readonly scale = randn([1], { requiresGrad: true });
    // What is no mistake: plain data, a list of layers that have fields of their own, tensors that do not learn.
    readonly sizes = [1, 2];
    readonly same = [this.layer];
    readonly constant = randn([1]);
  }
  const given = await warningsOf(() =>
    new Trainer({ ...QUIET, maxEpochs: 1 }).fit(new Stack(), { trainDataloaders: batches() }),
  );
  assert.deepEqual(
    given.map(({ code }) => code),
    new Array(4).fill("WARN_HIDDEN_PARAMETERS"),
  );
  assert.deepEqual(
    given.map(({ message }) => message),
    [
      "fit: Stack.blocks is an array with layers or parameters in it, which are not seen there. Use new nn.ModuleList([…]). Otherwise it is neither trained nor saved.",
      "fit: Stack.heads is a plain object with layers or parameters in it, which are not seen there. Use a field for each, or new nn.ModuleList([…]). Otherwise it is neither trained nor saved.",
      "fit: Stack.byName is a Map with layers or parameters in it, which are not seen there. Use new nn.ModuleList([…]). Otherwise it is neither trained nor saved.",
      "fit: Stack.scale is a tensor that requires grad, but no parameter. Use new nn.Parameter(…). Otherwise it is neither trained nor saved.",
    ],
  );
  class Foreign extends Small {
    override configureOptimizers(): optim.Optimizer {
      return new optim.SGD(new nn.Linear(2, 2).parameters(), { lr: 0.1 });
    }
  }
  const [foreign] = await warningsOf(() =>
    new Trainer({ ...QUIET, maxEpochs: 1 }).fit(new Foreign(), { trainDataloaders: batches() }),
  );
  assert.deepEqual(foreign, {
    code: "WARN_FOREIGN_OPTIMIZER",
    message:
      "fit: no parameter of Foreign is in an optimizer: it will not change. Give the optimizer this.parameters().",
  });
});

test("a checkpoint that leaves nothing to train says so; one of torch.save says how to convert it", async () => {
  const folder = temporaryFolder("resume");
  const path = join(folder, "done.ckpt");
  const trainer = new Trainer({ ...QUIET, maxEpochs: 2 });
  await trainer.fit(new Small(), { trainDataloaders: batches() });
  trainer.saveCheckpoint(path);
  const [left] = await warningsOf(() =>
    new Trainer({ ...QUIET, maxEpochs: 2 }).fit(new Small(), { trainDataloaders: batches(), ckptPath: path }),
  );
  assert.deepEqual(left, {
    code: "WARN_NOTHING_LEFT",
    message:
      "fit: nothing is left to train: the checkpoint has 2 epochs and 4 steps behind it. Raise maxEpochs or maxSteps.",
  });
  const pickled = join(folder, "model.pt");
  save(Object.fromEntries(new Small().stateDict()), pickled);
  await assert.rejects(
    new Trainer({ ...QUIET, maxEpochs: 2 }).fit(new Small(), { trainDataloaders: batches(), ckptPath: pickled }),
    {
      code: "ERR_CHECKPOINT_FORMAT",
      message: /expected a checkpoint of Lightning, with state_dict\. .*model\.loadStateDict\(load\(path\)\)/s,
    },
  );
});

test("console.log shows metrics and outcomes as values", async () => {
  let shown = "";
  let outcome = "";
  const model = new (class extends Small {
    override trainingStep(batch: Pair): Tensor {
      this.log("one", 1);
      return this.loss(batch);
    }
    override onTrainBatchEnd(): void {
      shown = inspect(this.trainer.callbackMetrics);
      outcome = inspect(this.trainer.lastOutcome);
    }
  })();
  await new Trainer({ ...QUIET, maxEpochs: 1 }).fit(model, { trainDataloaders: batches() });
  assert.equal(shown, "{ one: 1 }");
  assert.equal(outcome, "{ stepped: true, skipped: false, lossScale: 1 }");
});

test("a Trainer that runs refuses a second call, and goes on", async () => {
  for (const strategy of ["single_device", "ddp"]) {
    const trainer = new Trainer({ ...QUIET, strategy, maxSteps: 2, maxEpochs: 1 });
    const first = trainer.fit(new Small(), { trainDataloaders: batches() });
    for (const again of [
      trainer.fit(new Small(), { trainDataloaders: batches() }),
      trainer.validate(new Small(), { dataloaders: batches() }),
    ])
      await assert.rejects(again, { code: "ERR_RUNNING" }, strategy);
    await first;
    assert.equal(trainer.globalStep, 2);
    // What is refused before anything runs leaves the Trainer as it was.
    await assert.rejects(trainer.fit(new Small(), { trainDataloaders: batches(), ckptPath: "nowhere.ckpt" }));
    assert.equal(trainer.state.status, "finished");
  }
});
