/** Whether operations are recorded for backward. */
import { callable, flag } from "../kinds.js";
import { native } from "../native.js";
import { atMost, checkArguments } from "../options.js";
import { isPromise, refusePromise } from "../synchronous.js";

function synchronous<T>(fn: string, result: T): T {
  if (isPromise(result))
    refusePromise(
      result,
      `${fn}: expected a synchronous function. Received: a function that returns a promise: the mode ends before its code after an await runs. Use ${fn} inside the asynchronous function.`,
      "ERR_ASYNC_MODE",
    );
  return result;
}

export function isGradEnabled(): boolean {
  atMost("isGradEnabled", arguments, 0);
  return native.isGradEnabled();
}

/** Run `fn` with recording on or off, as it was before afterwards. */
function withRecording<T>(name: string, on: boolean, fn: () => T): T {
  if (typeof fn !== "function") checkArguments(name, { fn }, { fn: callable });
  const before = native.setGradEnabled(on);
  try {
    return synchronous(name, fn());
  } finally {
    native.setGradEnabled(before);
  }
}

/** Switch recording; returns what it was. Restore it in a `finally`; prefer {@link noGrad}. */
export function setGradEnabled(on: boolean): boolean;
/** Run `fn` with recording on or off, and return what it returns. */
export function setGradEnabled<T>(on: boolean, fn: () => T): T;
export function setGradEnabled<T>(on: boolean, fn?: () => T): T | boolean {
  atMost("setGradEnabled", arguments, 2);
  checkArguments("setGradEnabled", { on }, { on: flag });
  return fn === undefined ? native.setGradEnabled(on) : withRecording("setGradEnabled", on, fn);
}

/** Run `fn` without recording. */
export function noGrad<T>(fn: () => T): T {
  atMost("noGrad", arguments, 1);
  return withRecording("noGrad", false, fn);
}

/** Run `fn` with recording, also inside {@link noGrad}. */
export function enableGrad<T>(fn: () => T): T {
  atMost("enableGrad", arguments, 1);
  return withRecording("enableGrad", true, fn);
}

/** Run `fn` in inference mode: faster than {@link noGrad}, and what it makes can never be used in autograd. */
export function inferenceMode<T>(fn: () => T, mode = true): T {
  atMost("inferenceMode", arguments, 2);
  checkArguments("inferenceMode", { fn, mode }, { fn: callable, mode: flag });
  native.inferencePush(mode);
  try {
    return synchronous("inferenceMode", fn());
  } finally {
    native.inferencePop();
  }
}

export function isInferenceModeEnabled(): boolean {
  atMost("isInferenceModeEnabled", arguments, 0);
  return native.isInferenceMode();
}
