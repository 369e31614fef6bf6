/** Tensors that an optimizer steps in the place of a model's parameters, as float32 masters: what was said of the parameter holds for them. */
import type { Tensor } from "../tensor/tensor.js";
import { text } from "../kinds.js";
import { atMost, checkArguments } from "../options.js";
import { tensorKind } from "../tensor/kinds.js";

const behind = new WeakMap<Tensor, Tensor>();

/** @internal Say that an optimizer steps `master` in the place of `parameter`. */
export function setStandIn(master: Tensor, parameter: Tensor): void {
  atMost("setStandIn", arguments, 2);
  checkArguments("setStandIn", { master, parameter }, { master: tensorKind, parameter: tensorKind });
  behind.set(master, parameter);
}
/** @internal The model's parameter behind a tensor that an optimizer steps: itself, where none stands in for another. */
export function parameterBehind(stepped: Tensor): Tensor {
  atMost("parameterBehind", arguments, 1);
  return behind.get(stepped) ?? stepped;
}

const names = new WeakMap<Tensor, string>();

/** @internal Say what messages call a parameter. */
export function setParameterName(parameter: Tensor, name: string): void {
  atMost("setParameterName", arguments, 2);
  checkArguments("setParameterName", { parameter, name }, { parameter: tensorKind, name: text });
  names.set(parameter, name);
}
/** The name of what an optimizer steps, or of the parameter behind it; null: nobody said one. */
export function parameterName(stepped: Tensor): string | null {
  return names.get(parameterBehind(stepped)) ?? null;
}
