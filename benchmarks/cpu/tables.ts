/** Results as tables of Markdown. */
import { logLogSlope, median } from "./statistics.js";
import {
  medianOf,
  oursOf,
  peersOf,
  ratiosOf,
  type MemoryPoint,
  type MemoryResult,
  type Results,
  type RowResult,
  type SideResult,
} from "./results.js";
import { SIDES } from "./sides.js";
import type { SideName } from "./job.js";

export const titleOf = (side: string): string => SIDES[side as SideName] ?? side;
const line = (cells: readonly string[]): string =>
  `| ${cells.map((cell) => cell.replaceAll("|", "\\|")).join(" | ")} |`;
function tableOf(head: readonly string[], rows: readonly (readonly string[])[]): string {
  return [head, head.map(() => "---"), ...rows].map(line).join("\n");
}

export function time(us: number, unit: RowResult["unit"]): string {
  const value = us / { µs: 1, ms: 1e3, s: 1e6 }[unit];
  return `${value.toFixed(value < 10 ? 2 : value < 100 ? 1 : 0)} ${unit}`;
}

/** Time and ratio of one side. */
function cell(row: RowResult, side: string): string {
  const result = row.sides[side];
  if (result === undefined) return "";
  if (result.hole !== null) return `– (${result.hole})`;
  const us = time(
    medianOf(result, (r) => r.us),
    row.unit,
  );
  return side === oursOf(row) ? us : `${us} (${median(ratiosOf(row, side)).toFixed(2)})`;
}

function losses(row: RowResult): string {
  const sides = Object.entries(row.sides).filter(([, { hole }]) => hole === null);
  const close = sides.filter(([, s]) => s.losses === "close").map(([side]) => titleOf(side));
  if (sides.some(([, s]) => s.losses === "not compared")) return "not compared";
  return close.length === 0 ? "equal" : `close: ${close.join(", ")}`;
}

function targets(row: RowResult): string {
  return [...ratioTargets(row), ...timeTarget(row)].join("; ");
}
function timeTarget(row: RowResult): string[] {
  const { timeTarget: most } = row;
  const result = row.sides[oursOf(row)];
  if (most === undefined || result === undefined || result.hole !== null) return [];
  return [`≤ ${time(most, row.unit)} ${medianOf(result, (r) => r.us) <= most ? "reached" : "MISSED"}`];
}
function ratioTargets(row: RowResult): string[] {
  return Object.entries(row.targets).map(([side, target = Number.NaN]) => {
    const ratio = median(ratiosOf(row, side));
    const missed = row.caveat === undefined ? "MISSED" : "not reachable here";
    const verdict = Number.isNaN(ratio) ? "not measured" : ratio <= target ? "reached" : missed;
    return `${row.against === undefined ? `${titleOf(side)} ` : ""}≤ ${target.toFixed(2)} ${verdict}`;
  });
}

const COLUMNS = ["trainer", "loop", "pytorch", "compile", "lightning", "jax"] as const;

/** Rows of models: a column for each side, time and the ratio of nbit's Trainer over it. */
export function modelTable(rows: readonly RowResult[]): string {
  const head = ["threads", "what", ...COLUMNS.map((side) => SIDES[side]), "targets", "losses"];
  return tableOf(
    head,
    rows.map((row) => {
      const kept = row.sides["pytorch-keep"] === undefined ? "" : `; memory kept: ${cell(row, "pytorch-keep")}`;
      const cells = COLUMNS.map((side) => cell(row, side) + (side === "pytorch" ? kept : ""));
      return [String(row.threads), row.name, ...cells, targets(row), losses(row)];
    }),
  );
}

/** Start-up and peak memory of the same rows. */
export function footprintTable(rows: readonly RowResult[]): string {
  const footprint = (side: SideResult | undefined): string => {
    if (side === undefined || side.hole !== null) return "";
    const [first, start] = [side.runs[0]?.startSeconds, medianOf(side, (r) => r.startSeconds)];
    // torch.compile keeps what it compiled: the first run is the one without.
    const cold = first !== undefined && first > 1.5 * start ? ` (first ${first.toFixed(1)})` : "";
    return `${start.toFixed(2)} s${cold}, ${medianOf(side, (r) => r.peakMiB).toFixed(0)} MiB`;
  };
  return tableOf(
    ["threads", "what", ...COLUMNS.map((side) => SIDES[side])],
    rows.map((row) => [String(row.threads), row.name, ...COLUMNS.map((side) => footprint(row.sides[side]))]),
  );
}

