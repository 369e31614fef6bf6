import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { setTimeout as pause } from "node:timers/promises";
import { test } from "node:test";
import { Callback, LightningModule, Logger, MisconfigurationError, Trainer } from "@nbit/lightning";
import type { Metrics } from "@nbit/lightning";
import { full, memory, nn, optim, scope, seedEverything, Tensor, TensorDataset, DataLoader, randn } from "@nbit/torch";
import { collectGarbage } from "../helpers/collect-garbage.js";
import { temporaryFolder } from "../helpers/temporary-folder.js";
import { MetricRows, QUIET } from "../helpers/training.js";

const folder = temporaryFolder("async-hooks");

/** Hooks that may be asynchronous: a run waits for them. */
const WAITS = [
  "setup",
  "teardown",
  "onFitStart",
  "onFitEnd",
  "onSanityCheckStart",
  "onSanityCheckEnd",
  "onTrainStart",
  "onTrainEnd",
  "onTrainEpochStart",
  "onTrainEpochEnd",
  "onTrainBatchStart",
  "onTrainBatchEnd",
  "onValidationStart",
  "onValidationEnd",
  "onValidationEpochStart",
  "onValidationEpochEnd",
  "onValidationBatchStart",
  "onValidationBatchEnd",
  "onTestStart",
  "onTestEnd",
  "onTestEpochStart",
  "onTestEpochEnd",
  "onTestBatchStart",
  "onTestBatchEnd",
  "onPredictStart",
  "onPredictEnd",
  "onPredictEpochStart",
  "onPredictEpochEnd",
  "onPredictBatchStart",
  "onPredictBatchEnd",
  "onBeforeBatchTransfer",
  "onAfterBatchTransfer",
];
/** Those that cannot be, and the code of the error that says so. */
const REFUSES: Readonly<Record<string, string>> = {
  trainingStep: "ERR_ASYNC_STEP",
  validationStep: "ERR_ASYNC_STEP",
  testStep: "ERR_ASYNC_STEP",
  predictStep: "ERR_ASYNC_STEP",
  onBeforeZeroGrad: "ERR_ASYNC_HOOK",
  onBeforeBackward: "ERR_ASYNC_HOOK",
  onAfterBackward: "ERR_ASYNC_HOOK",
  onBeforeOptimizerStep: "ERR_ASYNC_HOOK",
  onValidationModelZeroGrad: "ERR_ASYNC_HOOK",
  onSaveCheckpoint: "ERR_ASYNC_HOOK",
  onLoadCheckpoint: "ERR_ASYNC_HOOK",
  stateDict: "ERR_ASYNC_HOOK",
  loadStateDict: "ERR_ASYNC_HOOK",
  backward: "ERR_ASYNC_HOOK",
  optimizerStep: "ERR_ASYNC_HOOK",
  optimizerZeroGrad: "ERR_ASYNC_HOOK",
  configureGradientClipping: "ERR_ASYNC_HOOK",
  lrSchedulerStep: "ERR_ASYNC_HOOK",
  configureOptimizers: "ERR_ASYNC_HOOK",
  configureModel: "ERR_ASYNC_HOOK",
  trainDataloader: "ERR_ASYNC_HOOK",
  valDataloader: "ERR_ASYNC_HOOK",
  testDataloader: "ERR_ASYNC_HOOK",
  predictDataloader: "ERR_ASYNC_HOOK",
};
/** Called when a run has failed; see the test on that. */
const ELSEWHERE = new Set(["onException"]);
/** Of the module's methods, those that a run does not call by itself. */
const OWN = new Set([
  "constructor",
  "forward",
  "log",
  "logDict",
  "print",
  "saveHyperparameters",
  "freeze",
  "unfreeze",
  "optimizers",
  "lrSchedulers",
  "manualBackward",
  "clipGradients",
  "toggleOptimizer",
  "untoggleOptimizer",
  "lossWeight", // asked for with several processes only; a promise is no weight
]);

function methodsOf(prototype: object): string[] {
  return Object.entries(Object.getOwnPropertyDescriptors(prototype))
    .filter(([, d]) => typeof d.value === "function")
    .map(([name]) => name);
}
const CALLBACK_HOOKS = methodsOf(Callback.prototype).filter((name) => name !== "constructor" && !ELSEWHERE.has(name));
const MODULE_HOOKS = [
  ...methodsOf(LightningModule.prototype),
  ...methodsOf(Object.getPrototypeOf(LightningModule.prototype) as object),
].filter((name) => !OWN.has(name));

