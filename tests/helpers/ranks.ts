/**
 * Cases that several processes run together: the test file starts itself once per rank, and each case is a test that
 * passes where it passes on every rank. One process group serves all cases of a file.
 */
import assert from "node:assert/strict";
import { spawn, type ChildProcess } from "node:child_process";
import { createServer } from "node:net";
import { before, test } from "node:test";
import { fileURLToPath } from "node:url";
import { destroyProcessGroup, getRank, initProcessGroup, type InitProcessGroupOptions } from "@nbit/torch/distributed";

export type RankCase = (rank: number, worldSize: number) => void | Promise<void>;

interface Line {
  readonly name: string;
  readonly error: string | null;
}
/** What one process came to. */
export interface RankResult {
  readonly code: number | null;
  readonly signal: NodeJS.Signals | null;
  readonly stdout: string;
  readonly stderr: string;
}

const ROLE = "NBIT_TEST_RANK_OF";
const LIMIT_MS = 240_000;

/**
 * A port of loopback that was free a moment ago, below those that the system gives to connections: one of these may be
 * taken by another test before it is used.
 */
export async function freePort(): Promise<number> {
  for (;;) {
    const port = 12_000 + Math.floor(Math.random() * 20_000);
    const server = createServer();
    const free = await new Promise<boolean>((resolve) => {
      server.once("error", () => resolve(false));
      server.listen(port, "127.0.0.1", () => resolve(true));
    });
    if (!free) continue;
    await new Promise((resolve) => server.close(resolve));
    return port;
  }
}

type Variables = Readonly<Record<string, string>>;

export interface RunOptions {
  readonly args?: readonly string[];
  /** For all, or for each rank. */
  readonly env?: Variables | ((rank: number) => Variables);
  /** A rank that cannot end by itself: it is killed when all others have ended. */
  readonly killLast?: number;
  readonly port?: number;
  /** Told of what each rank writes to its stdout, as it comes. */
  readonly onOutput?: (rank: number, text: string) => void;
  /** A rank to be killed some milliseconds after it was started. */
  readonly kill?: { readonly rank: number; readonly after: number };
  /** Where each process is started, as the arguments of a program that starts others. */
  readonly prefix?: (rank: number) => readonly string[];
}

/** Run a script once per rank, with a launcher's variables. Whatever hangs is killed, and fails. */
export async function runRanks(
  script: string,
  worldSize: number,
  { args = [], env = {}, killLast, kill, onOutput, port: given, prefix = () => [] }: RunOptions = {},
): Promise<RankResult[]> {
  const port = given ?? (await freePort());
  const children: ChildProcess[] = [];
  let running = worldSize;
  const ranks = Array.from({ length: worldSize }, (_, rank) => {
    const [program = process.execPath, ...rest] = [...prefix(rank), process.execPath, script, ...args];
    const child = spawn(program, rest, {
      env: {
        ...process.env,
        NODE_TEST_CONTEXT: undefined,
        RANK: `${rank}`,
        LOCAL_RANK: `${rank}`,
        WORLD_SIZE: `${worldSize}`,
        LOCAL_WORLD_SIZE: `${worldSize}`,
        MASTER_ADDR: "127.0.0.1",
        MASTER_PORT: `${port}`,
        OMP_NUM_THREADS: "1",
        ...(typeof env === "function" ? env(rank) : env),
      },
      stdio: ["ignore", "pipe", "pipe"],
    });
    children.push(child);
    let [stdout, stderr] = ["", ""];
    child.stdout.setEncoding("utf8").on("data", (text: string) => {
      stdout += text;
      onOutput?.(rank, text);
    });
    child.stderr.setEncoding("utf8").on("data", (text: string) => (stderr += text));
    const timer = setTimeout(() => child.kill("SIGKILL"), kill?.rank === rank ? kill.after : LIMIT_MS);
    return new Promise<RankResult>((resolve) => {
      child.on("close", (code, signal) => {
        clearTimeout(timer);
        if (--running === 1 && killLast !== undefined) children[killLast]?.kill("SIGKILL");
        resolve({ code, signal, stdout, stderr });
      });
    });
  });
  return Promise.all(ranks);
}

/**
 * @param url - `import.meta.url` of the test file.
 * @param cases - By name; each is called on every rank, in this order. They may call collectives.
 */
export function testRanks(
  url: string,
  worldSize: number,
  cases: Readonly<Record<string, RankCase>>,
  options: InitProcessGroupOptions = {},
): void {
  const suite = `${worldSize} ranks`;
  const role = process.env[ROLE];
  if (role !== undefined) {
    if (role === suite) void runCases(worldSize, cases, options);
    return;
  }
  let results: RankResult[] = [];
  before(async () => {
    results = await runRanks(fileURLToPath(url), worldSize, { env: { [ROLE]: suite } });
  });
  for (const name of Object.keys(cases)) {
    test(`${name} (${suite})`, () => {
      results.forEach(({ code, signal, stdout, stderr }, rank) => {
        const lines = stdout.split("\n").filter((line) => line.startsWith("{"));
        const mine = lines.map((line) => JSON.parse(line) as Line).find((line) => line.name === name);
        assert.ok(mine, `rank ${rank} ended with ${signal ?? code} before this case:\n${stdout}\n${stderr}`);
        assert.equal(mine.error, null, `rank ${rank}: ${mine.error}`);
      });
    });
  }
}

async function runCases(
  worldSize: number,
  cases: Readonly<Record<string, RankCase>>,
  options: InitProcessGroupOptions,
): Promise<void> {
  await initProcessGroup({ timeout: 60_000, connectTimeout: 120_000, ...options });
  let failed = false;
  for (const [name, run] of Object.entries(cases)) {
    let error: string | null = null;
    try {
      await run(getRank(), worldSize);
    } catch (reason) {
      error = reason instanceof Error ? `${reason.stack}` : String(reason);
      failed = true;
    }
    console.log(JSON.stringify({ name, error } satisfies Line));
    // The others wait for this rank in the next case, in vain.
    if (error !== null) break;
  }
  await destroyProcessGroup({ inOrder: !failed });
  process.exit(failed ? 1 : 0);
}
