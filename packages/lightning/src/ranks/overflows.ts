/** Which of several processes made the values for which all skip a step. */
import type { NonFiniteFinding } from "../diagnostics/non-finite.js";
import type { RankOverflow } from "../diagnostics/non-finite-origin.js";
import type { Collectives } from "../strategies/strategy.js";

/** Of a step that all skip: the same in every process. */
export interface CommonOverflow {
  /** Those that made it, the one in which it came first in the order of a step before others. Null: nobody looked. */
  readonly ranks: readonly RankOverflow[] | null;
  /** Parameters whose gradients were not finite after they were averaged. */
  readonly nonFinite: readonly string[];
}

/** What one process tells the others. */
interface Told {
  /** Null: its own batch made nothing of it. */
  readonly mine: (Omit<RankOverflow, "rank"> & { readonly inBatch: boolean }) | null;
  readonly nonFinite: readonly string[];
}

/**
 * Exchange what each process found of its own batch. Every process calls it; one exchange.
 *
 * @param found - Null: nothing that the others need to know.
 * @param nonFinite - Parameters, or shares of them, of this process whose gradients are not finite.
 * @param names - Of all parameters, in the module's order.
 */
export function shareOverflow(
  collectives: Collectives,
  found: NonFiniteFinding | null,
  nonFinite: readonly string[],
  names: Iterable<string>,
): CommonOverflow {
  const all = collectives.allGatherObject<Told>({ mine: tellable(found), nonFinite });
  const together = new Set(all.flatMap((told) => told.nonFinite));
  const known = [...names].filter((name) => together.delete(name));
  const ranks = all.flatMap((told, rank) => (told.mine === null ? [] : [{ ...told.mine, rank }]));
  return {
    ranks: ranks
      .sort((a, b) => placeOf(a) - placeOf(b) || a.rank - b.rank)
      .map(({ rank, parameters, origin: from, text: words }) => ({ rank, parameters, origin: from, text: words })),
    nonFinite: [...known, ...together],
  };
}

function tellable(found: NonFiniteFinding | null): Told["mine"] {
  if (found === null || found.fromOthers) return null;
  const { origin, gradients, inBatch, text } = found;
  if (!inBatch && origin === null && gradients.length === 0) return null;
  return { parameters: gradients, origin, text, inBatch };
}

/** In the order of a step. */
function placeOf({ inBatch, origin }: { readonly inBatch: boolean; readonly origin: RankOverflow["origin"] }): number {
  if (inBatch) return 0;
  return origin === null ? 3 : origin.phase === "forward" ? 1 : 2;
}

/** The first, in words: after "gradients overflowed", say. */
export function overflowInWords(ranks: readonly RankOverflow[]): string {
  const [first, ...others] = ranks;
  if (first === undefined)
    return "No process made them alone: their sum overflowed, or an earlier batch of the window.";
  const more = others.length === 0 ? "" : ` (and on rank ${others.map(({ rank }) => rank).join(", ")})`;
  return `On rank ${first.rank}${more}: ${first.text}`;
}

/** A loss of one process that is not finite. */
export interface BadLoss {
  readonly value: number;
  readonly batchIdx: number;
  /** Of its batch; null: that of now. */
  readonly finding: NonFiniteFinding | null;
}
export interface BadLossOfRank extends NonFiniteFinding {
  readonly rank: number;
  readonly value: number;
  readonly batchIdx: number;
}

/** Those of all processes, those that came from others last. Every process calls it; one exchange. */
export function shareBadLosses(collectives: Collectives, mine: BadLoss | null, now: NonFiniteFinding): BadLossOfRank[] {
  const told = mine === null ? null : { value: mine.value, batchIdx: mine.batchIdx, ...(mine.finding ?? now) };
  return collectives
    .allGatherObject(told)
    .flatMap((of, rank) => (of === null ? [] : [{ ...of, rank }]))
    .sort((a, b) => Number(a.fromOthers) - Number(b.fromOthers) || placeOf(a) - placeOf(b) || a.rank - b.rank);
}
