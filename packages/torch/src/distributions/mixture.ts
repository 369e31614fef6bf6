/** Mixtures of distributions of one family, and vectors of the simplex from normals. */
import { noGrad } from "../autograd/modes.js";
import { ArgumentError } from "../errors.js";
import { such } from "../kinds.js";
import { logSoftmax } from "../ops/index.js";
import { broadcastShapes } from "../ops/shapes.js";
import { signature, type Call } from "../signature.js";
import type { Tensor } from "../tensor/tensor.js";
import { sampleShapeOf, VALIDATE, type SampleCall, type Shape } from "./arguments.js";
import { Categorical } from "./categorical.js";
import * as constraints from "./constraints.js";
import { MixtureSameFamilyConstraint, type Constraint } from "./constraints.js";
import { Distribution } from "./distribution.js";
import { LOC_SCALE_CONSTRAINTS, locScaleOf, type LocScaleCall } from "./loc-scale.js";
import { Normal } from "./normal.js";
import { TransformedDistribution, type Independent } from "./transformed.js";
import { StickBreakingTransform } from "./transforms.js";

export interface MixtureArguments {
  /** Which component, with what probability. */
  readonly mixtureDistribution: Categorical;
  /** The components, along the last batch dimension. */
  readonly componentDistribution: Distribution;
  readonly validateArgs?: boolean | null;
}
const read = signature("MixtureSameFamily", {
  mixtureDistribution: such<Categorical>("a Categorical", (v) => v instanceof Categorical),
  componentDistribution: such<Distribution>("a distribution", (v) => v instanceof Distribution),
  validateArgs: VALIDATE,
});
export type MixtureCall = Call<
  MixtureArguments,
  ["mixtureDistribution", "componentDistribution", "validateArgs"],
  [mixtureDistribution: Categorical, componentDistribution: Distribution, validateArgs?: boolean | null]
>;

/**
 * A sample of one of several components of a family, chosen at random.
 * @example new MixtureSameFamily(new Categorical(ones([5])), new Normal(randn([5]), rand([5])));
 */
export class MixtureSameFamily extends Distribution {
  readonly mixtureDistribution: Categorical;
  readonly componentDistribution: Distribution;
  constructor(...given: MixtureCall) {
    const a = read(given, new.target.name);
    const components = a.componentDistribution.batchShape;
    const n = a.mixtureDistribution.numEvents;
    if (components[components.length - 1] !== n)
      throw new ArgumentError(
        new.target.name,
        `componentDistribution to have a last batch dimension of ${n}, the mixture's components`,
        components,
      );
    const batch = components.slice(0, -1);
    broadcastShapes(a.mixtureDistribution.batchShape, batch);
    super(batch, a.componentDistribution.eventShape, a.validateArgs);
    this.mixtureDistribution = a.mixtureDistribution;
    this.componentDistribution = a.componentDistribution;
  }
  protected override expanded(shape: Shape): object {
    return {
      mixtureDistribution: this.mixtureDistribution.expand(shape),
      componentDistribution: this.componentDistribution.expand([...shape, this.mixtureDistribution.numEvents]),
    };
  }
  override get argConstraints(): Readonly<Record<string, Constraint>> {
    return {};
  }
  override get support(): Constraint {
    return new MixtureSameFamilyConstraint(this.componentDistribution.support);
  }
  override get mean(): Tensor {
    const probs = weights(this);
    return probs.mul(this.componentDistribution.mean).sum(-1 - this.eventShape.length);
  }
  override get variance(): Tensor {
    const probs = weights(this);
    const dim = -1 - this.eventShape.length;
    const within = probs.mul(this.componentDistribution.variance).sum(dim);
    const off = this.componentDistribution.mean.sub(this.mean.unsqueeze(dim)).pow(2);
    return within.add(probs.mul(off).sum(dim));
  }
  override cdf(value: Tensor): Tensor {
    const cdf = this.componentDistribution.cdf(value.unsqueeze(-1 - this.eventShape.length));
    return cdf.mul(this.mixtureDistribution.probs).sum(-1);
  }
  override logProb(value: Tensor): Tensor {
    this.checkValue("logProb", value);
    const logs = this.componentDistribution.logProb(value.unsqueeze(-1 - this.eventShape.length));
    return logs.add(logSoftmax(this.mixtureDistribution.logits, -1)).logsumexp(-1);
  }
  override sample(...given: SampleCall): Tensor {
    const sampleShape = sampleShapeOf(given);
    return noGrad(() => {
      const dim = sampleShape.length + this.batchShape.length;
      const chosen = this.mixtureDistribution.sample(sampleShape);
      const samples = this.componentDistribution.sample(sampleShape);
      const index = chosen
        .reshape([...chosen.shape, 1, ...this.eventShape.map(() => 1)])
        .repeat([...chosen.shape.map(() => 1), 1, ...this.eventShape]);
      return samples.gather(dim, index).squeeze(dim);
    });
  }
  override toString(): string {
    return `MixtureSameFamily(${this.mixtureDistribution.toString()}, ${this.componentDistribution.toString()})`;
  }
}
/** The probabilities of components, in the shape of their means. */
function weights(d: MixtureSameFamily): Tensor {
  const { probs, batchShape } = d.mixtureDistribution;
  const more = batchShape.length === 1 ? 0 : d.batchShape.length - batchShape.length;
  const n = probs.size(-1);
  return probs.reshape([
    ...probs.shape.slice(0, -1),
    ...new Array<number>(Math.max(0, more)).fill(1),
    n,
    ...d.eventShape.map(() => 1),
  ]);
}

/** Vectors of the simplex of n + 1 elements, from n normals by breaking a stick. */
export class LogisticNormal extends TransformedDistribution<Independent<Normal>> {
  constructor(...given: LocScaleCall) {
    const a = locScaleOf(given, new.target.name);
    const base = new Normal(a.loc, a.scale, a.validateArgs);
    super(base.batchShape.length === 0 ? base.expand([1]) : base, new StickBreakingTransform(), a.validateArgs);
    this.checkParameters();
  }
  override get argConstraints(): Readonly<Record<string, Constraint>> {
    return LOC_SCALE_CONSTRAINTS;
  }
  override get support(): Constraint {
    return constraints.simplex;
  }
  get loc(): Tensor {
    return this.baseDist.baseDist.loc;
  }
  get scale(): Tensor {
    return this.baseDist.baseDist.scale;
  }
}
