/** Whether nbit became slower, beside each peer, from one benchmark to another. */
import { peersOf, ratiosOf, type Machine, type Results } from "./results.js";
import { largerByRanks, median } from "./statistics.js";

/** Slower by more than this counts, if it is not chance. */
export const SLOWDOWN = 1.05;
/**
 * How improbable by chance. A benchmark makes some seventy such comparisons; five runs against five can come down to
 * 1/252.
 */
export const LEVEL = 0.01;

export interface Comparison {
  readonly row: string;
  readonly side: string;
  readonly before: number;
  readonly after: number;
  /** Of the exact one-sided permutation test on ranks, over the runs' ratios. */
  readonly p: number;
  readonly verdict: "slower" | "too few runs" | "not slower";
}

/**
 * Compares the ratios nbit / peer of two benchmarks, row by row and peer by peer. Rows that only one has are left out.
 *
 * Slower: the median ratio grew by more than 5 %, and with p ≤ 0.01. Too few runs: it grew by more than 5 %, and no
 * outcome of so few runs could have p ≤ 0.01.
 */
export function compareResults(before: Results, after: Results): Comparison[] {
  return after.rows.flatMap((row) => {
    const old = before.rows.find(({ id }) => id === row.id);
    if (old === undefined) return [];
    return peersOf(row).flatMap((side) => {
      const [was, is] = [ratiosOf(old, side), ratiosOf(row, side)];
      return was.length === 0 || is.length === 0 ? [] : [{ row: row.id, side, ...compareRatios(was, is) }];
    });
  });
}

/** As {@link compareResults}, of one row and peer. */
export function compareRatios(
  before: readonly number[],
  after: readonly number[],
): Pick<Comparison, "before" | "after" | "p" | "verdict"> {
  const [was, is] = [median(before), median(after)];
  const p = largerByRanks(before, after);
  const least = largerByRanks(
    before.map(() => 0),
    after.map(() => 1),
  );
  const grew = is / was > SLOWDOWN;
  return {
    before: was,
    after: is,
    p,
    verdict: !grew ? "not slower" : least > LEVEL ? "too few runs" : p <= LEVEL ? "slower" : "not slower",
  };
}

/** What else changed: ratios of two processors, or to two releases of a peer, differ for reasons of their own. */
export function differences(before: Machine, after: Machine): string[] {
  const facts = ({ cpu, cores, libtorch, peers }: Machine): Record<string, string> => ({
    processor: `${cpu}, ${cores} cores`,
    libtorch,
    PyTorch: peers.torch,
    Lightning: peers.lightning ?? "none",
    JAX: peers.jax ?? "none",
  });
  const [was, is] = [facts(before), facts(after)];
  return Object.keys(is)
    .filter((name) => was[name] !== is[name])
    .map((name) => `${name} differs: ${was[name]}, then ${is[name]}`);
}

/** A line for each, the slower ones first. */
export function comparisonLines(comparisons: readonly Comparison[]): string[] {
  const change = ({ before, after }: Comparison): number => after / before;
  const rank = ({ verdict }: Comparison): number => ["slower", "too few runs", "not slower"].indexOf(verdict);
  return [...comparisons]
    .sort((a, b) => rank(a) - rank(b) || change(b) - change(a))
    .map((c) => {
      const percent = (change(c) - 1) * 100;
      return `${c.verdict.padEnd(12)}  ${c.row}, ratio to ${c.side}: ${c.before.toFixed(3)} → ${c.after.toFixed(3)} (${percent >= 0 ? "+" : ""}${percent.toFixed(1)} %, p = ${c.p.toFixed(4)})`;
    });
}
