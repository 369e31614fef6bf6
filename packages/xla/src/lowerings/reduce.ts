/** Reductions: sums, means, extremes, norms, variances, running sums, order. */
import type { Lowering, Operation } from "../lower/operation.js";
import { addLowerings } from "../lower/registry.js";
import { need, type Emitter, type Reduction } from "../stablehlo/emitter.js";
import { sort } from "../stablehlo/loop.js";
import { reduce, runningSum, sum } from "../stablehlo/reduce.js";
import { accumulator, axisOf, isFloat, range, sizeOf, type Ssa } from "../stablehlo/types.js";
import { finish } from "./kernel.js";

/** Which dimensions: all of them where none are named. */
export function dimsOf(o: Operation, x: Ssa): number[] {
  const rank = x.shape.length;
  const named = o.has("dim") ? o.operator.arguments["dim"] : null;
  const dims = typeof named === "number" ? [o.number("dim")] : o.has("dim") ? o.numbers("dim") : [];
  return dims.length === 0 ? range(rank) : dims.map((d) => axisOf(d, rank)).filter((d) => d < rank);
}
const keeps = (o: Operation): boolean => o.has("keepdim") && o.flag("keepdim");
const count = (x: Ssa, dims: readonly number[]): number => sizeOf(dims.map((d) => x.shape[d]));

/** Reduced in the accumulation type of the result, finished there, and rounded once. */
const reduction =
  (how: Reduction, done: (e: Emitter, total: Ssa, n: number) => Ssa = (_, total) => total): Lowering =>
  (e, o) => {
    const out = o.out(0);
    const x = e.convert(o.tensor("self"), accumulator(out.element));
    const dims = dimsOf(o, x);
    return [finish(e, done(e, reduce(e, how, x, dims, keeps(o)), count(x, dims)), out)];
  };
const total = reduction("add");
const mean = reduction("add", (e, s, n) => e.div(s, n));
const truth =
  (how: "and" | "or"): Lowering =>
  (e, o) => {
    const x = e.convert(o.tensor("self"), "i1");
    return [finish(e, reduce(e, how, x, dimsOf(o, x), keeps(o)), o.out(0))];
  };

/** Where the first greatest (or least) element along `dim` is: NaN counts as such. */
function firstExtreme(e: Emitter, x: Ssa, dim: number, how: "maximum" | "minimum", keep: boolean): [Ssa, Ssa] {
  const extreme = reduce(e, how, x, [dim], true);
  let hit = e.compare("EQ", x, extreme);
  if (isFloat(x.element)) hit = e.binary("or", hit, e.compare("NE", x, x));
  const places = e.select(hit, e.iota("i64", x.shape, dim), x.shape[dim]);
  const shape = x.shape.flatMap((n, i) => (i !== dim ? [n] : keep ? [1] : []));
  return [e.reshape(extreme, shape), reduce(e, "minimum", places, [dim], keep)];
}
const extremeAlong =
  (how: "maximum" | "minimum"): Lowering =>
  (e, o) => {
    const x = o.tensor("self");
    if (x.shape.length === 0) {
      o.implied("dim", "keepdim");
      return [x, e.full(0, "i64")];
    }
    return firstExtreme(e, x, axisOf(o.number("dim"), x.shape.length), how, o.flag("keepdim"));
  };
const placeOfExtreme =
  (how: "maximum" | "minimum"): Lowering =>
  (e, o) => {
    const x = o.tensor("self");
    const dim = o.numberOr("dim");
    const keep = o.flag("keepdim");
    if (dim !== null && x.shape.length > 0)
      return [finish(e, firstExtreme(e, x, axisOf(dim, x.shape.length), how, keep)[1], o.out(0))];
    const flat = firstExtreme(e, e.reshape(x, [sizeOf(x.shape)]), 0, how, false)[1];
    return [e.reshape(flat, o.out(0).shape)];
  };

/** Σ(x - mean)² over dims, with its mean; both keep ones. */
export function squaresAround(e: Emitter, x: Ssa, dims: readonly number[]): { mean: Ssa; centred: Ssa; squares: Ssa } {
  const average = e.div(sum(e, x, dims, true), count(x, dims));
  const centred = e.sub(x, average);
  return { mean: average, centred, squares: sum(e, e.mul(centred, centred), dims, true) };
}
const variance =
  (root: boolean, withMean: boolean): Lowering =>
  (e, o) => {
    const out = o.out(0);
    const x = e.convert(o.tensor("self"), accumulator(out.element));
    const dims = dimsOf(o, x);
    const { mean: average, squares } = squaresAround(e, x, dims);
    o.implied("keepdim");
    const freedom = Math.max(0, count(x, dims) - (o.numberOr("correction") ?? 1));
    const value = e.div(squares, freedom);
    const shaped = (v: Ssa, i: number): Ssa => e.convert(e.reshape(v, o.out(i).shape), o.out(i).element);
    const first = shaped(root ? e.unary("sqrt", value) : value, 0);
    return withMean ? [first, shaped(average, 1)] : [first];
  };

