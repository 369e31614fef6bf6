/**
 * How one overload is called with arguments of one shape: resolved once per shape of a call, as PyTorch's argument
 * parser would choose.
 */
import { dtypeCode, isDType } from "../tensor/dtype.js";
import { device, isDevice } from "../tensor/device.js";
import { isTensor } from "../tensor/handle.js";
import { isTensorList } from "../tensor/list.js";
import { isGenerator } from "./generator.js";
import { Complex } from "./complex.js";
import { native, argBuffer, writeInteger } from "../native.js";
import { elementsOf, MOST_ELEMENTS } from "../read-once.js";
import { isPlain as isOptions } from "../realm.js";
import type { Argument, Schema } from "./schema.js";

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
 * An argument as this side owns it: lists, options and complex numbers are copied, whatever getters, proxies or classes
 * of a caller's they are, so that a later read runs no code of a caller's. Everything else is a tensor, a primitive, or
 * an object of ours whose fields cannot change.
 */
export function own(value: unknown): unknown {
  if (typeof value !== "object" || value === null || isTensor(value) || isTensorList(value)) return value;
  if (Array.isArray(value)) return isTooLong(value) ? value : elementsOf(value as readonly unknown[]);
  if (value instanceof Complex) {
    const { re, im } = value;
    return typeof re === "number" && typeof im === "number" ? new Complex(re, im) : NOTHING;
  }
  return isOptions(value) ? { ...value } : value;
}
/** What no argument takes. */
const NOTHING = Symbol("not a number");

/** An array of more elements than any list of a call has. */
export function isTooLong(value: unknown): boolean {
  return Array.isArray(value) && !(value.length <= MOST_ELEMENTS);
}

export function tagOf(value: unknown): number {
  if (isTensor(value)) return Tag.tensor;
  switch (typeof value) {
    case "number":
      return Number.isInteger(value) ? Tag.integer : Tag.float;
    case "boolean":
      return Tag.boolean;
    case "bigint":
      return Tag.bigint;
    case "string":
      return isDType(value) ? Tag.dtype : Tag.string;
    case "undefined":
      return Tag.none;
    case "object":
      if (value === null) return Tag.none;
      if (Array.isArray(value)) return tagOfList(value);
      if (isTensorList(value)) return Tag.tensors;
      if (isGenerator(value)) return Tag.generator;
      if (isDevice(value)) return Tag.device;
      if (value instanceof Complex) return Tag.complex;
      return isOptions(value) ? Tag.options : Tag.other;
    default:
      return Tag.other;
  }
}

function tagOfList(list: readonly unknown[]): number {
  if (list.length === 0) return Tag.empty;
  if (isTooLong(list)) return Tag.other;
  let result = -1;
  for (const e of list) {
    const tag = tagOfElement(e);
    if (tag === Tag.other) return Tag.other;
    if (result === -1 || result === tag) result = tag;
    else if ((result === Tag.integers && tag === Tag.floats) || (result === Tag.floats && tag === Tag.integers))
      result = Tag.floats;
    else if (
      (result === Tag.tensors && tag === Tag.maybeTensors) ||
      (result === Tag.maybeTensors && tag === Tag.tensors)
    )
      result = Tag.maybeTensors;
    else return Tag.other;
  }
  return result;
}
function tagOfElement(e: unknown): number {
  if (typeof e === "number") return Number.isInteger(e) ? Tag.integers : Tag.floats;
  if (typeof e === "bigint") return Tag.integers;
  if (typeof e === "boolean") return Tag.booleans;
  if (typeof e === "string") return Tag.strings;
  if (e === null || e === undefined) return Tag.maybeTensors;
  return isTensor(e) ? Tag.tensors : Tag.other;
}

export { isOptions };

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

const strings = new Map<string, number>();
export function intern(text: string): number {
  let id = strings.get(text);
  if (id === undefined) {
    id = native.intern(text);
    strings.set(text, id);
  }
  return id;
}

export const LAYOUTS: Readonly<Record<string, number>> = {
  strided: 0,
  sparseCoo: 1,
  sparseCsr: 2,
  mkldnn: 3,
  sparseCsc: 4,
  sparseBsr: 5,
  sparseBsc: 6,
  jagged: 7,
};
export const MEMORY_FORMATS: Readonly<Record<string, number>> = {
  contiguousFormat: 0,
  preserveFormat: 1,
  channelsLast: 2,
  channelsLast3d: 3,
};

/** What a plan writes for an argument that the call leaves out: its default, encoded. */
export function encodeDefault(arg: Argument): readonly number[] {
  const value = arg.default;
  if (value === null || value === undefined) return arg.list === true ? [-1] : [0];
  // The buffer is free while a plan is being made.
  return Array.from(argBuffer.subarray(0, writeDefault(arg, value, 0)));
}

function number(value: unknown): number {
  if (value === "inf") return Infinity;
  if (value === "-inf") return -Infinity;
  if (value === "nan") return NaN;
  return Number(value);
}