test("the tables name every hook", () => {
  const known = new Set([...WAITS, ...Object.keys(REFUSES)]);
  assert.deepEqual(
    [...new Set([...CALLBACK_HOOKS, ...MODULE_HOOKS])].filter((name) => !known.has(name)),
    [],
  );
});

type Pair = [Tensor, Tensor];
class Line extends LightningModule {
  readonly layer = new nn.Linear(3, 1);
  override forward(x: Tensor): Tensor {
    return this.layer.forward(x);
  }
  override trainingStep([x, y]: Pair): Tensor {
    const loss = this.forward(x).sub(y).square().mean();
    this.log("loss", loss, { onStep: true, onEpoch: true });
    return loss;
  }
  override validationStep([x, y]: Pair): void {
    this.log("val_loss", this.forward(x).sub(y).square().mean());
  }
  override testStep([x, y]: Pair): void {
    this.log("test_loss", this.forward(x).sub(y).square().mean());
  }
  override configureOptimizers() {
    const optimizer = new optim.SGD(this.parameters(), { lr: 0.1, momentum: 0.9 });
    return { optimizer, lrScheduler: { scheduler: new optim.StepLR(optimizer, 2), interval: "step" as const } };
  }
}

function loader(): DataLoader<[Tensor, Tensor], [Tensor, Tensor]> {
  return new DataLoader(new TensorDataset(randn([12, 3]), randn([12, 1])), { batchSize: 4 });
}

/** Fit, validate, test and predict; what came of it. */
async function everything(model: LightningModule, callbacks: Callback[], loggers: Logger[] = []): Promise<unknown> {
  seedEverything(5);
  const data = loader();
  for (const parameter of model.parameters()) parameter.detach().fill_(0.25);
  const trainer = new Trainer({
    ...QUIET,
    logger: loggers.length > 0 ? loggers : false,
    callbacks,
    maxEpochs: 2,
    gradientClipVal: 1,
    logEveryNSteps: 1,
  });
  await trainer.fit(model, { trainDataloaders: data, valDataloaders: data });
  const metrics = { ...trainer.callbackMetrics };
  const dataloaders = data;
  const results = [await trainer.validate(model, { dataloaders }), await trainer.test(model, { dataloaders })];
  const predictions = await trainer.predict(model, { dataloaders });
  return {
    metrics,
    results,
    weights: model.parameters().map((p) => p.tolist()),
    predictions: predictions.map((p) => (p as Tensor).tolist()),
  };
}

function tensorsIn(values: readonly unknown[]): Tensor[] {
  return values.flatMap((value): Tensor[] => {
    if (value instanceof Tensor) return [value];
    if (Array.isArray(value)) return tensorsIn(value);
    return typeof value === "object" && value !== null && Object.getPrototypeOf(value) === Object.prototype
      ? tensorsIn(Object.values(value))
      : [];
  });
}

/** Waits, and then uses what it was given and what it made before. */
async function patient(seen: number[], args: readonly unknown[]): Promise<void> {
  const made = full([2], 3);
  const given = tensorsIn(args);
  const product = given[0]?.detach().sum().mul(2);
  await pause(1);
  seen.push(made.sum().item(), ...given.map((t) => t.detach().sum().item()), product?.item() ?? 0);
  await pause(0);
  scope(() => seen.push(made.add(1).sum().item()));
}

test("asynchronous hooks keep their batch, results and what they made until they settle, change nothing, and leave nothing behind", async () => {
  const expected = await everything(new Line(), []);
  for (const where of ["callback", "module"] as const) {
    for (const name of where === "callback" ? CALLBACK_HOOKS : MODULE_HOOKS) {
      if (!WAITS.includes(name)) continue;
      const seen: number[] = [];
      const model = new Line();
      const target: object = where === "callback" ? new Callback() : model;
      const hands = name.endsWith("BatchTransfer");
      Reflect.set(target, name, async (...args: unknown[]) => {
        await patient(
          seen,
          args.filter((arg) => !(arg instanceof LightningModule) && !(arg instanceof Trainer)),
        );
        return hands ? args[0] : undefined;
      });
      const result = await everything(model, where === "callback" ? [target as Callback] : []);
      if (!(where === "module" && name.startsWith("onSanity")))
        assert.ok(seen.length > 0, `${name} of the ${where} ran`);
      assert.deepEqual(result, expected, `${name} of the ${where}`);
    }
  }
});

