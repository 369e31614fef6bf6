/** Vectors of length 1, as the power method of spectral normalisation makes them. */
import { clampMin, linalg } from "../../ops/index.js";
import type { Tensor } from "../../tensor/tensor.js";

/** x / max(‖x‖₂, eps) over the one dimension. */
export function unit(x: Tensor, eps: number): Tensor {
  return x.div(clampMin(linalg.vectorNorm(x, 2, 0, true), eps).expandAs(x));
}
/** A weight as a matrix: dimension `dim` by all others. */
export function asMatrix(weight: Tensor, dim: number): Tensor {
  const order = weight.shape.map((_, i) => i);
  const first = dim === 0 ? weight : weight.permute([dim, ...order.filter((i) => i !== dim)]);
  return first.reshape([first.size(0), -1]);
}
