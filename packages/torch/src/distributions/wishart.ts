/** Distributions of matrices: covariances, and factors of correlations. */
import { enableGrad, noGrad } from "../autograd/modes.js";
import { ArgumentError } from "../errors.js";
import { orNull, whole, byDefault } from "../kinds.js";
import * as ops from "../ops/index.js";
import { broadcastShapes } from "../ops/shapes.js";
import { signature, type Call } from "../signature.js";
import { finfo } from "../tensor/dtype.js";
import { isTensor } from "../tensor/handle.js";
import type { Tensor } from "../tensor/tensor.js";
import {
  parameter,
  sampleShapeOf,
  sameShape,
  shapeKind,
  tensorOfTwo,
  VALIDATE,
  type ParameterLike,
  type SampleCall,
  type Shape,
} from "./arguments.js";
import * as constraints from "./constraints.js";
import type { Constraint } from "./constraints.js";
import { Beta } from "./dirichlet.js";
import { Distribution, ExponentialFamily } from "./distribution.js";
import { Chi2 } from "./gamma.js";
import { halfLogDet } from "./matrices.js";
import { factorOf, spreadOf, type Spread } from "./multivariate-normal.js";
import { broadcastOne, diagonal, kindOf, minus, mT } from "./numbers.js";

const LOG_2 = Math.log(2);

export interface WishartArguments {
  /** Degrees of freedom, > n − 1. */
  readonly df: ParameterLike;
  /** `[…, n, n]`; this, or one of the next two. */
  readonly covarianceMatrix?: Tensor | null;
  readonly precisionMatrix?: Tensor | null;
  readonly scaleTril?: Tensor | null;
  readonly validateArgs?: boolean | null;
}
const readWishart = signature("Wishart", {
  df: parameter,
  covarianceMatrix: tensorOfTwo,
  precisionMatrix: tensorOfTwo,
  scaleTril: tensorOfTwo,
  validateArgs: VALIDATE,
});
export type WishartCall = Call<
  WishartArguments,
  ["df", "covarianceMatrix", "precisionMatrix", "scaleTril", "validateArgs"],
  [
    df: ParameterLike,
    covarianceMatrix?: Tensor | null,
    precisionMatrix?: Tensor | null,
    scaleTril?: Tensor | null,
    validateArgs?: boolean | null,
  ]
>;
/** Samples that are not positive definite for rounding's sake are drawn anew, so often. */
export interface WishartSampleOptions {
  readonly sampleShape?: Shape;
  /** Default 10. */
  readonly maxTryCorrection?: number | null;
}
const readSample = signature("Wishart.rsample", {
  sampleShape: byDefault([], shapeKind),
  maxTryCorrection: byDefault(null, orNull(whole("[0, ∞)"))),
});
export type WishartSampleCall = Call<
  WishartSampleOptions,
  ["sampleShape", "maxTryCorrection"],
  [sampleShape?: Shape, maxTryCorrection?: number | null]
>;

/** Sums of `df` outer products of normal vectors: positive definite matrices. Drawn by Bartlett's decomposition. */
export class Wishart extends ExponentialFamily {
  readonly df: Tensor;
  /** @internal */
  readonly spread: Spread;
  /** @internal */
  readonly factor: Tensor;
  /** @internal */
  readonly chi2: Chi2;

