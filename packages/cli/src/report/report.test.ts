import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { fileURLToPath } from "node:url";
import { withMore } from "../testing/with-more.js";

/** `nbit report`, as a shell calls it. */

const bin = fileURLToPath(new URL("../../bin/nbit.mjs", import.meta.url));
const root = mkdtempSync(join(tmpdir(), "nbit-report-command-"));
after(() => {
  rmSync(root, { recursive: true });
});

function nbit(...args: string[]): { readonly status: number | null; readonly out: string; readonly err: string } {
  const { status, stdout, stderr } = spawnSync(process.execPath, [bin, "report", ...args], {
    cwd: root,
    encoding: "utf8",
  });
  return { status, out: stdout, err: stderr };
}

function log(folder: string, startedAt: string): string {
  mkdirSync(join(root, folder), { recursive: true });
  const path = join(root, folder, "run.jsonl");
  const run = { type: "run", format: 2, precision: "32-true", startedAt, hyperparameters: { lr: startedAt.length } };
  const steps = [1, 2, 3].map((step) => ({ type: "step", step, metrics: { loss: 1 / step } }));
  writeFileSync(path, [run, ...steps].map((record) => `${JSON.stringify(record)}\n`).join(""));
  return path;
}
log("runs/late", "2026-03-02");
log("runs/early", "2026-03-01");
const single = log("other", "2026-03-03");

test("one page of all runs beneath the folders, the oldest first", () => {
  const { status, out, err } = nbit("runs", "--out", "both.html");
  assert.deepEqual([status, err], [0, ""]);
  assert.ok(out.indexOf("early") < out.indexOf("late"));
  assert.match(out, /^2 runs {2}.*both\.html$/m);
  const page = readFileSync(join(root, "both.html"), "utf8");
  assert.match(page, /<h1>runs<\/h1>/);
  assert.equal(page.match(/<td class="run">/g)?.length, 2);
});

test("without a folder: those of the working directory; a log itself; the newest alone", () => {
  assert.match(nbit().out, /^3 runs {2}.*report\.html$/m);
  assert.match(nbit(single, "-o", "one.html", "--title", "Mine").out, /^One run {2}/m);
  assert.match(readFileSync(join(root, "one.html"), "utf8"), /<h1>Mine<\/h1>/);
  const { out } = nbit("--last", "1");
  assert.ok(out.includes("other") && !out.includes("late"), out);
});

test("what is wrong is said by a code and a sentence", () => {
  mkdirSync(join(root, "empty"), { recursive: true });
  const none = nbit("empty");
  assert.equal(none.status, 2);
  assert.equal(
    none.err,
    withMore(
      "ERR_NO_RUN_LOG: nbit report: expected a run.jsonl in empty, or beneath. Received: none. A fit with a logger leaves one, unless runLog is false.",
    ),
  );
  assert.match(nbit("nowhere").err, /^ERR_ARGUMENT: .*Received: nowhere, where nothing is\.\nMore: /);
  assert.match(nbit("--last", "0").err, /^ERR_FLAG_VALUE: .*--last to be a whole number ≥ 1\. Received: 0\.\nMore: /);
  assert.match(nbit("--lsat", "1").err, /^ERR_FLAG: .*--last/);
  const damaged = join(root, "damaged.jsonl");
  writeFileSync(damaged, '{"type":"run","format":2,"precision":"32-true"}\n{oops\n');
  const { status, err } = nbit(damaged);
  assert.equal(status, 1);
  assert.match(err, /^ERR_RUN_LOG: .*damaged\.jsonl:2: expected a line of JSON\./);
});
