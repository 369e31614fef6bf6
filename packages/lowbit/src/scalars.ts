/** The rate and the number of a step: JavaScript's, or tensors, as a recorded step needs them. */
import type { Tensor } from "@nbit/torch";

/** A number, or a tensor of one element, of shape `[]`. */
export type StepScalar = number | Tensor;

export const times = (x: Tensor, by: StepScalar): Tensor => (typeof by === "number" ? x.mul(by) : x.mul(by));
export const over = (x: Tensor, by: StepScalar): Tensor => (typeof by === "number" ? x.div(by) : x.div(by));

/** p - rate · step. */
export const minus = (p: Tensor, step: Tensor, rate: StepScalar): Tensor =>
  typeof rate === "number" ? p.sub(step, { alpha: rate }) : p.sub(step.mul(rate));

/** p (1 - rate · decay). */
export const decayed = (p: Tensor, rate: StepScalar, decay: number): Tensor =>
  times(p, typeof rate === "number" ? 1 - rate * decay : rate.mul(-decay).add(1));

/** 1 - βⁿ. Of a float32 n by expm1, since the difference would be 3e-5 off for β = 0.999 at first. */
export const biasCorrection = (beta: number, step: StepScalar): StepScalar =>
  typeof step === "number" ? 1 - beta ** step : step.mul(Math.log(beta)).expm1().neg();

/** 1 / √c. */
export const inverseRoot = (c: StepScalar): StepScalar => (typeof c === "number" ? 1 / Math.sqrt(c) : c.rsqrt());