  constructor(...given: WishartCall) {
    const fn = new.target.name;
    const a = readWishart(given, fn);
    const { name, matrix } = spreadOf(fn, a);
    const n = matrix.size(-1);
    if (!sameShape(matrix.shape.slice(-2), [n, n]))
      throw new ArgumentError(fn, `${name} to be square matrices`, matrix);
    const own = matrix.shape.slice(0, -2);
    const batch = isTensor(a.df) ? broadcastShapes(own, a.df.shape) : own;
    super(batch, [n, n], a.validateArgs);
    this.df = isTensor(a.df) ? a.df.expand(batch) : ops.full([], a.df, kindOf(matrix));
    if (
      this.df
        .le(n - 1)
        .any()
        .item() !== 0
    )
      throw new ArgumentError(fn, `df to be > n − 1 = ${n - 1}`, a.df);
    if (this.df.lt(n).any().item() !== 0)
      process.emitWarning(`Wishart: with df below ${n}, samples are often singular.`, {
        type: "NbitWarning",
        code: "WARN_WISHART",
      });
    this.spread = { name, matrix: matrix.expand([...batch, -1, -1]) };
    this.checkParameters();
    this.factor = factorOf({ name, matrix });
    this.chi2 = chi2Of(this.df, this.factor, batch);
  }
  protected override expanded(shape: Shape): object {
    const all = [...shape, ...this.eventShape];
    const factor = this.factor.expand(all);
    const df = this.df.expand(shape);
    return {
      factor,
      df,
      spread: { name: this.spread.name, matrix: this.spread.matrix.expand(all) },
      chi2: chi2Of(df, factor, shape),
    };
  }
  protected override follows(name: string): boolean {
    return name !== "df" && name !== this.spread.name;
  }
  override get argConstraints(): Readonly<Record<string, Constraint>> {
    return {
      covarianceMatrix: constraints.positiveDefinite,
      precisionMatrix: constraints.positiveDefinite,
      scaleTril: constraints.lowerCholesky,
      df: constraints.greaterThan((this.eventShape[0] as number) - 1),
    };
  }
  override get support(): Constraint {
    return constraints.positiveDefinite;
  }
  override get hasRsample(): boolean {
    return true;
  }
  get scaleTril(): Tensor {
    return matrixOf(this, "scaleTril", () => this.factor);
  }
  get covarianceMatrix(): Tensor {
    return matrixOf(this, "covarianceMatrix", () => this.factor.matmul(mT(this.factor)));
  }
  get precisionMatrix(): Tensor {
    return matrixOf(this, "precisionMatrix", () => {
      const identity = ops.eye(this.factor.size(-1), kindOf(this.factor));
      return ops.choleskySolve(identity, this.factor);
    });
  }
  override get mean(): Tensor {
    return overMatrices(this.df, this).mul(this.covarianceMatrix);
  }
  override get mode(): Tensor {
    const factor = this.df.sub(this.eventShape[0] as number).sub(1);
    return overMatrices(factor.maskedFill(factor.le(0), NaN), this).mul(this.covarianceMatrix);
  }
  override get variance(): Tensor {
    const v = this.covarianceMatrix;
    const d = diagonal(v);
    return overMatrices(this.df, this).mul(v.pow(2).add(d.unsqueeze(-1).mul(d.unsqueeze(-2))));
  }
  override sample(...given: SampleCall | WishartSampleCall): Tensor {
    return noGrad(() => this.rsample(...given));
  }
  override rsample(...given: SampleCall | WishartSampleCall): Tensor {
    const { sampleShape, maxTryCorrection } = readSample(given);
    return drawnAgain(this, bartlett(this, sampleShape), sampleShape, maxTryCorrection ?? 10);
  }
  override logProb(value: Tensor): Tensor {
    this.checkValue("logProb", value);
    const nu = this.df;
    const p = this.eventShape[0] as number;
    return nu
      .neg()
      .mul(halfLogDet(this.factor).add((p * LOG_2) / 2))
      .sub(nu.div(2).mvlgamma(p))
      .add(nu.sub(p).sub(1).div(2).mul(ops.linalg.slogdet(value).logabsdet))
      .sub(diagonal(ops.choleskySolve(value, this.factor)).sum(-1).div(2));
  }
  override entropy(): Tensor {
    const nu = this.df;
    const p = this.eventShape[0] as number;
    return halfLogDet(this.factor)
      .add((p * LOG_2) / 2)
      .mul(p + 1)
      .add(nu.div(2).mvlgamma(p))
      .sub(
        nu
          .sub(p)
          .sub(1)
          .div(2)
          .mul(mvdigamma(nu.div(2), p)),
      )
      .add(nu.mul(p).div(2));
  }
  override get naturalParams(): readonly [Tensor, Tensor] {
    return [
      this.precisionMatrix.neg().div(2),
      this.df
        .sub(this.eventShape[0] as number)
        .sub(1)
        .div(2),
    ];
  }
  override logNormalizer(x: Tensor, y: Tensor): Tensor {
    const p = this.eventShape[0] as number;
    const shifted = y.add((p + 1) / 2);
    return shifted
      .mul(
        ops.linalg
          .slogdet(x.mul(-2))
          .logabsdet.neg()
          .add(LOG_2 * p),
      )
      .add(shifted.mvlgamma(p));
  }
  protected override get meanCarrierMeasure(): number {
    return 0;
  }
}

function chi2Of(df: Tensor, factor: Tensor, batch: Shape): Chi2 {
  const n = factor.size(-1);
  return new Chi2(df.unsqueeze(-1).sub(ops.arange(n, kindOf(factor)).expand([...batch, -1])));
}
function matrixOf(d: Wishart, name: Spread["name"], make: () => Tensor): Tensor {
  return d.spread.name === name ? d.spread.matrix : enableGrad(make).expand(d.extendedShape());
}
const overMatrices = (t: Tensor, d: Wishart): Tensor => t.expand(d.batchShape).unsqueeze(-1).unsqueeze(-1);
const mvdigamma = (x: Tensor, p: number): Tensor =>
  x
    .unsqueeze(-1)
    .sub(ops.arange(p, kindOf(x)).div(2))
    .digamma()
    .sum(-1);

