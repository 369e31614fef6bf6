/** Adamax. */
import { byDefault } from "../kinds.js";
import { native } from "../native.js";
import type { OptionNames } from "../options.js";
import { signature, type Call, type Values } from "../signature.js";
import {
  BETAS,
  CAPTURABLE_ROWS,
  COMPUTE_ROWS,
  NON_NEGATIVE,
  PARAMS,
  paramsAndDefaults,
  ROUNDING_ROWS,
  type CapturableOptions,
  type ComputeOptions,
} from "./common-options.js";
import { fromCounts, ListOptimizer, type ListStep } from "./list-optimizer.js";
import { addQuotients_, inPlace, type List } from "./lists.js";
import type { RoundingOptions } from "./rounding.js";
import type { ParamGroup, ParamsLike, StateFields } from "./state.js";

export interface AdamaxArguments extends ComputeOptions, CapturableOptions, RoundingOptions {
  readonly params: ParamsLike;
  /** Learning rate, ≥ 0. Default 2e-3. */
  readonly lr?: number;
  /** How much of the running mean of g, and of the largest |g|, stays at each step, in [0, 1). Default [0.9, 0.999]. */
  readonly betas?: readonly [number, number];
  /** Added to |g|, ≥ 0. Default 1e-8. */
  readonly eps?: number;
  /** Added to the gradient as weightDecay · p, ≥ 0. Default 0. */
  readonly weightDecay?: number;
}
const ROWS = {
  params: PARAMS,
  lr: byDefault(2e-3, NON_NEGATIVE),
  betas: byDefault([0.9, 0.999] as const, BETAS),
  eps: byDefault(1e-8, NON_NEGATIVE),
  weightDecay: byDefault(0, NON_NEGATIVE),
  ...COMPUTE_ROWS,
  ...CAPTURABLE_ROWS,
  ...ROUNDING_ROWS,
} satisfies OptionNames<AdamaxArguments>;
const read = signature("Adamax", ROWS, 6);
type AdamaxCall = Call<
  AdamaxArguments,
  ["params", "lr", "betas", "eps", "weightDecay", "foreach"],
  [
    params: ParamsLike,
    lr?: number,
    betas?: readonly [number, number],
    eps?: number,
    weightDecay?: number,
    foreach?: boolean | null,
  ]
>;
type Group = ParamGroup & Values<typeof ROWS>;
const STATE = ["expAvg", "expInf", "step"];

/**
 * Adam with the largest gradient in place of √v. m ← β₁m + (1-β₁)g; u ← max(β₂u, |g| + eps);
 * p ← p - lr / (1 - β₁ⁿ) · m / u. Kingma and Ba, 2015, arXiv:1412.6980.
 *
 * State: `step`, `expAvg` (m) and `expInf` (u), in the parameter's dtype. Equal to PyTorch's bit for bit on CPU.
 * @throws {ArgumentError} `Adamax: expected betas to be two numbers in [0, 1). Received: [0.9, 1].`
 */
export class Adamax extends ListOptimizer<Group> {
  constructor(...given: AdamaxCall) {
    super(...paramsAndDefaults(read(given, new.target.name)));
  }
  protected override get rows() {
    return ROWS;
  }
  protected override get algorithm(): string {
    return "Adamax";
  }
  protected override stateFields(): StateFields {
    return { step: "step", expAvg: "like", expInf: "squares" };
  }
  protected override stepLists({ group: g, params, packed, grads, t }: ListStep<Group>): void {
    const [expAvg, expInf, steps] = this.lists(params, STATE, (p) => ({
      step: this.counter(0, p, g),
      expAvg: this.zeros(p),
      expInf: this.zeros(p),
    })) as [List, List, List];
    const [beta1, beta2] = g.betas;
    const counts = g.capturable ? null : this.counts(steps, params);
    const grad = t.gradients(grads, packed, g);
    inPlace.lerp(expAvg, grad, 1 - beta1);
    if (t.recording) inPlace.copy(expInf, t.maximum(t.mul(expInf, beta2), t.add(t.abs(grad), g.eps)));
    else {
      t.scale(expInf, beta2);
      inPlace.maximum(expInf, t.add(t.abs(grad), g.eps));
    }
    if (counts !== null)
      return addQuotients_(
        packed,
        expAvg,
        expInf,
        fromCounts(counts, (n) => -(g.lr / (1 - native.pow(beta1, n)))),
      );
    this.count(steps);
    const correction = t.div(t.sub(t.power(beta1, steps), 1), g.lr);
    inPlace.addcdiv(packed, expAvg, t.mul(expInf, correction));
  }
}
