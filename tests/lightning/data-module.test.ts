import assert from "node:assert/strict";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import {
  Callback,
  LightningDataModule,
  LightningModule,
  Logger,
  MisconfigurationError,
  Trainer,
} from "@nbit/lightning";
import type { Batch, TrainerOptions } from "@nbit/lightning";
import { DataLoader, nn, ones, optim, setNumThreads, type Tensor, TensorDataset, type Device } from "@nbit/torch";
import { recordCalls } from "../helpers/recorded-calls.js";
import { QUIET, warningsOf } from "../helpers/training.js";

setNumThreads(1); // tiny tensors
const folder = mkdtempSync(join(tmpdir(), "nbit-data-module-"));
after(() => {
  rmSync(folder, { recursive: true });
});

/** Calls in order, as Lightning makes them: made by lightning_data.py. */
const { hooks: reference } = JSON.parse(
  readFileSync(new URL("../../lightning/fixtures/lightning-data.json", import.meta.url), "utf8"),
) as { readonly hooks: readonly { readonly name: string; readonly calls: readonly string[] }[] };

const LOADERS = ["trainDataloader", "valDataloader", "testDataloader", "predictDataloader"];
const DATA = [
  ...["prepareData", "setup", "teardown", ...LOADERS, "onBeforeBatchTransfer", "transferBatchToDevice"],
  ...["onAfterBatchTransfer", "onException", "stateDict", "loadStateDict"],
];
const MODULE = [
  ...["prepareData", "configureCallbacks", "setup", "teardown", "configureModel", "configureOptimizers", "onFitStart"],
  ...["onFitEnd", "onTrainStart", "onTrainEnd", "onTrainEpochStart", "onTrainEpochEnd", "trainingStep", "testStep"],
  ...["validationStep", "predictStep", "onSaveCheckpoint", "onLoadCheckpoint", "onValidationModelEval"],
  ...["onValidationModelTrain", "onTestModelEval", "onPredictModelEval"],
];
const CALLBACK = ["setup", "teardown", "onFitStart", "onFitEnd", "onException", "onTrainStart", "onTrainEnd"];

const batches = (): DataLoader<[Tensor], [Tensor]> =>
  new DataLoader(new TensorDataset(ones([20, 4])), { batchSize: 2 });

class Net extends LightningModule {
  readonly layer = new nn.Linear(4, 2);
  fails = false;
  override trainingStep([x]: [Tensor]): Tensor {
    if (this.fails) throw new RangeError("made to fail");
    return this.layer.forward(x).square().mean();
  }
  override validationStep([x]: [Tensor]): void {
    this.layer.forward(x);
  }
  override testStep([x]: [Tensor]): void {
    this.layer.forward(x);
  }
  override predictStep([x]: [Tensor]): Tensor {
    return this.layer.forward(x);
  }
  override configureOptimizers(): optim.Optimizer {
    return new optim.SGD(this.parameters(), { lr: 0.1 });
  }
}
class NetWithData extends Net {
  override trainDataloader = batches;
  override valDataloader = batches;
  override testDataloader = batches;
  override predictDataloader = batches;
}
class Data extends LightningDataModule {
  override trainDataloader(): unknown {
    return batches();
  }
  override valDataloader(): unknown {
    return batches();
  }
  override testDataloader(): unknown {
    return batches();
  }
  override predictDataloader(): unknown {
    return batches();
  }
  override stateDict(): Record<string, unknown> {
    return { seen: 3 };
  }
}

const LIMITS = { limitTrainBatches: 1, limitValBatches: 1, limitTestBatches: 1, limitPredictBatches: 1 } as const;
const trainerOf = (options: TrainerOptions = {}): Trainer =>
  new Trainer({ ...QUIET, ...LIMITS, maxEpochs: 1, numSanityValSteps: 0, ...options });

