/** A benchmark's results, as they stand in its JSON file. */
import type { Result, SideName } from "./job.js";
import { median } from "./statistics.js";
import type { Versions } from "./sides.js";

/** One side of one row. */
export interface SideResult {
  /** One for each run; none where there is a hole. */
  readonly runs: readonly Result[];
  /** Why there are no times. */
  readonly hole: string | null;
  /** Against PyTorch's, or the other side's. */
  readonly losses: "equal" | "close" | "not compared";
}
export interface RowResult {
  readonly id: string;
  readonly name: string;
  readonly threads: number;
  readonly unit: "µs" | "ms" | "s";
  /** The first is the side that ratios are of. */
  readonly sides: Readonly<Record<string, SideResult>>;
  /** By side, the ratio that we want at most. */
  readonly targets: Readonly<Partial<Record<string, number>>>;
  readonly against?: string;
  readonly stateTarget?: number;
  /** Microseconds of nbit. */
  readonly timeTarget?: number;
  readonly caveat?: string;
  /** Of a row about scale: which series, and the point of it. */
  readonly scale?: { readonly series: string; readonly x: number };
}
export interface MemoryPoint {
  readonly step: number;
  /** Resident memory of the process. */
  readonly mib: number;
  /** Of that, V8's heap. */
  readonly heapMib?: number;
}
export interface MemoryResult {
  readonly who: string;
  readonly first: MemoryPoint;
  readonly middle: MemoryPoint;
  readonly last: MemoryPoint;
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
  readonly peers: Versions;
  readonly runs: number;
}
export interface Results {
  readonly machine: Machine;
  readonly rows: readonly RowResult[];
  readonly memory: readonly MemoryResult[];
}

/** The side that a row's ratios are of. */
export const oursOf = (row: RowResult): string => Object.keys(row.sides)[0] ?? "";

/** Of one side over another, run by run: the machine's drift falls out. Empty where either has a hole. */
export function ratiosOf(row: RowResult, side: string, own = oursOf(row)): number[] {
  const [ours, other] = [row.sides[own], row.sides[side]];
  if (ours === undefined || other === undefined || ours.hole !== null || other.hole !== null) return [];
  return other.runs.flatMap((run, i) => {
    const mine = ours.runs[i];
    return mine === undefined ? [] : [mine.us / run.us];
  });
}

export const medianOf = (side: SideResult, of: (run: Result) => number | undefined): number =>
  median(side.runs.map(of).filter((value) => value !== undefined));

/** Sides of nbit's own are no peers. */
export function peersOf(row: RowResult): string[] {
  const nbit: readonly (SideName | "nbit")[] = ["trainer", "loop", "nbit"];
  return Object.keys(row.sides).filter((side) => !(nbit as readonly string[]).includes(side));
}
