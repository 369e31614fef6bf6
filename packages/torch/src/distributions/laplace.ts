/** The Laplace distribution, and Gumbel's of largest values. */
import { fullLike, onesLike } from "../ops/index.js";
import { finfo } from "../tensor/dtype.js";
import type { Tensor } from "../tensor/tensor.js";
import { sampleShapeOf, type SampleCall, type Shape } from "./arguments.js";
import * as constraints from "./constraints.js";
import type { Constraint } from "./constraints.js";
import { LOC_SCALE_CONSTRAINTS, LocScaleFamily, locScaleOf, type LocScaleCall } from "./loc-scale.js";
import { broadcastTwo, EULER, minus } from "./numbers.js";
import { TransformedDistribution } from "./transformed.js";
import { AffineTransform, ExpTransform } from "./transforms.js";
import { Uniform } from "./uniform.js";

/** The difference of two exponentials. */
export class Laplace extends LocScaleFamily {
  constructor(...given: LocScaleCall) {
    const a = locScaleOf(given, new.target.name);
    super(...broadcastTwo(a.loc, a.scale), a.validateArgs);
    this.checkParameters();
  }
  override get mean(): Tensor {
    return this.loc;
  }
  override get variance(): Tensor {
    return this.scale.pow(2).mul(2);
  }
  override get stddev(): Tensor {
    return this.scale.mul(Math.SQRT2);
  }
  override rsample(...given: SampleCall): Tensor {
    const shape = this.extendedShape(sampleShapeOf(given, "rsample"));
    const u = this.loc.newEmpty(shape).uniform_(finfo(this.loc.dtype).eps - 1, 1);
    return this.loc.sub(this.scale.mul(u.sign()).mul(u.abs().neg().log1p()));
  }
  override logProb(value: Tensor): Tensor {
    this.checkValue("logProb", value);
    return this.scale.mul(2).log().neg().sub(value.sub(this.loc).abs().div(this.scale));
  }
  override cdf(value: Tensor): Tensor {
    this.checkValue("cdf", value);
    const off = value.sub(this.loc);
    return minus(0.5, off.sign().mul(0.5).mul(off.abs().neg().div(this.scale).expm1()));
  }
  override icdf(value: Tensor): Tensor {
    const term = value.sub(0.5);
    return this.loc.sub(this.scale.mul(term.sign()).mul(term.abs().mul(-2).log1p()));
  }
  override entropy(): Tensor {
    return this.scale.mul(2).log().add(1);
  }
}

/** The largest of many values. */
export class Gumbel extends TransformedDistribution<Uniform> {
  readonly loc: Tensor;
  readonly scale: Tensor;
  constructor(...given: LocScaleCall) {
    const a = locScaleOf(given, new.target.name);
    const [loc, scale] = broadcastTwo(a.loc, a.scale);
    const { tiny, eps } = finfo(loc.dtype);
    super(
      new Uniform(fullLike(loc, tiny), fullLike(loc, 1 - eps), a.validateArgs),
      [
        new ExpTransform().inv,
        new AffineTransform(0, onesLike(scale).neg()),
        new ExpTransform().inv,
        new AffineTransform(a.loc, scale.neg()),
      ],
      a.validateArgs,
    );
    this.loc = loc;
    this.scale = scale;
    this.checkParameters();
  }
  protected override expanded(shape: Shape): object {
    return { ...super.expanded(shape), loc: this.loc.expand(shape), scale: this.scale.expand(shape) };
  }
  override get argConstraints(): Readonly<Record<string, Constraint>> {
    return LOC_SCALE_CONSTRAINTS;
  }
  override get support(): Constraint {
    return constraints.real;
  }
  override get mean(): Tensor {
    return this.loc.add(this.scale.mul(EULER));
  }
  override get mode(): Tensor {
    return this.loc;
  }
  override get stddev(): Tensor {
    return this.scale.mul(Math.PI / Math.sqrt(6));
  }
  override get variance(): Tensor {
    return this.stddev.pow(2);
  }
  override logProb(value: Tensor): Tensor {
    this.checkValue("logProb", value);
    const y = this.loc.sub(value).div(this.scale);
    return y.sub(y.exp()).sub(this.scale.log());
  }
  override entropy(): Tensor {
    return this.scale.log().add(1 + EULER);
  }
}
