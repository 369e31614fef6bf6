import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { createServer } from "node:net";
import { availableParallelism } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { launch } from "@nbit/torch/distributed/run";
import { gone, numbersAfter, Programs } from "./supervised.js";

const programs = new Programs("launch");
/** A test that takes longer hangs. */
const limit = { timeout: 120_000 };

const NAMES =
  "RANK WORLD_SIZE LOCAL_RANK LOCAL_WORLD_SIZE GROUP_RANK GROUP_WORLD_SIZE MASTER_ADDR OMP_NUM_THREADS NBIT_LAUNCHER NBIT_STORE_FD TORCHELASTIC_RESTART_COUNT TORCHELASTIC_USE_AGENT_STORE TORCHELASTIC_RUN_ID MINE";
const PRINT_VARIABLES = `
console.log(${JSON.stringify(NAMES)}.split(" ").map((name) => process.env[name] ?? "-").join(" "));
console.log("port", process.env.MASTER_PORT);
`;
const line = (text: string, pattern: RegExp): string => pattern.exec(text)?.[1] ?? "";

test("every rank gets torchrun's variables, and the same port", limit, async () => {
  const run = programs.launch(
    PRINT_VARIABLES,
    { n: 2, env: { MINE: "yes", OMP_NUM_THREADS: undefined } },
    { TORCHELASTIC_RUN_ID: "another launcher's", TORCHELASTIC_USE_AGENT_STORE: "True", NBIT_STORE_FD: "9" },
  );
  const { code, stdout, stderr } = await run.ended;
  assert.equal(code, 0, stderr);
  const threads = process.env["OMP_NUM_THREADS"] ?? String(Math.max(1, Math.floor(availableParallelism() / 2)));
  assert.equal(line(stdout, /^(0 .*)$/m), `0 2 0 2 0 1 127.0.0.1 ${threads} 1 3 0 False - yes`);
  assert.equal(line(stdout, /^\[rank 1\] (1 .*)$/m), `1 2 1 2 0 1 127.0.0.1 ${threads} 1 - 0 False - yes`);
  const ports = numbersAfter("port", stdout);
  assert.equal(ports.length, 2);
  assert.ok(ports[0] === ports[1] && Number(ports[0]) > 1023);
});

test("cores are shared out where OMP_NUM_THREADS is not set, and it counts where it is", limit, async () => {
  const program = `console.log("threads", process.env.OMP_NUM_THREADS);`;
  const supervisor = (env: string): string =>
    `import { launch } from ${JSON.stringify(import.meta.resolve("@nbit/torch/distributed/run"))};
     ${env}
     process.exitCode = await launch([process.execPath, ${JSON.stringify(programs.file(program))}], { n: 2 });`;
  const unset = await programs.run([programs.file(supervisor("delete process.env.OMP_NUM_THREADS;"))]).ended;
  const shared = Math.max(1, Math.floor(availableParallelism() / 2));
  assert.deepEqual(numbersAfter("threads", unset.stdout), [shared, shared], unset.stderr);
  const set = await programs.run([programs.file(supervisor(`process.env.OMP_NUM_THREADS = "5";`))]).ended;
  assert.deepEqual(numbersAfter("threads", set.stdout), [5, 5], set.stderr);
});

test("rank 0 is handed the socket of the store: a connection made before it accepts is its own", limit, async () => {
  const run = programs.launch(
    `
import { createServer, connect } from "node:net";
const port = Number(process.env.MASTER_PORT);
if (process.env.RANK === "0") {
  await new Promise((resolve) => setTimeout(resolve, 300));
  const server = createServer((socket) => { socket.end("the store of rank 0"); server.close(); });
  server.listen({ fd: Number(process.env.NBIT_STORE_FD) });
} else {
  connect(port, process.env.MASTER_ADDR).setEncoding("utf8").on("data", (text) => console.log(text));
}
`,
    { n: 2 },
  );
  const { code, stdout, stderr } = await run.ended;
  assert.deepEqual([code, stdout], [0, "[rank 1] the store of rank 0\n"], stderr);
});

test("one rank that fails ends all; its code is the run's, and its error stands last", limit, async () => {
  const run = programs.launch(
    `${programs.meeting()}
console.log("pid", process.pid);
const { RANK } = process.env;
if (RANK === "2") {
  await meet();
  console.error("the reason\\nin two lines");
  process.exitCode = 7;
} else {
  process.on("SIGTERM", () => { console.error("told to end"); process.exit(0); });
  setInterval(() => {}, 1000);
  await meet();
}
`,
    { n: 3, graceMs: 60_000 },
  );
  const { code, stdout, stderr } = await run.ended;
  assert.equal(code, 7, stderr);
  const told = stderr.split("\n").filter((text) => text.includes("told to end"));
  assert.deepEqual(told.sort(), ["[rank 0] told to end", "[rank 1] told to end"]);
  assert.match(
    stderr,
    /\nnbit: rank 2 \(process \d+\) ended with exit code 7\. Its last lines:\n\[rank 2\] the reason\n\[rank 2\] in two lines\n$/,
  );
  const pids = numbersAfter("pid", stdout);
  assert.equal(pids.length, 3);
  await gone(pids);
});

