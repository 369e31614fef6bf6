/**
 * Has workers read mutated files, a few thousand each. What ends a worker, or keeps it from coming back, is a finding:
 * its file is kept, and made smaller.
 */
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { watched, type Watched } from "../watched.js";
import { MOST_MUTATIONS, mutated, soundFile, subjectOf } from "./case.js";

export interface FileFuzzOptions {
  readonly seed: number;
  readonly files: number;
  readonly first?: number;
  /** Files per process. Default 2000. */
  readonly perProcess?: number;
  /** Where files of findings are kept; null: nowhere. */
  readonly keep?: string | null;
  /** No file may take longer. Default 20: on a busy machine too. */
  readonly patienceSeconds?: number;
  /** Called after each process. */
  readonly onProgress?: (done: number, findings: number) => void;
}
export interface Finding {
  readonly index: number;
  readonly subject: string;
  /** Which of the file's mutations are needed for it. */
  readonly mutations: readonly number[];
  readonly what: string;
  /** "error": without a code; "end": the process ended; "hang": it did not come back. */
  readonly kind: "error" | "end" | "hang";
}
export interface FileFuzzReport {
  files: number;
  /** By kind of file: how often reading gave a value ("ok") or an error of which code. */
  readonly outcomes: Record<string, Record<string, number>>;
  readonly findings: Finding[];
}

const EVERY: readonly number[] = Array.from({ length: MOST_MUTATIONS }, (_, i) => i);

interface Ended {
  readonly how: Watched["how"];
  readonly output: string;
  /** The file in progress. */
  readonly index: number;
}
interface Part {
  readonly kinds: Record<string, Record<string, number>>;
  readonly wrong: readonly { readonly index: number; readonly what: string }[];
}

const worker = fileURLToPath(new URL("worker.js", import.meta.url));
const LIMIT_KB = 2_000_000;

async function run(
  seed: number,
  first: number,
  end: number,
  folder: string,
  patience: number,
  keep?: readonly number[],
): Promise<Ended> {
  rmSync(folder, { recursive: true, force: true });
  mkdirSync(folder, { recursive: true });
  const args = ["--no-warnings", worker, String(seed), String(first), String(end), folder, (keep ?? []).join(",")];
  const { how, output, errors, journal } = await watched(args, join(folder, "journal"), patience, LIMIT_KB);
  const ended = how?.kind === "end" ? { ...how, what: `${how.what}: ${errors.join("\n")}` } : how;
  const [index = "", stage] = journal.trim().split(" ");
  // Not of the mutated file's making.
  if (ended !== null && (index === "" || stage !== undefined)) throw new Error(`The worker ${ended.what}`);
  return { how: ended, output, index: Number(index) };
}

export async function fuzzFiles(options: FileFuzzOptions): Promise<FileFuzzReport> {
  const { seed, files, first = 0, perProcess = 2000, keep = null, patienceSeconds = 20, onProgress } = options;
  const report: FileFuzzReport = { files: 0, outcomes: {}, findings: [] };
  const folder = mkdtempSync(join(tmpdir(), "nbit-fuzz-files-"));
  const scratch = join(folder, "work");
  const raw: { index: number; what: string; kind: Finding["kind"] }[] = [];
  try {
    for (let at = first; at < first + files;) {
      const end = Math.min(first + files, at + perProcess);
      const { how, output, index } = await run(seed, at, end, scratch, patienceSeconds);
      if (how === null) {
        const part = JSON.parse(output) as Part;
        merge(report.outcomes, part.kinds);
        raw.push(...part.wrong.map(({ index: i, what }) => ({ index: i, what, kind: "error" as const })));
        report.files += end - at;
        at = end;
      } else {
        // What the worker had counted went with it: the files before are read again, by another.
        if (index > at) {
          const again = await run(seed, at, index, scratch, patienceSeconds);
          if (again.how === null) {
            const part = JSON.parse(again.output) as Part;
            merge(report.outcomes, part.kinds);
            raw.push(...part.wrong.map(({ index: i, what }) => ({ index: i, what, kind: "error" as const })));
          }
        }
        raw.push({ index, ...how });
        merge(report.outcomes, { [subjectOf(index).name]: { [how.kind.toUpperCase()]: 1 } });
        report.files += index + 1 - at;
        at = index + 1;
      }
      onProgress?.(report.files, raw.length);
    }
    // Of what is the same in many files, a few are made smaller.
    const seen = new Map<string, number>();
    for (const finding of raw) {
      const alike = `${subjectOf(finding.index).name}: ${finding.what.split("\n").slice(0, 3).join("\n").replaceAll(/\d+/g, "#")}`;
      seen.set(alike, (seen.get(alike) ?? 0) + 1);
      if ((seen.get(alike) ?? 0) <= 2) report.findings.push(await shrink(seed, finding, scratch, patienceSeconds));
      else report.findings.push({ ...finding, subject: subjectOf(finding.index).name, mutations: EVERY });
    }
    if (keep !== null) for (const finding of report.findings) await keepFile(seed, finding, keep, folder);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
  return report;
}

function merge(
  into: Record<string, Record<string, number>>,
  from: Readonly<Record<string, Readonly<Record<string, number>>>>,
): void {
  for (const [name, counts] of Object.entries(from)) {
    const of = (into[name] ??= {});
    for (const [code, n] of Object.entries(counts)) of[code] = (of[code] ?? 0) + n;
  }
}

/** Fewest mutations that still give a finding: one that does it alone, else all without those that it does not need. */
async function shrink(
  seed: number,
  { index, what, kind }: { index: number; what: string; kind: Finding["kind"] },
  folder: string,
  patience: number,
): Promise<Finding> {
  const subject = subjectOf(index);
  const fails = async (keep: readonly number[]): Promise<boolean> => {
    const { how, output } = await run(seed, index, index + 1, folder, patience, keep);
    return how !== null || (JSON.parse(output) as Part).wrong.length > 0;
  };
  const all = EVERY;
  let needed = all;
  for (const one of all) if (needed.length > 1 && (await fails([one]))) needed = [one];
  for (const one of all) {
    const rest = needed.filter((i) => i !== one);
    if (needed.length > 1 && rest.length < needed.length && (await fails(rest))) needed = rest;
  }
  return { index, subject: subject.name, mutations: needed, what, kind };
}

async function keepFile(seed: number, finding: Finding, keep: string, folder: string): Promise<void> {
  mkdirSync(keep, { recursive: true });
  const subject = subjectOf(finding.index);
  const { bytes } = mutated(await soundFile(subject, folder), subject, seed, finding.index, finding.mutations);
  const name = join(keep, `${seed}-${finding.index}`);
  writeFileSync(name, bytes);
  writeFileSync(
    `${name}.txt`,
    `${finding.subject}\nseed ${seed}, index ${finding.index}, mutations ${finding.mutations.join(", ")}\n${finding.kind}: ${finding.what}\n`,
  );
}