function bartlett(d: Wishart, sampleShape: Shape): Tensor {
  const p = d.eventShape[0] as number;
  const roots = d.chi2.rsample(sampleShape).sqrt();
  const noise = roots.clamp(finfo(roots.dtype).eps).diagEmbed(0, -2, -1);
  const below = ops.randn([...sampleShape, ...d.batchShape, (p * (p - 1)) / 2], kindOf(noise));
  const mask = ops.ones([p, p], { dtype: "bool", device: noise.device }).tril(-1);
  const chol = d.factor.matmul(noise.maskedScatter(mask, below));
  return chol.matmul(mT(chol));
}
/**
 * A sample with some of it drawn again: those that are positive definite once (PyTorch asks the question the wrong way
 * round, and the same seed is to give the same samples), and what is singular then until it no longer is.
 */
function drawnAgain(d: Wishart, first: Tensor, sampleShape: Shape, tries: number): Tensor {
  const matrices = [...d.batchShape, ...d.eventShape];
  const perSample = (valid: Tensor): Tensor => {
    const dims = d.batchShape.map((_, i) => i + 1);
    return dims.length === 0 ? valid : valid.amax(dims);
  };
  let sample = first.reshape([-1, ...matrices]);
  let again = perSample(d.support.check(sample.detach()));
  for (let i = 0; i < tries; i++) {
    const n = again.sum().item();
    if (n === 0) break;
    const fresh = bartlett(d, [n]);
    sample = sample.indexPut([again], fresh);
    again = again.maskedScatter(again, perSample(d.support.check(fresh.detach()).logicalNot()));
  }
  return sample.reshape([...sampleShape, ...matrices]);
}

export interface LKJCholeskyArguments {
  /** Rows of the matrices, ≥ 2. */
  readonly dim: number;
  /** 1: all correlation matrices alike; above: nearer to the identity. Default 1. */
  readonly concentration?: ParameterLike;
  readonly validateArgs?: boolean | null;
}
const readLkj = signature("LKJCholesky", {
  dim: whole("[2, ∞)"),
  concentration: byDefault(1, parameter),
  validateArgs: VALIDATE,
});
export type LKJCholeskyCall = Call<
  LKJCholeskyArguments,
  ["dim", "concentration", "validateArgs"],
  [dim: number, concentration?: ParameterLike, validateArgs?: boolean | null]
>;

/**
 * Lower Cholesky factors of correlation matrices.
 * @see Lewandowski, Kurowicka and Joe, 2009: the "onion" method.
 */
export class LKJCholesky extends Distribution {
  readonly dim: number;
  readonly concentration: Tensor;
  /** @internal */
  readonly beta: Beta;
  constructor(...given: LKJCholeskyCall) {
    const a = readLkj(given, new.target.name);
    const concentration = broadcastOne(a.concentration);
    super(concentration.shape, [a.dim, a.dim], a.validateArgs);
    this.dim = a.dim;
    this.concentration = concentration;
    this.checkParameters();
    const marginal = concentration.add(0.5 * (a.dim - 2));
    const places = ops.arange(a.dim - 1, kindOf(concentration));
    const offset = ops.cat([places.newZeros([1]), places]);
    this.beta = new Beta(offset.add(0.5), marginal.unsqueeze(-1).sub(offset.mul(0.5)));
  }
  protected override expanded(shape: Shape): object {
    return { concentration: this.concentration.expand(shape), beta: this.beta.expand([...shape, this.dim]) };
  }
  override get argConstraints(): Readonly<Record<string, Constraint>> {
    return { concentration: constraints.positive };
  }
  override get support(): Constraint {
    return constraints.corrCholesky;
  }
  override sample(...given: SampleCall): Tensor {
    const sampleShape = sampleShapeOf(given);
    return noGrad(() => {
      const y = this.beta.sample(sampleShape).unsqueeze(-1);
      const normal = ops.randn(this.extendedShape(sampleShape), kindOf(y)).tril(-1);
      const sphere = normal.div(ops.linalg.vectorNorm(normal, 2, -1, true));
      sphere.select(-2, 0).fill_(0);
      const w = y.sqrt().mul(sphere);
      const rest = minus(1, w.pow(2).sum(-1)).clamp(finfo(w.dtype).tiny).sqrt();
      return w.add(ops.diagEmbed(rest));
    });
  }
  override logProb(value: Tensor): Tensor {
    this.checkValue("logProb", value);
    const d = this.dim;
    const elements = value.diagonal(0, -1, -2).narrow(-1, 1, d - 1);
    const places = ops.arange(2, d + 1, { device: this.concentration.device });
    const order = this.concentration.sub(1).unsqueeze(-1).mul(2).add(d).sub(places);
    const unnormalized = order.mul(elements.log()).sum(-1);
    const alpha = this.concentration.add(0.5 * (d - 1));
    const normalizer = alpha
      .sub(0.5)
      .mvlgamma(d - 1)
      .add(0.5 * (d - 1) * Math.log(Math.PI))
      .sub(alpha.lgamma().mul(d - 1));
    return unnormalized.sub(normalizer);
  }
}
