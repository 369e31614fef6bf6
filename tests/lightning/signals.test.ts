import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { chmodSync, existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as pause } from "node:timers/promises";
import { test } from "node:test";
import { Callback, InterruptError, LightningModule, ModelCheckpoint, Trainer } from "@nbit/lightning";
import type { TrainerOptions } from "@nbit/lightning";
import { nn, ones, optim, seedEverything } from "@nbit/torch";
import type { Tensor } from "@nbit/torch";
import { temporaryFolder } from "../helpers/temporary-folder.js";
import { SILENT, warningsOf } from "../helpers/training.js";

const folder = temporaryFolder("signals");
const SIGNALS = { SIGINT: 130, SIGTERM: 143, SIGHUP: 129, SIGUSR1: 138 } as const;
type Signal = keyof typeof SIGNALS;

class Line extends LightningModule {
  readonly layer = new nn.Linear(2, 1);
  readonly dropout = new nn.Dropout(0.5);
  readonly seen: number[] = [];
  override trainingStep(x: Tensor): Tensor {
    const loss = this.layer.forward(this.dropout.forward(x)).square().mean();
    this.seen.push(loss.item());
    return loss;
  }
  override validationStep(x: Tensor): void {
    this.log("val_loss", this.layer.forward(x).square().mean());
  }
  override testStep(x: Tensor): void {
    this.validationStep(x);
  }
  override forward(x: Tensor): Tensor {
    return this.layer.forward(x);
  }
  override configureOptimizers(): optim.Optimizer {
    return new optim.SGD(this.parameters(), { lr: 0.1, momentum: 0.9 });
  }
}

function batches(): Tensor[] {
  return Array.from({ length: 4 }, () => ones([1, 2]));
}

function trainer(name: string, callbacks: Callback[], options: TrainerOptions = {}): Trainer {
  const saver = new ModelCheckpoint({ dirpath: join(folder, name), everyNEpochs: 100 });
  return new Trainer({
    accelerator: "cpu",
    ...SILENT,
    enableCheckpointing: true,
    callbacks: [...callbacks, saver],
    maxEpochs: 2,
    ...options,
  });
}

function start(
  name: string,
  callbacks: Callback[],
  options: TrainerOptions = {},
): { model: Line; fit: (ckptPath?: string) => Promise<void>; trainer: Trainer } {
  seedEverything(2);
  const model = new Line();
  const made = trainer(name, callbacks, options);
  return {
    model,
    trainer: made,
    fit: (ckptPath) =>
      made.fit(model, { trainDataloaders: batches(), valDataloaders: batches(), ckptPath: ckptPath ?? null }),
  };
}

function counts(): number[] {
  return [
    ...Object.keys(SIGNALS).map((signal) => process.listenerCount(signal)),
    process.stdout.listenerCount("error"),
    process.stderr.listenerCount("error"),
  ];
}

async function interruption(run: Promise<unknown>): Promise<InterruptError> {
  const error: unknown = await run.then(
    () => null,
    (e: unknown) => e,
  );
  assert.ok(error instanceof InterruptError, String(error));
  return error;
}

/** Sends the signal when a hook runs for the n-th time, before it waits or after. */
function sender(hook: keyof Callback, signal: Signal, nth: number, wait: boolean): Callback {
  const callback = new Callback();
  let calls = 0;
  Reflect.set(callback, hook, async () => {
    if (++calls !== nth) return;
    process.kill(process.pid, signal);
    if (wait) await pause(5);
  });
  return callback;
}

const MOMENTS: readonly (readonly [hook: keyof Callback, nth: number])[] = [
  ["onTrainStart", 1],
  ["onTrainEpochStart", 1],
  ["onTrainEpochStart", 2],
  ["onTrainBatchStart", 3],
  ["onTrainBatchEnd", 1],
  ["onTrainBatchEnd", 4],
  ["onTrainBatchEnd", 8],
  ["onValidationStart", 2],
  ["onValidationBatchEnd", 5],
  ["onValidationEpochEnd", 2],
  ["onValidationEnd", 3],
  ["onTrainEpochEnd", 1],
  ["onTrainEpochEnd", 2],
  ["onTrainEnd", 1],
];

test("a signal at any point of training ends the run with a checkpoint that resumes exactly", async () => {
  const before = counts();
  const whole = start("whole", []);
  await whole.fit();
  let n = 0;
  for (const [hook, nth] of MOMENTS) {
    for (const wait of [false, true]) {
      const signal = (Object.keys(SIGNALS) as Signal[])[n++ % 4] as Signal;
      const name = `${hook}-${nth}-${wait}`;
      const first = start(name, [sender(hook, signal, nth, wait)]);
      const error = await interruption(first.fit());
      assert.deepEqual([error.code, error.signal, error.exitCode], ["ERR_INTERRUPTED", signal, SIGNALS[signal]], name);
      assert.equal(error.checkpointPath, join(folder, name, "interrupted.ckpt"), error.message);
      assert.match(
        error.message,
        /^fit: interrupted after \d+ steps\. Go on with trainer\.fit\(model, \{ ckptPath: ".*interrupted\.ckpt" \}\)\.$/,
      );
      assert.deepEqual(counts(), before, name);
      const rest = start(name, []);
      await rest.fit(error.checkpointPath);
      assert.deepEqual([...first.model.seen, ...rest.model.seen], whole.model.seen, name);
      assert.deepEqual(rest.model.layer.weight.tolist(), whole.model.layer.weight.tolist(), name);
      assert.deepEqual({ ...rest.trainer.callbackMetrics }, { ...whole.trainer.callbackMetrics }, name);
    }
  }
});

