/** What every distribution has. */
import { grad } from "../autograd/backward.js";
import { enableGrad, noGrad } from "../autograd/modes.js";
import { ArgumentError, verbatim } from "../errors.js";
import { byDefault, flag } from "../kinds.js";
import { atMost, checkArguments } from "../options.js";
import { signature, type Call } from "../signature.js";
import { isTensor } from "../tensor/handle.js";
import { scope } from "../tensor/scope.js";
import type { Tensor } from "../tensor/tensor.js";
import {
  batchShapeOf,
  expandOf,
  lacking,
  sameShape,
  sampleShapeOf,
  shapeKind,
  VALIDATE,
  type EnumerateCall,
  type ExpandCall,
  type SampleCall,
  type Shape,
} from "./arguments.js";
import { isDependent, type Constraint } from "./constraints.js";

let validateByDefault = true;

export interface DistributionArguments {
  /** Default []. */
  readonly batchShape?: Shape;
  /** Default []. */
  readonly eventShape?: Shape;
  readonly validateArgs?: boolean | null;
}
const read = signature("Distribution", {
  batchShape: byDefault([], shapeKind),
  eventShape: byDefault([], shapeKind),
  validateArgs: VALIDATE,
});
export type DistributionCall = Call<
  DistributionArguments,
  ["batchShape", "eventShape", "validateArgs"],
  [batchShape?: Shape, eventShape?: Shape, validateArgs?: boolean | null]
>;

/**
 * Base of probability distributions: `batchShape` many of them, independent and of different parameters, each over
 * values of `eventShape`.
 *
 * A sample of `sampleShape` has the shape `[...sampleShape, ...batchShape, ...eventShape]`, and the log probability of a
 * value the shape of the value without `eventShape`. `sample` does not record; `rsample` computes samples from
 * parameters and random numbers that do not depend on them, so that gradients reach the parameters (the
 * reparametrization trick). The same seed draws what PyTorch draws, bit for bit on the CPU.
 *
 * Parameters, and values given to `logProb`, `cdf` and `icdf`, are looked at first, which waits for their device;
 * `validateArgs: false`, or `Distribution.setDefaultValidateArgs(false)`, leaves that out.
 *
 * A subclass gives its shapes to the constructor, sets its fields, and calls `checkParameters()` last. `expand` copies
 * fields and takes over what `expanded` returns.
 *
 * @throws {ArgumentError} `Normal: expected scale to satisfy GreaterThan(lowerBound=0). Received: -1.`
 * @see PyTorch's torch.distributions; Kingma and Welling, 2013, arXiv:1312.6114.
 */
export class Distribution {
  readonly batchShape: Shape;
  readonly eventShape: Shape;
  /** Whether arguments are looked at. */
  readonly validatesArgs: boolean;

  constructor(...given: DistributionCall) {
    const { batchShape, eventShape, validateArgs } = read(given, new.target.name);
    this.batchShape = batchShape;
    this.eventShape = eventShape;
    this.validatesArgs = validateArgs ?? validateByDefault;
  }

  /** Whether distributions made from here on look at their arguments unless told otherwise. True from the start. */
  static setDefaultValidateArgs(value: boolean): void {
    atMost("setDefaultValidateArgs", arguments, 1);
    checkArguments("setDefaultValidateArgs", { value }, { value: flag });
    validateByDefault = value;
  }

  get hasRsample(): boolean {
    return false;
  }
  get hasEnumerateSupport(): boolean {
    return false;
  }
  /** What the parameters must be, by name. */
  get argConstraints(): Readonly<Record<string, Constraint>> {
    throw lacking(this, "argConstraints");
  }
  /** What its samples may be. */
  get support(): Constraint {
    throw lacking(this, "support");
  }
  get mean(): Tensor {
    throw lacking(this, "mean");
  }
  get mode(): Tensor {
    throw lacking(this, "mode");
  }
  get variance(): Tensor {
    throw lacking(this, "variance");
  }
  get stddev(): Tensor {
    return this.variance.sqrt();
  }

  /** Random values, without a graph. */
  sample(...given: SampleCall): Tensor {
    const shape = sampleShapeOf(given);
    return noGrad(() => this.rsample(shape));
  }
  /** Random values that are differentiable by the parameters. */
  rsample(...given: SampleCall): Tensor {
    sampleShapeOf(given, "rsample");
    throw lacking(this, "rsample");
  }
  /** Logarithm of the density, or of the probability, at `value`. */
  logProb(_value: Tensor): Tensor {
    throw lacking(this, "logProb");
  }
  /** Probability of at most `value`. */
  cdf(_value: Tensor): Tensor {
    throw lacking(this, "cdf");
  }
  /** The value that the probability `value` lies below: the inverse of `cdf`. */
  icdf(_value: Tensor): Tensor {
    throw lacking(this, "icdf");
  }
  /**
   * Every value of a discrete distribution: `[cardinality, ...batchShape, ...eventShape]`, in lock-step over the batch;
   * with `expand: false` batch dimensions have size 1.
   */
  enumerateSupport(...given: EnumerateCall): Tensor {
    expandOf(given);
    throw lacking(this, "enumerateSupport");
  }
  /** Shape `batchShape`, in nats. */
  entropy(): Tensor {
    throw lacking(this, "entropy");
  }
  perplexity(): Tensor {
    return this.entropy().exp();
  }
  /** The same distribution over another batch shape, to which the present one can be broadcast. Copies no parameters. */
  expand(...given: ExpandCall): this {
    const shape = batchShapeOf(given);
    const fresh = Object.create(Object.getPrototypeOf(this) as object) as this;
    return Object.assign(fresh, this, this.expanded(shape), { batchShape: shape });
  }
  /** What differs in the same distribution of another batch shape: its tensors, expanded. */
  protected expanded(_batchShape: Shape): object {
    throw lacking(this, "expand");
  }

