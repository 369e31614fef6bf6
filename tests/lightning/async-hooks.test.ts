/** Which hooks may be asynchronous: a run waits for these, and refuses the others. */
import assert from "node:assert/strict";
import { setTimeout as pause } from "node:timers/promises";
import { test } from "node:test";
import { Callback, LightningModule, MisconfigurationError, Trainer } from "@nbit/lightning";
import { full, memory, scope, Tensor } from "@nbit/torch";
import { collectGarbage } from "../helpers/collect-garbage.js";
import { temporaryFolder } from "../helpers/temporary-folder.js";
import { QUIET } from "../helpers/training.js";
import { WAITS, Line, loader, everything } from "./line-model.js";

const folder = temporaryFolder("async-hooks");
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
  configureCallbacks: "ERR_ASYNC_HOOK",
  onValidationModelEval: "ERR_ASYNC_HOOK",
  onValidationModelTrain: "ERR_ASYNC_HOOK",
  onTestModelEval: "ERR_ASYNC_HOOK",
  onTestModelTrain: "ERR_ASYNC_HOOK",
  onPredictModelEval: "ERR_ASYNC_HOOK",
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
  "removeIgnoredHparams",
  "toggledOptimizer",
  "allGather",
  "toOnnx",
  "freeze",
  "unfreeze",
  "optimizers",
  "lrSchedulers",
  "manualBackward",
  "clipGradients",
  "toggleOptimizer",
  "untoggleOptimizer",
  "copiedFrom", // no hook: copies are made at once
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
      const hands = /Batch(Transfer|ToDevice)$/.test(name);
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
        if (/^(on)?[tT]est/.test(name)) await trainer.test(model, { dataloaders: data });
        else if (/^(on)?[pP]redict/.test(name)) await trainer.predict(model, { dataloaders: data });
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
