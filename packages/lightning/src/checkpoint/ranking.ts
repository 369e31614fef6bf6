/** The best checkpoints by a metric: paths with their scores, of which so many are kept. */
export type Scores = Readonly<Record<string, number>>;
export type Mode = "min" | "max";

/** NaN is worse than every number. */
export function scoreOf(value: number, mode: Mode): number {
  return Number.isNaN(value) ? (mode === "min" ? Infinity : -Infinity) : value;
}

/** Best first. */
export function ranked(scores: Scores, mode: Mode): readonly (readonly [path: string, score: number])[] {
  return Object.entries(scores).sort(([, a], [, b]) => (isBetter(a, b, mode) ? -1 : 1));
}

/**
 * What a new score drops: the path of the worst, or "" where there is room. Null: it is not among the best itself.
 * @param most - How many are kept; -1: all.
 */
export function droppedBy(score: number, scores: Scores, mode: Mode, most: number): string | null {
  const all = ranked(scores, mode);
  const last = all.at(-1);
  if (most === -1 || all.length < most || last === undefined) return "";
  return isBetter(score, last[1], mode) ? last[0] : null;
}

function isBetter(a: number, b: number, mode: Mode): boolean {
  return mode === "min" ? a < b : a > b;
}
