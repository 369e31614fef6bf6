/** Checkpoints of so many processes, from which others go on; and processes that do not save together. */
import assert from "node:assert/strict";
import { existsSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import { runRanks } from "../helpers/ranks.js";
import { temporaryFolder } from "../helpers/temporary-folder.js";
import type { Outcome, Task } from "./checkpoint-program.js";

const folder = temporaryFolder("world-size");
const program = fileURLToPath(import.meta.resolve("./checkpoint-program.js"));

async function train(world: number, task: Task): Promise<Outcome[]> {
  const results = await runRanks(program, world, { args: [JSON.stringify(task)] });
  return results.map(({ stdout, stderr }) => {
    const line = stdout.split("\n").find((one) => one.startsWith("outcome "));
    assert.ok(line !== undefined, stderr);
    return JSON.parse(line.slice("outcome ".length)) as Outcome;
  });
}

/** Batches of all ranks together, in order of their samples; and their losses' means. */
function together(ranks: readonly Outcome[]): { samples: number[][]; losses: number[] } {
  for (const { error } of ranks) assert.equal(error, null);
  const [first] = ranks;
  assert.ok(first !== undefined);
  return {
    samples: first.samples.map((_, i) => ranks.flatMap(({ samples }) => samples[i] ?? []).sort((a, b) => a - b)),
    losses: first.losses.map((_, i) => ranks.reduce((sum, { losses }) => sum + (losses[i] ?? NaN), 0) / ranks.length),
  };
}
function assertClose(actual: readonly number[], expected: readonly number[], what: string): void {
  assert.equal(actual.length, expected.length, what);
  actual.forEach((value, i) => {
    assert.ok(Math.abs(value - (expected[i] ?? NaN)) < 1e-12, `${what} ${i}: ${value} against ${expected[i]}`);
  });
}

test("2 ranks, then 1, then 4, within an epoch each: the samples, losses and weights of 1 that never stopped", async () => {
  const [two, one] = [join(folder, "two.ckpt"), join(folder, "one.ckpt")];
  const task: Task = { net: { noisy: false }, precision: 64 };
  const whole = await train(1, task);
  const first = await train(2, { ...task, maxSteps: 8, save: { after: 8, path: two } });
  const second = await train(1, { ...task, resume: two, maxSteps: 11, save: { after: 3, path: one } });
  const third = await train(4, { ...task, resume: one });
  const parts = [first, second, third].map(together);
  const expected = together(whole);
  assert.deepEqual(
    parts.flatMap(({ samples }) => samples),
    expected.samples,
  );
  assertClose(
    parts.flatMap(({ losses }) => losses),
    expected.losses,
    "loss",
  );
  for (const rank of third) assertClose(rank.weights, whole[0]?.weights ?? [], "weight");
});

test("within an accumulation window: gradients of all ranks go on in one", async () => {
  const path = join(folder, "window.ckpt");
  const task: Task = { net: { noisy: false }, precision: 64, accumulateGradBatches: 4, maxEpochs: 2 };
  const whole = await train(1, task);
  await train(2, { ...task, maxEpochs: 1, save: { after: 3, path } });
  const rest = await train(1, { ...task, resume: path });
  assert.deepEqual(together(rest).samples, together(whole).samples.slice(3));
  assertClose(rest[0]?.weights ?? [], whole[0]?.weights ?? [], "weight");
  // Three batches of 16 are no whole number of batches of 32.
  const [other] = await train(1, { ...task, batch: 32, resume: path });
  assert.equal(other?.error?.code, "ERR_RESUME_WORLD_SIZE");
});

test("a checkpoint that only some ranks save is an error that says so, on those at once", async () => {
  const path = join(folder, "alone.ckpt");
  const ranks = await train(2, { save: { after: 2, path, rank: 0 } });
  for (const { error } of ranks) assert.match(error?.code ?? "none", /^ERR_DIST_/);
  assert.match(ranks[0]?.error?.message ?? "", /^saveCheckpoint: expected every process to call it/);
  assert.equal(existsSync(path), false);
});
