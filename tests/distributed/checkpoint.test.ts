/** Checkpoints of several processes: a run that goes on from one is, on every rank, the run that never stopped. */
import assert from "node:assert/strict";
import { existsSync, readdirSync, statSync } from "node:fs";
import { join } from "node:path";
import {
  Callback,
  DDPStrategy,
  InterruptError,
  ModelCheckpoint,
  readCheckpoint,
  type Trainer,
  type TrainerOptions,
} from "@nbit/lightning";
import { consolidateCheckpoint, device, FileError, noGrad } from "@nbit/torch";
import * as dist from "@nbit/torch/distributed";
import { withFault } from "../helpers/faulty-disk.js";
import { testRanks, type RankCase } from "../helpers/ranks.js";
import { warningsOf } from "../helpers/training.js";
import { fingerprint, folderOfAll, run, SaveAfter, type NetOptions, type RunOptions } from "./checkpoint-run.js";

const WORLD = 2;
const folder = folderOfAll("ranks-checkpoint");
const place = (): { rank: number; world: number } => ({ rank: dist.getRank(), world: WORLD });
type Whole = Awaited<ReturnType<typeof run>>;

/** `resumed` is what `whole` was after `batches`. */
function assertGoesOn(resumed: Whole, whole: Whole, batches: number): void {
  assert.ok(resumed.module.losses.length > 0);
  assert.deepEqual(resumed.module.losses, whole.module.losses.slice(batches), "losses");
  assert.deepEqual(resumed.module.samples, whole.module.samples.slice(batches), "samples");
  assert.equal(fingerprint(resumed.module), fingerprint(whole.module), "weights and statistics");
  assert.equal(resumed.trainer.callbackMetrics["loss_epoch"], whole.trainer.callbackMetrics["loss_epoch"]);
  assert.equal(resumed.trainer.lossScale, whole.trainer.lossScale);
  assert.equal(resumed.trainer.skippedSteps, whole.trainer.skippedSteps);
}

/** Trains on and on, saving after `batches`; then anew from there; and compares. */
async function resumesExactly(
  name: string,
  batches: number,
  { trainer = {}, net = {} }: { readonly trainer?: TrainerOptions; readonly net?: NetOptions } = {},
): Promise<string> {
  const path = join(folder, `${name}.ckpt`);
  const whole = await run({ ...place(), net, trainer: { ...trainer, callbacks: [new SaveAfter(batches, path)] } });
  assertGoesOn(await run({ ...place(), net, trainer, fit: { ckptPath: path } }), whole, batches);
  return path;
}

class SaveAtEpochEnd extends Callback {
  constructor(readonly path: string) {
    super();
  }
  override onTrainEpochEnd(trainer: Trainer): void {
    if (trainer.currentEpoch === 0) trainer.saveCheckpoint(this.path);
  }
}

/** Rank 1 is asked to end, by itself. */
class SignalAt extends Callback {
  constructor(readonly batch: number) {
    super();
  }
  override onTrainBatchEnd(trainer: Trainer): void {
    if (trainer.globalRank === 1 && trainer.globalStep === this.batch) process.kill(process.pid, "SIGTERM");
  }
}

/** What this rank's part of the world saw, from all ranks. */
const sameOnAll = (value: unknown): void =>
  dist.allGatherObject(value).forEach((theirs) => assert.deepEqual(theirs, value));

