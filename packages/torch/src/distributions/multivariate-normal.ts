/** Normal distributions of vectors. */
import { enableGrad } from "../autograd/modes.js";
import { ArgumentError } from "../errors.js";
import { choleskyInverse, diagEmbed, linalg } from "../ops/index.js";
import { broadcastShapes } from "../ops/shapes.js";
import { signature, type Call } from "../signature.js";
import { tensorKind } from "../tensor/kinds.js";
import type { Tensor } from "../tensor/tensor.js";
import {
  checkOneGiven,
  sampleShapeOf,
  sameShape,
  tensorOfTwo,
  VALIDATE,
  type SampleCall,
  type Shape,
} from "./arguments.js";
import * as constraints from "./constraints.js";
import type { Constraint } from "./constraints.js";
import { Distribution } from "./distribution.js";
import {
  capacitanceTril,
  halfLogDet,
  lowRankLogDet,
  lowRankMahalanobis,
  mahalanobis,
  plusIdentity,
  precisionToScaleTril,
  timesVector,
} from "./matrices.js";
import { mT, standardNormal } from "./numbers.js";

export interface MultivariateNormalArguments {
  /** `[…, n]`. */
  readonly loc: Tensor;
  /** `[…, n, n]`, positive definite; this, or one of the next two. */
  readonly covarianceMatrix?: Tensor | null;
  /** Its inverse. */
  readonly precisionMatrix?: Tensor | null;
  /** Its Cholesky factor: the cheapest. */
  readonly scaleTril?: Tensor | null;
  readonly validateArgs?: boolean | null;
}
const readNormal = signature("MultivariateNormal", {
  loc: tensorKind,
  covarianceMatrix: tensorOfTwo,
  precisionMatrix: tensorOfTwo,
  scaleTril: tensorOfTwo,
  validateArgs: VALIDATE,
});
export type MultivariateNormalCall = Call<
  MultivariateNormalArguments,
  ["loc", "covarianceMatrix", "precisionMatrix", "scaleTril", "validateArgs"],
  [
    loc: Tensor,
    covarianceMatrix?: Tensor | null,
    precisionMatrix?: Tensor | null,
    scaleTril?: Tensor | null,
    validateArgs?: boolean | null,
  ]
>;

/** @internal Which of the three was given, as the lower factor too. */
export interface Spread {
  readonly name: "covarianceMatrix" | "precisionMatrix" | "scaleTril";
  /** As given. */
  readonly matrix: Tensor;
}
/** @internal */
export function spreadOf(
  fn: string,
  a: {
    readonly covarianceMatrix: Tensor | null;
    readonly precisionMatrix: Tensor | null;
    readonly scaleTril: Tensor | null;
  },
): Spread {
  const { covarianceMatrix, precisionMatrix, scaleTril } = a;
  checkOneGiven(fn, { covarianceMatrix, precisionMatrix, scaleTril });
  const name = scaleTril !== null ? "scaleTril" : covarianceMatrix !== null ? "covarianceMatrix" : "precisionMatrix";
  const matrix = a[name] as Tensor;
  if (matrix.ndim < 2) throw new ArgumentError(fn, `${name} to have at least two dimensions`, matrix);
  return { name, matrix };
}
/** @internal Of a matrix that was looked at. */
export const factorOf = ({ name, matrix }: Spread): Tensor =>
  name === "scaleTril" ? matrix : name === "covarianceMatrix" ? linalg.cholesky(matrix) : precisionToScaleTril(matrix);

/** Vectors of normals that depend on one another. */
export class MultivariateNormal extends Distribution {
  readonly loc: Tensor;
  /** @internal What was given, expanded. */
  readonly spread: Spread;
  /** @internal The lower factor, of its own batch shape. */
  readonly factor: Tensor;

