/** The gamma distribution and what is made of it. */
import { ones, special, xlogy } from "../ops/index.js";
import { aten } from "../ops/aten.js";
import { signature, type Call } from "../signature.js";
import { finfo } from "../tensor/dtype.js";
import { isTensor } from "../tensor/handle.js";
import type { Tensor } from "../tensor/tensor.js";
import { parameter, sampleShapeOf, VALIDATE, type ParameterLike, type SampleCall, type Shape } from "./arguments.js";
import * as constraints from "./constraints.js";
import type { Constraint } from "./constraints.js";
import { Distribution, ExponentialFamily } from "./distribution.js";
import { broadcastTwo, choose, kindOf, minus } from "./numbers.js";
import { TransformedDistribution } from "./transformed.js";
import { PowerTransform } from "./transforms.js";

export interface GammaArguments {
  /** > 0: the shape. */
  readonly concentration: ParameterLike;
  /** > 0: the reciprocal of the scale. */
  readonly rate: ParameterLike;
  readonly validateArgs?: boolean | null;
}
const readGamma = signature("Gamma", { concentration: parameter, rate: parameter, validateArgs: VALIDATE });
export type GammaCall = Call<
  GammaArguments,
  ["concentration", "rate", "validateArgs"],
  [concentration: ParameterLike, rate: ParameterLike, validateArgs?: boolean | null]
>;
const CONSTRAINTS = { concentration: constraints.positive, rate: constraints.positive };

/** The time until `concentration` events of a rate have happened. */
export class Gamma extends ExponentialFamily {
  readonly concentration: Tensor;
  readonly rate: Tensor;

  constructor(...given: GammaCall) {
    const a = readGamma(given, new.target.name);
    const [concentration, rate] = broadcastTwo(a.concentration, a.rate);
    super(concentration.shape, [], a.validateArgs);
    this.concentration = concentration;
    this.rate = rate;
    this.checkParameters();
  }
  protected override expanded(shape: Shape): object {
    return { concentration: this.concentration.expand(shape), rate: this.rate.expand(shape) };
  }
  override get argConstraints(): Readonly<Record<string, Constraint>> {
    return CONSTRAINTS;
  }
  override get support(): Constraint {
    return constraints.nonnegative;
  }
  override get hasRsample(): boolean {
    return true;
  }
  override get mean(): Tensor {
    return this.concentration.div(this.rate);
  }
  override get mode(): Tensor {
    return this.concentration.sub(1).div(this.rate).clamp(0);
  }
  override get variance(): Tensor {
    return this.concentration.div(this.rate.pow(2));
  }
  override rsample(...given: SampleCall): Tensor {
    const shape = this.extendedShape(sampleShapeOf(given, "rsample"));
    const value = standardGamma(this.concentration.expand(shape)).div(this.rate.expand(shape));
    // Off 0, where the logarithm is; in place, so that the gradient is that of the draw.
    value.detach().clampMin_(finfo(value.dtype).tiny);
    return value;
  }
  /** @param value - A tensor, or a number. */
  override logProb(value: Tensor | number): Tensor {
    const v = isTensor(value) ? value.to(kindOf(this.rate)) : this.rate.newFull([], value);
    this.checkValue("logProb", v);
    return xlogy(this.concentration, this.rate)
      .add(xlogy(this.concentration.sub(1), v))
      .sub(this.rate.mul(v))
      .sub(this.concentration.lgamma());
  }
  override entropy(): Tensor {
    const c = this.concentration;
    return c.sub(this.rate.log()).add(c.lgamma()).add(minus(1, c).mul(c.digamma()));
  }
  override cdf(value: Tensor): Tensor {
    this.checkValue("cdf", value);
    return special.gammainc(this.concentration, this.rate.mul(value));
  }
  override get naturalParams(): readonly [Tensor, Tensor] {
    return [this.concentration.sub(1), this.rate.neg()];
  }
  override logNormalizer(x: Tensor, y: Tensor): Tensor {
    return x.add(1).lgamma().add(x.add(1).mul(y.reciprocal().neg().log()));
  }
  protected override get meanCarrierMeasure(): number {
    return 0;
  }
}

/** Draws of rate 1, with a gradient by the concentration. */
function standardGamma(concentration: Tensor): Tensor {
  const draw = aten["_standard_gamma"];
  if (draw === undefined) throw new TypeError("this libtorch has no _standard_gamma");
  return draw(concentration);
}

export interface DfArguments {
  /** > 0: degrees of freedom. */
  readonly df: ParameterLike;
  readonly validateArgs?: boolean | null;
}
const readDf = signature("Chi2", { df: parameter, validateArgs: VALIDATE });
export type DfCall = Call<DfArguments, ["df", "validateArgs"], [df: ParameterLike, validateArgs?: boolean | null]>;

