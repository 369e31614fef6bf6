/** Steps that a class of a user's writes itself, by overriding `step` alone. */
import { isTensor } from "../tensor/handle.js";
import { keep } from "../tensor/scope.js";
import type { Tensor } from "../tensor/tensor.js";
import type { ParameterState } from "./state.js";

/**
 * Let what a step put into the state outlive every scope: the state is there for the next step, and a Trainer frees what
 * a step made.
 */
export function keepState(state: ReadonlyMap<Tensor, ParameterState>, known: WeakSet<object>): void {
  for (const own of state.values() as Iterable<unknown>)
    if (typeof own === "object" && own !== null)
      for (const value of Object.values(own) as unknown[]) keepValue(value, known);
}
function keepValue(value: unknown, known: WeakSet<object>): void {
  if (isTensor(value)) {
    if (known.has(value) || value.disposed) return;
    known.add(value);
    keep(value);
  } else if (Array.isArray(value)) for (const each of value as readonly unknown[]) keepValue(each, known);
}
