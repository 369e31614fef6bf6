import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { createServer } from "node:net";
import { join } from "node:path";
import { after, test } from "node:test";
import { fileURLToPath } from "node:url";
import { readArguments } from "../arguments/read.js";
import type { FlagValue } from "../command.js";
import { run } from "../commands/launch.js";
import { CommandError } from "../errors.js";
import { launchOptions } from "./flags.js";
import { withMore } from "../testing/with-more.js";

const bin = fileURLToPath(new URL("../../bin/nbit.mjs", import.meta.url));
const build = fileURLToPath(new URL("../../../../build", import.meta.url)); // inside the workspace, where @nbit/… is found
mkdirSync(build, { recursive: true });
const folder = mkdtempSync(join(build, "cli-"));
after(() => rmSync(folder, { recursive: true, force: true }));
const file = (name: string, text: string): void => writeFileSync(join(folder, name), text);

interface Result {
  readonly status: number;
  readonly stdout: string;
  readonly stderr: string;
}
function nbit(args: readonly string[], env: NodeJS.ProcessEnv = {}): Promise<Result> {
  return new Promise((resolve) => {
    const options = { cwd: folder, env: { ...process.env, ...env }, timeout: 120_000 };
    execFile(process.execPath, [bin, "run", ...args], options, (error, stdout, stderr) =>
      resolve({ status: typeof error?.code === "number" ? error.code : error === null ? 0 : -1, stdout, stderr }),
    );
  });
}

interface Parsed {
  readonly help: boolean;
  readonly script: string | null;
  readonly args: readonly string[];
  readonly options: Readonly<Record<string, FlagValue>>;
}
function parse(args: readonly string[], env: Readonly<Record<string, string | undefined>>): Parsed {
  const call = readArguments(run, args);
  return { help: call.help, script: call.words[0] ?? null, args: call.rest, options: launchOptions(call, env) };
}

test("flags before the script are its own, what comes after belongs to the script", () => {
  assert.deepEqual(
    parse(
      ["-n", "2", "--nnodes=3", "--node-rank", "1", "--master-addr", "a", "--quiet", "train.ts", "-n", "9", "--help"],
      {},
    ),
    {
      help: false,
      script: "train.ts",
      args: ["-n", "9", "--help"],
      options: { n: 2, nnodes: 3, nodeRank: 1, masterAddr: "a", quiet: true },
    },
  );
  assert.deepEqual(parse(["--nproc_per_node", "2", "--max-restarts=1", "--log-dir=d", "--", "-x.js", "y"], {}), {
    help: false,
    script: "-x.js",
    args: ["y"],
    options: { n: 2, maxRestarts: 1, logDir: "d" },
  });
  assert.equal(parse(["-h"], {}).help, true);
});

test("torchrun's variables say what flags do not", () => {
  const env = {
    PET_NPROC_PER_NODE: "4",
    PET_NNODES: "2",
    PET_NODE_RANK: "1",
    PET_MASTER_ADDR: "m",
    PET_MASTER_PORT: "1",
    PET_MAX_RESTARTS: "",
  };
  assert.deepEqual(parse(["-n", "2", "a.js"], env).options, {
    n: 2,
    nnodes: 2,
    nodeRank: 1,
    masterAddr: "m",
    masterPort: 1,
  });
});

test("Kubernetes' variables for a single pod say nothing that matters", () => {
  const env = {
    PET_NPROC_PER_NODE: "auto",
    PET_NNODES: "1",
    PET_NODE_RANK: "0",
    PET_MASTER_ADDR: "m",
    PET_MASTER_PORT: "1",
  };
  assert.deepEqual(parse(["a.js"], env).options, { nnodes: 1, nodeRank: 0 });
  assert.deepEqual(parse(["-n", "2", "--nnodes=2", "a.js"], { ...env, PET_NNODES: "1:4" }).options, {
    n: 2,
    nnodes: 2,
    nodeRank: 0,
    masterAddr: "m",
    masterPort: 1,
  });
});