test("a signal during set-up ends the run before training, and keeps the checkpoint that it would have resumed from", async () => {
  for (const hook of ["setup", "onFitStart"] as const) {
    for (const wait of [false, true]) {
      const fresh = start(`fresh-${hook}`, [sender(hook, "SIGTERM", 1, wait)]);
      const error = await interruption(fresh.fit());
      assert.equal(error.message, "fit: interrupted before training began. Start it again: nothing is lost.");
      assert.deepEqual([error.checkpointPath, fresh.model.seen], [null, []]);

      const half = start("half", [], { maxEpochs: 1 });
      await half.fit();
      const path = join(folder, "half.ckpt");
      half.trainer.saveCheckpoint(path);
      const bytes = readFileSync(path);
      const resumed = start(`resumed-${hook}`, [sender(hook, "SIGTERM", 1, wait)]);
      const again = await interruption(resumed.fit(path));
      assert.deepEqual(
        [again.checkpointPath, existsSync(join(folder, `resumed-${hook}`, "interrupted.ckpt"))],
        [path, false],
      );
      assert.ok(readFileSync(path).equals(bytes));
    }
  }
});

test("a signal after the last step still interrupts the run", async () => {
  const before = counts();
  for (const hook of ["onFitEnd", "teardown"] as const) {
    const { fit, trainer, model } = start(`late-${hook}`, [sender(hook, "SIGHUP", 1, true)]);
    const error = await interruption(fit());
    assert.deepEqual([error.checkpointPath, error.exitCode], [join(folder, `late-${hook}`, "interrupted.ckpt"), 129]);
    assert.equal(trainer.state.status, "finished");
    const rest = start("late", []);
    await rest.fit(error.checkpointPath ?? "");
    assert.deepEqual([rest.model.seen, rest.model.layer.weight.tolist()], [[], model.layer.weight.tolist()]);
    assert.deepEqual(counts(), before);
  }
});

test("validate, test and predict end at signals too", async () => {
  const before = counts();
  const kinds = { validate: "onValidationBatchEnd", test: "onTestBatchEnd", predict: "onPredictBatchEnd" } as const;
  for (const [kind, hook] of Object.entries(kinds) as ["validate" | "test" | "predict", (typeof kinds)["test"]][]) {
    const error = await interruption(
      trainer(kind, [sender(hook, "SIGTERM", 2, true)])[kind](new Line(), { dataloaders: batches() }),
    );
    assert.deepEqual(
      [error.message, error.signal, error.exitCode, error.checkpointPath],
      [`${kind}: interrupted.`, "SIGTERM", 143, null],
    );
    assert.deepEqual(counts(), before);
  }
});

test("a signal ends every run of the process, and a later run needs a signal of its own", async () => {
  const send = sender("onTrainBatchEnd", "SIGTERM", 2, true);
  const slow = new Callback();
  slow.onTrainBatchEnd = () => pause(3);
  const runs = [start("one", [send], { maxEpochs: 50 }), start("two", [slow], { maxEpochs: 50 })];
  for (const error of await Promise.all(runs.map(({ fit }) => interruption(fit()))))
    assert.equal(error.signal, "SIGTERM");
  await interruption(start("three", [sender("onTrainBatchEnd", "SIGINT", 2, true)]).fit());
});

test("a checkpoint that cannot be written does not keep the run from ending in order", async () => {
  const { fit, trainer } = start("full", [sender("onTrainBatchEnd", "SIGTERM", 2, true)]);
  const seen: unknown[] = [];
  (trainer.callbacks[0] as Callback).onSaveCheckpoint = () => {
    throw new Error("no room");
  };
  (trainer.callbacks[0] as Callback).onException = (_trainer, _module, error) => void seen.push(error);
  const error = await interruption(fit());
  assert.equal(error.checkpointPath, null);
  assert.match(error.message, /^fit: interrupted after 2 steps\. Its checkpoint could not be written: no room$/);
  assert.ok(error.cause instanceof Error);
  assert.deepEqual(seen, [error]);
});

/** A program in the place of Slurm's, which notes how it was called. */
function fakeScontrol(name: string, status: number): { readonly bin: string; readonly calls: () => string } {
  const bin = join(folder, name);
  mkdirSync(bin);
  const log = join(bin, "calls");
  writeFileSync(join(bin, "scontrol"), `#!/bin/sh\necho "$@" >> "${log}"\necho refused >&2\nexit ${status}\n`);
  chmodSync(join(bin, "scontrol"), 0o755);
  return { bin, calls: () => (existsSync(log) ? readFileSync(log, "utf8").trim() : "") };
}

