/** Distributions over probabilities: Dirichlet, and beta for two of them. */
import { AutogradFunction, type FunctionContext } from "../autograd/function.js";
import { ArgumentError } from "../errors.js";
import { aten } from "../ops/aten.js";
import { fullLike, oneHot, stack, where, xlogy } from "../ops/index.js";
import { signature, type Call } from "../signature.js";
import { tensorKind } from "../tensor/kinds.js";
import type { Tensor } from "../tensor/tensor.js";
import { tensor } from "../tensor/values.js";
import { parameter, sampleShapeOf, VALIDATE, type ParameterLike, type SampleCall, type Shape } from "./arguments.js";
import * as constraints from "./constraints.js";
import type { Constraint } from "./constraints.js";
import { ExponentialFamily } from "./distribution.js";
import { broadcastTwo, EULER, minus, over } from "./numbers.js";
import { TransformedDistribution } from "./transformed.js";
import { AffineTransform, PowerTransform } from "./transforms.js";
import { Uniform } from "./uniform.js";

function privately(name: "_sample_dirichlet" | "_dirichlet_grad", ...args: readonly Tensor[]): Tensor {
  const operator = aten[name];
  if (operator === undefined) throw new TypeError(`this libtorch has no ${name}`);
  return operator(...args);
}

/** Draws with their implicit gradient by the concentration. */
class SampleDirichlet extends AutogradFunction {
  static forward(ctx: FunctionContext, concentration: Tensor): Tensor {
    const x = privately("_sample_dirichlet", concentration);
    ctx.saveForBackward(x, concentration);
    return x;
  }
  static backward(ctx: FunctionContext, gradient: Tensor): Tensor {
    const [x, concentration] = [ctx.saved(0), ctx.saved(1)];
    const total = concentration.sum(-1, true).expandAs(concentration);
    const derivative = privately("_dirichlet_grad", x, concentration, total);
    return derivative.mul(gradient.sub(x.mul(gradient).sum(-1, true)));
  }
}

export interface DirichletArguments {
  /** > 0, in the last dimension one per probability. */
  readonly concentration: Tensor;
  readonly validateArgs?: boolean | null;
}
const readDirichlet = signature("Dirichlet", { concentration: tensorKind, validateArgs: VALIDATE });
export type DirichletCall = Call<
  DirichletArguments,
  ["concentration", "validateArgs"],
  [concentration: Tensor, validateArgs?: boolean | null]
>;

/** Vectors of probabilities: what is left to believe of a categorical distribution after some draws. */
export class Dirichlet extends ExponentialFamily {
  readonly concentration: Tensor;
  constructor(...given: DirichletCall) {
    const a = readDirichlet(given, new.target.name);
    const { shape } = a.concentration;
    if (shape.length < 1)
      throw new ArgumentError(new.target.name, "concentration to have at least one dimension", a.concentration);
    super(shape.slice(0, -1), shape.slice(-1), a.validateArgs);
    this.concentration = a.concentration;
    this.checkParameters();
  }
  protected override expanded(shape: Shape): object {
    return { concentration: this.concentration.expand([...shape, ...this.eventShape]) };
  }
  override get argConstraints(): Readonly<Record<string, Constraint>> {
    return { concentration: constraints.independent(constraints.positive, 1) };
  }
  override get support(): Constraint {
    return constraints.simplex;
  }
  override get hasRsample(): boolean {
    return true;
  }
  override rsample(...given: SampleCall): Tensor {
    const shape = sampleShapeOf(given, "rsample");
    return SampleDirichlet.apply(this.concentration.expand(this.extendedShape(shape)));
  }
  override logProb(value: Tensor): Tensor {
    this.checkValue("logProb", value);
    const c = this.concentration;
    return xlogy(c.sub(1), value).sum(-1).add(c.sum(-1).lgamma()).sub(c.lgamma().sum(-1));
  }
  override get mean(): Tensor {
    return this.concentration.div(this.concentration.sum(-1, true));
  }
  override get mode(): Tensor {
    const less = this.concentration.sub(1).clamp(0);
    const mode = less.div(less.sum(-1, true));
    // All below 1: the density is largest at a corner.
    const corners = oneHot(mode.argmax(-1), mode.size(-1)).to(mode);
    return where(this.concentration.lt(1).all(-1, true), corners, mode);
  }
  override get variance(): Tensor {
    const total = this.concentration.sum(-1, true);
    return this.concentration.mul(total.sub(this.concentration)).div(total.pow(2).mul(total.add(1)));
  }
  override entropy(): Tensor {
    const c = this.concentration;
    const total = c.sum(-1);
    return c
      .lgamma()
      .sum(-1)
      .sub(total.lgamma())
      .sub(minus(c.size(-1), total).mul(total.digamma()))
      .sub(c.sub(1).mul(c.digamma()).sum(-1));
  }
  override get naturalParams(): readonly [Tensor] {
    return [this.concentration];
  }
  override logNormalizer(x: Tensor): Tensor {
    return x.lgamma().sum(-1).sub(x.sum(-1).lgamma());
  }
}

