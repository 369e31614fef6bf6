import { ArgumentError, atMost, checkArguments, kinds } from "@nbit/torch";
import type { PrecisionInput } from "../precision/names.js";
import { plainPaint } from "../ui/ansi.js";
import type { Paint } from "../ui/ansi.js";
import { formatBytes } from "@nbit/torch/format";
import { formatTable } from "../ui/table.js";

/** What one precision did. */
export interface SearchRow {
  readonly precision: PrecisionInput;
  readonly name: string;
  readonly losses: readonly number[];
  /** Mean |loss − loss of the first precision| over the mean of the latter. */
  readonly lossDistance: number;
  /** Of the first batch's gradient with the first precision's. */
  readonly gradientCosine: number;
  /** Median, after the first three. */
  readonly secondsPerStep: number;
  /** The most that tensors held, the model's own among them. */
  readonly peakBytes: number | null;
  readonly skippedSteps: number;
  /** Why the run ended early; null when it did not. */
  readonly error: string | null;
}

const NUMBER = kinds.such<number>("a number", (v) => typeof v === "number"); // NaN too, where a run failed
const ROW = kinds.having<SearchRow>("what a search found of one precision", {
  name: kinds.text,
  losses: kinds.listOf(NUMBER),
  lossDistance: NUMBER,
  gradientCosine: NUMBER,
  secondsPerStep: NUMBER,
  peakBytes: kinds.orNull(NUMBER),
  skippedSteps: NUMBER,
  error: kinds.orNull(kinds.text),
});

/** Gradients that point elsewhere are not the same training. */
const LEAST_COSINE = 0.98;
/** A gain below a twentieth is noise. */
const FASTER = 1.05;
const SMALLER = 0.9;

/**
 * Choose a row: the fastest whose losses and gradients follow the first one's; where none is faster, the smallest; else
 * the first.
 * @returns The row and the reason in a sentence.
 */
export function recommend(
  rows: readonly SearchRow[],
  tolerance: number,
): { readonly row: SearchRow; readonly reason: string } {
  atMost("recommend", arguments, 2);
  checkArguments("recommend", { rows, tolerance }, { rows: kinds.listOf(ROW), tolerance: kinds.real() });
  const [base, ...others] = rows;
  if (base === undefined) throw new ArgumentError("recommend", "rows to have at least one entry", rows);
  const sound = others.filter((r) => flawOf(r, tolerance) === null);
  if (base.error === null) {
    const faster = sound
      .filter((r) => r.secondsPerStep * FASTER < base.secondsPerStep)
      .sort((a, b) => a.secondsPerStep - b.secondsPerStep)[0];
    if (faster !== undefined)
      return {
        row: faster,
        reason: `${(base.secondsPerStep / faster.secondsPerStep).toFixed(1)} × as fast as ${base.name}, and its losses stay within ${percent(faster.lossDistance)}`,
      };
    const most = base.peakBytes;
    const smaller =
      most === null
        ? undefined
        : sound
            .filter(
              (r) =>
                r.peakBytes !== null && r.peakBytes < SMALLER * most && r.secondsPerStep < FASTER * base.secondsPerStep,
            )
            .sort((a, b) => (a.peakBytes ?? 0) - (b.peakBytes ?? 0))[0];
    if (smaller !== undefined && most !== null)
      return {
        row: smaller,
        reason: `as fast as ${base.name} in ${percent((smaller.peakBytes ?? 0) / most, 0)} of its memory, and its losses stay within ${percent(smaller.lossDistance)}`,
      };
    return {
      row: base,
      reason:
        sound.length === 0
          ? "no other precision follows its losses and gradients"
          : "no other precision that follows its losses is faster or smaller here",
    };
  }
  const next = sound[0] ?? others.find((r) => r.error === null);
  return next === undefined
    ? { row: base, reason: `every precision failed, this one with: ${base.error}` }
    : { row: next, reason: `${base.name} failed: ${base.error}` };
}

/** Why a row is out of the question; null when it is not. */
export function flawOf(row: SearchRow, tolerance: number): string | null {
  atMost("flawOf", arguments, 2);
  checkArguments("flawOf", { row, tolerance }, { row: ROW, tolerance: kinds.real() });
  if (row.error !== null) return row.error;
  if (!(row.lossDistance <= tolerance)) return `losses ${percent(row.lossDistance)} away`;
  if (!(row.gradientCosine >= LEAST_COSINE))
    return `gradients point elsewhere (cosine ${row.gradientCosine.toFixed(3)})`;
  return null;
}

function percent(share: number, digits = 1): string {
  return `${(100 * share).toFixed(digits)} %`;
}

/** What a search found. `toString()` is the table with its recommendation. */
export class SearchResult {
  readonly recommended: PrecisionInput;
  readonly reason: string;

  constructor(
    readonly rows: readonly SearchRow[],
    readonly tolerance: number,
    readonly device: string,
    readonly steps: number,
  ) {
    const { row, reason } = recommend(rows, tolerance);
    this.recommended = row.precision;
    this.reason = reason;
  }

  toString(paint: Paint = plainPaint): string {
    const base = this.rows[0];
    const rows = this.rows.map((r) => {
      const chosen = r.precision === this.recommended;
      const flaw = r === base ? r.error : flawOf(r, this.tolerance);
      return [
        chosen ? paint("green", `▸ ${r.name}`) : `  ${r.name}`,
        number(r.losses.at(-1), (v) => v.toPrecision(4)),
        r === base ? "–" : number(r.lossDistance, (v) => percent(v, 2)),
        r === base ? "–" : number(r.gradientCosine, (v) => v.toFixed(4)),
        number(r.secondsPerStep, (v) => (1000 * v).toPrecision(3)),
        base === undefined ? "–" : number(base.secondsPerStep / r.secondsPerStep, (v) => `${v.toFixed(2)} ×`),
        r.peakBytes === null ? "–" : formatBytes(r.peakBytes),
        String(r.skippedSteps),
        flaw === null ? "" : paint("yellow", flaw.length > 60 ? `${flaw.slice(0, 57)}…` : flaw),
      ];
    });
    const columns = [
      { title: "  precision" },
      { title: "last loss", align: "right" },
      { title: "from first", align: "right" },
      { title: "gradient cosine", align: "right" },
      { title: "ms per step", align: "right" },
      { title: "speed", align: "right" },
      { title: "peak memory", align: "right" },
      { title: "skipped", align: "right" },
      { title: "" },
    ] as const;
    return `${formatTable(columns, rows, { paint })}\n Recommended: ${paint("bold", JSON.stringify(this.recommended))}, ${this.reason} (${this.steps} steps on ${this.device}).`;
  }
}

function number(value: number | undefined, format: (value: number) => string): string {
  return value === undefined || !Number.isFinite(value) ? "–" : format(value);
}
