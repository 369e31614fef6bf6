/**
 * A line search that ends where the strong Wolfe conditions hold. Nocedal and Wright, Numerical Optimization,
 * algorithms 3.5 and 3.6, as PyTorch takes the steps.
 */
import { scope } from "../tensor/scope.js";
import type { DType } from "../tensor/dtype.js";
import type { Tensor } from "../tensor/tensor.js";
import { tensor } from "../tensor/values.js";

/**
 * A number; or one of a tensor's dtype, in which every operation with it is made: the steps are then PyTorch's to the
 * last bit.
 */
export interface Scalar {
  readonly value: number;
  readonly typed: boolean;
}
export const plain = (value: number): Scalar => ({ value, typed: false });
export const typed = (value: number): Scalar => ({ value, typed: true });

/** Arithmetic of scalars of a dtype. */
export class Arithmetic {
  readonly round: (value: number) => number;
  constructor(readonly dtype: DType) {
    this.round = dtype === "float32" ? Math.fround : (value) => value;
  }

  #apply(a: Scalar, b: Scalar, op: (a: number, b: number) => number): Scalar {
    if (!a.typed && !b.typed) return plain(op(a.value, b.value));
    return typed(this.round(op(this.round(a.value), this.round(b.value))));
  }
  add(a: Scalar, b: Scalar): Scalar {
    return this.#apply(a, b, (x, y) => x + y);
  }
  sub(a: Scalar, b: Scalar): Scalar {
    return this.#apply(a, b, (x, y) => x - y);
  }
  mul(a: Scalar, b: Scalar): Scalar {
    return this.#apply(a, b, (x, y) => x * y);
  }
  div(a: Scalar, b: Scalar): Scalar {
    // PyTorch divides a number by a tensor as number · (1 / tensor).
    if (!a.typed && b.typed) return this.mul(a, typed(this.round(1 / b.value)));
    return this.#apply(a, b, (x, y) => x / y);
  }
  sqrt(a: Scalar): Scalar {
    // libtorch's square root of float32 does not always round to nearest.
    return typed(scope(() => tensor(a.value, { dtype: this.dtype }).sqrt().item()));
  }
  /** Compares as the dtype sees both. */
  less(a: Scalar, b: Scalar): boolean {
    return a.typed || b.typed ? this.round(a.value) < this.round(b.value) : a.value < b.value;
  }
  atMost(a: Scalar, b: Scalar): boolean {
    return a.typed || b.typed ? this.round(a.value) <= this.round(b.value) : a.value <= b.value;
  }
  // The first of equals, as Python's.
  max(a: Scalar, b: Scalar): Scalar {
    return this.less(a, b) ? b : a;
  }
  min(a: Scalar, b: Scalar): Scalar {
    return this.less(b, a) ? b : a;
  }
  abs(a: Scalar): Scalar {
    return { value: Math.abs(a.value), typed: a.typed };
  }
}

/** Where a cubic through two points with these values and slopes is least, within bounds. */
function cubicMinimum(
  m: Arithmetic,
  x1: Scalar,
  f1: Scalar,
  g1: Scalar,
  x2: Scalar,
  f2: Scalar,
  g2: Scalar,
  bounds?: readonly [Scalar, Scalar],
): Scalar {
  const rising = m.atMost(x1, x2);
  const [low, high] = bounds ?? (rising ? [x1, x2] : [x2, x1]);
  const d1 = m.sub(m.add(g1, g2), m.div(m.mul(plain(3), m.sub(f1, f2)), m.sub(x1, x2)));
  const square = m.sub(m.mul(d1, d1), m.mul(g1, g2));
  if (!(square.value >= 0)) return m.div(m.add(low, high), plain(2));
  const d2 = m.sqrt(square);
  const [a, b, ga, gb] = rising ? [x1, x2, g1, g2] : [x2, x1, g2, g1];
  const share = m.div(m.sub(m.add(gb, d2), d1), m.add(m.sub(gb, ga), m.mul(plain(2), d2)));
  return m.min(m.max(m.sub(b, m.mul(m.sub(b, a), share)), low), high);
}

export interface Point {
  readonly t: Scalar;
  readonly loss: number;
  readonly gradient: Tensor;
  /** Along the direction. */
  readonly slope: Scalar;
}

const SUFFICIENT = 1e-4;
const CURVATURE = 0.9;
const TOLERANCE = 1e-9;

/** One search: its arithmetic, what it asks of points, and how far it has come. */
class Search {
  evaluations = 0;
  iteration = 0;
  readonly #evaluate: (t: Scalar) => Point;
  readonly #bound: Scalar;

