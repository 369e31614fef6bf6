/**
 * Kills a small fit again and again, at seeded moments, resumes it from its newest checkpoint, and compares what comes
 * out in the end with a fit that nobody disturbed, bit for bit: weights, optimizer, schedule, random numbers, metrics,
 * every row of metrics.csv and run.jsonl, the checkpoints that are left.
 *
 *     npm run fuzz:kills -- --kills 500 --seed 1 --how shards
 */
import { spawn } from "node:child_process";
import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { isDeepStrictEqual, parseArgs } from "node:util";
import type { How, Task } from "./program.js";
import { random } from "../helpers/plan-random.js";

const PROGRAM = fileURLToPath(new URL("./program.js", import.meta.url));
const PRECISIONS = [32, 16, "bf16-true"] as const;
const SIGNALS = ["SIGKILL", "SIGKILL", "SIGKILL", "SIGTERM", "SIGINT", "SIGHUP", "SIGUSR1"] as const;
type Signal = (typeof SIGNALS)[number];
const EXITS: Readonly<Record<Signal, number | null>> = {
  SIGKILL: null,
  SIGTERM: 143,
  SIGINT: 130,
  SIGHUP: 129,
  SIGUSR1: 138,
};
const HOW: readonly How[] = ["file", "thread", "shards", "lightning"];
const MANIFEST = "manifest.json";
/** In a row, before a fit may come to its end. */
const MOST_KILLS = 9;

export interface Outcome {
  readonly kills: number;
  readonly fits: number;
  readonly bySignal: Readonly<Record<string, number>>;
  /** What went wrong, with what replays it. */
  readonly failures: readonly string[];
}

interface Ended {
  readonly status: number | null;
  readonly signal: NodeJS.Signals | null;
  /** What the fit said at its end; null when it did not come to it. */
  readonly result: { readonly moments: number } | null;
  readonly stderr: string;
}

/**
 * @param delay - Milliseconds after the fit began at which `task.kill.signal` is sent from outside; null: the program
 * sends it itself.
 */
function run(task: Task, delay: number | null): Promise<Ended> {
  return new Promise((resolve, reject) => {
    const child = spawn(process.execPath, [PROGRAM, JSON.stringify(task)], {
      stdio: ["ignore", "pipe", "pipe"],
      env: { ...process.env, OMP_NUM_THREADS: "1" },
    });
    let stdout = "";
    let stderr = "";
    let timer: NodeJS.Timeout | null = null;
    const limit = setTimeout(() => child.kill("SIGKILL"), 120_000); // a fit that hangs is a failure, not a hang of the campaign
    child.stderr.setEncoding("utf8").on("data", (text: string) => (stderr += text));
    child.stdout.setEncoding("utf8").on("data", (text: string) => {
      stdout += text;
      if (delay !== null && task.kill !== null && timer === null && stdout.includes("ready"))
        timer = setTimeout(() => child.kill(task.kill?.signal), delay);
    });
    child.on("error", reject);
    child.on("close", (status, signal) => {
      if (timer !== null) clearTimeout(timer);
      clearTimeout(limit);
      const done = /^done (.*)$/m.exec(stdout)?.[1];
      resolve({
        status,
        signal,
        result: done === undefined ? null : (JSON.parse(done) as { moments: number }),
        stderr,
      });
    });
  });
}

/** What must not depend on how often a fit was killed. */
interface Traces {
  readonly result: unknown;
  readonly csv: string;
  readonly log: readonly unknown[];
  readonly files: readonly string[];
}

const TIMES: ReadonlySet<string> = new Set([
  "seconds",
  "trainingSeconds",
  "evaluationSeconds",
  "startedAt",
  "memory",
  "tensorsBefore",
  // Which process it was.
  "name",
  "command",
  "resumedFrom",
]);
/** What the steps were; the machine and where checkpoints lie differ from fit to fit. */
const COMPARED: ReadonlySet<unknown> = new Set(["run", "step", "skip", "scale", "epoch", "eval"]);

