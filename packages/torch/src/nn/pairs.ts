/** Values by name, as containers take them. */
import { ArgumentError } from "../errors.js";
import { isMap, isPlain } from "../realm.js";
import { iterated } from "../read-once.js";

/** An object, a Map, or pairs of names and values. */
export type Pairs<T> = Readonly<Record<string, T>> | ReadonlyMap<string, T> | Iterable<readonly [string, T]>;

/**
 * @throws {ArgumentError} `ModuleDict: expected modules to be an object, a Map or pairs [name, value]. Received: 3.`
 */
export function pairsOf<T>(fn: string, name: string, given: Pairs<T>): readonly (readonly [string, T])[] {
  if (isMap(given)) return [...given] as (readonly [string, T])[];
  if (isPlain(given)) return Object.entries(given as Readonly<Record<string, T>>);
  const wrong = (received: unknown): ArgumentError =>
    new ArgumentError(fn, `${name} to be an object, a Map or pairs [name, value]`, received);
  if (typeof given !== "object" || given === null || !(Symbol.iterator in given)) throw wrong(given);
  const pairs = iterated(fn, name, given) as readonly (readonly [string, T])[];
  for (const pair of pairs as readonly unknown[])
    if (!Array.isArray(pair) || pair.length !== 2 || typeof pair[0] !== "string") throw wrong(pair);
  return pairs;
}
