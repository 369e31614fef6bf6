/** Parameters: tensors that a module learns. */
import { COPY, type Copies } from "../deep-copy.js";
import { byDefault, flag, orNull } from "../kinds.js";
import { tensorKind } from "../tensor/kinds.js";
import { native } from "../native.js";
import { signature, type Call } from "../signature.js";
import { handleOrZero, mint } from "../tensor/handle.js";
import { Tensor } from "../tensor/tensor.js";

export interface ParameterOptions {
  /** Default null: whether data is of floats. */
  readonly requiresGrad?: boolean | null;
}
export interface ParameterArguments extends ParameterOptions {
  /** Whose memory it shares. */
  readonly data: Tensor;
}
export type ParameterCall = Call<
  ParameterArguments,
  ["data", "requiresGrad"],
  [data: Tensor, requiresGrad?: boolean | null]
>;
const read = signature("Parameter", { data: tensorKind, requiresGrad: byDefault(null, orNull(flag)) });

/**
 * A tensor that belongs to a module's parameters by being one of its fields. Lives outside every scope; shares the
 * memory of the tensor that it was made from. Requires a gradient by default where it can have one: in floating point,
 * real or complex.
 * @throws {ArgumentError} `Parameter: expected data to be a tensor. Received: …`
 */
export class Parameter extends Tensor {
  constructor(...given: ParameterCall) {
    const options = read(given);
    const { data } = options;
    const detached = data.detach();
    const handle = native.alias(handleOrZero(detached));
    detached.dispose();
    mint(handle);
    super();
    native.attachFinalizer(this, handle);
    const requiresGrad = options.requiresGrad ?? (this.isFloatingPoint() || this.isComplex());
    if (requiresGrad) native.setRequiresGrad(handle, true);
  }
  // Not a member, so that for TypeScript a parameter is no more than a tensor.
  static {
    const value = function (this: Parameter, copies: Copies): Parameter {
      const data = this.detach().clone();
      const copy = new Parameter(data, { requiresGrad: this.requiresGrad });
      data.dispose();
      copies.set(this, copy);
      return copy;
    };
    Object.defineProperty(Parameter.prototype, COPY, { value, configurable: true, writable: true });
  }
}