/** @param expected - Checkpoints that the undisturbed fit left. */
function traces(folder: string, result: object, resumedFrom: ReadonlySet<string>, expected: readonly string[]): Traces {
  const log = readFileSync(join(folder, "run.jsonl"), "utf8")
    .trimEnd()
    .split("\n")
    .map((line) => JSON.parse(line, (key, value: unknown) => (TIMES.has(key) ? undefined : value)) as object)
    .filter((entry) => COMPARED.has(Reflect.get(entry, "type")));
  const checkpoints = join(folder, "checkpoints");
  // Checkpoints of an interrupt, and those that a run went on from, are kept on purpose.
  const files = readdirSync(checkpoints, { recursive: true, encoding: "utf8" }).filter(
    (name) =>
      isWhole(join(checkpoints, name)) &&
      !dirname(name).endsWith(".ckpt") &&
      !name.includes("interrupted") &&
      !(resumedFrom.has(join(checkpoints, name)) && !expected.includes(name)),
  );
  return {
    result: { ...result, moments: 0 },
    csv: readFileSync(join(folder, "log", "version_0", "metrics.csv"), "utf8"),
    log,
    files: files.sort(),
  };
}

/** A file, or a folder that has its manifest. */
function isWhole(path: string): boolean {
  return statSync(path).isFile() || existsSync(join(path, MANIFEST));
}
function timeOf(path: string): bigint {
  return statSync(statSync(path).isFile() ? path : join(path, MANIFEST), { bigint: true }).mtimeNs;
}

function newest(folder: string): string | null {
  const checkpoints = join(folder, "checkpoints");
  try {
    const files = readdirSync(checkpoints, { recursive: true, encoding: "utf8" })
      .map((name) => join(checkpoints, name))
      .filter((path) => path.endsWith(".ckpt") && isWhole(path));
    return files.sort((a, b) => Number(timeOf(b) - timeOf(a)))[0] ?? null;
  } catch {
    return null;
  }
}

/** How two traces differ, in a line each. */
function differences(a: Traces, b: Traces): string[] {
  const found: string[] = [];
  if (!isDeepStrictEqual(a.result, b.result))
    found.push(`result ${JSON.stringify(a.result)} instead of ${JSON.stringify(b.result)}`);
  for (const [name, mine, theirs] of [
    ["metrics.csv", a.csv.split("\n"), b.csv.split("\n")],
    ["run.jsonl", a.log, b.log],
    ["checkpoints", a.files, b.files],
  ] as const) {
    for (let i = 0; i < Math.max(mine.length, theirs.length); i++) {
      if (isDeepStrictEqual(mine[i], theirs[i])) continue;
      found.push(
        `${name}, entry ${i} of ${mine.length}: ${JSON.stringify(mine[i])} instead of ${JSON.stringify(theirs[i])} (of ${theirs.length})`,
      );
      break;
    }
  }
  return found;
}

/**
 * @param say - Told of each fit that came to its end.
 * @param only - How checkpoints are written: drawn from these for each fit.
 */
export async function campaign(
  kills: number,
  seed: number,
  say: (text: string) => void = () => undefined,
  only: readonly How[] = HOW,
): Promise<Outcome> {
  const root = mkdtempSync(join(tmpdir(), "nbit-kills-"));
  try {
    return await attack(root, kills, seed, say, only);
  } finally {
    rmSync(root, { recursive: true, force: true });
  }
}

interface Reference extends Traces {
  readonly moments: number;
  readonly ms: number;
}

async function undisturbed(root: string, precision: (typeof PRECISIONS)[number]): Promise<Reference> {
  const folder = join(root, `whole-${precision}`);
  mkdirSync(folder);
  const began = performance.now();
  const { result, stderr } = await run({ folder, precision, how: "file", checkpoint: null, kill: null }, null);
  if (result === null) throw new Error(`the undisturbed fit failed: ${stderr}`);
  return { ...traces(folder, result, new Set(), []), moments: result.moments, ms: performance.now() - began };
}

/** A signal that comes before the fit listens, or after it has ended, has its default effect. */
function endedBy(signal: Signal, ended: Ended): boolean {
  return ended.signal === signal || (EXITS[signal] !== null && ended.status === EXITS[signal]);
}

