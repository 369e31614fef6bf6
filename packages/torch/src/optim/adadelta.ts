/** Adadelta. */
import { byDefault, real } from "../kinds.js";
import type { OptionNames } from "../options.js";
import { signature, type Call, type Values } from "../signature.js";
import {
  CAPTURABLE_ROWS,
  COMPUTE_ROWS,
  NON_NEGATIVE,
  PARAMS,
  paramsAndDefaults,
  ROUNDING_ROWS,
  type CapturableOptions,
  type ComputeOptions,
} from "./common-options.js";
import { ListOptimizer, type ListStep } from "./list-optimizer.js";
import { inPlace, type List } from "./lists.js";
import type { RoundingOptions } from "./rounding.js";
import type { ParamGroup, ParamsLike, StateFields } from "./state.js";

export interface AdadeltaArguments extends ComputeOptions, CapturableOptions, RoundingOptions {
  readonly params: ParamsLike;
  /** What the step is multiplied by, ≥ 0. Default 1. */
  readonly lr?: number;
  /** How much of the running means of g² and of squared steps stays, in [0, 1]. Default 0.9. */
  readonly rho?: number;
  /** Added under both roots, ≥ 0. Default 1e-6. */
  readonly eps?: number;
  /** Added to the gradient as weightDecay · p, ≥ 0. Default 0. */
  readonly weightDecay?: number;
}
const ROWS = {
  params: PARAMS,
  lr: byDefault(1, NON_NEGATIVE),
  rho: byDefault(0.9, real("[0, 1]")),
  eps: byDefault(1e-6, NON_NEGATIVE),
  weightDecay: byDefault(0, NON_NEGATIVE),
  ...COMPUTE_ROWS,
  ...CAPTURABLE_ROWS,
  ...ROUNDING_ROWS,
} satisfies OptionNames<AdadeltaArguments>;
const read = signature("Adadelta", ROWS, 6);
type AdadeltaCall = Call<
  AdadeltaArguments,
  ["params", "lr", "rho", "eps", "weightDecay", "foreach"],
  [params: ParamsLike, lr?: number, rho?: number, eps?: number, weightDecay?: number, foreach?: boolean | null]
>;
type Group = ParamGroup & Values<typeof ROWS>;
const STATE = ["squareAvg", "accDelta", "step"];

/**
 * v ← ρv + (1-ρ)g²; Δ ← √(u + eps) / √(v + eps) · g; u ← ρu + (1-ρ)Δ²; p ← p - lr · Δ. Zeiler, 2012, arXiv:1212.5701.
 *
 * State: `step`, `squareAvg` (v) and `accDelta` (u), in the parameter's dtype. Equal to PyTorch's bit for bit on CPU.
 * @throws {ArgumentError} `Adadelta: expected rho to be a number in [0, 1]. Received: 2.`
 */
export class Adadelta extends ListOptimizer<Group> {
  constructor(...given: AdadeltaCall) {
    super(...paramsAndDefaults(read(given, new.target.name)));
  }
  protected override get rows() {
    return ROWS;
  }
  protected override get algorithm(): string {
    return "Adadelta";
  }
  protected override stateFields(): StateFields {
    return { step: "step", squareAvg: "squares", accDelta: "squares" };
  }
  protected override stepLists({ group: g, params, packed, grads, t }: ListStep<Group>): void {
    const [squareAvg, accDelta, steps] = this.lists(params, STATE, (p) => ({
      step: this.counter(0, p, g),
      squareAvg: this.zeros(p),
      accDelta: this.zeros(p),
    })) as [List, List, List];
    this.count(steps);
    const grad = t.gradients(grads, packed, g);
    t.scale(squareAvg, g.rho);
    inPlace.addcmul(squareAvg, grad, grad, 1 - g.rho);
    const std = t.sqrt(t.add(squareAvg, g.eps));
    const delta = t.mul(t.div(t.sqrt(t.add(accDelta, g.eps)), std), grad);
    t.scale(accDelta, g.rho);
    inPlace.addcmul(accDelta, delta, delta, 1 - g.rho);
    inPlace.add(packed, delta, { alpha: -g.lr });
  }
}
