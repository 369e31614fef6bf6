/** Sums, means, extremes and what follows an order. */
import { range, type Lowering, type Op } from "../op.js";

const over =
  (op: string): Lowering =>
  (o) => {
    const input = o.t("self");
    const x = o.cast(input, o.out.dtype);
    const rank = input.shape.length;
    return rank === 0 ? o.node("Identity", [x]) : o.g.reduce(op, x, o.dims("dim", rank), o.flag("keepdim"));
  };
/** With the place of the extreme, or of all elements, or of two tensors. */
const extreme =
  (reduce: string, arg: string, pair: string): Lowering =>
  (o) => {
    const input = o.t("self");
    const rank = input.shape.length;
    if (o.has("other")) return o.node(pair, [o.as("self", o.out.dtype), o.as("other", o.out.dtype)]);
    if (!o.has("dim") || rank === 0) return o.g.reduce(reduce, input.name, range(rank), false);
    const [axis, keep] = [o.dim("dim", rank), o.flag("keepdim")];
    return [o.g.reduce(reduce, input.name, [axis], keep), o.node(arg, [input.name], { axis, keepdims: keep ? 1 : 0 })];
  };
const place =
  (arg: string): Lowering =>
  (o) => {
    const input = o.t("self");
    const rank = input.shape.length;
    if (o.has("dim") && rank > 0)
      return o.node(arg, [input.name], { axis: o.dim("dim", rank), keepdims: o.flag("keepdim") ? 1 : 0 });
    const flat = o.g.reshape(input.name, o.g.ints([-1]));
    return o.node(arg, [flat], { axis: 0, keepdims: 0 });
  };

function variance(o: Op): string {
  const input = o.t("self");
  const rank = input.shape.length;
  const axes = o.dims("dim", rank);
  const correction = o.has("correction") ? o.number("correction") : o.get("unbiased") === false ? 0 : 1;
  const centred = o.node("Sub", [input.name, o.g.reduce("ReduceMean", input.name, axes, true)]);
  const mean = o.g.reduce("ReduceMean", o.node("Mul", [centred, centred]), axes, o.flag("keepdim"));
  if (correction === 0) return mean;
  const count = axes.reduce((n, d) => {
    if (typeof input.sizes[d] !== "number") o.refuse("a variance over sizes that are fixed");
    return n * (input.shape[d] ?? 1);
  }, 1);
  return o.node("Mul", [mean, o.g.scalar(count / (count - correction), input.dtype)]);
}

const cumsum: Lowering = (o) => {
  const input = o.t("self");
  return o.node("CumSum", [o.cast(input, o.out.dtype), o.g.int(o.dim("dim", input.shape.length))]);
};
const truth =
  (op: string): Lowering =>
  (o) => {
    const input = o.t("self");
    const number = o.g.cast(o.cast(input, "bool"), "int32");
    return o.g.cast(o.g.reduce(op, number, o.dims("dim", input.shape.length), o.flag("keepdim")), "bool");
  };
const topk: Lowering = (o) => {
  const input = o.t("self");
  const attributes = {
    axis: o.dim("dim", input.shape.length),
    largest: o.get("largest") === false ? 0 : 1,
    sorted: o.get("sorted") === false ? 0 : 1,
  };
  return o.g.nodes("TopK", [input.name, o.vector([o.size("k")])], attributes, 2);
};
const sort: Lowering = (o) => {
  const input = o.t("self");
  const axis = o.dim("dim", input.shape.length);
  const attributes = { axis, largest: o.flag("descending") ? 1 : 0, sorted: 1 };
  return o.g.nodes("TopK", [input.name, o.vector([input.sizes[axis] ?? 1])], attributes, 2);
};

export const reductions: Readonly<Record<string, Lowering>> = {
  sum: over("ReduceSum"),
  mean: over("ReduceMean"),
  prod: over("ReduceProd"),
  amax: over("ReduceMax"),
  amin: over("ReduceMin"),
  logsumexp: over("ReduceLogSumExp"),
  max: extreme("ReduceMax", "ArgMax", "Max"),
  min: extreme("ReduceMin", "ArgMin", "Min"),
  argmax: place("ArgMax"),
  argmin: place("ArgMin"),
  var: variance,
  std: (o) => o.node("Sqrt", [variance(o)]),
  cumsum,
  any: truth("ReduceMax"),
  all: truth("ReduceMin"),
  topk,
  sort,
};
