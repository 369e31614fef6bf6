/** Transforms of single numbers, and of vectors to vectors. */
import { ArgumentError } from "../errors.js";
import { byDefault, such, whole } from "../kinds.js";
import { signature, type Call } from "../signature.js";
import { fullLike, linalg, logSigmoid, pad, softplus } from "../ops/index.js";
import { broadcastShapes } from "../ops/shapes.js";
import { finfo } from "../tensor/dtype.js";
import { isTensor } from "../tensor/handle.js";
import type { Tensor } from "../tensor/tensor.js";
import {
  CACHE,
  count,
  parameter,
  sameShape,
  shapeKind,
  withCacheOf,
  type CacheCall,
  type ParameterLike,
  type Shape,
} from "./arguments.js";
import * as constraints from "./constraints.js";
import type { Constraint } from "./constraints.js";
import { Distribution } from "./distribution.js";
import { broadcastOne, minus, mT, over, trilMatrixToVec, vecToTrilMatrix } from "./numbers.js";
import { Transform } from "./transform.js";

const shapeOf = (value: ParameterLike): Shape => (isTensor(value) ? value.shape : []);
const leastDimensions = (transform: object, shape: Shape, n: number): void => {
  if (shape.length < n) throw new ArgumentError(transform.constructor.name, `at least ${n} dimensions`, shape);
};

/** A bijection of the real line that grows. */
abstract class Increasing extends Transform {
  override get domain(): Constraint {
    return constraints.real;
  }
  override get bijective(): boolean {
    return true;
  }
  override get sign(): number {
    return 1;
  }
  override equals(other: Transform): boolean {
    return other.constructor === this.constructor;
  }
}

/** y = exp(x). */
export class ExpTransform extends Increasing {
  override withCache(...given: CacheCall): Transform {
    const cacheSize = withCacheOf(given);
    return this.cacheSize === cacheSize ? this : new ExpTransform(cacheSize);
  }
  override get codomain(): Constraint {
    return constraints.positive;
  }
  protected override compute(x: Tensor): Tensor {
    return x.exp();
  }
  protected override invert(y: Tensor): Tensor {
    return y.log();
  }
  override logAbsDetJacobian(x: Tensor): Tensor {
    return x;
  }
}

const readPower = signature("PowerTransform", { exponent: parameter, cacheSize: CACHE });
export type PowerCall = Call<
  { readonly exponent: ParameterLike; readonly cacheSize?: number },
  ["exponent", "cacheSize"],
  [exponent: ParameterLike, cacheSize?: number]
>;
/** y = x^exponent. */
export class PowerTransform extends Transform {
  readonly exponent: Tensor;
  constructor(...given: PowerCall) {
    const { exponent, cacheSize } = readPower(given, new.target.name);
    super(cacheSize);
    this.exponent = broadcastOne(exponent);
  }
  override withCache(...given: CacheCall): Transform {
    const cacheSize = withCacheOf(given);
    return this.cacheSize === cacheSize ? this : new PowerTransform(this.exponent, cacheSize);
  }
  override get domain(): Constraint {
    return constraints.positive;
  }
  override get codomain(): Constraint {
    return constraints.positive;
  }
  override get bijective(): boolean {
    return true;
  }
  override get sign(): Tensor {
    return this.exponent.sign();
  }
  override equals(other: Transform): boolean {
    return other instanceof PowerTransform && this.exponent.eq(other.exponent).all().item() !== 0;
  }
  protected override compute(x: Tensor): Tensor {
    return x.pow(this.exponent);
  }
  protected override invert(y: Tensor): Tensor {
    return y.pow(over(1, this.exponent));
  }
  override logAbsDetJacobian(x: Tensor, y: Tensor): Tensor {
    return this.exponent.mul(y).div(x).abs().log();
  }
  override forwardShape(shape: Shape): Shape {
    return broadcastShapes(shape, this.exponent.shape);
  }
  override inverseShape(shape: Shape): Shape {
    return broadcastShapes(shape, this.exponent.shape);
  }
}

