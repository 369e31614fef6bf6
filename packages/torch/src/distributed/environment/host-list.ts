/** Slurm's short form of many names: `node[01-03,7]` is node01, node02, node03 and node7. */

/** More are no list of machines. */
const MOST_HOSTS = 1 << 16;

/**
 * The names of a list, in its order; null where it is none. Brackets may stand anywhere in a name and several times:
 * `r[1-2]n[1-2]-ib` has four names. A number keeps the leading zeros of its range's start.
 *
 * @example expandHostList("a[9-11],b"); // ["a9", "a10", "a11", "b"]
 */
export function expandHostList(text: string): string[] | null {
  if (!/^(?:[^[\],\s]+|\[[\d,-]+\])+(?:,(?:[^[\],\s]+|\[[\d,-]+\])+)*$/.test(text)) return null;
  const names: string[] = [];
  for (const entry of text.split(/,(?![^[]*\])/)) {
    const expanded = expandEntry(entry);
    if (expanded === null || names.length + expanded.length > MOST_HOSTS) return null;
    for (const name of expanded) names.push(name);
  }
  return names;
}

function expandEntry(entry: string): string[] | null {
  let names = [""];
  for (const [part, inner] of entry.matchAll(/\[([\d,-]+)\]|[^[\]]+/g)) {
    const endings = inner === undefined ? [part] : expandRanges(inner);
    if (endings === null || names.length * endings.length > MOST_HOSTS) return null;
    names = names.flatMap((name) => endings.map((ending) => name + ending));
  }
  return names;
}

function expandRanges(text: string): string[] | null {
  const numbers: string[] = [];
  for (const range of text.split(",")) {
    const [whole, low = "", high = low] = /^(\d{1,9})(?:-(\d{1,9}))?$/.exec(range) ?? [];
    const [first, last] = [Number(low), Number(high)];
    if (whole === undefined || last < first || last - first + numbers.length >= MOST_HOSTS) return null;
    for (let i = first; i <= last; i++) numbers.push(String(i).padStart(low.length, "0"));
  }
  return numbers;
}

/** Slurm's counts by node: `2(x3),1` is 2, 2, 2 and 1. Null where it is none. */
export function expandCounts(text: string): number[] | null {
  const counts: number[] = [];
  for (const part of text.split(",")) {
    const [whole, count = "", times = "1"] = /^(\d{1,6})(?:\(x(\d{1,5})\))?$/.exec(part) ?? [];
    if (whole === undefined || counts.length + Number(times) > MOST_HOSTS) return null;
    for (let i = 0; i < Number(times); i++) counts.push(Number(count));
  }
  return counts;
}