/** The sum of squares of `df` standard normals. */
export class Chi2 extends Gamma {
  constructor(...given: DfCall) {
    const { df, validateArgs } = readDf(given, new.target.name);
    super(isTensor(df) ? df.mul(0.5) : df * 0.5, 0.5, validateArgs);
  }
  override get argConstraints(): Readonly<Record<string, Constraint>> {
    return { df: constraints.positive };
  }
  get df(): Tensor {
    return this.concentration.mul(2);
  }
}

/** 1 / x of a gamma x. */
export class InverseGamma extends TransformedDistribution<Gamma> {
  constructor(...given: GammaCall) {
    const a = readGamma(given, new.target.name);
    const base = new Gamma(a.concentration, a.rate, a.validateArgs);
    super(base, new PowerTransform(ones([], kindOf(base.rate)).neg()), a.validateArgs);
    this.checkParameters();
  }
  override get argConstraints(): Readonly<Record<string, Constraint>> {
    return CONSTRAINTS;
  }
  override get support(): Constraint {
    return constraints.positive;
  }
  get concentration(): Tensor {
    return this.baseDist.concentration;
  }
  get rate(): Tensor {
    return this.baseDist.rate;
  }
  override get mean(): Tensor {
    return choose(this.concentration.gt(1), this.rate.div(this.concentration.sub(1)), Infinity);
  }
  override get mode(): Tensor {
    return this.rate.div(this.concentration.add(1));
  }
  override get variance(): Tensor {
    const c = this.concentration;
    return choose(c.gt(2), this.rate.square().div(c.sub(1).square().mul(c.sub(2))), Infinity);
  }
  override entropy(): Tensor {
    const c = this.concentration;
    return c.add(this.rate.log()).add(c.lgamma()).sub(c.add(1).mul(c.digamma()));
  }
}

export interface FisherSnedecorArguments {
  readonly df1: ParameterLike;
  readonly df2: ParameterLike;
  readonly validateArgs?: boolean | null;
}
const readFisher = signature("FisherSnedecor", { df1: parameter, df2: parameter, validateArgs: VALIDATE });
export type FisherSnedecorCall = Call<
  FisherSnedecorArguments,
  ["df1", "df2", "validateArgs"],
  [df1: ParameterLike, df2: ParameterLike, validateArgs?: boolean | null]
>;

/** The quotient of two mean squares, of `df1` and `df2` degrees of freedom: F. */
export class FisherSnedecor extends Distribution {
  readonly df1: Tensor;
  readonly df2: Tensor;
  /** @internal */
  readonly gammas: readonly [Gamma, Gamma];
  constructor(...given: FisherSnedecorCall) {
    const a = readFisher(given, new.target.name);
    const [df1, df2] = broadcastTwo(a.df1, a.df2);
    super(df1.shape, [], a.validateArgs);
    this.df1 = df1;
    this.df2 = df2;
    this.checkParameters();
    this.gammas = [new Gamma(df1.mul(0.5), df1, this.validatesArgs), new Gamma(df2.mul(0.5), df2, this.validatesArgs)];
  }
  protected override expanded(shape: Shape): object {
    return {
      df1: this.df1.expand(shape),
      df2: this.df2.expand(shape),
      gammas: this.gammas.map((gamma) => gamma.expand(shape)),
    };
  }
  override get argConstraints(): Readonly<Record<string, Constraint>> {
    return { df1: constraints.positive, df2: constraints.positive };
  }
  override get support(): Constraint {
    return constraints.positive;
  }
  override get hasRsample(): boolean {
    return true;
  }
  override get mean(): Tensor {
    const df2 = this.df2.maskedFill(this.df2.le(2), NaN);
    return df2.div(df2.sub(2));
  }
  override get mode(): Tensor {
    const mode = this.df1.sub(2).div(this.df1).mul(this.df2).div(this.df2.add(2));
    return mode.maskedFill(this.df1.le(2), NaN);
  }
  override get variance(): Tensor {
    const df2 = this.df2.maskedFill(this.df2.le(4), NaN);
    return df2
      .pow(2)
      .mul(2)
      .mul(this.df1.add(df2).sub(2))
      .div(this.df1.mul(df2.sub(2).pow(2)).mul(df2.sub(4)));
  }
  override rsample(...given: SampleCall): Tensor {
    const sampleShape = sampleShapeOf(given, "rsample");
    const shape = this.extendedShape(sampleShape);
    const x1 = this.gammas[0].rsample(sampleShape).view(shape);
    const x2 = this.gammas[1].rsample(sampleShape).view(shape);
    const { tiny } = finfo(x2.dtype);
    return x1.div(x2.clamp(tiny)).clamp(tiny);
  }
  override logProb(value: Tensor): Tensor {
    this.checkValue("logProb", value);
    const [c1, c2, ratio] = [this.df1.mul(0.5), this.df2.mul(0.5), this.df1.div(this.df2)];
    const t1 = c1.add(c2).lgamma().sub(c1.lgamma()).sub(c2.lgamma());
    const t2 = c1.mul(ratio.log()).add(c1.sub(1).mul(value.log()));
    return t1.add(t2).sub(c1.add(c2).mul(ratio.mul(value).log1p()));
  }
}
