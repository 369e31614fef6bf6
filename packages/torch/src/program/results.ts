import { Tensor } from "../tensor/tensor.js";

/** @internal The tensors that a step returned, by name: "result" for one alone. */
export function tensorsOf(result: unknown): [string, Tensor][] {
  if (result instanceof Tensor) return [["result", result]];
  if (typeof result !== "object" || result === null) return [];
  return Object.entries(result).filter((entry): entry is [string, Tensor] => entry[1] instanceof Tensor);
}
