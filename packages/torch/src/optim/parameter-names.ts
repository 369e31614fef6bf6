/** What messages of optimizers call a parameter. */
import type { Tensor } from "../tensor/tensor.js";
import { text } from "../kinds.js";
import { atMost, checkArguments } from "../options.js";
import { tensorKind } from "../tensor/kinds.js";
import { parameterOfMaster } from "./master-weights.js";

const names = new WeakMap<Tensor, string>();

/** @internal Say what messages call a parameter. */
export function setParameterName(parameter: Tensor, name: string): void {
  atMost("setParameterName", arguments, 2);
  checkArguments("setParameterName", { parameter, name }, { parameter: tensorKind, name: text });
  names.set(parameter, name);
}
/** The name of what an optimizer steps, or of the parameter whose master it is; null: nobody said one. */
export function parameterName(stepped: Tensor): string | null {
  return names.get(parameterOfMaster(stepped)) ?? null;
}
