/** Ranges of the program's own in a trace. */
import { callable, filled } from "../kinds.js";
import { native } from "../native.js";
import { atMost, checkArguments } from "../options.js";
import { isPromise } from "../synchronous.js";

// eslint-disable-next-line no-control-regex -- control characters are what this looks for
const SIGNS = /["\\\u0000-\u001f]/g;

/** An open range; `end` it, or leave it to `using`. */
export class RecordFunction {
  #id: number;
  /** @internal Use {@link recordFunction}. */
  constructor(name: string) {
    atMost("RecordFunction", arguments, 1);
    checkArguments("recordFunction", { name }, { name: filled });
    // Signs that trace files cannot have in names.
    this.#id = native.recordFunctionEnter(
      name.replace(SIGNS, (sign) => (sign === '"' ? "'" : sign === "\\" ? "/" : " ")),
    );
  }
  end(): void {
    atMost("RecordFunction.end", arguments, 0);
    if (this.#id === 0) return;
    const id = this.#id;
    this.#id = 0;
    native.recordFunctionExit(id);
  }
  [Symbol.dispose](): void {
    this.end();
  }
}

/**
 * Name a part of the program: a profiler shows it around the operators that ran in it. Costs about a microsecond where
 * no profiler runs.
 *
 * With `fn`, the range ends when it returns; of an asynchronous function, when its promise settles. Without it, the
 * range is open until `end()`, or the end of the block: `using range = recordFunction("load")`.
 *
 * @example const y = recordFunction("encoder", () => encoder.forward(x));
 */
export function recordFunction(name: string): RecordFunction;
export function recordFunction<T>(name: string, fn: () => T): T;
export function recordFunction<T>(name: string, fn?: () => T): T | RecordFunction {
  atMost("recordFunction", arguments, 2);
  if (fn !== undefined) checkArguments("recordFunction", { fn }, { fn: callable });
  const range = new RecordFunction(name);
  if (fn === undefined) return range;
  let waits = false;
  try {
    const result = fn();
    waits = isPromise(result);
    return waits ? (Promise.resolve(result).finally(() => range.end()) as T) : result;
  } finally {
    if (!waits) range.end();
  }
}
