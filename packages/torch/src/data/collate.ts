/** From a list of elements to a batch. */
import { ArgumentError, verbatim } from "../errors.js";
import { either, isPlain, such } from "../kinds.js";
import { checkDepth } from "../limits.js";
import { dtypeKind } from "../tensor/kinds.js";
import { atMost, checkOptions, type OptionNames } from "../options.js";
import { stack } from "../ops/index.js";
import { getDefaultDtype, isTensor, tensor, type DType, type Tensor, type TypedArray } from "../tensor/index.js";
import { elementsOf } from "../read-once.js";
import { isMap } from "../realm.js";

/** What the default collate makes of elements of type T. */
export type Collated<T> = T extends Tensor
  ? Tensor
  : T extends number | boolean | bigint
    ? Tensor
    : T extends string
      ? string[]
      : T extends TypedArray
        ? Tensor
        : T extends readonly unknown[]
          ? { -readonly [K in keyof T]: Collated<T[K]> }
          : T extends ReadonlyMap<infer K, infer V>
            ? Map<K, Collated<V>>
            : T extends object
              ? { -readonly [K in keyof T]: Collated<T[K]> }
              : unknown;

export interface CollateOptions {
  /**
   * The dtype of plain numbers: one for all, or by the name of the object's field they stand in. Default: the default
   * dtype (float32), whether whole or not, so that a batch's dtype never depends on its values.
   */
  readonly numbers?: DType | Readonly<Record<string, DType>>;
}
const NAMES: OptionNames<CollateOptions> = {
  numbers: either(
    dtypeKind,
    such<Readonly<Record<string, DType>>>(
      "an object of dtypes by the names of fields",
      (v) => isPlain(v) && Object.values(v).every((d) => dtypeKind.accepts(d)),
    ),
  ),
};

/**
 * A batch of elements: the same structure, with every leaf stacked along a new first dimension.
 *
 * tensors → `stack`; numbers → one tensor of the default dtype, `[batch]` (JavaScript has one kind of number, so class
 * indices as plain numbers need {@link collate} with `numbers: "int64"`, or bigints, or an int64 tensor); bigints →
 * int64; booleans → bool; typed arrays → tensors of their own dtype, stacked; strings → an array of strings; arrays,
 * plain objects and Maps → element by element.
 *
 * @param batch - At least one element; all of one structure.
 * @throws {ArgumentError} `defaultCollate: expected every element to have the structure of the first. Received: an
 * array of 2 where the first has 3, at [1].`
 * @example
 * defaultCollate([{ x: tensor([1, 2]), name: "a" }, { x: tensor([3, 4]), name: "b" }]);
 * // { x: tensor([[1., 2.], [3., 4.]]), name: ["a", "b"] }
 */
export function defaultCollate<T>(batch: readonly T[]): Collated<T> {
  atMost("defaultCollate", arguments, 1);
  if (!Array.isArray(batch)) throw new ArgumentError("defaultCollate", "an array of elements", batch);
  return join("defaultCollate", batch, undefined, "", "", 0) as Collated<T>;
}

/**
 * A collate function like {@link defaultCollate}, with a dtype for plain numbers.
 * @example new DataLoader(dataset, { batchSize: 32, collateFn: collate({ numbers: { label: "int64" } }) })
 */
export function collate(options: CollateOptions): <T>(batch: readonly T[]) => Collated<T> {
  atMost("collate", arguments, 1);
  checkOptions("collate", options, NAMES);
  return <T>(batch: readonly T[]) => join("collate", batch, options.numbers, "", "", 0) as Collated<T>;
}

