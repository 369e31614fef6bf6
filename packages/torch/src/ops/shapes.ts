/** Shapes that operators broadcast to one another. */
import { ArgumentError } from "../errors.js";
import { checkArguments } from "../options.js";
import { either, listOf, whole } from "../kinds.js";

const SHAPE = either(whole("[0, ∞)"), listOf(whole("[0, ∞)")));

/**
 * The shape that shapes have in common: sizes are compared from the last dimension on, and 1 takes the size of the other.
 *
 * @param shapes - Each an array of sizes; a number is a shape of one dimension.
 * @throws {ArgumentError} `broadcastShapes: expected sizes that are equal or 1 at dimension -1. Received: [2, 3].`
 * @example broadcastShapes([2, 1], [3]); // [2, 3]
 */
export function broadcastShapes(...shapes: readonly (number | readonly number[])[]): number[] {
  const lists = shapes.map((shape) => {
    checkArguments("broadcastShapes", { shape }, { shape: SHAPE });
    return typeof shape === "number" ? [shape] : shape;
  });
  const n = Math.max(0, ...lists.map((list) => list.length));
  const result = new Array<number>(n).fill(1);
  for (const list of lists)
    list.forEach((size, i) => {
      const at = n - list.length + i;
      const before = result[at] as number;
      if (size === 1 || size === before) return;
      if (before !== 1)
        throw new ArgumentError("broadcastShapes", `sizes that are equal or 1 at dimension ${at - n}`, [before, size]);
      result[at] = size;
    });
  return result;
}