async function attack(
  root: string,
  kills: number,
  seed: number,
  say: (text: string) => void,
  hows: readonly How[],
): Promise<Outcome> {
  const references = new Map<unknown, Reference>();
  const bySignal: Record<string, number> = {};
  const failures: string[] = [];
  let done = 0;
  let fits = 0;
  while (done < kills) {
    const draw = random(seed + fits);
    const precision = PRECISIONS[draw(PRECISIONS.length)] as (typeof PRECISIONS)[number];
    const how = hows[draw(hows.length)] ?? "file";
    let reference = references.get(precision);
    if (reference === undefined) references.set(precision, (reference = await undisturbed(root, precision)));
    const folder = join(root, `fit-${fits}`);
    mkdirSync(folder);
    const resumedFrom = new Set<string>();
    const story: string[] = [];
    const fail = (what: string): void =>
      void failures.push(
        `--seed ${seed + fits} --kills 1, precision ${precision}, saved as ${how}: ${story.join(", ")}: ${what}`,
      );
    for (let n = 0; ; n++) {
      const checkpoint = newest(folder);
      if (checkpoint !== null) resumedFrom.add(checkpoint);
      else for (const name of readdirSync(folder)) rmSync(join(folder, name), { recursive: true }); // starts over
      const signal = SIGNALS[draw(SIGNALS.length)] as Signal;
      const fromOutside = draw(3) === 0;
      // Within the first third: several kills come before a fit is done.
      const at = 1 + draw(Math.ceil(reference.moments / 3));
      const delay = draw(Math.ceil(reference.ms / 3));
      const kill = n < MOST_KILLS ? { at: fromOutside ? 0 : at, signal, torn: draw(2) === 0 } : null;
      const ended = await run(
        { folder, precision, how, checkpoint, kill },
        fromOutside && kill !== null ? delay : null,
      );
      if (ended.result !== null && ended.status === 0) {
        const found = differences(traces(folder, ended.result, resumedFrom, reference.files), reference);
        if (found.length > 0) fail(found.join("; "));
        break;
      }
      story.push(`${signal} at ${fromOutside ? `${delay} ms` : `moment ${at}${kill?.torn === true ? " (torn)" : ""}`}`);
      bySignal[signal] = (bySignal[signal] ?? 0) + 1;
      done++;
      if (!endedBy(signal, ended)) {
        fail(`ended with status ${ended.status}, signal ${ended.signal}: ${ended.stderr.slice(-2000)}`);
        break;
      }
    }
    say(
      `fit ${fits} (seed ${seed + fits}, precision ${precision}, saved as ${how}): ${story.length} kills: ${story.join(", ")}`,
    );
    rmSync(folder, { recursive: true, force: true });
    fits++;
  }
  return { kills: done, fits, bySignal, failures };
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const { values } = parseArgs({
    options: {
      kills: { type: "string", default: "100" },
      seed: { type: "string", default: "1" },
      how: { type: "string" },
    },
  });
  const only = HOW.filter((how) => values.how === undefined || how === values.how);
  if (only.length === 0) throw new Error(`expected --how to be one of ${HOW.join(", ")}. Received: ${values.how}.`);
  const [kills, seed] = [Number(values.kills), Number(values.seed)];
  if (!Number.isSafeInteger(kills) || kills < 1 || !Number.isSafeInteger(seed) || seed < 0)
    throw new Error(`expected --kills ≥ 1 and --seed ≥ 0, whole numbers. Received: ${values.kills}, ${values.seed}.`);
  const began = performance.now();
  const outcome = await campaign(kills, seed, (text) => console.log(text), only);
  const { failures, ...counts } = outcome;
  for (const failure of failures) console.error(`FAILED ${failure}`);
  console.log(
    JSON.stringify({
      date: new Date().toISOString().slice(0, 10),
      seed,
      ...counts,
      failures: failures.length,
      seconds: Math.round((performance.now() - began) / 1000),
      node: process.version,
    }),
  );
  process.exitCode = failures.length === 0 ? 0 : 1;
}
