/** What processes find each for itself, as one list: once what all have, and with who it was where that is not all. */
import type { Collectives } from "../strategies/strategy.js";
import { warn } from "../warnings.js";

/** Of all processes; `ranks`: those that have it, where not all do. */
export type OfRanks<T> = T & { readonly ranks?: readonly number[] };

/**
 * Findings of all processes, each once, in the order in which ranks have them. Every process calls it; one exchange.
 *
 * @param key - Findings of the same key are one.
 */
export function findingsOfAll<T extends object>(
  collectives: Collectives | null,
  mine: readonly T[],
  key: (finding: T) => string,
): OfRanks<T>[] {
  if (collectives === null) return [...mine];
  const all = collectives.allGatherObject(mine);
  const found = new Map<string, { readonly finding: T; readonly ranks: Set<number> }>();
  all.forEach((findings, rank) => {
    for (const finding of findings) {
      const known = found.get(key(finding)) ?? { finding, ranks: new Set<number>() };
      known.ranks.add(rank);
      found.set(key(finding), known);
    }
  });
  return [...found.values()].map(({ finding, ranks }) =>
    ranks.size === all.length ? finding : { ...finding, ranks: [...ranks] },
  );
}

/** `[rank 1] ` before what not all processes have; nothing otherwise. */
export function rankPrefix({ ranks }: { readonly ranks?: readonly number[] }): string {
  return ranks === undefined ? "" : `[rank ${ranks.join(", ")}] `;
}

/** Warnings of all processes: rank 0 gives each once, and names the ranks where not all have it. */
export function warnTogether(
  collectives: Collectives | null,
  mine: readonly { readonly code: string; readonly message: string }[],
): void {
  for (const one of findingsOfAll(collectives, mine, ({ code, message }) => `${code} ${message}`))
    warn(one.code, `${rankPrefix(one)}${one.message}`);
}
