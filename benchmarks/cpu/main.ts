/**
 * The CPU benchmark: nbit beside PyTorch, torch.compile, Lightning and JAX, interleaved, every measurement in a process
 * of its own.
 *
 *     npm run bench -- [--rows=gpt,lstm] [--peers=pytorch,jax] [--runs=5] [--threads=1,2] [--quick] [--steps=6]
 *                      [--scale [--long]] [--compare old.json [--with new.json]] [--out=benchmarks/results]
 *
 * `--rows`: those whose id or name has one of the words. `--steps`: of every row, to see that all sides run. `--scale`:
 * how times grow, in place of the other rows; with `--long` to a million steps. `--compare`: exit status 1 where nbit
 * became slower beside a peer than it was in an earlier result; with `--with` two results are compared and nothing is
 * measured. Sides must compute the same losses before a time counts; a side that is not installed leaves a hole.
 *
 * Writes <date>-cpu.json, .md and .html, with fewer rows or peers only where `--out` says.
 */
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { cpus, release, tmpdir, totalmem } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { cpuCapability, isMkldnnBf16Supported, versions } from "@nbit/torch";
import { compareResults, comparisonLines, differences } from "./compare.js";
import { measure, measureModelRow, measurePairRow, type Campaign } from "./measure.js";
import { optionsOf } from "./options.js";
import { page } from "./page.js";
import { mnistRows, optimizerRows, overheadRows, pairRows } from "./pair-rows.js";
import { oursOf, ratiosOf, type Machine, type MemoryResult, type Results, type RowResult } from "./results.js";
import { modelRows } from "./rows.js";
import { scaleRows } from "./scale-rows.js";
import { SMALL_MLP } from "./small-mlp.js";
import { findPython, type Versions } from "./sides.js";
import { median } from "./statistics.js";
import { markdown, titleOf } from "./tables.js";

const options = optionsOf(process.argv.slice(2));
const { quick, steps, threads, runs, peers, rows: only } = options;
const nativeBf16 = isMkldnnBf16Supported();
const sizes = {
  quick,
  nativeBf16,
  ...(steps === undefined ? {} : { steps }),
  ...(threads === undefined ? {} : { threads }),
};

function readResults(file: string): Results {
  const results = JSON.parse(readFileSync(file, "utf8")) as Partial<Results>;
  const { machine, rows, memory } = results;
  if (machine !== undefined && Array.isArray(rows) && memory !== undefined) return { machine, rows, memory };
  throw new Error(
    `expected ${file} to be a result of this benchmark, with machine, rows and memory. Received: ${Object.keys(results).join(", ")}`,
  );
}

/** Prints what became slower, and says so in the exit status. */
function compareWith(before: Results, after: Results): void {
  const comparisons = compareResults(before, after);
  for (const line of differences(before.machine, after.machine)) console.log(line);
  console.log(`\n${comparisonLines(comparisons).join("\n")}`);
  if (comparisons.length === 0) console.log("No row and peer that both results have.");
  if (comparisons.some(({ verdict }) => verdict === "slower")) process.exitCode = 1;
}

if (options.with !== null && options.compare !== null) {
  compareWith(readResults(options.compare), readResults(options.with));
} else {
  const python = findPython();
  if ("missing" in python) {
    console.error(`npm run bench: ${python.missing}`);
    process.exit(1);
  }
  const before = options.compare === null ? null : readResults(options.compare); // a wrong name shows before the hour
  const scratch = mkdtempSync(join(tmpdir(), "nbit-bench-"));
  try {
    const results = await measureAll({ python, runs, peers, scratch });
    if (before !== null) compareWith(before, results);
  } finally {
    rmSync(scratch, { recursive: true, force: true });
  }
}

function report(row: RowResult): void {
  const sides = Object.entries(row.sides).map(([side, { hole, runs: times }]) => {
    if (hole !== null) return `${titleOf(side)}: ${hole}`;
    const ratio = side === oursOf(row) ? "" : ` (${median(ratiosOf(row, side)).toFixed(2)})`;
    return `${titleOf(side)} ${(median(times.map((r) => r.us)) / 1000).toPrecision(3)} ms${ratio}`;
  });
  console.log(`${row.id}: ${sides.join(", ")}`);
  if (Object.values(row.sides).some(({ hole }) => /^(?:void|failed|took)/.test(hole ?? ""))) process.exitCode = 1;
}

