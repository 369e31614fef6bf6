/** Medians, slopes, and whether one sample lies above another. */

export function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  const half = sorted.length >> 1;
  if (sorted.length === 0) return Number.NaN;
  return sorted.length % 2 === 1
    ? (sorted[half] as number)
    : ((sorted[half - 1] as number) + (sorted[half] as number)) / 2;
}

/** Of a straight line through the logarithms, by least squares: the power of x with which y grows. */
export function logLogSlope(points: readonly (readonly [x: number, y: number])[]): number {
  const logs = points.map(([x, y]) => [Math.log(x), Math.log(y)] as const);
  const mean = (at: 0 | 1): number => logs.reduce((sum, point) => sum + point[at], 0) / logs.length;
  const [mx, my] = [mean(0), mean(1)];
  const over = logs.reduce((sum, [x, y]) => sum + (x - mx) * (y - my), 0);
  return over / logs.reduce((sum, [x]) => sum + (x - mx) ** 2, 0);
}

/** Twice the rank of each value among all; equal values share the mean of theirs. */
function doubledRanks(values: readonly number[]): number[] {
  return values.map((value) => {
    const below = values.filter((other) => other < value).length;
    return 2 * below + values.filter((other) => other === value).length + 1;
  });
}

/**
 * The exact one-sided permutation test on ranks (Wilcoxon, Mann and Whitney): the share of all ways to divide the
 * values of both samples at random in which the sum of the second's ranks is at least as large as it is.
 *
 * @param before - Values, of which none is NaN; n of them.
 * @param after - m of them. The result is at least 1 / C(n + m, m).
 * @see Mann and Whitney, 1947.
 */
export function largerByRanks(before: readonly number[], after: readonly number[]): number {
  const ranks = doubledRanks([...before, ...after]);
  const observed = ranks.slice(before.length).reduce((a, b) => a + b, 0);
  // ways[k]: by sum, how many choices of k values have it.
  const ways = Array.from({ length: after.length + 1 }, () => new Map<number, number>());
  ways[0]?.set(0, 1);
  for (const rank of ranks)
    for (let k = after.length; k > 0; k--)
      for (const [sum, count] of ways[k - 1] ?? []) ways[k]?.set(sum + rank, (ways[k]?.get(sum + rank) ?? 0) + count);
  let all = 0;
  let asLarge = 0;
  for (const [sum, count] of ways[after.length] ?? []) {
    all += count;
    if (sum >= observed) asLarge += count;
  }
  return asLarge / all;
}
