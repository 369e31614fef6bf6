/** Promises where hooks, steps and loaders return them: refused, or waited for under the name of what returned them. */
import { ArgumentError, verbatim } from "@nbit/torch";
import { isError } from "@nbit/torch/realm";
import { MisconfigurationError } from "./errors.js";

export function isPromise(value: unknown): value is Promise<unknown> {
  // One load, which V8 remembers for values of many shapes; `in` it does not.
  return (
    typeof value === "object" && value !== null && typeof (value as { readonly then?: unknown }).then === "function"
  );
}

/**
 * What a method returned that has to end when it returns. @throws {MisconfigurationError} `ERR_ASYNC_HOOK` for a
 * promise, whose own failure is then of no interest.
 */
export function mustEnd<T>(name: string, result: T, why = IN_STEP, code = "ERR_ASYNC_HOOK"): T {
  if (!isPromise(result)) return result;
  result.then(undefined, () => undefined);
  throw new MisconfigurationError(
    name,
    code === "ERR_ASYNC_STEP" ? "a step that ends when it returns" : "a hook that ends when it returns",
    verbatim("a promise"),
    why,
    code,
  );
}
const IN_STEP =
  "It runs inside the training step, which is synchronous. Do asynchronous work in onTrainBatchStart or onTrainBatchEnd.";
/** Where to wait instead, in what runs before training. */
export const BEFORE_TRAINING = "Do what waits in setup, which may be asynchronous.";
/** Where to wait instead, in what writes and reads checkpoints. */
export const AT_ONCE =
  "A checkpoint is written and read at one moment of training. Do asynchronous work in hooks named …Start or …End.";
/** Why steps are synchronous. */
export const STEPS_END = "Autocast and tensor scopes end when it returns. Load data in the loader, and wait in hooks.";

/**
 * The promise of a hook, or of what else a run waits for, whose error says what that was: a stack that went through an
 * await may not.
 */
export async function named<T>(hook: string, promise: PromiseLike<T>): Promise<T> {
  try {
    return await promise;
  } catch (error) {
    if (!isError(error)) {
      const made = new ArgumentError(hook, "to fail, if at all, with an Error", error, "", "ERR_HOOK_REJECTED");
      made.cause = error;
      throw made;
    }
    if (error.stack?.includes(hook) === false) Reflect.set(error, "stack", `${error.stack}\n    in ${hook}`);
    throw error;
  }
}