test("a batch that asynchronous hooks waited for is freed when it is done", async () => {
  class Waiting extends Callback {
    readonly live: number[] = [];
    override async onTrainBatchStart(): Promise<void> {
      const mine = full([64], 1);
      await pause(1);
      assert.equal(mine.sum().item(), 64);
    }
    override async onTrainBatchEnd(
      _trainer: unknown,
      _module: unknown,
      outputs: Record<string, unknown>,
    ): Promise<void> {
      await pause(1);
      assert.ok(outputs["loss"] instanceof Tensor && !outputs["loss"].disposed);
    }
    override async onTrainEpochEnd(): Promise<void> {
      await collectGarbage();
      this.live.push(memory().tensors);
    }
  }
  const callback = new Waiting();
  await new Trainer({ ...QUIET, callbacks: [callback], maxEpochs: 4 }).fit(new Line(), { trainDataloaders: loader() });
  assert.equal(new Set(callback.live.slice(1)).size, 1, callback.live.join(", "));
});

test("methods that must end when they return are refused when they return a promise, whose own failure ends nothing", async () => {
  const path = `${folder}/whole.ckpt`;
  for (const where of ["callback", "module"] as const) {
    for (const name of where === "callback" ? CALLBACK_HOOKS : MODULE_HOOKS) {
      const code = REFUSES[name];
      if (code === undefined) continue;
      const model = new Line();
      const callback = new Callback();
      if (name === "loadStateDict") callback.stateDict = () => ({ a: 1 });
      Reflect.set(where === "callback" ? callback : model, name, async () => {
        await pause(0);
        throw new Error("nobody hears of this");
      });
      const own = name.endsWith("Dataloader");
      const data = own ? undefined : loader();
      const run = async (): Promise<void> => {
        const trainer = new Trainer({
          ...QUIET,
          callbacks: [callback],
          maxEpochs: 2,
          gradientClipVal: 1,
          numSanityValSteps: 0,
        });
        if (name.startsWith("test")) await trainer.test(model, { dataloaders: data });
        else if (name.startsWith("predict")) await trainer.predict(model, { dataloaders: data });
        else {
          await trainer.fit(model, {
            trainDataloaders: name === "trainDataloader" ? undefined : loader(),
            valDataloaders: data,
          });
          trainer.saveCheckpoint(path);
          await trainer.fit(model, { trainDataloaders: loader(), ckptPath: path });
        }
      };
      await assert.rejects(
        run,
        (error) =>
          error instanceof MisconfigurationError && error.code === code && error.message.startsWith(`${name}: `),
        `${name} of the ${where}`,
      );
    }
  }
  await pause(5); // the promises' own failures come now
});

test("methods of a loader and of a scheduler are refused when they return a promise", async () => {
  const path = `${folder}/parts.ckpt`;
  const fails = async (): Promise<never> => {
    await pause(0);
    throw new Error("nobody hears of this");
  };
  for (const part of ["loader", "scheduler"] as const) {
    for (const name of ["stateDict", "loadStateDict", ...(part === "scheduler" ? ["step"] : [])]) {
      const data = loader();
      const model = new Line();
      const make = model.configureOptimizers.bind(model);
      model.configureOptimizers = () => {
        const made = make();
        if (part === "scheduler") Reflect.set(made.lrScheduler.scheduler, name, fails);
        return made;
      };
      if (part === "loader") Reflect.set(data, name, fails);
      const run = async (): Promise<void> => {
        const trainer = new Trainer({ ...QUIET, maxEpochs: 2 });
        await trainer.fit(model, { trainDataloaders: data });
        trainer.saveCheckpoint(path);
        await trainer.fit(model, { trainDataloaders: data, ckptPath: path });
      };
      await assert.rejects(
        run,
        (error) => error instanceof MisconfigurationError && error.code === "ERR_ASYNC_HOOK",
        `${name} of the ${part}`,
      );
    }
  }
  await pause(5);
});

test("a run rejects with the error of an asynchronous hook, and its stack names the hook", async () => {
  for (const name of WAITS) {
    if (name === "teardown") continue; // of a run that is over
    for (const reason of [new Error("boom"), "no error"]) {
      const model = new Line();
      const callback = new Callback();
      Reflect.set(name.endsWith("BatchTransfer") ? model : callback, name, () =>
        pause(1).then(() => Promise.reject(reason)),
      );
      const error: unknown = await everything(model, [callback]).then(
        () => null,
        (e: unknown) => e,
      );
      assert.ok(error instanceof Error, name);
      if (typeof reason === "string") {
        assert.equal((error as { code?: unknown }).code, "ERR_HOOK_REJECTED");
        assert.equal(error.message, `${name}: expected to fail, if at all, with an Error. Received: "no error".`);
        assert.equal(error.cause, reason);
      } else {
        assert.equal(error, reason);
        assert.match(error.stack ?? "", new RegExp(`\\b${name}\\b`));
      }
    }
  }
});

