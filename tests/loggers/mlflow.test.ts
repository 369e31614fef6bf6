/** MLFlowLogger against a small server that was written from MLflow's REST reference. */
import assert from "node:assert/strict";
import { writeFileSync } from "node:fs";
import { basename, join } from "node:path";
import { afterEach, beforeEach, test } from "node:test";
import {
  LightningModule,
  LoggerServerError,
  MlflowClient,
  MLFlowLogger,
  ModelCheckpoint,
  Trainer,
} from "@nbit/lightning";
import { DataLoader, nn, ones, optim, TensorDataset, type Tensor } from "@nbit/torch";
import { temporaryFolders } from "../helpers/temporary-folder.js";
import { QUIET, warningsOf } from "../helpers/training.js";
import { FakeMlflow, type StoredRun } from "./mlflow-server.js";

const fresh = temporaryFolders("mlflow");
let server = new FakeMlflow();
let trackingUri = "";
beforeEach(async () => {
  server = new FakeMlflow();
  trackingUri = await server.listen();
});
afterEach(() => server.close());
const FAST = { retrySeconds: 0.01, timeoutSeconds: 5 } as const;
const make = (options: object = {}): MLFlowLogger =>
  new MLFlowLogger("e", { trackingUri, saveDir: fresh(), ...FAST, ...options });
const onlyRun = (): StoredRun => {
  assert.equal(server.runs.size, 1);
  return [...server.runs.values()][0] as StoredRun;
};

class Line extends LightningModule {
  readonly layer = new nn.Linear(3, 1);
  steps = 0;
  override trainingStep([x]: [Tensor]): Tensor {
    this.steps++;
    const loss = this.layer.forward(x).square().mean();
    this.log("loss", loss);
    return loss;
  }
  override configureOptimizers(): optim.Optimizer {
    return new optim.SGD(this.parameters(), { lr: 0.05 });
  }
}
const fit = async (logger: MLFlowLogger, options: object = {}, model = new Line()): Promise<Trainer> => {
  const trainer = new Trainer({ ...QUIET, logger, logEveryNSteps: 1, maxEpochs: 1, ...options });
  await trainer.fit(model, { trainDataloaders: new DataLoader(new TensorDataset(ones([4, 3])), { batchSize: 1 }) });
  return trainer;
};
const codesOf = async (run: () => unknown): Promise<string[]> => (await warningsOf(run)).map(({ code }) => code);

test("a run has its experiment, name, tags, values and end", async () => {
  const logger = make({ runName: "first", tags: { team: "a" } });
  await fit(logger);
  const run = onlyRun();
  assert.deepEqual([...server.experiments], [["e", "1"]]);
  assert.deepEqual([logger.name, logger.version, logger.experimentId, logger.runId], ["1", "run1", "1", "run1"]);
  assert.deepEqual(
    [...run.tags],
    [
      ["team", "a"],
      ["mlflow.runName", "first"],
    ],
  );
  assert.deepEqual(
    run.metrics.flatMap(({ key, step }) => (key === "loss" ? [step] : [])),
    [0, 1, 2, 3],
  );
  assert.ok(run.metrics.every(({ timestamp }) => timestamp > 1.6e12));
  assert.deepEqual(run.statuses, ["RUNNING", "FINISHED"]);
});

test("an experiment that is there is used, and a run by its id goes on", async () => {
  await fit(make());
  await fit(make());
  assert.deepEqual([...server.experiments], [["e", "1"]]);
  assert.equal(server.runs.size, 2);
  const again = make({ runId: "run2" });
  await fit(again);
  assert.equal(server.runs.size, 2);
  assert.deepEqual(server.runs.get("run2")?.statuses, ["RUNNING", "FINISHED", "RUNNING", "FINISHED"]);
  assert.equal(again.experimentId, "1");
});

