/** Rectified Adam. */
import { byDefault } from "../kinds.js";
import { native } from "../native.js";
import type { OptionNames } from "../options.js";
import { where } from "../ops/index.js";
import { signature, type Call, type Values } from "../signature.js";
import type { Tensor } from "../tensor/tensor.js";
import {
  BETAS,
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
import { fromCounts, ListOptimizer, type ListStep } from "./list-optimizer.js";
import { inPlace, type List } from "./lists.js";
import type { RoundingOptions } from "./rounding.js";
import type { ParamGroup, ParamsLike, StateFields } from "./state.js";

export interface RAdamArguments extends ComputeOptions, CapturableOptions, RoundingOptions {
  readonly params: ParamsLike;
  /** Learning rate, ≥ 0. Default 1e-3. */
  readonly lr?: number;
  /** How much of the running means of g and g² stays at each step, in [0, 1). Default [0.9, 0.999]. */
  readonly betas?: readonly [number, number];
  /** Added to √v, ≥ 0. Default 1e-8. */
  readonly eps?: number;
  /** Added to the gradient as weightDecay · p, or decoupled from it, ≥ 0. Default 0. */
  readonly weightDecay?: number;
  /** p ← (1 - lr · weightDecay) p instead, as AdamW. Default false. */
  readonly decoupledWeightDecay?: boolean;
}
const ROWS = {
  params: PARAMS,
  lr: byDefault(1e-3, NON_NEGATIVE),
  betas: byDefault([0.9, 0.999] as const, BETAS),
  eps: byDefault(1e-8, NON_NEGATIVE),
  weightDecay: byDefault(0, NON_NEGATIVE),
  decoupledWeightDecay: FLAG,
  ...COMPUTE_ROWS,
  ...CAPTURABLE_ROWS,
  ...ROUNDING_ROWS,
} satisfies OptionNames<RAdamArguments>;
const read = signature("RAdam", ROWS, 6);
type RAdamCall = Call<
  RAdamArguments,
  ["params", "lr", "betas", "eps", "weightDecay", "decoupledWeightDecay"],
  [
    params: ParamsLike,
    lr?: number,
    betas?: readonly [number, number],
    eps?: number,
    weightDecay?: number,
    decoupledWeightDecay?: boolean,
  ]
>;
type Group = ParamGroup & Values<typeof ROWS>;
const STATE = ["expAvg", "expAvgSq", "step"];
/** Of the averaging that v is: from here on its variance is known well enough to divide by it. */
const LONG_ENOUGH = 5;

/**
 * Adam without a warm-up: while too few gradients make v, p ← p - lr · m̂; then p ← p - lr · r · m̂ / (√v̂ + eps) with r
 * the square root of ((ρ-4)(ρ-2)ρ∞) / ((ρ∞-4)(ρ∞-2)ρ), ρ∞ = 2 / (1-β₂) - 1, ρ = ρ∞ - 2nβ₂ⁿ / (1-β₂ⁿ). Liu et al., 2020,
 * arXiv:1908.03265.
 *
 * State: `step`, `expAvg`, `expAvgSq` in the parameter's dtype. Equal to PyTorch's bit for bit on CPU.
 * @throws {ArgumentError} `RAdam: expected betas to be two numbers in [0, 1). Received: [0.9, 1].`
 */
export class RAdam extends ListOptimizer<Group> {
  constructor(...given: RAdamCall) {
    super(...paramsAndDefaults(read(given, new.target.name)));
  }
  protected override get rows() {
    return ROWS;
  }
  protected override get algorithm(): string {
    return "RAdam";
  }
  protected override stateFields(): StateFields {
    return { step: "step", expAvg: "like", expAvgSq: "squares" };
  }
  protected override stepLists(step: ListStep<Group>): void {
    const { group: g, params, packed, grads, t } = step;
    const [expAvg, expAvgSq, steps] = this.lists(params, STATE, (p) => ({
      step: this.counter(0, p, g),
      expAvg: this.zeros(p),
      expAvgSq: this.zeros(p),
    })) as [List, List, List];
    const [beta1, beta2] = g.betas;
    const counts = g.capturable ? null : this.counts(steps, params);
    if (counts === null) this.count(steps);
    const decay = g.decoupledWeightDecay ? 0 : g.weightDecay;
    if (g.decoupledWeightDecay && g.weightDecay !== 0) t.scale(packed, 1 - g.lr * g.weightDecay);
    const grad = t.gradients(grads, packed, { maximize: g.maximize, weightDecay: decay });
    inPlace.lerp(expAvg, grad, 1 - beta1);
    t.scale(expAvgSq, beta2);
    inPlace.addcmul(expAvgSq, grad, grad, 1 - beta2);
    if (counts === null) return this.#onDevice(step, expAvg, expAvgSq, steps);
    if (step.overLists) return this.#overLists(step, expAvg, expAvgSq, fromCounts(counts, rectification(g)), counts);
    this.#each(step, expAvg, expAvgSq, counts);
  }

  /** In the order of PyTorch's arithmetic of single tensors. */
  #each({ group: g, packed, t }: ListStep<Group>, expAvg: List, expAvgSq: List, counts: ArrayLike<number>): void {
    const [beta1, beta2] = g.betas;
    const rects = fromCounts(counts, rectification(g));
    let step = t.mul(
      t.div(
        expAvg,
        fromCounts(counts, (n) => 1 - native.pow(beta1, n)),
      ),
      g.lr,
    );
    if (rects.some((rect) => rect !== 0)) {
      const rate = t.mul(
        t.reciprocal(t.add(t.sqrt(expAvgSq), g.eps)),
        fromCounts(counts, (n) => native.pow(1 - native.pow(beta2, n), 0.5)),
      );
      const long = rects.flatMap((rect, i) => (rect === 0 ? [] : [i]));
      if (long.length === rects.length) step = t.mul(t.mul(step, rate), rects);
      else {
        const select = (list: List): List => long.map((i) => (list as readonly Tensor[])[i] as Tensor);
        inPlace.mul(select(step), select(rate));
        t.scale(
          select(step),
          long.map((i) => rects[i] as number),
        );
      }
    }
    inPlace.add(packed, step, { alpha: -1 });
  }

  /** In the order of PyTorch's arithmetic over lists. */
  #overLists(
    { group: g, packed, t }: ListStep<Group>,
    expAvg: List,
    expAvgSq: List,
    rects: readonly number[],
    counts: ArrayLike<number>,
  ): void {
    const [beta1, beta2] = g.betas;
    const corrections = fromCounts(counts, (n) => 1 - native.pow(beta1, n));
    const roots = fromCounts(counts, (n) => native.pow(1 - native.pow(beta2, n), 0.5));
    const of = (make: (rect: number, correction: number, root: number) => number): number[] =>
      rects.map((rect, i) => make(rect, corrections[i] as number, roots[i] as number));
    const rectified = of((rect, correction, root) => root * ((g.lr * rect) / correction) * -1);
    const plain = of((rect, correction) => ((g.lr * (rect > 0 ? 0 : 1)) / correction) * -1);
    const rate = t.add(t.reciprocal(t.div(t.add(t.sqrt(expAvgSq), g.eps), rectified)), plain);
    inPlace.addcmul(packed, expAvg, rate);
  }

  /** By counts that stay where the parameters are. */
  #onDevice({ group: g, packed, t }: ListStep<Group>, expAvg: List, expAvgSq: List, steps: List): void {
    const [beta1, beta2] = g.betas;
    const longest = 2 / (1 - beta2) - 1;
    const correction = (beta: number): List => t.add(t.neg(t.power(beta, steps)), 1);
    const shorter = t.mul(t.mul(t.power(beta2, steps), steps), 2);
    const length = t.add(t.neg(t.div(shorter, correction(beta2))), longest);
    const less = (n: number): List => t.difference(length, n);
    const numerator = t.mul(t.mul(less(4), less(2)), longest);
    const ratio = t.div(numerator, t.product(length, (longest - 4) * (longest - 2)));
    const rect = t.sqrt(ratio) as readonly Tensor[];
    const rects = t.keep(rect.map((r, i) => where((length as readonly Tensor[])[i]?.gt(LONG_ENOUGH) as Tensor, r, 0)));
    const plain = t.keep((rects as readonly Tensor[]).map((r) => where(r.gt(0), 0, 1).to(r.dtype)));
    const bias = correction(beta1);
    const unrectified = t.neg(t.div(t.mul(plain, g.lr), bias));
    const rectified = t.div(t.neg(t.mul(t.mul(t.sqrt(correction(beta2)), g.lr), rects)), bias);
    const rate = t.add(t.reciprocal(t.div(t.add(t.sqrt(expAvgSq), g.eps), rectified)), unrectified);
    inPlace.addcmul(packed, expAvg, rate);
  }
}

/** What steps are multiplied by after n of them; 0 while v is of too few. */
function rectification({ betas: [, beta2] }: Group): (n: number) => number {
  const longest = 2 / (1 - beta2) - 1;
  return (n) => {
    const power = native.pow(beta2, n);
    const length = longest - (2 * n * power) / (1 - power);
    return length > LONG_ENOUGH
      ? native.pow(((length - 4) * (length - 2) * longest) / ((longest - 4) * (longest - 2) * length), 0.5)
      : 0;
  };
}
