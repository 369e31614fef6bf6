import assert from "node:assert/strict";
import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { basename, join } from "node:path";
import { test } from "node:test";
import {
  AsyncCheckpointIO,
  Callback,
  CheckpointIO,
  LightningModule,
  Logger,
  ModelCheckpoint,
  readCheckpoint,
  seedEverything,
  TorchCheckpointIO,
  Trainer,
  type CheckpointContents,
  type CheckpointStorage,
  type TrainerOptions,
  type TrainerView,
} from "@nbit/lightning";
import { deepcopy, nn, optim, outsideScopes, randn, type Tensor } from "@nbit/torch";
import { digestOf } from "../helpers/digest.js";
import { temporaryFolders } from "../helpers/temporary-folder.js";
import { QUIET } from "../helpers/training.js";

const folder = temporaryFolders("checkpoint-io");

class Net extends LightningModule {
  readonly layer = new nn.Linear(64, 64);
  override trainingStep(x: Tensor): Tensor {
    return this.layer.forward(x).square().mean();
  }
  override configureOptimizers(): optim.Optimizer {
    return new optim.Adam(this.parameters(), { lr: 0.05 });
  }
}

function batches(): Tensor[] {
  seedEverything(3);
  return Array.from({ length: 6 }, () => randn([4, 64]));
}

async function fit(
  io: CheckpointIO | null,
  dirpath: string,
  options: TrainerOptions & { ckptPath?: string; callback?: Callback; saver?: ModelCheckpoint } = {},
): Promise<{ net: Net; saver: ModelCheckpoint; trainer: Trainer }> {
  const { ckptPath, callback, ...rest } = options;
  const saver = options.saver ?? new ModelCheckpoint({ dirpath, everyNTrainSteps: 1, saveTopK: 1, saveLast: true });
  delete (rest as { saver?: unknown }).saver;
  const data = batches();
  seedEverything(5);
  const net = new Net();
  const trainer = new Trainer({
    ...QUIET,
    enableCheckpointing: true,
    maxEpochs: 2,
    callbacks: callback === undefined ? [saver] : [saver, callback],
    ...(io === null ? {} : { plugins: [io] }),
    ...rest,
  });
  await trainer.fit(net, { trainDataloaders: data, ...(ckptPath === undefined ? {} : { ckptPath }) });
  return { net, saver, trainer };
}

const contents = (path: string): unknown => {
  const { callbacks: _, ...rest } = readCheckpoint(path); // paths and marks of their folders
  return rest;
};

test("files of the thread are those of a save at once, though weights move on", async () => {
  const [now, later] = [folder(), folder()];
  const one = await fit(null, now);
  const two = await fit(new AsyncCheckpointIO(), later);
  assert.equal(digestOf(one.net.stateDict()), digestOf(two.net.stateDict()));
  assert.deepEqual(readdirSync(later).sort(), readdirSync(now).sort());
  for (const name of readdirSync(now)) {
    assert.equal(statSync(join(later, name)).size > 0, true);
    assert.equal(digestOf(contents(join(later, name))), digestOf(contents(join(now, name))));
  }
});

test("a copy is of the moment: what is written to the tensors afterwards is not in it", () => {
  const io = new AsyncCheckpointIO();
  const path = join(folder(), "deep", "a.ckpt");
  const weight = randn([300, 300]);
  const small = randn([3]);
  const checkpoint: CheckpointContents = {
    format: 2,
    epoch: 0,
    globalStep: 0,
    stateDict: { weight, small, view: weight.t() },
    hyperparameters: {},
  };
  const before = digestOf(deepcopy(checkpoint.stateDict));
  io.saveCheckpoint(checkpoint, path);
  weight.fill_(7);
  small.fill_(7);
  assert.equal(digestOf(io.loadCheckpoint(path).stateDict), before);
  io.teardown();
  io.removeCheckpoint(path);
  assert.equal(existsSync(path), false);
});

test("a run goes on from a file of the thread as from any", async () => {
  const where = folder();
  const whole = await fit(null, folder(), { maxEpochs: 4 });
  await fit(new AsyncCheckpointIO(), where);
  const resumed = await fit(new AsyncCheckpointIO(), where, { maxEpochs: 4, ckptPath: join(where, "last.ckpt") });
  assert.equal(digestOf(resumed.net.stateDict()), digestOf(whole.net.stateDict()));
});

class Blocks extends Callback {
  constructor(readonly path: string) {
    super();
  }
  /** From the third step on, the name of the last checkpoint is a folder's, which no file replaces. */
  override onTrainBatchStart(trainer: TrainerView): void {
    if (trainer.globalStep !== 2) return;
    trainer.checkpointIO.wait();
    rmSync(this.path, { force: true });
    mkdirSync(this.path);
  }
}

test("a write that fails ends training, at the next save or at the end", async () => {
  for (const limitTrainBatches of [6, 3]) {
    const where = folder();
    const path = join(where, "blocked.ckpt");
    class Saves extends Callback {
      override onTrainBatchEnd(trainer: TrainerView): void {
        trainer.saveCheckpoint(path);
      }
    }
    const saves = new Saves();
    const trainer = new Trainer({
      ...QUIET,
      maxEpochs: 1,
      limitTrainBatches,
      callbacks: [new Blocks(path), saves],
      plugins: new AsyncCheckpointIO(),
    });
    await assert.rejects(
      trainer.fit(new Net(), { trainDataloaders: batches() }),
      /saveCheckpoint: expected path to be that of a file, or of none yet/,
    );
    assert.ok(trainer.globalStep >= 3);
  }
});

