/**
 * The table and the plot of one or several files of measurements: node benchmarks/dist/gpu/report.js
 * benchmarks/results/2026-11-24-nvidia-h200 part1.json part2.json …
 */
import { readFileSync, writeFileSync } from "node:fs";
import { pathToFileURL } from "node:url";
import { plot } from "./plot.js";
import { DESCRIPTIONS, FLOPS, peakTflops, ROWS, TARGETS, UNITS, type Measurement, type Results } from "./rows.js";

export function find(
  all: readonly Measurement[],
  model: string,
  precision: string,
  side: string,
  mode: string,
): Measurement | undefined {
  return all.find((m) => m.model === model && m.precision === precision && m.side === side && m.mode === mode);
}
export function best(all: readonly Measurement[], model: string, precision: string): Measurement | undefined {
  return all
    .filter((m) => m.side === "nbit" && m.model === model && m.precision === precision)
    .sort((a, b) => a.ms - b.ms)[0];
}

/**
 * "yes", or what differs: every side's first two losses within 0.5 %, and where a true 16-bit loss has 8 bits of its
 * own, within 1 %.
 */
export function lossesAgree(own: readonly Measurement[]): string {
  const reference = own.find((m) => m.side === "nbit" && m.mode === "eager") ?? own[0];
  if (reference === undefined) return "nothing was measured";
  const tolerance = reference.precision.endsWith("-true") ? 0.01 : 0.005;
  for (const m of own)
    for (const i of [0, 1]) {
      const [a, b] = [reference.losses[i], m.losses[i]];
      if (a == null || b == null || !(Math.abs(a - b) <= tolerance * Math.abs(a)))
        return `${m.side} ${m.mode} step ${i}: ${String(b)} against ${String(a)}`;
    }
  return "yes";
}

const ms = (m: Measurement | undefined): string => (m === undefined ? "–" : m.ms.toFixed(m.ms < 10 ? 3 : 2));
export function ratioLine(own: readonly Measurement[]): string {
  const first = own[0];
  return first === undefined
    ? "no measurements"
    : `${first.model} ${first.precision}: ${own.map((m) => `${m.side} ${m.mode} ${ms(m)} ms${m.allocatedMiB === null ? "" : ` ${m.allocatedMiB.toFixed(0)} MiB`}`).join(", ")}`;
}

/** A graph's own pool is not in the allocator's peak of later steps: what it took from the driver is. */
const peakOf = (m: Measurement | undefined): string =>
  m === undefined || m.allocatedMiB === null ? "–" : m.allocatedMiB.toFixed(0);

function table(all: readonly Measurement[], machine: string): string[] {
  const lines = [
    "| model | precision | nbit | nbit, CUDA graph | Lightning | Lightning, compiled | PyTorch loop | nbit / Lightning | nbit / compiled | MiB nbit | MiB Lightning | per second | of the chip's peak | losses agree |",
    "|---|---|---|---|---|---|---|---|---|---|---|---|---|---|",
  ];
  for (const { model, precision } of ROWS) {
    const fastest = best(all, model, precision);
    if (fastest === undefined) continue;
    const [eager, graph, lightning, compiled, loop] = [
      find(all, model, precision, "nbit", "eager"),
      find(all, model, precision, "nbit", "graph"),
      find(all, model, precision, "lightning", "eager"),
      find(all, model, precision, "lightning", "compile"),
      find(all, model, precision, "pytorch", "loop"),
    ];
    const ratio = (m: Measurement | undefined): string => (m === undefined ? "–" : (fastest.ms / m.ms).toFixed(2));
    const [units, name] = UNITS[model] ?? [1, "steps"];
    const [flops, peak] = [FLOPS[model], peakTflops(machine, model, precision)];
    const share =
      flops === undefined || peak === null
        ? "–"
        : `${((flops / (fastest.ms / 1000) / 1e12 / peak) * 100).toFixed(0)} %`;
    const perSecond = `${Math.round((units / fastest.ms) * 1000).toLocaleString("en")} ${name}`;
    const own = all.filter((m) => m.model === model && m.precision === precision);
    lines.push(
      `| ${model} | ${precision} | ${ms(eager)} | ${ms(graph)} | ${ms(lightning)} | ${ms(compiled)} | ${ms(loop)} | ${ratio(lightning)} | ${ratio(compiled)} | ${peakOf(eager)} | ${peakOf(lightning)} | ${perSecond} | ${share} | ${lossesAgree(own)} |`,
    );
  }
  return lines;
}