/** Variables of the process while something runs. */
async function within<T>(variables: Readonly<Record<string, string>>, run: () => Promise<T>): Promise<T> {
  const before = Object.keys(variables).map((name) => [name, process.env[name]] as const);
  Object.assign(process.env, variables);
  try {
    return await run();
  } finally {
    for (const [name, value] of before)
      if (value === undefined) Reflect.deleteProperty(process.env, name);
      else process.env[name] = value;
  }
}

test("SIGUSR1 in a job of Slurm has its checkpoint written and queues it again", async () => {
  const { bin, calls } = fakeScontrol("queue", 0);
  const job = { PATH: `${bin}:${process.env["PATH"] ?? ""}`, SLURM_JOB_ID: "4711", SLURM_JOB_NAME: "train" };
  const first = start("queued", [sender("onValidationBatchEnd", "SIGUSR1", 3, true)]);
  const error = await within(job, () => interruption(first.fit()));
  assert.deepEqual([error.exitCode, calls()], [138, "requeue 4711"]);
  assert.ok(existsSync(error.checkpointPath ?? ""), error.message);

  // A signal of another kind leaves the queue alone, and so does a shell within an allocation.
  await within(job, () => interruption(start("left", [sender("onTrainBatchEnd", "SIGTERM", 1, true)]).fit()));
  await within({ ...job, SLURM_JOB_NAME: "interactive" }, () =>
    interruption(start("shell", [sender("onTrainBatchEnd", "SIGUSR1", 1, true)]).fit()),
  );
  assert.equal(calls(), "requeue 4711");

  // One element of an array.
  const element = { ...job, SLURM_ARRAY_JOB_ID: "12", SLURM_ARRAY_TASK_ID: "3" };
  await within(element, () => interruption(start("array", [sender("onTrainBatchEnd", "SIGUSR1", 1, true)]).fit()));
  assert.equal(calls(), "requeue 4711\nrequeue 12_3");
});

test("a queue that refuses is a warning; the checkpoint is there all the same", async () => {
  const { bin } = fakeScontrol("refusing", 1);
  const warnings = await warningsOf(() =>
    within({ PATH: `${bin}:${process.env["PATH"] ?? ""}`, SLURM_JOB_ID: "5" }, async () => {
      const error = await interruption(start("refused", [sender("onTrainBatchEnd", "SIGUSR1", 1, true)]).fit());
      assert.ok(existsSync(error.checkpointPath ?? ""));
    }),
  );
  assert.deepEqual(
    warnings.map(({ code, message }) => [code, /job 5 again\. Received: refused\./.test(message)]),
    [["WARN_SLURM_REQUEUE", true]],
  );
});

const PROGRAM = `
import { LightningModule, ModelCheckpoint, Trainer } from "@nbit/lightning";
import { nn, ones, optim, seedEverything } from "@nbit/torch";
class Line extends LightningModule {
  layer = new nn.Linear(2, 1);
  trainingStep(x) { if (this.globalStep === 5 && process.argv[3] === "send") process.kill(process.pid, "SIGUSR1"); return this.layer.forward(x).square().mean(); }
  configureOptimizers() { return new optim.SGD(this.parameters(), { lr: 0.1 }); }
}
seedEverything(1);
const trainer = new Trainer({ accelerator: "cpu", logger: false, enableProgressBar: false, enableModelSummary: false, maxEpochs: 3,
  callbacks: [new ModelCheckpoint({ dirpath: process.argv[2] })] });
try { await trainer.fit(new Line(), { trainDataloaders: [ones([1, 2]), ones([1, 2]), ones([1, 2])] }); console.log("done", trainer.globalStep, trainer.ckptPath !== null); }
catch (error) { console.log(error.message); process.exitCode = error.exitCode; }
`;

test("the job that Slurm starts again finds its own checkpoint", (context) => {
  const { bin, calls } = fakeScontrol("again", 0);
  const where = join(folder, "again-checkpoints");
  const program = join(import.meta.dirname, "requeued-program.mjs");
  writeFileSync(program, PROGRAM);
  context.after(() => {
    rmSync(program);
  });
  const job = { ...process.env, PATH: `${bin}:${process.env["PATH"] ?? ""}`, SLURM_JOB_ID: "88" };
  const run = (
    ...args: string[]
  ): { readonly status: number | null; readonly stdout: string; readonly stderr: string } =>
    spawnSync(process.execPath, [program, where, ...args], {
      encoding: "utf8",
      env: { ...job, ...(args.length === 0 ? { SLURM_RESTART_COUNT: "1" } : {}) },
    });
  const first = run("send");
  assert.deepEqual([first.status, calls()], [138, "requeue 88"], first.stderr);
  const second = run();
  assert.equal(second.status, 0, second.stderr);
  assert.match(second.stdout, /restart 1\): goes on from .*interrupted\.ckpt/);
  assert.match(second.stdout, /done 9 true/);
});
