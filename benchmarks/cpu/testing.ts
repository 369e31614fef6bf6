/** Results for tests: microseconds of each run by row and side, or why there are none. */
import type { Result } from "./job.js";
import type { Results, RowResult, SideResult } from "./results.js";

type Times = readonly number[] | string;

export const runOf = (us: number): Result => ({
  us,
  losses: [1],
  peakMiB: 200,
  cpuSeconds: 1,
  seconds: 2,
  startSeconds: 1.5,
  cores: 1,
});

export function sideOf(times: Times): SideResult {
  return typeof times === "string"
    ? { runs: [], hole: times, losses: "not compared" }
    : { runs: times.map(runOf), hole: null, losses: "close" };
}

export function rowResult(id: string, sides: Readonly<Record<string, Times>>): RowResult {
  return {
    id,
    name: `row ${id}`,
    threads: 1,
    unit: "µs",
    sides: Object.fromEntries(Object.entries(sides).map(([side, times]) => [side, sideOf(times)])),
    targets: {},
  };
}

export function resultsOf(rows: Readonly<Record<string, Readonly<Record<string, Times>>>>): Results {
  return {
    machine: {
      date: "2026-01-02",
      cpu: "a processor",
      cores: 2,
      memoryGiB: 8,
      kernel: "Linux",
      node: "22",
      libtorch: "2.13",
      capability: "AVX2",
      nativeBf16: true,
      peers: { python: "3.11", torch: "2.13", capability: "AVX2", lightning: "2.6", jax: null, compiler: true },
      runs: 5,
    },
    rows: Object.entries(rows).map(([id, sides]) => rowResult(id, sides)),
    memory: [],
  };
}
