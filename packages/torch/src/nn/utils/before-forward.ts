/** What a module does first whenever its forward runs, by `call` or not. */
import type { Module } from "../module.js";

type Forward = (this: Module, ...args: readonly unknown[]) => unknown;
const begun = new WeakMap<object, Set<(module: Module) => void>>();

function ofForward(module: Module): Set<(module: Module) => void> | null {
  const own: unknown = Object.getOwnPropertyDescriptor(module, "forward")?.value;
  return typeof own === "function" ? (begun.get(own) ?? null) : null;
}

/** `run` at the beginning of each forward, after what was there before. */
export function beforeForward(module: Module, run: (module: Module) => void): void {
  const there = ofForward(module);
  if (there !== null) {
    there.add(run);
    return;
  }
  const inner: unknown = Reflect.get(module, "forward");
  const all = new Set([run]);
  const forward: Forward = function (...args) {
    for (const each of all) each(this);
    return Reflect.apply(inner as Forward, this, args);
  };
  begun.set(forward, all);
  Object.defineProperty(module, "forward", { value: forward, writable: true, configurable: true, enumerable: false });
}
/** No more. The forward of the class is back when nothing is left. */
export function notBeforeForward(module: Module, run: (module: Module) => void): void {
  const all = ofForward(module);
  all?.delete(run);
  if (all?.size === 0) Reflect.deleteProperty(module, "forward");
}