function clippedSigmoid(x: Tensor): Tensor {
  const { tiny, eps } = finfo(x.dtype);
  return x.sigmoid().clamp(tiny, 1 - eps);
}
/** y = 1 / (1 + exp(−x)), kept off 0 and 1. */
export class SigmoidTransform extends Increasing {
  override withCache(...given: CacheCall): Transform {
    const cacheSize = withCacheOf(given);
    return this.cacheSize === cacheSize ? this : new SigmoidTransform(cacheSize);
  }
  override get codomain(): Constraint {
    return constraints.unitInterval;
  }
  protected override compute(x: Tensor): Tensor {
    return clippedSigmoid(x);
  }
  protected override invert(y: Tensor): Tensor {
    const { tiny, eps } = finfo(y.dtype);
    const inside = y.clamp(tiny, 1 - eps);
    return inside.log().sub(inside.neg().log1p());
  }
  override logAbsDetJacobian(x: Tensor): Tensor {
    return softplus(x.neg()).neg().sub(softplus(x));
  }
}
/** y = log(1 + exp(x)). */
export class SoftplusTransform extends Increasing {
  override withCache(...given: CacheCall): Transform {
    const cacheSize = withCacheOf(given);
    return this.cacheSize === cacheSize ? this : new SoftplusTransform(cacheSize);
  }
  override get codomain(): Constraint {
    return constraints.positive;
  }
  protected override compute(x: Tensor): Tensor {
    return softplus(x);
  }
  protected override invert(y: Tensor): Tensor {
    return y.neg().expm1().neg().log().add(y);
  }
  override logAbsDetJacobian(x: Tensor): Tensor {
    return softplus(x.neg()).neg();
  }
}
/** y = tanh(x). */
export class TanhTransform extends Increasing {
  override withCache(...given: CacheCall): Transform {
    const cacheSize = withCacheOf(given);
    return this.cacheSize === cacheSize ? this : new TanhTransform(cacheSize);
  }
  override get codomain(): Constraint {
    return constraints.interval(-1, 1);
  }
  protected override compute(x: Tensor): Tensor {
    return x.tanh();
  }
  protected override invert(y: Tensor): Tensor {
    return y.atanh();
  }
  override logAbsDetJacobian(x: Tensor): Tensor {
    return minus(Math.log(2), x)
      .sub(softplus(x.mul(-2)))
      .mul(2);
  }
}
/** y = |x|: not a bijection, so that it has no Jacobian; its inverse gives the positive one. */
export class AbsTransform extends Transform {
  override get domain(): Constraint {
    return constraints.real;
  }
  override get codomain(): Constraint {
    return constraints.positive;
  }
  override withCache(...given: CacheCall): Transform {
    const cacheSize = withCacheOf(given);
    return this.cacheSize === cacheSize ? this : new AbsTransform(cacheSize);
  }
  override equals(other: Transform): boolean {
    return other instanceof AbsTransform;
  }
  protected override compute(x: Tensor): Tensor {
    return x.abs();
  }
  protected override invert(y: Tensor): Tensor {
    return y;
  }
}

const equalParameters = (a: ParameterLike, b: ParameterLike): boolean => {
  if (isTensor(a)) return (isTensor(b) ? a.eq(b) : a.eq(b)).all().item() !== 0;
  return isTensor(b) ? b.eq(a).all().item() !== 0 : a === b;
};
export interface AffineArguments {
  readonly loc: ParameterLike;
  readonly scale: ParameterLike;
  /** How many of the last dimensions make one value. Default 0. */
  readonly eventDim?: number;
  /** Default 0. */
  readonly cacheSize?: number;
}
const readAffine = signature("AffineTransform", {
  loc: parameter,
  scale: parameter,
  eventDim: byDefault(0, whole("[0, ∞)")),
  cacheSize: CACHE,
});
export type AffineCall = Call<
  AffineArguments,
  ["loc", "scale", "eventDim", "cacheSize"],
  [loc: ParameterLike, scale: ParameterLike, eventDim?: number, cacheSize?: number]