function writeDefault(arg: Argument, value: unknown, start: number): number {
  let at = start;
  if (arg.list === true) {
    // A default of one number for a list of fixed size stands for all of its elements.
    const list: readonly unknown[] = Array.isArray(value) ? value : new Array(arg.size ?? 1).fill(value);
    argBuffer[at++] = list.length;
    for (const e of list) {
      if (arg.kind === "s") at = writeScalarDefault(e, at);
      else if (arg.kind === "S") argBuffer[at++] = intern(String(e));
      else argBuffer[at++] = number(e);
    }
    return at;
  }
  if (arg.optional === true) argBuffer[at++] = 1;
  switch (arg.kind) {
    case "s":
      return writeScalarDefault(value, at);
    case "i":
      return typeof value === "number" && !Number.isSafeInteger(value)
        ? writeInteger(BigInt(value), at)
        : writeInteger(Number(value), at);
    case "S":
      argBuffer[at] = intern(String(value));
      return at + 1;
    case "D":
      argBuffer[at] = device(String(value)).code;
      return at + 1;
    default:
      argBuffer[at] = number(value);
      return at + 1;
  }
}
function writeScalarDefault(value: unknown, at: number): number {
  argBuffer[at] = typeof value === "boolean" ? 2 : Number.isInteger(value) ? 0 : 1;
  argBuffer[at + 1] = number(value);
  return at + 2;
}

/** The dtype code of a value that has passed {@link conversionCost}. */
export function dtypeOfArgument(value: unknown): number {
  return dtypeCode(value, "dtype");
}

/** A resolved way to call an overload. */
export interface Plan {
  readonly id: number;
  readonly schema: Schema;
  /**
   * For each schema argument: position among the call's arguments (0 = self or first), or a name in the options, or -1
   * = its default.
   */
  readonly source: readonly (number | string)[];
  /** Encoded defaults, for arguments whose source is -1. */
  readonly defaults: readonly (readonly number[])[];
  /** This argument takes all positional arguments from `source` on, as one list of integers. */
  readonly varargs: number;
  /** `requiresGrad` was among the options of a factory. */
  readonly requiresGrad: boolean;
  /** The only result is one new tensor (1), is an argument (2), or anything else (0). */
  readonly simple: 0 | 1 | 2;
}

/** Whether all positional arguments from `position` on are integers, which `arg` takes as one list: `view(2, 3)`. */
function takesRest(arg: Argument, tags: readonly number[], position: number): boolean {
  return (
    arg.list === true &&
    arg.kind === "i" &&
    arg.size === undefined &&
    tags.slice(position).every((t) => t === Tag.integer || t === Tag.bigint)
  );
}

function positionalCost(schema: Schema, i: number, tag: number): number {
  const arg = schema.args[i] as Argument;
  const asTensor =
    i === 1 && arg.kind === "t" && tag >= Tag.integer && tag <= Tag.boolean && NUMBERS_AS_TENSORS.has(schema.name);
  return asTensor ? 0 : conversionCost(arg, tag);
}

/** PyTorch's factories take requires_grad outside their schema. */
function takesRequiresGrad(schema: Schema, options: ReadonlyMap<string, number>): boolean {
  return options.has("requiresGrad") && schema.args.some((a) => a.camel === "dtype");
}

function simplicity({ returns }: Schema): Plan["simple"] {
  const only = returns.length === 1 ? returns[0] : undefined;
  if (only === undefined || only.kind !== "t" || only.list === true) return 0;
  return only.alias < 0 ? 1 : 2;
}

/** What a call costs that gathers its integers to a list: more than one that has a list. */
const REST_COST = 5;

/** The plan of an overload for a call of this shape, with its cost; null when it cannot take it. */
export function planFor(
  schema: Schema,
  tags: readonly number[],
  options: ReadonlyMap<string, number> | null,
  allowVarargs: boolean,
): { plan: Omit<Plan, "id">; cost: number } | null {
  const source: (number | string)[] = [];
  const defaults: (readonly number[])[] = [];
  let cost = 0;
  let position = 0;
  let used = 0;
  let varargs = -1;
  for (let i = 0; i < schema.args.length; i++) {
    const arg = schema.args[i] as Argument;
    const named = options?.get(arg.camel);
    if (position < tags.length && arg.kwarg !== true) {
      source.push(position);
      defaults.push(NONE);
      if (allowVarargs && varargs === -1 && takesRest(arg, tags, position)) {
        cost += REST_COST;
        varargs = i;
        position = tags.length;
        continue;
      }
      cost += named === undefined ? positionalCost(schema, i, tags[position++] as number) : Infinity;
    } else if (named !== undefined) {
      cost += conversionCost(arg, named);
      used++;
      source.push(arg.camel);
      defaults.push(NONE);
    } else {
      if (arg.default === undefined) return null;
      source.push(-1);
      defaults.push(encodeDefault(arg));
    }
    if (cost === Infinity) return null;
  }
  if (position < tags.length) return null;
  const unused = options === null ? 0 : options.size - used;
  const requiresGrad = unused === 1 && options !== null && takesRequiresGrad(schema, options);
  return unused > 0 && !requiresGrad
    ? null
    : { plan: { schema, source, defaults, varargs, requiresGrad, simple: simplicity(schema) }, cost };
}

const NONE: readonly number[] = [];