test("its error is not shown twice when nothing came after it", limit, async () => {
  const run = programs.launch(
    `if (process.env.RANK === "1") throw new Error("only once"); else setInterval(() => {}, 1000);`,
    { n: 2 },
  );
  const { code, stderr } = await run.ended;
  assert.equal(code, 1);
  assert.equal(stderr.split("Error: only once").length, 2, stderr);
  assert.match(stderr, /\nnbit: rank 1 \(process \d+\) ended with exit code 1\n$/);
});

test("a rank that is killed ends all, and is the one that is blamed", limit, async () => {
  const run = programs.launch(
    `
import { connect, createServer } from "node:net";
console.log("rank", process.env.RANK, "pid", process.pid);
if (process.env.RANK === "0") {
  createServer((socket) => {
    console.log("connected");
    socket.resume().on("close", () => { console.error("lost rank 1"); process.exit(4); });
  }).listen({ fd: 3 });
} else connect(Number(process.env.MASTER_PORT), "127.0.0.1");
`,
    { n: 2 },
  );
  await run.wrote("connected");
  await run.wrote("pid", 2);
  const [first, second] = [/rank 0 pid (\d+)/, /rank 1 pid (\d+)/].map((of) => Number(line(run.written(), of)));
  assert.ok(first !== undefined && second !== undefined);
  process.kill(second, "SIGKILL");
  const { code, stderr } = await run.ended;
  assert.match(
    stderr,
    /(?:^|\n)nbit: rank 1 \(process \d+\) was ended by SIGKILL, as the kernel does when memory runs out\n$/,
  );
  assert.equal(code, 137);
  await gone([first, second]);
});

test("a rank that only complains of another is not blamed, though it ends first", limit, async () => {
  const run = programs.launch(
    `
import { connect, createServer } from "node:net";
const fail = (code) => { throw Object.assign(new Error("failed"), { code }); };
if (process.env.RANK === "0") {
  createServer((socket) => socket.on("data", () => fail("ERR_DIST_PEER_FAILED"))).listen({ fd: 3 });
} else {
  // Ends when it sees that rank 0 has.
  const socket = connect(Number(process.env.MASTER_PORT), "127.0.0.1", () => socket.write("help"));
  socket.on("error", () => undefined).on("close", () => fail("ERR_OWN"));
}
`,
    { n: 2, graceMs: 20_000 },
  );
  const { code, stderr } = await run.ended;
  assert.equal(code, 1);
  assert.match(stderr, /code: 'ERR_OWN'[^]*\nnbit: rank 1 \(process \d+\) ended with exit code 1\n$/);
});

test("where all complain, the first is blamed", limit, async () => {
  const { code, stderr } = await programs.launch(
    `if (process.env.RANK === "1") throw Object.assign(new Error("failed"), { code: "ERR_DIST_PEER_LOST" });
setInterval(() => {}, 1000);`,
    { n: 2, graceMs: 200 },
  ).ended;
  assert.equal(code, 1);
  assert.match(stderr, /nbit: rank 1 \(process \d+\) ended with exit code 1\n$/);
});

test("a rank that takes no notice of SIGTERM is killed, with what it has started", limit, async () => {
  const run = programs.launch(
    `${programs.meeting()}
import { spawn } from "node:child_process";
if (process.env.RANK === "0") {
  const helper = spawn("sleep", ["1000"], { stdio: "inherit" });
  process.on("SIGTERM", () => console.log("not now"));
  console.log("pid", process.pid, "pid", helper.pid);
  setInterval(() => {}, 1000);
}
await meet();
if (process.env.RANK === "1") process.exit(3);
`,
    { n: 2, graceMs: 200 },
  );
  const { code, stdout, stderr } = await run.ended;
  assert.equal(code, 3, stderr);
  assert.match(stdout, /not now/);
  const pids = numbersAfter("pid", stdout);
  assert.equal(pids.length, 2);
  await gone(pids);
});