/** Rows of two sides. */
export function pairTable(rows: readonly RowResult[]): string {
  return tableOf(
    ["threads", "what", "nbit", "against", "other", "ratio", "target", "losses", "state"],
    rows.map((row) => {
      const [, side = ""] = Object.keys(row.sides);
      const [ours, other] = [row.sides[oursOf(row)], row.sides[side]];
      const bytes = median(
        (ours?.runs ?? []).flatMap(({ stateBytes = Number.NaN }, i) => {
          const others = other?.runs[i]?.stateBytes;
          return others === undefined ? [] : [stateBytes / others];
        }),
      );
      const state =
        row.stateTarget === undefined || Number.isNaN(bytes)
          ? ""
          : `${bytes.toFixed(3)} × (≤ ${row.stateTarget.toFixed(2)}, ${bytes <= row.stateTarget ? "reached" : "MISSED"})`;
      const ratio = median(ratiosOf(row, side));
      return [
        String(row.threads),
        row.name,
        cell(row, oursOf(row)),
        row.against ?? titleOf(side),
        cell(row, side).replace(/ \([\d.]+\)$/, ""),
        Number.isNaN(ratio) ? "–" : ratio.toFixed(2),
        targets(row) || "–",
        losses(row),
        state,
      ];
    }),
  );
}

/** Where nbit takes longer than a peer: the Trainer than each of them, the loop than PyTorch's loop. Worst first. */
export function lostTo(rows: readonly RowResult[]): string[] {
  const found = rows.flatMap((row) =>
    peersOf(row).flatMap((side) => {
      const own = side === "pytorch" && row.sides["loop"] !== undefined ? [oursOf(row), "loop"] : [oursOf(row)];
      return own.map((ours) => ({ row, side, ours, ratios: ratiosOf(row, side, ours) }));
    }),
  );
  return found
    .map((f) => ({ ...f, ratio: median(f.ratios) }))
    .filter(({ ratio }) => ratio > 1)
    .sort((a, b) => b.ratio - a.ratio)
    .map(({ row, side, ours, ratios, ratio }) => {
      const slower = ratios.filter((r) => r > 1).length;
      const who = row.against ?? titleOf(side);
      const runs = slower === ratios.length ? "in every run" : `in ${slower} of ${ratios.length} runs`;
      const on = row.threads === 1 ? "one thread" : `${row.threads} threads`;
      return `${ratio.toFixed(2)} × ${who}'s time, ${runs}: ${row.name}, ${titleOf(ours)}, ${on}`;
    });
}

/** By series and side: times, and the powers with which they grow. */
export function scaleTable(rows: readonly RowResult[]): string {
  const series = [...new Set(rows.map((row) => row.scale?.series ?? ""))];
  return series
    .map((name) => {
      const points = rows.filter((row) => row.scale?.series === name);
      const slopes = COLUMNS.map((side) => {
        const slope = slopeOf(points, side);
        return slope === null ? "" : slope.toFixed(2);
      });
      const head = [name, ...COLUMNS.map((side) => SIDES[side])];
      const times = points.map((row) => [String(row.scale?.x), ...COLUMNS.map((side) => cell(row, side))]);
      return tableOf(head, [...times, ["slope", ...slopes]]);
    })
    .join("\n\n");
}

/** The power of x with which a side's median time grows; null with fewer than two points. */
export function slopeOf(points: readonly RowResult[], side: string): number | null {
  const at = points.flatMap((row): [number, number][] => {
    const result = row.sides[side];
    if (row.scale === undefined || result === undefined || result.hole !== null) return [];
    return [[row.scale.x, medianOf(result, (r) => r.us)]];
  });
  return at.length < 2 ? null : logLogSlope(at);
}

