/**
 * Checkpoints in Lightning's format: what Lightning found in ours (`fixtures/lightning-written/make.py`), and what is
 * found in Lightning's beside weights (`fixtures/lightning-resume/callbacks.py`).
 */
import assert from "node:assert/strict";
import { copyFileSync, existsSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { basename, join } from "node:path";
import { before, test } from "node:test";
import {
  AsyncCheckpointIO,
  Callback,
  EarlyStopping,
  EMAWeightAveraging,
  LightningDataModule,
  LightningModule,
  ModelCheckpoint,
  StochasticWeightAveraging,
  Timer,
  TorchCheckpointIO,
  Trainer,
  type TrainerView,
} from "@nbit/lightning";
import { DataLoader, load, nn, ones, optim, save, tensor, type Tensor } from "@nbit/torch";
import { digestOf } from "../helpers/digest.js";
import { temporaryFolders } from "../helpers/temporary-folder.js";
import { QUIET } from "../helpers/training.js";
import { callbacksOf, Counter, Data, Net, writeCheckpoints } from "./written-checkpoints.js";

const folder = temporaryFolders("lightning-files");
const fixtures = join(import.meta.dirname, "../../lightning/fixtures");
const written = join(fixtures, "lightning-written");
type Found = Readonly<Record<string, unknown>> & { readonly losses: readonly number[] };
const json = (path: string): Readonly<Record<string, unknown>> =>
  JSON.parse(readFileSync(path, "utf8")) as Readonly<Record<string, unknown>>;
const found = json(join(written, "found.json")) as Readonly<Record<string, Found>>;
const io = new TorchCheckpointIO({ format: "lightning" });
const NAMES = ["step", "epoch", "end"] as const;

let fresh = "";
before(async () => {
  fresh = folder();
  await writeCheckpoints(fresh);
});

/** The last digits of float32 aside: kernels may be of another build. */
function close(received: unknown, expected: unknown, path = ""): void {
  if (typeof expected === "number" && typeof received === "number" && Number.isFinite(expected)) {
    const far = Math.abs(received - expected) > 1e-5 * Math.max(1, Math.abs(expected));
    assert.ok(!far, `${path}: ${received}, not ${expected}`);
  } else if (typeof expected === "object" && expected !== null && typeof received === "object" && received !== null) {
    assert.deepEqual(Object.keys(received), Object.keys(expected), path);
    for (const [key, value] of Object.entries(expected)) close(Reflect.get(received, key), value, `${path}.${key}`);
  } else assert.deepEqual(received, expected, path);
}

/** What Lightning reads of a file, with plain numbers for tensors, and without where and when it was written. */
function theirs(path: string): unknown {
  const { nbit: _, ...rest } = load<Record<string, unknown>>(path);
  const plain = (value: unknown): unknown => {
    if (typeof value === "string") return value.replace(/^\/.*\//, "");
    if (typeof value !== "object" || value === null) return value;
    if ("tolist" in value) return (value as Tensor).tolist();
    if (Array.isArray(value)) return value.map(plain);
    const entries: Iterable<[string, unknown]> = value instanceof Map ? value : Object.entries(value);
    return Object.fromEntries(
      Array.from(entries, ([key, each]) => [
        key.replace(/^\/.*\//, ""),
        key === "dirpath" || key === "train" ? null : plain(each),
      ]),
    );
  };
  return plain(rest);
}

for (const name of [...NAMES, "scaled"])
  test(`${name}.ckpt is written as when Lightning read it`, () => {
    close(theirs(join(fresh, `${name}.ckpt`)), theirs(join(written, `${name}.ckpt`)));
  });

test("a run goes on from what it wrote as Lightning does, and to the last bit as from its own format", async () => {
  const own = folder();
  new TorchCheckpointIO().saveCheckpoint(io.loadCheckpoint(join(fresh, "epoch.ckpt")), join(own, "epoch.ckpt"));
  const goOn = async (path: string): Promise<Net> => {
    const net = new Net();
    const trainer = new Trainer({ ...QUIET, cpuKernels: "libtorch", maxEpochs: 4, callbacks: [new Counter()] });
    await trainer.fit(net, { datamodule: new Data(), ckptPath: path });
    return net;
  };
  const [mine, plain] = [await goOn(join(fresh, "epoch.ckpt")), await goOn(join(own, "epoch.ckpt"))];
  close(mine.losses, found.epoch?.losses);
  assert.deepEqual(mine.losses, plain.losses);
  assert.equal(digestOf(mine.stateDict()), digestOf(plain.stateDict()));
  // From within an epoch Lightning begins the loader anew; here what was seen is passed over.
  const [within, whole] = [await goOn(join(fresh, "step.ckpt")), await goOn(join(fresh, "end.ckpt"))];
  assert.deepEqual(within.losses.slice(2), whole.losses);
});

test("callbacks, data modules and hyperparameters of such a file are back exactly", async () => {
  const { saver, stopping, counter } = callbacksOf(fresh);
  const data = Data.loadFromCheckpoint(join(fresh, "end.ckpt"));
  assert.deepEqual([data.hparams, data.timesAsked], [{ batches: 5 }, 1]);
  const net = Net.loadFromCheckpoint(join(fresh, "end.ckpt"), { learningRate: 0.25 });
  assert.deepEqual(net.hparams, { hiddenSize: 4, learningRate: 0.25 });
  let seen: unknown;
  class See extends Callback {
    override onTrainStart(): void {
      seen = [stopping.waitCount, counter.seenBatches, saver.bestModelPath];
      close(stopping.bestScore, found.end?.bestScore);
    }
  }
  const trainer = new Trainer({
    ...QUIET,
    enableCheckpointing: true,
    maxEpochs: 3,
    callbacks: [saver, stopping, counter, new See()],
  });
  await trainer.fit(net, { datamodule: data, ckptPath: join(fresh, "end.ckpt") });
  assert.deepEqual(seen, [0, 10, join(fresh, "epoch.ckpt")]);
});

test("ModelCheckpoint knows its own files in this format, of this run and of the one that it goes on from", async () => {
  const dirpath = folder();
  const run = async (maxEpochs: number, ckptPath: string | null): Promise<void> => {
    const saver = new ModelCheckpoint({ dirpath, filename: "{epoch}", saveLast: true });
    const trainer = new Trainer({ ...QUIET, enableCheckpointing: true, maxEpochs, callbacks: [saver], plugins: io });
    await trainer.fit(new Net(), { datamodule: new Data(), ...(ckptPath === null ? {} : { ckptPath }) });
  };
  await run(2, null);
  assert.deepEqual(readdirSync(dirpath).sort(), ["epoch=1.ckpt", "last.ckpt"]);
  await run(4, join(dirpath, "last.ckpt"));
  assert.deepEqual(readdirSync(dirpath).sort(), ["epoch=3.ckpt", "last.ckpt"]);
  // A copy is nobody's.
  copyFileSync(join(dirpath, "last.ckpt"), join(dirpath, "epoch=4.ckpt"));
  await run(5, join(dirpath, "last.ckpt"));
  assert.deepEqual(readdirSync(dirpath).sort(), ["epoch=4-v1.ckpt", "epoch=4.ckpt", "last.ckpt"]);
});

test("weights are those of state_dict, whoever wrote it last; without the state of training, Lightning's is absent", async () => {
  const [path, small] = [join(folder(), "changed.ckpt"), join(folder(), "weights.ckpt")];
  const file = load<{ state_dict: Map<string, Tensor> }>(join(fresh, "end.ckpt"));
  file.state_dict.set("head.bias", tensor([4]));
  save(file, path);
  assert.deepEqual(Net.loadFromCheckpoint(path).head.bias?.tolist(), [4]);
  const trainer = new Trainer({ ...QUIET, fastDevRun: true });
  await trainer.fit(new Net(), { datamodule: new Data() });
  trainer.saveCheckpoint(small, { format: "lightning", weightsOnly: true });
  assert.deepEqual(Object.keys(load<object>(small)).sort(), [
    "Data",
    "datamodule_hparams_name",
    "datamodule_hyper_parameters",
    "epoch",
    "global_step",
    "hparams_name",
    "hyper_parameters",
    "nbit",
    "pytorch-lightning_version",
    "state_dict",
  ]);
  await assert.rejects(trainer.fit(new Net(), { datamodule: new Data(), ckptPath: small }), {
    code: "ERR_RESUME_WEIGHTS_ONLY",
  });
});

test("averages of weights, and those of SWA, are in the file as Lightning has them", async () => {
  const path = join(folder(), "averaged.ckpt");
  const callbacks = (): Callback[] => [new EMAWeightAveraging({ decay: 0.5 })];
  const data = { trainDataloaders: new DataLoader([ones(2, 2), ones(2, 2)], { batchSize: null }) };
  const trainer = new Trainer({ ...QUIET, maxEpochs: 1, callbacks: callbacks() });
  class Saver extends Callback {
    override onTrainEpochEnd(t: TrainerView): void {
      t.saveCheckpoint(path, { format: "lightning" });
    }
  }
  const saving = new Trainer({ ...QUIET, maxEpochs: 1, callbacks: [...callbacks(), new Saver()] });
  await saving.fit(new Net(), data);
  const file = load<{
    averaging_state: { n_averaged: Tensor };
    current_model_state: object;
    state_dict: Map<string, Tensor>;
  }>(path);
  assert.deepEqual([file.averaging_state.n_averaged.dtype, file.averaging_state.n_averaged.item()], ["int64", 2]);
  assert.deepEqual(Object.keys(file.current_model_state), [...file.state_dict.keys()]);
  await trainer.fit(new Net(), { ...data, ckptPath: path });
  const swa = new Trainer({
    ...QUIET,
    maxEpochs: 3,
    callbacks: [new StochasticWeightAveraging({ swaLrs: 0.1, swaEpochStart: 1 }), new Saver()],
  });
  await swa.fit(new Net(), data);
  const { callbacks: states } = load<{ callbacks: Record<string, Record<string, unknown>> }>(path);
  assert.deepEqual(Object.keys(states["StochasticWeightAveraging"] ?? {}), [
    "n_averaged",
    "latest_update_epoch",
    "scheduler_state",
    "average_model_state",
  ]);
});

test("what cannot be written so is said before anything is", async () => {
  const code = "ERR_CHECKPOINT_LIGHTNING";
  assert.throws(() => new TorchCheckpointIO({ format: "lightning", maxShardSize: "1GB" }), { code });
  assert.throws(() => new AsyncCheckpointIO(io), { code: "ERR_ASYNC_CHECKPOINT" });
  assert.throws(
    () => new TorchCheckpointIO({ format: "pickle" as "lightning" }),
    /format to be one of safetensors, lightning/,
  );
  const trainer = new Trainer({ ...QUIET, fastDevRun: true, plugins: new AsyncCheckpointIO() });
  await trainer.fit(new Net(), { datamodule: new Data() });
  const path = join(folder(), "never.ckpt");
  assert.throws(() => trainer.saveCheckpoint(path, { format: "lightning" }), { code });
  assert.throws(() => trainer.saveCheckpoint(path, { format: "onnx" as "lightning" }), /format to be/);
  assert.equal(existsSync(path), false);
});

test("a file whose own part is damaged, or newer, is refused", () => {
  const path = join(folder(), "damaged.ckpt");
  const file = load<{ nbit: Record<string, unknown> }>(join(fresh, "end.ckpt"));
  for (const nbit of [{ ...file.nbit, version: 2 }, { ...file.nbit, state: "{}" }, { version: 1 }]) {
    save({ ...file, nbit }, path);
    assert.throws(() => io.loadCheckpoint(path), { code: "ERR_CHECKPOINT_FORMAT" });
  }
  save({ ...file, nbit: { ...file.nbit, state: '{"format":2,"epoch":-1,"globalStep":0,"hyperparameters":{}}' } }, path);
  assert.throws(() => io.loadCheckpoint(path), { code: "CHECKPOINT_STATE" });
  writeFileSync(path, readFileSync(join(fresh, "end.ckpt")).subarray(0, 900));
  assert.throws(() => io.loadCheckpoint(path), /damaged\.ckpt/);
});

/** Its weights and data are those of `callbacks.py`. */
class Small extends LightningModule {
  readonly layer = new nn.Linear(2, 1);
  override trainingStep(x: Tensor): Tensor {
    return this.layer.forward(x).square().mean();
  }
  override validationStep(): void {
    this.log("it's", [0.5, 0.25, 0.375, 0.3125][this.currentEpoch] ?? NaN);
  }
  override configureOptimizers(): optim.Optimizer {
    return new optim.SGD(this.parameters(), { lr: 0.01 });
  }
}

/** Lightning's file, with another folder in the states of callbacks. */
function movedTo(dirpath: string): string {
  const file = load<{ callbacks: Record<string, unknown> }>(join(fixtures, "lightning-resume/callbacks.ckpt"));
  const key = Object.keys(file.callbacks).find((name) => name.startsWith("ModelCheckpoint{'monitor': \"")) ?? "";
  const {
    best_k_models: ranks,
    best_model_path: best,
    ...state
  } = file.callbacks[key] as { best_k_models: Record<string, Tensor>; best_model_path: string };
  const moved = (path: string): string => path.replace("/tmp/checkpoints", dirpath);
  for (const path of Object.keys(ranks)) writeFileSync(moved(path), "Lightning's");
  const best_k_models = Object.fromEntries(Object.entries(ranks).map(([path, score]) => [moved(path), score]));
  const callbacks = { ...file.callbacks, [key]: { ...state, dirpath, best_k_models, best_model_path: moved(best) } };
  const path = join(dirpath, "from.ckpt");
  save({ ...file, callbacks }, path);
  return path;
}

class Asked extends LightningDataModule {
  asked = -1;
  override trainDataloader(): DataLoader<Tensor> {
    return new DataLoader(ones(6, 2), { batchSize: 2 });
  }
  override valDataloader(): DataLoader<Tensor> {
    return new DataLoader(ones(2, 2), { batchSize: 2 });
  }
  override loadStateDict(state: Record<string, unknown>): void {
    this.asked = Number(state.timesAsked);
  }
}
Object.defineProperty(Asked, "name", { value: "Data" }); // as in the file

test("callbacks, averages and loss scale of Lightning's own file go on, and a data module's state", async () => {
  const expected = json(join(fixtures, "lightning-resume/callbacks.json"));
  const dirpath = folder();
  const ckptPath = movedTo(dirpath);
  const saver = new ModelCheckpoint({ dirpath, filename: "next", monitor: "it's", saveTopK: 2 });
  const stopping = new EarlyStopping({ monitor: "it's", patience: 3 });
  const [counter, timer, datamodule] = [new Counter(), new Timer(), new Asked()];
  let seen: Record<string, unknown> = {};
  class See extends Callback {
    override onTrainStart(trainer: TrainerView, module: LightningModule): void {
      seen = {
        waitCount: stopping.waitCount,
        bestScore: stopping.bestScore,
        seenBatches: counter.seenBatches,
        bestModelPath: saver.bestModelPath.replace(dirpath, "/tmp/checkpoints"),
        bestModelScore: saver.bestModelScore,
        bestKModels: Object.fromEntries(
          Object.entries(saver.bestKModels).map(([path, score]) => [path.replace(dirpath, "/tmp/checkpoints"), score]),
        ),
        scale: trainer.precision.lossScale,
        weight: (module as Small).layer.weight.flatten().tolist(),
      };
      assert.ok(timer.timeElapsed() > 0.2, "the time of Lightning's run counts");
    }
  }
  const ema = new EMAWeightAveraging({ decay: 0.5 });
  const trainer = new Trainer({
    ...QUIET,
    enableCheckpointing: true,
    maxEpochs: 4,
    precision: "16-mixed",
    callbacks: [saver, stopping, counter, ema, timer, new See()],
  });
  await trainer.fit(new Small(), { datamodule, ckptPath });
  const { average: _, ...rest } = expected;
  close(seen, rest);
  assert.equal(datamodule.asked, 1);
  assert.deepEqual([stopping.waitCount, counter.seenBatches], [2, 12]);
  // The third of two ranks is out; its file is Lightning's, and stays.
  assert.deepEqual(
    Object.keys(saver.bestKModels)
      .map((path) => basename(path))
      .sort(),
    ["best1.ckpt", "next.ckpt"],
  );
  assert.equal(existsSync(join(dirpath, "best2.ckpt")), true);
  const { callbacks } = new TorchCheckpointIO().loadCheckpoint(ckptPath);
  assert.ok("ModelCheckpoint(null, min, steps 0, epochs 0, seconds 86402, auto)" in (callbacks ?? {}));
});
