/** What the Trainer asks of loggers beyond rows: graphs, checkpoints, failures. */
import assert from "node:assert/strict";
import { readdirSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { JSONLLogger, LightningModule, Logger, ModelCheckpoint, TensorBoardLogger, Trainer } from "@nbit/lightning";
import { DataLoader, nn, ones, optim, TensorDataset, type Tensor } from "@nbit/torch";
import { temporaryFolders } from "../helpers/temporary-folder.js";
import { QUIET, warningsOf } from "../helpers/training.js";
import { all, events, message, scalars, text } from "./event-reader.js";

const fresh = temporaryFolders("loggers-trainer");

class Line extends LightningModule {
  readonly layer = new nn.Linear(3, 1);
  override forward(x: Tensor): Tensor {
    return this.layer.call(x);
  }
  override trainingStep([x]: [Tensor], batchIdx: number): Tensor {
    const loss = this.forward(x).square().mean();
    this.log("loss", loss);
    const { logger } = this;
    if (logger instanceof TensorBoardLogger) logger.experiment.addHistogram("weight", this.layer.weight, batchIdx);
    return loss;
  }
  override configureOptimizers(): optim.Optimizer {
    return new optim.SGD(this.parameters(), { lr: 0.05 });
  }
}
const fit = async (logger: Logger, model: LightningModule, options: object = {}): Promise<Trainer> => {
  const trainer = new Trainer({ ...QUIET, logger, logEveryNSteps: 1, maxEpochs: 1, ...options });
  await trainer.fit(model, { trainDataloaders: new DataLoader(new TensorDataset(ones([4, 3])), { batchSize: 1 }) });
  return trainer;
};
const graphsOf = (folder: string): string[][] =>
  events(folder).flatMap(({ bytes }) =>
    (all(bytes, 4) as Buffer[]).map((graph) => (all(graph, 1) as Buffer[]).map((node) => text(node, 1))),
  );

for (const precision of [32, "bf16-true", 64] as const)
  test(`the graph of a module with an example of its input, in precision ${precision}`, async () => {
    const logger = new TensorBoardLogger(fresh(), { name: "", version: "v", logGraph: true });
    const model = new Line();
    model.exampleInputArray = ones([2, 3]);
    await fit(logger, model, { precision });
    const [graph] = graphsOf(logger.logDir) as [string[]];
    assert.ok(graph.includes("Line/Linear[layer]/weight"));
    assert.ok(graph.includes("input/1") && graph.includes("output/1"));
  });

test("a graph that cannot be had is a warning", async () => {
  const logger = (): TensorBoardLogger => new TensorBoardLogger(fresh(), { logGraph: true });
  const without = await warningsOf(() => fit(logger(), new Line()));
  assert.deepEqual(without, [
    {
      code: "WARN_LOG_GRAPH",
      message: "TensorBoardLogger: the graph of Line is not logged: give it a field exampleInputArray.",
    },
  ]);
  const model = new Line();
  model.exampleInputArray = ones([2, 4]);
  const wrong = await warningsOf(() => fit(logger(), model));
  assert.deepEqual(
    wrong.map(({ code }) => code),
    ["WARN_LOG_GRAPH"],
  );
});

test("a module logs by the experiment; checkpoints lie in the version's folder", async () => {
  const saveDir = fresh();
  const logger = new TensorBoardLogger(saveDir, "mine", 4, { subDir: "board" });
  const checkpoint = new ModelCheckpoint();
  await fit(logger, new Line(), { enableCheckpointing: true, callbacks: [checkpoint] });
  assert.equal(logger.logDir, join(saveDir, "mine", "version_4", "board"));
  const tags = events(logger.logDir).map(({ summary }) => text(message(summary as Buffer, 1), 1));
  assert.equal(tags.filter((tag) => tag === "weight").length, 4);
  assert.deepEqual(readdirSync(join(logger.logDir, "checkpoints")).length, 1);
});

test("hyper-parameters with what they led to", () => {
  const logger = new TensorBoardLogger(fresh(), { prefix: "p" });
  logger.logHyperparams({ lr: 1 }, { acc: 0.5 }, 7);
  logger.logHyperparams({ width: 2 }, 0.25);
  logger.finalize();
  assert.deepEqual(scalars(logger.logDir), [
    ["p-acc", 7, 0.5],
    ["p-hp_metric", 0, 0.25],
  ]);
  const none = new TensorBoardLogger(fresh(), { defaultHpMetric: false });
  none.logHyperparams({ lr: 1 });
  none.finalize();
  assert.deepEqual(readdirSync(none.logDir), ["hparams.yaml"]);
});

test("a logger is told of every checkpoint, and reached before training", async () => {
  const calls: string[] = [];
  class Told extends Logger {
    readonly name = "told";
    readonly version = 0;
    override start(): Promise<void> {
      calls.push("start");
      return Promise.resolve();
    }
    override logGraph(): void {
      calls.push("logGraph");
    }
    logMetrics(): void {
      if (calls.at(-1) !== "logMetrics") calls.push("logMetrics");
    }
    override afterSaveCheckpoint({
      lastSavedPath,
      bestModelPath,
    }: {
      lastSavedPath: string;
      bestModelPath: string;
    }): void {
      calls.push(`saved ${lastSavedPath === bestModelPath}`);
    }
    override finalize(status: string): void {
      calls.push(status);
    }
  }
  const callbacks = [new ModelCheckpoint({ dirpath: fresh() })];
  await fit(new Told(), new Line(), { enableCheckpointing: true, callbacks });
  assert.deepEqual(calls, ["start", "logGraph", "logMetrics", "saved true", "success"]);
});

test("a folder that cannot be written to ends the run before it has trained", async () => {
  const model = new Line();
  await assert.rejects(fit(new JSONLLogger("/dev/null/x"), model), { name: "FileError", code: "ENOTDIR" });
  assert.equal(model.layer.weight.grad, null);
});
