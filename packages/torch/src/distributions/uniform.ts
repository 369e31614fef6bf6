/** The uniform distribution. */
import { signature, type Call } from "../signature.js";
import type { Tensor } from "../tensor/tensor.js";
import { parameter, sampleShapeOf, VALIDATE, type ParameterLike, type SampleCall, type Shape } from "./arguments.js";
import * as constraints from "./constraints.js";
import type { Constraint } from "./constraints.js";
import { Distribution } from "./distribution.js";
import { broadcastTwo, uniform } from "./numbers.js";

export interface UniformArguments {
  readonly low: ParameterLike;
  /** > low. */
  readonly high: ParameterLike;
  readonly validateArgs?: boolean | null;
}
const read = signature("Uniform", { low: parameter, high: parameter, validateArgs: VALIDATE });
export type UniformCall = Call<
  UniformArguments,
  ["low", "high", "validateArgs"],
  [low: ParameterLike, high: ParameterLike, validateArgs?: boolean | null]
>;

/** Numbers of [low, high), all alike. */
export class Uniform extends Distribution {
  readonly low: Tensor;
  readonly high: Tensor;
  constructor(...given: UniformCall) {
    const a = read(given, new.target.name);
    const [low, high] = broadcastTwo(a.low, a.high);
    super(low.shape, [], a.validateArgs);
    this.low = low;
    this.high = high;
    this.checkParameters();
  }
  protected override expanded(shape: Shape): object {
    return { low: this.low.expand(shape), high: this.high.expand(shape) };
  }
  override get argConstraints(): Readonly<Record<string, Constraint>> {
    return { low: constraints.lessThan(this.high), high: constraints.greaterThan(this.low) };
  }
  override get support(): Constraint {
    return constraints.interval(this.low, this.high);
  }
  override get hasRsample(): boolean {
    return true;
  }
  override get mean(): Tensor {
    return this.high.add(this.low).div(2);
  }
  /** NaN: every value is as likely. */
  override get mode(): Tensor {
    return this.high.mul(NaN);
  }
  override get stddev(): Tensor {
    return this.high.sub(this.low).div(Math.sqrt(12));
  }
  override get variance(): Tensor {
    return this.high.sub(this.low).pow(2).div(12);
  }
  override rsample(...given: SampleCall): Tensor {
    const draws = uniform(this.extendedShape(sampleShapeOf(given, "rsample")), this.low);
    return this.low.add(draws.mul(this.high.sub(this.low)));
  }
  override logProb(value: Tensor): Tensor {
    this.checkValue("logProb", value);
    const inside = this.low.le(value).typeAs(this.low).mul(this.high.gt(value).typeAs(this.low));
    return inside.log().sub(this.high.sub(this.low).log());
  }
  override cdf(value: Tensor): Tensor {
    this.checkValue("cdf", value);
    return value.sub(this.low).div(this.high.sub(this.low)).clamp(0, 1);
  }
  override icdf(value: Tensor): Tensor {
    return value.mul(this.high.sub(this.low)).add(this.low);
  }
  override entropy(): Tensor {
    return this.high.sub(this.low).log();
  }
}
