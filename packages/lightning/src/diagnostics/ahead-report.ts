import { formatBytes, formatPrefixed } from "@nbit/torch/format";
import type { Analysis, XlaTopology } from "@nbit/xla";
import type { AheadProgram } from "@nbit/xla/step";
import type { Precision } from "../precision/precision.js";
import { memoryText } from "./analysis-text.js";

/** One program that was compiled for a topology. Numbers are those of each device. */
export interface AheadProgramReport {
  /** What it is of a training step: "step", or with accumulation a batch's place in its window. */
  readonly what: string;
  readonly operators: number;
  /** Of them, those that only look at memory in another way. */
  readonly views: number;
  readonly kinds: readonly string[];
  /** Bytes of StableHLO. */
  readonly textBytes: number;
  /** Of compiling. */
  readonly seconds: number;
  readonly memory: Analysis["memory"];
  readonly flops: number | null;
  readonly bytesAccessed: number | null;
  /** By the compiler's model of the chip; null where it gives none. */
  readonly estimatedSeconds: number | null;
  /** How many of each kind the compiler has made: `all-reduce`, `all-gather` and so on; those that there are. */
  readonly collectives: Readonly<Record<string, number>>;
}

export interface AheadReportFields {
  readonly topology: string;
  readonly platform: string;
  readonly platformVersion: string;
  /** `TPU v5 lite`, for example. */
  readonly kind: string;
  readonly devices: number;
  /** Bytes of each device; null where nobody knows. */
  readonly deviceMemory: number | null;
  /** Whether parameters and optimizer state are split among the devices, as the batch is. */
  readonly shardState: boolean;
  readonly precision: {
    readonly requested: string;
    readonly name: string;
    readonly dtypes: Readonly<Record<string, string | null>>;
    readonly reasons: readonly string[];
  };
  readonly programs: readonly AheadProgramReport[];
}

const COLLECTIVES = ["all-reduce", "all-gather", "reduce-scatter", "all-to-all", "collective-permute"];
const PLACES = ["first batch of a window", "batch within a window", "last batch of a window"];
const GIB = 2 ** 30;
/** Of a device, by how its kind begins: for compilers that do not say. */
const MEMORY: readonly (readonly [kind: string, bytes: number])[] = [
  ["TPU v4", 32 * GIB],
  ["TPU v5 lite", 16 * GIB],
  ["TPU v6 lite", 32 * GIB],
];

/** A step that was compiled for chips that need not be there. `toString()` is the table; it is plain data as JSON. */
export class AheadReport implements AheadReportFields {
  readonly topology: AheadReportFields["topology"];
  readonly platform: AheadReportFields["platform"];
  readonly platformVersion: AheadReportFields["platformVersion"];
  readonly kind: AheadReportFields["kind"];
  readonly devices: AheadReportFields["devices"];
  readonly deviceMemory: AheadReportFields["deviceMemory"];
  readonly shardState: AheadReportFields["shardState"];
  readonly precision: AheadReportFields["precision"];
  readonly programs: AheadReportFields["programs"];

  constructor(fields: AheadReportFields) {
    this.topology = fields.topology;
    this.platform = fields.platform;
    this.platformVersion = fields.platformVersion;
    this.kind = fields.kind;
    this.devices = fields.devices;
    this.deviceMemory = fields.deviceMemory;
    this.shardState = fields.shardState;
    this.precision = fields.precision;
    this.programs = fields.programs;
  }

