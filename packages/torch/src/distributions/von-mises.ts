/** Angles. */
import { noGrad } from "../autograd/modes.js";
import { rand, where, zeros } from "../ops/index.js";
import { signature, type Call } from "../signature.js";
import type { Tensor } from "../tensor/tensor.js";
import { parameter, sampleShapeOf, VALIDATE, type ParameterLike, type SampleCall, type Shape } from "./arguments.js";
import * as constraints from "./constraints.js";
import type { Constraint } from "./constraints.js";
import { Distribution } from "./distribution.js";
import { broadcastTwo, kindOf, minus, over } from "./numbers.js";

/** Coefficients of Abramowitz and Stegun 9.8.1 to 9.8.4: polynomials for I₀ and I₁, below and above 3.75. */
const SMALL = [
  [1.0, 3.5156229, 3.0899424, 1.2067492, 0.2659732, 0.0360768, 0.0045813],
  [0.5, 0.87890594, 0.51498869, 0.15084934, 0.02658733, 0.00301532, 0.00032411],
] as const;
const LARGE = [
  [0.39894228, 0.01328592, 0.00225319, -0.00157565, 0.00916281, -0.02057706, 0.02635537, -0.01647633, 0.00392377],
  [0.39894228, -0.03988024, -0.00362018, 0.00163801, -0.01031555, 0.02282967, -0.02895312, 0.01787654, -0.00420059],
] as const;

function polynomial(y: Tensor, coefficients: readonly number[]): Tensor {
  const [last = 0, ...rest] = coefficients.toReversed();
  let result: Tensor | null = null;
  for (const c of rest) result = (result === null ? y.mul(last) : y.mul(result)).add(c);
  return result ?? y.mul(0).add(last);
}
/** log Iₙ(x), x > 0. */
function logBessel(x: Tensor, order: 0 | 1): Tensor {
  const y = x.div(3.75);
  const below = polynomial(y.mul(y), SMALL[order]);
  const small = (order === 1 ? x.abs().mul(below) : below).log();
  const large = x.sub(x.log().mul(0.5)).add(polynomial(over(3.75, x), LARGE[order]).log());
  return where(x.lt(3.75), small, large);
}

export interface VonMisesArguments {
  /** Radians. */
  readonly loc: ParameterLike;
  /** > 0: 1 / variance, nearly, where it is large. */
  readonly concentration: ParameterLike;
  readonly validateArgs?: boolean | null;
}
const read = signature("VonMises", { loc: parameter, concentration: parameter, validateArgs: VALIDATE });
export type VonMisesCall = Call<
  VonMisesArguments,
  ["loc", "concentration", "validateArgs"],
  [loc: ParameterLike, concentration: ParameterLike, validateArgs?: boolean | null]
>;

/**
 * Angles of [−π, π) around `loc`. Drawn by rejection, in float64, which waits for the device.
 * @see Best and Fisher, 1979.
 */
export class VonMises extends Distribution {
  readonly loc: Tensor;
  readonly concentration: Tensor;
  constructor(...given: VonMisesCall) {
    const a = read(given, new.target.name);
    const [loc, concentration] = broadcastTwo(a.loc, a.concentration);
    super(loc.shape, [], a.validateArgs);
    this.loc = loc;
    this.concentration = concentration;
    this.checkParameters();
  }
  protected override expanded(shape: Shape): object {
    return { loc: this.loc.expand(shape), concentration: this.concentration.expand(shape) };
  }
  override get argConstraints(): Readonly<Record<string, Constraint>> {
    return { loc: constraints.real, concentration: constraints.positive };
  }
  override get support(): Constraint {
    return constraints.real;
  }
  override get mean(): Tensor {
    return this.loc;
  }
  override get mode(): Tensor {
    return this.loc;
  }
  /** 1 − I₁(κ) / I₀(κ): of angles on a circle. */
  override get variance(): Tensor {
    const ratio = logBessel(this.concentration, 1).sub(logBessel(this.concentration, 0));
    return minus(1, ratio.exp());
  }
  override sample(...given: SampleCall): Tensor {
    const shape = this.extendedShape(sampleShapeOf(given));
    return noGrad(() => draw(this.loc.to("float64"), this.concentration.to("float64"), shape).to(this.loc.dtype));
  }
  override logProb(value: Tensor): Tensor {
    this.checkValue("logProb", value);
    return this.concentration
      .mul(value.sub(this.loc).cos())
      .sub(Math.log(2 * Math.PI))
      .sub(logBessel(this.concentration, 0));
  }
}

function draw(loc: Tensor, kappa: Tensor, shape: Shape): Tensor {
  const tau = kappa.pow(2).mul(4).add(1).sqrt().add(1);
  const rho = tau.sub(tau.mul(2).sqrt()).div(kappa.mul(2));
  const r = where(kappa.lt(1e-5), over(1, kappa).add(kappa), rho.pow(2).add(1).div(rho.mul(2)));
  let x = zeros(shape, kindOf(loc));
  let done = zeros(shape, { dtype: "bool", device: loc.device });
  while (done.all().item() === 0) {
    const [u1, u2, u3] = rand([3, ...shape], kindOf(loc)).unbind() as [Tensor, Tensor, Tensor];
    const z = u1.mul(Math.PI).cos();
    const f = r.mul(z).add(1).div(r.add(z));
    const c = kappa.mul(r.sub(f));
    const accept = c.mul(minus(2, c)).sub(u2).gt(0).bitwiseOr(c.div(u2).log().add(1).sub(c).ge(0));
    x = where(accept, u3.sub(0.5).sign().mul(f.acos()), x);
    done = done.bitwiseOr(accept);
  }
  return x
    .add(Math.PI)
    .add(loc)
    .remainder(2 * Math.PI)
    .sub(Math.PI);
}
