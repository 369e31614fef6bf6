/**
 * Processor time of a step of every optimizer, one thread, beside PyTorch's own of the same parameters, over lists
 * (`foreach=True`) and tensor by tensor, which is its default on the CPU:
 *
 *     node benchmarks/dist/cpu/optimizers.js --python=python3 --out=benchmarks/results/DATE-optimizers.md
 *
 * Processor time, so that a machine with other work tells the same; the sides take turns, in processes of their own,
 * and the least of their rounds counts.
 */
import { execFileSync } from "node:child_process";
import { writeFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { manualSeed, nn, optim, randn, randnLike, setNumThreads, versions } from "@nbit/torch";
import { flagsOf } from "../flags.js";

type Row = readonly [label: string, name: string, kwargs: Readonly<Record<string, unknown>>];
const ROWS: readonly Row[] = [
  ["SGD, momentum", "SGD", { lr: 1e-3, momentum: 0.9 }],
  ["Adam", "Adam", {}],
  ["Adadelta", "Adadelta", {}],
  ["Adafactor", "Adafactor", {}],
  ["Adagrad", "Adagrad", {}],
  ["Adamax", "Adamax", {}],
  ["ASGD", "ASGD", {}],
  ["Muon", "Muon", {}],
  ["NAdam", "NAdam", {}],
  ["RAdam", "RAdam", {}],
  ["RMSprop, centered, momentum", "RMSprop", { centered: true, momentum: 0.9 }],
  ["Rprop", "Rprop", {}],
];
type Times = Readonly<Record<string, number>>;
interface Size {
  readonly title: string;
  readonly shapes: readonly (readonly number[])[];
  readonly steps: number;
}
const pairs = (n: number, width: number): readonly (readonly number[])[] =>
  Array.from({ length: n }, () => [[width, width], [width]]).flat();
const SIZES: readonly Size[] = [
  { title: "40 tensors, 20 of 32×32", shapes: pairs(20, 32), steps: 60 },
  { title: "12 tensors, 6 of 512×512", shapes: pairs(6, 512), steps: 6 },
];

type Newable = new (params: readonly nn.Parameter[], options: Readonly<Record<string, unknown>>) => optim.Optimizer;
function measure({ shapes, steps }: Size, [, name, kwargs]: Row): number {
  manualSeed(0);
  const params = shapes.filter((s) => name !== "Muon" || s.length === 2).map((s) => new nn.Parameter(randn([...s])));
  for (const p of params) p.grad = randnLike(p);
  const optimizer = new (Reflect.get(optim, name) as Newable)(params, kwargs);
  const times: number[] = [];
  for (let round = 0; round < 7; round++) {
    const start = process.cpuUsage();
    for (let i = 0; i < steps; i++) optimizer.step();
    const { user, system } = process.cpuUsage(start);
    times.push((user + system) / steps);
  }
  return times.slice(2).sort((a, b) => a - b)[2] ?? NaN;
}

const self = fileURLToPath(import.meta.url);
const script = fileURLToPath(new URL("../../cpu/python/optimizers.py", import.meta.url));
const flags = flagsOf(["python", "out", "side", "rounds"]);
const side = flags.get("side");
if (side !== undefined) {
  setNumThreads(1);
  const size = SIZES[Number(side)] as Size;
  process.stdout.write(JSON.stringify(Object.fromEntries(ROWS.map((row) => [row[0], measure(size, row)]))));
} else compare(flags.get("python") ?? "python3", flags.get("out"), Number(flags.get("rounds") ?? "3"));

function compare(python: string, out: string | undefined, rounds: number): void {
  const call = (program: string, args: readonly string[]): Times =>
    JSON.parse(
      execFileSync(program, args, { encoding: "utf8", env: { ...process.env, OMP_NUM_THREADS: "1" } }),
    ) as Times;
  const sections = SIZES.map((size, index) => {
    const theirs =
      (how: string): (() => Times) =>
      () =>
        call(python, [script, JSON.stringify(ROWS), JSON.stringify(size.shapes), String(size.steps), how]);
    const sides = [() => call(process.execPath, [self, `--side=${index}`]), theirs("foreach"), theirs("single")];
    const best: Record<string, number>[] = sides.map(() => ({}));
    for (let round = 0; round < rounds; round++)
      sides.forEach((run, i) => {
        for (const [label, time] of Object.entries(run())) {
          const own = best[i] as Record<string, number>;
          own[label] = Math.min(own[label] ?? Infinity, time);
        }
      });
    const [ours, lists, single] = best as [Times, Times, Times];
    const lines = ROWS.map(([label]) => {
      const [a, b, c] = [ours, lists, single].map((times) => times[label] ?? NaN) as [number, number, number];
      return `| ${label} | ${a.toFixed(0)} | ${b.toFixed(0)} | ${c.toFixed(0)} | ${(a / b).toFixed(2)} |`;
    });
    return [
      `## ${size.title}`,
      "",
      "| optimizer | nbit | PyTorch, `foreach=True` | PyTorch, default | nbit / foreach |",
      "|---|---|---|---|---|",
      ...lines,
    ].join("\n");
  });
  const page = [
    `# A step of each optimizer on the CPU`,
    "",
    `Processor time of one step in µs, one thread, float32, the least of ${rounds} rounds of medians, nbit (libtorch ${versions().libtorch}) and PyTorch of the same parameters in turn, each in a process of its own: ` +
      "`node benchmarks/dist/cpu/optimizers.js`. Muon has no arithmetic over lists in PyTorch, and steps matrices alone.",
    "",
    sections.join("\n\n"),
    "",
  ].join("\n");
  if (out === undefined) process.stdout.write(page);
  else writeFileSync(out, page);
}
