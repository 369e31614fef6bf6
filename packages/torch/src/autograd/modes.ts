/** Whether operations are recorded for backward. */
import { NbitError } from "../errors.js";
import { native } from "../native.js";

function synchronous<T>(fn: string, result: T): T {
  if (typeof result === "object" && result !== null && "then" in result && typeof result.then === "function") {
    result.then.call(result, undefined, () => undefined); // this error says what is wrong: a later rejection is not to end the process
    throw new NbitError(`${fn}: expected a synchronous function. Received: a function that returns a promise: the mode ends before its code after an await runs. Use ${fn} inside the asynchronous function.`, "ERR_ASYNC_MODE");
  }
  return result;
}

export function isGradEnabled(): boolean {
  return native.isGradEnabled();
}

/** Switch recording; returns what it was. Restore it in a `finally`; prefer {@link noGrad}. */
export function setGradEnabled(on: boolean): boolean {
  return native.setGradEnabled(on);
}

/** Run `fn` without recording. */
export function noGrad<T>(fn: () => T): T {
  const before = native.setGradEnabled(false);
  try {
    return synchronous("noGrad", fn());
  } finally {
    native.setGradEnabled(before);
  }
}

/** Run `fn` with recording, also inside {@link noGrad}. */
export function enableGrad<T>(fn: () => T): T {
  const before = native.setGradEnabled(true);
  try {
    return synchronous("enableGrad", fn());
  } finally {
    native.setGradEnabled(before);
  }
}

/** Run `fn` in inference mode: faster than {@link noGrad}, and what it makes can never be used in autograd. */
export function inferenceMode<T>(fn: () => T, mode = true): T {
  native.inferencePush(mode);
  try {
    return synchronous("inferenceMode", fn());
  } finally {
    native.inferencePop();
  }
}

export function isInferenceModeEnabled(): boolean {
  return native.isInferenceMode();
}
