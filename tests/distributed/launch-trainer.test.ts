/** Trainers whose ranks a supervisor has started: what becomes of a failure, a restart and a signal. */
import assert from "node:assert/strict";
import { existsSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { numbersAfter, Programs, type Supervised } from "./supervised.js";

const programs = new Programs("launch-trainer");
/** A test that takes longer hangs. */
const limit = { timeout: 240_000 };
const module = (name: string): string => JSON.stringify(import.meta.resolve(name));

/** Two ranks train for 16 steps. `FAIL`: rank 1 throws at the sixth. `WAIT`: the fourth step waits for a signal. */
const program = `
import { LightningModule, ModelCheckpoint, Trainer } from ${module("@nbit/lightning")};
import { DataLoader, DistributedSampler, manualSeed, mseLoss, nn, optim, randn, TensorDataset } from ${module("@nbit/torch")};
import { clusterEnvironment } from ${module("@nbit/torch/distributed")};
const { rank = 0, worldSize = 1, restartCount = 0 } = clusterEnvironment() ?? {};
class Net extends LightningModule {
  net = new nn.Linear(8, 2);
  trainingStep([x, y]) {
    if (process.env.FAIL && rank === 1 && this.trainer.globalStep === 5 && restartCount === 0) throw new RangeError("a bad batch");
    return mseLoss(this.net.forward(x), y);
  }
  onTrainStart() { console.log("from", this.trainer.globalStep); }
  async onTrainBatchEnd() {
    if (!process.env.WAIT || this.trainer.globalStep !== 4) return;
    const signal = new Promise((resolve) => process.once("SIGTERM", resolve));
    console.log("waits");
    await signal;
  }
  configureOptimizers() { return new optim.AdamW(this.parameters(), { lr: 0.01 }); }
}
manualSeed(1);
const data = new TensorDataset(randn(64, 8), randn(64, 2));
const sampler = new DistributedSampler(data, { numReplicas: worldSize, rank, shuffle: false });
const trainer = new Trainer({
  accelerator: "cpu", devices: 2, maxEpochs: 4, logger: false, enableModelSummary: false, enableProgressBar: false,
  defaultRootDir: process.env.ROOT, callbacks: [new ModelCheckpoint({ everyNTrainSteps: 2, saveLast: true })],
});
await trainer.fit(new Net(), {
  trainDataloaders: new DataLoader(data, { batchSize: 8, sampler }),
  ckptPath: restartCount > 0 ? "last" : null,
});
console.log("to", trainer.globalStep);
`;
const start = (name: string, env: NodeJS.ProcessEnv): Supervised =>
  programs.run([programs.file(program)], { ...env, ROOT: join(programs.folder, name) });

test("devices: 2 starts two ranks; an error on one is the run's, and stands last", limit, async () => {
  const { code, stdout, stderr } = await start("fails", { FAIL: "1" }).ended;
  assert.equal(code, 1, stderr);
  assert.deepEqual(numbersAfter("from", stdout), [0, 0]);
  assert.deepEqual(numbersAfter("to", stdout), []);
  const end = stderr.split("[rank 0]").at(-1) ?? ""; // rank 0 may have had nothing to say
  assert.match(end, /\[rank 1\] RangeError: a bad batch\n/);
  assert.match(end, /nbit: rank 1 \(process \d+\) ended with exit code 1/);
});

test("a restart goes on from the last checkpoint", limit, async () => {
  const env = { FAIL: "1", ROOT: join(programs.folder, "restarts") };
  const { code, stdout, stderr } = await programs.launch(program, { n: 2, maxRestarts: 1 }, env).ended;
  assert.equal(code, 0, stderr);
  assert.deepEqual(numbersAfter("from", stdout), [0, 0, 4, 4]);
  assert.deepEqual(numbersAfter("to", stdout), [16, 16]);
});

test("a signal reaches all ranks, which end with a checkpoint", limit, async () => {
  const run = start("interrupted", { WAIT: "1" });
  await run.wrote("waits", 2);
  run.process.kill("SIGTERM");
  const { code, stdout, stderr } = await run.ended;
  assert.notEqual(code, 0);
  assert.deepEqual(numbersAfter("to", stdout), []);
  assert.equal(stderr.split("InterruptError: fit: interrupted after 4 steps.").length, 3, stderr);
  assert.doesNotMatch(stderr, /^nbit:/m);
  assert.ok(existsSync(join(programs.folder, "interrupted", "checkpoints", "interrupted.ckpt")));
});
