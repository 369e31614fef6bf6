/**
 * Methods of a fixed number of arguments look at them, and refuse what stands beyond, whichever class has its own: the
 * check stands here once instead of in a hundred and fifty methods.
 */
import { ArgumentError } from "../errors.js";
import { anything, either, real, type Kind } from "../kinds.js";
import { atMost } from "../options.js";
import { tensorKind } from "../tensor/kinds.js";
import { shapeKind } from "./arguments.js";

interface Argument {
  readonly name: string;
  readonly kind: Kind<never>;
  readonly optional?: true;
}
const VALUE: Argument = { name: "value", kind: tensorKind };
const SHAPE: Argument = { name: "shape", kind: shapeKind };

/** What methods take. Those that take theirs by name, too, read them themselves. */
const ARGUMENTS: Readonly<Record<string, readonly Argument[]>> = {
  logProb: [{ name: "value", kind: either(tensorKind, real("[-∞, ∞]")) }],
  cdf: [VALUE],
  icdf: [VALUE],
  logCdf: [VALUE],
  logSurvivalFunction: [VALUE],
  entropy: [],
  perplexity: [],
  extendedShape: [{ name: "sampleShape", kind: shapeKind, optional: true }],
  check: [VALUE],
  call: [VALUE],
  forward: [VALUE],
  equals: [{ name: "other", kind: anything }],
  logAbsDetJacobian: [
    { name: "x", kind: tensorKind },
    { name: "y", kind: tensorKind },
  ],
  forwardShape: [SHAPE],
  inverseShape: [SHAPE],
};

function check(fn: string, expected: readonly Argument[], given: readonly unknown[]): void {
  if (given.length > expected.length) atMost(fn, given, expected.length);
  expected.forEach(({ name, kind, optional }, i) => {
    const value = given[i];
    if (!(optional === true && value === undefined) && !kind.accepts(value))
      throw new ArgumentError(fn, `${name} to be ${kind.words}`, value);
  });
}

/** @internal Let the classes among `exported` look at the arguments of their methods. */
export function checkMethods(exported: Readonly<Record<string, unknown>>): void {
  for (const type of Object.values(exported)) {
    if (typeof type !== "function") continue;
    const prototype: unknown = type.prototype;
    if (typeof prototype !== "object" || prototype === null) continue;
    for (const [name, expected] of Object.entries(ARGUMENTS)) {
      const method = Object.getOwnPropertyDescriptor(prototype, name)?.value as unknown;
      if (typeof method !== "function") continue;
      const fn = `${type.name}.${name}`;
      const checked = function (this: unknown, ...given: readonly unknown[]): unknown {
        check(fn, expected, given);
        return Reflect.apply(method, this, given);
      };
      Object.defineProperty(prototype, name, { value: checked, writable: true, configurable: true });
    }
  }
}
