/**
 * Every call with which something is saved fails once: the disk is full after some bytes, or the device fails. Nothing
 * is lost, the error has a code, and nothing is left behind.
 */
import assert from "node:assert/strict";
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { parseRunLog, renderReport, writeReport, type Run } from "@nbit/dashboard";
import {
  CSVLogger,
  LightningModule,
  ModelCheckpoint,
  PrecisionReport,
  readCheckpoint,
  RunLog,
  Trainer,
} from "@nbit/lightning";
import {
  FileError,
  full,
  load,
  loadCheckpoint,
  loadSafetensors,
  nn,
  numpy,
  ones,
  optim,
  save,
  saveCheckpoint,
  saveSafetensors,
  zeros,
  type Tensor,
} from "@nbit/torch";
import { withFault, type Fault } from "../helpers/faulty-disk.js";
import { temporaryFolders } from "../helpers/temporary-folder.js";

const fresh = temporaryFolders("faults");
const openFiles = (): number => (existsSync("/proc/self/fd") ? readdirSync("/proc/self/fd").length : 0);

type Strike = readonly [Fault, number];
const EVERY: readonly Strike[] = [
  ["ENOSPC", 0],
  ["ENOSPC", 1],
  ["ENOSPC", 7],
  ["EIO", 0],
];

/**
 * Every way in which a save can fail: each call, with each fault, after no, one or several bytes. Of what is `long`,
 * each call fails in one way.
 */
async function eachFault(
  prepare: (folder: string) => (() => void) | (() => Promise<void>),
  check: (folder: string, failed: boolean, what: string) => void | Promise<void>,
  long = false,
): Promise<void> {
  const counting = fresh();
  const { disk, outcome } = await withFault({ at: Infinity, fault: "EIO" }, prepare(counting));
  assert.ok("value" in outcome, "without a fault it succeeds");
  await check(counting, false, "without a fault");
  assert.ok(disk.calls > 1);
  let struck = 0;
  for (let at = 0; at < disk.calls; at++) {
    for (const [fault, bytes] of long ? [EVERY[at % EVERY.length] as Strike] : EVERY) {
      const folder = fresh();
      const work = prepare(folder);
      const open = openFiles();
      const result = await withFault({ at, fault, bytes }, work);
      const what = `${fault} at call ${at} (${result.disk.struck ?? "none"}) after ${bytes} bytes`;
      const failed = "error" in result.outcome;
      if (failed) {
        const { error } = result.outcome as { error: unknown };
        assert.ok(error instanceof FileError && error.code === fault, `${what}: ${String(error)}`);
        struck++;
      }
      assert.deepEqual(
        filesBelow(folder).filter((name) => name.endsWith(".tmp")),
        [],
        what,
      );
      await check(folder, failed, what);
      // A log with lines that wait for room stays open for them.
      if (!failed || !long) assert.equal(openFiles(), open, `${what}: every file is closed`);
    }
  }
  assert.ok(struck > 0);
}
function filesBelow(folder: string): string[] {
  return readdirSync(folder, { recursive: true, encoding: "utf8" });
}

test("after a disk fault a checkpoint is the old one or the new one", async () => {
  const states = { old: { a: ones([3]), n: 1 }, new: { a: zeros([1_500_000]), b: ones([2]), n: 2 } };
  await eachFault(
    (folder) => {
      const path = join(folder, "last.ckpt");
      saveCheckpoint(path, states.old);
      return () => {
        saveCheckpoint(path, states.new);
      };
    },
    (folder, failed, what) => {
      const read = loadCheckpoint(join(folder, "last.ckpt")) as { n: number; a: Tensor };
      assert.equal(read.n, failed ? 1 : 2, what);
      assert.equal(read.a.numel(), failed ? 3 : 1_500_000, what);
      assert.deepEqual(readdirSync(folder), ["last.ckpt"], what);
    },
  );
});

/** Of one file, which each way of saving writes anew. */
const OTHERS: readonly (readonly [
  name: string,
  write: (path: string, t: Tensor) => void,
  read: (path: string) => Tensor,
])[] = [
  ["a.pt", (path, a) => save({ a }, path), (path) => load<{ a: Tensor }>(path).a],
  ["a.npy", (path, a) => numpy.save(path, a), (path) => numpy.load(path) as Tensor],
  [
    "a.npz",
    (path, a) => numpy.savez(path, { a }),
    (path) => (numpy.load(path) as Record<string, Tensor>)["a"] as Tensor,
  ],
];
for (const [name, write, read] of OTHERS)
  test(`after a disk fault ${name} is the old one or the new one`, async () => {
    await eachFault(
      (folder) => {
        const path = join(folder, name);
        write(path, ones([3]));
        return () => {
          write(path, zeros([1_500_000]));
        };
      },
      (folder, failed, what) => {
        assert.equal(read(join(folder, name)).numel(), failed ? 3 : 1_500_000, what);
        assert.deepEqual(readdirSync(folder), [name], what);
      },
    );
  });

