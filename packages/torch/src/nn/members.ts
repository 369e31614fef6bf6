/** Fields that containers give themselves. */
import { ArgumentError } from "../errors.js";
import { whole } from "../kinds.js";
import { checkArguments } from "../options.js";
import type { Module } from "./module.js";

/** A field that neither the module's tree nor printing sees. */
export function hidden(of: object, name: symbol, value: unknown): void {
  Object.defineProperty(of, name, { value, writable: true, configurable: true, enumerable: false });
}

/**
 * A field for a member of a container.
 * @throws {ArgumentError} for a name that the container itself needs: `ModuleDict: expected a name that is no member of
 * it. Received: "forward".`
 */
export function setMember(fn: string, container: Module, name: string, value: unknown): void {
  if (typeof name !== "string" || name === "" || name.includes("."))
    throw new ArgumentError(fn, "a name that is not empty, without dots, which separate modules in keys", name);
  if (
    !Object.hasOwn(container, name) ? name in container : !Object.getOwnPropertyDescriptor(container, name)?.enumerable
  )
    if (!/^\d+$/.test(name)) throw new ArgumentError(fn, "a name that is no member of it", name);
  if (name === "training") throw new ArgumentError(fn, "a name that is no member of it", name);
  Object.defineProperty(container, name, { value, writable: true, configurable: true, enumerable: true });
}

/** Counted from the start. */
export function positionOf(fn: string, index: number, length: number): number {
  checkArguments(fn, { index }, { index: whole() });
  if (index < -length || index >= length) throw new ArgumentError(fn, `index from ${-length} to ${length - 1}`, index);
  return index < 0 ? index + length : index;
}
