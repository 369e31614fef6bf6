/** Gradients that name the rows they are of. */
import { sparseCooTensor } from "../ops/index.js";
import type { Tensor } from "../tensor/tensor.js";
import { operator } from "./operators.js";

const indicesOf = operator("_indices") as (t: Tensor) => Tensor;
const valuesOf = operator("_values") as (t: Tensor) => Tensor;

/** A gradient whose places are each named once. */
export class SparseGradient {
  readonly values: Tensor;
  readonly #indices: Tensor;
  readonly #whole: Tensor;

  constructor(gradient: Tensor) {
    this.#whole = gradient.coalesce();
    this.#indices = indicesOf(this.#whole);
    this.values = valuesOf(this.#whole);
  }
  /** What a dense tensor holds at its places: a copy. */
  of(dense: Tensor): Tensor {
    return valuesOf(dense.sparseMask(this.#whole));
  }
  /** Other values at its places. */
  with(values: Tensor): Tensor {
    return sparseCooTensor(this.#indices, values, [...this.#whole.shape]);
  }
}
