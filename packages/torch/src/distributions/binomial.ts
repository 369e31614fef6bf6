/** Counts: of successes, of failures before so many successes, of each class, of events in a time. */
import { noGrad } from "../autograd/modes.js";
import { lacking } from "./arguments.js";
import { byDefault, whole } from "../kinds.js";
import * as ops from "../ops/index.js";
import { signature, type Call } from "../signature.js";
import type { Tensor } from "../tensor/tensor.js";
import {
  checkOneGiven,
  expandOf,
  parameter,
  sampleShapeOf,
  VALIDATE,
  type EnumerateCall,
  type ParameterLike,
  type SampleCall,
  type Shape,
} from "./arguments.js";
import { CategoricalFamily, WEIGHTS } from "./categorical.js";
import * as constraints from "./constraints.js";
import type { Constraint } from "./constraints.js";
import { Gamma } from "./gamma.js";
import { broadcastTwo, enumerated, kindOf, minus, ProbsOrLogits } from "./numbers.js";
import { BINARY_CONSTRAINTS, ODDS, OddsFamily } from "./probs.js";
import { RateFamily } from "./rate.js";

export interface BinomialArguments {
  /** How many tosses. Default 1. */
  readonly totalCount?: ParameterLike;
  readonly probs?: ParameterLike | null;
  readonly logits?: ParameterLike | null;
  readonly validateArgs?: boolean | null;
}
const readBinomial = signature("Binomial", { totalCount: byDefault(1, parameter), ...ODDS, validateArgs: VALIDATE });
export type BinomialCall = Call<
  BinomialArguments,
  ["totalCount", "probs", "logits", "validateArgs"],
  [
    totalCount?: ParameterLike,
    probs?: ParameterLike | null,
    logits?: ParameterLike | null,
    validateArgs?: boolean | null,
  ]
>;

/** Counts with one probability each. */
abstract class CountFamily extends OddsFamily {
  readonly totalCount: Tensor;
  constructor(fn: string, a: Required<BinomialArguments>) {
    checkOneGiven(fn, { probs: a.probs, logits: a.logits });
    const given = (a.probs ?? a.logits) as ParameterLike;
    const [total, param] = broadcastTwo(a.totalCount, given);
    super(new ProbsOrLogits(a.probs === null ? "logits" : "probs", param, true), param.shape, a.validateArgs);
    this.totalCount = total.typeAs(param);
  }
  protected override expanded(shape: Shape): object {
    return { ...super.expanded(shape), totalCount: this.totalCount.expand(shape) };
  }
}

/** max(x, 0), with the gradient ½ at 0. */
const clampByZero = (x: Tensor): Tensor =>
  x
    .clamp(0)
    .add(x)
    .sub(x.clamp({ max: 0 }))
    .div(2);

/** How many of `totalCount` tosses succeed. */
export class Binomial extends CountFamily {
  constructor(...given: BinomialCall) {
    super(new.target.name, readBinomial(given, new.target.name));
    this.checkParameters();
  }
  override get argConstraints(): Readonly<Record<string, Constraint>> {
    return { totalCount: constraints.nonnegativeInteger, ...BINARY_CONSTRAINTS };
  }
  override get support(): Constraint {
    return constraints.integerInterval(0, this.totalCount);
  }
  override get hasEnumerateSupport(): boolean {
    return true;
  }
  override get mean(): Tensor {
    return this.totalCount.mul(this.probs);
  }
  override get mode(): Tensor {
    return this.totalCount.add(1).mul(this.probs).floor().clamp(null, this.totalCount);
  }
  override get variance(): Tensor {
    return this.totalCount.mul(this.probs).mul(minus(1, this.probs));
  }
  override sample(...given: SampleCall): Tensor {
    const shape = this.extendedShape(sampleShapeOf(given));
    return noGrad(() => ops.binomial(this.totalCount.expand(shape), this.probs.expand(shape)));
  }
  override logProb(value: Tensor): Tensor {
    this.checkValue("logProb", value);
    const { totalCount: n, logits } = this;
    const normalizer = n.mul(clampByZero(logits)).add(n.mul(logits.abs().neg().exp().log1p())).sub(n.add(1).lgamma());
    return value.mul(logits).sub(value.add(1).lgamma()).sub(n.sub(value).add(1).lgamma()).sub(normalizer);
  }
  override entropy(): Tensor {
    const logs = this.logProb(this.enumerateSupport(false));
    return logs.exp().mul(logs).sum(0).neg();
  }
  override enumerateSupport(...given: EnumerateCall): Tensor {
    const expands = expandOf(given);
    const most = this.totalCount.max().item();
    if (this.totalCount.min().item() !== most) throw lacking(this, "enumerating with unequal total counts");
    return enumerated(ops.arange(1 + most, kindOf(this.odds.param)), this.batchShape, expands);
  }
}

export interface NegativeBinomialArguments {
  /** How many failures end the tossing: any number ≥ 0. */
  readonly totalCount: ParameterLike;
  /** Probabilities of a success, in [0, 1). */
  readonly probs?: ParameterLike | null;
  readonly logits?: ParameterLike | null;
  readonly validateArgs?: boolean | null;
}
const readNegative = signature("NegativeBinomial", { totalCount: parameter, ...ODDS, validateArgs: VALIDATE });
export type NegativeBinomialCall = Call<
  NegativeBinomialArguments,
  ["totalCount", "probs", "logits", "validateArgs"],
  [
    totalCount: ParameterLike,
    probs?: ParameterLike | null,
    logits?: ParameterLike | null,
    validateArgs?: boolean | null,
  ]
