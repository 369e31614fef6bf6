/** Environment variables as numbers and texts; what is half set or contradictory, as an error that names them. */
import { ArgumentError, verbatim } from "../../errors.js";

/** Variables of a process, such as `process.env`. */
export type Variables = Readonly<Record<string, string | undefined>>;

/**
 * What is wrong with the variables of a launcher.
 *
 * @param names - The variables that it is about: they stand in the message with their values.
 */
export function wrongVariables(env: Variables, expected: string, names: readonly string[], fix: string): ArgumentError {
  const received = names.map(
    (name) => `${name}${textOf(env, name) === null ? " is not set" : `=${String(env[name])}`}`,
  );
  return new ArgumentError(
    "clusterEnvironment",
    expected,
    verbatim(received.join(", ")),
    fix,
    "ERR_CLUSTER_ENVIRONMENT",
  );
}

/** A variable's text; null where it is not set, or empty. */
export function textOf(env: Variables, name: string): string | null {
  const text = env[name]?.trim();
  return text === undefined || text === "" ? null : text;
}

/** A variable as a whole number of a range; null where it is not set. */
export function wholeOf(env: Variables, name: string, least = 0, most = 2 ** 31 - 1): number | null {
  const text = textOf(env, name);
  if (text === null) return null;
  const value = /^\d{1,10}$/.test(text) ? Number(text) : NaN;
  if (value >= least && value <= most) return value;
  throw wrongVariables(
    env,
    `${name} to be a whole number from ${least} to ${most}`,
    [name],
    "The launcher sets it; set by hand, it must be a number.",
  );
}

/** The first of several variables that is set, as a whole number. */
export function firstWholeOf(env: Variables, names: readonly string[], least = 0): number | null {
  for (const name of names) {
    const value = wholeOf(env, name, least);
    if (value !== null) return value;
  }
  return null;
}

/** A variable that must be there, because others of `beside` are. */
export function requiredWhole(env: Variables, name: string, beside: readonly string[], least = 0): number {
  const value = wholeOf(env, name, least);
  if (value !== null) return value;
  throw wrongVariables(
    env,
    `${name} beside ${beside.join(" and ")}`,
    [name, ...beside],
    `Set ${name}, or unset ${beside.join(" and ")} to train in one process.`,
  );
}

/** The first name is a place among as many as the second says. */
export function checkPlace(env: Variables, [place, count]: readonly [string, string], at: number, of: number): void {
  if (at < of) return;
  throw wrongVariables(
    env,
    `${place} to be less than ${count}`,
    [place, count],
    "Places count from 0; every process has another.",
  );
}

export const MOST_PORT = 65535;

/** What several machines need to meet, and nobody but the user can say. */
export function requireMaster(
  env: Variables,
  fix: string,
): { readonly masterAddr: string; readonly masterPort: number } {
  const masterAddr = textOf(env, "MASTER_ADDR");
  const masterPort = wholeOf(env, "MASTER_PORT", 1, MOST_PORT);
  if (masterAddr !== null && masterPort !== null) return { masterAddr, masterPort };
  throw wrongVariables(
    env,
    "MASTER_ADDR and MASTER_PORT, where the processes meet",
    ["MASTER_ADDR", "MASTER_PORT"],
    fix,
  );
}
