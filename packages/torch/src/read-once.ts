/** Reading what a caller gave, once: getters, proxies and iterators may run a program of their own, and may say something else the next time. */

/** The elements of an array as a plain one, by their positions: no iterator of a caller's is asked. */
export function elementsOf<T>(list: readonly T[]): T[] {
  const n = list.length;
  const copy: T[] = [];
  for (let i = 0; i < n; i++) copy.push(list[i] as T);
  return copy;
}