for (const [args, code, message] of [
  [
    ["--nprocs", "2"],
    "ERR_FLAG",
    "nbit run: expected a flag that it knows. Received: --nprocs. `nbit run --help` lists them; flags of the script come after it.",
  ],
  [
    ["--node-ranks=2"],
    "ERR_FLAG",
    "nbit run: expected --node-rank. Received: --node-ranks. `nbit run --help` lists them; flags of the script come after it.",
  ],
  [["-n", "two"], "ERR_FLAG_VALUE", 'nbit run: expected -n to be a number. Received: "two".'],
  [
    ["--nnodes"],
    "ERR_FLAG_VALUE",
    "nbit run: expected a value after --nnodes (machines). Received: the end of the line.",
  ],
  [["--quiet=1"], "ERR_FLAG_VALUE", 'nbit run: expected --quiet to be true or false. Received: "1".'],
] as const)
  test(`run ${args.join(" ")} is refused`, () => {
    assert.throws(
      () => parse(args, {}),
      (error: unknown) => error instanceof CommandError && error.code === code && error.message === message,
    );
  });

test("a script in TypeScript with its neighbour runs once per rank, with its arguments", async () => {
  file("place.ts", `export const place = (rank: string | undefined): string => "rank " + rank;\n`);
  file(
    "train.ts",
    `import { clusterEnvironment } from "@nbit/torch/distributed/run";
import { place } from "./place.js";
enum Kind { Enums = 3 } // which no stripping of types can read
console.log(place(process.env["RANK"]), clusterEnvironment()?.launcher, process.argv.slice(2).join(" "), Kind.Enums);
`,
  );
  const { status, stdout, stderr } = await nbit(["-n", "2", "train.ts", "--lr", "1"]);
  assert.equal(status, 0, stderr);
  assert.deepEqual(stdout.split("\n").sort(), ["", "[rank 1] rank 1 nbit --lr 1 3", "rank 0 nbit --lr 1 3"]);
});

test("its status is that of the rank that failed, and logs stand in their folder", async () => {
  file(
    "fail.mjs",
    `console.log("here"); if (process.env.RANK === "1") process.exit(9); else setInterval(() => {}, 1000);`,
  );
  const { status, stderr } = await nbit(["-n", "2", "--log-dir", "logs", "fail.mjs"]);
  assert.equal(status, 9, stderr);
  assert.match(stderr, /nbit: rank 1 \(process \d+\) ended with exit code 9\n$/);
  assert.equal(readFileSync(join(folder, "logs", "rank-1.log"), "utf8"), "here\n");
});

test("a wrong call is one message with its code, and status 2", async () => {
  file("fine.mjs", "");
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const address = server.address();
  const port = typeof address === "object" && address !== null ? address.port : 0;
  const cases: readonly (readonly [readonly string[], string])[] = [
    [
      ["-n", "2"],
      "ERR_FILE: nbit run: expected a module file, such as train.ts. Received: none. `nbit run --help` shows an example.",
    ],
    [
      ["-n", "2", "absent.ts"],
      "ERR_FILE: nbit run: expected a module file. Received: absent.ts, which does not exist.",
    ],
    [["fine.mjs"], "ERR_FLAG_VALUE: nbit run: expected -n to be how many processes to run, ≥ 1. Received: none."],
    [
      ["-n", "0", "fine.mjs"],
      "ERR_FLAG_VALUE: nbit run: expected -n to be how many processes to run, ≥ 1. Received: 0.",
    ],
    [
      ["-n", "1", "--nnodes", "2", "fine.mjs"],
      "ERR_ARGUMENT: nbit run: expected --node-rank and --master-addr, where several machines take part. Received: --nnodes 2, --node-rank null, --master-addr null. Machine 0 is the one at --master-addr; the others are 1, 2 and so on.",
    ],
    [
      ["-n", "1", `--master-port=${port}`, "fine.mjs"],
      `ERR_LAUNCH_PORT: nbit run: expected --master-port to be free. Received: port ${port} of 127.0.0.1: EADDRINUSE. Another program listens there: choose another port, or leave it out on one machine.`,
    ],
  ];
  try {
    for (const [args, message] of cases)
      assert.deepEqual(await nbit(args), { status: 2, stdout: "", stderr: withMore(message) });
  } finally {
    server.close();
  }
});

test("--help lists every flag", async () => {
  const { status, stdout } = await nbit(["--help"]);
  assert.equal(status, 0);
  for (const name of [
    "-n, --nproc-per-node N",
    "--nnodes M",
    "--node-rank I",
    "--master-addr HOST",
    "--master-port P",
    "--max-restarts K",
    "--log-dir DIR",
    "--quiet",
  ])
    assert.ok(stdout.includes(`  ${name} `), name);
});
