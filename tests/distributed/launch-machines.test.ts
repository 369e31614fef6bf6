/** Supervisors of several machines, which here are processes of one. */
import assert from "node:assert/strict";
import { connect } from "node:net";
import { test } from "node:test";
import { launch, type LaunchOptions } from "@nbit/torch/distributed/run";
import { freePort } from "../helpers/ranks.js";
import { gone, numbersAfter, Programs, type Ended, type Supervised } from "./supervised.js";

const programs = new Programs("launch-machines");
/** A test that takes longer hangs. */
const limit = { timeout: 120_000 };
const IDLE = `process.on("SIGTERM", () => process.exit(0)); setInterval(() => {}, 1000);`;

/** One supervisor per number of processes. */
async function machines(
  program: string,
  counts: readonly number[],
  options: Partial<LaunchOptions> = {},
): Promise<Supervised[]> {
  const masterPort = await freePort();
  return counts.map((n, nodeRank) =>
    programs.launch(program, { ...options, n, nnodes: counts.length, nodeRank, masterAddr: "127.0.0.1", masterPort }),
  );
}
const all = (runs: readonly Supervised[]): Promise<Ended[]> => Promise.all(runs.map((run) => run.ended));
const texts = (ended: readonly Ended[]): string => ended.map(({ stdout, stderr }) => stdout + stderr).join("\n---\n");

test("a failure on one machine ends the ranks of all, which all say why", limit, async () => {
  const runs = await machines(
    `${programs.meeting()}
console.log("pid", process.pid);
if (process.env.RANK !== "2") { ${IDLE} }
await meet();
if (process.env.RANK === "2") { console.error("the reason"); process.exitCode = 7; }
`,
    [1, 2],
  );
  const [first, second] = await all(runs);
  assert.ok(first !== undefined && second !== undefined);
  assert.deepEqual([first.code, second.code], [7, 7], texts([first, second]));
  assert.match(first.stderr, /^nbit: rank 2 \(process \d+\) ended with exit code 7, on machine 1\n$/);
  assert.match(
    second.stderr,
    /^\[rank 2\] the reason\nnbit: rank 2 \(process \d+\) ended with exit code 7, on machine 1\n$/,
  );
  await gone(numbersAfter("pid", first.stdout + second.stdout));
});

test("all machines start again together, with as many ranks as each has", limit, async () => {
  const runs = await machines(
    `${programs.meeting()}
const { RANK, WORLD_SIZE, LOCAL_RANK, LOCAL_WORLD_SIZE, GROUP_RANK, TORCHELASTIC_RESTART_COUNT: restart } = process.env;
if (restart === "0") { ${IDLE} }
await meet();
if (restart === "0" && RANK === "1") process.exit(1);
if (restart === "1") console.log([RANK, WORLD_SIZE, LOCAL_RANK, LOCAL_WORLD_SIZE, GROUP_RANK].join(" "));
`,
    [1, 2],
    { maxRestarts: 1 },
  );
  const [first, second] = await all(runs);
  assert.ok(first !== undefined && second !== undefined);
  assert.deepEqual([first.code, second.code], [0, 0], texts([first, second]));
  assert.equal(first.stdout, "0 3 0 1 0\n");
  assert.deepEqual(second.stdout.split("\n").sort(), ["", "[rank 1] 1 3 0 2 1", "[rank 2] 2 3 1 2 1"]);
  for (const { stderr } of [first, second])
    assert.match(stderr, /nbit: rank 1 .* on machine 1; all ranks start again \(restart 1 of 1\)\n/);
});