test("loggers hear of a file when it is there, and the one before goes only then", async () => {
  const where = folder();
  const seen: boolean[] = [];
  class Listens extends Logger {
    readonly name = "listens";
    readonly version = 0;
    override logMetrics(): void {
      return;
    }
    override afterSaveCheckpoint({ lastSavedPath }: { readonly lastSavedPath: string }): void {
      seen.push(existsSync(lastSavedPath));
    }
  }
  const saver = new ModelCheckpoint({ dirpath: where, everyNTrainSteps: 1, saveTopK: 1 });
  await fit(new AsyncCheckpointIO(), where, { logger: new Listens(), saver });
  assert.deepEqual(
    seen,
    Array.from({ length: 12 }, () => true),
  );
  assert.deepEqual(readdirSync(where), [basename(saver.bestModelPath)]);
});

test("folders of files under a size: read, gone on from and removed as files are", async () => {
  const where = folder();
  const io = new TorchCheckpointIO({ maxShardSize: "16KiB" });
  const whole = await fit(null, folder(), { maxEpochs: 4 });
  const { saver } = await fit(io, where);
  const last = join(where, "last.ckpt");
  assert.deepEqual(readdirSync(where).sort(), [basename(saver.bestModelPath), "last.ckpt"].sort());
  const shards = readdirSync(last).filter((name) => name.endsWith(".safetensors"));
  assert.ok(shards.length > 2, shards.join());
  const resumed = await fit(io, where, { maxEpochs: 4, ckptPath: last });
  assert.equal(digestOf(resumed.net.stateDict()), digestOf(whole.net.stateDict()));
  const net = Net.loadFromCheckpoint(last);
  assert.equal(digestOf(net.stateDict()), digestOf(resumed.net.stateDict()));
});

/** A store that is no file system. */
class Memory extends CheckpointIO {
  readonly saved = new Map<string, CheckpointContents>();
  readonly told: unknown[] = [];
  ended = 0;
  override saveCheckpoint(checkpoint: CheckpointContents, path: string, storage?: CheckpointStorage): void {
    this.saved.set(
      path,
      outsideScopes(() => deepcopy(checkpoint)),
    );
    this.told.push(storage?.storageOptions);
  }
  override loadCheckpoint(path: string): CheckpointContents {
    const found = this.saved.get(path);
    assert.ok(found !== undefined, path);
    return deepcopy(found);
  }
  override removeCheckpoint(path: string): void {
    this.saved.delete(path);
  }
  override teardown(): void {
    this.ended++;
  }
}

test("a store of one's own: saves, options, names, removal, reading, teardown", async () => {
  const where = folder();
  const memory = new Memory();
  const whole = await fit(null, folder(), { maxEpochs: 4 });
  const { saver, trainer } = await fit(memory, where);
  assert.deepEqual([...memory.saved.keys()].sort(), [saver.bestModelPath, join(where, "last.ckpt")].sort());
  assert.deepEqual(readdirSync(where), []);
  assert.equal(memory.ended, 1);
  trainer.saveCheckpoint("bucket:a", { storageOptions: { region: "eu" } });
  assert.deepEqual(memory.told.at(-1), { region: "eu" });
  const resumed = await fit(memory, where, { maxEpochs: 4, ckptPath: "bucket:a" });
  assert.equal(digestOf(resumed.net.stateDict()), digestOf(whole.net.stateDict()));
});

test("what is refused: two of them, options for nobody, bases that a thread cannot have", async () => {
  const two = [new TorchCheckpointIO(), new AsyncCheckpointIO()];
  assert.throws(() => new Trainer({ ...QUIET, plugins: two }), { code: "ERR_CHECKPOINT_IO" });
  class Own extends TorchCheckpointIO {
    override saveCheckpoint(): void {
      return;
    }
  }
  assert.throws(() => new AsyncCheckpointIO(new Own()), { code: "ERR_ASYNC_CHECKPOINT" });
  assert.throws(() => new AsyncCheckpointIO(new TorchCheckpointIO({ maxShardSize: 1 })), {
    code: "ERR_ASYNC_CHECKPOINT",
  });
  assert.throws(() => new AsyncCheckpointIO({} as TorchCheckpointIO), { code: "ERR_ARGUMENT" });
  assert.throws(() => new TorchCheckpointIO({ maxShardSize: "much" as "1GB" }), { code: "ERR_ARGUMENT" });
  const { trainer } = await fit(new AsyncCheckpointIO(), folder(), { maxEpochs: 1 });
  assert.throws(() => trainer.saveCheckpoint(join(folder(), "a.ckpt"), { storageOptions: 1 }), {
    code: "ERR_STORAGE_OPTIONS",
  });
});

test("what was there before stays when a write fails", () => {
  const where = folder();
  const path = join(where, "a.ckpt");
  writeFileSync(path, "before");
  const io = new AsyncCheckpointIO();
  assert.throws(
    () => {
      io.saveCheckpoint({ format: 2, epoch: 0, globalStep: 0, stateDict: {}, hyperparameters: { f: () => 0 } }, path);
    },
    { code: "ERR_ARGUMENT" },
  );
  io.teardown();
  assert.equal(readFileSync(path, "utf8"), "before");
});
