/** Reading what a caller gave, once: getters, proxies and iterators may run a program of their own, and may say something else the next time. */

import { ArgumentError } from "./errors.js";

/** More than any list of a call holds: as many as there can be tensors at once. An array may say that it has four thousand million elements and hold none. */
export const MOST_ELEMENTS = 2 ** 24 - 1;

/** The elements of an array as a plain one, by their positions: no iterator of a caller's is asked. */
export function elementsOf<T>(list: readonly T[]): T[] {
  const n = list.length;
  if (!(n <= MOST_ELEMENTS)) throw new ArgumentError("a list", `at most ${MOST_ELEMENTS.toLocaleString("en")} elements`, list);
  const copy: T[] = [];
  for (let i = 0; i < n; i++) copy.push(list[i] as T);
  return copy;
}
