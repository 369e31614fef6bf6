/** Tosses of a coin: one, until the first head, or a whole number that is somewhere between. */
import { noGrad } from "../autograd/modes.js";
import { ArgumentError } from "../errors.js";
import { listOf, real, byDefault } from "../kinds.js";
import {
  arange,
  bernoulli,
  binaryCrossEntropyWithLogits,
  fullLike,
  logit,
  max,
  onesLike,
  special,
  zerosLike,
} from "../ops/index.js";
import { signature, type Call } from "../signature.js";
import { finfo } from "../tensor/dtype.js";
import type { Tensor } from "../tensor/tensor.js";
import {
  expandOf,
  sampleShapeOf,
  VALIDATE,
  type EnumerateCall,
  type ParameterLike,
  type SampleCall,
} from "./arguments.js";
import * as constraints from "./constraints.js";
import type { Constraint } from "./constraints.js";
import {
  broadcastTwo,
  choose,
  clampProbs,
  enumerated,
  kindOf,
  minus,
  over,
  ProbsOrLogits,
  uniform,
} from "./numbers.js";
import { BinaryFamily, binaryOf, ODDS, oddsOf, type BinaryCall } from "./probs.js";

const crossEntropy = (logits: Tensor, target: Tensor): Tensor =>
  binaryCrossEntropyWithLogits(logits, target, { reduction: "none" });

/** 1 with probability p, else 0. */
export class Bernoulli extends BinaryFamily {
  constructor(...given: BinaryCall) {
    const a = binaryOf(given, new.target.name);
    super(oddsOf(new.target.name, a), a.validateArgs);
    this.checkParameters();
  }
  override get support(): Constraint {
    return constraints.boolean;
  }
  override get hasEnumerateSupport(): boolean {
    return true;
  }
  override get mean(): Tensor {
    return this.probs;
  }
  override get mode(): Tensor {
    const { probs } = this;
    return probs.ge(0.5).to(probs).maskedFill(probs.eq(0.5), NaN);
  }
  override get variance(): Tensor {
    return this.probs.mul(minus(1, this.probs));
  }
  override sample(...given: SampleCall): Tensor {
    const shape = this.extendedShape(sampleShapeOf(given));
    return noGrad(() => bernoulli(this.probs.expand(shape)));
  }
  override logProb(value: Tensor): Tensor {
    this.checkValue("logProb", value);
    const [logits, target] = broadcastTwo(this.logits, value);
    return crossEntropy(logits, target).neg();
  }
  override entropy(): Tensor {
    return crossEntropy(this.logits, this.probs);
  }
  override enumerateSupport(...given: EnumerateCall): Tensor {
    const expands = expandOf(given);
    return enumerated(arange(2, kindOf(this.odds.param)), this.batchShape, expands);
  }
  override get naturalParams(): readonly [Tensor] {
    return [logit(this.probs)];
  }
  override logNormalizer(x: Tensor): Tensor {
    return x.exp().log1p();
  }
}

/** How many tosses fail before the first that succeeds. */
export class Geometric extends BinaryFamily {
  constructor(...given: BinaryCall) {
    const a = binaryOf(given, new.target.name);
    const odds = oddsOf(new.target.name, a);
    super(odds, a.validateArgs);
    this.checkParameters();
    if (this.validatesArgs && odds.given === "probs" && odds.param.gt(0).all().item() === 0)
      throw new ArgumentError(new.target.name, "probs to be > 0", odds.param);
  }
  override get support(): Constraint {
    return constraints.nonnegativeInteger;
  }
  override get mean(): Tensor {
    return over(1, this.probs).sub(1);
  }
  override get mode(): Tensor {
    return zerosLike(this.probs);
  }
  override get variance(): Tensor {
    return over(1, this.probs).sub(1).div(this.probs);
  }
  override sample(...given: SampleCall): Tensor {
    const shape = this.extendedShape(sampleShapeOf(given));
    return noGrad(() => {
      const u = this.probs.newEmpty(shape).uniform_(finfo(this.probs.dtype).tiny, 1);
      return u.log().div(this.probs.neg().log1p()).floor();
    });
  }
  override logProb(value: Tensor): Tensor {
    this.checkValue("logProb", value);
    const [v, p] = broadcastTwo(value, this.probs);
    const probs = p.maskedFill(p.eq(1).bitwiseAnd(v.eq(0)), 0);
    return v.mul(probs.neg().log1p()).add(this.probs.log());
  }
  override entropy(): Tensor {
    return crossEntropy(this.logits, this.probs).div(this.probs);
  }
}

export interface ContinuousBernoulliArguments {
  readonly probs?: ParameterLike | null;
  readonly logits?: ParameterLike | null;
  /** Between these, around ½, where the formula is unstable, a Taylor series stands for it. Default [0.499, 0.501]. */
  readonly lims?: readonly number[];
  readonly validateArgs?: boolean | null;
}
const readContinuous = signature("ContinuousBernoulli", {
  ...ODDS,
  lims: byDefault([0.499, 0.501], listOf(real("(0, 1)"), 2)),
  validateArgs: VALIDATE,
});
export type ContinuousBernoulliCall = Call<
  ContinuousBernoulliArguments,
  ["probs", "logits", "lims", "validateArgs"],
  [probs?: ParameterLike | null, logits?: ParameterLike | null, lims?: readonly number[], validateArgs?: boolean | null]
