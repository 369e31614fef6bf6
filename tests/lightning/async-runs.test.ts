/** Runs that wait for asynchronous hooks and loggers: their errors, logs and timers. */
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { setTimeout as pause } from "node:timers/promises";
import { test } from "node:test";
import { Callback, Logger, Trainer } from "@nbit/lightning";
import type { Metrics } from "@nbit/lightning";
import { MetricRows, QUIET } from "../helpers/training.js";
import { WAITS, type Pair, Line, loader, everything } from "./line-model.js";

test("a run rejects with the error of an asynchronous hook, and its stack names the hook", async () => {
  for (const name of WAITS) {
    if (name === "teardown") continue; // of a run that is over
    for (const reason of [new Error("boom"), "no error"]) {
      const model = new Line();
      const callback = new Callback();
      Reflect.set(/Batch(Transfer|ToDevice)$|^prepareData$/.test(name) ? model : callback, name, () =>
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
