/** The exponential distribution, and those that are powers and exponentials of it. */
import { fullLike, isclose, onesLike, where, zerosLike } from "../ops/index.js";
import { signature, type Call } from "../signature.js";
import type { Tensor } from "../tensor/tensor.js";
import { parameter, sampleShapeOf, VALIDATE, type ParameterLike, type SampleCall, type Shape } from "./arguments.js";
import * as constraints from "./constraints.js";
import type { Constraint } from "./constraints.js";
import { LOC_SCALE_CONSTRAINTS, LocScaleFamily } from "./loc-scale.js";
import { broadcastThree, broadcastTwo, choose, EULER, minus, over, uniform } from "./numbers.js";
import { RateFamily } from "./rate.js";
import { TransformedDistribution } from "./transformed.js";
import { AffineTransform, ExpTransform, PowerTransform } from "./transforms.js";

/** The time until the next event of a rate. */
export class Exponential extends RateFamily {
  override get argConstraints(): Readonly<Record<string, Constraint>> {
    return { rate: constraints.positive };
  }
  override get support(): Constraint {
    return constraints.nonnegative;
  }
  override get hasRsample(): boolean {
    return true;
  }
  override get mean(): Tensor {
    return this.rate.reciprocal();
  }
  override get mode(): Tensor {
    return zerosLike(this.rate);
  }
  override get stddev(): Tensor {
    return this.rate.reciprocal();
  }
  override get variance(): Tensor {
    return this.rate.pow(-2);
  }
  override rsample(...given: SampleCall): Tensor {
    const shape = this.extendedShape(sampleShapeOf(given, "rsample"));
    return this.rate.newEmpty(shape).exponential_().div(this.rate);
  }
  override logProb(value: Tensor): Tensor {
    this.checkValue("logProb", value);
    return this.rate.log().sub(this.rate.mul(value));
  }
  override cdf(value: Tensor): Tensor {
    this.checkValue("cdf", value);
    return minus(1, this.rate.neg().mul(value).exp());
  }
  override icdf(value: Tensor): Tensor {
    return value.neg().log1p().neg().div(this.rate);
  }
  override entropy(): Tensor {
    return minus(1, this.rate.log());
  }
  override get naturalParams(): readonly [Tensor] {
    return [this.rate.neg()];
  }
  override logNormalizer(x: Tensor): Tensor {
    return x.neg().log().neg();
  }
  protected override get meanCarrierMeasure(): number {
    return 0;
  }
}

export interface WeibullArguments {
  readonly scale: ParameterLike;
  readonly concentration: ParameterLike;
  readonly validateArgs?: boolean | null;
}
const readWeibull = signature("Weibull", { scale: parameter, concentration: parameter, validateArgs: VALIDATE });
export type WeibullCall = Call<
  WeibullArguments,
  ["scale", "concentration", "validateArgs"],
  [scale: ParameterLike, concentration: ParameterLike, validateArgs?: boolean | null]
>;

/** The time until something fails whose rate of failure is a power of its age. */
export class Weibull extends TransformedDistribution<Exponential> {
  readonly scale: Tensor;
  readonly concentration: Tensor;
  readonly concentrationReciprocal: Tensor;
  constructor(...given: WeibullCall) {
    const a = readWeibull(given, new.target.name);
    const [scale, concentration] = broadcastTwo(a.scale, a.concentration);
    const reciprocal = concentration.reciprocal();
    super(new Exponential(onesLike(scale), a.validateArgs), steps(reciprocal, scale), a.validateArgs);
    this.scale = scale;
    this.concentration = concentration;
    this.concentrationReciprocal = reciprocal;
    this.checkParameters();
  }
  protected override expanded(shape: Shape): object {
    const [scale, concentration] = [this.scale.expand(shape), this.concentration.expand(shape)];
    const concentrationReciprocal = concentration.reciprocal();
    return {
      scale,
      concentration,
      concentrationReciprocal,
      baseDist: this.baseDist.expand(shape),
      transforms: steps(concentrationReciprocal, scale),
    };
  }
  override get argConstraints(): Readonly<Record<string, Constraint>> {
    return { scale: constraints.positive, concentration: constraints.positive };
  }
  override get support(): Constraint {
    return constraints.positive;
  }
  override get mean(): Tensor {
    return this.scale.mul(this.concentrationReciprocal.add(1).lgamma().exp());
  }
  override get mode(): Tensor {
    const c = this.concentration;
    return this.scale.mul(c.sub(1).div(c).pow(c.reciprocal()));
  }
  override get variance(): Tensor {
    const r = this.concentrationReciprocal;
    const second = r.mul(2).add(1).lgamma().exp();
    return this.scale.pow(2).mul(second.sub(r.add(1).lgamma().mul(2).exp()));
  }
  override entropy(): Tensor {
    const r = this.concentrationReciprocal;
    return minus(1, r).mul(EULER).add(this.scale.mul(r).log()).add(1);
  }
}
const steps = (reciprocal: Tensor, scale: Tensor): [PowerTransform, AffineTransform] => [
  new PowerTransform(reciprocal),
  new AffineTransform(0, scale),
];

export interface ParetoArguments {
  /** > 0: the smallest value. */
  readonly scale: ParameterLike;
  /** > 0: how fast larger values grow rare. */
  readonly alpha: ParameterLike;
  readonly validateArgs?: boolean | null;
}
const readPareto = signature("Pareto", { scale: parameter, alpha: parameter, validateArgs: VALIDATE });
export type ParetoCall = Call<
  ParetoArguments,
  ["scale", "alpha", "validateArgs"],
  [scale: ParameterLike, alpha: ParameterLike, validateArgs?: boolean | null]
