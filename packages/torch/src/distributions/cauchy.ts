/** Distributions of heavy tails: Cauchy and Student's t. */
import { byDefault } from "../kinds.js";
import { where, zerosLike } from "../ops/index.js";
import { signature, type Call } from "../signature.js";
import { isTensor } from "../tensor/handle.js";
import type { Tensor } from "../tensor/tensor.js";
import { parameter, sampleShapeOf, VALIDATE, type ParameterLike, type SampleCall, type Shape } from "./arguments.js";
import * as constraints from "./constraints.js";
import type { Constraint } from "./constraints.js";
import { Chi2 } from "./gamma.js";
import {
  LOC_SCALE_CONSTRAINTS,
  LocScaleFamily,
  locScaleOf,
  scaleOf,
  type LocScaleCall,
  type ScaleCall,
} from "./loc-scale.js";
import { broadcastThree, broadcastTwo, choose, filled, kindOf, standardNormal } from "./numbers.js";
import { TransformedDistribution } from "./transformed.js";
import { AbsTransform } from "./transforms.js";

/** The quotient of two normals; it has no mean. */
export class Cauchy extends LocScaleFamily {
  constructor(...given: LocScaleCall) {
    const a = locScaleOf(given, new.target.name);
    super(...broadcastTwo(a.loc, a.scale), a.validateArgs);
    this.checkParameters();
  }
  /** NaN: it has none. */
  override get mean(): Tensor {
    return filled(this.extendedShape(), NaN, this.loc);
  }
  override get variance(): Tensor {
    return filled(this.extendedShape(), Infinity, this.loc);
  }
  override rsample(...given: SampleCall): Tensor {
    const shape = this.extendedShape(sampleShapeOf(given, "rsample"));
    const noise = this.loc.newEmpty(shape).cauchy_();
    return this.loc.add(noise.mul(this.scale));
  }
  override logProb(value: Tensor): Tensor {
    this.checkValue("logProb", value);
    return this.scale.log().neg().sub(Math.log(Math.PI)).sub(value.sub(this.loc).div(this.scale).pow(2).log1p());
  }
  override cdf(value: Tensor): Tensor {
    this.checkValue("cdf", value);
    return value.sub(this.loc).div(this.scale).atan().div(Math.PI).add(0.5);
  }
  override icdf(value: Tensor): Tensor {
    return value.sub(0.5).mul(Math.PI).tan().mul(this.scale).add(this.loc);
  }
  override entropy(): Tensor {
    return this.scale.log().add(Math.log(4 * Math.PI));
  }
}

/** |x| of a Cauchy x around 0. */
export class HalfCauchy extends TransformedDistribution<Cauchy> {
  constructor(...given: ScaleCall) {
    const a = scaleOf(given, new.target.name);
    super(new Cauchy(0, a.scale, false), new AbsTransform(), a.validateArgs);
    this.checkParameters();
  }
  override get argConstraints(): Readonly<Record<string, Constraint>> {
    return { scale: constraints.positive };
  }
  override get support(): Constraint {
    return constraints.nonnegative;
  }
  get scale(): Tensor {
    return this.baseDist.scale;
  }
  override get mean(): Tensor {
    return filled(this.extendedShape(), Infinity, this.scale);
  }
  override get mode(): Tensor {
    return zerosLike(this.scale);
  }
  override get variance(): Tensor {
    return this.baseDist.variance;
  }
  /** @param value - A tensor, or a number. */
  override logProb(value: Tensor | number): Tensor {
    const v = isTensor(value) ? value.to(kindOf(this.scale)) : this.scale.newFull([], value);
    this.checkValue("logProb", v);
    return choose(v.ge(0), this.baseDist.logProb(v).add(Math.log(2)), -Infinity);
  }
  override cdf(value: Tensor): Tensor {
    this.checkValue("cdf", value);
    return this.baseDist.cdf(value).mul(2).sub(1);
  }
  override icdf(prob: Tensor): Tensor {
    return this.baseDist.icdf(prob.add(1).div(2));
  }
  override entropy(): Tensor {
    return this.baseDist.entropy().sub(Math.log(2));
  }
}

export interface StudentTArguments {
  /** > 0: degrees of freedom. */
  readonly df: ParameterLike;
  /** Default 0. */
  readonly loc?: ParameterLike;
  /** Default 1. */
  readonly scale?: ParameterLike;
  readonly validateArgs?: boolean | null;
}
const readStudent = signature("StudentT", {
  df: parameter,
  loc: byDefault(0, parameter),
  scale: byDefault(1, parameter),
  validateArgs: VALIDATE,
});
export type StudentTCall = Call<
  StudentTArguments,
  ["df", "loc", "scale", "validateArgs"],
  [df: ParameterLike, loc?: ParameterLike, scale?: ParameterLike, validateArgs?: boolean | null]
>;
/** log Γ(½). */
const LGAMMA_HALF = 0.5723649429247001;

/** The mean of normals over their own deviation, which is only estimated. */
export class StudentT extends LocScaleFamily {
  readonly df: Tensor;
  /** @internal */
  readonly chi2: Chi2;
  constructor(...given: StudentTCall) {
    const a = readStudent(given, new.target.name);
    const [df, loc, scale] = broadcastThree(a.df, a.loc, a.scale);
    super(loc, scale, a.validateArgs);
    this.df = df;
    this.checkParameters();
    this.chi2 = new Chi2(df, this.validatesArgs);
  }
  protected override expanded(shape: Shape): object {
    return { ...super.expanded(shape), df: this.df.expand(shape), chi2: this.chi2.expand(shape) };
  }
  override get argConstraints(): Readonly<Record<string, Constraint>> {
    return { df: constraints.positive, ...LOC_SCALE_CONSTRAINTS };
  }
  override get mean(): Tensor {
    return this.loc.maskedFill(this.df.le(1), NaN);
  }
  override get variance(): Tensor {
    const finite = this.df.gt(2);
    const safe = choose(finite, this.df, 3);
    const variance = where(finite, this.scale.pow(2).mul(safe).div(safe.sub(2)), Infinity);
    return variance.maskedFill(this.df.le(1), NaN);
  }
  override rsample(...given: SampleCall): Tensor {
    const sampleShape = sampleShapeOf(given, "rsample");
    const x = standardNormal(this.extendedShape(sampleShape), this.df);
    const z = this.chi2.rsample(sampleShape);
    return this.loc.add(this.scale.mul(x.mul(z.div(this.df).rsqrt())));
  }
  override logProb(value: Tensor): Tensor {
    this.checkValue("logProb", value);
    const y = value.sub(this.loc).div(this.scale);
    const z = this.scale
      .log()
      .add(this.df.log().mul(0.5))
      .add(0.5 * Math.log(Math.PI))
      .add(this.df.mul(0.5).lgamma())
      .sub(this.df.add(1).mul(0.5).lgamma());
    return this.df.add(1).mul(-0.5).mul(y.pow(2).div(this.df).log1p()).sub(z);
  }
  override entropy(): Tensor {
    const [half, more] = [this.df.mul(0.5), this.df.add(1).mul(0.5)];
    const logBeta = half.lgamma().add(LGAMMA_HALF).sub(more.lgamma());
    return this.scale
      .log()
      .add(more.mul(more.digamma().sub(half.digamma())))
      .add(this.df.log().mul(0.5))
      .add(logBeta);
  }
}
