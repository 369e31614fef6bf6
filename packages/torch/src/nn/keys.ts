/** Keys of state dicts: fields under PyTorch's names. Imports nothing but what checks its argument. */
import { ArgumentError } from "../errors.js";
import { atMost } from "../options.js";

const inner = (name: string): string => name.replace(/(?<=[a-z0-9])([A-Z])/g, (c) => `_${c.toLowerCase()}`);

/**
 * The name of a field in state dicts, and wherever modules and parameters are named: `runningMean` → `running_mean`. A
 * name that begins with a capital stays as it is (`LayerNorm`), since such names are not in camelCase there either.
 * Where a class says otherwise for a field (`static stateKeys`), that counts: ask `module.stateKey(name)`.
 */
export function snakeCase(name: string): string {
  atMost("snakeCase", arguments, 1);
  if (typeof name !== "string") throw new ArgumentError("snakeCase", "name to be a string", name);
  return /^[A-Z]/.test(name) ? name : inner(name);
}

/** @internal The name that versions up to 0.1 gave: `LayerNorm` → `Layer_norm`. */
export function earlierKey(name: string): string {
  return inner(name);
}

type Keys = Map<string, string>;
const known = new WeakMap<object, Keys>();

/** @internal The key of a field of a class: what it, or one that it extends, says in `stateKeys`; else in snake case. */
export function keyOf(type: object, name: string): string {
  let keys = known.get(type);
  if (keys === undefined) {
    keys = declared(type);
    known.set(type, keys);
  }
  let key = keys.get(name);
  if (key === undefined) {
    key = snakeCase(name);
    keys.set(name, key);
  }
  return key;
}

/** A class's own words before those of the classes that it extends. */
function declared(type: object): Keys {
  const keys: Keys = new Map();
  for (let each: object | null = type; each !== null; each = Reflect.getPrototypeOf(each)) {
    const own: unknown = Object.getOwnPropertyDescriptor(each, "stateKeys")?.value;
    if (own === undefined) continue;
    if (typeof own !== "object" || own === null)
      throw new ArgumentError("stateKeys", 'an object such as { wB: "wB" }: the key of each field', own);
    for (const [name, key] of Object.entries(own) as [string, unknown][]) {
      if (typeof key !== "string" || key === "" || key.includes("."))
        throw new ArgumentError("stateKeys", `the key of ${name} to be a string without dots`, key);
      if (!keys.has(name)) keys.set(name, key);
    }
  }
  return keys;
}

const parameters = new WeakMap<object, ReadonlySet<string>>();
/** @internal Fields in which layers of these classes have parameters, or null. */
export function declareParameters(names: readonly string[], ...types: readonly object[]): void {
  for (const type of types) parameters.set(type, new Set(names));
}
/** @internal Whether a class, or one that it extends, has a parameter in a field. */
export function declaresParameter(type: object, name: string): boolean {
  for (let each: object | null = type; each !== null; each = Reflect.getPrototypeOf(each))
    if (parameters.get(each)?.has(name) === true) return true;
  return false;
}
