/** Functions that are called where nothing can wait. */
import { NbitError } from "./errors.js";

export function isPromise(value: unknown): value is PromiseLike<unknown> {
  // One load, which V8 remembers for values of many shapes; `in` it does not.
  return (
    typeof value === "object" && value !== null && typeof (value as { readonly then?: unknown }).then === "function"
  );
}

/**
 * Refuse what an asynchronous function returned. The error says all: the promise's own failure is of no interest any
 * more, and must not end the process as one that nobody hears of.
 */
export function refusePromise(promise: PromiseLike<unknown>, message: string, code: string): never {
  promise.then(undefined, () => undefined);
  throw new NbitError(message, code);
}
