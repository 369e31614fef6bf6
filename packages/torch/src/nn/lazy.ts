/** What lazy layers share: they become what they stand for when their first input tells their sizes. */
import { ArgumentError } from "../errors.js";
import type { Tensor } from "../tensor/tensor.js";
import type { Module } from "./module.js";
import { isUninitialized } from "./uninitialized.js";

/** A layer whose parameters have no shapes yet. */
export interface LazyModule extends Module {
  /** Whether a parameter or a buffer has no shape yet. */
  hasUninitializedParams(): boolean;
  /** Shapes and initial values for an input, as the first `forward` gives them. */
  initializeParameters(x: Tensor): void;
}

/** @internal Own parameters and buffers of a module that have no shape yet, by the names of their fields. */
export function uninitializedOf(module: Module): string[] {
  return Object.keys(module).filter((name) => isUninitialized(Reflect.get(module, name)));
}

/**
 * @internal Give the parameters and buffers shapes and values, and make the layer an instance of the class that it
 * stands for.
 * Where a state dict has given all of them, nothing is drawn.
 *
 * @param shapes - Of what is not initialized, by the names of fields.
 */
export function becomes(
  module: Module & { resetParameters(): void },
  type: { readonly prototype: Module },
  shapes: Readonly<Record<string, readonly number[]>>,
): void {
  const fn = module.constructor.name;
  const missing = uninitializedOf(module);
  const known = Object.keys(shapes).filter((name) => (Reflect.get(module, name) ?? null) !== null);
  if (missing.length > 0 && missing.length < known.length)
    throw new ArgumentError(fn, `all of ${known.join(", ")} to be loaded, or none`, missing);
  for (const name of missing) {
    const lazy: unknown = Reflect.get(module, name);
    if (isUninitialized(lazy)) lazy.materialize(shapes[name] ?? []);
  }
  Object.setPrototypeOf(module, type.prototype);
  if (missing.length > 0) module.resetParameters();
}
