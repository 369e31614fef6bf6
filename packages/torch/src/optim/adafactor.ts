/** Adafactor. */
import { byDefault, real, such } from "../kinds.js";
import { native } from "../native.js";
import type { OptionNames } from "../options.js";
import { finfo } from "../tensor/dtype.js";
import { zeros } from "../ops/index.js";
import { signature, type Call, type Values } from "../signature.js";
import { itemSize, type DType } from "../tensor/dtype.js";
import type { Tensor } from "../tensor/tensor.js";
import { FLAG, FOREACH, NON_NEGATIVE, PARAMS, paramsAndDefaults, ROUNDING_ROWS } from "./common-options.js";
import { ArgumentError } from "../errors.js";
import { fromCounts, ListOptimizer, steppedDType, type ListStep } from "./list-optimizer.js";
import { inPlace, type List } from "./lists.js";
import { operator } from "./operators.js";
import type { RoundingOptions } from "./rounding.js";
import type { ParamGroup, ParameterState, ParamsLike, StateFields } from "./state.js";

export interface AdafactorArguments extends RoundingOptions {
  readonly params: ParamsLike;
  /** The most that the rate, which falls with 1 / √n, may be, ≥ 0. Default 1e-2. */
  readonly lr?: number;
  /** Of step n the squares enter their means with n^beta2Decay, ≤ 0. Default -0.8. */
  readonly beta2Decay?: number;
  /** The least that squares may be (null: what the dtype tells from 1), and the least size of a parameter. Default [null,
   * 1e-3]. */
  readonly eps?: readonly [number | null, number];
  /** The most that the mean square of a step may be, ≥ 1. Default 1. */
  readonly d?: number;
  /** p ← (1 - lr · weightDecay) p first, ≥ 0. Default 0. */
  readonly weightDecay?: number;
  /** Which of PyTorch's two arithmetics: that over lists (true), or of each tensor. They differ in the last bits. Default
   * null: of each tensor. */
  readonly foreach?: boolean | null;
  /** Maximize the objective. Default false. */
  readonly maximize?: boolean;
}
const ROWS = {
  params: PARAMS,
  lr: byDefault(1e-2, NON_NEGATIVE),
  beta2Decay: byDefault(-0.8, real("(-∞, 0]")),
  eps: byDefault(
    [null, 1e-3] as const,
    such<readonly [number | null, number]>("a number ≥ 0 or null, and a number ≥ 0", (v) => {
      if (!Array.isArray(v) || v.length !== 2) return false;
      const [least, size] = v as readonly unknown[];
      return (least === null || NON_NEGATIVE.accepts(least)) && NON_NEGATIVE.accepts(size);
    }),
  ),
  d: byDefault(1, real("[1, ∞)")),
  weightDecay: byDefault(0, NON_NEGATIVE),
  foreach: FOREACH,
  maximize: FLAG,
  ...ROUNDING_ROWS,
} satisfies OptionNames<AdafactorArguments>;
const read = signature("Adafactor", ROWS, 6);
type AdafactorCall = Call<
  AdafactorArguments,
  ["params", "lr", "beta2Decay", "eps", "d", "weightDecay"],
  [
    params: ParamsLike,
    lr?: number,
    beta2Decay?: number,
    eps?: readonly [number | null, number],
    d?: number,
    weightDecay?: number,
  ]
>;
type Group = ParamGroup & Values<typeof ROWS>;

/** Parameters of one kind, matrices or vectors, with what belongs to them. */
interface Kin {
  readonly params: readonly Tensor[];
  readonly grads: readonly Tensor[];
  readonly states: readonly ParameterState[];
  readonly counts: readonly number[];
}

/**
 * Adam's squares in a row and a column for each matrix, and steps in proportion to a parameter's size. Shazeer and Stern,
 * 2018, arXiv:1804.04235.
 *
 * State: `step`, and `rowVar` and `colVar` of parameters of two and more dimensions, `variance` of others, in the
 * parameter's dtype. A step reads two norms of each parameter: it waits for the device. Equal to PyTorch's bit for bit
 * on CPU.
 * @throws {ArgumentError} `Adafactor: expected d to be a number ≥ 1. Received: 0.5.`
 */
export class Adafactor extends ListOptimizer<Group> {
  constructor(...given: AdafactorCall) {
    super(...paramsAndDefaults(read(given, new.target.name)));
  }
  protected override get rows() {
    return ROWS;
  }
  protected override get algorithm(): string {
    return "Adafactor";
  }
  override get needsWholeParameters(): string {
    return "its averages are of whole rows and columns";
  }
  protected override validate(group: ParamGroup): void {
    super.validate(group);
    for (const p of group.params)
      if (p.isComplex()) throw new ArgumentError(this.constructor.name, "real parameters", p);
  }
  protected override stateFields(): StateFields {
    return { step: "step", rowVar: "rows?", colVar: "columns?", variance: "squares?" };
  }
  override expectedStateBytes(p: Tensor, given?: DType): number {
    const dtype = steppedDType(this, arguments, p, given);
    const numel = p.numel();
    const [rows = 1, columns = 1] = p.shape.slice(-2);
    const kept = p.dim() > 1 && numel > 0 ? numel / columns + numel / rows : numel;
    return kept * itemSize(dtype);
  }

