/**
 * Runs workers until the calls or the time are used up, and starts another without the operator that ended one: a crash
 * is a finding, not the end.
 */
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { showCall } from "./calls.js";
import { read, write, type Written } from "./journal.js";
import { smaller } from "./shrink.js";
import { watched } from "./watched.js";

export interface FuzzOptions {
  readonly seed: number;
  /** Until so many calls were made, or so many seconds have passed, whichever comes first. */
  readonly calls?: number;
  readonly seconds?: number;
  readonly which: "public" | "hidden" | "exports";
  readonly leftOut: readonly string[];
  readonly only?: readonly string[];
  /** No call may take longer than this. Default 20: on a busy machine too. */
  readonly patienceSeconds?: number;
  /** A process makes so many calls before another takes its place. Default 5000. */
  readonly callsPerProcess?: number;
  /** Workers at a time. Default 1. */
  readonly jobs?: number;
}
export interface Deadly {
  readonly operator: string;
  /** The shortest call found that ends a process. */
  readonly call: string;
  readonly how: string;
  /** The same for `npm run fuzz -- --replay`. */
  readonly written: string;
}
export interface FuzzReport {
  calls: number;
  /** Calls that returned a value. */
  passed: number;
  operators: number;
  processes: number;
  /** Wrong outcomes: errors without a code, tensors left behind. */
  readonly wrong: string[];
  /** Calls that ended the process, or that never came back. */
  readonly deadly: Deadly[];
}

const worker = fileURLToPath(new URL("worker.js", import.meta.url));
const LIMIT_KB = 1_500_000;
/** Tries that making a deadly call smaller may take; each try of one that hangs takes as long as patience lasts. */
const SHRINKS = 60;
const SHRINKS_OF_HANGS = 6;

interface Ended {
  readonly output: string;
  /** Null: it came to its end. */
  readonly how: string | null;
  readonly journal: string;
}

async function once(args: readonly string[], journal: string, patience: number): Promise<Ended> {
  const { how, output, errors, journal: written } = await watched([worker, ...args], journal, patience, LIMIT_KB);
  return {
    output,
    how: how === null ? null : how.kind === "hang" ? how.what : `${how.what}: ${errors.slice(-3).join(" | ")}`,
    journal: written,
  };
}

/** A call that still ends a process, with as little in it as can be found. */
async function shrink(written: Written, how: string, folder: string, patience: number): Promise<Deadly> {
  let least = written;
  let said = how;
  let tries = 0;
  const most = how.startsWith("did not") ? SHRINKS_OF_HANGS : SHRINKS;
  const file = join(folder, "replay");
  search: for (;;) {
    for (const candidate of smaller(least.call)) {
      if (tries++ >= most) break search;
      writeFileSync(file, write({ target: least.target, call: candidate }));
      const ended = await once(["replay", file], file, patience);
      if (ended.how === null) continue;
      least = { target: least.target, call: candidate };
      said = ended.how;
      continue search;
    }
    break;
  }
  return { operator: least.target, call: showCall(least.target, least.call), how: said, written: write(least) };
}

export async function replay(text: string, patience = 20): Promise<string> {
  const folder = mkdtempSync(join(tmpdir(), "nbit-fuzz-"));
  try {
    const file = join(folder, "replay");
    writeFileSync(file, text);
    const { how, output } = await once(["replay", file], file, patience);
    return `${showCall(read(text).target, read(text).call)}\n  ${how ?? output.trim()}`;
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

export async function fuzz(
  options: FuzzOptions,
  progress: (report: FuzzReport) => void = () => undefined,
): Promise<FuzzReport> {
  const {
    seed,
    calls = Infinity,
    seconds = Infinity,
    which,
    patienceSeconds: patience = 20,
    callsPerProcess = 5000,
    jobs = 1,
  } = options;
  const report: FuzzReport = { calls: 0, passed: 0, operators: 0, processes: 0, wrong: [], deadly: [] };
  const leftOut = [...options.leftOut];
  const folder = mkdtempSync(join(tmpdir(), "nbit-fuzz-"));
  const end = performance.now() + seconds * 1000;
  let planned = 0;
  const work = async (): Promise<void> => {
    for (;;) {
      const left = (end - performance.now()) / 1000;
      const share = Math.min(callsPerProcess, calls - planned);
      if (left < 1 || share <= 0 || report.deadly.length > 100) return;
      planned += share;
      const run = report.processes++;
      const journal = join(folder, `journal-${run}`);
      const ended = await once(
        [
          String(seed + run * 104729),
          Math.min(left, 86_400).toFixed(1),
          journal,
          which,
          String(share),
          leftOut.join(","),
          (options.only ?? []).join(","),
        ],
        journal,
        patience,
      );
      if (ended.how === null) {
        const part = JSON.parse(ended.output.trimEnd().split("\n").at(-1) ?? "") as {
          operators: number;
          calls: number;
          passed: number;
          found: string[];
        };
        report.calls += part.calls;
        report.passed += part.passed;
        report.operators = Math.max(report.operators, part.operators);
        report.wrong.push(...part.found);
      } else {
        if (ended.journal === "") throw new Error(`The fuzz worker did not start: ${ended.how}`);
        planned -= share; // how far it came is not known
        const written = read(ended.journal);
        if (!leftOut.includes(written.target)) {
          leftOut.push(written.target);
          report.deadly.push(await shrink(written, ended.how, mkdtempSync(join(folder, "shrink-")), patience));
        }
      }
      rmSync(journal, { force: true });
      progress(report);
    }
  };
  try {
    await Promise.all(Array.from({ length: jobs }, work));
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
  return report;
}
