/** Options by name: a misspelt one is an error, where JavaScript alone would quietly take the default. */
import { ArgumentError } from "./errors.js";
import { nearest } from "./names.js";
import { isTensor } from "./tensor/handle.js";

/** Every option of `O`, none forgotten. */
export type OptionNames<O> = Readonly<Record<keyof O, true>>;

/**
 * Check that `options` is an object and that it knows each of its names. TypeScript checks literals only; plain JavaScript, spread objects and transpiled files come here unchecked.
 *
 * @param fail - Makes the error. Default: an {@link ArgumentError}.
 * @throws {ArgumentError} `AdamW: expected the option weightDecay. Received: "weight_decay".`
 */
export function checkOptions<O extends object>(fn: string, options: O, known: OptionNames<O>, fail: (expected: string, received: unknown) => Error = (expected, received) => new ArgumentError(fn, expected, received)): void {
  if (typeof options !== "object" || options === null || Array.isArray(options) || isTensor(options)) throw fail("options to be an object, such as { name: value }", options);
  for (const name in options) {
    if (Object.hasOwn(known, name)) continue;
    const near = nearest(name, Object.keys(known));
    throw fail(near === null ? `options among ${Object.keys(known).join(", ")}` : `the option ${near}`, name);
  }
}