test("a server that does not answer at the start ends the run before it begins", async () => {
  const logger = make();
  await server.close();
  const model = new Line();
  await assert.rejects(fit(logger, {}, model), (error: unknown) => {
    assert.ok(error instanceof LoggerServerError);
    assert.deepEqual([error.code, error.status], ["ERR_LOGGER_SERVER", null]);
    assert.equal(error.message, `MLflow: no answer from ${trackingUri}: ECONNREFUSED.`);
    return true;
  });
  assert.equal(model.steps, 0);
});

test("two failures at the start are no error, three are", async () => {
  server.failures = 2;
  await fit(make());
  assert.deepEqual(onlyRun().statuses, ["RUNNING", "FINISHED"]);
  server.failures = 3;
  await assert.rejects(fit(make()), { code: "ERR_LOGGER_SERVER", status: 503, reason: "TEMPORARILY_UNAVAILABLE" });
});

test("a server that is away for a while is one warning, and all arrives", async () => {
  const logger = make();
  await logger.start();
  server.failures = 4;
  const codes = await codesOf(async () => {
    for (let step = 0; step < 10; step++) void logger.logMetrics({ loss: step }, step);
    await logger.finalize("success");
  });
  assert.deepEqual(codes, ["WARN_LOGGER_SERVER"]);
  const { metrics, statuses } = onlyRun();
  assert.deepEqual(
    metrics.map(({ step }) => step),
    Array.from({ length: 10 }, (_, i) => i),
  );
  assert.equal(statuses.at(-1), "FINISHED");
});

test("a server that stays away costs training nothing but the wait at its end, and says what is lost", async () => {
  const logger = make({ timeoutSeconds: 0.2 });
  class Cut extends Line {
    override trainingStep(batch: [Tensor]): Tensor {
      if (this.steps === 1) server.failures = Infinity;
      return super.trainingStep(batch);
    }
  }
  const model = new Cut();
  const given = await warningsOf(() => fit(logger, {}, model));
  assert.equal(model.steps, 4);
  assert.deepEqual(
    given.map(({ code }) => code),
    ["WARN_LOGGER_SERVER", "WARN_LOGGER_LOST"],
  );
  assert.match(given[1]?.message ?? "", /^MLFlowLogger: the server did not take \d+ values in time: they are lost\.$/);
});

test("values go in batches of at most a thousand, hyper-parameters of a hundred, cut to what the server takes", async () => {
  const logger = make();
  await logger.start();
  void logger.logMetrics(Object.fromEntries(Array.from({ length: 2500 }, (_, i) => [`m${i}`, i])), 0);
  await logger.logHyperparams({
    ...Object.fromEntries(Array.from({ length: 150 }, (_, i) => [`p${i}`, i])),
    long: "x".repeat(900),
  });
  await logger.finalize("success");
  const { metrics, params } = onlyRun();
  assert.deepEqual([metrics.length, params.size, params.get("long")?.length], [2500, 151, 500]);
  assert.equal(server.requests.filter((request) => request === "POST runs/log-batch").length, 3 + 2);
});

test("names that MLflow does not take are changed, with a warning", async () => {
  const logger = make();
  await logger.start();
  const given = await warningsOf(async () => {
    void logger.logMetrics({ "acc@1": 1 }, 0);
    void logger.logMetrics({ "acc@1": 2 }, 1);
    await logger.finalize("success");
  });
  assert.deepEqual(given, [
    {
      code: "WARN_METRIC_NAME",
      message: 'MLFlowLogger: MLflow takes no name such as "acc@1": it is logged as "acc1".',
    },
  ]);
  assert.deepEqual(
    onlyRun().metrics.map(({ key }) => key),
    ["acc1", "acc1"],
  );
});

test("a hyper-parameter that has another value already is a warning, not the end", async () => {
  const logger = make();
  await logger.start();
  await logger.logHyperparams({ lr: 1 });
  assert.deepEqual(await codesOf(() => logger.logHyperparams({ lr: 2 })), ["WARN_LOGGER_REFUSED"]);
  await logger.finalize("success");
});

