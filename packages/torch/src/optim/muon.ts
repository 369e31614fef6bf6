/** Muon. */
import { ArgumentError } from "../errors.js";
import { byDefault, listOf, oneOf, orNull, real, such, whole } from "../kinds.js";
import type { OptionNames } from "../options.js";
import { addmm } from "../ops/index.js";
import { signature, type Call, type Values } from "../signature.js";
import { scope } from "../tensor/scope.js";
import type { Tensor } from "../tensor/tensor.js";
import { FLAG, NON_NEGATIVE, PARAMS, paramsAndDefaults, ROUNDING_ROWS } from "./common-options.js";
import { ListOptimizer, type ListStep } from "./list-optimizer.js";
import { inPlace, type List } from "./lists.js";
import type { RoundingOptions } from "./rounding.js";
import type { ParamGroup, ParamsLike, StateFields } from "./state.js";

export interface MuonArguments extends RoundingOptions {
  readonly params: ParamsLike;
  /** Learning rate, ≥ 0. Default 1e-3. */
  readonly lr?: number;
  /** p ← (1 - lr · weightDecay) p first, ≥ 0. Default 0.1. */
  readonly weightDecay?: number;
  /** How much of the running mean of g stays at each step, ≥ 0. Default 0.95. */
  readonly momentum?: number;
  /** Look ahead along the mean. Default true. */
  readonly nesterov?: boolean;
  /** Of the polynomial ax + bx³ + cx⁵ whose repetition brings singular values near 1. Default [3.4445, -4.775, 2.0315]. */
  readonly nsCoefficients?: readonly [number, number, number];
  /** The least norm that a gradient is divided by. Default 1e-7. */
  readonly eps?: number;
  /** How often the polynomial is applied, < 100. Default 5. */
  readonly nsSteps?: number;
  /**
   * How the rate depends on a matrix of A rows and B columns: "original" × √max(1, A / B), "match_rms_adamw" × 0.2
   * √max(A, B), so that AdamW's rates and decay suit. Default null: "original".
   */
  readonly adjustLrFn?: "original" | "match_rms_adamw" | null;
}
const ROWS = {
  params: PARAMS,
  lr: byDefault(1e-3, NON_NEGATIVE),
  weightDecay: byDefault(0.1, NON_NEGATIVE),
  momentum: byDefault(0.95, NON_NEGATIVE),
  nesterov: byDefault(true, FLAG),
  nsCoefficients: byDefault(
    [3.4445, -4.775, 2.0315] as const,
    such<readonly [number, number, number]>("three numbers", (v) => listOf(real(), 3).accepts(v)),
  ),
  eps: byDefault(1e-7, NON_NEGATIVE),
  nsSteps: byDefault(5, whole("[0, 100)")),
  adjustLrFn: byDefault(null, orNull(oneOf("original", "match_rms_adamw"))),
  ...ROUNDING_ROWS,
} satisfies OptionNames<MuonArguments>;
const read = signature("Muon", ROWS, 9);
type MuonCall = Call<
  MuonArguments,
  ["params", "lr", "weightDecay", "momentum", "nesterov", "nsCoefficients", "eps", "nsSteps", "adjustLrFn"],
  [
    params: ParamsLike,
    lr?: number,
    weightDecay?: number,
    momentum?: number,
    nesterov?: boolean,
    nsCoefficients?: readonly [number, number, number],
    eps?: number,
    nsSteps?: number,
    adjustLrFn?: "original" | "match_rms_adamw" | null,
  ]
>;
type Group = ParamGroup & Values<typeof ROWS>;
const STATE = ["momentumBuffer"];

/**
 * For the matrices of hidden layers: m ← μm + (1-μ)g, and a step along the matrix nearest to m (ahead of it with
 * `nesterov`) whose singular values are near 1. Embeddings, heads and vectors are better stepped by AdamW. Jordan, 2024;
 * "match_rms_adamw": Liu et al., 2025, arXiv:2502.16982.
 *
 * The polynomial is computed in bfloat16. State: `momentumBuffer`, in the parameter's dtype. Steps are PyTorch's, bit for
 * bit where products of bfloat16 matrices are; but without nesterov the mean of a bfloat16 parameter stays what it is,
 * where PyTorch divides it by its norm.
 * @throws {ArgumentError} `Muon: expected real matrices. Received: Tensor float32 [3] cpu.`
 */
export class Muon extends ListOptimizer<Group> {
  constructor(...given: MuonCall) {
    super(...paramsAndDefaults(read(given, new.target.name)));
  }
  protected override get rows() {
    return ROWS;
  }
  protected override get algorithm(): string {
    return "Muon";
  }
  override get needsWholeParameters(): string {
    return "its steps are of whole matrices";
  }
  protected override validate(group: ParamGroup): void {
    super.validate(group);
    for (const p of group.params)
      if (p.dim() !== 2 || p.isComplex())
        throw new ArgumentError(
          this.constructor.name,
          "real matrices",
          p,
          "Step other parameters with another optimizer, such as AdamW.",
        );
  }
  protected override stateFields(): StateFields {
    return { momentumBuffer: "like" };
  }
  protected override stepLists({ group: g, params, grads, t }: ListStep<Group>): void {
    const [buffer] = this.lists(params, STATE, (p) => ({ momentumBuffer: this.zeros(p) })) as [List];
    inPlace.lerp(buffer, grads, 1 - g.momentum);
    const ahead = g.nesterov
      ? (t.lerp(grads, buffer, g.momentum) as readonly Tensor[])
      : params.map((p) => this.state.get(p)?.["momentumBuffer"] as Tensor);
    scope(() =>
      params.forEach((p, i) => {
        const step = orthogonal(ahead[i] as Tensor, g);
        p.mul_(1 - g.lr * g.weightDecay);
        p.add_(step, { alpha: -adjusted(g, p.shape) });
      }),
    );
  }
}

/** The same singular vectors, singular values near 1: in bfloat16. */
function orthogonal(matrix: Tensor, { nsCoefficients, nsSteps, eps }: Group): Tensor {
  const [a, b, c] = nsCoefficients;
  const tall = matrix.size(0) > matrix.size(1);
  const start = matrix.to({ dtype: "bfloat16", copy: true });
  let x = tall ? start.t() : start;
  x.div_(x.norm().clampMin(eps));
  for (let n = 0; n < nsSteps; n++) {
    const gram = x.matmul(x.t());
    const update = addmm(gram, gram, gram, { beta: b, alpha: c });
    x = addmm(x, update, x, { beta: a });
  }
  return tall ? x.t() : x;
}
function adjusted({ lr, adjustLrFn }: Group, [rows = 1, columns = 1]: readonly number[]): number {
  return (
    lr *
    (adjustLrFn === "match_rms_adamw"
      ? 0.2 * Math.sqrt(Math.max(rows, columns))
      : Math.sqrt(Math.max(1, rows / columns)))
  );
}
