import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { join } from "node:path";
import { test } from "node:test";
import { Programs, watch } from "./supervised.js";

const programs = new Programs("relaunch");
/** A test that takes longer hangs. */
const limit = { timeout: 120_000 };
const entry = JSON.stringify(import.meta.resolve("@nbit/torch/distributed/run"));

test("a program runs once more per rank, from where it was started, with its flags and arguments", limit, async () => {
  const program = programs.file(`${programs.meeting()}
import { tmpdir } from "node:os";
import { clusterEnvironment, relaunch } from ${entry};
const place = clusterEnvironment();
console.log("top level", place?.rank ?? "supervisor", process.cwd(), process.argv.slice(2).join(" "), typeof globalThis.gc);
if (place === null) {
  process.chdir(tmpdir());
  process.exit(await relaunch(2));
}
await meet();
process.exitCode = place.rank === 1 ? 6 : 0;
`);
  const { code, stdout, stderr } = await programs.run(["--expose-gc", program, "--lr", "0.1"]).ended;
  assert.equal(code, 6, stderr);
  const rest = `${programs.folder} --lr 0.1 function`;
  assert.deepEqual(stdout.split("\n").sort(), [
    "",
    `[rank 1] top level 1 ${rest}`,
    `top level 0 ${rest}`,
    `top level supervisor ${rest}`,
  ]);
});

test("a program given as text runs again, too", limit, async () => {
  const text = `
import { clusterEnvironment, relaunch } from ${entry};
if (clusterEnvironment() === null) process.exit(await relaunch(1)); else console.log("rank", process.env.RANK);`;
  const { code, stdout, stderr } = await programs.run(["--input-type=module", "-e", text]).ended;
  assert.deepEqual([code, stdout], [0, "rank 0\n"], stderr);
});

test("a debugger has a port of its own in each rank", limit, async () => {
  const program = programs.file(`
import { url } from "node:inspector";
import { clusterEnvironment, relaunch } from ${entry};
if (clusterEnvironment() === null) process.exit(await relaunch(2));
console.log("debugger", new URL(url()).port);
`);
  const { code, stdout, stderr } = await programs.run(["--inspect=127.0.0.1:19341", program]).ended;
  assert.equal(code, 0, stderr);
  assert.deepEqual(stdout.split("\n").sort(), ["", "[rank 1] debugger 19343", "debugger 19342"]);
});

const CALL = `
const { relaunch } = await import(${entry});
try { await relaunch(2); } catch (error) { console.log(error.code + " " + error.message); }`;

test("what cannot be started again is refused", limit, async () => {
  const refusal =
    /^ERR_LAUNCH_COMMAND relaunch: expected a program that can be started again for each rank\. Received: /;
  const stdin = spawn(process.execPath, ["--input-type=module", "-"], { stdio: ["pipe", "pipe", "pipe"] });
  stdin.stdin.end(CALL);
  assert.match(
    (await watch(stdin).ended).stdout,
    new RegExp(`${refusal.source}a program from standard input, or a REPL\\.`),
  );
  const rank = await programs.run([programs.file(CALL)], { NBIT_LAUNCHER: "1" }).ended;
  assert.match(rank.stdout, new RegExp(`${refusal.source}one of the ranks\\.`));
  const worker = await programs.run([
    programs.file(`import { Worker } from "node:worker_threads"; new Worker(${JSON.stringify(programs.file(CALL))});`),
  ]).ended;
  assert.match(worker.stdout, new RegExp(`${refusal.source}a worker thread\\.`));
  const removed = await programs.run([
    programs.file(`import { rmSync } from "node:fs"; rmSync(process.argv[1]);${CALL}`, "removed.mjs"),
  ]).ended;
  assert.match(
    removed.stdout,
    new RegExp(`${refusal.source}${join(programs.folder, "removed.mjs")}, which does not exist\\.`),
  );
});

test("a wrong number of processes is refused", limit, async () => {
  const { stdout } = await programs.run([programs.file(CALL.replace("relaunch(2)", "relaunch(0)"))]).ended;
  assert.equal(stdout, "ERR_ARGUMENT relaunch: expected n to be a whole number from 1 to 65536. Received: 0.\n");
});
