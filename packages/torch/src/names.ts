/** Names that were probably meant. Imports nothing, so that a command line can use it without loading libtorch. */

/**
 * The known name that was probably meant: of those at most `most` edits away, the nearest. Case, hyphens and
 * underscores do not count, so that `weight_decay` is `weightDecay`. Null: none is near.
 */
export function nearest(name: string, known: Iterable<string>, most = 2): string | null {
  const plain = (s: string): string => s.replaceAll(/[-_]/g, "").toLowerCase();
  let best: string | null = null;
  let least = most + 1;
  for (const candidate of known) {
    const distance = edits(plain(name), plain(candidate));
    if (distance < least) [best, least] = [candidate, distance];
  }
  return best;
}

/** Insertions, deletions and replacements from one text to the other (Levenshtein). */
function edits(a: string, b: string): number {
  let row = Array.from({ length: b.length + 1 }, (_, j) => j);
  for (let i = 1; i <= a.length; i++) {
    const next = [i];
    for (let j = 1; j <= b.length; j++)
      next.push(
        Math.min((row[j] ?? 0) + 1, (next[j - 1] ?? 0) + 1, (row[j - 1] ?? 0) + (a[i - 1] === b[j - 1] ? 0 : 1)),
      );
    row = next;
  }
  return row[b.length] ?? 0;
}
