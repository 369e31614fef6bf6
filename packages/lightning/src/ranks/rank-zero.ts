/** What one process does for all. */
import { atMost, checkArguments, kinds, plainText } from "@nbit/torch";
import { globalRank } from "@nbit/torch/distributed";

/**
 * A function that does its work in process 0, and nothing elsewhere.
 *
 * It must not call collectives, which would wait for the others.
 *
 * @returns What `fn` returns; undefined in other processes.
 * @example
 * const write = rankZeroOnly((text: string) => writeFileSync("note.txt", text));
 */
export function rankZeroOnly<A extends readonly unknown[], R>(fn: (...args: A) => R): (...args: A) => R | undefined {
  atMost("rankZeroOnly", arguments, 1);
  checkArguments("rankZeroOnly", { fn }, { fn: kinds.callable });
  return (...args) => (globalRank() === 0 ? fn(...args) : undefined);
}

/** Print in process 0. */
export function rankZeroInfo(...values: unknown[]): void {
  if (globalRank() === 0) console.log(...values);
}

/** Say in process 0 that something will go, and what to write instead: a `DeprecationWarning` of Node's, once each. */
export function rankZeroDeprecation(message: string, code = "DEP_USER"): void {
  atMost("rankZeroDeprecation", arguments, 2);
  checkArguments("rankZeroDeprecation", { message, code }, { message: kinds.text, code: kinds.text });
  if (globalRank() === 0) process.emitWarning(plainText(message), "DeprecationWarning", code);
}

/** Warn in process 0, through Node's channel of warnings. */
export function rankZeroWarn(message: string, code = "WARN_USER"): void {
  atMost("rankZeroWarn", arguments, 2);
  checkArguments("rankZeroWarn", { message, code }, { message: kinds.text, code: kinds.text });
  if (globalRank() === 0) process.emitWarning(plainText(message), { type: "NbitWarning", code });
}
