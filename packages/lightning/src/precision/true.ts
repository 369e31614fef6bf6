import { getDefaultDtype, setDefaultDtype } from "@nbit/torch";
import type { DType, nn, Tensor } from "@nbit/torch";
import type { Batch } from "../types.js";
import { Precision } from "./precision.js";
import { mapTensors } from "../collections.js";

/**
 * Base of the true precisions: parameters, buffers and inputs are converted to one floating dtype, which is also the
 * default dtype of tensors made inside a step.
 */
export abstract class TruePrecision extends Precision {
  protected abstract readonly dtype: DType;
  override readonly convertsInput = true;

  override convertModule(module: nn.Module): void {
    module.to({ dtype: this.dtype });
  }

  override moduleInit<T>(fn: () => T): T {
    return this.forward(fn);
  }

  override convertInput(batch: Batch): Batch {
    return mapTensors(batch, (tensor) => this.#convert(tensor));
  }

  #convert(tensor: Tensor): Tensor {
    return tensor.isFloatingPoint() ? tensor.to(this.dtype) : tensor;
  }

  /** The default dtype is restored however `fn` ends. */
  override forward<T>(fn: () => T): T {
    const before = getDefaultDtype();
    setDefaultDtype(this.dtype);
    try {
      return fn();
    } finally {
      setDefaultDtype(before);
    }
  }
}
