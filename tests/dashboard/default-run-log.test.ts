/** The run log that every fit leaves by itself. */
import assert from "node:assert/strict";
import { existsSync, readdirSync, readFileSync, statSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import { readRunLog, readRunLogs } from "@nbit/dashboard";
import { CSVLogger, LightningModule, ModelCheckpoint, RunLog, Trainer } from "@nbit/lightning";
import type { StepResult, TrainerOptions, TrainerView } from "@nbit/lightning";
import { DataLoader, nn, optim, randn, seedEverything, TensorDataset, zeros } from "@nbit/torch";
import type { Tensor } from "@nbit/torch";
import { temporaryFolder } from "../helpers/temporary-folder.js";
import { MetricRows, QUIET } from "../helpers/training.js";

const root = temporaryFolder("default-run-log");

class Line extends LightningModule {
  readonly layer = new nn.Linear(3, 1);
  constructor(hparams: object = { lr: 0.1, layers: [8, 4], apiKey: "hidden" }) {
    super();
    this.saveHyperparameters(hparams);
  }
  override trainingStep([x]: [Tensor]): Tensor {
    const loss = this.layer.forward(x).square().mean();
    this.log("loss", loss);
    return loss;
  }
  override validationStep([x]: [Tensor]): void {
    this.log("val_loss", this.layer.forward(x).square().mean());
  }
  override configureOptimizers(): optim.Optimizer {
    return new optim.SGD(this.parameters(), { lr: 0.1 });
  }
}
const loader = (): DataLoader<[Tensor]> => new DataLoader(new TensorDataset(randn([16, 3])), { batchSize: 4 });

function trainerIn(folder: string, options: TrainerOptions = {}): Trainer {
  seedEverything(1);
  const { logger: _none, ...quiet } = QUIET;
  return new Trainer({ ...quiet, maxEpochs: 1, logEveryNSteps: 1, defaultRootDir: join(root, folder), ...options });
}
const fit = (trainer: Trainer, model: LightningModule = new Line()): Promise<void> =>
  trainer.fit(model, { trainDataloaders: loader(), valDataloaders: loader() });
const logOf = (folder: string): string => join(root, folder, "nbit_logs", "version_0", "run.jsonl");
const recordsOf = (path: string): Record<string, unknown>[] =>
  readFileSync(path, "utf8")
    .trimEnd()
    .split("\n")
    .map((line) => JSON.parse(line) as Record<string, unknown>);

test("a fit without a word about it leaves a log: where it comes from, its steps, samples, checkpoints and end", async () => {
  const trainer = trainerIn("plain", { enableCheckpointing: true });
  await fit(trainer);
  const records = recordsOf(logOf("plain"));
  const types = records.map(({ type }) => type);
  for (const type of ["run", "step", "system", "epoch", "eval", "checkpoint", "end"])
    assert.ok(types.includes(type), type);
  const [run = {}] = records;
  assert.equal(run["name"], "version_0");
  assert.deepEqual(run["hyperparameters"], { lr: 0.1, layers: [8, 4], apiKey: "…" });
  assert.equal(run["resumedFrom"], null);
  for (const key of ["command", "cwd", "versions", "system", "trainer"]) assert.ok(run[key] !== undefined, key);
  const read = readRunLog(logOf("plain"));
  assert.deepEqual(
    read.checkpoints?.map(({ path }) => existsSync(path)),
    [true],
  );
  assert.deepEqual(read.steps[0]?.learningRates, [0.1]);
  assert.ok(existsSync(join(root, "plain/nbit_logs/version_0/metrics.csv")), "metrics.csv stays");
});

test("fits of one Trainer are runs of their own; what is tested afterwards belongs to the last", async () => {
  const trainer = trainerIn("two");
  await fit(trainer, new Line({ lr: 1 }));
  const model = new Line({ lr: 2 });
  await fit(trainer, model);
  await trainer.validate(model, { dataloaders: loader() });
  const runs = readRunLogs(logOf("two"));
  assert.deepEqual(
    runs.map(({ hyperparameters, end }) => [hyperparameters, end?.status]),
    [
      [{ lr: 1 }, "success"],
      [{ lr: 2 }, "success"],
    ],
  );
  for (const { steps } of runs) assert.ok(steps.every(({ step }, i) => i === 0 || step > (steps[i - 1]?.step ?? 0)));
});

test("going on from a checkpoint of an earlier run leaves the run that began since", async () => {
  const saves = new ModelCheckpoint({ dirpath: join(root, "kept-checkpoints"), filename: "first" });
  await fit(trainerIn("kept", { enableCheckpointing: true, callbacks: [saves] }), new Line({ run: "first" }));
  const first = saves.bestModelPath;
  const sameFolder = (): CSVLogger => new CSVLogger(join(root, "kept"), { version: 0 });
  await fit(trainerIn("kept", { logger: sameFolder() }), new Line({ run: "second" }));
  const again = trainerIn("kept", { logger: sameFolder(), maxEpochs: 2 });
  await again.fit(new Line({ run: "first" }), { trainDataloaders: loader(), ckptPath: first });
  const runs = readRunLogs(logOf("kept"));
  assert.deepEqual(
    runs.map(({ hyperparameters }) => hyperparameters?.["run"]),
    ["first", "second", "first"],
  );
  assert.equal(recordsOf(logOf("kept")).filter(({ resumedFrom }) => resumedFrom === first).length, 1);
});

test("a run that goes on in another folder tells what is of its validation, and what of its steps", async () => {
  const saves = new ModelCheckpoint({ dirpath: join(root, "moved-checkpoints"), filename: "first" });
  await fit(trainerIn("moved", { enableCheckpointing: true, callbacks: [saves] }));
  const again = trainerIn("moved-on", { maxEpochs: 2 });
  const data = { trainDataloaders: loader(), valDataloaders: loader() };
  await again.fit(new Line(), { ...data, ckptPath: saves.bestModelPath });
  const { steps, evaluations } = readRunLog(logOf("moved-on"));
  assert.deepEqual(
    evaluations.map(({ metrics }) => Object.keys(metrics)),
    [["val_loss"]],
  );
  assert.ok(steps.length > 0);
  for (const { metrics } of steps) assert.deepEqual(Object.keys(metrics), ["loss"]);
});

test("a torn last line is cut off when the next run writes", async () => {
  await fit(trainerIn("torn"));
  const path = logOf("torn");
  const { appendFileSync } = await import("node:fs");
  appendFileSync(path, '{"type":"step","st');
  await fit(trainerIn("torn", { logger: new CSVLogger(join(root, "torn"), { version: 0 }) }));
  assert.equal(readRunLogs(path).length, 2);
  assert.ok(recordsOf(path).length > 10);
});

test("what switches it off: no logger, none with a folder, runLog: false, barebones, a dev run; and on: runLog: true", async () => {
  for (const [name, options] of Object.entries<TrainerOptions>({
    logger: { logger: false },
    folderless: { logger: new MetricRows() },
    runLog: { runLog: false },
    dev: { fastDevRun: true },
    bare: { barebones: true, logEveryNSteps: 0, logger: false },
  })) {
    await fit(trainerIn(`off-${name}`, options));
    const folder = join(root, `off-${name}`);
    const all = existsSync(folder) ? readdirSync(folder, { recursive: true }).map(String) : [];
    assert.deepEqual(
      all.filter((file) => file.endsWith("run.jsonl")),
      [],
      name,
    );
  }
  await fit(trainerIn("on", { logger: false, runLog: true }));
  assert.equal(readRunLogs(join(root, "on", "run.jsonl")).length, 1);
  assert.throws(() => trainerIn("both", { runLog: false, callbacks: [new RunLog()] }), {
    message: "Trainer: expected runLog: true with a RunLog. Received: runLog: false and a RunLog. Remove one of them.",
  });
  assert.throws(() => trainerIn("bare", { barebones: true, logger: false, logEveryNSteps: 0, runLog: true }), {
    code: "ERR_BAREBONES",
  });
  const own = new RunLog({ path: join(root, "own.jsonl") });
  await fit(trainerIn("own", { callbacks: [own] }));
  assert.ok(!existsSync(logOf("own")) && existsSync(join(root, "own.jsonl")), "a RunLog that is given is the only one");
});

test("evaluation and prediction alone leave no log", async () => {
  await trainerIn("alone").validate(new Line(), { dataloaders: loader() });
  assert.ok(!existsSync(logOf("alone")));
});

test("a hundred thousand steps: what waits in memory is bounded, and the heap stays as it is", async () => {
  const log = new RunLog({ path: join(root, "long.jsonl"), everyNSteps: 1 });
  const optimizer = new optim.SGD([new nn.Parameter(zeros([1]))], { lr: 0.1 });
  const metrics = { loss: 0.5 };
  let step = 0;
  const trainer = {
    isGlobalZero: true,
    rootDevice: { type: "cpu", toString: () => "cpu" },
    loggers: [],
    defaultRootDir: root,
    precision: { name: "32-true" },
    logEveryNSteps: 1,
    ckptPath: null,
    currentEpoch: 0,
    skippedSteps: 0,
    lossScale: null,
    lastOutcome: null,
    callbackMetrics: metrics,
    optimizers: [optimizer],
    get globalStep() {
      return step;
    },
  } as unknown as TrainerView;
  const module = new Line();
  const batch = zeros([4, 3]);
  log.setup(trainer, module, "fit");
  log.onTrainStart(trainer);
  setFlagsFromString("--expose-gc");
  const collect = runInNewContext("gc") as () => void;
  const run = (count: number): number => {
    for (let i = 0; i < count; i++) {
      step++;
      log.onTrainBatchEnd(trainer, module, {} as StepResult, batch);
    }
    collect();
    return process.memoryUsage().heapUsed;
  };
  const early = run(10_000);
  const late = run(90_000);
  assert.ok(late - early < 2 * 2 ** 20, `${late - early} bytes more`);
  const waiting = step - recordsOf(log.path ?? "").filter(({ type }) => type === "step").length;
  assert.ok(waiting <= 1000, `${waiting} lines wait`);
  log.teardown();
  assert.equal(readRunLog(log.path ?? "").steps.length, 100_000);
  assert.ok(statSync(log.path ?? "").size < 40 * 2 ** 20);
});
