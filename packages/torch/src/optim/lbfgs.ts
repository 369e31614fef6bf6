/** Limited-memory BFGS. */
import { enableGrad, noGrad } from "../autograd/modes.js";
import { ArgumentError, NbitError } from "../errors.js";
import { cat, promoteTypes, zeros, zerosLike } from "../ops/index.js";
import { byDefault, oneOf, orNull, whole } from "../kinds.js";
import { atMost, type OptionNames } from "../options.js";
import { signature, type Call } from "../signature.js";
import { isTensor } from "../tensor/handle.js";
import { keep, outsideScopes, scope } from "../tensor/scope.js";
import type { DType } from "../tensor/dtype.js";
import type { Tensor } from "../tensor/tensor.js";
import {
  emptyHistory,
  historyOf,
  joinHistory,
  readHistory,
  splitHistory,
  stateOfHistory,
  type History,
} from "./lbfgs-history.js";
import type { Shards } from "./shards.js";
import { Arithmetic, plain, strongWolfe, typed, type Point, type Scalar } from "./line-search.js";
import { checkGroup, NON_NEGATIVE, PARAMS, paramsAndDefaults } from "./common-options.js";
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
export interface LBFGSArguments extends LBFGSOptions {
  readonly params: ParamsLike;
}
const COUNT = whole("[1, ∞)");
const ROWS = {
  params: PARAMS,
  lr: byDefault(1, NON_NEGATIVE),
  maxIter: byDefault(20, COUNT),
  maxEval: byDefault(null, orNull(COUNT)),
  toleranceGrad: byDefault(1e-7, NON_NEGATIVE),
  toleranceChange: byDefault(1e-9, NON_NEGATIVE),
  historySize: byDefault(100, COUNT),
  lineSearchFn: byDefault(null, orNull(oneOf("strong_wolfe"))),
} satisfies OptionNames<LBFGSArguments>;
const read = signature("LBFGS", ROWS, 8);
type LBFGSCall = Call<
  LBFGSArguments,
  ["params", "lr", "maxIter", "maxEval", "toleranceGrad", "toleranceChange", "historySize", "lineSearchFn"],
  [
    params: ParamsLike,
    lr?: number,
    maxIter?: number,
    maxEval?: number | null,
    toleranceGrad?: number,
    toleranceChange?: number,
    historySize?: number,
    lineSearchFn?: "strong_wolfe" | null,
  ]
>;
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
 *
 * Steps shards, too: each inner product is then a message of one number, 2 per pair of the history in each iteration,
 * and the loss that decides is the mean over the ranks.
 * @throws {ArgumentError} `LBFGS: expected lineSearchFn to be "strong_wolfe" or null. Received: "wolfe".`
 * @throws {NbitError} `OPTIMIZER_CLOSURE` for a step without a closure, or one that returns no loss.
 */
export class LBFGS extends Optimizer {
  /** Whose history the state is. */
  #of: readonly Tensor[] | null = null;
  /** Whose history it is on a rank that has nothing of any parameter. */
  #nobody: Tensor | null = null;

  constructor(...given: LBFGSCall) {
    const a = read(given, new.target.name);
    const [params, defaults] = paramsAndDefaults(a);
    super(params, { ...defaults, maxEval: a.maxEval ?? Math.floor((a.maxIter * 5) / 4) });
  }
  protected override validate(group: ParamGroup): void {
    const g = group as Group;
    if (this.paramGroups.length > 0 && this.paramGroups[0]?.params !== g.params)
      throw new ArgumentError("LBFGS", "one group of parameters", this.paramGroups.length + 1);
    checkGroup(this.constructor.name, group, ROWS);
    for (const p of g.params)
      if (!p.isFloatingPoint() && !p.isComplex()) throw new ArgumentError("LBFGS", "floating point parameters", p);
  }
  override get needsWholeParameters(): string | null {
    const complex = this.paramGroups.some((group) => group.params.some((p) => p.isComplex()));
    return complex ? "it has complex parameters, which its history holds as pairs" : null;
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
  override step(closure?: Closure | { readonly closure?: Closure }): Tensor {
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
      const f = this.#objective(group, closure);
      this.stepping(() => scope(() => this.#minimise(group, f, f.agreed(loss))));
      return loss;
    });
  }

  #objective({ params }: Group, closure: Closure): Objective {
    return new Objective(closure, params, this.shards);
  }
  #keyOf({ params }: ParamGroup): Tensor {
    return params[0] ?? (this.#nobody ??= outsideScopes(() => zeros([0])));
  }