test("what an asynchronous hook logs after a wait belongs to its step", async () => {
  class Late extends Line {
    override async onTrainBatchStart(_batch: unknown, batchIdx: number): Promise<void> {
      await pause(1);
      this.log("late_start", batchIdx);
    }
    override async onTrainBatchEnd(_outputs: unknown, _batch: unknown, batchIdx: number): Promise<void> {
      await pause(1);
      this.log("late", batchIdx);
    }
    override async onValidationBatchEnd(_outputs: unknown, _batch: unknown, batchIdx: number): Promise<void> {
      await pause(1);
      this.log("late_val", batchIdx, { onStep: true, onEpoch: true });
    }
    override async onTrainEpochEnd(): Promise<void> {
      await pause(1);
      this.log("late_epoch", this.currentEpoch);
    }
  }
  const rows = new MetricRows();
  const trainer = new Trainer({ ...QUIET, logger: rows, maxEpochs: 2, logEveryNSteps: 1, numSanityValSteps: 0 });
  await trainer.fit(new Late(), { trainDataloaders: loader(), valDataloaders: loader() });
  const of = (name: string): unknown[] =>
    rows.rows.filter((row) => name in row.metrics).map((row) => [row.step, row.metrics[name]]);
  assert.deepEqual(
    of("late"),
    [0, 1, 2, 3, 4, 5].map((step) => [step, step % 3]),
  );
  assert.deepEqual(of("late_start"), of("late"));
  assert.deepEqual(
    of("late_val_step"),
    [0, 1, 2, 3, 4, 5].map((step) => [step, step % 3]),
  );
  assert.deepEqual(of("late_val_epoch"), [
    [2, 1],
    [5, 1],
  ]);
  assert.deepEqual(of("late_epoch"), [
    [2, 0],
    [5, 1],
  ]);
});

test("a run that waits for an unreferenced timer goes on", () => {
  const program = `
    import { LightningModule, Trainer } from "@nbit/lightning";
    import { nn, ones, optim } from "@nbit/torch";
    class Line extends LightningModule {
      layer = new nn.Linear(2, 1);
      trainingStep(x) { return this.layer.forward(x).sum(); }
      async onTrainBatchEnd() { await new Promise((resolve) => setTimeout(resolve, 5).unref()); }
      configureOptimizers() { return new optim.SGD(this.parameters(), { lr: 0.1 }); }
    }
    const trainer = new Trainer({ accelerator: "cpu", maxEpochs: 1, logger: false, enableCheckpointing: false, enableProgressBar: false, enableModelSummary: false });
    trainer.fit(new Line(), { trainDataloaders: [ones([1, 2]), ones([1, 2])] }).then(() => console.log("steps", trainer.globalStep));`;
  const { stdout, status } = spawnSync(process.execPath, ["--input-type=module", "--eval", program], {
    cwd: import.meta.dirname,
    encoding: "utf8",
  });
  assert.deepEqual([stdout, status], ["steps 2\n", 0]);
});

class SlowLogger extends Logger {
  readonly name = "slow";
  readonly version = 0;
  readonly steps: number[] = [];
  readonly calls: string[] = [];
  constructor(readonly fails: string | null = null) {
    super();
  }
  async #take(what: string): Promise<void> {
    await pause(1);
    this.calls.push(what);
    if (this.fails === what) throw new Error(`${what} failed`);
  }
  override async logMetrics(_metrics: Metrics, step: number): Promise<void> {
    await this.#take("logMetrics");
    this.steps.push(step);
  }
  override logOutcome(): Promise<void> {
    return this.#take("logOutcome");
  }
  override save(): Promise<void> {
    return this.#take("save");
  }
  override logHyperparams(): Promise<void> {
    return this.#take("logHyperparams");
  }
  override finalize(): Promise<void> {
    return this.#take("finalize");
  }
}

test("asynchronous loggers are waited for, and what they fail with is what the run rejects with", async () => {
  class Named extends Line {
    constructor() {
      super();
      this.saveHyperparameters({ a: 1 });
    }
    override validationStep([x]: Pair): void {
      this.log("val", x.sum(), { onStep: true, onEpoch: true });
    }
  }
  const logger = new SlowLogger();
  await everything(new Named(), [], [logger]);
  assert.deepEqual(logger.steps.slice(0, 3), [0, 1, 2]);
  assert.equal(logger.calls.filter((call) => call === "finalize").length, 4);
  for (const what of ["logMetrics", "logOutcome", "save", "logHyperparams", "finalize"]) {
    for (const others of [[], [new SlowLogger(what)], [new MetricRows()]])
      await assert.rejects(
        everything(new Named(), [], [new SlowLogger(what), ...others]),
        new RegExp(`${what} failed`),
        what,
      );
  }
  await pause(5);
});
