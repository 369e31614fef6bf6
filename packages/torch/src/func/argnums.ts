/** Which arguments a function is differentiated by. */
import { ArgumentError } from "../errors.js";
import { either, listOf, whole, type Kind } from "../kinds.js";

/** One argument by its position, or several; negative: from the end. */
export type Argnums = number | readonly number[];
export const argnumsKind: Kind<Argnums> = either(whole(), listOf(whole()));

/** Positions in order, checked against how many arguments there are. */
export function positionsOf(fn: string, argnums: Argnums, count: number): readonly number[] {
  const list = typeof argnums === "number" ? [argnums] : argnums;
  const positions = list.map((n) => {
    if (!(n >= -count && n < count))
      throw new ArgumentError(fn, `argnums of the ${count} arguments that it was called with`, n);
    return n < 0 ? n + count : n;
  });
  if (positions.length === 0 || new Set(positions).size !== positions.length)
    throw new ArgumentError(fn, "argnums of at least one argument, each once", argnums);
  return positions;
}

/** What stands at the positions: the value itself for one number, an array for several. */
export function pick(values: readonly unknown[], argnums: Argnums, positions: readonly number[]): unknown {
  return typeof argnums === "number" ? values[positions[0] ?? 0] : positions.map((at) => values[at]);
}