/** The p-norm over dims, ones kept or not. */
export function vectorNorm(e: Emitter, x: Ssa, p: number, dims: readonly number[], keep: boolean): Ssa {
  const magnitude = (): Ssa => e.unary("abs", x);
  if (p === 2) return e.unary("sqrt", sum(e, e.mul(x, x), dims, keep));
  if (p === 1) return sum(e, magnitude(), dims, keep);
  if (p === 0) return sum(e, e.convert(e.compare("NE", x, 0), x.element), dims, keep);
  if (p === Infinity)
    return count(x, dims) === 0 ? sum(e, x, dims, keep) : reduce(e, "maximum", magnitude(), dims, keep);
  if (p === -Infinity) return reduce(e, "minimum", magnitude(), dims, keep);
  return e.binary("power", sum(e, e.binary("power", magnitude(), p), dims, keep), 1 / p);
}
const norm =
  (order: string): Lowering =>
  (e, o) => {
    const out = o.out(0);
    const x = e.convert(o.tensor("self"), accumulator(out.element));
    const p = o.has(order) ? (o.numberOr(order) ?? 2) : 2;
    return [finish(e, vectorNorm(e, x, p, dimsOf(o, x), keeps(o)), out)];
  };
const logSumExp: Lowering = (e, o) => {
  const out = o.out(0);
  const x = e.convert(o.tensor("self"), accumulator(out.element));
  const dims = dimsOf(o, x);
  const greatest = reduce(e, "maximum", x, dims, true);
  // A row of -∞ has the greatest -∞: subtracting it would give NaN.
  const anchor = e.select(e.isFinite(greatest), greatest, 0);
  const s = sum(e, e.unary("exponential", e.sub(x, anchor)), dims, true);
  o.implied("keepdim");
  return [e.convert(e.reshape(e.add(e.unary("log", s), anchor), out.shape), out.element)];
};
const running: Lowering = (e, o) => {
  const out = o.out(0);
  const x = e.convert(o.tensor("self"), accumulator(out.element));
  if (x.shape.length === 0) return (o.implied("dim"), [finish(e, x, out)]);
  return [finish(e, runningSum(e, x, axisOf(o.number("dim"), x.shape.length)), out)];
};
const product =
  (one: boolean): Lowering =>
  (e, o) => {
    const out = o.out(0);
    const x = e.convert(o.tensor("self"), accumulator(out.element));
    const dims = one ? [axisOf(o.number("dim"), x.shape.length)] : range(x.shape.length);
    return [finish(e, reduce(e, "multiply", x, dims, keeps(o)), out)];
  };
function sorted(e: Emitter, x: Ssa, dim: number, descending: boolean): [Ssa, Ssa] {
  return x.shape.length === 0 ? [x, e.full(0, "i64")] : sort(e, x, axisOf(dim, x.shape.length), descending);
}
const ordered: Lowering = (e, o) => {
  o.implied("stable"); // it always is
  return sorted(e, o.tensor("self"), o.number("dim"), o.flag("descending"));
};
const greatest: Lowering = (e, o) => {
  o.implied("sorted");
  const [x, k] = [o.tensor("self"), o.number("k")];
  const dim = axisOf(o.number("dim"), x.shape.length);
  const both = sorted(e, x, dim, o.flag("largest"));
  need(k <= (x.shape[dim] ?? 1), `${k} elements of ${x.shape[dim]}`);
  return both.map((v) => (v.shape.length === 0 ? v : e.slice(v, dim, 0, k)));
};

addLowerings({
  "aten::sum": total,
  "aten::sum.dim_IntList": total,
  "aten::nansum": (e, o) => {
    const out = o.out(0);
    const x = e.convert(o.tensor("self"), accumulator(out.element));
    return [finish(e, sum(e, e.select(e.compare("NE", x, x), 0, x), dimsOf(o, x), keeps(o)), out)];
  },
  "aten::mean": mean,
  "aten::mean.dim": mean,
  "aten::prod": product(false),
  "aten::prod.dim_int": product(true),
  "aten::amax": reduction("maximum"),
  "aten::amin": reduction("minimum"),
  "aten::max": reduction("maximum"),
  "aten::min": reduction("minimum"),
  "aten::max.dim": extremeAlong("maximum"),
  "aten::min.dim": extremeAlong("minimum"),
  "aten::aminmax": (e, o) => [
    ...(["minimum", "maximum"] as const).map((how, i) => {
      const x = o.tensor("self");
      const dim = o.numberOr("dim");
      const dims = dim === null || x.shape.length === 0 ? range(x.shape.length) : [axisOf(dim, x.shape.length)];
      return finish(e, reduce(e, how, x, dims, keeps(o)), o.out(i));
    }),
  ],
  "aten::argmax": placeOfExtreme("maximum"),
  "aten::argmin": placeOfExtreme("minimum"),
  "aten::any": truth("or"),
  "aten::any.dim": truth("or"),
  "aten::any.dims": truth("or"),
  "aten::all": truth("and"),
  "aten::all.dim": truth("and"),
  "aten::all.dims": truth("and"),
  "aten::var.correction": variance(false, false),
  "aten::std.correction": variance(true, false),
  "aten::var_mean.correction": variance(false, true),
  "aten::std_mean.correction": variance(true, true),
  "aten::linalg_vector_norm": norm("ord"),
  "aten::norm.Scalar": norm("p"),
  "aten::norm.ScalarOpt_dim": norm("p"),
  "aten::logsumexp": logSumExp,
  "aten::cumsum": running,
  "aten::sort": ordered,
  "aten::sort.stable": ordered,
  "aten::topk": greatest,
});
