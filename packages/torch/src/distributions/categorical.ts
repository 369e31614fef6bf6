/** One of several classes: by its number, or as a vector that is 1 there. */
import { noGrad } from "../autograd/modes.js";
import { ArgumentError } from "../errors.js";
import { arange, broadcastTensors, eye, multinomial, oneHot } from "../ops/index.js";
import { signature, type Call } from "../signature.js";
import { finfo } from "../tensor/dtype.js";
import type { Tensor } from "../tensor/tensor.js";
import {
  checkOneGiven,
  count,
  expandOf,
  sampleShapeOf,
  tensorOfTwo,
  VALIDATE,
  type EnumerateCall,
  type SampleCall,
  type Shape,
} from "./arguments.js";
import * as constraints from "./constraints.js";
import type { Constraint } from "./constraints.js";
import { Distribution } from "./distribution.js";
import { enumerated, filled, kindOf, minus, ProbsOrLogits } from "./numbers.js";
import { OddsFamily } from "./probs.js";

export interface CategoricalArguments {
  /** Weights of the classes, in the last dimension, ≥ 0 and with any sum; these or `logits`. */
  readonly probs?: Tensor | null;
  /** Logarithms of weights. */
  readonly logits?: Tensor | null;
  readonly validateArgs?: boolean | null;
}
/** @internal Arguments of which one is given. */
export const WEIGHTS = { probs: tensorOfTwo, logits: tensorOfTwo };
const read = signature("Categorical", { ...WEIGHTS, validateArgs: VALIDATE });
export type CategoricalCall = Call<
  CategoricalArguments,
  ["probs", "logits", "validateArgs"],
  [probs?: Tensor | null, logits?: Tensor | null, validateArgs?: boolean | null]
>;

/** @internal */
export const CATEGORICAL_CONSTRAINTS = { probs: constraints.simplex, logits: constraints.realVector };

/**
 * A class from 0 to n − 1 (int64), the more often the larger its weight.
 * @example
 * const policy = new Categorical({ logits: model.forward(state) });
 * const action = policy.sample();
 * policy.logProb(action).neg().mul(reward).backward();
 */
export class Categorical extends OddsFamily {
  /** @internal */
  readonly numEvents: number;

  constructor(...given: CategoricalCall) {
    const a = read(given, new.target.name);
    checkOneGiven(new.target.name, { probs: a.probs, logits: a.logits });
    const weights = (a.probs ?? a.logits) as Tensor;
    const name = a.probs === null ? "logits" : "probs";
    if (weights.ndim < 1) throw new ArgumentError(new.target.name, `${name} to have at least one dimension`, weights);
    const param = name === "probs" ? weights.div(weights.sum(-1, true)) : weights.sub(weights.logsumexp(-1, true));
    super(new ProbsOrLogits(name, param, false), param.shape.slice(0, -1), a.validateArgs);
    this.numEvents = param.size(-1);
    this.checkParameters();
  }
  protected override expanded(shape: Shape): object {
    return { odds: this.odds.expand([...shape, this.numEvents]) };
  }
  override get argConstraints(): Readonly<Record<string, Constraint>> {
    return CATEGORICAL_CONSTRAINTS;
  }
  override get support(): Constraint {
    return constraints.integerInterval(0, this.numEvents - 1);
  }
  override get hasEnumerateSupport(): boolean {
    return true;
  }
  /** NaN: classes have none. */
  override get mean(): Tensor {
    return filled(this.extendedShape(), NaN, this.probs);
  }
  override get mode(): Tensor {
    return this.probs.argmax(-1);
  }
  override get variance(): Tensor {
    return this.mean;
  }
  override sample(...given: SampleCall): Tensor {
    const sampleShape = sampleShapeOf(given);
    return noGrad(() => {
      const rows = this.probs.reshape([-1, this.numEvents]);
      return multinomial(rows, count(sampleShape), true).t().reshape(this.extendedShape(sampleShape));
    });
  }
  override logProb(value: Tensor): Tensor {
    this.checkValue("logProb", value);
    const [index, logs] = broadcastTensors([value.to("int64").unsqueeze(-1), this.logits]) as [Tensor, Tensor];
    return logs.gather(-1, index.narrow(-1, 0, 1)).squeeze(-1);
  }
  override entropy(): Tensor {
    const logits = this.logits.clamp(finfo(this.logits.dtype).min);
    return logits.mul(this.probs).sum(-1).neg();
  }
  override enumerateSupport(...given: EnumerateCall): Tensor {
    const expands = expandOf(given);
    const values = arange(this.numEvents, { dtype: "int64", device: this.odds.param.device });
    return enumerated(values, this.batchShape, expands);
  }
}

/** @internal Distributions over vectors of an entry per class, with the weights of a categorical one. */
export abstract class CategoricalFamily extends Distribution {
  /** @internal */
  readonly categorical: Categorical;
  constructor(
    fn: string,
    a: { readonly probs: Tensor | null; readonly logits: Tensor | null; readonly validateArgs: boolean | null },
  ) {
    checkOneGiven(fn, { probs: a.probs, logits: a.logits });
    const categorical = new Categorical(a.probs, a.logits);
    super(categorical.batchShape, categorical.paramShape.slice(-1), a.validateArgs);
    this.categorical = categorical;
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
  get probs(): Tensor {
    return this.categorical.probs;
  }
  get logits(): Tensor {
    return this.categorical.logits;
  }
  get paramShape(): Shape {
    return this.categorical.paramShape;
  }
}

/** The same as vectors of 0 and a single 1, of the dtype of the weights. */
export class OneHotCategorical extends CategoricalFamily {
  constructor(...given: CategoricalCall) {
    super(new.target.name, read(given, new.target.name));
    this.checkParameters();
  }
  override get support(): Constraint {
    return constraints.oneHot;
  }
  override get hasEnumerateSupport(): boolean {
    return true;
  }
  override get mean(): Tensor {
    return this.probs;
  }
  override get mode(): Tensor {
    return oneHot(this.probs.argmax(-1), this.probs.size(-1)).to(this.probs);
  }
  override get variance(): Tensor {
    return this.probs.mul(minus(1, this.probs));
  }
  override sample(...given: SampleCall): Tensor {
    const shape = sampleShapeOf(given);
    return oneHot(this.categorical.sample(shape), this.categorical.numEvents).to(this.probs);
  }
  override logProb(value: Tensor): Tensor {
    this.checkValue("logProb", value);
    return this.categorical.logProb(value.max(-1).indices);
  }
  override entropy(): Tensor {
    return this.categorical.entropy();
  }
  override enumerateSupport(...given: EnumerateCall): Tensor {
    const expands = expandOf(given);
    const n = this.eventShape[0] as number;
    const values = eye(n, kindOf(this.categorical.odds.param)).view([n, ...this.batchShape.map(() => 1), n]);
    return expands ? values.expand([n, ...this.batchShape, n]) : values;
  }
}

/**
 * The same with a gradient that goes straight through the choice, as if the sample were the probabilities.
 * @see Bengio et al., 2013, arXiv:1308.3432.
 */
export class OneHotCategoricalStraightThrough extends OneHotCategorical {
  override get hasRsample(): boolean {
    return true;
  }
  override rsample(...given: SampleCall): Tensor {
    const samples = this.sample(sampleShapeOf(given, "rsample"));
    return samples.add(this.probs.sub(this.probs.detach()));
  }
}