  constructor(...given: MultivariateNormalCall) {
    const a = readNormal(given, new.target.name);
    if (a.loc.ndim < 1) throw new ArgumentError(new.target.name, "loc to have at least one dimension", a.loc);
    const { name, matrix } = spreadOf(new.target.name, a);
    const n = a.loc.size(-1);
    if (!sameShape(matrix.shape.slice(-2), [n, n]))
      throw new ArgumentError(new.target.name, `${name} to be matrices of ${n} × ${n}`, matrix);
    const batch = broadcastShapes(matrix.shape.slice(0, -2), a.loc.shape.slice(0, -1));
    super(batch, [n], a.validateArgs);
    this.loc = a.loc.expand([...batch, -1]);
    this.spread = { name, matrix: matrix.expand([...batch, -1, -1]) };
    // Looked at before it is factored.
    this.checkParameters();
    this.factor = factorOf({ name, matrix });
  }
  protected override expanded(shape: Shape): object {
    const n = this.eventShape[0] as number;
    return {
      loc: this.loc.expand([...shape, n]),
      spread: { name: this.spread.name, matrix: this.spread.matrix.expand([...shape, n, n]) },
    };
  }
  protected override follows(name: string): boolean {
    return name !== "loc" && name !== this.spread.name;
  }
  override get argConstraints(): Readonly<Record<string, Constraint>> {
    return {
      loc: constraints.realVector,
      covarianceMatrix: constraints.positiveDefinite,
      precisionMatrix: constraints.positiveDefinite,
      scaleTril: constraints.lowerCholesky,
    };
  }
  override get support(): Constraint {
    return constraints.realVector;
  }
  override get hasRsample(): boolean {
    return true;
  }
  /** `[…, n, n]`: lower triangular. */
  get scaleTril(): Tensor {
    return matrixOf(this, "scaleTril", () => this.factor);
  }
  get covarianceMatrix(): Tensor {
    return matrixOf(this, "covarianceMatrix", () => this.factor.matmul(mT(this.factor)));
  }
  get precisionMatrix(): Tensor {
    return matrixOf(this, "precisionMatrix", () => choleskyInverse(this.factor));
  }
  override get mean(): Tensor {
    return this.loc;
  }
  override get mode(): Tensor {
    return this.loc;
  }
  override get variance(): Tensor {
    return this.factor.pow(2).sum(-1).expand(this.extendedShape());
  }
  override rsample(...given: SampleCall): Tensor {
    const noise = standardNormal(this.extendedShape(sampleShapeOf(given, "rsample")), this.loc);
    return this.loc.add(timesVector(this.factor, noise));
  }
  override logProb(value: Tensor): Tensor {
    this.checkValue("logProb", value);
    const distance = mahalanobis(this.factor, value.sub(this.loc));
    const n = this.eventShape[0] as number;
    return distance
      .add(n * Math.log(2 * Math.PI))
      .mul(-0.5)
      .sub(halfLogDet(this.factor));
  }
  override entropy(): Tensor {
    const n = this.eventShape[0] as number;
    const entropy = halfLogDet(this.factor).add(0.5 * n * (1 + Math.log(2 * Math.PI)));
    return this.batchShape.length === 0 ? entropy : entropy.expand(this.batchShape);
  }
}
export interface LowRankMultivariateNormalArguments {
  /** `[…, n]`. */
  readonly loc: Tensor;
  /** `[…, n, m]`. */
  readonly covFactor: Tensor;
  /** `[…, n]`, > 0. */
  readonly covDiag: Tensor;
  readonly validateArgs?: boolean | null;
}
const readLowRank = signature("LowRankMultivariateNormal", {
  loc: tensorKind,
  covFactor: tensorKind,
  covDiag: tensorKind,
  validateArgs: VALIDATE,
});
export type LowRankMultivariateNormalCall = Call<
  LowRankMultivariateNormalArguments,
  ["loc", "covFactor", "covDiag", "validateArgs"],
  [loc: Tensor, covFactor: Tensor, covDiag: Tensor, validateArgs?: boolean | null]
>;

/** Vectors of normals with covariance `covFactor covFactorᵀ + diag(covDiag)`, never computed as a matrix of n × n. */
export class LowRankMultivariateNormal extends Distribution {
  readonly loc: Tensor;
  readonly covFactor: Tensor;
  readonly covDiag: Tensor;
  /** @internal Of their own batch shapes. */
  readonly own: { readonly factor: Tensor; readonly diag: Tensor; readonly capacitance: Tensor };