test("checkpoints are uploaded at the end, or as they come", async () => {
  for (const [logModel, saveTopK] of [
    [true, 1],
    ["all", -1],
  ] as const) {
    const logger = make({ logModel });
    const checkpoint = new ModelCheckpoint({ saveTopK });
    await fit(logger, { enableCheckpointing: true, maxEpochs: 2, callbacks: [checkpoint] });
    const { artifacts } = server.runs.get(logger.version) as StoredRun;
    const expected = basename(checkpoint.lastSavedPath, ".ckpt");
    assert.ok(
      [...artifacts.keys()].includes(`${expected}/${basename(checkpoint.lastSavedPath)}`),
      [...artifacts.keys()].join(),
    );
    if (logModel === "all") assert.equal(artifacts.size, 2);
    assert.ok([...artifacts.values()].every((content) => content.length > 100));
    assert.ok(checkpoint.lastSavedPath.startsWith(logger.logDir ?? "?"));
  }
});

test("artifacts elsewhere are refused by name", async () => {
  server.artifactScheme = "s3";
  const logger = make();
  await logger.start();
  const path = join(fresh(), "a.txt");
  writeFileSync(path, "a");
  await assert.rejects(logger.experiment.logArtifact(logger.version, path), { reason: "NO_PROXY" });
  await logger.finalize("success");
});

test("the client: tags, parameters, metrics and artifacts by hand", async () => {
  const client = new MlflowClient(trackingUri);
  assert.equal(await client.getExperimentByName("none"), null);
  const id = await client.createExperiment("mine");
  assert.deepEqual(await client.getExperimentByName("mine"), {
    experimentId: id,
    name: "mine",
    lifecycleStage: "active",
  });
  const { runId } = await client.createRun(id, { a: "b" });
  await client.setTag(runId, "c", "d");
  await client.logParam(runId, "lr", "1");
  await client.logMetric(runId, "x", -Infinity, 1700000000000, 4);
  const path = join(fresh(), "ü.txt");
  writeFileSync(path, "content");
  await client.logArtifact(runId, path, "some folder");
  await client.setTerminated(runId, "KILLED");
  const run = server.runs.get(runId) as StoredRun;
  assert.deepEqual(
    [...run.tags],
    [
      ["a", "b"],
      ["c", "d"],
    ],
  );
  assert.deepEqual([...run.params], [["lr", "1"]]);
  assert.deepEqual(run.metrics, [{ key: "x", value: -Infinity, timestamp: 1700000000000, step: 4 }]);
  assert.equal(run.artifacts.get("some folder/ü.txt")?.toString(), "content");
  assert.equal((await client.getRun(runId)).status, "KILLED");
  await assert.rejects(client.getRun("none"), {
    code: "ERR_LOGGER_SERVER",
    status: 404,
    reason: "RESOURCE_DOES_NOT_EXIST",
  });
});

test("who may log is said by the environment", async () => {
  const set = (values: Record<string, string>): (() => void) => {
    Object.assign(process.env, values);
    return () => {
      for (const name of Object.keys(values)) Reflect.deleteProperty(process.env, name);
    };
  };
  const client = new MlflowClient(trackingUri);
  let unset = set({ MLFLOW_TRACKING_USERNAME: "me", MLFLOW_TRACKING_PASSWORD: "secret" });
  await client.getExperimentByName("x");
  unset();
  unset = set({ MLFLOW_TRACKING_TOKEN: "abc", MLFLOW_TRACKING_URI: trackingUri });
  await client.getExperimentByName("x");
  assert.equal(new MLFlowLogger().experiment.trackingUri, trackingUri);
  unset();
  assert.deepEqual([...server.authorizations], [`Basic ${Buffer.from("me:secret").toString("base64")}`, "Bearer abc"]);
});

test("without an address, or with one of files, it says what to do", () => {
  for (const uri of [null, "file:./mlruns", "sqlite:///mlflow.db", "http://"])
    assert.throws(() => new MLFlowLogger({ trackingUri: uri }), {
      code: "ERR_MLFLOW_URI",
      message: /Start one: mlflow server --port 5000/,
    });
});
