/** Keys of state dicts: fields under PyTorch's names. Imports nothing but what checks its argument. */
import { ArgumentError } from "../errors.js";
import { atMost } from "../options.js";

const inner = (name: string): string => name.replace(/(?<=[a-z0-9])([A-Z])/g, (c) => `_${c.toLowerCase()}`);

/**
 * The name of a field in state dicts, and wherever modules and parameters are named: `runningMean` → `running_mean`. A
 * name that begins with a capital stays as it is (`LayerNorm`), since such names are not in camelCase there either.
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
