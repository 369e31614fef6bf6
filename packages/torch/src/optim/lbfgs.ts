/** Limited-memory BFGS. */
import { enableGrad, noGrad } from "../autograd/modes.js";
import { ArgumentError, NbitError } from "../errors.js";
import { cat } from "../ops/index.js";
import { atMost, checkOptions, type OptionNames } from "../options.js";
import { keep, scope } from "../tensor/scope.js";
import type { Tensor } from "../tensor/tensor.js";
import { check, nonNegative, Optimizer, type ParamGroup, type ParamsLike } from "./optimizer.js";

export interface LBFGSOptions {
  /** Step length, ≥ 0. Default 1. */
  readonly lr?: number;
  /** Iterations per `step`. Default 20. */
  readonly maxIter?: number;
  /** End when no |g| is larger. Default 1e-7. */
  readonly toleranceGrad?: number;
  /** End when loss and parameters change less. Default 1e-9. */
  readonly toleranceChange?: number;
  /** Pairs of steps and gradient changes to remember. Default 100. */
  readonly historySize?: number;
}
const NAMES: OptionNames<LBFGSOptions> = { lr: true, maxIter: true, toleranceGrad: true, toleranceChange: true, historySize: true };

/**
 * L-BFGS with a fixed step length. Nocedal, 1980. Evaluates the loss up to `maxIter` times per step, so `step` needs a closure that clears gradients, computes the loss, calls backward and returns it.
 * Waits for the device at every iteration.
 */
export class LBFGS extends Optimizer {
  #directions: { y: Tensor; s: Tensor; rho: number }[] = [];
  #previous: Tensor | null = null;
  #direction: Tensor | null = null;
  #scale = 1;
  #iterations = 0;

  constructor(params: ParamsLike, options: LBFGSOptions = {}) {
    atMost("LBFGS", arguments, 2);
    checkOptions("LBFGS", options, NAMES);
    super(params, { lr: 1, maxIter: 20, toleranceGrad: 1e-7, toleranceChange: 1e-9, historySize: 100, ...options });
    if (this.paramGroups.length !== 1) throw new ArgumentError("LBFGS", "one group of parameters", this.paramGroups.length);
  }
  protected override validate(group: ParamGroup): void {
    check("LBFGS", "lr", group.lr, nonNegative, "≥ 0");
  }
  protected override stepGroup(): void {
    throw new NbitError("LBFGS: expected step(closure). Received: step(). Pass a function that clears gradients, computes the loss, calls backward and returns it.", "OPTIMIZER_CLOSURE");
  }

  override step(closure?: () => Tensor): Tensor {
    atMost("LBFGS.step", arguments, 1);
    if (closure === undefined) return this.stepGroup() as never;
    const group = this.paramGroups[0] as ParamGroup & Required<LBFGSOptions>;
    const evaluate = (): Tensor => enableGrad(closure);
    return noGrad(() => {
      const first = evaluate();
      let value = first.item();
      let evaluations = 1;
      for (let i = 0; i < group.maxIter; i++) {
        const stop = scope(() => this.#iterate(group, i));
        if (stop || i === group.maxIter - 1) break;
        const next = scope(() => evaluate().item());
        evaluations++;
        if (evaluations >= group.maxIter * 1.25 || Math.abs(next - value) < group.toleranceChange) break;
        value = next;
      }
      return first;
    });
  }

  #flatGradient(group: ParamGroup): Tensor {
    return cat(group.params.map((p) => (p.grad ?? p.mul(0)).reshape([-1])));
  }
  #remember(name: "#previous" | "#direction", value: Tensor): void {
    const kept = keep(value);
    if (name === "#previous") {
      this.#previous?.dispose();
      this.#previous = kept;
    } else {
      this.#direction?.dispose();
      this.#direction = kept;
    }
  }

  /** One direction and one step along it; true when done. */
  #iterate(group: ParamGroup & Required<LBFGSOptions>, i: number): boolean {
    const g = this.#flatGradient(group);
    if (g.abs().max().item() <= group.toleranceGrad) return true;
    this.#iterations++;
    let d: Tensor;
    if (this.#previous === null || this.#direction === null) {
      d = g.neg();
      this.#scale = 1;
    } else {
      const y = g.sub(this.#previous);
      const s = this.#direction.mul(this.#iterations === 2 ? Math.min(1, 1 / this.#firstNorm) * group.lr : group.lr);
      const ys = y.dot(s).item();
      if (ys > 1e-10) {
        if (this.#directions.length === group.historySize) {
          const old = this.#directions.shift();
          old?.y.dispose();
          old?.s.dispose();
        }
        this.#directions.push({ y: keep(y), s: keep(s), rho: 1 / ys });
        this.#scale = ys / y.dot(y).item();
      }
      const q = g.neg();
      const alphas: number[] = [];
      for (const h of [...this.#directions].reverse()) {
        const alpha = h.s.dot(q).item() * h.rho;
        alphas.push(alpha);
        q.add_(h.y, { alpha: -alpha });
      }
      d = q.mul(this.#scale);
      for (const h of this.#directions) {
        const beta = h.y.dot(d).item() * h.rho;
        d.add_(h.s, { alpha: (alphas.pop() as number) - beta });
      }
    }
    const length = this.#iterations === 1 ? Math.min(1, 1 / (this.#firstNorm = g.abs().sum().item())) * group.lr : group.lr;
    const slope = g.dot(d).item();
    this.#remember("#previous", g.clone());
    this.#remember("#direction", d);
    if (slope > -group.toleranceChange) return true;
    let offset = 0;
    for (const p of group.params) {
      const n = p.numel();
      p.add_(d.slice(0, offset, offset + n).view([...p.shape]), { alpha: length });
      offset += n;
    }
    return i > 0 && d.mul(length).abs().max().item() <= group.toleranceChange;
  }
  #firstNorm = 1;
}