  constructor(
    readonly m: Arithmetic,
    readonly start: Point,
    readonly most: number,
    evaluate: (t: Scalar) => Point,
  ) {
    this.#evaluate = evaluate;
    this.#bound = m.mul(plain(-CURVATURE), start.slope);
  }

  evaluate(t: Scalar): Point {
    this.evaluations++;
    return this.#evaluate(t);
  }
  /** The loss falls at least as far as a line with a part of the first slope. */
  decreases(p: Point): boolean {
    const { m, start } = this;
    return !m.less(m.add(plain(start.loss), m.mul(m.mul(plain(SUFFICIENT), p.t), start.slope)), plain(p.loss));
  }
  isFlat(p: Point): boolean {
    return this.m.atMost(this.m.abs(p.slope), this.#bound);
  }
  least(a: Point, b: Point, bounds?: readonly [Scalar, Scalar]): Scalar {
    return cubicMinimum(this.m, a.t, plain(a.loss), a.slope, b.t, plain(b.loss), b.slope, bounds);
  }
}

/** Goes forward until an interval holds a point that satisfies the conditions, or one that is met on the way does. */
function bracketed(search: Search, first: Point): Point | [Point, Point] {
  const { m } = search;
  let previous = search.start;
  let next = first;
  for (; search.iteration < search.most; search.iteration++) {
    if (!search.decreases(next) || (search.iteration > 1 && next.loss >= previous.loss)) return [previous, next];
    if (search.isFlat(next)) return next;
    if (next.slope.value >= 0) return [previous, next];
    const least = m.add(next.t, m.mul(plain(0.01), m.sub(next.t, previous.t)));
    const t = search.least(previous, next, [least, m.mul(next.t, plain(10))]);
    previous = next;
    next = search.evaluate(t);
  }
  return [search.start, next];
}

/**
 * Where to look between two points, whose cubic is least at `at`. `slow`: the last trial was close to an end; a second
 * one, or one at an end, jumps a tenth of the interval away from there.
 */
function trial(
  { m }: Search,
  at: Scalar,
  [a, b]: readonly [Point, Point],
  slow: boolean,
): { readonly at: Scalar; readonly slow: boolean } {
  const [left, right] = [m.min(a.t, b.t), m.max(a.t, b.t)];
  const margin = m.mul(plain(0.1), m.sub(right, left));
  const close = m.less(m.min(m.sub(right, at), m.sub(at, left)), margin);
  if (!close) return { at, slow: false };
  if (!slow && !m.atMost(right, at) && !m.atMost(at, left)) return { at, slow: true };
  return {
    at: m.less(m.abs(m.sub(at, right)), m.abs(m.sub(at, left))) ? m.sub(right, margin) : m.add(left, margin),
    slow: false,
  };
}

/** Narrows an interval. Returns the end with the smaller loss. */
function narrowed(search: Search, bracket: [Point, Point], largest: Scalar): Point {
  const { m } = search;
  const lower = (): 0 | 1 => (bracket[0].loss <= bracket[1].loss ? 0 : 1);
  let low = lower();
  let slow = false;
  for (; search.iteration < search.most; search.iteration++) {
    const [a, b] = bracket;
    if (m.less(m.mul(m.abs(m.sub(b.t, a.t)), largest), plain(TOLERANCE))) break;
    const next = trial(search, search.least(a, b), bracket, slow);
    slow = next.slow;
    const found = search.evaluate(next.at);
    const high: 0 | 1 = low === 0 ? 1 : 0;
    if (!search.decreases(found) || found.loss >= bracket[low].loss) {
      bracket[high] = found;
      low = lower();
      continue;
    }
    if (search.isFlat(found)) return found;
    if (m.mul(found.slope, m.sub(bracket[high].t, bracket[low].t)).value >= 0) bracket[high] = bracket[low];
    bracket[low] = found;
  }
  return bracket[low];
}

/**
 * A point along a direction from `start` (its `t` is 0), first tried at `t`.
 * @param evaluate - Loss, gradient and slope at `t`; leaves the parameters as they are.
 * @param largest - The direction's largest element.
 * @param most - Evaluations beside the first.
 * @returns The best point that was found, and how often the loss was evaluated.
 */
export function strongWolfe(
  m: Arithmetic,
  evaluate: (t: Scalar) => Point,
  start: Point,
  t: Scalar,
  largest: Scalar,
  most: number,
): { readonly best: Point; readonly evaluations: number } {
  return scope(() => {
    const search = new Search(m, start, most, evaluate);
    const found = bracketed(search, search.evaluate(t));
    const best = Array.isArray(found) ? narrowed(search, found, largest) : found;
    return { best, evaluations: search.evaluations };
  });
}
