/** A launcher that starts all ranks again: the run goes on from its last checkpoint, as if nothing had happened. */
import assert from "node:assert/strict";
import { join } from "node:path";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import { runRanks } from "../helpers/ranks.js";
import type { Outcome, Task } from "./checkpoint-program.js";
import { Programs } from "./supervised.js";

const programs = new Programs("restart");
const program = fileURLToPath(import.meta.resolve("./checkpoint-program.js"));
const nbit = fileURLToPath(new URL("../../../packages/cli/bin/nbit.mjs", import.meta.url));
const task = (name: string): Task => ({ checkpoints: join(programs.folder, name), accumulateGradBatches: 2 });

/** Of rank 0's last start. */
function outcomeIn(text: string): Outcome {
  const line = text.split("\n").findLast((one) => one.startsWith("outcome {"));
  assert.ok(line !== undefined, text);
  return JSON.parse(line.slice("outcome ".length)) as Outcome;
}

/** Optimizer steps are 9, 3 an epoch; every second is saved. */
const KILLS: readonly { readonly rank: number; readonly step: number; readonly from: string | null }[] = [
  { rank: 1, step: 1, from: null },
  { rank: 0, step: 7, from: "last.ckpt" },
];

test("weights are those of a run that nobody killed, to the last bit", async () => {
  const [undisturbed] = await runRanks(program, 2, { args: [JSON.stringify(task("undisturbed"))] });
  const expected = outcomeIn(undisturbed?.stdout ?? "");
  assert.equal(expected.error, null);
  for (const { rank, step, from } of KILLS) {
    const mine = task(`killed-${rank}-${step}`);
    const flags = ["run", "-n", "2", "--max-restarts", "2"];
    const { ended } = programs.run([nbit, ...flags, program, JSON.stringify({ ...mine, kill: { rank, step } })]);
    const { code, stdout, stderr } = await ended;
    assert.equal(code, 0, stderr);
    assert.match(stderr, new RegExp(`rank ${rank} .* was ended by SIGKILL.*restart 1 of 2`));
    const outcome = outcomeIn(stdout);
    const said = from === null ? "no checkpoint of this launch was found" : `goes on from ${mine.checkpoints}/${from}`;
    assert.ok(stdout.includes(`fit: started again by the launcher (restart 1): ${said}`), stdout);
    assert.equal(outcome.fingerprint, expected.fingerprint);
    assert.deepEqual(outcome.losses, expected.losses.slice(-outcome.losses.length));
    assert.ok(from === null || outcome.losses.length < expected.losses.length);
  }
});

test("a folder's checkpoints of another launch are not gone on from", async () => {
  const { checkpoints } = task("killed-0-7");
  const again = JSON.stringify({ ...task("killed-0-7"), kill: { rank: 1, step: 1 } });
  const { ended } = programs.run([nbit, "run", "-n", "2", "--max-restarts", "1", program, again]);
  const { code, stdout, stderr } = await ended;
  assert.equal(code, 0, stderr);
  assert.ok(checkpoints !== undefined && stdout.includes("no checkpoint of this launch was found"), stdout);
  assert.equal(outcomeIn(stdout).losses.length, 18);
});
