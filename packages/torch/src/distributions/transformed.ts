/** Distributions made of others: seen through a transform, or with batch dimensions that count as one event. */
import { noGrad } from "../autograd/modes.js";
import { ArgumentError } from "../errors.js";
import { either, such, whole, type Kind } from "../kinds.js";
import { signature, type Call } from "../signature.js";
import { isTensor } from "../tensor/handle.js";
import type { Tensor } from "../tensor/tensor.js";
import {
  expandOf,
  lacking,
  sameShape,
  sampleShapeOf,
  VALIDATE,
  type EnumerateCall,
  type SampleCall,
  type Shape,
} from "./arguments.js";
import * as constraints from "./constraints.js";
import type { Constraint } from "./constraints.js";
import { Distribution } from "./distribution.js";
import { sumRightmost } from "./numbers.js";
import { ComposeTransform, productOfSigns, Transform, transformsKind } from "./transform.js";

const distribution: Kind<Distribution> = such<Distribution>("a distribution", (v) => v instanceof Distribution);

export interface IndependentArguments<D extends Distribution = Distribution> {
  readonly baseDistribution: D;
  /** How many batch dimensions, the last ones, become part of the event. */
  readonly reinterpretedBatchNdims: number;
  readonly validateArgs?: boolean | null;
}
const readIndependent = signature("Independent", {
  baseDistribution: distribution,
  reinterpretedBatchNdims: whole("[0, ∞)"),
  validateArgs: VALIDATE,
});
export type IndependentCall<D extends Distribution> = Call<
  IndependentArguments<D>,
  ["baseDistribution", "reinterpretedBatchNdims", "validateArgs"],
  [baseDistribution: D, reinterpretedBatchNdims: number, validateArgs?: boolean | null]
>;

/**
 * A distribution whose last batch dimensions count as one event: log probabilities are summed over them.
 * @example new Independent(new Normal(zeros([3]), ones([3])), 1).logProb(zeros([3])).shape; // []
 */
export class Independent<D extends Distribution = Distribution> extends Distribution {
  readonly baseDist: D;
  readonly reinterpretedBatchNdims: number;

  constructor(...given: IndependentCall<D>) {
    const a = readIndependent(given, new.target.name);
    const { batchShape, eventShape } = a.baseDistribution;
    const n = a.reinterpretedBatchNdims;
    if (n > batchShape.length)
      throw new ArgumentError(
        new.target.name,
        `reinterpretedBatchNdims to be at most ${batchShape.length}, the batch dimensions that there are`,
        n,
      );
    const cut = batchShape.length - n;
    super(batchShape.slice(0, cut), [...batchShape.slice(cut), ...eventShape], a.validateArgs);
    this.baseDist = a.baseDistribution as D;
    this.reinterpretedBatchNdims = n;
  }
  protected override expanded(shape: Shape): object {
    return { baseDist: this.baseDist.expand([...shape, ...this.eventShape.slice(0, this.reinterpretedBatchNdims)]) };
  }
  override get argConstraints(): Readonly<Record<string, Constraint>> {
    return {};
  }
  override get hasRsample(): boolean {
    return this.baseDist.hasRsample;
  }
  override get hasEnumerateSupport(): boolean {
    return this.reinterpretedBatchNdims === 0 && this.baseDist.hasEnumerateSupport;
  }
  override get support(): Constraint {
    const n = this.reinterpretedBatchNdims;
    return n === 0 ? this.baseDist.support : constraints.independent(this.baseDist.support, n);
  }
  override get mean(): Tensor {
    return this.baseDist.mean;
  }
  override get mode(): Tensor {
    return this.baseDist.mode;
  }
  override get variance(): Tensor {
    return this.baseDist.variance;
  }
  override sample(...given: SampleCall): Tensor {
    const shape = sampleShapeOf(given);
    return this.baseDist.sample(shape);
  }
  override rsample(...given: SampleCall): Tensor {
    const shape = sampleShapeOf(given, "rsample");
    return this.baseDist.rsample(shape);
  }
  override logProb(value: Tensor): Tensor {
    return sumRightmost(this.baseDist.logProb(value), this.reinterpretedBatchNdims);
  }
  override entropy(): Tensor {
    return sumRightmost(this.baseDist.entropy(), this.reinterpretedBatchNdims);
  }
  override enumerateSupport(...given: EnumerateCall): Tensor {
    const expand = expandOf(given);
    if (this.reinterpretedBatchNdims > 0) throw lacking(this, "enumerateSupport, over a Cartesian product,");
    return this.baseDist.enumerateSupport(expand);
  }
  override toString(): string {
    return `${this.constructor.name}(${this.baseDist.toString()}, ${this.reinterpretedBatchNdims})`;
  }
}

export interface TransformedArguments {
  readonly baseDistribution: Distribution;
  /** One, or several, the first of which is applied first. */
  readonly transforms: Transform | readonly Transform[];
  readonly validateArgs?: boolean | null;
}
const transform: Kind<Transform> = such("a transform", (v) => v instanceof Transform);
const readTransformed = signature("TransformedDistribution", {
  baseDistribution: distribution,
  transforms: either(transform, transformsKind),
  validateArgs: VALIDATE,
});
export type TransformedCall = Call<
  TransformedArguments,
  ["baseDistribution", "transforms", "validateArgs"],
  [baseDistribution: Distribution, transforms: Transform | readonly Transform[], validateArgs?: boolean | null]
