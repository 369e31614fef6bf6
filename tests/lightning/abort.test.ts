/** Runs that an AbortSignal ends. */
import assert from "node:assert/strict";
import { existsSync } from "node:fs";
import { join } from "node:path";
import { getEventListeners } from "node:events";
import { test } from "node:test";
import { Callback, InterruptError, ModelCheckpoint, Trainer, Tuner } from "@nbit/lightning";
import { MeanMetric } from "@nbit/metrics";
import { seedEverything } from "@nbit/torch";
import { temporaryFolder } from "../helpers/temporary-folder.js";
import { MetricRows, QUIET } from "../helpers/training.js";
import { Line, loader, type Pair } from "./line-model.js";
import { fails, loosely } from "./small-module.js";

const folder = temporaryFolder("abort");
const WHY = new Error("enough");

/** Aborts when a hook runs for the n-th time. */
function aborting(hook: keyof Callback, nth: number, stop: AbortController): Callback {
  const callback = new Callback();
  let calls = 0;
  Reflect.set(callback, hook, () => {
    if (++calls === nth) stop.abort(WHY);
  });
  return callback;
}

async function ended(run: Promise<unknown>): Promise<InterruptError> {
  const error: unknown = await run.then(
    () => null,
    (e: unknown) => e,
  );
  assert.ok(error instanceof InterruptError, String(error));
  assert.deepEqual([error.code, error.signal, error.exitCode, error.cause], ["ERR_INTERRUPTED", "abort", 1, WHY]);
  return error;
}

function training(name: string, callbacks: readonly Callback[]) {
  seedEverything(3);
  const model = new Line();
  const saver = new ModelCheckpoint({ dirpath: join(folder, name), everyNEpochs: 100 });
  const options = { ...QUIET, enableCheckpointing: true, callbacks: [...callbacks, saver], maxEpochs: 2 };
  const data = loader();
  const trainer = new Trainer(options);
  const fit = (signal: AbortSignal | null, ckptPath: string | null = null): Promise<void> =>
    trainer.fit(model, { trainDataloaders: data, valDataloaders: data, signal, ckptPath });
  const weights = (): unknown => model.parameters().map((p) => p.tolist());
  return { model, trainer, fit, weights };
}

test("a fit that is aborted at any point ends with a checkpoint that goes on exactly, and listens no longer", async () => {
  const whole = training("whole", []);
  const unused = new AbortController();
  await whole.fit(unused.signal);
  assert.equal(getEventListeners(unused.signal, "abort").length, 0);
  const moments = [
    ["onTrainStart", 1],
    ["onTrainBatchStart", 2],
    ["onTrainBatchEnd", 3],
    ["onValidationBatchEnd", 5],
    ["onTrainEpochEnd", 1],
    ["onTrainEnd", 1],
  ] as const;
  for (const [hook, nth] of moments) {
    const name = `${hook}-${nth}`;
    const stop = new AbortController();
    const first = training(name, [aborting(hook, nth, stop)]);
    const error = await ended(first.fit(stop.signal));
    assert.equal(error.checkpointPath, join(folder, name, "interrupted.ckpt"), error.message);
    assert.deepEqual(first.trainer.state, { fn: "fit", status: "interrupted", stage: null }, name);
    assert.equal(first.trainer.interrupted, true);
    assert.equal(first.trainer.receivedSigterm, false);
    assert.equal(getEventListeners(stop.signal, "abort").length, 0, name);
    const rest = training(name, []);
    await rest.fit(null, error.checkpointPath);
    assert.deepEqual(rest.weights(), whole.weights(), name);
  }
});

test("callbacks and loggers hear of an aborted run what they hear of an interrupted one", async () => {
  const stop = new AbortController();
  const told: unknown[] = [];
  class Hears extends Callback {
    override onException(_trainer: unknown, _module: unknown, error: unknown): void {
      told.push(error);
    }
  }
  class Ends extends MetricRows {
    override finalize(status: string): void {
      told.push(status);
    }
  }
  const callbacks = [new Hears(), aborting("onTrainBatchEnd", 2, stop)];
  const trainer = new Trainer({ ...QUIET, callbacks, logger: new Ends(), maxEpochs: 2 });
  const error = await ended(trainer.fit(new Line(), { trainDataloaders: loader(), signal: stop.signal }));
  assert.deepEqual(told, [error, "interrupted"]);
  assert.match(error.message, /^fit: interrupted after 2 steps\. There is no checkpoint/);
  assert.equal(error.checkpointPath, null);
});

