/** Resilient backpropagation. */
import { byDefault, listOf, real, such, type Kind } from "../kinds.js";
import type { OptionNames } from "../options.js";
import { fullLike } from "../ops/index.js";
import { signature, type Call, type Values } from "../signature.js";
import type { Tensor } from "../tensor/tensor.js";
import {
  CAPTURABLE_ROWS,
  FLAG,
  FOREACH,
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

export interface RpropArguments extends ComputeOptions, CapturableOptions, RoundingOptions {
  readonly params: ParamsLike;
  /** The first step of every element, ≥ 0. Default 1e-2. */
  readonly lr?: number;
  /** What steps are multiplied by where a gradient turns, in (0, 1), and where it does not, > 1. Default [0.5, 1.2]. */
  readonly etas?: readonly [number, number];
  /** The least and the largest step. Default [1e-6, 50]. */
  readonly stepSizes?: readonly [number, number];
}
const PAIR: Kind<readonly number[]> = listOf(real(), 2);
const ROWS = {
  params: PARAMS,
  lr: byDefault(1e-2, NON_NEGATIVE),
  etas: byDefault(
    [0.5, 1.2] as const,
    such<readonly [number, number]>("two numbers, the first in (0, 1), the other > 1", (v) => {
      const [less = 0, more = 0] = PAIR.accepts(v) ? (v as readonly number[]) : [];
      return less > 0 && less < 1 && more > 1;
    }),
  ),
  stepSizes: byDefault(
    [1e-6, 50] as const,
    such<readonly [number, number]>("two numbers", (v) => PAIR.accepts(v)),
  ),
  ...CAPTURABLE_ROWS,
  foreach: FOREACH,
  maximize: FLAG,
  differentiable: FLAG,
  ...ROUNDING_ROWS,
} satisfies OptionNames<RpropArguments>;
const read = signature("Rprop", ROWS, 4);
type RpropCall = Call<
  RpropArguments,
  ["params", "lr", "etas", "stepSizes"],
  [params: ParamsLike, lr?: number, etas?: readonly [number, number], stepSizes?: readonly [number, number]]
>;
type Group = ParamGroup & Values<typeof ROWS>;
const STATE = ["prev", "stepSize", "step"];

/**
 * Steps by the signs of gradients alone, for whole batches: each element's step grows by the second eta while its
 * gradient keeps its sign, and shrinks by the first when it turns, when the element stays where it is. Riedmiller and
 * Braun, 1993.
 *
 * State: `step`, `prev` (the last gradient) and `stepSize`, in the parameter's dtype. Equal to PyTorch's bit for bit on
 * CPU.
 * @throws {ArgumentError} `Rprop: expected etas to be two numbers, the first in (0, 1), the other > 1. Received: [2,
 * 3].`
 */
export class Rprop extends ListOptimizer<Group> {
  constructor(...given: RpropCall) {
    super(...paramsAndDefaults(read(given, new.target.name)));
  }
  protected override get rows() {
    return ROWS;
  }
  protected override get algorithm(): string {
    return "Rprop";
  }
  protected override stateFields(): StateFields {
    return { step: "step", prev: "like", stepSize: "like" };
  }
  protected override stepLists({ group: g, params, packed, grads, t }: ListStep<Group>): void {
    const [prev, stepSize, steps] = this.lists(params, STATE, (p) => ({
      step: this.counter(0, p, g),
      prev: this.zeros(p),
      stepSize: fullLike(p, g.lr, { memoryFormat: "preserveFormat" }),
    })) as [List, List, List];
    this.count(steps);
    const [shrink, grow] = g.etas;
    const grad = g.maximize ? t.neg(grads) : grads;
    const sign = t.sign(t.mul(prev, grad));
    // The two etas where the sign is one or the other, and 1 where it is 0: sums of which one term is not zero.
    const same = t.atLeast(sign, 0);
    const turned = t.atMost(sign, 0);
    const still = t.add(t.neg(t.abs(sign)), 1);
    inPlace.mul(stepSize, t.add(t.add(t.mul(same, grow), turned, -shrink), still));
    inPlace.clampMin(stepSize, g.stepSizes[0]);
    inPlace.clampMax(stepSize, g.stepSizes[1]);
    inPlace.copy(prev, grad);
    (turned as readonly Tensor[]).forEach((mask, i) => {
      const last = this.state.get(params[i] as Tensor)?.["prev"] as Tensor;
      const turns = mask.lt(0);
      last.maskedFill_(turns, 0);
      turns.dispose();
    });
    inPlace.addcmul(packed, t.sign(prev), stepSize, -1);
  }
}
