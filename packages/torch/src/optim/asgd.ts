/** Averaged stochastic gradient descent. */
import { byDefault, real } from "../kinds.js";
import { native } from "../native.js";
import type { OptionNames } from "../options.js";
import { signature, type Call, type Values } from "../signature.js";
import { full } from "../ops/index.js";
import type { TensorList } from "../tensor/list.js";
import type { Tensor } from "../tensor/tensor.js";
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
import { counterDType, ListOptimizer, type ListStep } from "./list-optimizer.js";
import { inPlace, type List } from "./lists.js";
import { countSteps } from "./operators.js";
import type { RoundingOptions } from "./rounding.js";
import type { ParamGroup, ParamsLike, StateFields, StateValue } from "./state.js";

export interface ASGDArguments extends ComputeOptions, CapturableOptions, RoundingOptions {
  readonly params: ParamsLike;
  /** Learning rate, ≥ 0. Default 1e-2. */
  readonly lr?: number;
  /** How fast parameters and the rate decay. Default 1e-4. */
  readonly lambd?: number;
  /** The power by which the rate decays. Default 0.75. */
  readonly alpha?: number;
  /** The step at which averaging begins. Default 1e6. */
  readonly t0?: number;
  /** Added to the gradient as weightDecay · p, ≥ 0. Default 0. */
  readonly weightDecay?: number;
}
const ROWS = {
  params: PARAMS,
  lr: byDefault(1e-2, NON_NEGATIVE),
  lambd: byDefault(1e-4, real()),
  alpha: byDefault(0.75, real()),
  t0: byDefault(1e6, real()),
  weightDecay: byDefault(0, NON_NEGATIVE),
  ...COMPUTE_ROWS,
  ...CAPTURABLE_ROWS,
  ...ROUNDING_ROWS,
} satisfies OptionNames<ASGDArguments>;
const read = signature("ASGD", ROWS, 10);
type ASGDCall = Call<
  ASGDArguments,
  ["params", "lr", "lambd", "alpha", "t0", "weightDecay", "foreach", "maximize", "differentiable", "capturable"],
  [
    params: ParamsLike,
    lr?: number,
    lambd?: number,
    alpha?: number,
    t0?: number,
    weightDecay?: number,
    foreach?: boolean | null,
    maximize?: boolean,
    differentiable?: boolean,
    capturable?: boolean,
  ]
>;
type Group = ParamGroup & Values<typeof ROWS>;
const STATE = ["ax", "eta", "mu", "step"];

/**
 * p ← (1 - lambd · η) p - η g with η = lr / (1 + lambd · lr · n)^alpha, and from step `t0` on the average of what p was:
 * state `ax`. Polyak and Juditsky, 1992; the rates are Bottou's.
 *
 * State: `step`, `eta`, `mu` (the share of the newest in the average), where the parameter is, and `ax` in its dtype.
 * Equal to PyTorch's bit for bit on CPU. A step reads two numbers for each parameter, unless it is over lists.
 * @throws {ArgumentError} `ASGD: expected lr to be a number ≥ 0. Received: -1.`
 */
export class ASGD extends ListOptimizer<Group> {
  constructor(...given: ASGDCall) {
    super(...paramsAndDefaults(read(given, new.target.name)));
  }
  protected override get rows() {
    return ROWS;
  }
  protected override get algorithm(): string {
    return "ASGD";
  }
  protected override stateFields(): StateFields {
    return { step: "step", eta: "number", mu: "number", ax: "like" };
  }
  protected override counter(value: number, p: Tensor): StateValue {
    return full([], value, { dtype: counterDType(), device: p.device });
  }
  protected override stepLists(step: ListStep<Group>): void {
    const { group: g, params } = step;
    const [ax, etas, mus, steps] = this.lists(params, STATE, (p) => ({
      step: this.counter(0, p),
      eta: this.counter(g.lr, p),
      mu: this.counter(1, p),
      ax: this.zeros(p),
    })) as [List, List, List, List];
    const counts = countSteps(steps as TensorList);
    if (step.overLists || g.capturable || counts === null) this.#overLists(step, ax, etas, mus, steps);
    else this.#each(step, counts);
  }

  /** By numbers of the host. */
  #each({ group: g, params, packed, grads, t }: ListStep<Group>, counts: ArrayLike<number>): void {
    const grad = t.gradients(grads, packed, g);
    const numbers = params.map((p) => {
      const { eta, mu, ax } = this.state.get(p) as { eta: Tensor; mu: Tensor; ax: Tensor };
      return { eta, mu, ax, rate: eta.item(), share: mu.item() };
    });
    const gradients = grad === grads ? grads.toArray() : (grad as readonly Tensor[]);
    const [first] = numbers;
    if (numbers.every(({ rate }) => rate === first?.rate)) {
      t.scale(packed, 1 - g.lambd * (first?.rate ?? 0));
      inPlace.add(packed, grad, { alpha: -(first?.rate ?? 0) });
    } else
      numbers.forEach(({ rate }, i) => {
        const p = params[i] as Tensor;
        t.scale([p], 1 - g.lambd * rate);
        inPlace.add([p], [gradients[i] as Tensor], { alpha: -rate });
      });
    numbers.forEach(({ eta, mu, ax, share }, i) => {
      const p = params[i] as Tensor;
      if (share === 1) ax.copy_(p);
      else {
        const rest = p.sub(ax);
        ax.add_(rest.mul_(mu));
        rest.dispose();
      }
      const n = counts[i] as number;
      eta.fill_(g.lr / native.pow(1 + g.lambd * g.lr * n, g.alpha));
      mu.fill_(1 / Math.max(1, n - g.t0));
    });
    if (gradients !== grad) for (const each of gradients) each.dispose();
  }

  /** By tensors alone. */
  #overLists({ group: g, packed, grads, t }: ListStep<Group>, ax: List, etas: List, mus: List, steps: List): void {
    const grad = t.gradients(grads, packed, g);
    inPlace.addcmul(packed, t.add(grad, packed, g.lambd), etas, -1);
    inPlace.addcmul(ax, t.sub(packed, ax), mus);
    const { lr, lambd } = g;
    const rate = g.capturable ? t.mul(t.mul(steps, lambd), lr) : t.mul(steps, lambd * lr);
    inPlace.copy(etas, t.mul(t.reciprocal(t.pow(t.add(rate, 1), g.alpha)), lr));
    inPlace.copy(mus, t.reciprocal(t.atLeast(t.sub(steps, g.t0), 1)));
  }
}
