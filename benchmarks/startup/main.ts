/**
 * What a first import costs, beside Python: `import "@nbit/torch"` and `import torch`, `import "@nbit/lightning"` and
 * `import torch, lightning`, `nbit --help`, and Node.js alone. All take turns, each in a process of its own that says
 * its own processor time (user and system), which a busy machine changes less than the clock.
 *
 *     node benchmarks/dist/startup/main.js [--runs=20] [--out=benchmarks/results]
 *
 * Writes <date>-startup.json and .md.
 */
import { spawnSync } from "node:child_process";
import { writeFileSync } from "node:fs";
import { cpus, loadavg } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { findPython } from "../cpu/sides.js";
import { median } from "../cpu/statistics.js";
import { flagsOf } from "../flags.js";

const flags = flagsOf(["runs", "out"]);
const runs = Number(flags.get("runs") ?? 20);
const python = findPython();
if ("missing" in python) throw new Error(python.missing);

const SAY = 'process.stderr.write("cpu " + Object.values(process.cpuUsage()).reduce((a, b) => a + b) / 1000 + "\\n")';
const inNode = (code: string): string[] => [process.execPath, "--input-type=module", "-e", `${code}; ${SAY}`];
const inPython = (code: string): string[] => [
  python.python,
  "-c",
  `${code}\nimport resource, sys\nu = resource.getrusage(resource.RUSAGE_SELF)\nsys.stderr.write("cpu %f\\n" % ((u.ru_utime + u.ru_stime) * 1000))`,
];
const url = (name: string): string => JSON.stringify(import.meta.resolve(name));
const shell = JSON.stringify(new URL("shell.js", import.meta.resolve("nbit")).href);

const COMMANDS = {
  "Node.js alone": inNode("0"),
  "nbit --help": inNode(`const { shell } = await import(${shell}); await shell(["--help"])`),
  "@nbit/torch": inNode(`await import(${url("@nbit/torch")})`),
  "import torch": inPython("import torch"),
  "@nbit/lightning": inNode(`await import(${url("@nbit/lightning")})`),
  "import torch, lightning": inPython("import torch, lightning"),
} as const;
type Name = keyof typeof COMMANDS;
const names = Object.keys(COMMANDS) as Name[];

interface Time {
  readonly wall: number;
  readonly cpu: number;
}
function measure([program = "", ...args]: readonly string[]): Time {
  const began = performance.now();
  const { status, stderr } = spawnSync(program, args, { encoding: "utf8" });
  const wall = performance.now() - began;
  const cpu = /^cpu ([\d.]+)$/m.exec(stderr)?.[1];
  if (status !== 0 || cpu === undefined) throw new Error(`${args.join(" ")}: ${stderr.slice(-2000)}`);
  return { wall, cpu: Number(cpu) };
}

for (const name of names) measure(COMMANDS[name]); // files are in memory then
const times = new Map<Name, Time[]>(names.map((name) => [name, []]));
const loads: number[] = [];
for (let i = 0; i < runs; i++) {
  for (const name of names) times.get(name)?.push(measure(COMMANDS[name]));
  loads.push(loadavg()[0] ?? 0);
}

const of = (name: Name, what: keyof Time): number[] => (times.get(name) ?? []).map((time) => time[what]);
const ms = (name: Name, what: keyof Time): string => median(of(name, what)).toFixed(0);
/** Of pairs that were measured one after the other. */
const ratio = (ours: Name, theirs: Name, what: keyof Time): string => {
  const other = of(theirs, what);
  return median(of(ours, what).map((value, i) => value / (other[i] ?? NaN))).toFixed(2);
};
const date = new Date().toISOString().slice(0, 10);
const text = `# Start-up, ${date}

Milliseconds of a process that imports and ends: median of ${runs} rounds in which all take turns. ${cpus().length} × ${cpus()[0]?.model.trim() ?? "?"}, Node.js ${process.versions.node}; load ${Math.min(...loads).toFixed(0)} to ${Math.max(...loads).toFixed(0)}. Processor time is user and system; the clock includes waiting for a processor.

| | processor | clock |
|---|---|---|
${names
  .map((name) => `| \`${name}\` | ${ms(name, "cpu")} | ${ms(name, "wall")} |`)
  .join("\n")
  .replace("`Node.js alone`", "Node.js alone")}

| nbit / Python, pair by pair | processor | clock |
|---|---|---|
| \`@nbit/torch\` / \`import torch\` | ${ratio("@nbit/torch", "import torch", "cpu")} | ${ratio("@nbit/torch", "import torch", "wall")} |
| \`@nbit/lightning\` / \`import torch, lightning\` | ${ratio("@nbit/lightning", "import torch, lightning", "cpu")} | ${ratio("@nbit/lightning", "import torch, lightning", "wall")} |

\`node benchmarks/dist/startup/main.js\` measures this again.
`;
const out = flags.get("out") ?? fileURLToPath(new URL("../../results", import.meta.url));
writeFileSync(join(out, `${date}-startup.md`), text);
writeFileSync(
  join(out, `${date}-startup.json`),
  `${JSON.stringify({ runs, loads, times: Object.fromEntries(times) })}\n`,
);
console.log(text);
