/** What arguments look like, and what it costs to give one to a parameter of an overload. */
import type { Argument } from "./schema.js";

/** What an argument looks like, as far as the choice of an overload depends on it. */
export const Tag = {
  missing: 0,
  none: 1,
  tensor: 2,
  integer: 3,
  float: 4,
  boolean: 5,
  string: 6,
  integers: 7,
  floats: 8,
  tensors: 9,
  empty: 10,
  bigint: 11,
  generator: 12,
  device: 13,
  booleans: 14,
  maybeTensors: 15,
  complex: 16,
  strings: 17,
  dtype: 18,
  other: 19,
  options: 20,
} as const;

/**
 * Arithmetic takes numbers in a tensor's place, as in PyTorch: they take part in type promotion as numbers, and the
 * graph shows the same nodes.
 */
export const NUMBERS_AS_TENSORS = new Set(
  ["add", "sub", "mul", "div", "subtract", "multiply", "divide", "true_divide", "floor_divide"].flatMap((n) => [
    `aten::${n}`,
    `aten::${n}_`,
  ]),
);

/** What values cost by their tags: 0 exact, more for a conversion; what is not listed is impossible. */
type Costs = ReadonlyMap<number, number>;
const exact = (...tags: readonly number[]): Costs => new Map(tags.map((tag) => [tag, 0]));

/** By kind of argument. */
const ONE: Readonly<Record<string, Costs>> = {
  t: exact(Tag.tensor),
  i: exact(Tag.integer, Tag.bigint),
  f: new Map([
    [Tag.float, 0],
    [Tag.integer, 1],
  ]),
  s: new Map([
    [Tag.integer, 0],
    [Tag.float, 0],
    [Tag.bigint, 0],
    [Tag.complex, 0],
    [Tag.boolean, 1],
  ]),
  b: exact(Tag.boolean),
  S: exact(Tag.string, Tag.dtype),
  d: exact(Tag.dtype),
  D: exact(Tag.string, Tag.device),
  l: exact(Tag.string),
  m: exact(Tag.string),
  g: exact(Tag.generator),
};

/** The same of lists, by kind of their elements. */
const LIST: Readonly<Record<string, Costs>> = {
  t: exact(Tag.tensors),
  i: exact(Tag.integers),
  f: new Map([
    [Tag.floats, 0],
    [Tag.integers, 1],
  ]),
  s: exact(Tag.floats, Tag.integers, Tag.booleans),
  b: exact(Tag.booleans),
  S: exact(Tag.strings),
};

/** One number for a list of fixed size: all of its elements. */
const REPEATED: Readonly<Record<string, Costs>> = {
  i: new Map([
    [Tag.integer, 2],
    [Tag.bigint, 2],
  ]),
  f: new Map([
    [Tag.float, 2],
    [Tag.integer, 2],
  ]),
};

/**
 * The cost of giving a value with this tag to an argument: 0 exact, more for a conversion, Infinity when impossible.
 */
export function conversionCost(arg: Argument, tag: number): number {
  if (tag === Tag.none || tag === Tag.missing) return arg.optional === true ? 0 : Infinity;
  if (arg.list !== true) return ONE[arg.kind]?.get(tag) ?? Infinity;
  if (tag === Tag.empty) return 0;
  if (arg.kind === "t" && tag === Tag.maybeTensors) return arg.elementOptional === true ? 0 : Infinity;
  const repeated = arg.size === undefined ? undefined : REPEATED[arg.kind]?.get(tag);
  return LIST[arg.kind]?.get(tag) ?? repeated ?? Infinity;
}