  constructor(...given: LowRankMultivariateNormalCall) {
    const fn = new.target.name;
    const a = readLowRank(given, fn);
    if (a.loc.ndim < 1) throw new ArgumentError(fn, "loc to have at least one dimension", a.loc);
    const n = a.loc.size(-1);
    if (a.covFactor.ndim < 2 || a.covFactor.size(-2) !== n)
      throw new ArgumentError(fn, `covFactor to be matrices of ${n} rows`, a.covFactor);
    if (a.covDiag.ndim < 1 || a.covDiag.size(-1) !== n)
      throw new ArgumentError(fn, `covDiag to be vectors of ${n} elements`, a.covDiag);
    const batch = broadcastShapes(
      a.loc.shape.slice(0, -1),
      a.covFactor.shape.slice(0, -2),
      a.covDiag.shape.slice(0, -1),
    );
    super(batch, [n], a.validateArgs);
    this.loc = a.loc.expand([...batch, n]);
    this.covFactor = a.covFactor.expand([...batch, n, a.covFactor.size(-1)]);
    this.covDiag = a.covDiag.expand([...batch, n]);
    this.checkParameters();
    this.own = { factor: a.covFactor, diag: a.covDiag, capacitance: capacitanceTril(a.covFactor, a.covDiag) };
  }
  protected override expanded(shape: Shape): object {
    const n = this.eventShape[0] as number;
    return {
      loc: this.loc.expand([...shape, n]),
      covDiag: this.covDiag.expand([...shape, n]),
      covFactor: this.covFactor.expand([...shape, n, this.covFactor.size(-1)]),
    };
  }
  override get argConstraints(): Readonly<Record<string, Constraint>> {
    return {
      loc: constraints.realVector,
      covFactor: constraints.independent(constraints.real, 2),
      covDiag: constraints.independent(constraints.positive, 1),
    };
  }
  override get support(): Constraint {
    return constraints.realVector;
  }
  override get hasRsample(): boolean {
    return true;
  }
  override get mean(): Tensor {
    return this.loc;
  }
  override get mode(): Tensor {
    return this.loc;
  }
  override get variance(): Tensor {
    return this.own.factor.pow(2).sum(-1).add(this.own.diag).expand(this.extendedShape());
  }
  get scaleTril(): Tensor {
    const root = this.own.diag.sqrt().unsqueeze(-1);
    const scaled = this.own.factor.div(root);
    return square(this, root.mul(linalg.cholesky(plusIdentity(scaled.matmul(mT(scaled))))));
  }
  get covarianceMatrix(): Tensor {
    const { factor, diag } = this.own;
    return square(this, factor.matmul(mT(factor)).add(diagEmbed(diag)));
  }
  get precisionMatrix(): Tensor {
    const { factor, diag, capacitance } = this.own;
    const a = linalg.solveTriangular(capacitance, mT(factor).div(diag.unsqueeze(-2)), { upper: false });
    return square(this, diagEmbed(diag.reciprocal()).sub(mT(a).matmul(a)));
  }
  override rsample(...given: SampleCall): Tensor {
    const shape = this.extendedShape(sampleShapeOf(given, "rsample"));
    const noise = standardNormal([...shape.slice(0, -1), this.covFactor.size(-1)], this.loc);
    const own = standardNormal(shape, this.loc);
    return this.loc.add(timesVector(this.own.factor, noise)).add(this.own.diag.sqrt().mul(own));
  }
  override logProb(value: Tensor): Tensor {
    this.checkValue("logProb", value);
    const { factor, diag, capacitance } = this.own;
    const distance = lowRankMahalanobis(factor, diag, value.sub(this.loc), capacitance);
    const logDet = lowRankLogDet(diag, capacitance);
    const n = this.eventShape[0] as number;
    return logDet
      .add(n * Math.log(2 * Math.PI))
      .add(distance)
      .mul(-0.5);
  }
  override entropy(): Tensor {
    const n = this.eventShape[0] as number;
    const entropy = lowRankLogDet(this.own.diag, this.own.capacitance)
      .add(n * (1 + Math.log(2 * Math.PI)))
      .mul(0.5);
    return this.batchShape.length === 0 ? entropy : entropy.expand(this.batchShape);
  }
}

function square(d: Distribution, matrix: Tensor): Tensor {
  return matrix.expand([...d.batchShape, ...d.eventShape, ...d.eventShape]);
}
/** A matrix of a multivariate normal: the one that was given, or made. */
function matrixOf(d: MultivariateNormal, name: Spread["name"], make: () => Tensor): Tensor {
  return d.spread.name === name ? d.spread.matrix : square(d, enableGrad(make));
}