>;

/**
 * Numbers of [0, 1] with a density proportional to `pˣ (1 − p)¹⁻ˣ`.
 * @see Loaiza-Ganem and Cunningham, 2019, arXiv:1907.06845.
 */
export class ContinuousBernoulli extends BinaryFamily {
  readonly lims: readonly [number, number];
  constructor(...given: ContinuousBernoulliCall) {
    const a = readContinuous(given, new.target.name);
    const odds = oddsOf(new.target.name, a, true);
    super(odds, a.validateArgs);
    this.lims = [a.lims[0] as number, a.lims[1] as number];
    this.checkParameters();
    if (odds.given === "probs")
      Object.assign(this, { odds: new ProbsOrLogits("probs", clampProbs(odds.param), true, true) });
  }
  override get support(): Constraint {
    return constraints.unitInterval;
  }
  override get hasRsample(): boolean {
    return true;
  }
  override get mean(): Tensor {
    const cut = cutProbs(this);
    const mean = cut.div(cut.mul(2).sub(1)).add(over(1, cut.neg().log1p().sub(cut.log())));
    const x = this.probs.sub(0.5);
    const taylor = x
      .pow(2)
      .mul(16 / 45)
      .add(1 / 3)
      .mul(x)
      .add(0.5);
    return choose(stable(this), mean, taylor);
  }
  override get variance(): Tensor {
    const cut = cutProbs(this);
    const variance = cut
      .mul(cut.sub(1))
      .div(minus(1, cut.mul(2)).pow(2))
      .add(over(1, cut.neg().log1p().sub(cut.log()).pow(2)));
    const x = this.probs.sub(0.5).pow(2);
    const taylor = minus(1 / 12, minus(1 / 15, x.mul(128 / 945)).mul(x));
    return choose(stable(this), variance, taylor);
  }
  override rsample(...given: SampleCall): Tensor {
    return this.icdf(uniform(this.extendedShape(sampleShapeOf(given, "rsample")), this.probs));
  }
  override logProb(value: Tensor): Tensor {
    this.checkValue("logProb", value);
    const [logits, target] = broadcastTwo(this.logits, value);
    return crossEntropy(logits, target).neg().add(this.logNorm());
  }
  override cdf(value: Tensor): Tensor {
    this.checkValue("cdf", value);
    const cut = cutProbs(this);
    const cdfs = cut
      .pow(value)
      .mul(minus(1, cut).pow(minus(1, value)))
      .add(cut)
      .sub(1)
      .div(cut.mul(2).sub(1));
    const unbounded = choose(stable(this), cdfs, value);
    return choose(value.le(0), zerosLike(value), choose(value.ge(1), onesLike(value), unbounded));
  }
  override icdf(value: Tensor): Tensor {
    const cut = cutProbs(this);
    const low = cut.neg().log1p();
    const quantile = cut
      .neg()
      .add(value.mul(cut.mul(2).sub(1)))
      .log1p()
      .sub(low)
      .div(cut.log().sub(low));
    return choose(stable(this), quantile, value);
  }
  override entropy(): Tensor {
    const low = this.probs.neg().log1p();
    return this.mean.mul(low.sub(this.probs.log())).sub(this.logNorm()).sub(low);
  }
  /** @internal Logarithm of the normalizing constant. */
  logNorm(): Tensor {
    const cut = cutProbs(this);
    const below = choose(cut.le(0.5), cut, zerosLike(cut));
    const above = choose(cut.ge(0.5), cut, onesLike(cut));
    const norm = cut
      .neg()
      .log1p()
      .sub(cut.log())
      .abs()
      .log()
      .sub(choose(cut.le(0.5), below.mul(-2).log1p(), above.mul(2).sub(1).log()));
    const x = this.probs.sub(0.5).pow(2);
    const taylor = x
      .mul(104 / 45)
      .add(4 / 3)
      .mul(x)
      .add(Math.log(2));
    return choose(stable(this), norm, taylor);
  }
  override get naturalParams(): readonly [Tensor] {
    return [this.logits];
  }
  override logNormalizer(x: Tensor): Tensor {
    const [low, high] = this.lims;
    const outside = max(x.le(low - 0.5), x.gt(high - 0.5));
    const cut = choose(outside, x, fullLike(x, low - 0.5));
    const norm = special.expm1(cut).abs().log().sub(cut.abs().log());
    const taylor = x.mul(0.5).add(x.pow(2).div(24)).sub(x.pow(4).div(2880));
    return choose(outside, norm, taylor);
  }
  protected override get meanCarrierMeasure(): number {
    return 0;
  }
}

/** Where the closed formula holds. */
const stable = (d: ContinuousBernoulli): Tensor => max(d.probs.le(d.lims[0]), d.probs.gt(d.lims[1]));
const cutProbs = (d: ContinuousBernoulli): Tensor => choose(stable(d), d.probs, fullLike(d.probs, d.lims[0]));
