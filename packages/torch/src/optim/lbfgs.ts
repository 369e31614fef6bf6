/** Limited-memory BFGS. */
import { enableGrad, noGrad } from "../autograd/modes.js";
import { ArgumentError, NbitError } from "../errors.js";
import { cat, zerosLike } from "../ops/index.js";
import { atMost, checkOptions, type OptionNames } from "../options.js";
import { isTensor } from "../tensor/handle.js";
import { keep, scope } from "../tensor/scope.js";
import type { Tensor } from "../tensor/tensor.js";
import { emptyHistory, historyOf, readHistory, stateOfHistory, type History } from "./lbfgs-history.js";
import { Arithmetic, plain, strongWolfe, typed, type Point, type Scalar } from "./line-search.js";
import { check, nonNegative } from "./checks.js";
import { Optimizer } from "./optimizer.js";
import type { ParamGroup, ParameterState, ParamsLike } from "./state.js";
import { gradientParts, parts } from "./pairs.js";
import type { Refuse, SavedParameter } from "./saved-state.js";

export interface LBFGSOptions {
  /** Step length, ≥ 0; with a line search, the first that is tried. Default 1. */
  readonly lr?: number;
  /** Iterations per `step`. Default 20. */
  readonly maxIter?: number;
  /** Evaluations of the loss per `step`, after which no iteration begins. Default 1.25 · maxIter, rounded down. */
  readonly maxEval?: number | null;
  /** End when no |g| is larger. Default 1e-7. */
  readonly toleranceGrad?: number;
  /** End when loss and parameters change less. Default 1e-9. */
  readonly toleranceChange?: number;
  /** Pairs of steps and gradient changes to remember. Default 100. */
  readonly historySize?: number;
  /**
   * Whether to search along each direction for a step that satisfies the strong Wolfe conditions; null: steps of `lr`.
   * Default null.
   */
  readonly lineSearchFn?: "strong_wolfe" | null;
}
const NAMES: OptionNames<LBFGSOptions> = {
  lr: true,
  maxIter: true,
  maxEval: true,
  toleranceGrad: true,
  toleranceChange: true,
  historySize: true,
  lineSearchFn: true,
};
interface Group extends ParamGroup {
  maxIter: number;
  maxEval: number;
  toleranceGrad: number;
  toleranceChange: number;
  historySize: number;
  lineSearchFn: "strong_wolfe" | null;
}
interface Evaluated {
  readonly loss: number;
  readonly gradient: Tensor;
}
type Closure = () => Tensor;

/**
 * L-BFGS, with steps of a fixed length or a line search. Nocedal, 1980. Evaluates the loss several times per step, so
 * `step` needs a closure that clears gradients, computes the loss, calls backward and returns it; `step` returns the
 * loss before the step. Waits for the device at every iteration. Complex parameters count as pairs of real ones.
 *
 * Steps are PyTorch's, in float32 and float64 to the last bit where the kernels' sums are. State, under the first
 * parameter: `nIter`, `funcEvals`, `d`, `t`, `oldDirs`, `oldStps`, `ro`, `hDiag`, `prevFlatGrad`, `prevLoss`. When
 * parameters of the group are exchanged, the history starts over.
 * @throws {ArgumentError} `LBFGS: expected lineSearchFn to be "strong_wolfe" or null. Received: "wolfe".`
 * @throws {NbitError} `OPTIMIZER_CLOSURE` for a step without a closure, or one that returns no loss.
 */
export class LBFGS extends Optimizer {
  /** Whose history the state is. */
  #of: readonly Tensor[] | null = null;

  constructor(params: ParamsLike, options: LBFGSOptions = {}) {
    atMost("LBFGS", arguments, 2);
    checkOptions("LBFGS", options, NAMES);
    const maxIter = options.maxIter ?? 20;
    super(params, {
      lr: 1,
      toleranceGrad: 1e-7,
      toleranceChange: 1e-9,
      historySize: 100,
      lineSearchFn: null,
      ...options,
      maxIter,
      maxEval: options.maxEval ?? Math.floor((maxIter * 5) / 4),
    });
  }
  protected override validate(group: ParamGroup): void {
    const g = group as Group;
    if (this.paramGroups.length > 0 && this.paramGroups[0]?.params !== g.params)
      throw new ArgumentError("LBFGS", "one group of parameters", this.paramGroups.length + 1);
    check("LBFGS", "lr", g.lr, nonNegative, "≥ 0");
    for (const name of ["toleranceGrad", "toleranceChange"] as const) check("LBFGS", name, g[name], nonNegative, "≥ 0");
    for (const name of ["maxIter", "maxEval", "historySize"] as const)
      check("LBFGS", name, g[name], (v) => Number.isSafeInteger(v) && v >= 1, "a whole number ≥ 1");
    if (g.lineSearchFn !== null && g.lineSearchFn !== "strong_wolfe")
      throw new ArgumentError("LBFGS", 'lineSearchFn to be "strong_wolfe" or null', g.lineSearchFn);
    for (const p of g.params)
      if (!p.isFloatingPoint() && !p.isComplex()) throw new ArgumentError("LBFGS", "floating point parameters", p);
  }
  override get needsWholeParameters(): string {
    return "its directions are inner products over all parameters";
  }
  protected override get algorithm(): string {
    return "LBFGS";
  }
  protected override stepGroup(): void {
    throw new NbitError(
      "LBFGS: expected step(closure). Received: step(). Pass a function that clears gradients, computes the loss, calls backward and returns it.",
      "OPTIMIZER_CLOSURE",
    );
  }
  override step(closure?: Closure): Tensor {
    atMost("LBFGS.step", arguments, 1);
    return super.step(closure) as Tensor;
  }