  #minimise(group: Group, f: Objective, loss: number): void {
    const first = this.#keyOf(group);
    const before = this.state.get(first);
    const h = before === undefined ? emptyHistory() : historyOf(before);
    const held = new Set([h.d, h.prevFlatGrad, ...h.oldDirs, ...h.oldStps]);
    // What this step made and no longer needs. What the state holds stays until the step is done: a closure may throw.
    const drop = (t: Tensor | null | undefined): void => {
      if (isTensor(t) && !held.has(t)) t.dispose();
    };
    let at: Evaluated = { loss, gradient: f.gradient() };
    const { m } = f;
    const isFlat = (g: Tensor): boolean => m.atMost(f.largest(g), plain(group.toleranceGrad));
    let evaluations = 1;
    h.funcEvals++;
    for (let n = 1; !isFlat(at.gradient); n++) {
      h.nIter++;
      const direction = this.#direction(h, at.gradient, f, group, drop);
      drop(h.d);
      if (h.prevFlatGrad !== at.gradient) drop(h.prevFlatGrad);
      h.d = direction;
      h.prevFlatGrad = at.gradient;
      h.prevLoss = at.loss;
      const t = h.nIter === 1 ? f.firstStep(at.gradient, group.lr) : plain(group.lr);
      h.t = t.value;
      const slope = f.dot(at.gradient, direction);
      if (m.less(plain(-group.toleranceChange), slope)) break;
      if (group.lineSearchFn === null) {
        move(group.params, direction, t.value);
        if (n === group.maxIter) break;
        at = f.evaluate();
        evaluations++;
        h.funcEvals++;
      } else {
        const start: Point = { t: plain(0), loss: at.loss, gradient: at.gradient, slope };
        const along = search(f, direction, start, t, group.maxEval - evaluations);
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
        scope(() => m.atMost(f.largest(direction.mul(h.t)), plain(group.toleranceChange))) ||
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
  #direction(h: History, g: Tensor, f: Objective, group: Group, drop: (t: Tensor | undefined) => void): Tensor {
    const { m } = f;
    if (h.nIter === 1 || h.d === null || h.prevFlatGrad === null) return g.neg();
    const [y, s] = [g.sub(h.prevFlatGrad), h.d.mul(h.t)];
    const ys = f.dot(y, s);
    if (m.less(plain(1e-10), ys)) {
      while (h.oldDirs.length >= group.historySize) {
        drop(h.oldDirs.shift());
        drop(h.oldStps.shift());
        h.ro.shift();
      }
      h.oldDirs.push(y);
      h.oldStps.push(s);
      h.ro.push(m.div(plain(1), ys).value);
      h.hDiag = m.div(ys, f.dot(y, y)).value;
    } else {
      y.dispose();
      s.dispose();
    }
    return scope(() => {
      const q = g.neg();
      const times = (a: Tensor, b: Tensor, i: number): Scalar => m.mul(f.dot(a, b), typed(h.ro[i] as number));
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
  override splitStates(
    states: Readonly<Record<string, ParameterState>>,
    numels: readonly number[],
  ): Readonly<Record<string, ParameterState>> {
    atMost("LBFGS.splitStates", arguments, 2);
    const { "0": state, ...others } = states;
    return state === undefined ? states : { ...Object.fromEntries(splitHistory(state, numels).entries()), ...others };
  }
  /** @internal */
  override joinStates(states: Readonly<Record<string, ParameterState>>): Readonly<Record<string, ParameterState>> {
    atMost("LBFGS.joinStates", arguments, 1);
    const list = Object.values(states);
    return list.length === 0 ? states : { "0": joinHistory(list) };
  }
  /** @internal */
  override adoptWithoutParameters(state: ParameterState): void {
    atMost("LBFGS.adoptWithoutParameters", arguments, 1);
    const key = this.#keyOf({ params: [], lr: 0 });
    this.state.set(
      key,
      outsideScopes(() => stateOfHistory(historyOf(joinHistory([state])))),
    );
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
    const state: unknown = isRecord(given) ? given["state"] : null;
    // Parts of a checkpoint are of parameters by themselves. What is neither is left to be refused.
    const split = isRecord(state) && Object.keys(state).length > 1 && Object.values(state).every(isRecord);
    super.loadStateDict(split ? { ...given, state: this.joinStates(state as Record<string, ParameterState>) } : given);
    this.#of = null;
  }
}

const isRecord = (value: unknown): value is Readonly<Record<string, unknown>> =>
  typeof value === "object" && value !== null;

function lossOf(closure: Closure): Tensor {
  const loss: unknown = enableGrad(closure);
  if (!isTensor(loss) || loss.numel() !== 1 || loss.isComplex())
    throw new NbitError(
      `LBFGS: expected the closure to return the loss, a tensor of one real number. Received: ${isTensor(loss) ? `a ${loss.dtype} tensor of shape [${loss.shape.join(", ")}]` : typeof loss}.`,
      "OPTIMIZER_CLOSURE",
    );
  return loss;
}
/** The loss and its gradient where the parameters are, and what is measured of vectors like them. */
class Objective {
  readonly m: Arithmetic;
  readonly #dtype: DType;
  constructor(
    readonly closure: Closure,
    /** Of which all ranks together have every element, where they are shards. */
    readonly params: readonly Tensor[],
    readonly shards: Shards | null,
  ) {
    this.#dtype = (shards?.parameters ?? params).map((p) => parts(p).dtype).reduce((a, b) => promoteTypes(a, b));
    this.m = new Arithmetic(this.#dtype);
  }

  evaluate(): Evaluated {
    this.shards?.written();
    return scope(() => ({ loss: this.agreed(lossOf(this.closure)), gradient: this.gradient() }));
  }
  /** What decides, the same on every rank: the mean over them. */
  agreed(loss: Tensor): number {
    return this.shards === null ? loss.item() : this.#reduced(loss.detach(), this.shards, "avg");
  }
  gradient(): Tensor {
    return scope(() => {
      const flat = this.params.map((p) => {
        const { grad } = p;
        const dense = grad === null ? zerosLike(p.detach()) : grad.layout === "strided" ? grad : grad.toDense();
        return gradientParts(dense).reshape([-1]);
      });
      return flat.length === 0 ? zeros([0], { dtype: this.#dtype }) : cat(flat);
    });
  }

  dot(a: Tensor, b: Tensor): Scalar {
    return this.#number(() => a.dot(b), "sum");
  }
  largest(t: Tensor): Scalar {
    return this.#number(() => (t.numel() === 0 ? zeros([]) : t.abs().max()), "max");
  }
  #sumOfAbs(t: Tensor): Scalar {
    return this.#number(() => t.abs().sum(), "sum");
  }
  #number(make: () => Tensor, op: "sum" | "max"): Scalar {
    const { shards } = this;
    return scope(() => typed(shards === null ? make().item() : this.m.round(this.#reduced(make(), shards, op))));
  }
  /** Sums of many ranks are not rounded before all are in. */
  #reduced(own: Tensor, shards: Shards, op: "sum" | "avg" | "max"): number {
    return scope(() => {
      const all = own.to({ dtype: "float64", copy: true }).reshape([]);
      shards.reduce(all, op);
      return all.item();
    });
  }

  /** As long as 1, or shorter where the gradient is large: nothing is known of the curvature yet. */
  firstStep(gradient: Tensor, lr: number): Scalar {
    const { m } = this;
    return m.mul(m.min(plain(1), m.div(plain(1), this.#sumOfAbs(gradient))), plain(lr));
  }
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
  f: Objective,
  direction: Tensor,
  start: Point,
  t: Scalar,
  most: number,
): ReturnType<typeof strongWolfe> {
  return scope(() => {
    const { params } = f;
    const origin = params.map((p) => p.detach().clone());
    const back = (): void => params.forEach((p, i) => void p.detach().copy_(origin[i] as Tensor));
    const at = (t2: Scalar): Point => {
      move(params, direction, t2.value);
      try {
        const found = f.evaluate();
        return { t: t2, ...found, slope: f.dot(found.gradient, direction) };
      } finally {
        back();
      }
    };
    return strongWolfe(f.m, at, start, t, f.largest(direction), most);
  });
}
