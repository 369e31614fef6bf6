import { ArgumentError } from "../errors.js";

/** @internal One check per option. */
export function check(fn: string, name: string, value: unknown, valid: (v: number) => boolean, expected: string): void {
  if (typeof value !== "number" || !valid(value)) throw new ArgumentError(fn, `${name} to be ${expected}`, value);
}
export const nonNegative = (v: number): boolean => v >= 0 && v < Infinity;
