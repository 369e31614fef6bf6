/** Medians, ratios, and how they are shown. */
import type { Row } from "./rows.js";

export interface Measured {
  readonly row: Row;
  /** Microseconds, one per run. */
  readonly nbit: readonly number[];
  readonly baseline: readonly number[];
  /** Median over runs of the ratio within a run: the machine's drift falls out. */
  readonly ratio: number;
  readonly losses: "equal" | "close" | "not compared";
  /** Bytes of optimizer state, nbit over baseline, where a row is about them. */
  readonly state: number | null;
  readonly caveat: string | null;
}
export interface MemoryPoint {
  readonly step: number;
  /** Resident memory of the process. */
  readonly mib: number;
  /** Of that, V8's heap. */
  readonly heapMib?: number;
}
export interface MemoryRow {
  readonly who: string;
  readonly first: MemoryPoint;
  readonly middle: MemoryPoint;
  readonly last: MemoryPoint;
}

export function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  return sorted[sorted.length >> 1] ?? NaN;
}

export function verdict(m: Measured): string {
  if (m.row.target === null) return "";
  return m.ratio <= m.row.target ? "reached" : m.caveat === null ? "MISSED" : "not reachable here";
}

function time(us: number, unit: Row["unit"]): string {
  const value = unit === "ms" ? us / 1000 : us;
  return `${value < 10 ? value.toFixed(2) : value.toFixed(value < 100 ? 1 : 0)} ${unit}`;
}

const HEAD = ["threads", "what", "nbit", "against", "baseline", "ratio", "target", "", "losses", "state"] as const;

/** Bytes of state beside what is wanted. */
function state(m: Measured): string {
  const { stateTarget } = m.row;
  if (m.state === null || stateTarget === undefined) return "";
  return `${m.state.toFixed(3)} × (≤ ${stateTarget.toFixed(2)}, ${m.state <= stateTarget ? "reached" : "MISSED"})`;
}

export function table(measured: readonly Measured[]): string {
  const lines = measured.map((m) => [
    String(m.row.threads),
    m.row.name,
    time(median(m.nbit), m.row.unit),
    m.row.against,
    time(median(m.baseline), m.row.unit),
    m.ratio.toFixed(2),
    m.row.target === null ? "–" : `≤ ${m.row.target.toFixed(2)}`,
    verdict(m),
    m.losses,
    state(m),
  ]);
  return [HEAD, HEAD.map(() => "---"), ...lines].map((cells) => `| ${cells.join(" | ")} |`).join("\n");
}

function change(from: number, to: number): string {
  const percent = (to / from - 1) * 100;
  return `${percent >= 0 ? "+" : ""}${percent.toFixed(1)} %`;
}

export function memoryLine(m: MemoryRow): string {
  const at = (p: MemoryPoint): string =>
    `${p.mib.toFixed(1)} MiB${p.heapMib === undefined ? "" : ` (V8 ${p.heapMib.toFixed(1)})`}`;
  return `| ${[m.who, at(m.first), at(m.middle), at(m.last), change(m.first.mib, m.last.mib), change(m.middle.mib, m.last.mib)].join(" | ")} |`;
}

export interface Machine {
  readonly date: string;
  readonly cpu: string;
  readonly cores: number;
  readonly memoryGiB: number;
  readonly kernel: string;
  readonly node: string;
  readonly libtorch: string;
  readonly capability: string;
  readonly nativeBf16: boolean;
  readonly baseline: {
    readonly python: string;
    readonly torch: string;
    readonly lightning: string;
    readonly capability: string;
  };
  readonly runs: number;
}

const count = (p: MemoryPoint | undefined): string => p?.step.toLocaleString("en") ?? "?";

export function markdown(machine: Machine, measured: readonly Measured[], memory: readonly MemoryRow[]): string {
  const caveats = [...new Set(measured.map((m) => m.caveat).filter((c): c is string => c !== null))];
  return `# CPU benchmark, ${machine.date}

${machine.cpu}, ${machine.cores} cores, ${machine.memoryGiB} GiB, ${machine.kernel}; Node ${machine.node}, libtorch ${machine.libtorch} (${machine.capability}); Python ${machine.baseline.python}, PyTorch ${machine.baseline.torch}, Lightning ${machine.baseline.lightning}.

Medians of ${machine.runs} runs, both sides in turn, each in a fresh process with the same number of threads. Ratio: nbit over baseline within a run, median over runs; lower is better. Losses: of the first ten steps from the same seed. A fourth of a row's steps is warm-up, in which V8 compiles; where a row says so, the first steps of a process are measured instead.

${table(measured)}
${caveats.map((c) => `\n- ${c}`).join("")}

Resident memory of a small MLP's training. V8 enlarges its space for new objects during the first few thousand steps, to 16 MiB unless a flag of Node.js bounds it, and then stays; everything else is flat:

| | after 100 steps | after ${count(memory[0]?.middle)} | after ${count(memory[0]?.last)} | change from 100 | change from ${count(memory[0]?.middle)} |
| --- | --- | --- | --- | --- | --- |
${memory.map(memoryLine).join("\n")}
`;
}
