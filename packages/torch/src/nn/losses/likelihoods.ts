/** Losses of distributions. */
import { atMost } from "../../options.js";
import {
  GAUSSIAN,
  gaussianNllLoss,
  KL_DIV,
  klDiv,
  POISSON,
  poissonNllLoss,
  type GaussianNLLOptions,
  type KLDivOptions,
  type KLDivOrder,
  type KLDivPositions,
  type PoissonNLLOptions,
  type PoissonNLLOrder,
  type PoissonNLLPositions,
  type Reduction,
} from "../../ops/losses/index.js";
import { reductionOf } from "../../ops/losses/reduction.js";
import { signature, type Call } from "../../signature.js";
import type { Tensor } from "../../tensor/tensor.js";
import { Module } from "../module.js";
import { Loss } from "./loss.js";

const readKlDiv = signature("KLDivLoss", KL_DIV);
/** Kullback–Leibler divergence of log probabilities from a target; see {@link klDiv}. */
export class KLDivLoss extends Module {
  readonly reduction: Reduction | "batchmean";
  readonly logTarget: boolean;
  constructor(...given: Call<KLDivOptions, KLDivOrder, KLDivPositions>) {
    const a = readKlDiv(given, new.target.name);
    super();
    this.reduction = reductionOf(a);
    this.logTarget = a.logTarget;
  }
  forward(input: Tensor, target: Tensor): Tensor {
    atMost("KLDivLoss.forward", arguments, 2);
    return klDiv(input, target, { reduction: this.reduction, logTarget: this.logTarget });
  }
}

const readPoisson = signature("PoissonNLLLoss", POISSON);
/** Negative log likelihood of counts; see {@link poissonNllLoss}. */
export class PoissonNLLLoss extends Loss {
  readonly logInput: boolean;
  readonly full: boolean;
  readonly eps: number;
  constructor(...given: Call<PoissonNLLOptions, PoissonNLLOrder, PoissonNLLPositions>) {
    const a = readPoisson(given, new.target.name);
    super(a);
    this.logInput = a.logInput;
    this.full = a.full;
    this.eps = a.eps;
  }
  forward(input: Tensor, target: Tensor): Tensor {
    atMost("PoissonNLLLoss.forward", arguments, 2);
    const { logInput, full, eps, reduction } = this;
    return poissonNllLoss(input, target, { logInput, full, eps, reduction });
  }
}

const readGaussian = signature("GaussianNLLLoss", GAUSSIAN, 0);
/** Negative log likelihood under normal distributions; see `nn.functional.gaussianNllLoss`. Options by name. */
export class GaussianNLLLoss extends Module {
  readonly full: boolean;
  readonly eps: number;
  readonly reduction: Reduction;
  constructor(...given: Call<GaussianNLLOptions, [], []>) {
    const a = readGaussian(given, new.target.name);
    super();
    this.full = a.full;
    this.eps = a.eps;
    this.reduction = a.reduction;
  }
  forward(input: Tensor, target: Tensor, variance: Tensor | number): Tensor {
    atMost("GaussianNLLLoss.forward", arguments, 3);
    return gaussianNllLoss(input, target, variance, this.full, this.eps, this.reduction);
  }
}