>;

/** How many tosses succeed before `totalCount` have failed. */
export class NegativeBinomial extends CountFamily {
  constructor(...given: NegativeBinomialCall) {
    super(new.target.name, readNegative(given, new.target.name));
    this.checkParameters();
  }
  override get argConstraints(): Readonly<Record<string, Constraint>> {
    return {
      totalCount: constraints.greaterThanEq(0),
      probs: constraints.halfOpenInterval(0, 1),
      logits: constraints.real,
    };
  }
  override get support(): Constraint {
    return constraints.nonnegativeInteger;
  }
  override get mean(): Tensor {
    return this.totalCount.mul(this.logits.exp());
  }
  override get mode(): Tensor {
    return this.totalCount.sub(1).mul(this.logits.exp()).floor().clamp(0);
  }
  override get variance(): Tensor {
    return this.mean.div(this.logits.neg().sigmoid());
  }
  override sample(...given: SampleCall): Tensor {
    const shape = sampleShapeOf(given);
    return noGrad(() => {
      const rates = new Gamma(this.totalCount, this.logits.neg().exp(), false);
      return ops.poisson(rates.sample(shape));
    });
  }
  override logProb(value: Tensor): Tensor {
    this.checkValue("logProb", value);
    const { totalCount: n, logits } = this;
    const unnormalized = n.mul(ops.logSigmoid(logits.neg())).add(value.mul(ops.logSigmoid(logits)));
    const normalization = n.add(value).lgamma().neg().add(value.add(1).lgamma()).add(n.lgamma());
    return unnormalized.sub(normalization.maskedFill(n.add(value).eq(0), 0));
  }
}

export interface MultinomialArguments {
  /** Draws per sample. Default 1. */
  readonly totalCount?: number;
  readonly probs?: Tensor | null;
  readonly logits?: Tensor | null;
  readonly validateArgs?: boolean | null;
}
const readMultinomial = signature("Multinomial", {
  totalCount: byDefault(1, whole("[0, ∞)")),
  ...WEIGHTS,
  validateArgs: VALIDATE,
});
export type MultinomialCall = Call<
  MultinomialArguments,
  ["totalCount", "probs", "logits", "validateArgs"],
  [totalCount?: number, probs?: Tensor | null, logits?: Tensor | null, validateArgs?: boolean | null]
>;

/** How often each class came up in `totalCount` draws: vectors of counts, of the dtype of the weights. */
export class Multinomial extends CategoricalFamily {
  readonly totalCount: number;
  constructor(...given: MultinomialCall) {
    const a = readMultinomial(given, new.target.name);
    super(new.target.name, a);
    this.totalCount = a.totalCount;
    this.checkParameters();
  }
  override get support(): Constraint {
    return constraints.multinomial(this.totalCount);
  }
  override get mean(): Tensor {
    return this.probs.mul(this.totalCount);
  }
  override get variance(): Tensor {
    return this.probs.mul(this.totalCount).mul(minus(1, this.probs));
  }
  override sample(...given: SampleCall): Tensor {
    const shape = sampleShapeOf(given);
    return noGrad(() => {
      const drawn = this.categorical.sample([this.totalCount, ...shape]).movedim(0, -1);
      const counts = ops.zeros(this.extendedShape(shape), { dtype: "int64", device: drawn.device });
      return counts.scatterAdd_(-1, drawn, ops.onesLike(drawn)).typeAs(this.probs);
    });
  }
  override logProb(value: Tensor): Tensor {
    this.checkValue("logProb", value);
    const [logits, counts] = broadcastTwo(this.logits, value);
    const safe = logits.maskedFill(counts.eq(0).bitwiseAnd(logits.eq(-Infinity)), 0);
    return counts.sum(-1).add(1).lgamma().sub(counts.add(1).lgamma().sum(-1)).add(safe.mul(counts).sum(-1));
  }
  override entropy(): Tensor {
    const n = this.totalCount;
    const binomial = new Binomial(n, this.probs);
    const support = binomial.enumerateSupport(false).narrow(0, 1, n);
    const logFactorial = ops.full([], BigInt(n), { device: this.probs.device }).add(1).lgamma();
    const weighted = binomial.logProb(support).exp().mul(support.add(1).lgamma());
    return this.categorical
      .entropy()
      .mul(n)
      .sub(logFactorial)
      .add(weighted.sum([0, -1]));
  }
}

/** How many events happen where `rate` are expected. */
export class Poisson extends RateFamily {
  override get argConstraints(): Readonly<Record<string, Constraint>> {
    return { rate: constraints.nonnegative };
  }
  override get support(): Constraint {
    return constraints.nonnegativeInteger;
  }
  override get mean(): Tensor {
    return this.rate;
  }
  override get mode(): Tensor {
    return this.rate.floor();
  }
  override get variance(): Tensor {
    return this.rate;
  }
  override sample(...given: SampleCall): Tensor {
    const shape = this.extendedShape(sampleShapeOf(given));
    return noGrad(() => ops.poisson(this.rate.expand(shape)));
  }
  override logProb(value: Tensor): Tensor {
    this.checkValue("logProb", value);
    const [rate, counts] = broadcastTwo(this.rate, value);
    return counts.xlogy(rate).sub(rate).sub(counts.add(1).lgamma());
  }
  override get naturalParams(): readonly [Tensor] {
    return [this.rate.log()];
  }
  override logNormalizer(x: Tensor): Tensor {
    return x.exp();
  }
}
