/** Adam with Nesterov's momentum. */
import { byDefault } from "../kinds.js";
import { native } from "../native.js";
import type { OptionNames } from "../options.js";
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
import { addQuotients_, inPlace, type List } from "./lists.js";
import type { RoundingOptions } from "./rounding.js";
import type { ParamGroup, ParamsLike, StateFields } from "./state.js";

export interface NAdamArguments extends ComputeOptions, CapturableOptions, RoundingOptions {
  readonly params: ParamsLike;
  /** Learning rate, ≥ 0. Default 2e-3. */
  readonly lr?: number;
  /** How much of the running means of g and g² stays at each step, in [0, 1). Default [0.9, 0.999]. */
  readonly betas?: readonly [number, number];
  /** Added to √v, ≥ 0. Default 1e-8. */
  readonly eps?: number;
  /** Added to the gradient as weightDecay · p, or decoupled from it, ≥ 0. Default 0. */
  readonly weightDecay?: number;
  /** How fast the momentum grows to β₁, ≥ 0. Default 4e-3. */
  readonly momentumDecay?: number;
  /** p ← (1 - lr · weightDecay) p instead, as AdamW. Default false. */
  readonly decoupledWeightDecay?: boolean;
}
const ROWS = {
  params: PARAMS,
  lr: byDefault(2e-3, NON_NEGATIVE),
  betas: byDefault([0.9, 0.999] as const, BETAS),
  eps: byDefault(1e-8, NON_NEGATIVE),
  weightDecay: byDefault(0, NON_NEGATIVE),
  momentumDecay: byDefault(4e-3, NON_NEGATIVE),
  decoupledWeightDecay: FLAG,
  ...COMPUTE_ROWS,
  ...CAPTURABLE_ROWS,
  ...ROUNDING_ROWS,
} satisfies OptionNames<NAdamArguments>;
const read = signature("NAdam", ROWS, 7);
type NAdamCall = Call<
  NAdamArguments,
  ["params", "lr", "betas", "eps", "weightDecay", "momentumDecay", "decoupledWeightDecay"],
  [
    params: ParamsLike,
    lr?: number,
    betas?: readonly [number, number],
    eps?: number,
    weightDecay?: number,
    momentumDecay?: number,
    decoupledWeightDecay?: boolean,
  ]
>;
type Group = ParamGroup & Values<typeof ROWS>;
const STATE = ["expAvg", "expAvgSq", "muProduct", "step"];

/**
 * Adam that looks ahead along its momentum, which grows: μₙ = β₁(1 - 0.96^(n · momentumDecay) / 2); with m and v as
 * Adam's, p ← p - lr · ((1 - μₙ) / (1 - Πμ) · g + μₙ₊₁ / (1 - Πμ · μₙ₊₁) · m) / (√v̂ + eps). Dozat, 2016.
 *
 * State: `step`, `muProduct` (Πμ), `expAvg` and `expAvgSq` in the parameter's dtype. Equal to PyTorch's bit for bit on
 * CPU.
 * @throws {ArgumentError} `NAdam: expected momentumDecay to be a number ≥ 0. Received: -1.`
 */
export class NAdam extends ListOptimizer<Group> {
  constructor(...given: NAdamCall) {
    super(...paramsAndDefaults(read(given, new.target.name)));
  }
  protected override get rows() {
    return ROWS;
  }
  protected override get algorithm(): string {
    return "NAdam";
  }
  protected override stateFields(): StateFields {
    return { step: "step", muProduct: "number", expAvg: "like", expAvgSq: "squares" };
  }
  protected override stepLists(step: ListStep<Group>): void {
    const { group: g, params, packed, grads, t } = step;
    const [expAvg, expAvgSq, products, steps] = this.lists(params, STATE, (p) => ({
      step: this.counter(0, p, g),
      muProduct: this.counter(1, p, g),
      expAvg: this.zeros(p),
      expAvgSq: this.zeros(p),
    })) as [List, List, List, List];
    const [beta1, beta2] = g.betas;
    const counts = g.capturable ? null : this.counts(steps, params);
    if (counts === null) this.count(steps);
    const decay = g.decoupledWeightDecay ? 0 : g.weightDecay;
    if (g.decoupledWeightDecay && g.weightDecay !== 0) t.scale(packed, 1 - g.lr * g.weightDecay);
    const grad = t.gradients(grads, packed, { maximize: g.maximize, weightDecay: decay });
    inPlace.lerp(expAvg, grad, 1 - beta1);
    t.scale(expAvgSq, beta2);
    inPlace.addcmul(expAvgSq, grad, grad, 1 - beta2);
    if (counts === null) return this.#onDevice(step, { grad, expAvg, expAvgSq, products, steps });

    const mu = (n: number): number => beta1 * (1 - 0.5 * native.pow(0.96, n * g.momentumDecay));
    const mus = fromCounts(counts, mu);
    const nexts = fromCounts(counts, (n) => mu(n + 1));
    const correction = fromCounts(counts, (n) => 1 - native.pow(beta2, n));
    const root = step.overLists
      ? t.div(
          t.sqrt(expAvgSq),
          correction.map((c) => native.pow(c, 0.5)),
        )
      : t.sqrt(t.div(expAvgSq, correction));
    const denominator = t.add(root, g.eps);
    inPlace.mul(products, mus);
    const product = params.map((p) => (this.state.get(p)?.["muProduct"] as Tensor).item());
    const each = (make: (i: number) => number): number[] => product.map((_, i) => make(i));
    const at = (list: readonly number[], i: number): number => list[i] as number;
    addQuotients_(
      packed,
      grad,
      denominator,
      each((i) => (-g.lr * (1 - at(mus, i))) / (1 - at(product, i))),
    );
    addQuotients_(
      packed,
      expAvg,
      denominator,
      each((i) => (-g.lr * at(nexts, i)) / (1 - at(product, i) * at(nexts, i))),
    );
  }

  /** By counts that stay where the parameters are. */
  #onDevice(
    { group: g, packed, t }: ListStep<Group>,
    lists: Readonly<Record<"grad" | "expAvg" | "expAvgSq" | "products" | "steps", List>>,
  ): void {
    const { grad, expAvg, expAvgSq, products, steps } = lists;
    const [beta1, beta2] = g.betas;
    const mu = (exponent: List): List => t.mul(t.add(t.mul(t.power(0.96, exponent), -0.5), 1), beta1);
    const exponent = t.mul(steps, g.momentumDecay);
    const mus = mu(exponent);
    const nexts = mu(t.add(exponent, g.momentumDecay));
    const correction = t.sqrt(t.neg(t.sub(t.power(beta2, steps), 1)));
    inPlace.mul(products, mus);
    const denominator = t.add(t.div(t.sqrt(expAvgSq), correction), g.eps);
    // Before `nexts` is written over.
    const rest = t.sub(t.mul(products, nexts), 1);
    const ofGradient = t.div(t.mul(t.sub(mus, 1), g.lr), t.neg(t.sub(products, 1)));
    const ofMean = t.div(t.mul(nexts, g.lr), rest);
    const numerator = t.mul(grad, ofGradient);
    inPlace.addcmul(numerator, expAvg, ofMean);
    inPlace.addcdiv(packed, numerator, denominator);
  }
}
