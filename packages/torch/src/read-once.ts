/**
 * Reading what a caller gave, once: getters, proxies and iterators may run a program of their own, and may say
 * something else the next time.
 */

import { ArgumentError, verbatim } from "./errors.js";
import { typedArrayName } from "./realm.js";

/**
 * More than any list of a call holds: as many as there can be tensors at once. An array may say that it has four
 * thousand million elements and hold none.
 */
export const MOST_ELEMENTS = 2 ** 24 - 1;

/**
 * The elements of an array or of another iterable, in an array of our own. One that never ends is refused, and so is an
 * array that only says that it is long.
 * @throws {ArgumentError} `clipGradNorm: expected params to be an array or another iterable. Received: 3.`
 */
export function iterated(fn: string, name: string, values: unknown): unknown[] {
  if (typeof values !== "object" || values === null)
    throw new ArgumentError(fn, `${name} to be an array or another iterable`, values);
  // By positions: the iterator of a typed array that has lost its memory throws.
  if (Array.isArray(values) || typedArrayName(values) !== undefined)
    return elementsOf(values as readonly unknown[], fn, name);
  if (typeof (values as Partial<Iterable<unknown>>)[Symbol.iterator] !== "function")
    throw new ArgumentError(fn, `${name} to be an array or another iterable`, values);
  const list: unknown[] = [];
  for (const value of values as Iterable<unknown>) {
    if (list.length >= MOST_ELEMENTS)
      throw new ArgumentError(
        fn,
        `${name} to have at most ${MOST_ELEMENTS.toLocaleString("en")} elements`,
        verbatim("an iterable with more"),
      );
    list.push(value);
  }
  return list;
}

/** The elements of an array as a plain one, by their positions: no iterator of a caller's is asked. */
export function elementsOf<T>(list: readonly T[], fn = "a list", name = ""): T[] {
  const n = list.length;
  if (!(n <= MOST_ELEMENTS))
    throw new ArgumentError(
      fn,
      `${name === "" ? "" : `${name} to have `}at most ${MOST_ELEMENTS.toLocaleString("en")} elements`,
      list,
    );
  const copy: T[] = [];
  for (let i = 0; i < n; i++) copy.push(list[i] as T);
  return copy;
}
