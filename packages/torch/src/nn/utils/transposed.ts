/** Layers told by the names of their classes: these helpers import none of them. */
import type { Module } from "../module.js";

/** Whether a module is of a class of such a name, or of one that extends it. */
export function extendsNamed(module: Module, name: RegExp): boolean {
  for (let type: unknown = module.constructor; typeof type === "function"; type = Object.getPrototypeOf(type))
    if (name.test(type.name)) return true;
  return false;
}
/** Which dimension of a layer's weight is that of its outputs: 1 for transposed convolutions, else 0. */
export function outputDim(module: Module): number {
  return extendsNamed(module, /^ConvTranspose[123]d$/) ? 1 : 0;
}
