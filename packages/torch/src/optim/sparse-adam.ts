/** Adam for sparse gradients. */
import { ArgumentError, NbitError } from "../errors.js";
import { byDefault, real } from "../kinds.js";
import { native } from "../native.js";
import type { OptionNames } from "../options.js";
import { signature, type Call, type Values } from "../signature.js";
import { scope } from "../tensor/scope.js";
import type { Tensor } from "../tensor/tensor.js";
import { BETAS, FLAG, PARAMS, paramsAndDefaults } from "./common-options.js";
import { ListOptimizer, type ListStep } from "./list-optimizer.js";
import { SparseGradient } from "./sparse.js";
import type { ParamGroup, ParamsLike, StateFields, StateValue } from "./state.js";

export interface SparseAdamArguments {
  readonly params: ParamsLike;
  /** Learning rate, > 0. Default 1e-3. */
  readonly lr?: number;
  /** How much of the running means of g and g² stays at each step, in [0, 1). Default [0.9, 0.999]. */
  readonly betas?: readonly [number, number];
  /** Added to √v, > 0. Default 1e-8. */
  readonly eps?: number;
  /** Maximize the objective: step along the gradient. Default false. */
  readonly maximize?: boolean;
}
const POSITIVE = real("(0, ∞)");
const ROWS = {
  params: PARAMS,
  lr: byDefault(1e-3, POSITIVE),
  betas: byDefault([0.9, 0.999] as const, BETAS),
  eps: byDefault(1e-8, POSITIVE),
  maximize: FLAG,
} satisfies OptionNames<SparseAdamArguments>;
const read = signature("SparseAdam", ROWS, 5);
type SparseAdamCall = Call<
  SparseAdamArguments,
  ["params", "lr", "betas", "eps", "maximize"],
  [params: ParamsLike, lr?: number, betas?: readonly [number, number], eps?: number, maximize?: boolean]
>;
type Group = ParamGroup & Values<typeof ROWS>;

/**
 * Adam that steps, and remembers, only the rows that a sparse gradient names: moments of the other rows do not decay. For
 * `nn.Embedding` with `sparse: true`.
 *
 * State: `step`, a number, `expAvg` and `expAvgSq`, dense, in the parameter's dtype. Equal to PyTorch's bit for bit on
 * CPU.
 * @throws {ArgumentError} `SparseAdam: expected lr to be a number > 0. Received: 0.`
 * @throws {NbitError} `GRADIENT_LAYOUT` for a dense gradient.
 */
export class SparseAdam extends ListOptimizer<Group> {
  constructor(...given: SparseAdamCall) {
    super(...paramsAndDefaults(read(given, new.target.name)));
  }
  protected override get rows() {
    return ROWS;
  }
  protected override get algorithm(): string {
    return "SparseAdam";
  }
  override get needsWholeParameters(): string {
    return "its gradients are sparse";
  }
  protected override validate(group: ParamGroup): void {
    super.validate(group);
    for (const p of group.params)
      if (p.isComplex() || p.layout !== "strided")
        throw new ArgumentError(this.constructor.name, "real, dense parameters", p);
  }
  protected override stateFields(): StateFields {
    return { step: "step", expAvg: "like", expAvgSq: "squares" };
  }
  protected override counter(value: number): StateValue {
    return value;
  }
  protected override stepLists({ group: g, params }: ListStep<Group>): void {
    for (const p of params)
      if (p.grad?.layout === "strided")
        throw new NbitError(
          `${this.constructor.name}: expected sparse gradients. Received: a dense one, of a parameter of shape [${p.shape.join(", ")}]. Use Adam.`,
          "GRADIENT_LAYOUT",
        );
    for (const p of params) scope(() => this.#stepOne(g, p, p.grad as Tensor));
  }
  #stepOne(g: Group, p: Tensor, gradient: Tensor): void {
    const state = this.stateOf(p, () => ({ step: 0, expAvg: this.zeros(p), expAvgSq: this.zeros(p) }));
    const n = (state["step"] as number) + 1;
    state["step"] = n;
    const grad = new SparseGradient(g.maximize ? gradient.neg() : gradient);
    if (grad.values.numel() === 0) return;
    const [beta1, beta2] = g.betas;
    const moved = (average: Tensor, values: Tensor, beta: number): Tensor => {
      const old = grad.of(average);
      const change = values.sub(old).mul_(1 - beta);
      average.add_(grad.with(change));
      return change.add_(old);
    };
    const mean = moved(state["expAvg"] as Tensor, grad.values, beta1);
    const root = moved(state["expAvgSq"] as Tensor, grad.values.pow(2), beta2)
      .sqrt_()
      .add_(g.eps);
    const size = (g.lr * Math.sqrt(1 - native.pow(beta2, n))) / (1 - native.pow(beta1, n));
    p.add_(grad.with(mean.div_(root).mul(-size)));
  }
}