function machineOf(peersFound: Versions): Machine {
  return {
    date: new Date().toISOString().slice(0, 10),
    cpu: cpus()[0]?.model.trim() ?? "unknown processor",
    cores: cpus().length,
    memoryGiB: Math.round(totalmem() / 2 ** 30),
    kernel: `Linux ${release()}`,
    node: process.versions.node,
    libtorch: versions().libtorch,
    capability: cpuCapability(),
    nativeBf16,
    peers: peersFound,
    runs,
  };
}

function wanted({ id, name }: { readonly id: string; readonly name: string }): boolean {
  return only === null || only.some((word) => id.includes(word) || name.includes(word));
}

async function measureAll(campaign: Campaign): Promise<Results> {
  const from = performance.now();
  const rows: RowResult[] = [];
  const memory: MemoryResult[] = [];
  const results: Results = { machine: machineOf(campaign.python.versions), rows, memory };
  const out = options.out ?? (options.narrowed ? null : fileURLToPath(new URL("../../results", import.meta.url)));
  const base = `${results.machine.date}-cpu${options.scale ? "-scale" : ""}${quick ? "-quick" : ""}`;
  const write = (): void => {
    if (out === null) return;
    mkdirSync(out, { recursive: true });
    writeFileSync(join(out, `${base}.json`), `${JSON.stringify(results, null, 1)}\n`);
    writeFileSync(join(out, `${base}.md`), markdown(results));
    writeFileSync(join(out, `${base}.html`), page(results));
  };
  for await (const row of options.scale ? scaleResults(campaign) : rowResults(campaign)) {
    rows.push(row);
    report(row);
    write(); // what was measured stays when someone interrupts
  }
  if (!options.scale && wanted({ id: "memory", name: "memory" })) memory.push(...(await memoryOf(campaign)));
  if (rows.length + memory.length === 0) throw new Error(`expected --rows to name some. Received: ${only?.join(",")}`);
  write();
  console.log(`\n${markdown(results)}\n${((performance.now() - from) / 60_000).toFixed(1)} minutes`);
  if (out !== null) console.log(`Wrote ${join(out, base)}.json, .md and .html`);
  return results;
}

async function* rowResults(campaign: Campaign): AsyncGenerator<RowResult> {
  for (const row of modelRows(sizes)) if (wanted(row)) yield await measureModelRow(row, campaign);
  const pairs = [
    ...(threads ?? [1]).flatMap((n) => pairRows(n, sizes)),
    ...overheadRows(),
    ...mnistRows(campaign.scratch),
    ...optimizerRows(quick),
  ];
  for (const row of pairs)
    if (wanted(row) && (row.otherIsNbit || peers.includes("pytorch"))) yield await measurePairRow(row, campaign);
}

async function* scaleResults(campaign: Campaign): AsyncGenerator<RowResult> {
  for (const { row, scale, whole } of scaleRows({ long: options.long, ...sizes }))
    if (wanted(row)) yield ofScale(await measureModelRow(row, campaign), scale, whole);
}

/** A row of scale; the time of the whole process in place of a step's. */
function ofScale(row: RowResult, scale: NonNullable<RowResult["scale"]>, whole: boolean): RowResult {
  if (!whole) return { ...row, scale };
  const sides = Object.entries(row.sides).map(
    ([name, side]) => [name, { ...side, runs: side.runs.map((r) => ({ ...r, us: r.seconds * 1e6 })) }] as const,
  );
  return { ...row, scale, sides: Object.fromEntries(sides) };
}

async function memoryOf(campaign: Campaign): Promise<MemoryResult[]> {
  const { python, versions: found } = campaign.python;
  const job = { kind: "memory", model: SMALL_MLP, steps: steps === undefined ? (quick ? 2000 : 10_000) : 400 } as const;
  const small = ["--max-semi-space-size=4"];
  type Points = Omit<MemoryResult, "who">;
  return [
    { who: "nbit", ...(await measure<Points>(job, null, campaign)) },
    { who: `nbit, \`node ${small[0]}\``, ...(await measure<Points>(job, null, campaign, small)) },
    ...(found.lightning === null || !campaign.peers.includes("lightning")
      ? []
      : [{ who: "Lightning", ...(await measure<Points>(job, python, campaign)) }]),
  ];
}