  protected override stepAll(closure: Closure | undefined): Tensor {
    if (closure === undefined) return this.stepGroup() as never;
    this.checkGroups();
    const group = this.paramGroups[0] as Group;
    if (
      this.#of?.some((p, i) => p !== group.params[i]) === true ||
      (this.#of !== null && this.#of.length !== group.params.length)
    )
      for (const p of this.#of) this.state.delete(p);
    this.#of = [...group.params];
    return noGrad(() => {
      const loss = lossOf(closure);
      this.stepping(() => scope(() => this.#minimise(group, closure, loss.item())));
      return loss;
    });
  }

  #minimise(group: Group, closure: Closure, loss: number): void {
    const [first] = group.params as [Tensor];
    const before = this.state.get(first);
    const h = before === undefined ? emptyHistory() : historyOf(before);
    const held = new Set([h.d, h.prevFlatGrad, ...h.oldDirs, ...h.oldStps]);
    // What this step made and no longer needs. What the state holds stays until the step is done: a closure may throw.
    const drop = (t: Tensor | null | undefined): void => {
      if (isTensor(t) && !held.has(t)) t.dispose();
    };
    let at: Evaluated = { loss, gradient: flatGradient(group.params) };
    const m = new Arithmetic(at.gradient.dtype);
    const isFlat = (g: Tensor): boolean => m.atMost(largest(g), plain(group.toleranceGrad));
    let evaluations = 1;
    h.funcEvals++;
    for (let n = 1; !isFlat(at.gradient); n++) {
      h.nIter++;
      const direction = this.#direction(h, at.gradient, m, group, drop);
      drop(h.d);
      if (h.prevFlatGrad !== at.gradient) drop(h.prevFlatGrad);
      h.d = direction;
      h.prevFlatGrad = at.gradient;
      h.prevLoss = at.loss;
      const t = h.nIter === 1 ? firstStep(m, at.gradient, group.lr) : plain(group.lr);
      h.t = t.value;
      const slope = typed(at.gradient.dot(direction).item());
      if (m.less(plain(-group.toleranceChange), slope)) break;
      if (group.lineSearchFn === null) {
        move(group.params, direction, t.value);
        if (n === group.maxIter) break;
        at = evaluate(closure, group.params);
        evaluations++;
        h.funcEvals++;
      } else {
        const start: Point = { t: plain(0), loss: at.loss, gradient: at.gradient, slope };
        const along = search(m, closure, group.params, direction, start, t, group.maxEval - evaluations);
        move(group.params, direction, along.best.t.value);
        h.t = along.best.t.value;
        at = along.best;
        evaluations += along.evaluations;
        h.funcEvals += along.evaluations;
        if (n === group.maxIter) break;
      }
      if (evaluations >= group.maxEval) break;
      if (
        isFlat(at.gradient) ||
        scope(() => m.atMost(largest(direction.mul(h.t)), plain(group.toleranceChange))) ||
        Math.abs(at.loss - h.prevLoss) < group.toleranceChange
      )
        break;
    }
    const kept = new Set([h.d, h.prevFlatGrad, ...h.oldDirs, ...h.oldStps]);
    for (const t of kept) if (t !== null) keep(t);
    for (const t of held) if (t !== null && !kept.has(t)) t.dispose();
    this.state.set(first, stateOfHistory(h));
  }

  /**
   * Adds the last step to the history, and returns the next direction: the gradient through what approximates the
   * inverse Hessian.
   */
  #direction(h: History, g: Tensor, m: Arithmetic, group: Group, drop: (t: Tensor | undefined) => void): Tensor {
    if (h.nIter === 1 || h.d === null || h.prevFlatGrad === null) return g.neg();
    const [y, s] = [g.sub(h.prevFlatGrad), h.d.mul(h.t)];
    const ys = typed(y.dot(s).item());
    if (m.less(plain(1e-10), ys)) {
      while (h.oldDirs.length >= group.historySize) {
        drop(h.oldDirs.shift());
        drop(h.oldStps.shift());
        h.ro.shift();
      }
      h.oldDirs.push(y);
      h.oldStps.push(s);
      h.ro.push(m.div(plain(1), ys).value);
      h.hDiag = m.div(ys, typed(y.dot(y).item())).value;
    } else {
      y.dispose();
      s.dispose();
    }
    return scope(() => {
      const q = g.neg();
      const times = (a: Tensor, b: Tensor, i: number): Scalar =>
        m.mul(typed(a.dot(b).item()), typed(h.ro[i] as number));
      const alphas: Scalar[] = [];
      for (let i = h.oldDirs.length - 1; i >= 0; i--) {
        const alpha = times(h.oldStps[i] as Tensor, q, i);
        alphas[i] = alpha;
        q.add_(h.oldDirs[i] as Tensor, { alpha: -alpha.value });
      }
      const r = q.mul(h.hDiag);
      h.oldStps.forEach(
        (step, i) =>
          void r.add_(step, { alpha: m.sub(alphas[i] as Scalar, times(h.oldDirs[i] as Tensor, r, i)).value }),
      );
      return r;
    });
  }

  /** @internal */
  protected override adoptState(refuse: Refuse, saved: SavedParameter, _: Tensor, group: ParamGroup): ParameterState {
    if (saved.position !== 0)
      refuse("the state of LBFGS under its first parameter", `state of parameter ${saved.position}`);
    const flat = group.params.map((p) => parts(p.detach()));
    return readHistory(refuse, saved.state, flat, (group as Group).historySize);
  }
  override loadStateDict(given: Parameters<Optimizer["loadStateDict"]>[0]): void {
    atMost("LBFGS.loadStateDict", arguments, 1);
    super.loadStateDict(given);
    this.#of = null;
  }
}

function lossOf(closure: Closure): Tensor {
  const loss: unknown = enableGrad(closure);
  if (!isTensor(loss) || loss.numel() !== 1 || loss.isComplex())
    throw new NbitError(
      `LBFGS: expected the closure to return the loss, a tensor of one real number. Received: ${isTensor(loss) ? `a ${loss.dtype} tensor of shape [${loss.shape.join(", ")}]` : typeof loss}.`,
      "OPTIMIZER_CLOSURE",
    );
  return loss;
}
/** The loss and its gradient where the parameters are. */
function evaluate(closure: Closure, params: readonly Tensor[]): Evaluated {
  return scope(() => ({ loss: lossOf(closure).item(), gradient: flatGradient(params) }));
}
function flatGradient(params: readonly Tensor[]): Tensor {
  return scope(() =>
    cat(
      params.map((p) => {
        const { grad } = p;
        const dense = grad === null ? zerosLike(p.detach()) : grad.layout === "strided" ? grad : grad.toDense();
        return gradientParts(dense).reshape([-1]);
      }),
    ),
  );
}
function largest(t: Tensor): Scalar {
  return scope(() => typed(t.abs().max().item()));
}
/** As long as 1, or shorter where the gradient is large: nothing is known of the curvature yet. */
function firstStep(m: Arithmetic, gradient: Tensor, lr: number): Scalar {
  const inverse = m.div(
    plain(1),
    scope(() => typed(gradient.abs().sum().item())),
  );
  return m.mul(m.min(plain(1), inverse), plain(lr));
}
/** p ← p + t · d. */
function move(params: readonly Tensor[], direction: Tensor, t: number): void {
  scope(() => {
    let offset = 0;
    for (const p of params) {
      const view = parts(p.detach());
      const n = view.numel();
      view.add_(direction.slice(0, offset, offset + n).view([...view.shape]), { alpha: t });
      offset += n;
    }
  });
}

function search(
  m: Arithmetic,
  closure: Closure,
  params: readonly Tensor[],
  direction: Tensor,
  start: Point,
  t: Scalar,
  most: number,
): ReturnType<typeof strongWolfe> {
  return scope(() => {
    const origin = params.map((p) => p.detach().clone());
    const back = (): void => params.forEach((p, i) => void p.detach().copy_(origin[i] as Tensor));
    const at = (t2: Scalar): Point => {
      move(params, direction, t2.value);
      try {
        const found = evaluate(closure, params);
        return { t: t2, ...found, slope: typed(found.gradient.dot(direction).item()) };
      } finally {
        back();
      }
    };
    return strongWolfe(m, at, start, t, largest(direction), most);
  });
}