>;
/** y = loc + scale · x, over the last `eventDim` dimensions. */
export class AffineTransform extends Transform {
  readonly loc: ParameterLike;
  readonly scale: ParameterLike;
  /** @internal */
  readonly dimensions: number;
  constructor(...given: AffineCall) {
    const a = readAffine(given, new.target.name);
    super(a.cacheSize);
    this.loc = a.loc;
    this.scale = a.scale;
    this.dimensions = a.eventDim;
  }
  override get eventDim(): number {
    return this.dimensions;
  }
  override get domain(): Constraint {
    return this.dimensions === 0 ? constraints.real : constraints.independent(constraints.real, this.dimensions);
  }
  override get codomain(): Constraint {
    return this.domain;
  }
  override get bijective(): boolean {
    return true;
  }
  override get sign(): number | Tensor {
    return isTensor(this.scale) ? this.scale.sign() : Math.sign(this.scale);
  }
  override withCache(...given: CacheCall): Transform {
    const cacheSize = withCacheOf(given);
    if (this.cacheSize === cacheSize) return this;
    return new AffineTransform(this.loc, this.scale, this.dimensions, cacheSize);
  }
  override equals(other: Transform): boolean {
    return (
      other instanceof AffineTransform &&
      equalParameters(this.loc, other.loc) &&
      equalParameters(this.scale, other.scale)
    );
  }
  protected override compute(x: Tensor): Tensor {
    const scaled = isTensor(this.scale) ? this.scale.mul(x) : x.mul(this.scale);
    return isTensor(this.loc) ? this.loc.add(scaled) : scaled.add(this.loc);
  }
  protected override invert(y: Tensor): Tensor {
    const shifted = isTensor(this.loc) ? y.sub(this.loc) : y.sub(this.loc);
    return isTensor(this.scale) ? shifted.div(this.scale) : shifted.div(this.scale);
  }
  override logAbsDetJacobian(x: Tensor): Tensor {
    const n = this.dimensions;
    const logs = isTensor(this.scale) ? this.scale.abs().log() : fullLike(x, Math.log(Math.abs(this.scale)));
    if (n === 0) return logs.expand(x.shape);
    const summed = logs.view([...logs.shape.slice(0, -n), -1]).sum(-1);
    return summed.expand(x.shape.slice(0, -n));
  }
  override forwardShape(shape: Shape): Shape {
    return broadcastShapes(shape, shapeOf(this.loc), shapeOf(this.scale));
  }
  override inverseShape(shape: Shape): Shape {
    return this.forwardShape(shape);
  }
}

export interface ReshapeArguments {
  readonly inShape: Shape;
  /** Of as many elements. */
  readonly outShape: Shape;
  /** Default 0. */
  readonly cacheSize?: number;
}
const readReshape = signature("ReshapeTransform", { inShape: shapeKind, outShape: shapeKind, cacheSize: CACHE });
export type ReshapeCall = Call<
  ReshapeArguments,
  ["inShape", "outShape", "cacheSize"],
  [inShape: Shape, outShape: Shape, cacheSize?: number]
>;
/** Another shape of the last dimensions. */
export class ReshapeTransform extends Transform {
  readonly inShape: Shape;
  readonly outShape: Shape;
  constructor(...given: ReshapeCall) {
    const { inShape, outShape, cacheSize } = readReshape(given, new.target.name);
    super(cacheSize);
    this.inShape = inShape;
    this.outShape = outShape;
    if (count(inShape) !== count(outShape))
      throw new ArgumentError("ReshapeTransform", "inShape and outShape of as many elements", [inShape, outShape]);
  }
  override get domain(): Constraint {
    return constraints.independent(constraints.real, this.inShape.length);
  }
  override get codomain(): Constraint {
    return constraints.independent(constraints.real, this.outShape.length);
  }
  override get bijective(): boolean {
    return true;
  }
  override withCache(...given: CacheCall): Transform {
    const cacheSize = withCacheOf(given);
    return this.cacheSize === cacheSize ? this : new ReshapeTransform(this.inShape, this.outShape, cacheSize);
  }
  protected override compute(x: Tensor): Tensor {
    return x.reshape(this.forwardShape(x.shape));
  }
  protected override invert(y: Tensor): Tensor {
    return y.reshape(this.inverseShape(y.shape));
  }
  override logAbsDetJacobian(x: Tensor): Tensor {
    return x.newZeros(x.shape.slice(0, x.ndim - this.inShape.length));
  }
  override forwardShape(shape: Shape): Shape {
    return reshaped(shape, this.inShape, this.outShape);
  }
  override inverseShape(shape: Shape): Shape {
    return reshaped(shape, this.outShape, this.inShape);
  }
}
function reshaped(shape: Shape, from: Shape, to: Shape): Shape {
  const cut = shape.length - from.length;
  if (cut < 0 || !sameShape(shape.slice(cut), from))
    throw new ArgumentError("ReshapeTransform", `a shape that ends with [${from.join(", ")}]`, shape);
  return [...shape.slice(0, cut), ...to];
}