>;

/** Values of which a power law says how rare larger ones are. */
export class Pareto extends TransformedDistribution<Exponential> {
  readonly scale: Tensor;
  readonly alpha: Tensor;
  constructor(...given: ParetoCall) {
    const a = readPareto(given, new.target.name);
    const [scale, alpha] = broadcastTwo(a.scale, a.alpha);
    super(new Exponential(alpha, a.validateArgs), [new ExpTransform(), new AffineTransform(0, scale)], a.validateArgs);
    this.scale = scale;
    this.alpha = alpha;
    this.checkParameters();
  }
  protected override expanded(shape: Shape): object {
    return { ...super.expanded(shape), scale: this.scale.expand(shape), alpha: this.alpha.expand(shape) };
  }
  override get argConstraints(): Readonly<Record<string, Constraint>> {
    return { alpha: constraints.positive, scale: constraints.positive };
  }
  override get support(): Constraint {
    return constraints.greaterThanEq(this.scale);
  }
  override get mean(): Tensor {
    const a = this.alpha.clamp(1);
    return a.mul(this.scale).div(a.sub(1));
  }
  override get mode(): Tensor {
    return this.scale;
  }
  override get variance(): Tensor {
    const a = this.alpha.clamp(2);
    return this.scale
      .pow(2)
      .mul(a)
      .div(a.sub(1).pow(2).mul(a.sub(2)));
  }
  override entropy(): Tensor {
    return this.scale.div(this.alpha).log().add(this.alpha.reciprocal().add(1));
  }
}

export interface GeneralizedParetoArguments {
  readonly loc: ParameterLike;
  readonly scale: ParameterLike;
  /** 0: exponential; below: with an end. */
  readonly concentration: ParameterLike;
  readonly validateArgs?: boolean | null;
}
const readGeneralized = signature("GeneralizedPareto", {
  loc: parameter,
  scale: parameter,
  concentration: parameter,
  validateArgs: VALIDATE,
});
export type GeneralizedParetoCall = Call<
  GeneralizedParetoArguments,
  ["loc", "scale", "concentration", "validateArgs"],
  [loc: ParameterLike, scale: ParameterLike, concentration: ParameterLike, validateArgs?: boolean | null]
>;

/** What lies above a high threshold, of nearly any distribution. */
export class GeneralizedPareto extends LocScaleFamily {
  readonly concentration: Tensor;
  constructor(...given: GeneralizedParetoCall) {
    const a = readGeneralized(given, new.target.name);
    const [loc, scale, concentration] = broadcastThree(a.loc, a.scale, a.concentration);
    super(loc, scale, a.validateArgs);
    this.concentration = concentration;
    this.checkParameters();
  }
  protected override expanded(shape: Shape): object {
    return { ...super.expanded(shape), concentration: this.concentration.expand(shape) };
  }
  override get argConstraints(): Readonly<Record<string, Constraint>> {
    return { ...LOC_SCALE_CONSTRAINTS, concentration: constraints.real };
  }
  override get support(): Constraint {
    const end = this.loc.sub(this.scale.div(this.concentration));
    return constraints.interval(this.loc, choose(this.concentration.lt(0), end, Infinity));
  }
  override rsample(...given: SampleCall): Tensor {
    return this.icdf(uniform(this.extendedShape(sampleShapeOf(given, "rsample")), this.loc));
  }
  override logProb(value: Tensor): Tensor {
    this.checkValue("logProb", value);
    const z = value.sub(this.loc).div(this.scale);
    const { isZero, safe } = shapeOf(this);
    const y = over(1, safe).add(onesLike(z));
    const other = where(y.eq(0), y, y.mul(safe.mul(z).log1p()));
    return this.scale
      .log()
      .neg()
      .sub(where(isZero, z, other));
  }
  /** log(1 − cdf). */
  logSurvivalFunction(value: Tensor): Tensor {
    this.checkValue("logSurvivalFunction", value);
    const z = value.sub(this.loc).div(this.scale);
    const { isZero, safe } = shapeOf(this);
    return where(isZero, z.neg(), safe.mul(z).log1p().neg().div(safe));
  }
  logCdf(value: Tensor): Tensor {
    return this.logSurvivalFunction(value).exp().neg().log1p();
  }
  override cdf(value: Tensor): Tensor {
    return this.logCdf(value).exp();
  }
  override icdf(value: Tensor): Tensor {
    const { isZero, safe } = shapeOf(this);
    const logs = value.neg().log1p();
    const other = this.loc.add(this.scale.div(safe).mul(safe.neg().mul(logs).expm1()));
    return where(isZero, this.loc.sub(this.scale.mul(logs)), other);
  }
  override get mean(): Tensor {
    const c = this.concentration;
    const valid = c.lt(1);
    return choose(valid, this.loc.add(this.scale.div(minus(1, choose(valid, c, 0.5)))), NaN);
  }
  override get variance(): Tensor {
    const c = this.concentration;
    const valid = c.lt(0.5);
    const safe = choose(valid, c, 0.25);
    const variance = this.scale.pow(2).div(
      minus(1, safe)
        .pow(2)
        .mul(minus(1, safe.mul(2))),
    );
    return choose(valid, variance, NaN);
  }
  override entropy(): Tensor {
    return this.scale.log().add(this.concentration).add(1).broadcastTo(this.batchShape);
  }
}
/** Where the concentration is 0, and the concentration with 1 in its place there. */
function shapeOf({ concentration: c }: GeneralizedPareto): { readonly isZero: Tensor; readonly safe: Tensor } {
  const isZero = isclose(c, zerosLike(c));
  return { isZero, safe: where(isZero, fullLike(c, 1), c) };
}
