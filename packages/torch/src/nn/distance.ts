/** Distances of two inputs. */
import { cosineSimilarity, pairwiseDistance } from "../ops/index.js";
import { atMost } from "../options.js";
import { signature, type Call } from "../signature.js";
import type { Tensor } from "../tensor/tensor.js";
import { COSINE, PAIRWISE, type CosineSimilarityOptions, type PairwiseDistanceOptions } from "./functional/distance.js";
import { Module } from "./module.js";

const readPairwise = signature("PairwiseDistance", PAIRWISE);
/** ‖x1 - x2 + eps‖ₚ over the last dimension; shapes broadcast. */
export class PairwiseDistance extends Module {
  readonly norm: number;
  readonly eps: number;
  readonly keepdim: boolean;
  constructor(
    ...given: Call<PairwiseDistanceOptions, ["p", "eps", "keepdim"], [p?: number, eps?: number, keepdim?: boolean]>
  ) {
    super();
    const { p, eps, keepdim } = readPairwise(given, new.target.name);
    this.norm = p;
    this.eps = eps;
    this.keepdim = keepdim;
  }
  forward(x1: Tensor, x2: Tensor): Tensor {
    atMost("PairwiseDistance.forward", arguments, 2);
    return pairwiseDistance(x1, x2, this.norm, this.eps, this.keepdim);
  }
}
const readCosine = signature("CosineSimilarity", COSINE);
/** x1 · x2 / (max(‖x1‖, eps) · max(‖x2‖, eps)) over a dimension; shapes broadcast. */
export class CosineSimilarity extends Module {
  readonly dim: number;
  readonly eps: number;
  constructor(...given: Call<CosineSimilarityOptions, ["dim", "eps"], [dim?: number, eps?: number]>) {
    super();
    const { dim, eps } = readCosine(given, new.target.name);
    this.dim = dim;
    this.eps = eps;
  }
  forward(x1: Tensor, x2: Tensor): Tensor {
    atMost("CosineSimilarity.forward", arguments, 2);
    return cosineSimilarity(x1, x2, this.dim, this.eps);
  }
}
