/** Adagrad. */
import { ArgumentError, NbitError } from "../errors.js";
import { byDefault, flag, orNull } from "../kinds.js";
import type { OptionNames } from "../options.js";
import { fullLike } from "../ops/index.js";
import { signature, type Call, type Values } from "../signature.js";
import type { TensorList } from "../tensor/list.js";
import { scope } from "../tensor/scope.js";
import type { Tensor } from "../tensor/tensor.js";
import {
  COMPUTE_ROWS,
  NON_NEGATIVE,
  PARAMS,
  paramsAndDefaults,
  ROUNDING_ROWS,
  type ComputeOptions,
} from "./common-options.js";
import { fromCounts, ListOptimizer, type ListStep } from "./list-optimizer.js";
import { addQuotients_, inPlace, type List } from "./lists.js";
import { count, operator } from "./operators.js";
import { usesFloat32Update, type RoundingOptions } from "./rounding.js";
import { SparseGradient } from "./sparse.js";
import type { ParamGroup, ParamsLike, StateFields } from "./state.js";

export interface AdagradArguments extends ComputeOptions, RoundingOptions {
  readonly params: ParamsLike;
  /** Learning rate, ≥ 0. Default 1e-2. */
  readonly lr?: number;
  /** The rate of step n is lr / (1 + (n - 1) · lrDecay), ≥ 0. Default 0. */
  readonly lrDecay?: number;
  /** Added to the gradient as weightDecay · p, ≥ 0; not with sparse gradients. Default 0. */
  readonly weightDecay?: number;
  /** What sums of squares begin with, ≥ 0, in every group. Default 0. */
  readonly initialAccumulatorValue?: number;
  /** Added to √s, ≥ 0. Default 1e-10. */
  readonly eps?: number;
  /** One kernel for everything, for real parameters and dense gradients. Default null: no. */
  readonly fused?: boolean | null;
}
const ROWS = {
  params: PARAMS,
  lr: byDefault(1e-2, NON_NEGATIVE),
  lrDecay: byDefault(0, NON_NEGATIVE),
  weightDecay: byDefault(0, NON_NEGATIVE),
  initialAccumulatorValue: byDefault(0, NON_NEGATIVE),
  eps: byDefault(1e-10, NON_NEGATIVE),
  ...COMPUTE_ROWS,
  fused: byDefault(null, orNull(flag)),
  ...ROUNDING_ROWS,
} satisfies OptionNames<AdagradArguments>;
const read = signature("Adagrad", ROWS, 7);
type AdagradCall = Call<
  AdagradArguments,
  ["params", "lr", "lrDecay", "weightDecay", "initialAccumulatorValue", "eps", "foreach"],
  [
    params: ParamsLike,
    lr?: number,
    lrDecay?: number,
    weightDecay?: number,
    initialAccumulatorValue?: number,
    eps?: number,
    foreach?: boolean | null,
  ]
>;
type Group = ParamGroup & Values<typeof ROWS>;
const STATE = ["sum", "step"];

/**
 * s ← s + g²; p ← p - lr / (1 + (n - 1) · lrDecay) · g / (√s + eps). Duchi, Hazan and Singer, 2011, JMLR 12.
 *
 * State: `step` and `sum` (s), in the parameter's dtype, made at the first gradient. Sparse gradients step the rows that
 * they name. Equal to PyTorch's bit for bit on CPU.
 * @throws {ArgumentError} `Adagrad: expected lrDecay to be a number ≥ 0. Received: -1.`
 * @throws {NbitError} `GRADIENT_LAYOUT` for sparse gradients with weightDecay or fused.
 */
export class Adagrad extends ListOptimizer<Group> {
  constructor(...given: AdagradCall) {
    super(...paramsAndDefaults(read(given, new.target.name)));
  }
  protected override get rows() {
    return ROWS;
  }
  protected override get algorithm(): string {
    return "Adagrad";
  }
  override get supportsAmpScaling(): boolean {
    return this.paramGroups.every((g) => g["fused"] === true && !usesFloat32Update(g));
  }
  protected override validate(group: ParamGroup): void {
    super.validate(group);
    if (group["fused"] !== true) return;
    const fn = this.constructor.name;
    if (group["foreach"] === true || group["differentiable"] === true)
      throw new ArgumentError(fn, "fused without foreach or differentiable", group);
    for (const p of group.params)
      if (!p.isFloatingPoint()) throw new ArgumentError(fn, "real floating point parameters with fused", p);
  }
  protected override stateFields(): StateFields {
    return { step: "step", sum: "squares" };
  }
  protected override requireDense(): void {}

