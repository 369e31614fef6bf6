/** The normal distribution, and the lognormal. */
import { noGrad } from "../autograd/modes.js";
import { normal, zerosLike } from "../ops/index.js";
import type { Tensor } from "../tensor/tensor.js";
import { sampleShapeOf, type SampleCall, type Shape } from "./arguments.js";
import * as constraints from "./constraints.js";
import type { Constraint } from "./constraints.js";
import { ExponentialFamily } from "./distribution.js";
import { LOC_SCALE_CONSTRAINTS, locScaleOf, scaleOf, type LocScaleCall, type ScaleCall } from "./loc-scale.js";
import { broadcastTwo, choose, over, standardNormal } from "./numbers.js";
import { TransformedDistribution } from "./transformed.js";
import { AbsTransform, ExpTransform } from "./transforms.js";

/** Mean `loc`, standard deviation `scale`. */
export class Normal extends ExponentialFamily {
  readonly loc: Tensor;
  readonly scale: Tensor;

  constructor(...given: LocScaleCall) {
    const a = locScaleOf(given, new.target.name);
    const [loc, scale] = broadcastTwo(a.loc, a.scale);
    super(loc.shape, [], a.validateArgs);
    this.loc = loc;
    this.scale = scale;
    this.checkParameters();
  }
  protected override expanded(shape: Shape): object {
    return { loc: this.loc.expand(shape), scale: this.scale.expand(shape) };
  }
  override get argConstraints(): Readonly<Record<string, Constraint>> {
    return LOC_SCALE_CONSTRAINTS;
  }
  override get support(): Constraint {
    return constraints.real;
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
  override get stddev(): Tensor {
    return this.scale;
  }
  override get variance(): Tensor {
    return this.stddev.pow(2);
  }
  override sample(...given: SampleCall): Tensor {
    const shape = this.extendedShape(sampleShapeOf(given));
    return noGrad(() => normal(this.loc.expand(shape), this.scale.expand(shape)));
  }
  override rsample(...given: SampleCall): Tensor {
    const shape = this.extendedShape(sampleShapeOf(given, "rsample"));
    return this.loc.add(standardNormal(shape, this.loc).mul(this.scale));
  }
  override logProb(value: Tensor): Tensor {
    this.checkValue("logProb", value);
    const variance = this.scale.pow(2);
    return value
      .sub(this.loc)
      .pow(2)
      .neg()
      .div(variance.mul(2))
      .sub(this.scale.log())
      .sub(Math.log(Math.sqrt(2 * Math.PI)));
  }
  override cdf(value: Tensor): Tensor {
    this.checkValue("cdf", value);
    return value.sub(this.loc).mul(this.scale.reciprocal()).div(Math.sqrt(2)).erf().add(1).mul(0.5);
  }
  override icdf(value: Tensor): Tensor {
    return this.loc.add(this.scale.mul(value.mul(2).sub(1).erfinv()).mul(Math.sqrt(2)));
  }
  override entropy(): Tensor {
    return this.scale.log().add(0.5 + 0.5 * Math.log(2 * Math.PI));
  }
  override get naturalParams(): readonly [Tensor, Tensor] {
    return [this.loc.div(this.scale.pow(2)), this.scale.pow(2).reciprocal().mul(-0.5)];
  }
  override logNormalizer(x: Tensor, y: Tensor): Tensor {
    return x.pow(2).mul(-0.25).div(y).add(over(-Math.PI, y).log().mul(0.5));
  }
  protected override get meanCarrierMeasure(): number {
    return 0;
  }
}

/** exp(x) of a normal x: `loc` and `scale` are those of the logarithm. */
export class LogNormal extends TransformedDistribution<Normal> {
  constructor(...given: LocScaleCall) {
    const a = locScaleOf(given, new.target.name);
    super(new Normal(a.loc, a.scale, a.validateArgs), new ExpTransform(), a.validateArgs);
    this.checkParameters();
  }
  override get argConstraints(): Readonly<Record<string, Constraint>> {
    return LOC_SCALE_CONSTRAINTS;
  }
  override get support(): Constraint {
    return constraints.positive;
  }
  get loc(): Tensor {
    return this.baseDist.loc;
  }
  get scale(): Tensor {
    return this.baseDist.scale;
  }
  override get mean(): Tensor {
    return this.loc.add(this.scale.pow(2).div(2)).exp();
  }
  override get mode(): Tensor {
    return this.loc.sub(this.scale.square()).exp();
  }
  override get variance(): Tensor {
    const squared = this.scale.pow(2);
    return squared.expm1().mul(this.loc.mul(2).add(squared).exp());
  }
  override entropy(): Tensor {
    return this.baseDist.entropy().add(this.loc);
  }
}

/** |x| of a normal x around 0. */
export class HalfNormal extends TransformedDistribution<Normal> {
  constructor(...given: ScaleCall) {
    const a = scaleOf(given, new.target.name);
    super(new Normal(0, a.scale, false), new AbsTransform(), a.validateArgs);
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
    return this.scale.mul(Math.sqrt(2 / Math.PI));
  }
  override get mode(): Tensor {
    return zerosLike(this.scale);
  }
  override get variance(): Tensor {
    return this.scale.pow(2).mul(1 - 2 / Math.PI);
  }
  override logProb(value: Tensor): Tensor {
    this.checkValue("logProb", value);
    return choose(value.ge(0), this.baseDist.logProb(value).add(Math.log(2)), -Infinity);
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