  /** `sampleShape` with the batch and the event behind it. */
  extendedShape(sampleShape: Shape = []): number[] {
    return [...sampleShape, ...this.batchShape, ...this.eventShape];
  }

  /** Which parameter follows from another one that was given, and need not be looked at. */
  protected follows(_name: string): boolean {
    return false;
  }
  /** The last line of a constructor: look at the parameters, if `validatesArgs`. */
  protected checkParameters(): void {
    if (!this.validatesArgs) return;
    for (const [name, constraint] of Object.entries(this.argConstraints)) {
      if (isDependent(constraint) || this.follows(name)) continue;
      const value: unknown = Reflect.get(this, name);
      if (isTensor(value))
        checkWithin(this.constructor.name, name, value, constraint, `satisfy ${constraint.toString()}`);
    }
  }
  /** Look at a value whose probability is asked for, if `validatesArgs`. */
  protected checkValue(fn: string, value: Tensor): void {
    if (!isTensor(value)) throw new ArgumentError(`${this.constructor.name}.${fn}`, "value to be a tensor", value);
    if (this.validatesArgs) this.validateSample(value, fn);
  }
  /** @internal */
  validateSample(value: Tensor, fn = "logProb"): void {
    const name = `${this.constructor.name}.${fn}`;
    const { shape } = value;
    const events = this.eventShape.length;
    if (!sameShape(shape.slice(Math.max(0, shape.length - events)), this.eventShape))
      throw new ArgumentError(name, `value to end with the event shape [${this.eventShape.join(", ")}]`, value);
    const expected = this.extendedShape();
    for (let i = 1; i <= Math.min(shape.length, expected.length); i++) {
      const [a, b] = [shape[shape.length - i], expected[expected.length - i]];
      if (a !== b && a !== 1 && b !== 1)
        throw new ArgumentError(name, `value to broadcast with [${expected.join(", ")}]`, value);
    }
    const { support } = this;
    checkWithin(name, "value", value, support, `lie in the support ${support.toString()}`);
  }

  toString(): string {
    const parts = Object.keys(this.argConstraints).flatMap((name) => {
      const value: unknown = this.follows(name) ? null : Reflect.get(this, name);
      return isTensor(value) ? [`${name}: ${brief(value)}`] : [];
    });
    return `${this.constructor.name}(${parts.join(", ")})`;
  }
}

function brief(value: Tensor): string {
  return value.numel() === 1 ? String(value.item()) : `[${value.shape.join(", ")}]`;
}

function checkWithin(fn: string, name: string, value: Tensor, constraint: Constraint, expected: string): void {
  const wrong = scope(() =>
    noGrad(() => {
      const valid = constraint.check(value.detach());
      if (valid.all().item() !== 0) return null;
      const first =
        valid.shape.length === value.ndim ? value.detach().expandAs(valid).at(valid.logicalNot()).at(0) : null;
      return first === null || first.ndim > 0
        ? `values of shape [${value.shape.join(", ")}] that do not`
        : String(first.item());
    }),
  );
  if (wrong !== null) throw new ArgumentError(fn, `${name} to ${expected}`, verbatim(wrong));
}

/**
 * Base of distributions whose density is `exp(⟨t(x), θ⟩ − F(θ) + k(x))`: the entropy follows from the gradient of the
 * log normalizer `F` by the natural parameters `θ`.
 */
export class ExponentialFamily extends Distribution {
  /** @internal θ. */
  get naturalParams(): readonly Tensor[] {
    throw lacking(this, "naturalParams");
  }
  /** @internal F(θ). */
  logNormalizer(..._naturalParams: readonly Tensor[]): Tensor {
    throw lacking(this, "logNormalizer");
  }
  /** The mean of k(x). */
  protected get meanCarrierMeasure(): number {
    throw lacking(this, "meanCarrierMeasure");
  }
  override entropy(): Tensor {
    const parameters = this.naturalParams.map((p) => p.detach().requiresGrad_());
    return enableGrad(() => {
      const normalizer = this.logNormalizer(...parameters);
      const gradients = grad(normalizer.sum(), parameters, { createGraph: true });
      let result = normalizer.add(-this.meanCarrierMeasure);
      parameters.forEach((p, i) => {
        const term = p.mul(gradients[i] as Tensor);
        result = result.sub(term.reshape([...this.batchShape, -1]).sum(-1));
      });
      return result;
    });
  }
}