test("whole lines of all ranks, however they come; what has no end gets one", limit, async () => {
  const run = programs.launch(
    `
const { RANK } = process.env;
const write = (stream, text) => new Promise((resolve) => stream.write(text, resolve));
for (let i = 0; i < 20; i++) {
  await write(process.stderr, "rank " + RANK);
  await new Promise((resolve) => setTimeout(resolve, 3));
  await write(process.stderr, " says " + i + "\\n" + (i === 19 ? "end of " + RANK : ""));
}
if (RANK !== "0") await write(process.stdout, "x".repeat(200_000) + "\\nbehind it");
`,
    { n: 3 },
  );
  const { code, stdout, stderr } = await run.ended;
  assert.equal(code, 0, stderr);
  const expected = [0, 1, 2].map((rank) => [
    ...Array.from({ length: 20 }, (_, i) => `[rank ${rank}] rank ${rank} says ${i}`),
    `[rank ${rank}] end of ${rank}`,
  ]);
  const lines = stderr.split("\n");
  assert.equal(lines.pop(), "");
  assert.deepEqual(
    [0, 1, 2].map((rank) => lines.filter((text) => text.startsWith(`[rank ${rank}] `))),
    expected,
  );
  assert.equal(lines.length, 63);
  for (const rank of [1, 2]) {
    const own = stdout.split("\n").filter((text) => text.startsWith(`[rank ${rank}] `));
    assert.equal(own.pop(), `[rank ${rank}] behind it`);
    assert.equal(own.map((text) => text.slice(`[rank ${rank}] `.length)).join(""), "x".repeat(200_000));
  }
});

test("one rank alone writes for itself", limit, async () => {
  const { code, stdout, stderr } = await programs.launch(
    `console.log(process.env.RANK, process.env.WORLD_SIZE); console.error("as it is"); process.exitCode = 5;`,
    { n: 1 },
  ).ended;
  assert.deepEqual([code, stdout, stderr], [5, "0 1\n", "as it is\n"]);
});

test("a folder of logs has what each rank wrote; the screen has rank 0 and all errors", limit, async () => {
  const logDir = join(programs.folder, "logs", "run");
  const { code, stdout, stderr } = await programs.launch(
    `console.log("result", process.env.RANK); console.error("problem", process.env.RANK);`,
    { n: 2, logDir },
  ).ended;
  assert.equal(code, 0, stderr);
  for (const rank of [0, 1])
    assert.deepEqual(
      readFileSync(join(logDir, `rank-${rank}.log`), "utf8")
        .split("\n")
        .sort(),
      ["", `problem ${rank}`, `result ${rank}`],
    );
  assert.equal(stdout, "result 0\n");
  assert.deepEqual(stderr.split("\n").sort(), ["", "[rank 0] problem 0", "[rank 1] problem 1"]);
});

test("quiet drops what ranks above 0 write to stdout", limit, async () => {
  const { stdout, stderr } = await programs.launch(
    `console.log("result", process.env.RANK); console.error("problem", process.env.RANK);`,
    { n: 2, quiet: true },
  ).ended;
  assert.equal(stdout, "result 0\n");
  assert.deepEqual(stderr.split("\n").sort(), ["", "[rank 0] problem 0", "[rank 1] problem 1"]);
});

const FAILS_AT_FIRST = `
const { RANK, TORCHELASTIC_RESTART_COUNT: restart } = process.env;
console.log("rank", RANK, "restart", restart);
if (RANK === "1" && Number(restart) < 2) throw new Error("not yet");
if (Number(restart) < 2) setInterval(() => {}, 1000);
`;
test("a failure starts all ranks again, as often as is allowed", limit, async () => {
  const { code, stdout, stderr } = await programs.launch(FAILS_AT_FIRST, { n: 2, maxRestarts: 2 }).ended;
  assert.equal(code, 0, stderr);
  assert.deepEqual(
    stdout
      .split("\n")
      .filter((text) => text.startsWith("[rank 1]"))
      .map((text) => Number(text.at(-1))),
    [0, 1, 2],
  );
  assert.match(
    stderr,
    /\nnbit: rank 1 \(process \d+\) ended with exit code 1; all ranks start again \(restart 2 of 2\)\n/,
  );
});

test("and no more often", limit, async () => {
  const { code, stdout, stderr } = await programs.launch(FAILS_AT_FIRST, { n: 2, maxRestarts: 1 }).ended;
  assert.equal(code, 1);
  assert.equal(stdout.split("[rank 1]").length, 3);
  assert.match(stderr, /\nnbit: rank 1 \(process \d+\) ended with exit code 1\n$/);
});