function join(
  fn: string,
  batch: readonly unknown[],
  numbers: CollateOptions["numbers"],
  path: string,
  field: string,
  depth: number,
): unknown {
  checkDepth(fn, depth);
  const first = batch[0];
  if (batch.length === 0) throw new ArgumentError(fn, "at least one element", batch);
  if (isTensor(first)) return stack(all(fn, batch, isTensor, "a tensor", path));
  switch (typeof first) {
    case "number": {
      const values = all(fn, batch, (v): v is number => typeof v === "number", "a number", path);
      return tensor(values, { dtype: (typeof numbers === "string" ? numbers : numbers?.[field]) ?? getDefaultDtype() });
    }
    case "boolean":
      return tensor(
        all(fn, batch, (v): v is boolean => typeof v === "boolean", "a boolean", path),
        { dtype: "bool" },
      );
    case "bigint":
      return tensor(
        all(fn, batch, (v): v is bigint => typeof v === "bigint", "a bigint", path),
        { dtype: "int64" },
      );
    case "string":
      return all(fn, batch, (v): v is string => typeof v === "string", "a string", path);
    default:
  }
  if (isTypedArray(first)) return stackArrays(fn, all(fn, batch, isTypedArray, "a typed array", path), path);
  if (Array.isArray(first)) {
    const rows = all(
      fn,
      batch,
      (v): v is unknown[] => Array.isArray(v) && v.length === first.length,
      `an array of ${first.length}`,
      path,
    );
    return first.map((_, i) =>
      join(
        fn,
        rows.map((r) => r[i]),
        numbers,
        `${path}[${i}]`,
        field,
        depth + 1,
      ),
    );
  }
  if (isMap(first)) {
    const rows = all(
      fn,
      batch,
      (v): v is Map<unknown, unknown> => isMap(v) && [...first.keys()].every((k) => v.has(k)),
      "a Map with the same keys",
      path,
    );
    return new Map(
      [...first.keys()].map((k) => [
        k,
        join(
          fn,
          rows.map((r) => r.get(k)),
          numbers,
          `${path}.${String(k)}`,
          String(k),
          depth + 1,
        ),
      ]),
    );
  }
  if (isPlain(first)) {
    const keys = Object.keys(first);
    const rows = all(
      fn,
      batch,
      (v): v is Record<string, unknown> => isPlain(v) && keys.every((k) => Object.hasOwn(v, k)),
      `an object with keys ${keys.join(", ")}`,
      path,
    );
    return Object.fromEntries(
      keys.map((k) => [
        k,
        join(
          fn,
          rows.map((r) => r[k]),
          numbers,
          `${path}.${k}`,
          k,
          depth + 1,
        ),
      ]),
    );
  }
  throw new ArgumentError(
    fn,
    `tensors, numbers, booleans, bigints, strings, typed arrays, arrays, Maps or plain objects${path === "" ? "" : ` at ${path}`}`,
    first,
    "Give the loader a collateFn for other values.",
  );
}

function all<T>(
  fn: string,
  batch: readonly unknown[],
  is: (value: unknown) => value is T,
  what: string,
  path: string,
): T[] {
  const bad = batch.findIndex((v) => !is(v));
  if (bad !== -1)
    throw new ArgumentError(
      fn,
      `every element to have the structure of the first: ${what} at element ${bad}${path === "" ? "" : `, ${path}`}`,
      batch[bad],
    );
  return batch as T[];
}

function stackArrays(fn: string, arrays: readonly TypedArray[], path: string): Tensor {
  const first = arrays[0] as TypedArray;
  const bad = arrays.find((a) => a.length !== first.length || a.constructor !== first.constructor);
  if (bad !== undefined)
    throw new ArgumentError(
      fn,
      `every element to have the structure of the first: a ${first.constructor.name} of ${first.length} elements${path === "" ? "" : ` at ${path}`}`,
      verbatim(`${bad.constructor.name} of ${bad.length} elements`),
    );
  // One copy into one array, rather than a tensor per element.
  const Type = first.constructor as new (length: number) => TypedArray;
  const joined = new Type(first.length * arrays.length);
  arrays.forEach((a, i) => {
    (joined as { set(source: TypedArray, at: number): void }).set(a, i * first.length);
  });
  const flat = tensor(joined);
  const shaped = flat.view([arrays.length, first.length]);
  flat.dispose();
  return shaped;
}

function isTypedArray(value: unknown): value is TypedArray {
  return ArrayBuffer.isView(value) && !(value instanceof DataView);
}

/**
 * What a loader without batches does to one element (`batchSize: null`): typed arrays become tensors, everything else
 * stays, inside arrays and plain objects too. Numbers stay numbers.
 */
export function defaultConvert(value: unknown): unknown {
  atMost("defaultConvert", arguments, 1);
  return convert(value, 0);
}

function convert(value: unknown, depth: number): unknown {
  checkDepth("defaultConvert", depth);
  if (isTypedArray(value)) return tensor(value);
  if (Array.isArray(value))
    return elementsOf(value as readonly unknown[], "defaultConvert", "lists").map((v) => convert(v, depth + 1));
  if (isPlain(value)) return Object.fromEntries(Object.entries(value).map(([k, v]) => [k, convert(v, depth + 1)]));
  return value;
}