test("with a signal that was aborted before, no hook but onException is called", async () => {
  const called: string[] = [];
  const record = new Callback();
  for (const hook of ["setup", "onFitStart", "onTestStart", "onPredictStart", "onValidationStart", "onException"])
    Reflect.set(record, hook, () => void called.push(hook));
  const trainer = new Trainer({ ...QUIET, callbacks: [record], maxEpochs: 1 });
  const model = new Line();
  const signal = AbortSignal.abort(WHY);
  const dataloaders = loader();
  const runs = [
    () => trainer.fit(model, { trainDataloaders: dataloaders, signal }),
    () => trainer.validate(model, { dataloaders, signal }),
    () => trainer.test(model, { dataloaders, signal }),
    () => trainer.predict(model, { dataloaders, signal }),
  ];
  for (const run of runs) {
    called.length = 0;
    await ended(run());
    assert.deepEqual(called, ["onException"]);
    assert.equal(trainer.state.status, "interrupted");
  }
  await trainer.fit(model, { trainDataloaders: dataloaders });
  assert.equal(trainer.state.status, "finished");
});

test("validation, testing and prediction end between batches; no file is written", async () => {
  for (const [fn, hook] of [
    ["validate", "onValidationBatchEnd"],
    ["test", "onTestBatchEnd"],
    ["predict", "onPredictBatchEnd"],
  ] as const) {
    const stop = new AbortController();
    let batches = 0;
    const counter = new Callback();
    Reflect.set(counter, hook, () => void batches++);
    const saver = new ModelCheckpoint({ dirpath: join(folder, fn) });
    const callbacks = [counter, aborting(hook, 2, stop), saver];
    const trainer = new Trainer({ ...QUIET, enableCheckpointing: true, callbacks });
    const error = await ended(trainer[fn](new Line(), { dataloaders: loader(), signal: stop.signal }));
    assert.deepEqual([error.message, error.checkpointPath, batches], [`${fn}: interrupted.`, null, 2]);
    assert.equal(existsSync(join(folder, fn)), false);
    assert.equal(getEventListeners(stop.signal, "abort").length, 0);
  }
});

test("a search ends by the signal, and leaves the model as it was", async () => {
  class Rated extends Line {
    lr = 0.5;
  }
  const model = new Rated();
  const before = model.parameters().map((p) => p.tolist());
  const steps = model.trainingStep.bind(model);
  const stop = new AbortController();
  let done = 0;
  model.trainingStep = (batch) => {
    if (++done === 2) stop.abort(WHY);
    return steps(batch);
  };
  const tuner = new Tuner(new Trainer({ ...QUIET, maxEpochs: 2 }));
  await ended(tuner.lrFind(model, { trainDataloaders: loader(), signal: stop.signal }));
  assert.deepEqual([done, model.lr], [2, 0.5]);
  assert.deepEqual(
    model.parameters().map((p) => p.tolist()),
    before,
  );
});

test("a signal is an AbortSignal", async () => {
  const trainer = new Trainer({ ...QUIET, maxEpochs: 1 });
  await fails(
    () => trainer.fit(new Line(), { trainDataloaders: loader(), signal: loosely({ aborted: true }) }),
    "ERR_RUN_OPTION",
    "fit: expected signal to be an AbortSignal, or null. Received: an object with keys aborted.",
  );
});

test("a metric forgets what it saw of a validation that was interrupted, which comes again as a whole", async () => {
  class Counts extends Line {
    readonly mean = new MeanMetric();
    readonly found: unknown[] = [];
    stop: AbortController | null = null;
    override validationStep(_batch: Pair, batchIdx = 0): void {
      this.mean.update(10 * batchIdx + this.currentEpoch);
      this.log("mean", this.mean);
      if (this.currentEpoch === 1 && batchIdx === 1) this.stop?.abort(WHY);
    }
    override onTrainEpochEnd(): void {
      this.found.push(this.trainer.callbackMetrics.mean);
    }
  }
  const model = new Counts();
  const data = loader();
  const fit = async (ckptPath: string | null): Promise<void> => {
    const saver = new ModelCheckpoint({ dirpath: join(folder, "metric"), everyNEpochs: 100 });
    const options = { ...QUIET, enableCheckpointing: true, callbacks: [saver], maxEpochs: 3, numSanityValSteps: 0 };
    const signal = model.stop?.signal ?? null;
    await new Trainer(options).fit(model, { trainDataloaders: data, valDataloaders: data, signal, ckptPath });
  };
  model.stop = new AbortController();
  const error = await ended(fit(null));
  model.stop = null;
  await fit(error.checkpointPath);
  assert.deepEqual(model.found, [10, 11, 12]);
});
