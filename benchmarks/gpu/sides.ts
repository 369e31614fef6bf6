/**
 * The page of rows that every side has: time, memory, energy and start-up of each. node benchmarks/dist/gpu/sides.js
 * benchmarks/results/2026-12-01-h200-sides part1.json part2.json …
 */
import { writeFileSync } from "node:fs";
import { pathToFileURL } from "node:url";
import { find, lossesAgree, merge } from "./report.js";
import { BESIDE, DESCRIPTIONS, FLOPS, peakTflops, type Measurement, type Results } from "./rows.js";

const SIDES: readonly (readonly [title: string, side: string, mode: string])[] = [
  ["nbit, graph", "nbit", "graph"],
  ["nbit, eager", "nbit", "eager"],
  ["PyTorch, eager", "pytorch", "loop"],
  ["PyTorch, compiled", "pytorch", "loop-compile"],
  ["Lightning", "lightning", "eager"],
  ["JAX jit", "jax", "jit"],
];
type Show = (m: Measurement) => string;

const digits = (x: number): string => (x < 10 ? x.toFixed(3) : x.toFixed(2));
const orDash =
  (value: (m: Measurement) => number | null | undefined, show: (x: number) => string): Show =>
  (m) => {
    const found = value(m);
    return found == null ? "–" : show(found);
  };

/** A row a model and precision, a column a side. */
function table(all: readonly Measurement[], cell: Show): string[] {
  const rows = BESIDE.flatMap(({ model, precision }) => {
    const own = SIDES.map(([, side, mode]) => find(all, model, precision, side, mode));
    return own.every((m) => m === undefined)
      ? []
      : [`| ${[model, precision, ...own.map((m) => (m === undefined ? "–" : cell(m)))].join(" | ")} |`];
  });
  return [
    `| ${["model", "precision", ...SIDES.map(([title]) => title)].join(" | ")} |`,
    `|${"---|".repeat(SIDES.length + 2)}`,
    ...rows,
  ];
}

/** The best of ours over the best of each peer, and the share of the chip. */
function ratios(all: readonly Measurement[], machine: string): string[] {
  const peers = SIDES.filter(([, side]) => side !== "nbit");
  const rows = BESIDE.flatMap(({ model, precision }) => {
    const own = all.filter((m) => m.model === model && m.precision === precision);
    const ours = own.filter((m) => m.side === "nbit").sort((a, b) => a.ms - b.ms)[0];
    if (ours === undefined) return [];
    const [flops, peak] = [FLOPS[model], peakTflops(machine, model, precision)];
    const share = flops === undefined || peak === null ? "–" : `${((flops / ours.ms / 1e9 / peak) * 100).toFixed(0)} %`;
    const of = peers.map(([, side, mode]) => {
      const m = find(all, model, precision, side, mode);
      return m === undefined ? "–" : (ours.ms / m.ms).toFixed(2);
    });
    return [`| ${[model, precision, ...of, share, lossesAgree(own)].join(" | ")} |`];
  });
  return [
    `| ${["model", "precision", ...peers.map(([title]) => title), "of the chip's peak", "losses agree"].join(" | ")} |`,
    `|${"---|".repeat(peers.length + 4)}`,
    ...rows,
  ];
}

export function sidesPage(r: Results): string {
  const jax = r.measurements.find((m) => m.jax !== undefined)?.jax;
  const attentions = r.measurements.filter((m) => m.attention !== undefined);
  const models = Object.entries(DESCRIPTIONS).filter(([name]) => r.measurements.some((m) => m.model === name));
  return [
    `# Every side on a GPU, ${r.date}`,
    "",
    `${r.machine}; ${r.cpu}; PyTorch ${r.torch}, Lightning ${r.lightning}${jax === undefined ? "" : `, JAX ${jax}`}; Node ${r.node}. Each measurement in a process of its own, the sides of a row in turn; the same weights and batch on every side, of which the losses of the first two steps must agree within 0.5 %. \`node benchmarks/dist/gpu/main.js --beside\` measures, \`sides.js\` wrote these tables from the JSON beside the page.`,
    "",
    ...models.map(([name, text]) => `- ${name}: ${text}`),
    "",
    "## Milliseconds a step",
    "",
    ...table(r.measurements, (m) => digits(m.ms)),
    "",
    "Medians of five stretches after at least twelve steps. nbit's over each peer's, of nbit the faster of the two:",
    "",
    ...ratios(r.measurements, r.machine),
    "",
    `Float32 is without TF32, but for PyTorch's and nbit's convolution of ViT's patches, which take it by default. JAX's attention: ${attentions.map((m) => `${m.model} ${m.precision} ${String(m.attention)}`).join(", ") || "–"}.`,
    "",
    "## Memory, MiB",
    "",
    ...table(
      r.measurements,
      orDash(
        (m) => (m.mode === "graph" ? m.reservedMiB : m.allocatedMiB),
        (x) => x.toFixed(0),
      ),
    ),
    "",
    "The most that tensors held in a step. Of a graph, whose memory is its own: what was taken from the driver in all, the eager steps before it among it. JAX: the peak of its allocator.",
    "",
    "## Energy, joules a step",
    "",
    ...table(
      r.measurements,
      orDash((m) => m.joules, digits),
    ),
    "",
    "NVML's counter of the whole card over the timed stretches; – where they lasted less than half a second, or nothing counted.",
    "",
    "## Seconds from the start of the process to the end of the first step",
    "",
    ...table(
      r.measurements,
      orDash(
        (m) => m.startupMs,
        (x) => (x / 1000).toFixed(1),
      ),
    ),
    "",
    "Drawing the weights on the CPU is part of it, but for JAX, which reads them from a file. PyTorch's compiler had its cache filled before; JAX compiles. Imports of PyTorch and Lightning were measured once, in the process from which theirs are forked. A graph's first step is an eager one.",
    "",
  ].join("\n");
}

if (import.meta.url === pathToFileURL(process.argv[1] ?? "").href) {
  const [target = "sides", ...files] = process.argv.slice(2);
  const merged = merge(files);
  writeFileSync(`${target}.json`, `${JSON.stringify(merged, null, 1)}\n`);
  writeFileSync(`${target}.md`, sidesPage(merged));
}
