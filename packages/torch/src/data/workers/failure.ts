/** Errors of one thread, thrown in another: of the same class, with the same stack. */
import { helpOf } from "@nbit/native/help";
import * as errors from "../../errors.js";
import { describe, NbitError } from "../../errors.js";
import { isError } from "../../realm.js";
import type { Failure } from "./protocol.js";

/**
 * A thread of a `DataLoader` failed in a way that no error of it tells: it ended (`ERR_DATA_WORKER`), or gave no batch
 * in time (`ERR_DATA_TIMEOUT`).
 */
export class DataWorkerError extends NbitError {}

/** What is said of an error to the other thread. */
export function failureOf(error: unknown, depth = 0): Failure {
  if (!isError(error))
    return { name: "Error", message: describe(error), stack: describe(error), code: null, nbit: false, cause: null };
  const code: unknown = Reflect.get(error, "code");
  return {
    name: error.name,
    message: error.message,
    stack: error.stack ?? `${error.name}: ${error.message}`,
    code: typeof code === "string" ? code : null,
    nbit: error instanceof NbitError,
    cause: error.cause === undefined || depth > 8 ? null : failureOf(error.cause, depth + 1),
  };
}

/** Classes that a thread's error may be of, by name: JavaScript's own, and ours. */
function classOf({ name, nbit }: Failure): object {
  const found: unknown = nbit ? Reflect.get(errors, name) : Reflect.get(globalThis, name);
  const fallback = nbit ? NbitError : Error;
  return typeof found === "function" && found.prototype instanceof fallback
    ? (found.prototype as object)
    : fallback.prototype;
}

/** The error, as if it had been thrown here; its message says where it comes from, its stack is the thread's. */
export function errorFrom(failure: Failure, worker: number): Error {
  const where = `(in worker ${worker} of a DataLoader)`;
  const error = new Error(
    `${failure.message} ${where}`,
    failure.cause === null ? {} : { cause: errorFrom(failure.cause, worker) },
  );
  Object.setPrototypeOf(error, classOf(failure));
  for (const [name, value] of [
    ["name", failure.name],
    ["code", failure.code],
    ["help", failure.nbit && failure.code !== null ? helpOf(failure.code) : null],
    ["stack", failure.stack.replace(failure.message, () => error.message)],
  ] as const)
    if (value !== null)
      Object.defineProperty(error, name, {
        value,
        writable: true,
        configurable: true,
        enumerable: name === "code" || name === "help",
      });
  return error;
}