async function callsOf(name: string): Promise<string[]> {
  const calls: string[] = [];
  const datamodule = name.includes("without") ? null : new Data();
  const net = datamodule === null ? new NetWithData() : new Net();
  net.fails = name === "failure";
  const callback = new Callback();
  if (datamodule !== null) recordCalls(datamodule, DATA, "datamodule", calls);
  recordCalls(net, datamodule === null ? [...MODULE, ...LOADERS] : MODULE, "module", calls);
  recordCalls(callback, CALLBACK, "callback", calls);
  const path = join(folder, "first.ckpt");
  if (name === "resume") {
    const first = trainerOf();
    await first.fit(new Net(), { datamodule: new Data() });
    first.saveCheckpoint(path);
  }
  const trainer = trainerOf({
    callbacks: [callback],
    ...(name.includes("sanity") ? { numSanityValSteps: 1 } : {}),
    ...(name === "resume" ? { maxEpochs: 2 } : {}),
  });
  const fn = (["validate", "test", "predict"] as const).find((each) => name.startsWith(each)) ?? "fit";
  const run = trainer[fn](net, { datamodule, ckptPath: name === "resume" ? path : null });
  if (net.fails) await assert.rejects(run, /made to fail/);
  else await run;
  if (name === "resume") trainer.saveCheckpoint(join(folder, "second.ckpt"));
  return calls;
}

const isLoaderHook = (call: string): boolean => LOADERS.some((name) => call.endsWith(name));
/** Loaders are asked for before optimizers, which may want to know how many steps there will be, and all at once. */
const split = (calls: readonly string[]): { order: string[]; loaders: string[] } => ({
  // Its state is taken before another is loaded, to be put back where the rest of a checkpoint is refused.
  order: calls.filter(
    (call, i) =>
      !isLoaderHook(call) && !(call === "datamodule.stateDict" && calls[i + 1] === "datamodule.loadStateDict"),
  ),
  loaders: calls.filter(isLoaderHook).sort(),
});

for (const { name, calls } of reference)
  test(`hooks of data and module are called in Lightning's order: ${name}`, async () => {
    assert.deepEqual(split(await callsOf(name)), split(calls));
  });

test("a data module given in the place of loaders is one; beside loaders it is an error, before anything has run", async () => {
  const calls: string[] = [];
  const datamodule = new Data();
  recordCalls(datamodule, DATA, "datamodule", calls);
  const net = new Net();
  await trainerOf().fit(net, { trainDataloaders: datamodule });
  assert.ok(calls.includes("datamodule.trainDataloader"));
  calls.length = 0;
  for (const options of [
    { datamodule, trainDataloaders: batches() },
    { datamodule, valDataloaders: batches() },
    { trainDataloaders: datamodule, valDataloaders: batches() },
    { trainDataloaders: datamodule, datamodule: new Data() },
  ])
    await assert.rejects(trainerOf().fit(net, options), {
      code: "ERR_LOADERS",
      message: /^fit: expected a datamodule or loaders, not both\. Received: /,
    });
  await assert.rejects(trainerOf().fit(net, { datamodule: {} as LightningDataModule }), {
    code: "ERR_RUN_OPTION",
    message: /expected datamodule to be a LightningDataModule, or null/,
  });
  await assert.rejects(trainerOf().fit(net, { datamodule: new LightningDataModule() }), {
    code: "ERR_LOADERS",
    message: /Define trainDataloader on LightningDataModule\.$/,
  });
  assert.deepEqual(calls, []);
});

test("what is asynchronous is waited for, and the trainer is there", async () => {
  const order: string[] = [];
  class Slow extends Data {
    override async prepareData(): Promise<void> {
      await new Promise((resolve) => setTimeout(resolve, 5));
      order.push(`prepared ${this.trainer !== null}`);
    }
    override async setup(stage: string): Promise<void> {
      await Promise.resolve();
      order.push(`set up for ${stage}`);
    }
    override async teardown(): Promise<void> {
      await Promise.resolve();
      order.push("torn down");
    }
  }
  const trainer = trainerOf();
  const datamodule = new Slow();
  assert.equal(datamodule.trainer, null);
  await trainer.fit(new Net(), { datamodule });
  assert.deepEqual(order, ["prepared true", "set up for fit", "torn down"]);
  assert.equal(trainer.datamodule, datamodule);
  await trainer.test(undefined, { dataloaders: batches() });
  assert.equal(trainer.datamodule, null);
});

