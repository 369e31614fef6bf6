/**
 * The CPU benchmark: nbit beside the Python baseline, interleaved, every measurement in a process of its own.
 *
 *     npm run bench -- [--quick] [--runs=7] [--threads=1,2] [--out=benchmarks/results] [--rows=AdamW8bit]
 *
 * Both sides must compute the same losses before a time counts. Writes <date>-cpu.json and .md; with --rows, only the
 * rows whose name contains the word are measured and nothing is written.
 */
import { execFile } from "node:child_process";
import { mkdirSync, writeFileSync } from "node:fs";
import { availableParallelism, cpus, release, totalmem } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { cpuCapability, isMkldnnBf16Supported, versions } from "@nbit/torch";
import { baselineScript, findBaseline } from "./baseline.js";
import { flagsOf } from "./flags.js";
import {
  markdown,
  median,
  memoryLine,
  table,
  type Machine,
  type Measured,
  type MemoryPoint,
  type MemoryRow,
} from "./report.js";
import { rowsFor, type Row, type Side } from "./rows.js";

const run = promisify(execFile);
const flags = flagsOf(["quick", "runs", "threads", "out", "rows"]);
const quick = flags.has("quick");
const runs = Number(flags.get("runs") ?? (quick ? 3 : 7));
const threadCounts = (flags.get("threads") ?? (quick || availableParallelism() < 2 ? "1" : "1,2"))
  .split(",")
  .map(Number);
const out = flags.get("out") ?? fileURLToPath(new URL("../results", import.meta.url));
const nbitScript = fileURLToPath(new URL("nbit.js", import.meta.url));

interface Result {
  readonly us: number;
  readonly losses: readonly number[];
  readonly stateBytes?: number;
}
interface MemoryResult {
  readonly first: MemoryPoint;
  readonly middle: MemoryPoint;
  readonly last: MemoryPoint;
}

async function measure<T>(side: Side, python: string): Promise<T> {
  const [command, script] = side.who === "nbit" ? [process.execPath, nbitScript] : [python, baselineScript];
  const { stdout } = await run(command, [...(side.node ?? []), script, ...side.args], {
    encoding: "utf8",
    maxBuffer: 1 << 24,
  });
  const line = stdout.split("\n").find((l) => l.startsWith("{"));
  if (line === undefined)
    throw new Error(`${side.who} ${side.args.join(" ")} printed no result: ${stdout.slice(0, 500)}`);
  return JSON.parse(line) as T;
}

function compareLosses(row: Row, a: Result, b: Result): Measured["losses"] {
  if (row.sameLoss === null) return "not compared";
  if (a.losses.length !== b.losses.length || a.losses.length === 0)
    throw new Error(`${row.name}: ${a.losses.length} losses of nbit, ${b.losses.length} of the baseline`);
  let equal = true;
  a.losses.forEach((loss, i) => {
    const other = b.losses[i] as number;
    if (loss === other) return;
    equal = false;
    if (!(Math.abs(loss - other) <= (row.sameLoss ?? 0) * Math.abs(other)))
      throw new Error(`${row.name}: the sides compute different things: loss ${loss} and ${other} at step ${i}`);
  });
  return equal ? "equal" : "close";
}

async function measureRow(row: Row, python: string, machine: { readonly nativeBf16: boolean }): Promise<Measured> {
  const nbit: number[] = [];
  const baseline: number[] = [];
  let losses: Measured["losses"] = "not compared";
  let state: number | null = null;
  for (let i = 0; i < runs; i++) {
    // Who goes first alternates: the second often finds a warmer machine.
    const order = i % 2 === 0 ? [row.nbit, row.baseline] : [row.baseline, row.nbit];
    const results: Result[] = [];
    for (const side of order) results.push(await measure<Result>(side, python));
    const [a, b] = (i % 2 === 0 ? results : results.reverse()) as [Result, Result];
    if (i === 0) losses = compareLosses(row, a, b);
    if (row.stateTarget !== undefined && a.stateBytes !== undefined && b.stateBytes !== undefined)
      state = a.stateBytes / b.stateBytes;
    nbit.push(a.us);
    baseline.push(b.us);
  }
  return {
    row,
    nbit,
    baseline,
    ratio: median(nbit.map((us, i) => us / (baseline[i] as number))),
    losses,
    state,
    caveat: row.caveat?.(machine) ?? null,
  };
}

const baseline = findBaseline();
if ("missing" in baseline) {
  console.error(`npm run bench: ${baseline.missing}`);
  process.exit(1);
}
const machine: Machine = {
  date: new Date().toISOString().slice(0, 10),
  cpu: cpus()[0]?.model.trim() ?? "unknown processor",
  cores: cpus().length,
  memoryGiB: Math.round(totalmem() / 2 ** 30),
  kernel: `Linux ${release()}`,
  node: process.versions.node,
  libtorch: versions().libtorch,
  capability: cpuCapability(),
  nativeBf16: isMkldnnBf16Supported(),
  baseline: baseline.versions,
  runs,
};
console.log(
  `${machine.cpu}, ${machine.cores} cores; libtorch ${machine.libtorch} (${machine.capability}); Python baseline: PyTorch ${baseline.versions.torch}, Lightning ${baseline.versions.lightning}\n`,
);

const measured: Measured[] = [];
const memory: MemoryRow[] = [];
const base = join(out, `${machine.date}-cpu${quick ? "-quick" : ""}`);
const only = flags.get("rows");
function write(): void {
  if (only !== undefined) return;
  mkdirSync(out, { recursive: true });
  const rows = measured.map(({ row, ...m }) => ({
    name: row.name,
    threads: row.threads,
    against: row.against,
    target: row.target,
    ...m,
  }));
  writeFileSync(`${base}.json`, `${JSON.stringify({ machine, measured: rows, memory }, null, 1)}\n`);
  writeFileSync(`${base}.md`, markdown(machine, measured, memory));
}
for (const threads of threadCounts) {
  for (const row of rowsFor(threads, quick, machine.nativeBf16)) {
    const known = measured.some(
      (m) => m.row.name === row.name && m.row.against === row.against && m.row.threads === row.threads,
    );
    if (known || !row.name.includes(only ?? "")) continue;
    const m = await measureRow(row, baseline.python, machine);
    measured.push(m);
    write(); // what was measured stays when someone interrupts
    console.log(
      `${row.threads} thread${row.threads === 1 ? " " : "s"}  ${m.ratio.toFixed(2)}  ${row.target === null ? "      " : `≤ ${row.target.toFixed(2)}`}  ${row.name}, against ${row.against}: ${median(m.nbit).toFixed(1)} / ${median(m.baseline).toFixed(1)} µs, losses ${m.losses}`,
    );
  }
}

if (only !== undefined) {
  console.log(`\n${table(measured)}`);
  process.exit(0);
}
const steps = quick ? 2000 : 10000;
const args = ["memory", String(steps)];
for (const [who, side] of [
  ["nbit", { who: "nbit", args }],
  ["nbit, `node --max-semi-space-size=4`", { who: "nbit", args, node: ["--max-semi-space-size=4"] }],
  ["Lightning", { who: "baseline", args }],
] as const)
  memory.push({ who, ...(await measure<MemoryResult>(side, baseline.python)) });

console.log(`\n${table(measured)}\n\n${memory.map(memoryLine).join("\n")}`);
write();
console.log(`\nWrote ${base}.md and .json`);