/** y = exp(x) / Σ exp(x): not a bijection; its inverse is one of those that lead there. */
export class SoftmaxTransform extends Transform {
  override get domain(): Constraint {
    return constraints.realVector;
  }
  override get codomain(): Constraint {
    return constraints.simplex;
  }
  override withCache(...given: CacheCall): Transform {
    const cacheSize = withCacheOf(given);
    return this.cacheSize === cacheSize ? this : new SoftmaxTransform(cacheSize);
  }
  override equals(other: Transform): boolean {
    return other instanceof SoftmaxTransform;
  }
  protected override compute(x: Tensor): Tensor {
    const probs = x.sub(x.max(-1, true).values).exp();
    return probs.div(probs.sum(-1, true));
  }
  protected override invert(y: Tensor): Tensor {
    return y.log();
  }
  override forwardShape(shape: Shape): Shape {
    leastDimensions(this, shape, 1);
    return shape;
  }
  override inverseShape(shape: Shape): Shape {
    return this.forwardShape(shape);
  }
}

/** Real vectors to the simplex of one dimension more, by breaking a stick of length 1. */
export class StickBreakingTransform extends Transform {
  override get domain(): Constraint {
    return constraints.realVector;
  }
  override get codomain(): Constraint {
    return constraints.simplex;
  }
  override get bijective(): boolean {
    return true;
  }
  override withCache(...given: CacheCall): Transform {
    const cacheSize = withCacheOf(given);
    return this.cacheSize === cacheSize ? this : new StickBreakingTransform(cacheSize);
  }
  override equals(other: Transform): boolean {
    return other instanceof StickBreakingTransform;
  }
  protected override compute(x: Tensor): Tensor {
    const z = clippedSigmoid(x.sub(remaining(x, x.size(-1) + 1, x.size(-1)).log()));
    const rest = minus(1, z).cumprod(-1);
    return pad(z, [0, 1], { value: 1 }).mul(pad(rest, [1, 0], { value: 1 }));
  }
  protected override invert(y: Tensor): Tensor {
    const n = y.size(-1);
    const cropped = y.narrow(-1, 0, n - 1);
    const rest = minus(1, cropped.cumsum(-1)).clamp(finfo(y.dtype).tiny);
    return cropped
      .log()
      .sub(rest.log())
      .add(remaining(y, n, n - 1).log());
  }
  override logAbsDetJacobian(x: Tensor, y: Tensor): Tensor {
    const shifted = x.sub(remaining(x, x.size(-1) + 1, x.size(-1)).log());
    return shifted
      .neg()
      .add(logSigmoid(shifted))
      .add(y.narrow(-1, 0, y.size(-1) - 1).log())
      .sum(-1);
  }
  override forwardShape(shape: Shape): Shape {
    leastDimensions(this, shape, 1);
    return [...shape.slice(0, -1), (shape[shape.length - 1] as number) + 1];
  }
  override inverseShape(shape: Shape): Shape {
    leastDimensions(this, shape, 1);
    return [...shape.slice(0, -1), (shape[shape.length - 1] as number) - 1];
  }
}
/** `from` − 1, `from` − 2, …: how many pieces are still to come. */
const remaining = (like: Tensor, from: number, n: number): Tensor => minus(from, like.newOnes([n]).cumsum(-1));

/** Real vectors of n(n−1)/2 to Cholesky factors of n × n correlation matrices. */
export class CorrCholeskyTransform extends Transform {
  override get domain(): Constraint {
    return constraints.realVector;
  }
  override get codomain(): Constraint {
    return constraints.corrCholesky;
  }
  override get bijective(): boolean {
    return true;
  }
  override withCache(...given: CacheCall): Transform {
    const cacheSize = withCacheOf(given);
    return this.cacheSize === cacheSize ? this : new CorrCholeskyTransform(cacheSize);
  }
  protected override compute(x: Tensor): Tensor {
    const { eps } = finfo(x.dtype);
    const partial = vecToTrilMatrix(x.tanh().clamp(-1 + eps, 1 - eps), -1);
    const rest = minus(1, partial.pow(2)).sqrt().cumprod(-1);
    const n = partial.size(-1);
    const withOnes = partial.add(partial.newOnes([n]).diag());
    return withOnes.mul(pad(rest.narrow(-1, 0, n - 1), [1, 0], { value: 1 }));
  }
  protected override invert(y: Tensor): Tensor {
    const rest = minus(1, y.mul(y).cumsum(-1));
    const shifted = pad(rest.narrow(-1, 0, y.size(-1) - 1), [1, 0], { value: 1 });
    const t = trilMatrixToVec(y, -1).div(trilMatrixToVec(shifted, -1).sqrt());
    return t.log1p().sub(t.neg().log1p()).div(2);
  }
  override logAbsDetJacobian(x: Tensor, y: Tensor): Tensor {
    const rest = minus(1, y.mul(y).cumsum(-1));
    const sticks = trilMatrixToVec(rest, -2).log().sum(-1).mul(0.5);
    const tanh = x
      .add(softplus(x.mul(-2)))
      .sub(Math.log(2))
      .sum(-1)
      .mul(-2);
    return sticks.add(tanh);
  }
  override forwardShape(shape: Shape): Shape {
    leastDimensions(this, shape, 1);
    const n = shape[shape.length - 1] as number;
    const side = Math.round(Math.sqrt(0.25 + 2 * n) + 0.5);
    if ((side * (side - 1)) / 2 !== n)
      throw new ArgumentError("CorrCholeskyTransform", "n(n − 1)/2 elements in the last dimension", shape);
    return [...shape.slice(0, -1), side, side];
  }
  override inverseShape(shape: Shape): Shape {
    leastDimensions(this, shape, 2);
    const [rows, side] = shape.slice(-2) as [number, number];
    if (rows !== side) throw new ArgumentError("CorrCholeskyTransform", "square matrices", shape);
    return [...shape.slice(0, -2), (side * (side - 1)) / 2];
  }
}

