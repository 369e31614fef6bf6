/** The largest singular values and vectors of a matrix, by random projections. */
import * as generated from "../generated/functions.js";
import * as linalg from "../generated/linalg.js";
import { ArgumentError } from "../errors.js";
import { byDefault, flag, orNull, whole } from "../kinds.js";
import { signature, type Call } from "../signature.js";
import { tensorKind } from "../tensor/kinds.js";
import type { Tensor } from "../tensor/tensor.js";

export interface SvdLowrankArguments {
  /** `[…, m, n]`. */
  readonly A: Tensor;
  /** How many singular values, more than are wanted. Default 6. */
  readonly q?: number | null;
  /** Iterations of the subspace. Default 2. */
  readonly niter?: number | null;
  /** The mean, which is taken from `A`. Default null. */
  readonly M?: Tensor | null;
}
const COUNT = orNull(whole("[0, ∞)"));
const readSvd = signature("svdLowrank", {
  A: tensorKind,
  q: byDefault(6, COUNT),
  niter: byDefault(2, COUNT),
  M: byDefault(null, orNull(tensorKind)),
});
export type SvdLowrankCall = Call<
  SvdLowrankArguments,
  ["A", "q", "niter", "M"],
  [A: Tensor, q?: number | null, niter?: number | null, M?: Tensor | null]
>;

const minusMean = (product: Tensor, mean: Tensor | null, by: Tensor): Tensor =>
  mean === null ? product : product.sub(mean.matmul(by));
const orthonormal = (x: Tensor): Tensor => (linalg.qr(x) as readonly [Tensor, Tensor])[0];

/** An orthonormal basis of nearly the range of A − M. */
function basis(a: Tensor, q: number, niter: number, mean: Tensor | null): Tensor {
  const dtype = a.isComplex() || ["float16", "float64"].includes(a.dtype) ? a.dtype : "float32";
  const random = generated.randn([a.size(-1), q], { dtype, device: a.device });
  let result = orthonormal(minusMean(a.matmul(random), mean, random));
  for (let i = 0; i < niter; i++) {
    result = orthonormal(minusMean(a.mH.matmul(result), mean === null ? null : mean.mH, result));
    result = orthonormal(minusMean(a.matmul(result), mean, result));
  }
  return result;
}

/**
 * Nearly the first `q` singular values and vectors: `A − M ≈ U diag(S) Vᴴ`. Draws from the device's random numbers.
 * @returns `[U, S, V]`.
 * @see Halko et al., 2009, arXiv:0909.4061: algorithm 5.1.
 */
export function svdLowrank(...given: SvdLowrankCall): [Tensor, Tensor, Tensor] {
  const { A, q, niter, M } = readSvd(given);
  return lowRank(A, q ?? 6, niter ?? 2, M);
}
function lowRank(given: Tensor, q: number, niter: number, mean: Tensor | null): [Tensor, Tensor, Tensor] {
  const isWide = given.size(-2) < given.size(-1);
  const broadcast = mean === null ? null : mean.broadcastTo(given.shape);
  const a = isWide ? given.mH : given;
  const m = broadcast !== null && isWide ? broadcast.mH : broadcast;
  const range = basis(a, q, niter, m);
  const projected = minusMeanOf(range.mH, a, m);
  const [u, s, vh] = linalg.svd(projected, { fullMatrices: false }) as readonly [Tensor, Tensor, Tensor];
  const [left, right] = [range.matmul(u), vh.mH];
  return isWide ? [right, s, left] : [left, s, right];
}
const minusMeanOf = (left: Tensor, a: Tensor, mean: Tensor | null): Tensor =>
  mean === null ? left.matmul(a) : left.matmul(a).sub(left.matmul(mean));

export interface PcaLowrankArguments {
  /** `[…, m, n]`: m samples. */
  readonly A: Tensor;
  /** Default: the least of 6, m and n. */
  readonly q?: number | null;
  /** Take the mean of the samples away first. Default true. */
  readonly center?: boolean;
  /** Default 2. */
  readonly niter?: number;
}
const readPca = signature("pcaLowrank", {
  A: tensorKind,
  q: byDefault(null, COUNT),
  center: byDefault(true, flag),
  niter: byDefault(2, whole("[0, ∞)")),
});
export type PcaLowrankCall = Call<
  PcaLowrankArguments,
  ["A", "q", "center", "niter"],
  [A: Tensor, q?: number | null, center?: boolean, niter?: number]
>;
/** Principal components: `svdLowrank` of what is left without the mean. The columns of V are the directions. */
export function pcaLowrank(...given: PcaLowrankCall): [Tensor, Tensor, Tensor] {
  const { A, q, center, niter } = readPca(given);
  const most = Math.min(A.size(-2), A.size(-1));
  if (q !== null && q > most) throw new ArgumentError("pcaLowrank", `q of at most min(m, n) = ${most}`, q);
  return lowRank(center ? A.sub(A.mean([-2], true)) : A, q ?? Math.min(6, most), niter, null);
}
