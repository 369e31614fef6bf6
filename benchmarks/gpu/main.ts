/**
 * The GPU benchmark: nbit, the Python baseline's and JAX, each measurement in a process of its own, in turn on one
 * machine.
 *
 * node benchmarks/dist/gpu/main.js [--beside] [--models=tiny,gpt2,gpt2-350m,gpt2-32k,resnet50,vit,wide]
 * [--precisions=32,16,bf16,bf16-true,…] [--modes=eager,graph,loop,loop-compile,compile,jit] [--without="kept casts"]
 * [--containing="4 to a step"] [--no-compile] [--steps=30] [--warm-compiler] [--out=benchmarks/results/gpu.json]
 *
 * `--beside` takes the rows that every side has: eager PyTorch, a compiled loop, Lightning and JAX's jit; sides.js makes
 * their page.
 * `--containing` takes the rows whose precision, as rows.ts spells it, has these words. Losses are compared first: a
 * row whose sides disagree says so and makes the run fail. Rows are written to `--out` as they come; report.js makes
 * the table and the plot of one or several such files. `NBIT_BASELINE_PYTHON` names a Python with torch and lightning
 * (default python3). `--warm-compiler` lets torch.compile fill its cache, all rows at once, before anything is timed.
 */
import { execFileSync, spawn } from "node:child_process";
import { cpus, tmpdir } from "node:os";
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { flagsOf } from "../flags.js";
import { Baseline, python, baselineScript } from "./baseline.js";
import { Energy } from "./energy.js";
import { measureJax } from "./jax.js";
import { lossesAgree, ratioLine } from "./report.js";
import { BESIDE, ROWS, type Measurement, type Row, type Results } from "./rows.js";
import { startingNow } from "./started.js";

const flags = flagsOf([
  "beside",
  "containing",
  "models",
  "modes",
  "no-compile",
  "out",
  "precisions",
  "steps",
  "warm-compiler",
  "without",
]);
const chosen = (name: string, of: string): boolean =>
  !flags.has(name) || (flags.get(name) ?? "").split(",").includes(of);
const rows = (flags.has("beside") ? BESIDE : ROWS).filter(
  (row) =>
    chosen("models", row.model) &&
    (chosen("precisions", row.precision.split(",")[0] ?? "") || chosen("precisions", row.precision)) &&
    row.precision.includes(flags.get("containing") ?? "") &&
    !(flags.has("without") && row.precision.includes(flags.get("without") ?? "")),
);
const out = flags.get("out") ?? "benchmarks/results/gpu.json";
const here = fileURLToPath(new URL(".", import.meta.url));
const modesOf = (modes: readonly string[]): readonly string[] =>
  modes.filter((mode) => chosen("modes", mode) && (!mode.endsWith("compile") || !flags.has("no-compile")));
/** So many that stretches last for a second or more, for the sake of the energy. */
function stepsOf(model: string, precision: string, mode: string): string {
  const [graph, others, large] =
    model === "tiny"
      ? [5000, 500, false]
      : [["gpt2", "vit"].includes(model) ? 60 : 30, 30, model !== "resnet50" && model !== "wide"];
  const steps = large && precision === "32" ? 10 : mode === "graph" || mode === "jit" ? graph : others;
  return flags.get("steps") ?? String(steps);
}

function nbit(model: string, precision: string, mode: string): Promise<Measurement | null> {
  return new Promise((done) => {
    const child = spawn(
      process.execPath,
      [join(here, "nbit.js"), model, precision, mode, stepsOf(model, precision, mode)],
      { stdio: ["ignore", "pipe", "pipe"], env: startingNow() },
    );
    let text = "";
    let errors = "";
    child.stdout.setEncoding("utf8").on("data", (part: string) => (text += part));
    child.stderr.setEncoding("utf8").on("data", (part: string) => (errors += part));
    child.on("close", () => {
      const line = text.split("\n").find((l) => l.startsWith("{"));
      if (line === undefined) console.error(`failed: ${model} ${precision} ${mode}\n${errors.slice(-800)}`);
      done(line === undefined ? null : (JSON.parse(line) as Measurement));
    });
  });
}

/** torch.compile's cache, filled by all rows at once: compiling takes a core each, and minutes. */
async function warmCompiler(of: readonly Row[]): Promise<void> {
  const wanted = of.flatMap((row) =>
    modesOf(row.baseline)
      .filter((mode) => mode.endsWith("compile"))
      .map((mode) => [row.model, row.baselinePrecision ?? row.precision, mode] as const),
  );
  await Promise.all(
    wanted.map(
      (which) =>
        new Promise((done) => spawn(python, [baselineScript, ...which, "2"], { stdio: "ignore" }).on("close", done)),
    ),
  );
}

const machine =
  execFileSync("nvidia-smi", ["--query-gpu=name,driver_version", "--format=csv,noheader"], { encoding: "utf8" })
    .trim()
    .split("\n")[0] ?? "";
const versions = execFileSync(
  python,
  ["-c", "import torch, lightning; print(torch.__version__, lightning.__version__)"],
  { encoding: "utf8" },
)
  .trim()
  .split(" ");
const results: Results = {
  date: new Date().toISOString().slice(0, 10),
  machine,
  cpu: `${cpus()[0]?.model.trim() ?? "CPU"} × ${cpus().length}`,
  torch: versions[0] ?? "",
  lightning: versions[1] ?? "",
  node: process.versions.node,
  measurements: [],
};
mkdirSync(dirname(out), { recursive: true });
if (flags.has("warm-compiler")) await warmCompiler(rows);
const server = new Baseline();
const energy = new Energy();
const scratch = mkdtempSync(join(tmpdir(), "nbit-gpu-"));
const weights = join(scratch, "weights.npz");

async function baselineOf({ model, baselinePrecision, precision }: Row, mode: string): Promise<Measurement | null> {
  const steps = stepsOf(model, precision, mode);
  if (mode !== "jit") return server.measure(model, baselinePrecision ?? precision, mode, steps);
  return (await server.saveWeights(model, precision, weights)) ? measureJax(model, precision, weights, steps) : null;
}
let disagreements = 0;
for (const row of rows) {
  const own: Measurement[] = [];
  const add = async (m: Measurement | null): Promise<void> => {
    if (m === null) return;
    const [begin, end] = m.span ?? [];
    const joules = await energy.between(begin, end);
    const batches = begin === undefined || end === undefined ? NaN : (end - begin) / m.ms;
    own.push({ ...m, precision: row.precision, joules: joules === null ? null : joules / batches });
  };
  const [modes, baseline] = [modesOf(row.nbit), modesOf(row.baseline)];
  // In turn: nbit, baseline, nbit, baseline.
  for (let i = 0; i < Math.max(modes.length, baseline.length); i++) {
    const [a, b] = [modes[i], baseline[i]];
    if (a !== undefined) await add(await nbit(row.model, row.precision, a));
    if (b !== undefined) await add(await baselineOf(row, b));
  }
  results.measurements.push(...own);
  const agreement = lossesAgree(own);
  if (agreement !== "yes") disagreements++;
  console.log(`${agreement === "yes" ? "losses agree" : `LOSSES DISAGREE (${agreement})`}; ${ratioLine(own)}`);
  writeFileSync(out, `${JSON.stringify(results, null, 1)}\n`);
}
server.close();
energy.close();
rmSync(scratch, { recursive: true, force: true });
if (disagreements > 0) process.exitCode = 1;