test("hooks of a data module change and move batches; those of the module do where it has none of its own", async () => {
  const seen: string[] = [];
  class Scaled extends Data {
    override onBeforeBatchTransfer([x]: [Tensor]): Batch {
      return [x.mul(2)];
    }
    override transferBatchToDevice(batch: Batch, device: Device, dataloaderIdx: number): Batch {
      seen.push(`${String(device)} ${dataloaderIdx}`);
      return super.transferBatchToDevice(batch, device, dataloaderIdx);
    }
  }
  class Sums extends Net {
    override trainingStep([x]: [Tensor]): Tensor {
      seen.push(`sum ${x.sum().item()}`);
      return super.trainingStep([x]);
    }
    override onBeforeBatchTransfer(batch: Batch): Batch {
      seen.push("the module's");
      return batch;
    }
    override onAfterBatchTransfer([x]: [Tensor]): Batch {
      return [x.add(1)];
    }
  }
  const warnings = await warningsOf(() =>
    trainerOf({ limitValBatches: 0 }).fit(new Sums(), { datamodule: new Scaled() }),
  );
  assert.deepEqual(seen, ["cpu 0", "sum 24"]);
  assert.deepEqual(
    warnings.map(({ code }) => code),
    ["WARN_TRANSFER_HOOK"],
  );
});

test("hyperparameters and state of a data module are in checkpoints, and build it again", async () => {
  class Counted extends Data {
    seen = 0;
    constructor(readonly options: { batchSize: number; rows?: number } = { batchSize: 2 }) {
      super();
      this.saveHyperparameters(options, { ignore: "rows" });
    }
    override stateDict(): Record<string, unknown> {
      return { seen: this.seen };
    }
    override loadStateDict(state: Record<string, unknown>): void {
      this.seen = Number(state["seen"]);
    }
  }
  const path = join(folder, "counted.ckpt");
  const trainer = trainerOf();
  const datamodule = new Counted({ batchSize: 8, rows: 20 });
  datamodule.seen = 7;
  await trainer.fit(new Net(), { datamodule });
  trainer.saveCheckpoint(path);
  assert.deepEqual(datamodule.hparams, { batchSize: 8 });

  const again = Counted.loadFromCheckpoint(path, { rows: 5 });
  assert.deepEqual([again.options, again.seen], [{ batchSize: 8, rows: 5 }, 7]);
  const resumed = new Counted();
  await trainerOf({ maxEpochs: 2 }).fit(new Net(), { datamodule: resumed, ckptPath: path });
  assert.equal(resumed.seen, 7);
  const other = new Data();
  await trainerOf().validate(new Net(), { datamodule: other, ckptPath: path }); // of another class: left alone

  const without = join(folder, "without.ckpt");
  await trainer.fit(new NetWithData());
  trainer.saveCheckpoint(without);
  assert.throws(() => Counted.loadFromCheckpoint(without), { code: "ERR_CHECKPOINT_DATAMODULE" });
});

test("loggers get the hyperparameters of both, unless they contradict each other or are kept back", async () => {
  const logged: unknown[] = [];
  class Notes extends Logger {
    readonly name = "notes";
    readonly version = 0;
    override logMetrics(): void {}
    override logHyperparams(params: object): void {
      logged.push(params);
    }
  }
  const fit = async (
    ofModule: object,
    ofData: object,
    keepsBack = false,
    options: TrainerOptions = {},
  ): Promise<void> => {
    const net = new Net();
    net.saveHyperparameters(ofModule);
    const datamodule = new Data();
    datamodule.saveHyperparameters(ofData, { logger: !keepsBack });
    await trainerOf({ logger: new Notes(), ...options }).fit(net, { datamodule });
  };
  await fit({ lr: 1, seed: 3 }, { batchSize: 2, seed: 3 });
  await fit({ lr: 1 }, { lr: 2 }, true);
  await fit({ lr: 1 }, { batchSize: 2 }, false, { enableAutologHparams: false });
  assert.deepEqual(logged, [{ lr: 1, seed: 3, batchSize: 2 }, { lr: 1 }]);
  await assert.rejects(fit({ lr: 1 }, { lr: 2 }), {
    code: "ERR_HYPERPARAMETERS",
    message: /the hyperparameter "lr" to be the same in module and data module/,
  });
});

test("recorded values can be removed; what was recorded stays known", () => {
  const datamodule = new LightningDataModule();
  datamodule.saveHyperparameters({ a: 1, b: 2 });
  datamodule.removeIgnoredHparams(["a"]);
  assert.deepEqual([datamodule.hparams, datamodule.hparamsInitial], [{ b: 2 }, { a: 1, b: 2 }]);
});