const cases: Record<string, RankCase> = {
  "in the middle of an epoch": async () => {
    const path = await resumesExactly("middle", 8);
    const { ranks, loops } = readCheckpoint(path);
    assert.equal(ranks?.length, WORLD - 1);
    assert.equal(loops?.gradients, null);
  },
  "within an accumulation window, whose gradients differ by rank": async () => {
    const path = await resumesExactly("window", 8, { trainer: { accumulateGradBatches: 3 } });
    const { ranks, loops } = readCheckpoint(path);
    const [zero, one] = [loops?.gradients?.["net.0.weight"], ranks?.[0]?.loops?.gradients?.["net.0.weight"]];
    assert.ok(zero !== undefined && one !== undefined);
    assert.notDeepEqual(zero.tolist(), one.tolist());
    assert.ok(Object.keys(ranks?.[0]?.buffers ?? {}).length > 0, "statistics that were not exchanged");
  },
  "at the end of an epoch, and between epochs": async () => {
    const [end, between] = [join(folder, "end.ckpt"), join(folder, "between.ckpt")];
    const whole = await run({ ...place(), trainer: { callbacks: [new SaveAtEpochEnd(end)] } });
    assertGoesOn(await run({ ...place(), fit: { ckptPath: end } }), whole, 6);
    const { trainer } = await run({ ...place(), trainer: { maxEpochs: 2 } });
    trainer.saveCheckpoint(between);
    assertGoesOn(await run({ ...place(), fit: { ckptPath: between } }), whole, 12);
  },
  "the loss scale after an overflow, with float16": async () => {
    const path = await resumesExactly("scaled", 9, { trainer: { precision: 16 }, net: { overflowAt: 4 } });
    assert.equal(readCheckpoint(path).precision?.state?.["skippedSteps"], 1);
  },
  "optimizers of 8 bits": async () => {
    await resumesExactly("8bit", 7, { net: { optimizer: "AdamW8bit" }, trainer: { accumulateGradBatches: 2 } });
  },
  "weights alone": async () => {
    const { trainer, module } = await run({ ...place(), trainer: { maxEpochs: 1 } });
    const path = join(folder, "weights.ckpt");
    trainer.saveCheckpoint(path, { weightsOnly: true });
    const { ranks, rng, stateDict } = readCheckpoint(path);
    assert.deepEqual([ranks, rng], [undefined, undefined]);
    assert.deepEqual(stateDict["net.0.weight"]?.tolist(), module.stateDict().get("net.0.weight")?.tolist());
  },
  "all ranks learn that a file cannot be written, or a hook fails, and go on": async (rank) => {
    const { trainer, module } = await run({ ...place(), trainer: { maxEpochs: 1 } });
    const path = join(folder, "full.ckpt");
    const save = (): void => trainer.saveCheckpoint(path);
    const { outcome, disk } = await withFault({ at: rank === 0 ? 2 : Infinity, fault: "ENOSPC", bytes: 100 }, save);
    assert.equal(disk.struck, rank === 0 ? "write" : null);
    assert.ok("error" in outcome && outcome.error instanceof FileError);
    assert.equal(outcome.error.code, "ENOSPC");
    assert.match(outcome.error.message, rank === 0 ? /^saveSafetensors: expected/ : /rank 0 failed: saveSafetensors: /);
    assert.equal(existsSync(path), false);
    module.onSaveCheckpoint = () => {
      if (dist.getRank() === 1) throw new RangeError("not now");
    };
    assert.throws(() => trainer.saveCheckpoint(join(folder, "hook.ckpt")), {
      message: rank === 1 ? "not now" : "Trainer.saveCheckpoint: rank 1 failed: not now",
    });
    assert.equal(existsSync(join(folder, "hook.ckpt")), false);
  },
  "ModelCheckpoint: rank 0's values decide, files are written once": async (rank) => {
    const dirpath = join(folder, "best");
    const saver = (): ModelCheckpoint =>
      new ModelCheckpoint({ dirpath, monitor: "score", saveTopK: 2, saveLast: true, everyNTrainSteps: 2 });
    // Worse with each step on rank 0, better on rank 1.
    const net = { score: rank === 0 ? 1 : -1 };
    let first: Whole | null = null;
    const mine = saver();
    const warned = await warningsOf(async () => {
      first = await run({ ...place(), net, trainer: { callbacks: [mine], maxEpochs: 1 } });
    });
    assert.deepEqual(warned.filter(({ code }) => code === "WARN_MONITOR_DIFFERS").length > 0, rank === 0);
    assert.ok(first);
    const names = ["epoch=0-step=2.ckpt", "epoch=0-step=4.ckpt", "last.ckpt"];
    dist.barrier();
    assert.deepEqual(readdirSync(dirpath).sort(), names);
    assert.equal(mine.bestModelPath, join(dirpath, "epoch=0-step=2.ckpt"));
    const { writers: _, ...state } = mine.stateDict();
    sameOnAll(state);
    // It goes on from its own files, which rank 0 tells.
    const next = saver();
    const fit: RunOptions["fit"] = { ckptPath: "last" };
    const { trainer } = await run({ ...place(), net, fit, trainer: { callbacks: [next], maxEpochs: 2 } });
    assert.equal(trainer.ckptPath, join(dirpath, "last.ckpt"));
    assert.deepEqual(readdirSync(dirpath).sort(), names);
    sameOnAll({ ...next.stateDict(), writers: [] });
  },
  "ckptPath: rank 0 says which file, and all fail where there is none": async (rank) => {
    const path = join(folder, "middle.ckpt");
    const { trainer } = await run({ ...place(), fit: { ckptPath: rank === 0 ? path : join(folder, "none") } });
    assert.equal(trainer.ckptPath, path);
    await assert.rejects(run({ ...place(), fit: { ckptPath: rank === 0 ? join(folder, "none") : path } }), {
      code: "ERR_CHECKPOINT_PATH",
    });
  },
  "every so many seconds: by rank 0's clock": async (rank) => {
    const dirpath = join(folder, "timed");
    const timed = new ModelCheckpoint({ dirpath, saveTopK: -1, trainTimeInterval: rank === 0 ? 1e-9 : 1e9 });
    await run({ ...place(), trainer: { callbacks: [timed], maxEpochs: 1 } });
    dist.barrier();
    assert.equal(readdirSync(dirpath).length, 6);
    sameOnAll(timed.lastSavedPath);
  },
  "a signal to one rank ends all at one batch, with a checkpoint that goes on exactly": async () => {
    const dirpath = join(folder, "interrupted");
    const saver = new ModelCheckpoint({ dirpath, everyNEpochs: 100 });
    const callbacks = [saver, new SignalAt(5)];
    const failure: unknown = await run({ ...place(), trainer: { callbacks } }).catch((error: unknown) => error);
    assert.ok(failure instanceof InterruptError, String(failure));
    assert.equal(failure.signal, "SIGTERM");
    assert.equal(failure.checkpointPath, join(dirpath, "interrupted.ckpt"));
    dist.barrier();
    assert.deepEqual(readdirSync(dirpath), ["interrupted.ckpt"]);
    const whole = await run(place());
    const resumed = await run({ ...place(), fit: { ckptPath: failure.checkpointPath } });
    assertGoesOn(resumed, whole, whole.module.losses.length - resumed.module.losses.length);
    assert.ok(resumed.module.losses.length < 14);
  },
  "sharded: every rank writes a part, and either form goes on exactly": async (rank) => {
    const options = {
      strategy: new DDPStrategy(device("cpu"), { stateDictType: "sharded" }),
      accumulateGradBatches: 3,
    };
    const path = await resumesExactly("sharded", 8, { trainer: options, net: { optimizer: "AdamW8bit" } });
    const files = readdirSync(path).sort();
    assert.deepEqual(
      files.map((name) => name.replace(/^[0-9a-f]{16}/, "")),
      [".rank-0.safetensors", ".rank-1.safetensors", "manifest.json"],
    );
    const size = (n: number): number => statSync(join(path, files[n] ?? "")).size;
    assert.ok(size(1) > 10_000 && size(0) < 4 * size(1), `${size(0)} and ${size(1)} bytes`);
    const out = join(folder, "consolidated.ckpt");
    if (rank === 0) consolidateCheckpoint(path, out);
    dist.barrier();
    const net: NetOptions = { optimizer: "AdamW8bit" };
    const trainer = { accumulateGradBatches: 3 };
    const resumed = await run({ ...place(), net, trainer, fit: { ckptPath: out } });
    const whole = await run({ ...place(), net, trainer });
    assertGoesOn(resumed, whole, 8);
  },
  "sharded: what a rank cannot write is an error on all, and the earlier one stays": async (rank) => {
    const strategy = new DDPStrategy(device("cpu"), { stateDictType: "sharded" });
    const { trainer, module } = await run({ ...place(), trainer: { strategy, maxEpochs: 1 } });
    const path = join(folder, "kept.ckpt");
    trainer.saveCheckpoint(path);
    const before = readdirSync(path).sort();
    const [weight] = module.parameters();
    noGrad(() => weight?.add_(1));
    const save = (): void => trainer.saveCheckpoint(path);
    const { outcome } = await withFault({ at: rank === 1 ? 2 : Infinity, fault: "ENOSPC", bytes: 100 }, save);
    assert.ok("error" in outcome && outcome.error instanceof FileError);
    assert.equal(outcome.error.code, "ENOSPC");
    dist.barrier();
    assert.deepEqual(readdirSync(path).sort(), before);
    assert.notDeepEqual(readCheckpoint(path).stateDict["net.0.weight"]?.tolist(), weight?.tolist());
    trainer.saveCheckpoint(path);
    assert.deepEqual(readCheckpoint(path).stateDict["net.0.weight"]?.tolist(), weight?.tolist());
  },
  "sharded: ModelCheckpoint keeps the best, and goes on with last": async () => {
    const dirpath = join(folder, "best-sharded");
    const saver = (): ModelCheckpoint =>
      new ModelCheckpoint({ dirpath, monitor: "score", saveTopK: 2, saveLast: true, everyNTrainSteps: 2 });
    const strategy = (): DDPStrategy => new DDPStrategy(device("cpu"), { stateDictType: "sharded" });
    const net = { score: -1 };
    await run({ ...place(), net, trainer: { callbacks: [saver()], strategy: strategy(), maxEpochs: 1 } });
    const fit: RunOptions["fit"] = { ckptPath: "last" };
    const { trainer } = await run({ ...place(), net, fit, trainer: { callbacks: [saver()], strategy: strategy() } });
    assert.equal(trainer.ckptPath, join(dirpath, "last.ckpt"));
    dist.barrier();
    assert.deepEqual(readdirSync(dirpath).sort(), ["epoch=2-step=16.ckpt", "epoch=2-step=18.ckpt", "last.ckpt"]);
    assert.equal(readdirSync(join(dirpath, "last.ckpt")).length, 3);
  },
};
testRanks(import.meta.url, WORLD, cases);
