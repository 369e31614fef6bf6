/** A wrong call of `nbit`: said in one message, without a stack, before any work starts. */
export class CommandError extends Error {
  /** Stable, `ERR_…`. */
  readonly code: string;
  constructor(code: string, message: string) {
    super(message);
    this.name = "CommandError";
    this.code = code;
  }
}

/** The name that was probably meant: of those at most two edits away, the nearest; upper and lower case, and hyphens, do not count. Null: none is near. */
export function nearest(name: string, known: Iterable<string>): string | null {
  const plain = (s: string): string => s.replaceAll("-", "").toLowerCase();
  let best: string | null = null;
  let least = 3;
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
    for (let j = 1; j <= b.length; j++) next.push(Math.min((row[j] ?? 0) + 1, (next[j - 1] ?? 0) + 1, (row[j - 1] ?? 0) + (a[i - 1] === b[j - 1] ? 0 : 1)));
    row = next;
  }
  return row[b.length] ?? 0;
}
