/** What a reader of trainer.events() is told, in which order, and when it ends. */
import assert from "node:assert/strict";
import { createServer } from "node:http";
import { join } from "node:path";
import { setImmediate as turn } from "node:timers/promises";
import { test, type TestContext } from "node:test";
import {
  AsyncCheckpointIO,
  LearningRateFinder,
  ModelCheckpoint,
  TorchCheckpointIO,
  Trainer,
  type CheckpointIO,
  type TrainerEvent,
} from "@nbit/lightning";
import { full, type Tensor } from "@nbit/torch";
import { temporaryFolder } from "../helpers/temporary-folder.js";
import { QUIET, warningsOf } from "../helpers/training.js";
import { type Pair, Line, loader } from "./line-model.js";
import { fails } from "./small-module.js";

const folder = temporaryFolder("events");

async function readAll(events: AsyncIterable<TrainerEvent>): Promise<TrainerEvent[]> {
  const all: TrainerEvent[] = [];
  for await (const event of events) all.push(event);
  return all;
}

/** An event in a word or two. */
function brief(event: TrainerEvent): string {
  switch (event.type) {
    case "stageStart":
    case "stageEnd":
      return `${event.type} ${event.stage} ${event.epoch}/${event.globalStep}`;
    case "batchEnd":
      return `batchEnd ${event.stage} ${event.batchIdx} ${event.epoch}/${event.globalStep}`;
    case "start":
      return `start ${event.fn}`;
    case "end":
      return `end ${event.fn} ${event.status}`;
    case "dropped":
    case "skippedStep":
      return `${event.type} ${event.count}`;
    default:
      return event.type;
  }
}
const ofBatches = (stage: string, place: (i: number) => string): string[] =>
  [0, 1, 2].map((i) => `batchEnd ${stage} ${i} ${place(i)}`);

test("a fit beside its reader: every event, in order, with its metrics", async () => {
  const saver = new ModelCheckpoint({ dirpath: join(folder, "order"), filename: "{epoch}" });
  const trainer = new Trainer({ ...QUIET, enableCheckpointing: true, callbacks: [saver], maxEpochs: 2 });
  const data = loader();
  const fit = (): Promise<void> => trainer.fit(new Line(), { trainDataloaders: data, valDataloaders: data });
  const [, events] = await Promise.all([fit(), readAll(trainer.events())]);
  const epoch = (n: number): string[] => [
    ...ofBatches("train", (i) => `${n}/${3 * n + i + 1}`),
    `stageEnd train ${n}/${3 * n + 3}`,
    `stageStart validate ${n}/${3 * n + 3}`,
    ...ofBatches("validate", () => `${n}/${3 * n + 3}`),
    "validationEnd",
    `stageEnd validate ${n}/${3 * n + 3}`,
    `stageStart train ${n}/${3 * n + 3}`,
    "checkpointSaved",
    "epochEnd",
  ];
  assert.deepEqual(events.filter(({ type }) => type !== "warning" && type !== "longStep").map(brief), [
    "start fit",
    "stageStart sanity_check 0/0",
    ...ofBatches("sanity_check", () => "0/0").slice(0, 2),
    "stageEnd sanity_check 0/0",
    "stageStart train 0/0",
    ...epoch(0),
    ...epoch(1),
    "stageEnd train 2/6",
    "end fit finished",
  ]);
  const last = events.findLast((event) => event.type === "epochEnd");
  assert.deepEqual(last?.metrics, { ...trainer.callbackMetrics });
  const losses = events.flatMap((event) =>
    event.type === "batchEnd" && event.stage === "train" ? [event.metrics["loss_step"]] : [],
  );
  assert.equal(new Set(losses).size, 6);
  const saved = events.flatMap((event) => (event.type === "checkpointSaved" ? [event.path] : []));
  assert.deepEqual(saved, [join(folder, "order", "epoch=0.ckpt"), join(folder, "order", "epoch=1.ckpt")]);
});

