/**
 * A ModelCheckpoint removes and overwrites what it wrote, and nothing else: whatever a state says, whatever links lie
 * in its folder.
 */
import assert from "node:assert/strict";
import {
  cpSync,
  existsSync,
  lstatSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import {
  InterruptError,
  LightningModule,
  ModelCheckpoint,
  readCheckpoint,
  Trainer,
  writeCheckpoint,
  type ModelCheckpointOptions,
} from "@nbit/lightning";
import { nn, ones, optim, type Tensor } from "@nbit/torch";
import { temporaryFolders } from "../helpers/temporary-folder.js";

class Net extends LightningModule {
  readonly layer = new nn.Linear(2, 1);
  constructor(readonly losses: readonly number[] = [1]) {
    super();
  }
  override trainingStep(x: unknown): Tensor {
    this.log("loss", this.losses[this.globalStep] ?? 1);
    this.log("a/../b\u001b[2J", 1);
    return this.layer
      .forward(x as Tensor)
      .square()
      .sum();
  }
  override configureOptimizers(): optim.Optimizer {
    return new optim.SGD(this.parameters(), { lr: 0.1 });
  }
}
const fresh = temporaryFolders("own");
async function fit(
  callback: ModelCheckpoint,
  maxSteps: number,
  ckptPath: string | null = null,
  net = new Net(),
): Promise<Trainer> {
  const trainer = new Trainer({
    accelerator: "cpu",
    logger: false,
    enableProgressBar: false,
    enableModelSummary: false,
    maxSteps,
    callbacks: callback,
  });
  await trainer.fit(net, { trainDataloaders: [ones([1, 2])], ckptPath });
  return trainer;
}
const STATE = { bestModelPath: "", lastModelPath: "", bestKModels: {} };
/** What a state may claim of a path, with the options under which that would matter. */
const CLAIMS: readonly (readonly [string, ModelCheckpointOptions, (path: string) => Record<string, unknown>])[] = [
  ["bestModelPath", {}, (p) => ({ bestModelPath: p })],
  ["lastModelPath", { saveLast: true, saveTopK: 0 }, (p) => ({ lastModelPath: p })],
  ["bestKModels", { monitor: "loss" }, (p) => ({ bestKModels: { [p]: 1e9 } })],
  [
    "a best score",
    { monitor: "loss" },
    (p) => ({ bestKModels: { [p]: -1e9 }, bestModelScore: -1e9, bestModelPath: p }),
  ],
  ["replaced", {}, (p) => ({ replaced: p })],
];

test("the user's files are never deleted, whatever a checkpoint's state says, and a checkpoint is written beside them", async () => {
  for (const [what, options, claim] of CLAIMS) {
    for (const file of ["thesis.txt", "last.ckpt", "epoch=0-step=1.ckpt", "sub/other.ckpt"]) {
      const dirpath = fresh();
      const victim = join(dirpath, file);
      mkdirSync(join(dirpath, "sub"));
      writeFileSync(victim, "not a checkpoint");
      const callback = new ModelCheckpoint({ dirpath, ...options });
      callback.loadStateDict({ dirpath, ...STATE, ...claim(victim) });
      await fit(callback, 1);
      assert.equal(readFileSync(victim, "latin1"), "not a checkpoint", `${what} ${file}`);
      assert.ok(
        readdirSync(dirpath).filter((n) => n !== "sub" && n !== file).length > 0,
        `${what} ${file}: a checkpoint is written`,
      );
    }
  }
});

test("checkpoints of other runs, copies and renamed ones stay", async () => {
  for (const [what, options, claim] of CLAIMS) {
    const dirpath = fresh();
    const other = new ModelCheckpoint({ dirpath });
    await fit(other, 1);
    const theirs = other.bestModelPath;
    const callback = new ModelCheckpoint({ dirpath, ...options });
    callback.loadStateDict({ dirpath, ...STATE, ...claim(theirs) });
    await fit(callback, 2);
    assert.ok(existsSync(theirs), `${what}: another run's`);

    // Whoever wrote it, a copy is somebody's copy.
    const copy = join(dirpath, "keep.ckpt");
    cpSync(theirs, copy);
    const heir = new ModelCheckpoint({ dirpath, ...options });
    heir.loadStateDict({ ...other.stateDict(), ...claim(copy) });
    await fit(heir, 3);
    assert.ok(existsSync(copy), `${what}: a copy`);
  }
});

test("files outside the folder stay, also behind links", async () => {
  for (const [what, options, claim] of CLAIMS) {
    const folder = fresh();
    const [dirpath, outside] = [join(folder, "in"), join(folder, "out")];
    mkdirSync(outside);
    // Genuine checkpoints of this lineage, so that only their place speaks for them.
    const first = new ModelCheckpoint({ dirpath, saveTopK: -1 });
    await fit(first, 1);
    const name = "epoch=0-step=1.ckpt";
    renameSync(join(dirpath, name), join(outside, name));
    symlinkSync(outside, join(dirpath, "folder"));
    symlinkSync(join(outside, name), join(dirpath, name));
    for (const path of [
      join(outside, name),
      join(dirpath, "folder", name),
      join(dirpath, name),
      `${dirpath}/../out/${name}`,
      `../out/${name}`,
    ]) {
      const callback = new ModelCheckpoint({ dirpath, ...options });
      callback.loadStateDict({ ...first.stateDict(), ...STATE, ...claim(path) });
      await fit(callback, 1);
      assert.ok(lstatSync(join(outside, name)).isFile(), `${what} ${path}`);
      assert.ok(lstatSync(join(dirpath, name)).isSymbolicLink(), `${what} ${path}`);
      assert.equal(readCheckpoint(join(outside, name)).globalStep, 1);
    }
  }
});

test("a run replaces what it wrote, and what the run wrote that it goes on from", async () => {
  const dirpath = fresh();
  const first = new ModelCheckpoint({ dirpath, monitor: "loss", saveTopK: 2, saveLast: true });
  await fit(first, 3, null, new Net([3, 2, 1]));
  assert.deepEqual(readdirSync(dirpath).sort(), ["epoch=1-step=2.ckpt", "epoch=2-step=3.ckpt", "last.ckpt"]);
  const second = new ModelCheckpoint({ dirpath, monitor: "loss", saveTopK: 2, saveLast: true });
  await fit(second, 4, join(dirpath, "last.ckpt"), new Net([3, 2, 1, 0]));
  assert.deepEqual(readdirSync(dirpath).sort(), ["epoch=2-step=3.ckpt", "epoch=3-step=4.ckpt", "last.ckpt"]);
  const third = new ModelCheckpoint({ dirpath, monitor: "loss", saveTopK: 2, saveLast: true });
  await fit(third, 5, join(dirpath, "last.ckpt"), new Net([3, 2, 1, 0, -1]));
  assert.deepEqual(readdirSync(dirpath).sort(), ["epoch=3-step=4.ckpt", "epoch=4-step=5.ckpt", "last.ckpt"]);
  assert.equal(readCheckpoint(join(dirpath, "last.ckpt")).globalStep, 5);
});

test("a state in memory is taken over as one from a file", async () => {
  const dirpath = fresh();
  const [first, second] = [new ModelCheckpoint({ dirpath }), new ModelCheckpoint({ dirpath })];
  await fit(first, 1);
  second.loadStateDict(first.stateDict());
  await fit(second, 2);
  assert.equal(readdirSync(dirpath).length, 1);
});

test("a file that the user puts in place of a checkpoint during a run is kept", async () => {
  const dirpath = fresh();
  const callback = new ModelCheckpoint({ dirpath });
  await fit(callback, 1);
  const mine = callback.bestModelPath;
  writeFileSync(mine, "notes");
  await fit(callback, 2);
  assert.equal(readFileSync(mine, "utf8"), "notes");
  assert.equal(readdirSync(dirpath).length, 2);
});

test("a checkpoint whose deletion a kill prevented is deleted when the run resumes", async () => {
  const dirpath = fresh();
  const first = new ModelCheckpoint({ dirpath });
  await fit(first, 1);
  const old = first.bestModelPath;
  cpSync(old, join(dirpath, "aside"));
  await fit(first, 2);
  // As a kill between writing and removing would have left it.
  renameSync(join(dirpath, "aside"), old);
  assert.equal(readdirSync(dirpath).length, 2);
  await fit(new ModelCheckpoint({ dirpath }), 2, first.bestModelPath);
  assert.deepEqual(readdirSync(dirpath), ["epoch=1-step=2.ckpt"]);
});

test("an interrupted run keeps the user's file of its checkpoint's name, and replaces its own", async () => {
  class Interrupted extends Net {
    #asked = false;
    override async onTrainBatchEnd(): Promise<void> {
      if (this.#asked) return;
      this.#asked = true; // a second signal would end the process
      process.kill(process.pid, "SIGINT");
      await new Promise((resolve) => setTimeout(resolve, 20)); // until it is delivered
    }
  }
  const dirpath = fresh();
  const path = join(dirpath, "interrupted.ckpt");
  writeFileSync(path, "mine");
  const interrupt = async (ckptPath: string | null): Promise<string> => {
    let found = "";
    await assert.rejects(
      fit(new ModelCheckpoint({ dirpath, saveTopK: 0 }), 9, ckptPath, new Interrupted()),
      (error: unknown) => {
        assert.ok(error instanceof InterruptError && error.checkpointPath !== null);
        found = error.checkpointPath;
        return true;
      },
    );
    return found;
  };
  const first = await interrupt(null);
  assert.equal(first, join(dirpath, "interrupted-v1.ckpt"));
  assert.equal(readFileSync(path, "utf8"), "mine");
  rmSync(path);
  const second = await interrupt(first);
  assert.equal(second, path);
  assert.equal(await interrupt(second), path);
  assert.deepEqual(readdirSync(dirpath).sort(), ["interrupted-v1.ckpt", "interrupted.ckpt"]);
});

test("a file name leaves its folder neither by its template nor by a link", async () => {
  for (const filename of ["../../x", "c/../../../x", join(fresh(), "x"), "..", "a\0b", "a\u001b[2J", "x".repeat(300)])
    assert.throws(
      () => new ModelCheckpoint({ filename }),
      { code: "ERR_MODEL_CHECKPOINT", message: /^ModelCheckpoint: expected filename / },
      filename,
    );
  assert.throws(() => new ModelCheckpoint({ dirpath: "a\0b" }), { code: "ERR_MODEL_CHECKPOINT" });
  for (const ckptPath of ["a\0b", "x".repeat(300), fresh()])
    await assert.rejects(fit(new ModelCheckpoint({ dirpath: fresh() }), 1, ckptPath), { code: "ERR_CHECKPOINT_PATH" });
  const folder = fresh();
  const dirpath = join(folder, "in");
  await fit(new ModelCheckpoint({ dirpath, filename: "{a/../b\u001b[2J}" }), 1);
  assert.deepEqual(readdirSync(dirpath), ["a_.._b_[2J=1.ckpt"]);
  await fit(new ModelCheckpoint({ dirpath, filename: "sub/{epoch}" }), 1);
  assert.deepEqual(readdirSync(join(dirpath, "sub")), ["epoch=0.ckpt"]);
  mkdirSync(join(folder, "out"));
  symlinkSync(join(folder, "out"), join(dirpath, "link"));
  await assert.rejects(fit(new ModelCheckpoint({ dirpath, filename: "link/x" }), 1), {
    code: "ERR_MODEL_CHECKPOINT",
    message: /symbolic link/,
  });
  assert.deepEqual(readdirSync(join(folder, "out")), []);
  // A link that leads nowhere has a name, too.
  symlinkSync(join(folder, "nowhere"), join(dirpath, "y.ckpt"));
  await fit(new ModelCheckpoint({ dirpath, filename: "y" }), 1);
  assert.ok(
    lstatSync(join(dirpath, "y.ckpt")).isSymbolicLink() &&
      existsSync(join(dirpath, "y-v1.ckpt")) &&
      !existsSync(join(folder, "nowhere")),
  );
});

test("checkpoints without a mark, of earlier versions, can be resumed from and stay", async () => {
  const dirpath = fresh();
  const first = new ModelCheckpoint({ dirpath });
  await fit(first, 1);
  writeCheckpoint(first.bestModelPath, readCheckpoint(first.bestModelPath));
  await fit(new ModelCheckpoint({ dirpath }), 2, first.bestModelPath);
  assert.deepEqual(readdirSync(dirpath).sort(), ["epoch=0-step=1.ckpt", "epoch=1-step=2.ckpt"]);
});