test("after a disk fault a model in several files is read as far as it goes, and never as another", async () => {
  const parts = (value: number): Record<string, Tensor> => ({ a: full([20], value), b: full([20], value) });
  await eachFault(
    (folder) => {
      const path = join(folder, "model.safetensors");
      saveSafetensors(path, parts(1));
      return () => {
        saveSafetensors(path, parts(2), { maxShardSize: 80 });
      };
    },
    (folder, failed, what) => {
      const read = loadSafetensors(folder);
      assert.deepEqual([read["a"]?.at(0).item(), read["b"]?.at(0).item()], failed ? [1, 1] : [2, 2], what);
    },
  );
});

const RUN: Run = parseRunLog('{"type":"run","format":1,"name":"a","precision":"32-true"}\n');
test("after a disk fault a report is the old one or the new one", async () => {
  const page = (title: string): string => renderReport({ title, runs: [RUN] }).slice(0, 400);
  await eachFault(
    (folder) => {
      const path = join(folder, "report.html");
      writeReport(path, { title: "old", runs: [RUN] });
      return () => void writeReport(path, { title: "new", runs: [RUN] });
    },
    (folder, failed, what) => {
      assert.equal(readFileSync(join(folder, "report.html"), "utf8").slice(0, 400), page(failed ? "old" : "new"), what);
    },
  );
});

test("a table of metrics has every row once, as soon as the disk has room", async () => {
  const loggers = new Map<string, CSVLogger>();
  await eachFault(
    (folder) => {
      const logger = new CSVLogger(folder, { version: 0, flushIntervalSeconds: 3600 });
      loggers.set(folder, logger);
      return () => {
        logger.logHyperparams({ lr: 0.1 });
        let failure: unknown = null;
        const attempt = (work: () => void): void => {
          try {
            work();
          } catch (error) {
            failure ??= error;
          }
        };
        for (let step = 0; step < 3; step++) {
          logger.logMetrics({ loss: step / 2 }, step);
          attempt(() => {
            logger.flush();
          });
        }
        logger.logMetrics({ loss: 1.5, acc: 0.5 }, 3);
        attempt(() => {
          logger.flush();
        });
        attempt(() => {
          logger.finalize();
        });
        if (failure !== null) throw failure as Error;
      };
    },
    (folder, failed, what) => {
      const logger = loggers.get(folder) as CSVLogger;
      // Once there is room again.
      logger.finalize();
      const path = join(logger.logDir, "metrics.csv");
      if (failed && !existsSync(path)) return; // the hyper-parameters before could not be written
      assert.equal(readFileSync(path, "utf8"), "acc,loss,step\n,0,0\n,0.5,1\n,1,2\n0.5,1.5,3\n", what);
    },
  );
});

class Net extends LightningModule {
  readonly layer = new nn.Linear(2, 1);
  override trainingStep(x: unknown): Tensor {
    const loss = this.layer
      .forward(x as Tensor)
      .square()
      .sum();
    this.log("loss", loss);
    return loss;
  }
  override configureOptimizers(): optim.Optimizer {
    return new optim.SGD(this.parameters(), { lr: 0.1, momentum: 0.9 });
  }
}

test("a fit that cannot save fails with the code, and every checkpoint that it had is whole; the log has whole lines", async () => {
  const logs = new Map<string, { readonly table: CSVLogger; readonly runLog: RunLog }>();
  await eachFault(
    (folder) => {
      const [table, runLog] = [
        new CSVLogger(folder, { version: 0 }),
        new RunLog({ path: join(folder, "run.jsonl"), everyNSteps: 1 }),
      ];
      logs.set(folder, { table, runLog });
      const checkpoint = new ModelCheckpoint({ dirpath: join(folder, "kept"), saveLast: true });
      const callbacks = [checkpoint, runLog, new PrecisionReport({ path: join(folder, "step.json"), print: false })];
      const trainer = new Trainer({
        accelerator: "cpu",
        logger: table,
        logEveryNSteps: 1,
        enableProgressBar: false,
        enableModelSummary: false,
        maxEpochs: 2,
        callbacks,
      });
      return async () => {
        try {
          await trainer.fit(new Net(), { trainDataloaders: [ones([1, 2])] });
        } finally {
          // What the callback says of its files is so, also when the last one failed.
          for (const path of [checkpoint.bestModelPath, checkpoint.lastModelPath])
            assert.ok(path === "" || existsSync(path), path);
        }
      };
    },
    (folder, failed, what) => {
      const files = existsSync(join(folder, "kept")) ? readdirSync(join(folder, "kept")) : [];
      for (const name of files)
        assert.ok(readCheckpoint(join(folder, "kept", name)).globalStep >= 1, `${what}: ${name}`);
      if (!failed) assert.deepEqual(files.sort(), ["epoch=1-step=2.ckpt", "last.ckpt"], what);
      const assertWhole = (): void => {
        for (const name of filesBelow(folder).filter((n) => n.endsWith("run.jsonl"))) {
          const lines = readFileSync(join(folder, name), "utf8").split("\n");
          assert.equal(lines.pop(), "", what);
          for (const line of lines) assert.equal(typeof JSON.parse(line), "object", what);
        }
      };
      assertWhole();
      // What waited is written once there is room again.
      logs.get(folder)?.table.finalize();
      logs.get(folder)?.runLog.teardown();
      assertWhole();
    },
    true,
  );
});
