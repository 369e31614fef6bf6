/** The numbers of a gradient, whatever its layout. */
import { atMost } from "../options.js";
import { ArgumentError, NbitError } from "../errors.js";
import { isTensor } from "../tensor/handle.js";
import type { Tensor } from "../tensor/tensor.js";
import { operator } from "./operators.js";

const cooValues = operator("_values");
const compressedValues = operator("values");

/**
 * The numbers that a gradient stores, for code that looks at each or scales all: itself when it is dense; of a sparse
 * one its values, a view of the same memory. Entries of one place that are yet to be added up (duplicates of an
 * uncoalesced gradient) stand one by one: for a norm or for clamping, `coalesce()` first.
 *
 * @throws {NbitError} `GRADIENT_LAYOUT` for layouts whose numbers cannot be looked at, such as mkldnn's.
 */
export function gradientValues(gradient: Tensor): Tensor {
  atMost("gradientValues", arguments, 1);
  if (!isTensor(gradient)) throw new ArgumentError("gradientValues", "gradient to be a tensor", gradient);
  const { layout } = gradient;
  switch (layout) {
    case "strided":
      return gradient;
    case "sparseCoo":
      return cooValues(gradient);
    case "sparseCsr":
      return compressedValues(gradient);
    default:
      throw new NbitError(
        `gradientValues: expected a dense or a sparse gradient. Received: one of layout ${layout}. Convert the module's parameters with toDense().`,
        "GRADIENT_LAYOUT",
      );
  }
}

/** Whether every number of a gradient is finite. Waits for the device. */
export function isFiniteGradient(gradient: Tensor): boolean {
  atMost("isFiniteGradient", arguments, 1);
  return gradientValues(gradient).isfinite().all().item() !== 0;
}
