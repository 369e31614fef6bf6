/** What a forward looks at before an operator checks it. */
import { ArgumentError } from "../errors.js";
import { isTensor } from "../tensor/handle.js";

/** @throws {ArgumentError} `Dropout1d.forward: expected x to be a tensor. Received: null.` */
export function requireTensor(fn: string, x: unknown, name = "x"): void {
  if (!isTensor(x)) throw new ArgumentError(fn, `${name} to be a tensor`, x);
}
