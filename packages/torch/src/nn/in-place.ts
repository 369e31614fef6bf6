/** Operators that write over their first argument, by name. */
import { ArgumentError, verbatim } from "../errors.js";
import { aten } from "../ops/aten.js";
import type { Tensor } from "../tensor/tensor.js";

/** Looked up at the first call, so that loading costs nothing. */
export function inPlace(name: string): (self: Tensor, ...args: readonly unknown[]) => Tensor {
  return (self, ...args) => {
    const operator = aten[name];
    if (operator === undefined) throw new ArgumentError(name, "a libtorch with this operator", verbatim("another"));
    return operator(self, ...args);
  };
}
