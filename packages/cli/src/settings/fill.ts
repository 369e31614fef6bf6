/** Arguments of a class: by what it declares where it declares anything, else as the text reads. */
import { nearest } from "@nbit/torch/names";
import { isPlain } from "@nbit/torch/realm";
import { isNumber } from "../arguments/value.js";
import { refusal, unknownName, type Given } from "./given.js";
import { withValue } from "./settle.js";
import { asYaml } from "./yaml.js";

export type Values = Readonly<Record<string, unknown>>;

/**
 * The values that were given, in the kinds of what is declared: its names with their defaults.
 *
 * @throws {CommandError} `ERR_FLAG`: `nbit fit: expected --model.lr. Received: --model.ls.` `ERR_FLAG_VALUE`: `nbit fit:
 * expected --model.lr to be a number. Received: "abc".`
 */
export function fill(command: string, section: string, declared: Values, args: readonly Given[]): Values {
  let values: Values = {};
  for (const given of args) {
    const { path, default: standard } = find(command, section, declared, given);
    values = withValue(values, path, settled(command, given, standard));
  }
  return values;
}

/** Of a class that declares nothing: its constructor says what it knows. */
export function fillFreely(args: readonly Given[]): Values {
  return args.reduce<Values>(
    (values, { path, value, isText }) =>
      withValue(values, path, isText && typeof value === "string" ? asYaml(value) : value),
    {},
  );
}

function find(
  command: string,
  section: string,
  declared: Values,
  given: Given,
): { readonly path: readonly string[]; readonly default: unknown } {
  const path: string[] = [];
  let level: unknown = declared;
  for (const written of given.path) {
    const names = isPlain(level) ? Object.keys(level) : [];
    const name = names.includes(written) ? written : nearest(written, names, given.from.startsWith("--") ? -1 : 0);
    if (name === null || !isPlain(level)) {
      const near = nearest(written, names);
      const prefix = given.from.startsWith("--") ? "--" : "";
      const full = (n: string): string => `${prefix}${[section, ...path, n].join(".")}`;
      throw unknownName(command, given, names.map(full), near === null ? null : full(near));
    }
    path.push(name);
    level = level[name];
  }
  return { path, default: level };
}

function settled(command: string, given: Given, standard: unknown): unknown {
  const { value, isText } = given;
  const text = isText && typeof value === "string" ? value : null;
  const as = typeof standard;
  if (as === "string" || as === "number" || as === "boolean") {
    const read = text === null ? value : scalarOf(text, as);
    if (typeof read === as) return read;
    throw refusal(command, given, { string: "text", number: "a number", boolean: "true or false" }[as]);
  }
  const read = text === null ? value : asYaml(text);
  if (Array.isArray(standard) && !Array.isArray(read)) throw refusal(command, given, "a list, such as [1, 2]");
  if (isPlain(standard) && !isPlain(read))
    throw refusal(command, given, `a map of ${Object.keys(standard).join(", ")}`);
  return read;
}

function scalarOf(text: string, as: "string" | "number" | "boolean"): unknown {
  if (as === "string") return text;
  if (as === "number") return isNumber(text) ? Number(text) : asYaml(text);
  return text === "true" ? true : text === "false" ? false : text;
}
