/**
 * The GPU benchmark: ours and the Python peer's, each measurement in a process of its own, interleaved row by row on one machine.
 *
 *   node benchmarks/dist/gpu/main.js [--models=tiny,gpt2,resnet50] [--precisions=32,16,bf16,bf16-true] [--compile] [--steps=30] [--out=benchmarks/results]
 *
 * `NBIT_PEER_PYTHON` names a Python with torch and lightning (default python3). Writes what it printed, with machine and versions.
 */
import { execFileSync, spawnSync } from "node:child_process";
import { mkdirSync, writeFileSync } from "node:fs";
import { cpus } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

interface Measurement {
  readonly side: "nbit" | "lightning" | "pytorch";
  readonly model: string;
  readonly precision: string;
  readonly mode: string;
  readonly ms: number;
  readonly min: number;
  readonly losses: readonly number[];
  readonly allocatedMiB: number | null;
  readonly reservedMiB: number | null;
}

const flags = new Map(process.argv.slice(2).map((a): readonly [string, string | undefined] => { const [name = "", value] = a.replace(/^--/, "").split("="); return [name, value]; }));
const list = (name: string, all: string): string[] => (flags.get(name) ?? all).split(",");
const models = list("models", "tiny,gpt2,resnet50");
const precisions = list("precisions", "32,16,bf16,bf16-true");
const out = flags.get("out") ?? "benchmarks/results";
const python = process.env["NBIT_PEER_PYTHON"] ?? "python3";
const here = fileURLToPath(new URL(".", import.meta.url));
const peer = fileURLToPath(new URL("../../gpu/peer.py", import.meta.url));
const stepsOf = (model: string, mode: string): string => flags.get("steps") ?? (model === "tiny" ? (mode === "graph" ? "1000" : "200") : "30");

// JSON has no word for NaN, which Python writes.
const parse = (line: string): Measurement => JSON.parse(line.replaceAll("NaN", "null")) as Measurement;
function measure(command: string, args: readonly string[]): Measurement | null {
  const result = spawnSync(command, args, { encoding: "utf8", stdio: ["ignore", "pipe", "pipe"] });
  const line = result.stdout.split("\n").find((l) => l.startsWith("{"));
  if (line === undefined) {
    console.error(`failed: ${command} ${args.join(" ")}\n${result.stderr.slice(-1500)}`);
    return null;
  }
  return parse(line);
}
const ours = (model: string, precision: string, mode: string): Measurement | null => measure(process.execPath, [join(here, "ours.js"), model, precision, mode, stepsOf(model, mode)]);
const theirs = (model: string, precision: string, mode: string): Measurement | null => measure(python, [peer, model, precision, mode, stepsOf(model, mode)]);

// Achieved against the chip's dense bfloat16 peak; 6 × parameters × tokens for the matrices, 12 × layers × width × context² × batch for attention, halved for causality.
const FLOPS: Readonly<Record<string, number>> = { gpt2: 6 * 124.5e6 * 8192 + 6 * 12 * 768 * 1024 * 1024 * 8 };
const UNITS: Readonly<Record<string, readonly [number, string]>> = { tiny: [128, "tokens"], gpt2: [8192, "tokens"], resnet50: [256, "images"] };
const PEAK_TFLOPS = 989;

const rows: Measurement[] = [];
const text: string[] = [];
const say = (line: string): void => {
  text.push(line);
  console.log(line);
};
const gpuName = (): string => execFileSync("nvidia-smi", ["--query-gpu=name,driver_version", "--format=csv,noheader"], { encoding: "utf8" }).trim();
const versions = execFileSync(python, ["-c", "import torch, lightning; print(torch.__version__, lightning.__version__)"], { encoding: "utf8" }).trim();
say(`# GPU benchmark, ${new Date().toISOString().slice(0, 10)}`);
say("");
say(`${gpuName()}; ${cpus()[0]?.model ?? "CPU"} × ${cpus().length}; PyTorch and Lightning ${versions}; Node ${process.versions.node}. Milliseconds per training step: median of five stretches after warm-up; each measurement in a process of its own.`);
say("");
say("| model | precision | nbit | nbit, CUDA graph | Lightning | Lightning, compiled | PyTorch loop | best ratio to Lightning | nbit MiB | Lightning MiB | nbit per second | share of peak | losses agree |");
say("|---|---|---|---|---|---|---|---|---|---|---|---|---|");

for (const model of models)
  for (const precision of precisions) {
    const a = ours(model, precision, "eager");
    const b = theirs(model, precision, "eager");
    const g = model === "resnet50" ? null : ours(model, precision, "graph");
    const c = flags.has("compile") && model !== "resnet50" ? theirs(model, precision, "compile") : null;
    const l = precision.endsWith("-true") ? null : theirs(model, precision, "loop");
    for (const m of [a, b, g, c, l]) if (m !== null) rows.push(m);
    if (a === null || b === null) continue;
    const best = Math.min(a.ms, g?.ms ?? Infinity);
    const agree = a.losses.slice(0, 2).every((v, i) => Math.abs(v - (b.losses[i] ?? NaN)) < 2e-3 * Math.abs(v)) && (g === null || Math.abs((g.losses[1] ?? NaN) - (a.losses[1] ?? 0)) < 2e-3 * (a.losses[1] ?? 1));
    const [units, name] = UNITS[model] ?? [1, "steps"];
    const ms = (m: Measurement | null): string => (m === null ? "–" : m.ms.toFixed(m.ms < 10 ? 3 : 2));
    const flops = FLOPS[model];
    say(
      `| ${model} | ${precision} | ${ms(a)} | ${ms(g)} | ${ms(b)} | ${ms(c)} | ${ms(l)} | ${(best / b.ms).toFixed(2)} | ${a.allocatedMiB?.toFixed(0) ?? "–"} | ${b.allocatedMiB?.toFixed(0) ?? "–"} | ${Math.round((units / best) * 1000).toLocaleString("en")} ${name} | ${flops === undefined || precision === "32" ? "–" : `${((flops / (best / 1000) / 1e12 / PEAK_TFLOPS) * 100).toFixed(0)} %`} | ${agree ? "yes" : "no"} |`,
    );
  }
mkdirSync(out, { recursive: true });
const stamp = `${new Date().toISOString().slice(0, 10)}-${gpuName().split(",")[0]?.toLowerCase().replaceAll(/[^a-z0-9]+/g, "-") ?? "gpu"}${flags.has("models") ? `-${models.join("-")}` : ""}${flags.has("precisions") ? `-${precisions.join("-")}` : ""}`;
writeFileSync(join(out, `${stamp}.md`), `${text.join("\n")}\n`);
writeFileSync(join(out, `${stamp}.json`), `${JSON.stringify({ machine: gpuName(), versions, rows }, null, 1)}\n`);
