/** Runs the worker until the time is used up, and starts it again without the operator that ended it: a crash is a finding, not the end. */
import { spawn } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, statSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

export interface FuzzOptions {
  readonly seed: number;
  readonly seconds: number;
  readonly which: "public" | "hidden";
  readonly leftOut: readonly string[];
  readonly only?: readonly string[];
  /** No call may take longer than this. Default 20: on a busy machine too. */
  readonly patienceSeconds?: number;
}
export interface FuzzReport {
  calls: number;
  /** Calls that returned a value. */
  passed: number;
  operators: number;
  /** Wrong outcomes: errors without a code, tensors left behind. */
  readonly wrong: string[];
  /** Calls that ended the process, or that never came back. */
  readonly deadly: { readonly operator: string; readonly call: string; readonly how: string }[];
}

const worker = fileURLToPath(new URL("worker.js", import.meta.url));
/** Data that the worker may hold: absurd sizes shall fail to allocate, not fill the machine. */
const LIMIT_KB = 1_500_000;

interface Ended {
  readonly output: string;
  readonly how: string | null;
  readonly call: string;
}

function once(options: FuzzOptions, leftOut: readonly string[], seconds: number, journal: string): Promise<Ended> {
  const patience = options.patienceSeconds ?? 20;
  const args = [worker, String(options.seed), seconds.toFixed(1), journal, options.which, leftOut.join(","), (options.only ?? []).join(",")];
  const child = spawn("sh", ["-c", `ulimit -d ${LIMIT_KB}; exec "$0" "$@"`, process.execPath, ...args], { stdio: ["ignore", "pipe", "pipe"], cwd: dirname(journal), env: { ...process.env, OMP_NUM_THREADS: "1" } });
  let output = "";
  let errors = "";
  child.stdout.on("data", (chunk: Buffer) => (output += chunk.toString()));
  child.stderr.on("data", (chunk: Buffer) => (errors = (errors + chunk.toString()).slice(-2000)));
  return new Promise((resolve, reject) => {
    let hung = false;
    const watch = setInterval(() => {
      const touched = statSync(journal, { throwIfNoEntry: false })?.mtimeMs;
      if (touched !== undefined && Date.now() - touched > patience * 1000) {
        hung = true;
        child.kill("SIGKILL");
      }
    }, 1000);
    child.on("error", reject);
    child.on("close", (code, signal) => {
      clearInterval(watch);
      const how = code === 0 ? null : hung ? `did not come back within ${patience} s` : `ended the process with ${signal ?? `exit code ${code ?? "?"}`}: ${errors.trim().split("\n").slice(-3).join(" | ")}`;
      resolve({ output, how, call: readFileSync(journal, "utf8").trimEnd() });
    });
  });
}

export async function fuzz(options: FuzzOptions): Promise<FuzzReport> {
  const report: FuzzReport = { calls: 0, passed: 0, operators: 0, wrong: [], deadly: [] };
  const leftOut = [...options.leftOut];
  const folder = mkdtempSync(join(tmpdir(), "nbit-fuzz-"));
  const end = performance.now() + options.seconds * 1000;
  try {
    for (let run = 0; run < 100; run++) {
      const left = (end - performance.now()) / 1000;
      if (left < 1) break;
      const ended = await once({ ...options, seed: options.seed + run * 104729 }, leftOut, left, join(folder, `journal-${run}`));
      if (ended.how === null) {
        const part = JSON.parse(ended.output) as { operators: number; calls: number; passed: number; found: string[] };
        report.calls += part.calls;
        report.passed += part.passed;
        report.operators = part.operators;
        report.wrong.push(...part.found);
        break;
      }
      const operator = ended.call.slice(0, ended.call.indexOf("("));
      if (operator === "") throw new Error(`The fuzz worker did not start: ${ended.how}`);
      report.deadly.push({ operator, call: ended.call, how: ended.how });
      leftOut.push(operator);
    }
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
  return report;
}
