import assert from "node:assert/strict";
import { cpSync, mkdirSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import {
  Callback,
  CSVLogger,
  InterruptError,
  LightningModule,
  ModelCheckpoint,
  RunLog,
  Trainer,
} from "@nbit/lightning";
import type { TrainerView } from "@nbit/lightning";
import { DataLoader, Generator, nn, optim, randn, seedEverything, TensorDataset } from "@nbit/torch";
import type { Tensor } from "@nbit/torch";
import { temporaryFolder } from "../helpers/temporary-folder.js";
import { SILENT } from "../helpers/training.js";

const root = temporaryFolder("resumed-logs");

class Line extends LightningModule {
  readonly layer = new nn.Linear(3, 1);
  override trainingStep([x]: [Tensor], batchIdx: number): Tensor {
    const loss = this.layer.forward(x).square().mean();
    this.log("loss", loss, { onStep: true, onEpoch: true });
    if (batchIdx === 3) this.log("rare", 0.1);
    return loss;
  }
  override validationStep([x]: [Tensor]): void {
    this.log("val", this.layer.forward(x).square().mean(), { onStep: true, onEpoch: true });
  }
  override configureOptimizers(): optim.Optimizer {
    return new optim.SGD(this.parameters(), { lr: 0.05 });
  }
}

/** Of when and where, which no two runs share. */
const OF_ITS_OWN = new Set(["checkpoint", "system"]);
const TIMES = new Set([
  "resumedFrom",
  "name",
  "seconds",
  "trainingSeconds",
  "evaluationSeconds",
  "startedAt",
  "memory",
  "tensorsBefore",
]);
function logsOf(folder: string): unknown {
  const lines = readFileSync(join(folder, "run.jsonl"), "utf8").trimEnd().split("\n");
  return {
    csv: readFileSync(join(folder, "log", "v", "metrics.csv"), "utf8"),
    run: lines
      .map(
        (line) =>
          JSON.parse(line, (key, value: unknown) => (TIMES.has(key) ? undefined : value)) as { readonly type: string },
      )
      .filter(({ type }) => !OF_ITS_OWN.has(type)),
  };
}

/** A fit whose logs are in `folder`, validating with a shuffle of its own. */
function start(folder: string, callbacks: Callback[]): (ckptPath?: string) => Promise<void> {
  seedEverything(5);
  const set = new TensorDataset(randn([24, 3]));
  const trainer = new Trainer({
    accelerator: "cpu",
    ...SILENT,
    enableCheckpointing: true,
    maxEpochs: 2,
    accumulateGradBatches: 2,
    valCheckInterval: 3,
    logEveryNSteps: 1,
    numSanityValSteps: 1,
    logger: new CSVLogger(folder, { name: "log", version: "v" }),
    callbacks: [new RunLog({ path: join(folder, "run.jsonl") }), ...callbacks],
  });
  const model = new Line();
  const valDataloaders = new DataLoader(set, {
    batchSize: 8,
    shuffle: true,
    generator: new Generator("cpu").manualSeed(8),
  });
  return (ckptPath) =>
    trainer.fit(model, {
      trainDataloaders: new DataLoader(set, { batchSize: 4, shuffle: true }),
      valDataloaders,
      ckptPath: ckptPath ?? null,
    });
}

function savers(folder: string): ModelCheckpoint[] {
  return [
    new ModelCheckpoint({ dirpath: join(folder, "steps"), everyNTrainSteps: 1, saveTopK: -1 }),
    new ModelCheckpoint({
      dirpath: join(folder, "validation"),
      saveOnTrainEpochEnd: false,
      everyNEpochs: 1,
      saveTopK: -1,
    }),
    new ModelCheckpoint({ dirpath: join(folder, "epochs"), saveOnTrainEpochEnd: true, everyNEpochs: 1, saveTopK: -1 }),
  ];
}

test("a run resumed from any of its checkpoints neither loses nor repeats a row of its logs", async () => {
  const whole = join(root, "whole");
  mkdirSync(whole);
  await start(whole, savers(whole))();
  const expected = logsOf(whole);
  const files = ["steps", "validation", "epochs"].flatMap((kind) =>
    readdirSync(join(whole, kind)).map((name) => join(kind, name)),
  );
  assert.ok(files.length >= 9, files.join(", "));
  const kept = join(root, "kept");
  cpSync(whole, kept, { recursive: true });
  for (const file of files) {
    rmSync(whole, { recursive: true });
    cpSync(kept, whole, { recursive: true }); // as a kill after the last row leaves it
    await start(whole, savers(whole))(join(whole, file));
    assert.deepEqual(logsOf(whole), expected, file);
  }
});

test("a validation that was interrupted leaves no rows: it is done again as a whole", async () => {
  const whole = join(root, "calm");
  mkdirSync(whole);
  await start(whole, [new ModelCheckpoint({ dirpath: join(whole, "checkpoints") })])();
  const folder = join(root, "interrupted");
  mkdirSync(folder);
  class Interrupting extends Callback {
    #batches = 0;
    override onValidationBatchEnd(trainer: TrainerView): void {
      if (!trainer.sanityChecking && ++this.#batches === 5) process.emit("SIGTERM");
    }
  }
  const error: unknown = await start(folder, [
    new Interrupting(),
    new ModelCheckpoint({ dirpath: join(folder, "checkpoints") }),
  ])().catch((e: unknown) => e);
  assert.ok(error instanceof InterruptError && error.checkpointPath !== null, String(error));
  await start(folder, [new ModelCheckpoint({ dirpath: join(folder, "checkpoints") })])(error.checkpointPath);
  assert.deepEqual(logsOf(folder), logsOf(whole));
});

test("a run interrupted after its last step has one end in its log", async () => {
  const whole = join(root, "done");
  mkdirSync(whole);
  await start(whole, [new ModelCheckpoint({ dirpath: join(whole, "checkpoints") })])();
  for (const hook of ["onFitEnd", "teardown"] as const) {
    const folder = join(root, `late-${hook}`);
    mkdirSync(folder);
    const late = new Callback();
    late[hook] = () => void process.emit("SIGHUP");
    const error: unknown = await start(folder, [
      late,
      new ModelCheckpoint({ dirpath: join(folder, "checkpoints") }),
    ])().catch((e: unknown) => e);
    assert.ok(error instanceof InterruptError && error.checkpointPath !== null, String(error));
    await start(folder, [new ModelCheckpoint({ dirpath: join(folder, "checkpoints") })])(error.checkpointPath);
    assert.deepEqual(logsOf(folder), logsOf(whole), hook);
  }
});

test("a run resumed in another folder leaves the first run's logs alone", async () => {
  const first = join(root, "first");
  mkdirSync(first);
  await start(first, savers(first))();
  const before = logsOf(first);
  const second = join(root, "second");
  mkdirSync(second);
  await start(second, [new ModelCheckpoint({ dirpath: join(second, "checkpoints") })])(
    join(first, "epochs", readdirSync(join(first, "epochs")).sort()[0] ?? ""),
  );
  assert.deepEqual(logsOf(first), before);
});