  toString(): string {
    const { dtypes, requested, name, reasons } = this.precision;
    const rows: [string, string][] = [
      ["topology", `${this.topology}, ${this.devices} × ${this.kind}; compiled for it, not run on it`],
      ["compiler", this.platformVersion.trim().split("\n").join("; ")],
      ["precision", `asked ${requested}, runs ${name}`],
      ...reasons.map((reason): [string, string] => ["", reason]),
      [
        "",
        `parameters ${dtypes["parameters"]}, products ${dtypes["compute"]}, gradients ${dtypes["gradients"]}, optimizer state ${dtypes["optimizerState"]}`,
      ],
    ];
    if (this.devices > 1)
      rows.push([
        "devices",
        `the batch is split among ${this.devices}; parameters and optimizer state are ${this.shardState ? "split, too" : "whole on each"}`,
      ]);
    for (const program of this.programs) rows.push(...this.#rowsOf(program));
    const width = Math.max(...rows.map(([label]) => label.length));
    return rows.map(([label, text]) => `${label.padEnd(width)}  ${text}`).join("\n");
  }

  #rowsOf(program: AheadProgramReport): [string, string][] {
    const { what, operators, views, kinds, textBytes, seconds, memory, flops, bytesAccessed } = program;
    const rows: [string, string][] = [
      [
        what,
        `${operators} operators of ${kinds.length} kinds, ${views} of them views; ${formatBytes(textBytes)} of StableHLO, compiled in ${seconds.toFixed(1)} s`,
      ],
    ];
    const all = this.deviceMemory;
    const share =
      all === null || memory === null ? "" : `; ${percent(memory.peak / all)} of the device's ${formatBytes(all)}`;
    rows.push(["  memory", memory === null ? "the compiler does not say" : `${memoryText(memory)}${share}`]);
    const moved = bytesAccessed === null ? "" : `, ${formatBytes(bytesAccessed)} accessed`;
    const { estimatedSeconds: s } = program;
    const time = s === null ? "" : `; ${(s * 1000).toPrecision(3)} ms by the compiler's model`;
    rows.push(["  cost", flops === null ? "the compiler does not say" : `${formatPrefixed(flops)}FLOP${moved}${time}`]);
    const collectives = Object.entries(program.collectives).map(([kind, n]) => `${n} ${kind}`);
    if (this.devices > 1) rows.push(["  collectives", collectives.join(", ") || "none"]);
    return rows;
  }
}

const percent = (share: number): string => `${(share * 100).toPrecision(2)} %`;

/** Of the programs that a fit would run. */
export function aheadReport(parts: {
  readonly name: string;
  readonly topology: XlaTopology;
  readonly programs: readonly AheadProgram[];
  readonly precision: Precision;
  readonly shardState: boolean;
}): AheadReport {
  const { name, topology, programs, precision, shardState } = parts;
  const [device] = topology.devices;
  const kind = device?.kind ?? "unknown";
  const limit = device?.attributes.get("device_memory_bytes_limit");
  const { requested, reasons, dtypes } = precision.explain({ print: false });
  const places = programs.length === 1 ? ["step"] : programs.length === 2 ? [PLACES[0], PLACES[2]] : PLACES;
  return new AheadReport({
    topology: name,
    platform: topology.platform,
    platformVersion: topology.platformVersion,
    kind,
    devices: topology.devices.length,
    deviceMemory: typeof limit === "number" ? limit : (MEMORY.find(([k]) => kind.startsWith(k))?.[1] ?? null),
    shardState,
    precision: {
      requested: requested === null || requested === undefined ? "(default)" : String(requested),
      name: precision.name,
      dtypes: { ...dtypes },
      reasons,
    },
    programs: programs.map((program, i) => reportOf(places[i] ?? "another batch", program)),
  });
}

function reportOf(what: string, { lowered, seconds, analysis, instructions }: AheadProgram): AheadProgramReport {
  const { memory, flops, bytesAccessed, optimalSeconds } = analysis;
  const counted = COLLECTIVES.map((kind): [string, number] => [
    kind,
    (instructions.get(kind) ?? 0) + (instructions.get(`${kind}-start`) ?? 0),
  ]);
  return {
    what,
    operators: lowered.operators.all,
    views: lowered.operators.views,
    kinds: lowered.operators.kinds,
    textBytes: lowered.text.length,
    seconds,
    memory,
    flops,
    bytesAccessed,
    estimatedSeconds: optimalSeconds,
    collectives: Object.fromEntries(counted.filter(([, n]) => n > 0)),
  };
}
