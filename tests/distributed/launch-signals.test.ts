import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { existsSync, readFileSync } from "node:fs";
import { test } from "node:test";
import { gone, numbersAfter, Programs, watch } from "./supervised.js";

const programs = new Programs("launch-signals");
/** A test that takes longer hangs. */
const limit = { timeout: 120_000 };

/** Counts the signals that it gets, and ends in its own time with the status that says which. */
const PATIENT = `
import { constants } from "node:os";
let asked = 0;
for (const name of ["SIGINT", "SIGTERM", "SIGHUP"])
  process.on(name, () => {
    asked++;
    console.log(name, "came");
    // Rank 0 takes longer than any grace period of a failure: it writes the checkpoint.
    setTimeout(() => {
      console.log("rank " + process.env.RANK + " asked " + asked);
      process.exit(128 + constants.signals[name]);
    }, process.env.RANK === "0" ? 600 : 100);
  });
console.log("ready", process.pid);
setInterval(() => {}, 1000);
`;
const STUBBORN = `
for (const name of ["SIGINT", "SIGTERM", "SIGHUP"]) process.on(name, () => console.log(name, "came"));
console.log("ready", process.pid);
setInterval(() => {}, 1000);
`;

for (const [signal, code] of [
  ["SIGINT", 130],
  ["SIGTERM", 143],
  ["SIGHUP", 129],
] as const)
  test(`${signal} is handed on once, and the ranks end in their own time`, limit, async () => {
    const run = programs.launch(PATIENT, { n: 2, graceMs: 50 });
    await run.wrote("ready", 2);
    run.process.kill(signal);
    const ended = await run.ended;
    assert.deepEqual([ended.code, ended.signal], [code, null], ended.stderr);
    assert.match(ended.stdout, /^rank 0 asked 1$/m);
    assert.match(ended.stdout, /^\[rank 1\] rank 1 asked 1$/m);
    assert.equal(ended.stderr, "");
    await gone(numbersAfter("ready", ended.stdout));
  });

test("a second signal kills what has not ended", limit, async () => {
  const run = programs.launch(STUBBORN, { n: 2 });
  await run.wrote("ready", 2);
  run.process.kill("SIGINT");
  await run.wrote("SIGINT came", 2);
  run.process.kill("SIGTERM");
  const ended = await run.ended;
  assert.equal(ended.code, 130, ended.stderr); // of the first
  await gone(numbersAfter("ready", ended.stdout));
});

test("ranks that end well in spite of a signal have ended well", limit, async () => {
  const run = programs.launch(
    `process.on("SIGTERM", () => process.exit(0)); console.log("ready", process.pid); setInterval(() => {}, 1000);`,
    { n: 2 },
  );
  await run.wrote("ready", 2);
  run.process.kill("SIGTERM");
  assert.equal((await run.ended).code, 0);
});

test("after a signal nothing is started again; a rank that fails then ends the rest", limit, async () => {
  const run = programs.launch(
    `
process.on("SIGTERM", () => {
  if (process.env.RANK === "1") throw new Error("could not write");
});
console.log("ready", process.pid);
setInterval(() => {}, 1000);
`,
    { n: 2, maxRestarts: 3, interruptGraceMs: 100 },
  );
  await run.wrote("ready", 2);
  run.process.kill("SIGTERM");
  const ended = await run.ended;
  assert.equal(ended.code, 1, ended.stderr);
  assert.match(ended.stderr, /Error: could not write[^]*\nnbit: rank 1 \(process \d+\) ended with exit code 1\n$/);
  await gone(numbersAfter("ready", ended.stdout));
});

test("a rank that ends with an error after a signal leaves the others time for their checkpoint", limit, async () => {
  const run = programs.launch(
    `
process.on("SIGTERM", () => {
  if (process.env.RANK === "1") throw new Error("interrupted");
  setTimeout(() => { console.log("written"); process.exit(143); }, 500);
});
console.log("ready", process.pid);
setInterval(() => {}, 1000);
`,
    { n: 2, graceMs: 0 },
  );
  await run.wrote("ready", 2);
  run.process.kill("SIGTERM");
  const ended = await run.ended;
  assert.equal(ended.code, 1, ended.stderr);
  assert.match(ended.stdout, /^written$/m);
});

test("ranks end when their supervisor is killed, with what they have started", limit, async () => {
  const run = programs.launch(
    `
import { spawn } from "node:child_process";
process.on("SIGTERM", () => {}); // takes no notice
const helper = spawn("sleep", ["1000"], { stdio: "ignore" });
console.log("ready", process.pid, "ready", helper.pid);
setInterval(() => {}, 1000);
`,
    { n: 2 },
  );
  await run.wrote("ready", 4);
  run.process.kill("SIGKILL");
  const pids = numbersAfter("ready", run.written());
  assert.equal(pids.length, 4);
  await gone(pids);
});

test("Ctrl-Z stops all ranks, and fg continues them", limit, async () => {
  const run = programs.launch(
    `console.log("ready", process.pid); setInterval(() => console.log("tick"), 50); setTimeout(() => process.exit(0), 1500);`,
    { n: 2 },
  );
  await run.wrote("ready", 2);
  const pids = [run.process.pid ?? 0, ...numbersAfter("ready", run.written())];
  process.kill(run.process.pid ?? 0, "SIGTSTP");
  const state = (pid: number): string => /\) (\w)/.exec(readFileSync(`/proc/${pid}/stat`, "utf8"))?.[1] ?? "";
  while (pids.some((pid) => state(pid) !== "T")) await new Promise((resolve) => setTimeout(resolve, 10));
  process.kill(run.process.pid ?? 0, "SIGCONT");
  assert.equal((await run.ended).code, 0);
});

const python = ["/usr/bin/python3", "/usr/local/bin/python3"].find((path) => existsSync(path));
test(
  "Ctrl-C in a terminal reaches every rank once, and rank 0 has the terminal",
  { ...limit, skip: python === undefined && "no python3, which makes the terminal" },
  async () => {
    const supervisor = programs.file(
      `import { launch } from ${JSON.stringify(import.meta.resolve("@nbit/torch/distributed/run"))};
       process.exitCode = await launch([process.execPath, ${JSON.stringify(programs.file(`${PATIENT}\nconsole.log("rank " + process.env.RANK + " terminal " + (process.stdout.isTTY === true));`))}], { n: 2 });`,
    );
    const terminal = `
import os, pty, sys
pid, fd = pty.fork()
if pid == 0: os.execv(sys.argv[1], sys.argv[1:])
text, sent = b"", False
while True:
    try: part = os.read(fd, 65536)
    except OSError: break
    if not part: break
    text += part
    if not sent and text.count(b"terminal") == 2:
        sent = True
        os.write(fd, b"\\x03")
sys.stdout.buffer.write(text)
sys.exit(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
`;
    const run = watch(
      spawn(python ?? "", ["-c", terminal, process.execPath, supervisor], {
        env: { ...process.env, NO_COLOR: "1", FORCE_COLOR: "0", NODE_DISABLE_COLORS: "1" },
        stdio: ["ignore", "pipe", "pipe"],
      }),
    );
    const ended = await run.ended;
    assert.equal(ended.code, 130, ended.stderr);
    const text = ended.stdout.replaceAll("\r", "");
    assert.match(text, /^rank 0 terminal true$/m);
    assert.match(text, /rank 1 terminal false$/m);
    assert.match(text, /rank 0 asked 1$/m);
    assert.match(text, /rank 1 asked 1$/m);
  },
);