export function memoryLine(m: MemoryResult): string {
  const at = (p: MemoryPoint): string =>
    `${p.mib.toFixed(1)} MiB${p.heapMib === undefined ? "" : ` (V8 ${p.heapMib.toFixed(1)})`}`;
  const change = (from: number, to: number): string =>
    `${to >= from ? "+" : ""}${((to / from - 1) * 100).toFixed(1)} %`;
  return line([
    m.who,
    at(m.first),
    at(m.middle),
    at(m.last),
    change(m.first.mib, m.last.mib),
    change(m.middle.mib, m.last.mib),
  ]);
}

export const isModelRow = (row: RowResult): boolean => row.against === undefined && row.scale === undefined;
export const isPairRow = (row: RowResult): boolean => row.against !== undefined;

export function machineLine({ machine: m }: Results): string {
  const { peers } = m;
  const version = (name: string, of: string | null): string => `${name} ${of ?? "not installed"}`;
  return `${m.cpu}, ${m.cores} cores, ${m.memoryGiB} GiB, ${m.kernel}; Node ${m.node}, libtorch ${m.libtorch} (${m.capability}); Python ${peers.python}, PyTorch ${peers.torch} (${peers.capability}), ${version("Lightning", peers.lightning)}, ${version("JAX", peers.jax)}.`;
}

export function markdown(results: Results): string {
  const { machine, rows, memory } = results;
  const models = rows.filter(isModelRow);
  const pairs = rows.filter(isPairRow);
  const scale = rows.filter((row) => row.scale !== undefined);
  const lost = lostTo(rows.filter((row) => row.scale === undefined));
  const caveats = [...new Set(rows.flatMap((row) => row.caveat ?? []))].map((c) => `- ${c}\n`).join("");
  const steps = (p: MemoryPoint | undefined): string => p?.step.toLocaleString("en") ?? "?";
  const parts = [
    `# CPU benchmark, ${machine.date}`,
    machineLine(results),
    `Medians of ${machine.runs} runs. In a run all sides of a row are measured in turn, each in a fresh process with the same number of threads; who begins changes from run to run. In brackets the ratio of nbit (its first column) over that side within a run, median over runs: below 1 nbit is faster. Losses of the first ten steps are compared with PyTorch's: equal bit for bit, or close to 1e-4 (bfloat16: 2e-2); where a step takes a second or so, the runs after the first make and compare six or seven. A fourth of a row's steps is warm-up; where a row says so, the first steps of a process are measured instead. Optimizers are fused in nbit and PyTorch, unless a row says otherwise; torch.compile compiles model, loss and backward; JAX the whole step, its arguments given up to it.`,
    ...(models.length + pairs.length === 0
      ? []
      : [`## Where nbit is slower`, lost.length === 0 ? "Nowhere." : lost.map((l) => `- ${l}`).join("\n")]),
    ...(models.length === 0
      ? []
      : [
          "## Training steps",
          modelTable(models),
          "## Start-up and memory",
          "Seconds from the start of the process to the end of the first step, and the largest resident memory, which includes the warm-up and ten to thousands of steps. What torch.compile made in the first run is kept for the later ones. JAX reads its initial weights from a file.",
          footprintTable(models),
        ]),
    ...(pairs.length === 0 ? [] : ["## Others", pairTable(pairs), caveats]),
    ...(scale.length === 0
      ? []
      : [
          "## Scale",
          "Time of a step, or of the whole process, as the heading of the first column grows; the slope is the power of a straight line through the logarithms.",
          scaleTable(scale),
        ]),
    ...(memory.length === 0
      ? []
      : [
          "## Memory over many steps",
          "Resident memory of a small MLP's training. V8 enlarges its space for new objects during the first few thousand steps, to 16 MiB unless a flag of Node.js bounds it.",
          [
            `| | after 100 steps | after ${steps(memory[0]?.middle)} | after ${steps(memory[0]?.last)} | change from 100 | change from ${steps(memory[0]?.middle)} |`,
            "| --- | --- | --- | --- | --- | --- |",
            ...memory.map(memoryLine),
          ].join("\n"),
        ]),
  ];
  return `${parts.filter((part) => part !== "").join("\n\n")}\n`;
}