export interface BetaArguments {
  /** > 0: successes seen, plus 1. */
  readonly concentration1: ParameterLike;
  /** > 0: failures seen, plus 1. */
  readonly concentration0: ParameterLike;
  readonly validateArgs?: boolean | null;
}
const readBeta = signature("Beta", { concentration1: parameter, concentration0: parameter, validateArgs: VALIDATE });
export type BetaCall = Call<
  BetaArguments,
  ["concentration1", "concentration0", "validateArgs"],
  [concentration1: ParameterLike, concentration0: ParameterLike, validateArgs?: boolean | null]
>;
const CONSTRAINTS = { concentration1: constraints.positive, concentration0: constraints.positive };

/** A probability: what is left to believe of a coin after some tosses. */
export class Beta extends ExponentialFamily {
  /** @internal */
  readonly dirichlet: Dirichlet;
  constructor(...given: BetaCall) {
    const a = readBeta(given, new.target.name);
    const both =
      typeof a.concentration1 === "number" && typeof a.concentration0 === "number"
        ? tensor([a.concentration1, a.concentration0])
        : stack(broadcastTwo(a.concentration1, a.concentration0), -1);
    const dirichlet = new Dirichlet(both, false);
    super(dirichlet.batchShape, [], a.validateArgs);
    this.dirichlet = dirichlet;
    this.checkParameters();
  }
  protected override expanded(shape: Shape): object {
    return { dirichlet: this.dirichlet.expand(shape) };
  }
  override get argConstraints(): Readonly<Record<string, Constraint>> {
    return CONSTRAINTS;
  }
  override get support(): Constraint {
    return constraints.unitInterval;
  }
  override get hasRsample(): boolean {
    return true;
  }
  get concentration1(): Tensor {
    return this.dirichlet.concentration.select(-1, 0);
  }
  get concentration0(): Tensor {
    return this.dirichlet.concentration.select(-1, 1);
  }
  override get mean(): Tensor {
    return this.concentration1.div(this.concentration1.add(this.concentration0));
  }
  override get mode(): Tensor {
    return this.dirichlet.mode.select(-1, 0);
  }
  override get variance(): Tensor {
    const [a, b] = [this.concentration1, this.concentration0];
    const total = a.add(b);
    return a.mul(b).div(total.pow(2).mul(total.add(1)));
  }
  override rsample(...given: SampleCall): Tensor {
    const shape = sampleShapeOf(given, "rsample");
    return this.dirichlet.rsample(shape).select(-1, 0);
  }
  override logProb(value: Tensor): Tensor {
    this.checkValue("logProb", value);
    return this.dirichlet.logProb(stack([value, minus(1, value)], -1));
  }
  override entropy(): Tensor {
    return this.dirichlet.entropy();
  }
  override get naturalParams(): readonly [Tensor, Tensor] {
    return [this.concentration1, this.concentration0];
  }
  override logNormalizer(x: Tensor, y: Tensor): Tensor {
    return x.lgamma().add(y.lgamma()).sub(x.add(y).lgamma());
  }
}

/** Nearly beta, with a density and quantiles that are simple. */
export class Kumaraswamy extends TransformedDistribution<Uniform> {
  readonly concentration1: Tensor;
  readonly concentration0: Tensor;
  constructor(...given: BetaCall) {
    const a = readBeta(given, new.target.name);
    const [c1, c0] = broadcastTwo(a.concentration1, a.concentration0);
    super(
      new Uniform(fullLike(c0, 0), fullLike(c0, 1), a.validateArgs),
      [new PowerTransform(c0.reciprocal()), new AffineTransform(1, -1), new PowerTransform(c1.reciprocal())],
      a.validateArgs,
    );
    this.concentration1 = c1;
    this.concentration0 = c0;
    this.checkParameters();
  }
  protected override expanded(shape: Shape): object {
    return {
      ...super.expanded(shape),
      concentration1: this.concentration1.expand(shape),
      concentration0: this.concentration0.expand(shape),
    };
  }
  override get argConstraints(): Readonly<Record<string, Constraint>> {
    return CONSTRAINTS;
  }
  override get support(): Constraint {
    return constraints.unitInterval;
  }
  override get mean(): Tensor {
    return moment(this, 1);
  }
  override get mode(): Tensor {
    const [a, b] = [this.concentration1, this.concentration0];
    const log = b.reciprocal().mul(b.neg().log1p()).sub(b.neg().mul(a).log1p());
    return log.maskedFill(b.lt(1).bitwiseOr(a.lt(1)), NaN).exp();
  }
  override get variance(): Tensor {
    return moment(this, 2).sub(this.mean.pow(2));
  }
  override entropy(): Tensor {
    const [a, b] = [this.concentration1, this.concentration0];
    const harmonic = b.add(1).digamma().add(EULER);
    return minus(1, b.reciprocal()).add(minus(1, a.reciprocal()).mul(harmonic)).sub(a.log()).sub(b.log());
  }
}
/** The mean of xⁿ. */
function moment({ concentration1: a, concentration0: b }: Kumaraswamy, n: number): Tensor {
  const first = over(n, a).add(1);
  return b.mul(first.lgamma().add(b.lgamma()).sub(first.add(b).lgamma()).exp());
}
