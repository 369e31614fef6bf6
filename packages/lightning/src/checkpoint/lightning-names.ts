/** Names of hyperparameters and of callbacks' states: Python's, and ours. */
import { isPlainObject } from "../collections.js";

type Fields = Readonly<Record<string, unknown>>;

/** A Python name; anything else, such as the name of a parameter, is data and stays. */
const NAME = /^_*[A-Za-z][A-Za-z\d]*(_[A-Za-z\d]+)*$/;

export const inCamelCase = (fields: unknown): Record<string, unknown> =>
  renamed(fields, (name) => name.replaceAll(/(?<=[^_])_([a-z\d])/g, (_, c: string) => c.toUpperCase()));
export const inSnakeCase = (fields: unknown): Record<string, unknown> =>
  renamed(fields, (name) => name.replaceAll(/(?<=.)[A-Z]/g, (c) => `_${c.toLowerCase()}`));

function renamed(fields: unknown, rename: (name: string) => string): Record<string, unknown> {
  if (!isPlainObject(fields)) return {};
  return Object.fromEntries(
    Object.entries(fields as Fields).map(([name, value]) => [NAME.test(name) ? rename(name) : name, value]),
  );
}
