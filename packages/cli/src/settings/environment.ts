/** Settings of environment variables: `NBIT_FIT__TRAINER__MAX_EPOCHS=5`, as Lightning's command names its own. */
import type { Given } from "./given.js";

/**
 * Of `<prefix>_<COMMAND>__<SECTION>__<NAME>`, by their names: a variable's words are joined in camelCase, and what
 * reads a setting compares without regard to case. `PREFIX_FIT__MODEL` chooses the class.
 */
export function readEnvironment(
  command: string,
  prefix: string,
  env: Readonly<Record<string, string | undefined>>,
): Given[] {
  const start = `${prefix}_${command.toUpperCase()}__`;
  return Object.keys(env)
    .filter((name) => name.startsWith(start) && env[name] !== undefined && env[name] !== "")
    .sort() // a class before its arguments, and the same on every machine
    .map((name) => ({
      path: name.slice(start.length).split("__").map(camelCase),
      value: env[name],
      isText: true,
      from: name,
    }));
}

function camelCase(words: string): string {
  return words.toLowerCase().replaceAll(/_+([a-z\d])/g, (_, letter: string) => letter.toUpperCase());
}
