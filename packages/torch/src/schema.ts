/**
 * The form that data from outside must have, as a table: one walk checks all of it before anything is taken from it,
 * and says where it is wrong.
 */
import type { Tensor } from "./tensor/tensor.js";
import { isTensor } from "./tensor/handle.js";
import { isPlain } from "./realm.js";

/** What is wrong, and where: `path` begins with the name that the walk was given. */
export interface Fault {
  readonly path: string;
  /** After "expected path to be". */
  readonly expected: string;
  readonly received: unknown;
}

/** A form of values that are a T. */
export interface Schema<out T> {
  readonly fault: (value: unknown, path: string) => Fault | null;
  /** Nobody reads it: it lets the compiler see T. */
  readonly of?: T;
}
export type TypeOf<S> = S extends Schema<infer T> ? T : never;

/**
 * Check a value whole.
 * @param path - Its name in messages.
 * @param fail - Makes the error.
 * @returns The value itself.
 */
export function conforming<T>(schema: Schema<T>, value: unknown, path: string, fail: (fault: Fault) => Error): T {
  const fault = schema.fault(value, path);
  if (fault !== null) throw fail(fault);
  return value as T;
}

/** A value that is right or wrong as a whole. */
export function leaf<T>(expected: string, accepts: (value: unknown) => boolean): Schema<T> {
  return { fault: (received, path) => (accepts(received) ? null : { path, expected, received }) };
}

export const flag = leaf<boolean>("true or false", (v) => typeof v === "boolean");
export const text = leaf<string>("a text", (v) => typeof v === "string");
export const anyNumber = leaf<number>("a number", (v) => typeof v === "number");
export const finite = leaf<number>("a finite number", (v) => Number.isFinite(v));
/** A number that is not NaN; Infinity is one. */
export const ordered = leaf<number>("a number other than NaN", (v) => typeof v === "number" && !Number.isNaN(v));
/** How many: a whole number that is exact. */
export const count = leaf<number>(
  "a whole number from 0 to 2^53 - 1",
  (v) => Number.isSafeInteger(v) && (v as number) >= 0,
);
export const notNegative = leaf<number>("a finite number ≥ 0", (v) => Number.isFinite(v) && (v as number) >= 0);
export const tensorOf = (expected: string, accepts: (t: Tensor) => boolean): Schema<Tensor> =>
  leaf(expected, (v) => isTensor(v) && accepts(v));
export const anyTensor = tensorOf("a tensor", () => true);
export const bytes = tensorOf("a uint8 tensor of one dimension", (t) => t.dtype === "uint8" && t.ndim === 1);

export function oneOf<const T extends string | number>(...values: readonly T[]): Schema<T> {
  return leaf(`one of ${values.map((v) => JSON.stringify(v)).join(", ")}`, (v) =>
    (values as readonly unknown[]).includes(v),
  );
}
export function orNull<T>(schema: Schema<T>): Schema<T | null> {
  return { fault: (value, path) => (value === null ? null : schema.fault(value, path)) };
}
/** Or absent. */
export function optional<T>(schema: Schema<T>): Schema<T | undefined> {
  return { fault: (value, path) => (value === undefined ? null : schema.fault(value, path)) };
}

export function listOf<T>(schema: Schema<T>): Schema<readonly T[]> {
  return {
    fault: (received, path) => {
      if (!Array.isArray(received)) return { path, expected: "a list", received };
      return firstFault(received.entries(), (value, i) => schema.fault(value, `${path}[${i}]`));
    },
  };
}
/** An object of any names, with values of one form. */
export function recordOf<T>(schema: Schema<T>): Schema<Readonly<Record<string, T>>> {
  return {
    fault: (received, path) =>
      isPlain(received)
        ? firstFault(Object.entries(received), (value, name) => schema.fault(value, inside(path, name)))
        : { path, expected: "an object", received },
  };
}
export const anyRecord = leaf<Readonly<Record<string, unknown>>>("an object", isPlain);

/** An object, of any class, with these fields of its own. It may have others, which are nobody's business. */
export function fieldsOf<F extends Readonly<Record<string, Schema<unknown>>>>(
  fields: F,
): Schema<{ readonly [K in keyof F]: TypeOf<F[K]> }> {
  const known = Object.entries(fields);
  return {
    fault: (received, path) =>
      isObject(received)
        ? firstFault(known, (schema, name) =>
            schema.fault(Object.hasOwn(received, name) ? Reflect.get(received, name) : undefined, inside(path, name)),
          )
        : { path, expected: `an object with ${known.map(([name]) => name).join(", ")}`, received },
  };
}

function firstFault<K, V>(
  entries: Iterable<readonly [K, V]>,
  faultOf: (value: V, key: K) => Fault | null,
): Fault | null {
  for (const [key, value] of entries) {
    const fault = faultOf(value, key);
    if (fault !== null) return fault;
  }
  return null;
}
function inside(path: string, name: string): string {
  return path === "" ? name : `${path}.${name}`;
}
function isObject(value: unknown): value is object {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}
