/** Functions that are called where nothing can wait. */
import { NbitError } from "./errors.js";

export function isPromise(value: unknown): value is PromiseLike<unknown> {
  return typeof value === "object" && value !== null && "then" in value && typeof value.then === "function";
}

/** Refuse what an asynchronous function returned. The error says all: the promise's own failure is of no interest any more, and must not end the process as one that nobody hears of. */
export function refusePromise(promise: PromiseLike<unknown>, message: string, code: string): never {
  promise.then(undefined, () => undefined);
  throw new NbitError(message, code);
}