/** Square matrices to lower triangular ones of positive diagonal: the diagonal's exponentials. */
export class LowerCholeskyTransform extends Transform {
  override get domain(): Constraint {
    return constraints.independent(constraints.real, 2);
  }
  override get codomain(): Constraint {
    return constraints.lowerCholesky;
  }
  override withCache(...given: CacheCall): Transform {
    const cacheSize = withCacheOf(given);
    return this.cacheSize === cacheSize ? this : new LowerCholeskyTransform(cacheSize);
  }
  override equals(other: Transform): boolean {
    return other instanceof LowerCholeskyTransform;
  }
  protected override compute(x: Tensor): Tensor {
    return x.tril(-1).add(x.diagonal(0, -2, -1).exp().diagEmbed());
  }
  protected override invert(y: Tensor): Tensor {
    return y.tril(-1).add(y.diagonal(0, -2, -1).log().diagEmbed());
  }
}
/** Square matrices to positive definite ones, through their Cholesky factors. */
export class PositiveDefiniteTransform extends Transform {
  override get domain(): Constraint {
    return constraints.independent(constraints.real, 2);
  }
  override get codomain(): Constraint {
    return constraints.positiveDefinite;
  }
  override withCache(...given: CacheCall): Transform {
    const cacheSize = withCacheOf(given);
    return this.cacheSize === cacheSize ? this : new PositiveDefiniteTransform(cacheSize);
  }
  override equals(other: Transform): boolean {
    return other instanceof PositiveDefiniteTransform;
  }
  protected override compute(x: Tensor): Tensor {
    const factor = new LowerCholeskyTransform().call(x);
    return factor.matmul(mT(factor));
  }
  protected override invert(y: Tensor): Tensor {
    return new LowerCholeskyTransform().inv.call(linalg.cholesky(y));
  }
}

const readCumulative = signature("CumulativeDistributionTransform", {
  distribution: such<Distribution>("a distribution", (v) => v instanceof Distribution),
  cacheSize: CACHE,
});
export type CumulativeDistributionCall = Call<
  { readonly distribution: Distribution; readonly cacheSize?: number },
  ["distribution", "cacheSize"],
  [distribution: Distribution, cacheSize?: number]
>;
/** A distribution's cumulative distribution function. */
export class CumulativeDistributionTransform extends Transform {
  readonly distribution: Distribution;
  constructor(...given: CumulativeDistributionCall) {
    const { distribution, cacheSize } = readCumulative(given, new.target.name);
    super(cacheSize);
    this.distribution = distribution;
  }
  override get domain(): Constraint {
    return this.distribution.support;
  }
  override get codomain(): Constraint {
    return constraints.unitInterval;
  }
  override get bijective(): boolean {
    return true;
  }
  override get sign(): number {
    return 1;
  }
  override withCache(...given: CacheCall): Transform {
    const cacheSize = withCacheOf(given);
    return this.cacheSize === cacheSize ? this : new CumulativeDistributionTransform(this.distribution, cacheSize);
  }
  protected override compute(x: Tensor): Tensor {
    return this.distribution.cdf(x);
  }
  protected override invert(y: Tensor): Tensor {
    return this.distribution.icdf(y);
  }
  override logAbsDetJacobian(x: Tensor): Tensor {
    return this.distribution.logProb(x);
  }
}
