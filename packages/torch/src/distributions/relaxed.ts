/** Discrete choices made continuous by a temperature, so that gradients pass: the Concrete, or Gumbel-softmax, distribution. */
import { fullLike } from "../ops/index.js";
import { signature, type Call } from "../signature.js";
import { isTensor } from "../tensor/handle.js";
import type { Tensor } from "../tensor/tensor.js";
import {
  checkOneGiven,
  oneOfTwo,
  parameter,
  sampleShapeOf,
  tensorOfTwo,
  VALIDATE,
  type ParameterLike,
  type SampleCall,
  type Shape,
} from "./arguments.js";
import { Categorical, CATEGORICAL_CONSTRAINTS } from "./categorical.js";
import * as constraints from "./constraints.js";
import type { Constraint } from "./constraints.js";
import { Distribution } from "./distribution.js";
import { broadcastTwo, clampProbs, uniform, type ProbsOrLogits } from "./numbers.js";
import { oddsOf } from "./probs.js";
import { TransformedDistribution } from "./transformed.js";
import { ExpTransform, SigmoidTransform } from "./transforms.js";

export interface RelaxedBernoulliArguments {
  /** > 0: near 0 samples are nearly 0 or 1. */
  readonly temperature: ParameterLike;
  readonly probs?: ParameterLike | null;
  readonly logits?: ParameterLike | null;
  readonly validateArgs?: boolean | null;
}
const readBernoulli = signature("RelaxedBernoulli", {
  temperature: parameter,
  probs: oneOfTwo,
  logits: oneOfTwo,
  validateArgs: VALIDATE,
});
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
export class LogitRelaxedBernoulli extends Distribution {
  readonly temperature: Tensor;
  readonly odds: ProbsOrLogits;
  constructor(...given: RelaxedBernoulliCall) {
    const a = readBernoulli(given, new.target.name);
    const { odds, shape } = oddsOf(new.target.name, a);
    super(shape, [], a.validateArgs);
    this.temperature = asTensor(a.temperature, odds.param.detach());
    this.odds = odds;
    this.checkParameters();
  }
  protected override expanded(shape: Shape): object {
    return { odds: this.odds.expand(shape) };
  }
  protected override follows(name: string): boolean {
    return name !== this.odds.given;
  }
  override get argConstraints(): Readonly<Record<string, Constraint>> {
    return { probs: constraints.unitInterval, logits: constraints.real };
  }
  override get support(): Constraint {
    return constraints.real;
  }
  get probs(): Tensor {
    return this.odds.probs;
  }
  get logits(): Tensor {
    return this.odds.logits;
  }
  get paramShape(): Shape {
    return this.odds.param.shape;
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

/**
 * Numbers of [0, 1], near 0 or 1 for a low temperature.
 * @see Maddison et al., 2016, arXiv:1611.00712; Jang et al., 2016, arXiv:1611.01144.
 */
export class RelaxedBernoulli extends TransformedDistribution<LogitRelaxedBernoulli> {
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
    return { probs: constraints.unitInterval, logits: constraints.real };
  }
  override get support(): Constraint {
    return constraints.unitInterval;
  }
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

export interface RelaxedCategoricalArguments {
  /** > 0: near 0 samples are nearly one-hot. */
  readonly temperature: ParameterLike;
  readonly probs?: Tensor | null;
  readonly logits?: Tensor | null;
  readonly validateArgs?: boolean | null;
}
const readCategorical = signature("RelaxedOneHotCategorical", {
  temperature: parameter,
  probs: tensorOfTwo,
  logits: tensorOfTwo,
  validateArgs: VALIDATE,
});
export type RelaxedCategoricalCall = Call<
  RelaxedCategoricalArguments,
  ["temperature", "probs", "logits", "validateArgs"],
  [temperature: ParameterLike, probs?: Tensor | null, logits?: Tensor | null, validateArgs?: boolean | null]
>;

/** The logarithms of a relaxed one-hot vector. */
export class ExpRelaxedCategorical extends Distribution {
  readonly temperature: Tensor;
  /** @internal */
  readonly categorical: Categorical;
  constructor(...given: RelaxedCategoricalCall) {
    const a = readCategorical(given, new.target.name);
    checkOneGiven(new.target.name, { probs: a.probs, logits: a.logits });
    const categorical = new Categorical(a.probs, a.logits);
    super(categorical.batchShape, categorical.paramShape.slice(-1), a.validateArgs);
    this.categorical = categorical;
    this.temperature = asTensor(a.temperature, categorical.odds.param.detach());
    this.checkParameters();
  }
  protected override expanded(shape: Shape): object {
    return { categorical: this.categorical.expand(shape) };
  }
  protected override follows(name: string): boolean {
    return name !== this.categorical.odds.given;
  }
  override get argConstraints(): Readonly<Record<string, Constraint>> {
    return CATEGORICAL_CONSTRAINTS;
  }
  override get support(): Constraint {
    return constraints.realVector;
  }
  override get hasRsample(): boolean {
    return true;
  }
  get probs(): Tensor {
    return this.categorical.probs;
  }
  get logits(): Tensor {
    return this.categorical.logits;
  }
  get paramShape(): Shape {
    return this.categorical.paramShape;
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
export class RelaxedOneHotCategorical extends TransformedDistribution<ExpRelaxedCategorical> {
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
