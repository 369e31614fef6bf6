/** What every logger does, whatever it writes to. */
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { readdirSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { after, before, describe, test } from "node:test";
import * as lightning from "@nbit/lightning";
import { Callback, LightningModule, Trainer, type Logger, type TrainerView } from "@nbit/lightning";
import { DataLoader, nn, optim, seedEverything, TensorDataset, ones, utils, type Tensor } from "@nbit/torch";
import { temporaryFolders } from "../helpers/temporary-folder.js";
import { QUIET } from "../helpers/training.js";
import { CASES, type Case, type Value } from "./cases.js";
import { all, events } from "./event-reader.js";
import { FakeMlflow } from "./mlflow-server.js";

const fresh = temporaryFolders("logger-contract");
let server = new FakeMlflow();
let address = "";
before(async () => {
  address = await server.listen();
});
after(() => server.close());

class Line extends LightningModule {
  readonly layer = new nn.Linear(3, 1);
  constructor(hparams: object = {}) {
    super();
    this.saveHyperparameters(hparams);
  }
  override trainingStep([x]: [Tensor], batchIdx: number): Tensor {
    const loss = this.layer.forward(x).square().mean();
    this.log("loss", loss);
    if (batchIdx === 1) this.log("rare", 0.5);
    return loss;
  }
  override configureOptimizers(): optim.Optimizer {
    return new optim.SGD(this.parameters(), { lr: 0.05 });
  }
}
const loader = (): DataLoader<[Tensor]> => new DataLoader(new TensorDataset(ones([4, 3])), { batchSize: 1 }) as never;
/** Through each experiment's own methods. */
async function byHand(experiment: unknown): Promise<void> {
  const { MlflowClient, WandbRun } = lightning;
  if (experiment instanceof utils.tensorboard.SummaryWriter) experiment.addScalar("a", 1);
  else if (experiment instanceof MlflowClient) await experiment.setTag("run1", "a", "b").then(() => undefined);
  else if (experiment instanceof WandbRun) experiment.config.update({ a: 1 });
  else assert.equal(Object.getPrototypeOf(experiment), Object.prototype);
}
/** As sets, since a row's own order is not part of what is promised. */
const sorted = (values: readonly Value[]): string[] =>
  values.map(([name, step, value]) => `${step} ${name} ${value}`).sort();
const kept = ({ exact }: Case, values: readonly Value[]): Value[] =>
  values.map(([name, step, value]) => [name, step, exact ? value : Math.fround(value)]);

async function logAll(logger: Logger, values: readonly Value[]): Promise<void> {
  await logger.start();
  for (const [name, step, value] of values) {
    await logger.logMetrics({ [name]: value }, step);
    await logger.save();
  }
}
/** A server that knows nothing yet. */
async function emptyServer(): Promise<void> {
  await server.close();
  server = new FakeMlflow();
  address = await server.listen();
}

for (const each of CASES)
  void describe(each.name, () => {
    const { make, values } = each;
    const VALUES: readonly Value[] = [
      ["loss", 0, 0.1],
      ["val/acc", 1, 0.75],
      ["loss", 9, 1e-300],
      ["loss", 10, NaN],
      ["loss", 11, Infinity],
      ["loss", 12, -0.5],
    ];

    void test("what is logged is there after save, without finalize", async () => {
      await emptyServer();
      const folder = fresh();
      const logger = make(folder, address);
      await logAll(logger, VALUES);
      assert.deepEqual(sorted(values(folder, server)), sorted(kept(each, VALUES)));
      await logger.finalize("success");
      assert.deepEqual(sorted(values(folder, server)), sorted(kept(each, VALUES)));
    });

    void test("it says who it is, and an experiment of its own", async () => {
      const folder = fresh();
      const logger = make(folder, address);
      await logger.start();
      const { name, version, logDir } = logger;
      assert.equal(typeof name, "string");
      assert.ok(typeof version === "number" || typeof version === "string");
      assert.deepEqual([logger.name, logger.version, logger.logDir], [name, version, logDir]);
      assert.ok(logDir?.startsWith(folder));
      assert.equal(typeof Reflect.get(logger, "experiment"), "object");
      await logger.finalize("success");
    });

    void test("hyper-parameters, also nested ones", async () => {
      await emptyServer();
      const folder = fresh();
      const logger = make(folder, address);
      await logger.start();
      await logger.logHyperparams({ lr: 0.1, net: { width: 4, act: "relu" }, amsgrad: true });
      await logger.finalize("success");
      const expected = { lr: "0.1", "net/width": "4", "net/act": "relu", amsgrad: "true" };
      assert.deepEqual(each.hparams(folder, server), expected);
    });

    void test("it ends in every way, also twice, and goes on after its end", async () => {
      await emptyServer();
      const folder = fresh();
      const logger = make(folder, address);
      for (const status of ["success", "failed", "interrupted"] as const) {
        await logAll(logger, [["a", 1, 1]]);
        await logger.finalize(status);
        await logger.finalize(status);
      }
      assert.equal(values(folder, server).length, 3);
    });

    void test("one that follows writes nothing", async () => {
      await emptyServer();
      const folder = fresh();
      const logger = make(folder, address);
      logger.follow("elsewhere");
      await logger.start();
      await logger.logMetrics({ a: 1 }, 0);
      await logger.logHyperparams({ lr: 1 });
      await logger.logGraph(new nn.Linear(1, 1));
      await logger.save();
      await byHand(Reflect.get(logger, "experiment"));
      await logger.finalize("success");
      assert.deepEqual(readdirSync(folder), []);
      assert.deepEqual(server.requests, []);
      assert.equal(String(logger.version), "elsewhere");
    });

    void test("its state is plain, and what is no state of its is refused", async () => {
      const folder = fresh();
      const logger = make(folder, address);
      await logAll(logger, [["a", 3, 1]]);
      const state = logger.stateDict();
      assert.deepEqual(JSON.parse(JSON.stringify(state)), state);
      logger.loadStateDict({});
      await logger.finalize("success");
      if (logger.loadStateDict !== lightning.Logger.prototype.loadStateDict)
        assert.throws(
          () => {
            logger.loadStateDict({ wrong: 1 });
          },
          { code: "CHECKPOINT_STATE" },
        );
    });

    void test("surplus arguments and unknown options are refused", () => {
      const type = Reflect.get(lightning, each.name) as new (...args: unknown[]) => unknown;
      assert.throws(() => new type("logs", { notAnOption: 1 }), { code: "ERR_ARGUMENT" });
    });

    void test("a run that goes on from a checkpoint", async () => {
      await emptyServer();
      const folder = fresh();
      const run = async (maxEpochs: number, ckptPath?: string): Promise<void> => {
        seedEverything(1);
        const logger = make(folder, address);
        const trainer = new Trainer({ ...QUIET, logger, logEveryNSteps: 1, maxEpochs });
        await trainer.fit(new Line(), { trainDataloaders: loader(), ...(ckptPath === undefined ? {} : { ckptPath }) });
        if (ckptPath === undefined && maxEpochs === 1) trainer.saveCheckpoint(`${folder}/at1.ckpt`);
      };
      await run(1);
      await run(2, `${folder}/at1.ckpt`);
      const steps = values(folder, server).flatMap(([name, step]) => (name === "loss" ? [step] : []));
      assert.deepEqual(steps, [0, 1, 2, 3, 4, 5, 6, 7]);
    });
  });

class SaveFirstEpoch extends Callback {
  constructor(readonly path: string) {
    super();
  }
  override onTrainEpochEnd(trainer: TrainerView): void {
    if (trainer.currentEpoch === 0) trainer.saveCheckpoint(this.path);
  }
}

for (const each of CASES)
  test(`${each.name}: what came after the checkpoint that a run goes on from`, async () => {
    await emptyServer();
    const folder = fresh();
    const path = `${folder}/at1.ckpt`;
    for (const ckptPath of [null, path]) {
      seedEverything(1);
      const callbacks = ckptPath === null ? [new SaveFirstEpoch(path)] : [];
      const logger = each.make(folder, address);
      const trainer = new Trainer({ ...QUIET, logger, callbacks, logEveryNSteps: 1, maxEpochs: 2 });
      await trainer.fit(new Line(), { trainDataloaders: loader(), ...(ckptPath === null ? {} : { ckptPath }) });
    }
    const steps = each.values(folder, server).flatMap(([name, step]) => (name === "loss" ? [step] : []));
    const again = each.cutsBack ? [] : [4, 5, 6, 7];
    assert.deepEqual(steps, [0, 1, 2, 3, 4, 5, 6, 7, ...again]);
    if (each.name === "TensorBoardLogger") {
      // Readers are told to forget what the first run logged from step 4 on.
      const restarts = events(`${folder}/log/v`).filter(({ bytes }) => all(bytes, 7).length > 0);
      assert.deepEqual(
        restarts.map(({ step }) => step),
        [4],
      );
    }
  });

test("processes that are killed have lost nothing that was saved", async () => {
  await emptyServer();
  const program = fileURLToPath(new URL("kill-program.js", import.meta.url));
  const killed = CASES.map(async (each) => {
    const folder = fresh();
    const args = [program, each.name, folder, address];
    const child = spawn(process.execPath, args, { stdio: ["ignore", "ignore", "inherit"] });
    const [code, signal] = (await once(child, "exit")) as [number | null, string | null];
    assert.deepEqual([each.name, code, signal], [each.name, null, "SIGKILL"]);
    const expected = Array.from({ length: 25 }, (_, i): Value => ["loss", i, i / 4]);
    assert.deepEqual(sorted(each.values(folder, server)), sorted(expected), each.name);
  });
  await Promise.all(killed);
});

test("several loggers of one Trainer are given the same", async () => {
  await emptyServer();
  const folders = CASES.map(() => fresh());
  const loggers = CASES.map(({ make }, i) => make(folders[i] as string, address));
  const trainer = new Trainer({ ...QUIET, logger: loggers, logEveryNSteps: 1, maxEpochs: 1 });
  assert.deepEqual(trainer.loggers, loggers);
  assert.equal(trainer.logger, loggers[0]);
  seedEverything(1);
  await trainer.fit(new Line({ lr: 0.05 }), { trainDataloaders: loader() });
  const [first, ...rest] = CASES.map((each, i) => each.values(folders[i] as string, server));
  assert.ok((first as Value[]).length >= 9);
  const rounded = (all: readonly Value[]): string[] =>
    sorted(all.map(([name, step, value]) => [name, step, Math.fround(value)]));
  for (const other of rest) assert.deepEqual(rounded(other), rounded(first as Value[]));
  for (const [i, each] of CASES.entries()) assert.deepEqual(each.hparams(folders[i] as string, server), { lr: "0.05" });
});
