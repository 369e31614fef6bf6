/** Parameters: tensors that a module learns. */
import { ArgumentError } from "../errors.js";
import { native } from "../native.js";
import { handleOrZero, isTensor } from "../tensor/handle.js";
import { Tensor } from "../tensor/tensor.js";

/**
 * A tensor that belongs to a module's parameters by being one of its fields. Lives outside every scope; shares the memory of the tensor that it was made from.
 * Requires a gradient by default where it can have one: in floating point, real or complex.
 * @throws {ArgumentError} `Parameter: expected data to be a tensor. Received: …`
 */
export class Parameter extends Tensor {
  constructor(data: Tensor, options: { readonly requiresGrad?: boolean } = {}) {
    if (!isTensor(data)) throw new ArgumentError("Parameter", "data to be a tensor", data);
    const detached = data.detach();
    const handle = native.alias(handleOrZero(detached));
    detached.dispose();
    super(handle);
    native.guard(this, handle);
    const requiresGrad = options.requiresGrad ?? (this.isFloatingPoint() || this.isComplex());
    if (requiresGrad) native.setRequiresGrad(handle, true);
  }
}