  protected override stepLists({ group: g, params, grads, t }: ListStep<Group>): void {
    const gradients = grads.toArray();
    const states = params.map((p, i) =>
      this.stateOf(p, () => {
        this.requireDense(p);
        return this.#fresh(gradients[i] as Tensor, p, g);
      }),
    );
    const counts = states.map((state) => (state["step"] as Tensor).add_(1).item());
    const eps = g.eps[0] ?? finfo((params[0] as Tensor).dtype).eps;
    for (const isMatrix of [true, false]) {
      const which = params.flatMap((_, i) => ((gradients[i] as Tensor).dim() > 1 === isMatrix ? [i] : []));
      const pick = <T>(list: readonly T[]): T[] => which.map((i) => list[i] as T);
      if (which.length > 0)
        this.#stepKin(
          g,
          { params: pick(params), grads: pick(gradients), states: pick(states), counts: pick(counts) },
          isMatrix,
          eps,
          t,
        );
    }
    for (const each of gradients) each.dispose();
  }
  #fresh(grad: Tensor, p: Tensor, g: Group): ParameterState {
    const step = this.counter(0, p, g);
    if (grad.dim() < 2) return { step, variance: this.zeros(grad) };
    const without = (across: number): Tensor =>
      zeros(
        grad.shape.map((n, i) => (i === grad.dim() - across ? 1 : n)),
        { dtype: grad.dtype, device: grad.device },
      );
    return { step, rowVar: without(1), colVar: without(2) };
  }

  #stepKin(
    g: Group,
    { params, grads, states, counts }: Kin,
    isMatrix: boolean,
    eps: number,
    t: ListStep<Group>["t"],
  ): void {
    const grad = g.maximize ? t.neg(grads) : grads;
    const weights = fromCounts(counts, (n) => native.pow(n, g.beta2Decay));
    const rates = norms(t, params).map(
      (norm, i) => Math.max(g.eps[1], norm) * Math.min(g.lr, 1 / native.pow(counts[i] as number, 0.5)),
    );
    if (g.weightDecay !== 0) t.scale(params, 1 - g.lr * g.weightDecay);
    const state = (name: string): readonly Tensor[] => states.map((s) => s[name] as Tensor);
    const estimate = isMatrix
      ? ofMatrices(t, grad as readonly Tensor[], state("rowVar"), state("colVar"), weights, eps)
      : ofVectors(t, grad, state("variance"), weights);
    const update = t.mul(t.rsqrt(t.least(estimate, eps * eps)), grad);
    const negative = norms(t, update as readonly Tensor[]).map(
      (norm, i) => -(rates[i] as number) / Math.max(1, norm / g.d),
    );
    if (g.foreach === true) return void inPlace.add(params, t.mul(update, negative));
    params.forEach((p, i) => p.add_((update as readonly Tensor[])[i] as Tensor, { alpha: negative[i] as number }));
  }
}

/** Root mean squares. Waits for the device. */
function norms(t: ListStep<Group>["t"], list: readonly Tensor[]): number[] {
  const made = foreachNorm(list, 2) as readonly Tensor[];
  t.keep(made);
  return made.map((norm, i) => norm.item() / native.pow((list[i] as Tensor).numel(), 0.5));
}
/** Squares of matrices by those of their rows and columns. */
function ofMatrices(
  t: ListStep<Group>["t"],
  grads: readonly Tensor[],
  rows: readonly Tensor[],
  columns: readonly Tensor[],
  weights: readonly number[],
  eps: number,
): List {
  for (const [kept, dim] of [
    [rows, -1],
    [columns, -2],
  ] as const) {
    const made = t.keep(grads.map((grad) => grad.norm(2, [dim], true)));
    const mean = t.div(
      t.mul(made, made),
      grads.map((grad) => grad.size(dim)),
    );
    inPlace.lerp(kept, mean, weights);
  }
  const means = t.least(t.keep(rows.map((row) => row.mean([-2], true))), eps);
  return t.div(t.keep(rows.map((row, i) => row.matmul(columns[i] as Tensor))), means);
}
function ofVectors(t: ListStep<Group>["t"], grad: List, variance: readonly Tensor[], weights: readonly number[]): List {
  inPlace.lerp(variance, t.product(grad, grad), weights);
  return t.keep(variance.map((v) => v.clone()));
}

const foreachNorm = operator("_foreach_norm");
