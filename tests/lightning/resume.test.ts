import assert from "node:assert/strict";
import { existsSync, readdirSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import {
  Callback,
  InterruptError,
  LightningModule,
  ModelCheckpoint,
  readCheckpoint,
  seedEverything,
  Trainer,
} from "@nbit/lightning";
import type { TrainerOptions, TrainerView } from "@nbit/lightning";
import {
  crossEntropyLoss,
  DataLoader,
  Generator,
  manualSeed,
  nn,
  optim,
  randint,
  randn,
  relu,
  setNumThreads,
  TensorDataset,
} from "@nbit/torch";
import type { Tensor } from "@nbit/torch";
import { temporaryFolder } from "../helpers/temporary-folder.js";

setNumThreads(1); // tiny tensors

const folder = temporaryFolder("resume");

type Pair = [Tensor, Tensor];

class Net extends LightningModule {
  readonly hidden = new nn.Linear(6, 16);
  readonly norm = new nn.BatchNorm1d(16);
  readonly dropout = new nn.Dropout(0.3);
  readonly head = new nn.Linear(16, 3);
  readonly trace: string[] = [];

  override forward(x: Tensor): Tensor {
    return this.head.forward(this.dropout.forward(relu(this.norm.forward(this.hidden.forward(x)))));
  }
  override trainingStep([x, y]: Pair, batchIdx: number): Tensor {
    const loss = crossEntropyLoss(this.forward(x), y);
    this.trace.push(`${this.currentEpoch}.${batchIdx} ${loss.item()}`);
    this.log("loss", loss, { onStep: true, onEpoch: true });
    return loss;
  }
  override validationStep([x, y]: Pair): void {
    this.log("val_loss", crossEntropyLoss(this.forward(x), y));
  }
  override onTrainEpochEnd(): void {
    const { callbackMetrics } = this.trainer;
    this.trace.push(`${this.currentEpoch} end, val_loss ${callbackMetrics["val_loss"]}`);
  }
  override configureOptimizers() {
    const optimizer = new optim.AdamW(this.parameters(), { lr: 0.02 });
    return [[optimizer], [{ scheduler: new optim.StepLR(optimizer, 2, 0.9), interval: "step" }]];
  }
}

interface Recipe {
  readonly name: string;
  readonly options: TrainerOptions;
  /** The loader shuffles with a generator of its own. */
  readonly ownGenerator?: boolean;
  /** A plain array of batches: a loader without state. */
  readonly plain?: boolean;
  /** Elements from a stream, whose length nobody knows: the loader is read one batch ahead. */
  readonly stream?: boolean;
}

function data(recipe: Recipe): { train: Iterable<unknown>; val: Iterable<unknown> } {
  manualSeed(7);
  const x = randn([44, 6]);
  const y = randint(0, 3, [44]);
  const set = new TensorDataset(x.narrow(0, 0, 36), y.narrow(0, 0, 36));
  const val = new DataLoader(new TensorDataset(x.narrow(0, 36, 8), y.narrow(0, 36, 8)), { batchSize: 4 });
  const generator = recipe.ownGenerator === true ? new Generator("cpu").manualSeed(3) : null;
  const loader = new DataLoader(set, { batchSize: 4, shuffle: true, generator });
  if (recipe.stream === true) {
    const elements = {
      *[Symbol.iterator]() {
        for (let i = 0; i < 36; i++) yield set.get(i);
      },
    };
    return { train: new DataLoader<unknown, unknown>(elements, { batchSize: 4 }), val };
  }
  return { train: recipe.plain === true ? [...loader] : loader, val };
}

function start(
  recipe: Recipe,
  callbacks: Callback[],
): { net: Net; trainer: Trainer; fit: (ckptPath?: string) => Promise<void> } {
  const { train, val } = data(recipe);
  seedEverything(1);
  const net = new Net();
  const trainer = new Trainer({
    accelerator: "cpu",
    maxEpochs: 2,
    logger: false,
    enableProgressBar: false,
    enableModelSummary: false,
    enableCheckpointing: callbacks.length > 0,
    callbacks,
    defaultRootDir: folder,
    ...recipe.options,
  });
  return {
    net,
    trainer,
    fit: (ckptPath) => trainer.fit(net, { trainDataloaders: train, valDataloaders: val, ckptPath: ckptPath ?? null }),
  };
}

function weights(net: Net): unknown[] {
  return [...net.stateDict()].map(([name, tensor]) => [name, tensor.detach().flatten().tolist()]);
}

const RECIPES: Recipe[] = [
  { name: "32", options: { precision: 32 } },
  { name: "64, own generator", options: { precision: 64 }, ownGenerator: true },
  { name: "bf16, plain loader", options: { precision: "bf16" }, plain: true },
  {
    name: "16, accumulation 4, validation inside windows and epochs",
    options: { precision: 16, accumulateGradBatches: 4, valCheckInterval: 3, gradientClipVal: 0.5 },
  },
  { name: "stream", options: {}, stream: true },
  { name: "bf16-true", options: { precision: "bf16-true" } },
];

for (const recipe of RECIPES) {
  test(`a run resumed from any of its checkpoints equals the one that went through: ${recipe.name}`, async () => {
    const directory = join(folder, recipe.name.replaceAll(/[^a-z0-9]+/g, "-"));
    // One saves in batches, one after validation, one at ends of epochs.
    const whole = start(recipe, [
      new ModelCheckpoint({ dirpath: join(directory, "steps"), everyNTrainSteps: 3, saveTopK: -1 }),
      new ModelCheckpoint({
        dirpath: join(directory, "validation"),
        saveOnTrainEpochEnd: false,
        everyNEpochs: 1,
        saveTopK: -1,
      }),
      new ModelCheckpoint({
        dirpath: join(directory, "epochs"),
        saveOnTrainEpochEnd: true,
        everyNEpochs: 1,
        saveTopK: -1,
      }),
    ]);
    await whole.fit();
    const files = readdirSync(directory, { recursive: true })
      .map((file) => String(file))
      .filter((file) => file.endsWith(".ckpt"));
    assert.ok(files.length >= 6, files.join(", "));

    for (const file of files) {
      const resumed = start(recipe, []);
      await resumed.fit(join(directory, file));
      const { trace } = resumed.net;
      assert.deepEqual(trace, whole.net.trace.slice(whole.net.trace.length - trace.length), file);
      assert.deepEqual(weights(resumed.net), weights(whole.net), file);
      assert.equal(resumed.trainer.globalStep, whole.trainer.globalStep);
      assert.deepEqual({ ...resumed.trainer.callbackMetrics }, { ...whole.trainer.callbackMetrics }, file);
    }
  });
}

test("more epochs after a finished run", async () => {
  const recipe: Recipe = { name: "more", options: {} };
  const whole = start(recipe, []);
  await whole.fit();
  const half = start({ ...recipe, options: { maxEpochs: 1 } }, []);
  await half.fit();
  const path = join(folder, "half.ckpt");
  half.trainer.saveCheckpoint(path);
  const rest = start(recipe, []);
  await rest.fit(path);
  assert.deepEqual([...half.net.trace, ...rest.net.trace], whole.net.trace);
  assert.deepEqual(weights(rest.net), weights(whole.net));
});

test("Ctrl-C ends in order, with a checkpoint that goes on where it ended", async () => {
  const recipe: Recipe = { name: "interrupt", options: {} };
  const whole = start(recipe, []);
  await whole.fit();

  for (const stage of ["batch", "validation", "sanity check"] as const) {
    class Interrupter extends Callback {
      #done = false;
      readonly seen: string[] = [];
      override onTrainBatchEnd(trainer: TrainerView): void {
        if (stage === "batch" && trainer.globalStep === 5) process.emit("SIGINT");
      }
      override onValidationBatchEnd(trainer: TrainerView): void {
        if (stage === "batch" || trainer.sanityChecking !== (stage === "sanity check") || this.#done) return;
        this.#done = true;
        process.emit("SIGINT");
      }
      override onException(trainer: TrainerView, _module: LightningModule, error: unknown): void {
        this.seen.push(`${trainer.state.status} ${error instanceof InterruptError}`);
      }
    }
    const interrupter = new Interrupter();
    const saver = new ModelCheckpoint({
      dirpath: join(folder, `interrupted-${stage.replace(" ", "-")}`),
      everyNEpochs: 100,
    });
    const first = start(recipe, [interrupter, saver]);
    const error: unknown = await first.fit().then(
      () => null,
      (reason: unknown) => reason,
    );
    assert.ok(error instanceof InterruptError, String(error));
    assert.equal(error.code, "ERR_INTERRUPTED");
    assert.deepEqual(interrupter.seen, ["interrupted true"]);
    assert.ok(error.checkpointPath !== null && existsSync(error.checkpointPath));
    assert.equal(process.listenerCount("SIGINT"), 0);

    const rest = start(recipe, []);
    await rest.fit(error.checkpointPath);
    assert.deepEqual([...first.net.trace, ...rest.net.trace], whole.net.trace, stage);
    assert.deepEqual(weights(rest.net), weights(whole.net), stage);
  }
});

test("what a checkpoint holds, and what cannot be resumed", async () => {
  const saver = new ModelCheckpoint({ dirpath: join(folder, "holds"), saveLast: true });
  const { net, trainer, fit } = start({ name: "holds", options: { maxEpochs: 1, precision: 16 } }, [saver]);
  net.saveHyperparameters({ hidden: 16, note: "a" });
  await fit();
  const checkpoint = readCheckpoint(saver.lastModelPath);
  assert.deepEqual(Object.keys(checkpoint).sort(), [
    "callbacks",
    "epoch",
    "format",
    "globalStep",
    "hyperparameters",
    "loops",
    "lrSchedulers",
    "moduleName",
    "optimizerStates",
    "precision",
    "rng",
    "stateDict",
  ]);
  assert.deepEqual(checkpoint.hyperparameters, { hidden: 16, note: "a" });
  assert.equal(checkpoint.precision?.name, "16-mixed");
  assert.ok(existsSync(saver.bestModelPath));

  const weightsOnly = join(folder, "weights.ckpt");
  trainer.saveCheckpoint(weightsOnly, { weightsOnly: true });
  const other = start({ name: "other", options: { maxEpochs: 2 } }, []);
  await assert.rejects(other.fit(weightsOnly), { code: "ERR_RESUME_WEIGHTS_ONLY" });
  const loaded = Net.loadFromCheckpoint(weightsOnly);
  assert.deepEqual(weights(loaded), weights(net));
});