>;

/**
 * The distribution of `y = fₙ(… f₁(x))` with `x` of a base distribution: `log p(y) = log p(x) + log |det ∂x/∂y|`.
 *
 * @example
 * // A logistic distribution.
 * new TransformedDistribution(new Uniform(0, 1), [new SigmoidTransform().inv, new AffineTransform(a, b)]);
 */
export class TransformedDistribution<D extends Distribution = Distribution> extends Distribution {
  /** As broadcast to the transforms, and with as many event dimensions as these take. */
  readonly baseDist: D;
  readonly transforms: readonly Transform[];

  constructor(...given: TransformedCall) {
    const a = readTransformed(given, new.target.name);
    const transforms = a.transforms instanceof Transform ? [a.transforms] : a.transforms;
    const laid = layOut(new.target.name, a.baseDistribution, new ComposeTransform(transforms));
    super(laid.batchShape, laid.eventShape, a.validateArgs);
    this.transforms = transforms;
    this.baseDist = laid.base as D;
  }
  protected override expanded(batchShape: Shape): object {
    const shape = this.transforms.reduceRight<Shape>((s, t) => t.inverseShape(s), [...batchShape, ...this.eventShape]);
    return { baseDist: this.baseDist.expand(shape.slice(0, shape.length - this.baseDist.eventShape.length)) };
  }
  override get argConstraints(): Readonly<Record<string, Constraint>> {
    return {};
  }
  override get hasRsample(): boolean {
    return this.baseDist.hasRsample;
  }
  override get support(): Constraint {
    const last = this.transforms[this.transforms.length - 1];
    if (last === undefined) return this.baseDist.support;
    const more = this.eventShape.length - last.codomain.eventDim;
    return more > 0 ? constraints.independent(last.codomain, more) : last.codomain;
  }
  override sample(...given: SampleCall): Tensor {
    const shape = sampleShapeOf(given);
    return noGrad(() => through(this.transforms, this.baseDist.sample(shape)));
  }
  override rsample(...given: SampleCall): Tensor {
    const shape = sampleShapeOf(given, "rsample");
    return through(this.transforms, this.baseDist.rsample(shape));
  }
  override logProb(value: Tensor): Tensor {
    this.checkValue("logProb", value);
    let dimensions = this.eventShape.length;
    let sum: Tensor | null = null;
    let y = value;
    for (const t of this.transforms.toReversed()) {
      const x = t.inv.call(y);
      dimensions += t.domain.eventDim - t.codomain.eventDim;
      const term = sumRightmost(t.logAbsDetJacobian(x, y), dimensions - t.domain.eventDim);
      sum = sum === null ? term.neg() : sum.sub(term);
      y = x;
    }
    const base = sumRightmost(this.baseDist.logProb(y), dimensions - this.baseDist.eventShape.length);
    return sum === null ? base : sum.add(base);
  }
  override cdf(value: Tensor): Tensor {
    const x = this.transforms.reduceRight((y, t) => t.inv.call(y), value);
    if (this.validatesArgs) this.baseDist.validateSample(x, "cdf");
    return growing(this.transforms, this.baseDist.cdf(x));
  }
  override icdf(value: Tensor): Tensor {
    return through(this.transforms, this.baseDist.icdf(growing(this.transforms, value)));
  }
}

const through = (transforms: readonly Transform[], x: Tensor): Tensor =>
  transforms.reduce((value, t) => t.call(value), x);
/** Probabilities as the base distribution has them: a transform that falls turns them round. */
function growing(transforms: readonly Transform[], value: Tensor): Tensor {
  const sign = productOfSigns(transforms);
  if (sign === 1) return value;
  const centred = value.sub(0.5);
  return (isTensor(sign) ? sign.mul(centred) : centred.mul(sign)).add(0.5);
}

/** A base distribution as a transform takes it, and the shapes of what comes out. */
function layOut(
  fn: string,
  given: Distribution,
  map: Transform,
): { readonly base: Distribution; readonly batchShape: Shape; readonly eventShape: Shape } {
  const baseShape = given.extendedShape();
  const { eventDim } = map.domain;
  const events = given.eventShape.length;
  if (baseShape.length < eventDim)
    throw new ArgumentError(fn, `a base distribution of at least ${eventDim} dimensions`, baseShape);
  const shape = map.forwardShape(baseShape);
  const needed = map.inverseShape(shape);
  let base = given;
  if (!sameShape(baseShape, needed)) base = base.expand(needed.slice(0, needed.length - events));
  if (eventDim > events) base = new Independent(base, eventDim - events);
  const dimensions = Math.max(map.codomain.eventDim, events + map.codomain.eventDim - eventDim);
  const cut = shape.length - dimensions;
  return { base, batchShape: shape.slice(0, cut), eventShape: shape.slice(cut) };
}
