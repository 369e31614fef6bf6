/** Discrete choices made continuous by a temperature, so that gradients pass: the Concrete, or Gumbel-softmax, distribution. */
import { fullLike } from "../ops/index.js";
import { signature, type Call } from "../signature.js";
import { isTensor } from "../tensor/handle.js";
import type { Tensor } from "../tensor/tensor.js";
import { checkOneGiven, parameter, sampleShapeOf, VALIDATE, type ParameterLike, type SampleCall } from "./arguments.js";
import { CATEGORICAL_CONSTRAINTS, CategoricalFamily, WEIGHTS } from "./categorical.js";
import * as constraints from "./constraints.js";
import type { Constraint } from "./constraints.js";
import { broadcastTwo, clampProbs, uniform } from "./numbers.js";
import { BINARY_CONSTRAINTS, ODDS, OddsFamily, oddsOf } from "./probs.js";
import { TransformedDistribution } from "./transformed.js";
import { ExpTransform, SigmoidTransform } from "./transforms.js";

export interface RelaxedBernoulliArguments {
  /** > 0: near 0 samples are nearly 0 or 1. */
  readonly temperature: ParameterLike;
  readonly probs?: ParameterLike | null;
  readonly logits?: ParameterLike | null;
  readonly validateArgs?: boolean | null;
}
const readBernoulli = signature("RelaxedBernoulli", { temperature: parameter, ...ODDS, validateArgs: VALIDATE });
export type RelaxedBernoulliCall = Call<
  RelaxedBernoulliArguments,
  ["temperature", "probs", "logits", "validateArgs"],
  [
    temperature: ParameterLike,
    probs?: ParameterLike | null,
    logits?: ParameterLike | null,
    validateArgs?: boolean | null,
  ]
>;
const asTensor = (temperature: ParameterLike, like: Tensor): Tensor =>
  isTensor(temperature) ? temperature : like.newFull([], temperature);

/** The logits of a relaxed Bernoulli. */
export class LogitRelaxedBernoulli extends OddsFamily {
  readonly temperature: Tensor;
  constructor(...given: RelaxedBernoulliCall) {
    const a = readBernoulli(given, new.target.name);
    const odds = oddsOf(new.target.name, a);
    super(odds, odds.param.shape, a.validateArgs);
    this.temperature = asTensor(a.temperature, odds.param.detach());
    this.checkParameters();
  }
  override get argConstraints(): Readonly<Record<string, Constraint>> {
    return BINARY_CONSTRAINTS;
  }
  override get support(): Constraint {
    return constraints.real;
  }
  override rsample(...given: SampleCall): Tensor {
    const shape = this.extendedShape(sampleShapeOf(given, "rsample"));
    const probs = clampProbs(this.probs.expand(shape));
    const u = clampProbs(uniform(shape, probs));
    return u.log().sub(u.neg().log1p()).add(probs.log()).sub(probs.neg().log1p()).div(this.temperature);
  }
  override logProb(value: Tensor): Tensor {
    this.checkValue("logProb", value);
    const [logits, v] = broadcastTwo(this.logits, value);
    const difference = logits.sub(v.mul(this.temperature));
    return this.temperature.log().add(difference).sub(difference.exp().log1p().mul(2));
  }
}

/** Relaxed choices, made of their logits or logarithms, which the base distribution is over. */
abstract class RelaxedFamily<
  D extends LogitRelaxedBernoulli | ExpRelaxedCategorical,
> extends TransformedDistribution<D> {
  override get hasRsample(): boolean {
    return true;
  }
  get temperature(): Tensor {
    return this.baseDist.temperature;
  }
  get probs(): Tensor {
    return this.baseDist.probs;
  }
  get logits(): Tensor {
    return this.baseDist.logits;
  }
}

/**
 * Numbers of [0, 1], near 0 or 1 for a low temperature.
 * @see Maddison et al., 2016, arXiv:1611.00712; Jang et al., 2016, arXiv:1611.01144.
 */
export class RelaxedBernoulli extends RelaxedFamily<LogitRelaxedBernoulli> {
  constructor(...given: RelaxedBernoulliCall) {
    const a = readBernoulli(given, new.target.name);
    checkOneGiven(new.target.name, { probs: a.probs, logits: a.logits });
    super(new LogitRelaxedBernoulli(a.temperature, a.probs, a.logits), new SigmoidTransform(), a.validateArgs);
    this.checkParameters();
  }
  protected override follows(name: string): boolean {
    return name !== this.baseDist.odds.given;
  }
  override get argConstraints(): Readonly<Record<string, Constraint>> {
    return BINARY_CONSTRAINTS;
  }
  override get support(): Constraint {
    return constraints.unitInterval;
  }
}

export interface RelaxedCategoricalArguments {
  /** > 0: near 0 samples are nearly one-hot. */
  readonly temperature: ParameterLike;
  readonly probs?: Tensor | null;
  readonly logits?: Tensor | null;
  readonly validateArgs?: boolean | null;
}
const readCategorical = signature("RelaxedOneHotCategorical", {
  temperature: parameter,
  ...WEIGHTS,
  validateArgs: VALIDATE,
});
export type RelaxedCategoricalCall = Call<
  RelaxedCategoricalArguments,
  ["temperature", "probs", "logits", "validateArgs"],
  [temperature: ParameterLike, probs?: Tensor | null, logits?: Tensor | null, validateArgs?: boolean | null]
>;

/** The logarithms of a relaxed one-hot vector. */
export class ExpRelaxedCategorical extends CategoricalFamily {
  readonly temperature: Tensor;
  constructor(...given: RelaxedCategoricalCall) {
    const a = readCategorical(given, new.target.name);
    super(new.target.name, a);
    this.temperature = asTensor(a.temperature, this.categorical.odds.param.detach());
    this.checkParameters();
  }
  override get support(): Constraint {
    return constraints.realVector;
  }
  override get hasRsample(): boolean {
    return true;
  }
  override rsample(...given: SampleCall): Tensor {
    const shape = this.extendedShape(sampleShapeOf(given, "rsample"));
    const gumbels = clampProbs(uniform(shape, this.logits)).log().neg().log().neg();
    const scores = this.logits.add(gumbels).div(this.temperature);
    return scores.sub(scores.logsumexp(-1, true));
  }
  override logProb(value: Tensor): Tensor {
    this.checkValue("logProb", value);
    const n = this.categorical.numEvents;
    const [logits, v] = broadcastTwo(this.logits, value);
    const scale = fullLike(this.temperature, n)
      .lgamma()
      .sub(this.temperature.log().mul(-(n - 1)));
    const score = logits.sub(v.mul(this.temperature));
    return score.sub(score.logsumexp(-1, true)).sum(-1).add(scale);
  }
}

/** Vectors of the simplex, nearly one-hot for a low temperature. */
export class RelaxedOneHotCategorical extends RelaxedFamily<ExpRelaxedCategorical> {
  constructor(...given: RelaxedCategoricalCall) {
    const a = readCategorical(given, new.target.name);
    checkOneGiven(new.target.name, { probs: a.probs, logits: a.logits });
    const base = new ExpRelaxedCategorical(a.temperature, a.probs, a.logits, a.validateArgs);
    super(base, new ExpTransform(), a.validateArgs);
    this.checkParameters();
  }
  protected override follows(name: string): boolean {
    return name !== this.baseDist.categorical.odds.given;
  }
  override get argConstraints(): Readonly<Record<string, Constraint>> {
    return CATEGORICAL_CONSTRAINTS;
  }
  override get support(): Constraint {
    return constraints.simplex;
  }
}
