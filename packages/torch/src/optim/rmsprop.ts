/** RMSprop. */
import { byDefault } from "../kinds.js";
import type { OptionNames } from "../options.js";
import { signature, type Call, type Values } from "../signature.js";
import {
  CAPTURABLE_ROWS,
  COMPUTE_ROWS,
  FLAG,
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

export interface RMSpropArguments extends ComputeOptions, CapturableOptions, RoundingOptions {
  readonly params: ParamsLike;
  /** Learning rate, ≥ 0. Default 1e-2. */
  readonly lr?: number;
  /** How much of the running mean of g² stays at each step, ≥ 0. Default 0.99. */
  readonly alpha?: number;
  /** Added to √v, ≥ 0. Default 1e-8. */
  readonly eps?: number;
  /** Added to the gradient as weightDecay · p, ≥ 0. Default 0. */
  readonly weightDecay?: number;
  /** How much of the velocity stays at each step, ≥ 0. Default 0: no velocity. */
  readonly momentum?: number;
  /** Divide by an estimate of the variance, the mean of g taken away. Default false. */
  readonly centered?: boolean;
}
const ROWS = {
  params: PARAMS,
  lr: byDefault(1e-2, NON_NEGATIVE),
  alpha: byDefault(0.99, NON_NEGATIVE),
  eps: byDefault(1e-8, NON_NEGATIVE),
  weightDecay: byDefault(0, NON_NEGATIVE),
  momentum: byDefault(0, NON_NEGATIVE),
  centered: FLAG,
  ...CAPTURABLE_ROWS,
  ...COMPUTE_ROWS,
  ...ROUNDING_ROWS,
} satisfies OptionNames<RMSpropArguments>;
const read = signature("RMSprop", ROWS, 11);
type RMSpropCall = Call<
  RMSpropArguments,
  [
    "params",
    "lr",
    "alpha",
    "eps",
    "weightDecay",
    "momentum",
    "centered",
    "capturable",
    "foreach",
    "maximize",
    "differentiable",
  ],
  [
    params: ParamsLike,
    lr?: number,
    alpha?: number,
    eps?: number,
    weightDecay?: number,
    momentum?: number,
    centered?: boolean,
    capturable?: boolean,
    foreach?: boolean | null,
    maximize?: boolean,
    differentiable?: boolean,
  ]
>;
type Group = ParamGroup & Values<typeof ROWS>;
const PLAIN = ["squareAvg", "step"];
const CENTERED = [...PLAIN, "gradAvg"];
const MOVING = [...PLAIN, "momentumBuffer"];
const BOTH = [...CENTERED, "momentumBuffer"];

/**
 * v ← αv + (1-α)g²; p ← p - lr · g / (√v + eps); with `momentum`, b ← momentum · b + g / (√v + eps) and p ← p - lr · b;
 * `centered`: √(v - m²) with m the running mean of g. Tieleman and Hinton, 2012; centered: Graves, 2013,
 * arXiv:1308.0850.
 *
 * State: `step`, `squareAvg` (v), and `momentumBuffer` (b), `gradAvg` (m) where they are used, in the parameter's dtype.
 * Equal to PyTorch's bit for bit on CPU.
 * @throws {ArgumentError} `RMSprop: expected momentum to be a number ≥ 0. Received: -1.`
 */
export class RMSprop extends ListOptimizer<Group> {
  constructor(...given: RMSpropCall) {
    super(...paramsAndDefaults(read(given, new.target.name)));
  }
  protected override get rows() {
    return ROWS;
  }
  protected override get algorithm(): string {
    return "RMSprop";
  }
  protected override stateFields(group: ParamGroup): StateFields {
    const { momentum, centered } = group as Group;
    return {
      step: "step",
      squareAvg: "squares",
      momentumBuffer: momentum > 0 ? "like" : "like?",
      gradAvg: centered ? "like" : "like?",
    };
  }
  protected override stepLists({ group: g, params, packed, grads, t }: ListStep<Group>): void {
    const moving = g.momentum > 0;
    const names = g.centered ? (moving ? BOTH : CENTERED) : moving ? MOVING : PLAIN;
    const lists = this.lists(params, names, (p) => ({
      step: this.counter(0, p, g),
      squareAvg: this.zeros(p),
      ...(moving ? { momentumBuffer: this.zeros(p) } : {}),
      ...(g.centered ? { gradAvg: this.zeros(p) } : {}),
    }));
    const [squareAvg, steps] = lists as [List, List];
    this.count(steps);
    const grad = t.gradients(grads, packed, g);
    t.scale(squareAvg, g.alpha);
    inPlace.addcmul(squareAvg, grad, grad, 1 - g.alpha);
    let root: List;
    if (g.centered) {
      const gradAvg = lists[2] as List;
      inPlace.lerp(gradAvg, grad, 1 - g.alpha);
      root = t.sqrt(t.addcmul(squareAvg, gradAvg, gradAvg, -1));
    } else root = t.sqrt(squareAvg);
    root = t.add(root, g.eps);
    if (!moving) return void inPlace.addcdiv(packed, grad, root, -g.lr);
    const buffer = lists[names.length - 1] as List;
    t.scale(buffer, g.momentum);
    inPlace.addcdiv(buffer, grad, root);
    inPlace.add(packed, buffer, { alpha: -g.lr });
  }
}