const ASKED = `
let asked = 0;
process.on("SIGTERM", () => { asked++; setTimeout(() => { console.log("asked", asked); process.exit(143); }, 300); });
console.log("ready");
setInterval(() => {}, 1000);
`;
for (const [name, which] of [
  ["one machine", [1]],
  ["every machine", [0, 1]],
] as const)
  test(`a signal to ${name} reaches all ranks, once`, limit, async () => {
    const runs = await machines(ASKED, [1, 1], { maxRestarts: 3 });
    await Promise.all(runs.map((run) => run.wrote("ready")));
    for (const machine of which) runs[machine]?.process.kill("SIGTERM");
    const ended = await all(runs);
    assert.deepEqual(
      ended.map(({ code }) => code),
      [143, 143],
      texts(ended),
    );
    assert.deepEqual(
      ended.map(({ stdout }) => numbersAfter("asked", stdout)),
      [[1], [1]],
    );
  });

for (const lost of [0, 1])
  test(`the others end when machine ${lost} is lost`, limit, async () => {
    const runs = await machines(`${IDLE} console.log("ready", process.pid);`, [1, 1], { maxRestarts: 3 });
    await Promise.all(runs.map((run) => run.wrote("ready")));
    runs[lost]?.process.kill("SIGKILL");
    const ended = await all(runs);
    assert.equal(ended[1 - lost]?.code, 1, texts(ended));
    assert.match(ended[1 - lost]?.stderr ?? "", new RegExp(`nbit: the connection to machine ${lost}\\b.* was lost`));
    await gone(numbersAfter("ready", texts(ended)));
  });

test("a signal ends a machine that waits for others", limit, async () => {
  const masterPort = await freePort();
  for (const nodeRank of [0, 1]) {
    const run = programs.run([
      programs.file(`
import { launch } from ${JSON.stringify(import.meta.resolve("@nbit/torch/distributed/run"))};
const ended = launch([process.execPath, "-e", "0"], { n: 1, nnodes: 2, nodeRank: ${nodeRank}, masterAddr: "127.0.0.1", masterPort: ${masterPort} });
while (process.listenerCount("SIGINT") === 0) await new Promise((resolve) => setTimeout(resolve, 10));
console.log("waits");
process.exitCode = await ended;
`),
    ]);
    await run.wrote("waits");
    run.process.kill("SIGINT");
    const { code, stderr } = await run.ended;
    assert.equal(code, 130, stderr);
  }
});

test("machines that do not agree are refused, and strangers are not heard", limit, async () => {
  const masterPort = await freePort();
  const shared = { n: 1, masterAddr: "127.0.0.1", masterPort };
  const command = [process.execPath, "-e", "process.exit(Number(process.env.WORLD_SIZE))"];
  const first = launch(command, { ...shared, nnodes: 3, nodeRank: 0 });
  await hearNothing(masterPort);
  const machine = (options: Partial<LaunchOptions>): Promise<number> =>
    launch(command, { ...shared, nnodes: 3, ...options });
  await assert.rejects(machine({ nnodes: 2, nodeRank: 1 }), {
    name: "ArgumentError",
    code: "ERR_LAUNCH_MACHINES",
    message: /expected machines that agree .* Received: nnodes 2 on machine 1, and 3 on machine 0\./,
  });
  // Whichever comes second is one too many.
  const twice = [machine({ nodeRank: 1 }), machine({ nodeRank: 1 })];
  const refused: unknown = await Promise.race(twice.map((run) => run.then(String, (error: unknown) => error)));
  assert.match(String(refused), /^ArgumentError: .* Received: nodeRank 1 twice\./);
  const results = await Promise.allSettled([first, ...twice, machine({ nodeRank: 2 })]);
  assert.deepEqual(
    results.flatMap((result) => (result.status === "fulfilled" ? [result.value] : [])),
    [3, 3, 3],
  );
});

/** Connects as a stranger, as soon as somebody listens, and waits until the connection is closed. */
async function hearNothing(port: number): Promise<void> {
  for (let connected = false; !connected;) {
    const stranger = connect(port, "127.0.0.1", () => {
      connected = true;
      stranger.write("GET / HTTP/1.1\r\n\r\n");
    });
    stranger.on("error", () => undefined).resume();
    await new Promise((resolve) => stranger.on("close", resolve));
  }
}
