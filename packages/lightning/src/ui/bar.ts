import { pad, truncate, visibleWidth } from "./ansi.js";
import type { Paint } from "./ansi.js";

/** A horizontal bar of `width` columns, filled to `fraction` (0…1) in half columns. */
export function drawBar(fraction: number, width: number, paint: Paint): string {
  const halves = Math.round(Math.min(1, Math.max(0, fraction)) * width * 2);
  const full = halves >> 1;
  const half = halves & 1;
  const filled = "━".repeat(full) + (half === 1 ? "╸" : "");
  const empty = "─".repeat(width - full - half);
  return `${filled === "" ? "" : paint(fraction >= 1 ? "green" : "cyan", filled)}${empty === "" ? "" : paint("dim", empty)}`;
}

/** A piece of a status line. */
export interface Segment {
  readonly text: string;
  /**
   * Pieces of the lowest rank are dropped first when the line is too long for the terminal. Rank 0 even makes way for a
   * longer bar.
   */
  readonly rank: number;
}

const BAR_MAX = 32;
/** What segments of rank 0 make way for. */
const BAR_WANTED = 20;
const BAR_MIN = 8;

/**
 * Lay out `head bar segments…` in at most `columns` columns. Where room is short, segments of rank 0 go first, then the
 * bar shrinks, then segments go in order of rank (the later of equals first), then the bar, then the text is cut.
 */
export function layoutLine(
  head: string,
  fraction: number | null,
  segments: readonly Segment[],
  columns: number,
  paint: Paint,
): string {
  let kept = [...segments];
  const roomFor = (parts: readonly Segment[]): number =>
    columns - visibleWidth(head) - parts.reduce((sum, s) => sum + 2 + visibleWidth(s.text), 0) - 2;
  const wanted = (rank: number): number => (fraction === null ? -2 : rank === 0 ? BAR_WANTED : BAR_MIN);
  for (;;) {
    const lowest = Math.min(...kept.map((s) => s.rank));
    if (kept.length === 0 || roomFor(kept) >= wanted(lowest)) break;
    const last = kept.map((s) => s.rank).lastIndexOf(lowest);
    kept = kept.filter((_, i) => i !== last);
  }
  const room = roomFor(kept);
  const bar = fraction === null || room < BAR_MIN ? [] : [drawBar(fraction, Math.min(BAR_MAX, room), paint)];
  return truncate([head, ...bar, ...kept.map((s) => s.text)].join("  "), columns);
}

/** Right-align the first of two related counts under the second: `" 12/469"`. */
export function countOf(done: number, total: number): string {
  return Number.isFinite(total) ? `${pad(String(done), String(total).length, "right")}/${total}` : String(done);
}