  protected override stepLists(step: ListStep<Group>): void {
    const { group: g, params, packed, grads } = step;
    const initial = Number(this.defaults["initialAccumulatorValue"]);
    const sparse = this.#sparseOnes(params);
    if (sparse.length > 0) this.#requirePlain(g);
    const [sum, steps] = this.pack(params, STATE, (p) => ({
      step: this.counter(0, p, g),
      sum: fullLike(p, initial, { memoryFormat: "preserveFormat" }),
    })) as [List, List];
    if (g.fused === true) return this.#fused(g, packed, grads, sum, steps);
    const counts = this.counts(steps, params);
    const rates = fromCounts(counts, (n) => g.lr / (1 + (n - 1) * g.lrDecay));
    if (sparse.length === 0) return this.#dense(step, packed, grads, sum, rates);
    const dense = params.map((_, i) => i).filter((i) => !sparse.includes(i));
    const select = (list: List): List => (list as TensorList).select(dense);
    if (dense.length > 0)
      this.#dense(
        step,
        select(packed),
        select(grads),
        select(sum),
        dense.map((i) => rates[i] as number),
      );
    scope(() => {
      for (const i of sparse) {
        const p = params[i] as Tensor;
        this.#sparse(g, p, p.grad as Tensor, this.state.get(p)?.["sum"] as Tensor, rates[i] as number);
      }
    });
  }
  #dense({ group: g, t, overLists }: ListStep<Group>, params: List, grads: List, sum: List, rates: number[]): void {
    const grad = t.gradients(grads, params, g);
    inPlace.addcmul(sum, grad, grad, 1);
    const std = t.add(t.sqrt(sum), g.eps);
    const negative = rates.map((rate) => -rate);
    if (overLists) inPlace.addcdiv(params, t.mul(grad, negative), std);
    else addQuotients_(params, grad, std, negative);
  }
  #sparse(g: Group, p: Tensor, gradient: Tensor, sum: Tensor, rate: number): void {
    const grad = new SparseGradient(g.maximize ? gradient.neg() : gradient);
    if (grad.values.numel() === 0) return;
    sum.add_(grad.with(grad.values.pow(2)));
    p.add_(grad.with(grad.values.div(grad.of(sum).sqrt_().add_(g.eps))), { alpha: -rate });
  }
  #fused(g: Group, params: List, grads: List, sum: List, steps: List): void {
    count(steps as TensorList);
    const { foundInf, gradScale } = this;
    fusedAdagrad_(params, grads, sum, steps, {
      lr: this.rateOf(g),
      lrDecay: g.lrDecay,
      weightDecay: g.weightDecay,
      eps: g.eps,
      maximize: g.maximize,
      gradScale,
      foundInf,
    });
    // A skipped step does not count.
    if (foundInf !== null) subtract_(steps, new Array<Tensor>((steps as TensorList).length).fill(foundInf));
  }
  /** Where gradients name rows. */
  #sparseOnes(params: readonly Tensor[]): readonly number[] {
    const found: number[] = [];
    for (let i = 0; i < params.length; i++) if ((params[i] as Tensor).grad?.layout === "sparseCoo") found.push(i);
    return found;
  }
  #requirePlain(g: Group): void {
    if (g.weightDecay === 0 && g.fused !== true) return;
    const what = g.fused === true ? "fused" : "weightDecay";
    throw new NbitError(
      `${this.constructor.name}: expected dense gradients with ${what}. Received: a sparse one.`,
      "GRADIENT_LAYOUT",
    );
  }
}

const fusedAdagrad_ = operator("_fused_adagrad_");
const subtract_ = operator("_foreach_sub_");