/** What is saved is there when the run ends, and not before. */
class Slow extends TorchCheckpointIO {
  readonly #then: (() => void)[] = [];
  override whenSaved(then: () => void): void {
    this.#then.push(then);
  }
  override teardown(): void {
    for (const then of this.#then.splice(0)) then();
  }
}

test("a checkpoint that is written beside training is told of when it is there, as of its own step", async () => {
  const saver = new ModelCheckpoint({ dirpath: join(folder, "slow"), everyNTrainSteps: 2, saveTopK: -1 });
  const options = { ...QUIET, enableCheckpointing: true, maxEpochs: 1 };
  const told = async (plugins: CheckpointIO): Promise<string[]> => {
    const trainer = new Trainer({ ...options, callbacks: [saver], plugins });
    const [, events] = await Promise.all([
      trainer.fit(new Line(), { trainDataloaders: loader() }),
      readAll(trainer.events()),
    ]);
    return events.flatMap((event) =>
      event.type === "checkpointSaved" ? [`saved ${event.globalStep}`] : event.type === "epochEnd" ? ["epochEnd"] : [],
    );
  };
  assert.deepEqual(await told(new TorchCheckpointIO()), ["saved 2", "epochEnd"]);
  assert.deepEqual(await told(new Slow()), ["epochEnd", "saved 2"]);
  assert.deepEqual((await told(new AsyncCheckpointIO())).sort(), ["epochEnd", "saved 2"]);
});

test("validation, testing and prediction have their events; the next run needs a reader of its own", async () => {
  const trainer = new Trainer(QUIET);
  const dataloaders = loader();
  for (const fn of ["validate", "test", "predict"] as const) {
    const [results, events] = await Promise.all([
      trainer[fn](new Line(), { dataloaders }),
      readAll(trainer.events({ everyNBatches: 2 })),
    ]);
    const ended = fn === "predict" ? [] : [fn === "test" ? "testEnd" : "validationEnd"];
    assert.deepEqual(events.map(brief), [
      `start ${fn}`,
      `stageStart ${fn} 0/0`,
      `batchEnd ${fn} 1 0/0`,
      ...ended,
      `stageEnd ${fn} 0/0`,
      `end ${fn} finished`,
    ]);
    for (const event of events)
      if (event.type === "testEnd" || event.type === "validationEnd") assert.deepEqual(event.metrics, results);
  }
});

test("a run that fails, and one that never begins, end with what the call rejects with", async () => {
  class Fails extends Line {
    override trainingStep(): Tensor {
      throw boom;
    }
  }
  const boom = new Error("boom");
  const trainer = new Trainer({ ...QUIET, maxEpochs: 1 });
  const reading = readAll(trainer.events());
  await assert.rejects(trainer.fit(new Fails(), { trainDataloaders: loader() }), boom);
  assert.deepEqual((await reading).at(-1), { type: "end", fn: "fit", status: "interrupted", error: boom });

  const second = readAll(trainer.events());
  const error: unknown = await trainer.fit(new Line(), { ckptPath: "absent.ckpt" }).catch((e: unknown) => e);
  assert.deepEqual(await second, [{ type: "end", fn: "fit", status: "interrupted", error }]);
});

test("a call that is refused since another runs ends nobody's events", async () => {
  const trainer = new Trainer({ ...QUIET, maxEpochs: 1 });
  const reading = readAll(trainer.events());
  const fit = trainer.fit(new Line(), { trainDataloaders: loader() });
  await assert.rejects(trainer.test(new Line(), { dataloaders: loader() }), { code: "ERR_RUNNING" });
  await fit;
  assert.equal((await reading).filter(({ type }) => type === "batchEnd").length, 3);
});

test("who leaves early is forgotten, and the run goes on; nothing listens when nobody reads", async () => {
  const listeners = process.listenerCount("warning");
  const trainer = new Trainer({ ...QUIET, maxEpochs: 2 });
  const leave = async (): Promise<number> => {
    for await (const event of trainer.events()) if (event.type === "batchEnd") return trainer.globalStep;
    return -1;
  };
  const [, left] = await Promise.all([trainer.fit(new Line(), { trainDataloaders: loader() }), leave()]);
  assert.ok(left >= 1 && left < 6, String(left));
  assert.equal(trainer.globalStep, 6);
  assert.equal(process.listenerCount("warning"), listeners);
  const events = trainer.events();
  assert.equal(process.listenerCount("warning"), listeners + 1);
  const waiting = events.next();
  await events.return?.();
  assert.deepEqual(
    [await waiting, await events.next()].map(({ done }) => done),
    [true, true],
  );
  assert.equal(process.listenerCount("warning"), listeners);
});

test("who reads too late is told how many batches were dropped, and misses nothing else", async () => {
  const trainer = new Trainer({ ...QUIET, maxEpochs: 4 });
  const late = trainer.events({ bufferSize: 10 });
  const all = readAll(trainer.events());
  await trainer.fit(new Line(), { trainDataloaders: loader() });
  const whole = (await all).map(brief);
  const kept = (await readAll(late)).map(brief);
  const isBatch = (one: string): boolean => one.startsWith("batchEnd");
  assert.deepEqual([whole.filter(isBatch).length, kept.length], [12, 11]);
  assert.equal(kept[0], `dropped ${whole.length - 10}`);
  assert.deepEqual(
    kept.slice(1).filter((one) => !isBatch(one)),
    whole.filter((one) => !isBatch(one)),
  );
  const newest = kept.filter(isBatch);
  assert.ok(newest.length > 0);
  assert.deepEqual(newest, whole.filter(isBatch).slice(-newest.length));
});

test("skipped steps and warnings are told", async () => {
  class Overflows extends Line {
    override trainingStep(batch: Pair): Tensor {
      const loss = super.trainingStep(batch);
      return this.trainer.batchIdx === 1 ? loss.mul(full([], Infinity)) : loss;
    }
    override onTrainEpochEnd(): void {
      process.emitWarning("look", { type: "NbitWarning", code: "WARN_LOOK" });
      process.emitWarning("not ours");
    }
  }
  const trainer = new Trainer({ ...QUIET, precision: 16, maxEpochs: 1, detectNonFinite: false });
  const run = (): Promise<void> => trainer.fit(new Overflows(), { trainDataloaders: loader() });
  const [, events] = await Promise.all([run(), readAll(trainer.events())]);
  const skipped = events.flatMap((event) => (event.type === "skippedStep" ? [event] : []));
  assert.equal(
    skipped.reduce((sum, { count }) => sum + count, 0),
    trainer.skippedSteps,
  );
  const { lossScale } = trainer;
  assert.deepEqual(skipped.at(-1), { type: "skippedStep", count: 1, lossScale, epoch: 0, globalStep: 2 });
  const warnings = events.flatMap((event) => (event.type === "warning" ? [event] : []));
  assert.deepEqual(warnings.at(-1), { type: "warning", code: "WARN_LOOK", message: "look" });
  assert.ok(warnings.every(({ message }) => message !== "not ours"));
});

test("trials before a run are no part of its events", async () => {
  class Rated extends Line {
    lr = 0.5;
  }
  const finder = new LearningRateFinder({ numTrainingSteps: 5, updateAttr: false });
  const trainer = new Trainer({ ...QUIET, maxEpochs: 1, callbacks: [finder] });
  const run = (): Promise<void> => trainer.fit(new Rated(), { trainDataloaders: loader() });
  const [, events] = await Promise.all([run(), readAll(trainer.events())]);
  assert.ok(finder.optimalLr !== null);
  const count = (of: string): number => events.filter(({ type }) => type === of).length;
  assert.deepEqual(["start", "batchEnd", "checkpointSaved", "end"].map(count), [1, 3, 0, 1]);
});

/** Every look at the clock finds it later by so much. */
function clockOf(t: TestContext, milliseconds: number): void {
  let now = 0;
  t.mock.method(performance, "now", () => (now += milliseconds));
}

test("the event loop turns after every step that is long by the clock, and only now and then where they are short", async (t) => {
  class Steps extends Line {
    /** Turns of the event loop that the previous step has seen. */
    readonly turns: number[] = [];
    override trainingStep(batch: Pair): Tensor {
      this.turns.push(turns);
      return super.trainingStep(batch);
    }
  }
  let turns = 0;
  let running = true;
  const count = async (): Promise<void> => {
    for (; running; turns++) await turn();
  };
  const train = async (milliseconds: number): Promise<Steps> => {
    clockOf(t, milliseconds);
    const model = new Steps();
    await new Trainer({ ...QUIET, maxEpochs: 1 }).fit(model, { trainDataloaders: loader() });
    t.mock.restoreAll();
    return model;
  };
  const counting = count();
  const long = await train(30);
  const short = await train(1e-6);
  running = false;
  await counting;
  assert.ok(
    (long.turns[0] ?? 0) < (long.turns[1] ?? 0) && (long.turns[1] ?? 0) < (long.turns[2] ?? 0),
    String(long.turns),
  );
  assert.equal(new Set(short.turns).size, 1, String(short.turns));
});

test("a step of more than 100 ms is told once, to the user only where this process serves others", async (t) => {
  for (const serves of [false, true]) {
    const server = serves ? createServer().listen(0) : null;
    const trainer = new Trainer({ ...QUIET, maxEpochs: 2 });
    clockOf(t, 150);
    let events: TrainerEvent[] = [];
    const given = await warningsOf(async () => {
      const fit = trainer.fit(new Line(), { trainDataloaders: loader(), valDataloaders: loader() });
      [, events] = await Promise.all([fit, readAll(trainer.events())]);
    });
    t.mock.restoreAll();
    server?.close();
    assert.deepEqual(
      events.filter(({ type }) => type === "longStep"),
      [{ type: "longStep", milliseconds: 150, epoch: 0, globalStep: 1 }],
    );
    const said = given.filter(({ code }) => code === "INFO_LONG_STEP");
    assert.equal(said.length, serves ? 1 : 0);
    if (serves)
      assert.match(said[0]?.message ?? "", /^fit: a training step took \d+ ms, and requests to this process's server/);
  }
});

test("options are checked when they are given", async () => {
  const trainer = new Trainer(QUIET);
  await fails(
    () => trainer.events({ everyNBatches: 0 }),
    "ERR_EVENTS",
    "Trainer.events: expected everyNBatches to be a whole number ≥ 1. Received: 0.",
  );
});
