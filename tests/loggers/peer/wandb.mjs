/**
 * W&B's own client reads what WandbLogger writes: `WANDB_CORE=… node tests/loggers/peer/wandb.mjs`, with the path of
 * `wandb-core`, which the Python package brings.
 */
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { mkdtempSync, readdirSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { WandbLogger } from "@nbit/lightning";
import { ones } from "@nbit/torch";

const root = mkdtempSync(join(tmpdir(), "nbit-wandb-"));
try {
  const logger = new WandbLogger("shown", root, "abc123", { project: "mine" });
  logger.logHyperparams({ lr: 0.1, long: "x".repeat(100_000) });
  for (let step = 0; step < 3; step++) logger.logMetrics({ loss: step / 4 }, step);
  logger.logImage("picture", [ones([3, 4, 4])], 3);
  logger.finalize("success");
  const [folder] = readdirSync(join(root, "wandb"));
  const file = join(root, "wandb", folder, "run-abc123.wandb");
  const args = ["leet", "--inspect", "--run-file", file, join(root, "wandb")];
  const { status, stdout, stderr } = spawnSync(process.env.WANDB_CORE ?? "wandb-core", args, {
    encoding: "utf8",
    env: { ...process.env, WANDB_ERROR_REPORTING: "false" },
  });
  assert.equal(status, 0, stderr);
  const kinds = [...stdout.matchAll(/^# record \d+: (\w+)/gm)].map(([, kind]) => kind);
  const row = ["history", "summary"];
  assert.deepEqual(kinds, [
    "header",
    "run",
    "metric",
    "metric",
    "config",
    ...row,
    ...row,
    ...row,
    "files",
    ...row,
    "exit",
  ]);
  for (const part of ['run_id: "abc123"', 'project: "mine"', 'key: "loss"', 'value_json: "0.25"', "images/separated"])
    assert.ok(stdout.includes(part), part);
  console.log(`wandb-core reads all of it: ${kinds.length} records`);
} finally {
  rmSync(root, { recursive: true });
}
