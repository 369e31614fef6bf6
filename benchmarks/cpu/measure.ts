/** Measures rows: every measurement in a process of its own, the sides of a row in turn. */
import { execFile } from "node:child_process";
import { join } from "node:path";
import { promisify } from "node:util";
import { STARTED, type Job, type Result, type SideName, type StepJob } from "./job.js";
import { compareLosses, TOLERANCE } from "./losses.js";
import type { PairRow } from "./pair-rows.js";
import type { RowResult, SideResult } from "./results.js";
import type { ModelRow } from "./rows.js";
import { commandOf, holeOf, isNbit, peerOf, type Python } from "./sides.js";

const run = promisify(execFile);
/** A side that takes longer has a hole. */
const LIMIT_MS = 15 * 60_000;

export interface Campaign {
  readonly python: Python;
  readonly runs: number;
  /** Peers that are asked for. */
  readonly peers: readonly string[];
  /** A folder for initial weights and for what torch.compile keeps from one run to the next. */
  readonly scratch: string;
}

/** One measurement. @throws {Error} When the process fails or prints no result. */
export async function measure<T = Result>(
  job: Job,
  python: string | null,
  { scratch }: Pick<Campaign, "scratch">,
  node: readonly string[] = [],
): Promise<T> {
  const { program, args, env } = commandOf(job, python, node);
  const { stdout } = await run(program, args, {
    encoding: "utf8",
    maxBuffer: 1 << 24,
    timeout: LIMIT_MS,
    env: {
      ...process.env,
      TORCHINDUCTOR_CACHE_DIR: join(scratch, "compiled"),
      NODE_NO_WARNINGS: "1",
      ...env,
      [STARTED]: String(Date.now()),
    },
  });
  const line = stdout.split("\n").find((l) => l.startsWith("{"));
  if (line === undefined) throw new Error(`expected a line of JSON. Received: ${stdout.slice(0, 300)}`);
  return JSON.parse(line) as T;
}

/** The last line that a failed process wrote. */
function reasonOf(error: unknown): string {
  const { stderr = "", killed = false, message } = error as { stderr?: string; killed?: boolean; message: string };
  if (killed) return `took longer than ${LIMIT_MS / 60_000} minutes`;
  const lines = stderr.split("\n").filter((line) => line.trim() !== "");
  return `failed: ${(lines.findLast((line) => /\w*(?:Error|Exception)\b/.test(line)) ?? lines.at(-1) ?? message).trim().slice(0, 200)}`;
}

/** A side of a row on its way to a result. */
interface Course {
  readonly key: string;
  readonly job: Job;
  /** Of the runs after the first. */
  readonly later: Job;
  readonly python: string | null;
  readonly runs: Result[];
  hole: string | null;
}

/** All sides in turn, `runs` times; who begins changes from run to run. */
async function interleave(courses: readonly Course[], campaign: Campaign): Promise<void> {
  for (let i = 0; i < campaign.runs; i++) {
    for (let k = 0; k < courses.length; k++) {
      const course = courses[(i + k) % courses.length] as Course;
      if (course.hole !== null) continue;
      try {
        course.runs.push(await measure(i === 0 ? course.job : course.later, course.python, campaign));
      } catch (error) {
        course.hole = reasonOf(error);
      }
    }
  }
}

/**
 * Compares losses of each run with those of `reference` in it. A side whose losses differ has no times; if it is the first,
 * nbit's own, or the reference, nor have the others, for nothing was compared.
 */
function sidesOf(
  courses: readonly Course[],
  reference: Course | undefined,
  tolerance: number | null,
): RowResult["sides"] {
  const results = courses.map((course): [string, SideResult] => {
    const { key, runs, hole } = course;
    if (hole !== null) return [key, { runs: [], hole, losses: "not compared" }];
    if (tolerance === null || reference === undefined) return [key, { runs, hole, losses: "not compared" }];
    const found = runs.map((r, i) => compareLosses(r.losses, reference.runs[i]?.losses ?? [], tolerance));
    const wrong = found.find((f) => typeof f === "object");
    if (wrong !== undefined) return [key, { runs: [], hole: `void: ${wrong.differs}`, losses: "not compared" }];
    return [key, { runs, hole: null, losses: found.every((f) => f === "equal") ? "equal" : "close" }];
  });
  const ours = results[0]?.[1].hole ?? null;
  if (ours?.startsWith("void") !== true) return Object.fromEntries(results);
  return Object.fromEntries(
    results.map(([key, side]) => [key, { ...side, runs: [], hole: side.hole ?? "void: the losses of nbit differ" }]),
  );
}

const isWanted = (side: SideName, { peers }: Campaign): boolean =>
  peerOf(side) === null || peers.includes(peerOf(side) ?? "");

export async function measureModelRow(row: ModelRow, campaign: Campaign): Promise<RowResult> {
  const weights = join(campaign.scratch, "weights.npz");
  const { python, versions } = campaign.python;
  const courses = row.sides
    .filter((side) => isWanted(side, campaign))
    .map((side): Course => {
      const job: StepJob = { ...row.job, side, ...(side === "jax" ? { weights } : {}) };
      return {
        key: side,
        job,
        later: { ...job, ...row.later },
        python: isNbit(side) ? null : python,
        runs: [],
        hole: holeOf(side, versions),
      };
    });
  if (courses.some(({ key, hole }) => key === "jax" && hole === null))
    await measure({ kind: "weights", model: row.job.model, file: weights }, python, campaign);
  await interleave(courses, campaign);
  const reference = courses.find(({ key, hole }) => key === "pytorch" && hole === null) ?? courses[0];
  const { id, name, threads, unit, targets = {} } = row;
  return { id, name, threads, unit, targets, sides: sidesOf(courses, reference, TOLERANCE[row.job.precision]) };
}

export async function measurePairRow(row: PairRow, campaign: Campaign): Promise<RowResult> {
  const other = row.otherIsNbit ? "nbit" : "pytorch";
  row.prepare?.();
  const hole =
    (row.ours.kind === "start" || (row.ours.kind === "overhead" && row.ours.of === "trainer")) &&
    campaign.python.versions.lightning === null
      ? "lightning is not installed"
      : null;
  const courses: Course[] = [
    { key: "trainer", job: row.ours, later: row.ours, python: null, runs: [], hole: null },
    {
      key: other,
      job: row.other,
      later: row.other,
      python: row.otherIsNbit ? null : campaign.python.python,
      runs: [],
      hole,
    },
  ];
  await interleave(courses, campaign);
  const { id, name, threads, unit, against } = row;
  return {
    id,
    name,
    threads,
    unit,
    against,
    targets: row.target === null ? {} : { [other]: row.target },
    sides: sidesOf(courses, courses[1], row.sameLoss),
    ...(row.stateTarget === undefined ? {} : { stateTarget: row.stateTarget }),
    ...(row.timeTarget === undefined ? {} : { timeTarget: row.timeTarget }),
    ...(row.caveat === undefined ? {} : { caveat: row.caveat }),
  };
}