test("fromDatasets makes loaders over datasets, lists and objects of them", () => {
  const data = new TensorDataset(ones([10, 4]));
  const one = LightningDataModule.fromDatasets(data, [data, data], { batchSize: 4 });
  const train = one.trainDataloader();
  assert.ok(train instanceof DataLoader);
  assert.equal(train.length, 3);
  const val = one.valDataloader();
  assert.ok(Array.isArray(val) && val.length === 2);
  assert.equal(one.testDataloader(), null);
  assert.equal(one.toString().split("\n")[1], "{Validation dataloader: 1. size=10 ; 2. size=10}");
  assert.equal(one.toString().split("\n")[2], "{Test dataloader: None}");

  const named = LightningDataModule.fromDatasets({ trainDataset: { a: data, b: [1, 2, 3] }, numWorkers: 0 });
  assert.deepEqual(Object.keys(named.trainDataloader() as object), ["a", "b"]);
  class Sized extends LightningDataModule {
    constructor(readonly given: object = {}) {
      super();
    }
  }
  const sized = Sized.fromDatasets({ predictDataset: data, batchSize: 5, datamoduleKwargs: { path: "x" } });
  assert.deepEqual(sized.given, { batchSize: 5, numWorkers: 0, path: "x" });
  assert.throws(
    () => LightningDataModule.fromDatasets({ trainSet: data, batchSize: 4 } as never),
    /expected options among trainDataset, .* Received: "trainSet"/,
  );
  assert.throws(() => LightningDataModule.fromDatasets(3 as never), /expected trainDataset to be a dataset/);
});

test("configureCallbacks joins the Trainer's callbacks, and takes the place of those of its classes", async () => {
  const order: string[] = [];
  class Named extends Callback {
    constructor(readonly called: string) {
      super();
    }
    override onFitStart(): void {
      order.push(this.called);
    }
  }
  class Special extends Named {}
  class Other extends Callback {
    override onFitStart(): void {
      order.push("other");
    }
  }
  class Wanting extends NetWithData {
    override configureCallbacks(): Callback[] {
      return [new Special("the module's")];
    }
  }
  const trainer = trainerOf({ callbacks: [new Named("the trainer's"), new Other()] });
  await trainer.fit(new Wanting());
  assert.deepEqual(order, ["other", "the module's"]);
  assert.equal(trainer.callbacks.length, 2);
  class Wrong extends NetWithData {
    override configureCallbacks(): never {
      return [{}] as never;
    }
  }
  await assert.rejects(trainerOf().fit(new Wrong()), { code: "ERR_CALLBACKS" });
});

test("methods that are almost hooks are warned of, with the hook's name", async () => {
  class Misspelt extends NetWithData {
    onTrainEpochEnds(): void {}
    training_step(): void {}
    helper(): void {}
  }
  class MisspeltData extends Data {
    trainDataLoader(): void {}
  }
  const callback = Object.assign(new Callback(), { onTrainBatchStarts: () => undefined });
  const warnings = await warningsOf(() =>
    trainerOf({ callbacks: [callback] }).fit(new Misspelt(), { datamodule: new MisspeltData() }),
  );
  assert.deepEqual(
    warnings.filter(({ code }) => code === "WARN_HOOK_NAME").map(({ message }) => message),
    [
      "Misspelt.onTrainEpochEnds is called by nobody: the hook is onTrainEpochEnd. Rename it.",
      "Misspelt.training_step is called by nobody: the hook is trainingStep. Rename it.",
      "MisspeltData.trainDataLoader is called by nobody: the hook is trainDataloader. Rename it.",
      "Callback.onTrainBatchStarts is called by nobody: the hook is onTrainBatchStart. Rename it.",
    ],
  );
});

test("checkpoints say why weightsOnly is no option", async () => {
  await assert.rejects(trainerOf().fit(new NetWithData(), { weightsOnly: true } as never), (error) => {
    assert.ok(error instanceof MisconfigurationError);
    assert.match(error.message, /^fit: expected no weightsOnly\. .* reading one runs no code of the file's\.$/);
    return true;
  });
});
