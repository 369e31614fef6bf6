/** Arithmetic of batches of matrices that multivariate distributions share. */
import { eye, linalg } from "../ops/index.js";
import type { Tensor } from "../tensor/tensor.js";
import { diagonal, kindOf, mT } from "./numbers.js";

/** @internal A batch of matrices times a batch of vectors. */
export const timesVector = (matrix: Tensor, vector: Tensor): Tensor => matrix.matmul(vector.unsqueeze(-1)).squeeze(-1);

/**
 * @internal ‖L⁻¹ x‖² of lower triangular matrices `[…, n, n]` and vectors `[…, n]`, whose batch may be larger than that of the
 * matrices: each matrix is solved once, for all of its vectors.
 */
export function mahalanobis(factor: Tensor, x: Tensor): Tensor {
  const n = x.size(-1);
  const batch = x.shape.slice(0, -1);
  const inner = factor.ndim - 2;
  const outer = batch.length - inner;
  const split = batch.slice(0, outer);
  for (let i = 0; i < inner; i++) {
    const own = factor.shape[i] as number;
    split.push((batch[outer + i] as number) / own, own);
  }
  // Each batch dimension of x beside that of the factor: i for "how often", j for "which matrix".
  const places = Array.from({ length: inner }, (_, i) => outer + 2 * i);
  const permuted = x
    .reshape([...split, n])
    .permute([
      ...Array.from({ length: outer }, (_, i) => i),
      ...places,
      ...places.map((p) => p + 1),
      outer + 2 * inner,
    ]);
  const flatFactor = factor.reshape([-1, n, n]);
  const columns = permuted.reshape([-1, flatFactor.size(0), n]).permute([1, 2, 0]);
  const squares = linalg.solveTriangular(flatFactor, columns, { upper: false }).pow(2).sum(-2).t();
  const back = Array.from({ length: outer }, (_, i) => i);
  for (let i = 0; i < inner; i++) back.push(outer + i, outer + inner + i);
  return squares.reshape(permuted.shape.slice(0, -1)).permute(back).reshape(batch);
}

/** @internal The lower Cholesky factor of a matrix's inverse. */
export function precisionToScaleTril(precision: Tensor): Tensor {
  const flipped = linalg.cholesky(precision.flip([-2, -1]));
  const inverse = mT(flipped.flip([-2, -1]));
  return linalg.solveTriangular(inverse, eye(precision.size(-1), kindOf(precision)), { upper: false });
}
/** @internal Half of log det of L Lᵀ. */
export const halfLogDet = (factor: Tensor): Tensor => diagonal(factor).log().sum(-1);

/** @internal Of `I + Wᵀ D⁻¹ W`. */
export function capacitanceTril(w: Tensor, d: Tensor): Tensor {
  const k = mT(w).div(d.unsqueeze(-2)).matmul(w);
  return linalg.cholesky(plusIdentity(k));
}
/** @internal */
export const plusIdentity = (k: Tensor): Tensor => k.add(eye(k.size(-1), kindOf(k)));
/** @internal */
export const lowRankLogDet = (d: Tensor, capacitance: Tensor): Tensor =>
  halfLogDet(capacitance).mul(2).add(d.log().sum(-1));
/** @internal */
export function lowRankMahalanobis(w: Tensor, d: Tensor, x: Tensor, capacitance: Tensor): Tensor {
  const projected = timesVector(mT(w).div(d.unsqueeze(-2)), x);
  return x.pow(2).div(d).sum(-1).sub(mahalanobis(capacitance, projected));
}
/** @internal tr(X Xᵀ) of each matrix. */
export const traceOfSquare = (matrix: Tensor): Tensor =>
  matrix
    .reshape([-1, matrix.size(-1) * matrix.size(-2)])
    .pow(2)
    .sum(-1)
    .reshape(matrix.shape.slice(0, -2));
