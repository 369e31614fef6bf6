/** `rearrange`: axes by name, in another order, joined and taken apart. */
import { ArgumentError } from "../errors.js";
import { either, filled, listOf, record } from "../kinds.js";
import { stack } from "../ops/index.js";
import { atMost, checkArguments } from "../options.js";
import { isTensor } from "../tensor/handle.js";
import { tensorKind } from "../tensor/kinds.js";
import type { Tensor } from "../tensor/tensor.js";

/** Names of axes of one side, each dimension's in one array; an axis of size 1 is an empty one; null: `...`. */
type Side = readonly (readonly string[] | null)[];
const tensorsKind = either(tensorKind, listOf(tensorKind));

/**
 * A tensor with its dimensions in another order, joined or taken apart, as einops' patterns say it: `"b c h w -> b (h w)
 * c"`. A pattern names every axis once on each side; axes in parentheses are one dimension, `1` is one of size 1, and
 * `...` stands for all that are not named.
 *
 * @param tensor - Or several of one shape, which are stacked along a first dimension.
 * @param sizes - Of axes in parentheses on the left, but for one in each.
 * @returns A view where there is one.
 * @throws {ArgumentError} for a pattern that cannot be read, names that are not the same on both sides, or sizes that do
 * not fit.
 * @example
 * func.rearrange(images, "b (h p) (w q) c -> b h w (c p q)", { p: 2, q: 2 });
 * @see torch.func.rearrange
 */
export function rearrange(
  tensor: Tensor | readonly Tensor[],
  pattern: string,
  sizes: Readonly<Record<string, number>> = {},
): Tensor {
  const fn = "rearrange";
  atMost(fn, arguments, 3);
  checkArguments(fn, { tensor, pattern, sizes }, { tensor: tensorsKind, pattern: filled, sizes: record });
  const x = isTensor(tensor) ? tensor : stack(tensor, 0);
  const sides = pattern.split("->");
  const [from, to] = sides;
  if (from === undefined || to === undefined || sides.length !== 2) throw wrong(pattern, "one arrow, ->,");
  const [left, right] = [sideOf(from, pattern), sideOf(to, pattern)];
  const [before, after] = [left, right].map((side) => side.flatMap((axis) => axis ?? ["..."])) as [string[], string[]];
  if ([...before].sort().join(" ") !== [...after].sort().join(" "))
    throw wrong(pattern, "the same names on both sides");
  for (const name of Object.keys(sizes))
    if (!before.includes(name)) throw new ArgumentError(fn, `sizes of axes in ${pattern}`, name);
  const rest = x.ndim - left.filter((axis) => axis !== null).length;
  if (left.includes(null) ? rest < 0 : rest !== 0)
    throw new ArgumentError(fn, `a tensor of the dimensions on the left of ${pattern}`, x.shape);
  const others = Array.from({ length: left.includes(null) ? rest : 0 }, (_, i) => `...${i}`);
  const expand = (names: readonly string[]): string[] => names.flatMap((name) => (name === "..." ? others : [name]));
  const known = sizesOf(left, others, x.shape, sizes, pattern);
  const flat = x.reshape(expand(before).map((name) => known.get(name) ?? 1));
  const moved = flat.permute(expand(after).map((name) => expand(before).indexOf(name)));
  const size = (names: readonly string[]): number => names.reduce((n, name) => n * (known.get(name) ?? 1), 1);
  return moved.reshape(right.flatMap((axis) => (axis === null ? others.map((o) => size([o])) : [size(expand(axis))])));
}

function wrong(pattern: string, expected: string): ArgumentError {
  return new ArgumentError("rearrange", `a pattern with ${expected}`, pattern, 'As in "b c h w -> b (h w) c".');
}

function sideOf(text: string, pattern: string): Side {
  const parts = text.match(/\([^()]*\)|\.\.\.|\w+|\S/g) ?? [];
  const seen = new Set<string>();
  const named = (name: string): string[] => {
    if (name === "1") return [];
    if (!/^(?:[A-Za-z]\w*|\.\.\.)$/.test(name) || seen.has(name))
      throw wrong(pattern, "names of letters, each once on a side,");
    seen.add(name);
    return [name];
  };
  return parts.map((part) => {
    if (part === "...") return named(part).length > 0 ? null : [];
    if (!(part.startsWith("(") && part.endsWith(")"))) return named(part);
    return (part.slice(1, -1).match(/\.\.\.|\w+|\S/g) ?? []).flatMap(named);
  });
}

/** How long each axis is; in parentheses one may follow from the others. */
function sizesOf(
  left: Side,
  others: readonly string[],
  shape: readonly number[],
  given: Readonly<Record<string, number>>,
  pattern: string,
): ReadonlyMap<string, number> {
  const known = new Map<string, number>();
  let at = 0;
  for (const axis of left) {
    if (axis === null) {
      for (const name of others) known.set(name, shape[at++] as number);
      continue;
    }
    if (axis.includes("...")) throw wrong(pattern, "... outside of parentheses on the left");
    const length = shape[at++] as number;
    const open = axis.filter((name) => given[name] === undefined);
    const product = axis.reduce((n, name) => n * (given[name] ?? 1), 1);
    const [unknown] = open;
    const whole = unknown === undefined ? product === length : product > 0 && length % product === 0;
    if (open.length > 1 || !whole)
      throw new ArgumentError(
        "rearrange",
        `sizes for ${axis.length === 0 ? "1" : axis.join(", ")} whose product is ${length}, all but one at least`,
        given,
      );
    for (const name of axis) known.set(name, given[name] ?? length / product);
  }
  return known;
}