test("several machines: ranks follow each other, and the store is where it was said to be", limit, async () => {
  const free = await new Promise<number>((resolve) => {
    const server = createServer().listen(0, "127.0.0.1", () => {
      const address = server.address();
      server.close(() => resolve(typeof address === "object" && address !== null ? address.port : 0));
    });
  });
  const program = `
import { createServer, connect } from "node:net";
const { RANK, GROUP_RANK, LOCAL_RANK, WORLD_SIZE, GROUP_WORLD_SIZE, MASTER_ADDR, MASTER_PORT, NBIT_STORE_FD } = process.env;
const rank = Number(RANK);
if (rank === 0) {
  let left = 3;
  const server = createServer((socket) => { socket.resume().end("hello"); if (--left === 0) server.close(); });
  server.listen({ fd: Number(NBIT_STORE_FD) });
} else {
  const open = () => connect(Number(MASTER_PORT), MASTER_ADDR).on("error", () => setTimeout(open, 50)).on("data", () => {
    console.log([RANK, GROUP_RANK, LOCAL_RANK, WORLD_SIZE, GROUP_WORLD_SIZE].join(" "));
  });
  open();
}
`;
  const runs = [1, 0].map((nodeRank) =>
    programs.launch(program, { n: 2, nnodes: 2, nodeRank, masterAddr: "localhost", masterPort: free }),
  );
  const [second, first] = await Promise.all(runs.map((run) => run.ended));
  assert.deepEqual([first?.code, second?.code], [0, 0], `${first?.stderr}${second?.stderr}`);
  assert.equal(first?.stdout, "[rank 1] 1 0 1 4 2\n");
  assert.deepEqual(second?.stdout.split("\n").sort(), ["", "[rank 2] 2 1 0 4 2", "[rank 3] 3 1 1 4 2"]);
});

const node = [process.execPath, "-e", "throw new Error('started')"];
for (const [name, options, command, code, message] of [
  [
    "no process",
    { n: 0 },
    node,
    "ERR_ARGUMENT",
    /launch: expected n to be a whole number from 1 to 65536\. Received: 0\./,
  ],
  ["no number", { n: "2" }, node, "ERR_ARGUMENT", /expected n to be a whole number/],
  ["no n", {}, node, "ERR_ARGUMENT", /expected n to be a whole number/],
  ["an unknown option", { n: 1, nodes: 2 }, node, "ERR_ARGUMENT", /expected the option nnodes\. Received: "nodes"\./],
  ["no command", { n: 1 }, [], "ERR_ARGUMENT", /expected command to be a program and its arguments/],
  [
    "a program that is not there",
    { n: 1 },
    ["no-such-program"],
    "ERR_LAUNCH_COMMAND",
    /expected a command that can be run\. Received: "no-such-program"\./,
  ],
  ["a path that is not there", { n: 1 }, ["./no-such-program"], "ERR_LAUNCH_COMMAND", /"\.\/no-such-program"/],
  [
    "a folder that is not there",
    { n: 1, cwd: "no-such-folder" },
    node,
    "ERR_ARGUMENT",
    /expected cwd to be a folder\. Received: "no-such-folder"\./,
  ],
  [
    "several machines that cannot meet",
    { n: 1, nnodes: 2, nodeRank: 0 },
    node,
    "ERR_ARGUMENT",
    /expected nodeRank and masterAddr, .*Received: nnodes 2, nodeRank 0, masterAddr null\./,
  ],
  [
    "a machine too many",
    { n: 1, nnodes: 2, nodeRank: 2, masterAddr: "localhost" },
    node,
    "ERR_ARGUMENT",
    /expected nodeRank to be less than nnodes/,
  ],
  [
    "a host that nobody knows",
    { n: 1, nnodes: 2, nodeRank: 1, masterAddr: "no-such-host.invalid" },
    node,
    "ERR_LAUNCH_HOST",
    /expected masterAddr to be a host that this machine knows\. Received: "no-such-host\.invalid": /,
  ],
] as const)
  test(`${name} is refused before anything starts`, limit, async () => {
    await assert.rejects(async () => Reflect.apply(launch, undefined, [command, options]), {
      name: "ArgumentError",
      code,
      message,
    });
  });

test("a port that is taken is refused before anything starts", limit, async () => {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const address = server.address();
  const masterPort = typeof address === "object" && address !== null ? address.port : 0;
  try {
    await assert.rejects(launch(node, { n: 1, masterPort }), {
      code: "ERR_LAUNCH_PORT",
      message: `launch: expected masterPort to be free. Received: port ${masterPort} of 127.0.0.1: EADDRINUSE. Another program listens there: choose another port, or leave it out on one machine.`,
    });
  } finally {
    server.close();
  }
});

test("a folder that logs cannot be in is refused before anything starts", limit, async () => {
  await assert.rejects(launch(node, { n: 1, logDir: join(programs.file("", "a-file"), "logs") }), {
    name: "FileError",
    code: "ENOTDIR",
  });
});