function targets(all: readonly Measurement[]): string[] {
  const lines = ["| target | model | precision | reached | |", "|---|---|---|---|---|"];
  for (const t of TARGETS) {
    const own = best(all, t.model, t.precision);
    if (own === undefined) continue;
    const eager = find(all, t.model, t.precision, "nbit", "eager");
    const checks: (readonly [string, boolean])[] = [];
    if (t.ms !== undefined) checks.push([`${ms(own)} ms`, own.ms <= t.ms]);
    if (t.gib !== undefined && eager?.allocatedMiB != null)
      checks.push([`${(eager.allocatedMiB / 1024).toFixed(2)} GiB`, eager.allocatedMiB / 1024 <= t.gib]);
    if (t.lightning === true) {
      const baseline = find(all, t.model, t.precision, "lightning", "eager");
      if (baseline !== undefined) checks.push([`${ms(own)} ms against ${ms(baseline)} ms`, own.ms <= baseline.ms]);
    }
    if (t.faster !== undefined) {
      const other = best(all, t.model, t.faster[0]);
      if (other !== undefined) checks.push([`${(other.ms / own.ms).toFixed(2)} ×`, other.ms / own.ms >= t.faster[1]]);
    }
    if (checks.length > 0)
      lines.push(
        `| ${t.name} | ${t.model} | ${t.precision} | ${checks.map(([text]) => text).join(", ")} | ${checks.every(([, met]) => met) ? "met" : "missed"} |`,
      );
  }
  return lines;
}

export function render(r: Results): string {
  return [
    `# GPU benchmark, ${r.date}`,
    "",
    `${r.machine}; ${r.cpu}; PyTorch ${r.torch}, Lightning ${r.lightning}; Node ${r.node}. Milliseconds per training step: the median of five stretches after warm-up; each measurement in a process of its own, nbit and the baseline in turn. Rows "4 to a step" accumulate the gradients of four batches; their milliseconds are per batch, a quarter of a step. \`node benchmarks/dist/gpu/main.js\` measures, \`report.js\` wrote this page from the JSON beside it.`,
    "",
    ...Object.entries(DESCRIPTIONS).map(([name, text]) => `- ${name}: ${text}`),
    "",
    ...table(r.measurements, r.machine),
    "",
    "MiB: the most that tensors held in eager steps. Share of the peak: operations of the matrices and convolutions over the vendor's dense peak of the type (float32 matrices without TF32; convolutions with it, PyTorch's default).",
    "",
    "## Against the targets",
    "",
    ...targets(r.measurements),
    "",
  ].join("\n");
}

/** Parts of one machine as one. Of what was measured twice, the faster counts, on every side. */
export function merge(files: readonly string[]): Results {
  const parts = files.map((file) => JSON.parse(readFileSync(file, "utf8")) as Results);
  const first = parts[0];
  if (first === undefined) throw new Error("expected files of measurements. Received: none.");
  for (const part of parts)
    if (part.machine !== first.machine || part.torch !== first.torch)
      throw new Error(`expected parts of one machine. Received: ${first.machine}, ${part.machine}.`);
  const measurements: Measurement[] = [];
  for (const m of parts.flatMap((part) => part.measurements)) {
    const i = measurements.findIndex(
      (o) => o.model === m.model && o.precision === m.precision && o.side === m.side && o.mode === m.mode,
    );
    if (i === -1) measurements.push(m);
    else if (m.ms < (measurements[i] as Measurement).ms) measurements[i] = m;
  }
  return { ...first, measurements };
}

if (import.meta.url === pathToFileURL(process.argv[1] ?? "").href) {
  const [target = "gpu", ...files] = process.argv.slice(2);
  const merged = merge(files);
  writeFileSync(`${target}.json`, `${JSON.stringify(merged, null, 1)}\n`);
  writeFileSync(`${target}.md`, render(merged));
  for (const theme of ["light", "dark"] as const) writeFileSync(`${target}-${theme}.svg`, plot(merged, theme));
}
