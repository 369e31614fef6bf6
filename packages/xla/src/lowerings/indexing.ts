/**
 * Embeddings, indexing, gathering and scattering. Indices are not checked on the device: those out of range read the
 * nearest element and write nothing, where libtorch raises an error.
 */
import type { Lowering, Operation } from "../lower/operation.js";
import { addLowerings } from "../lower/registry.js";
import type { Emitter } from "../stablehlo/emitter.js";
import { gatherAt, scatterAt, type Meeting } from "../stablehlo/gather.js";
import { neutral, sum } from "../stablehlo/reduce.js";
import { accumulator, axisOf, jointShape, range, type Ssa } from "../stablehlo/types.js";
import { asValue, finish, promoted } from "./kernel.js";

const column = (e: Emitter, index: Ssa): Ssa => e.reshape(index, [...index.shape, 1]);
/** Counted from the end, from the start. */
const wrapped = (e: Emitter, index: Ssa, n: number): Ssa => e.select(e.compare("LT", index, 0), e.add(index, n), index);

const embedding: Lowering = (e, o) => {
  o.implied("padding_idx", "scale_grad_by_freq", "sparse"); // of its gradient
  return [gatherAt(e, o.tensor("weight"), column(e, o.tensor("indices")))];
};
const embeddingBackward: Lowering = (e, o) => {
  o.implied("num_weights");
  o.only("scale_grad_by_freq", false);
  const out = o.out(0);
  const [grad, indices, padding] = [o.tensor("grad_output"), o.tensor("indices"), o.number("padding_idx")];
  let rows = e.convert(grad, accumulator(grad.element));
  if (padding >= 0) {
    const real = e.compare("NE", column(e, indices), padding);
    rows = e.select(e.expand(real, rows.shape), rows, 0);
  }
  const zeros = e.full(0, rows.element, out.shape);
  return [finish(e, scatterAt(e, zeros, column(e, indices), rows, "add"), out)];
};

/** Dimensions that are indexed, first; the others after them, in order. */
interface Indexed {
  readonly dims: readonly number[];
  readonly order: readonly number[];
  /** [places…, one coordinate for each dimension]. */
  readonly index: Ssa;
  readonly places: readonly number[];
  /** Where the places stand in the result: before this many of the other dimensions. */
  readonly before: number;
}
function indexedBy(e: Emitter, o: Operation, shape: readonly number[]): Indexed {
  const given = o.optionals("indices");
  const dims = range(given.length).filter((i) => given[i] !== null);
  const list = given.filter((v) => v !== null);
  o.need(list.length > 0 && list.every((v) => v.element !== "i1"), "indices", "whole numbers, not masks");
  const places = list.reduce<number[]>((joint, v) => jointShape(joint, v.shape) ?? joint, []);
  const parts = list.map((v, i) => column(e, e.expand(wrapped(e, e.convert(v, "i64"), shape[dims[i]]), places)));
  const others = range(shape.length).filter((d) => !dims.includes(d));
  const together = dims.every((d, i) => i === 0 || d === dims[i - 1] + 1);
  return {
    dims,
    order: [...dims, ...others],
    index: e.concat(parts, places.length),
    places,
    before: together ? others.filter((d) => d < dims[0]).length : 0,
  };
}
/** Dimensions of [places…, others…] as the operator has them. */
function placed(x: Indexed, others: number): number[] {
  const places = range(x.places.length);
  const rest = range(others).map((i) => i + places.length);
  return [...rest.slice(0, x.before), ...places, ...rest.slice(x.before)];
}
const inverse = (order: readonly number[]): number[] => range(order.length).map((i) => order.indexOf(i));

const index: Lowering = (e, o) => {
  const self = o.tensor("self");
  const x = indexedBy(e, o, self.shape);
  const found = gatherAt(e, e.permute(self, x.order), x.index);
  return [e.permute(found, placed(x, self.shape.length - x.dims.length))];
};
const indexPut: Lowering = (e, o) => {
  o.implied("unsafe");
  const self = o.tensor("self");
  const x = indexedBy(e, o, self.shape);
  const others = x.order.slice(x.dims.length).map((d) => self.shape[d]);
  const order = placed(x, others.length);
  const inner = [...x.places, ...others];
  const values = e.expand(
    e.convert(o.tensor("values"), self.element),
    order.map((i) => inner[i]),
  );
  const updates = e.permute(values, inverse(order));
  const turned = e.permute(self, x.order);
  const accumulate = o.flag("accumulate");
  const element = accumulate ? accumulator(self.element) : self.element;
  const after = scatterAt(
    e,
    e.convert(turned, element),
    x.index,
    e.convert(updates, element),
    accumulate ? "add" : "replace",
  );
  return [e.permute(e.convert(after, self.element), inverse(x.order))];
};

/** A dimension first, and back. */
function front(rank: number, dim: number): { to: number[]; back: number[] } {
  const to = [dim, ...range(rank).filter((d) => d !== dim)];
  return { to, back: inverse(to) };
}
const indexSelect: Lowering = (e, o) => {
  const [self, list] = [o.tensor("self"), o.tensor("index")];
  o.need(self.shape.length > 0, "self", "a tensor with dimensions");
  const { to, back } = front(self.shape.length, axisOf(o.number("dim"), self.shape.length));
  return [
    e.permute(
      gatherAt(
        e,
        e.permute(self, to),
        column(
          e,
          e.reshape(
            list,
            o.out(0).shape.filter((_, i) => i === to[0]),
          ),
        ),
      ),
      back,
    ),
  ];
};
/** Rows of `source` (or one number) come to rows of `self`. */
const indexed =
  (how: Meeting, from: string): Lowering =>
  (e, o) => {
    const [self, list] = [o.tensor("self"), o.tensor("index")];
    const { to, back } = front(self.shape.length, axisOf(o.number("dim"), self.shape.length));
    const element = how === "add" ? accumulator(self.element) : self.element;
    const turned = e.convert(e.permute(self, to), element);
    const n = list.shape[0] ?? 1;
    const given = asValue(e, o.operand(from), element);
    const rows = given.shape.length === 0 ? e.expand(given, [n, ...turned.shape.slice(1)]) : e.permute(given, to);
    const alpha = o.has("alpha") ? o.number("alpha") : 1;
    const after = scatterAt(e, turned, column(e, e.reshape(list, [n])), alpha === 1 ? rows : e.mul(rows, alpha), how);
    return [e.convert(e.permute(after, back), self.element)];
  };

/** Coordinates of every element, with `index` along `dim`. */
function coordinates(e: Emitter, list: Ssa, dim: number): Ssa {
  const parts = range(list.shape.length).map((d) => column(e, d === dim ? list : e.iota(list.element, list.shape, d)));
  return e.concat(parts, list.shape.length);
}
const gather: Lowering = (e, o) => {
  o.implied("sparse_grad");
  const [self, list] = [o.tensor("self"), o.tensor("index")];
  const dim = axisOf(o.number("dim"), self.shape.length);
  if (self.shape.length === 0) return [e.expand(self, list.shape)];
  return [gatherAt(e, self, coordinates(e, list, dim))];
};
const scatter =
  (how: Meeting, from: string): Lowering =>
  (e, o) => {
    const [self, list] = [o.tensor("self"), o.tensor("index")];
    const dim = axisOf(o.number("dim"), self.shape.length);
    const element = how === "add" ? accumulator(self.element) : self.element;
    const given = asValue(e, o.operand(from), element);
    const updates = given.shape.length === 0 ? e.expand(given, list.shape) : cut(e, given, list.shape);
    const after = scatterAt(e, e.convert(self, element), coordinates(e, list, dim), updates, how);
    return [e.convert(after, self.element)];
  };
const REDUCTIONS: Readonly<Record<string, Meeting>> = {
  sum: "add",
  mean: "add",
  prod: "multiply",
  amax: "maximum",
  amin: "minimum",
};
/** What comes to one place is joined; without `include_self`, places to which something comes begin anew. */
const scatterReduce: Lowering = (e, o) => {
  const [self, list] = [o.tensor("self"), o.tensor("index")];
  const name = o.text("reduce");
  const how = REDUCTIONS[name];
  if (how === undefined) return o.refuse("reduce", Object.keys(REDUCTIONS).join(", "));
  const index = coordinates(e, list, axisOf(o.number("dim"), self.shape.length));
  const element = accumulator(self.element);
  const before = e.convert(self, element);
  const whole = o.flag("include_self");
  const count = (from: number): Ssa =>
    scatterAt(e, e.full(from, element, self.shape), index, e.full(1, element, list.shape), "add");
  const reached = whole ? null : e.compare("GT", count(0), 0);
  const begin =
    reached === null ? before : e.select(reached, neutral(e, how === "replace" ? "add" : how, element), before);
  const updates = cut(e, e.convert(o.tensor("src"), element), list.shape);
  const joined = scatterAt(e, begin, index, updates, how);
  if (name !== "mean") return [e.convert(joined, self.element)];
  const n = whole ? count(1) : e.max(count(0), 1);
  return [e.convert(e.div(joined, n), self.element)];
};

/**
 * How many boundaries come before each value, which is its place among them. All are compared: on a device that takes
 * many numbers at once that is faster than a search, and it becomes one loop.
 */
function placeAmong(e: Emitter, o: Operation, boundaries: Ssa, values: Ssa, right: boolean): Ssa {
  const element = promoted([boundaries, values]);
  const [list, x] = [e.convert(boundaries, element), column(e, e.convert(values, element))];
  const shape = [...values.shape, list.shape[list.shape.length - 1]];
  const rows =
    list.shape.length === 1 ? list : e.reshape(list, [...list.shape.slice(0, -1), 1, shape[shape.length - 1]]);
  // NaN comes after all.
  const after = e.unary("not", e.compare(right ? "GT" : "GE", e.expand(rows, shape), e.expand(x, shape)));
  return finish(e, sum(e, e.convert(after, "i32"), [shape.length - 1]), o.out(0));
}
const bucketize: Lowering = (e, o) => {
  o.implied("out_int32");
  return [placeAmong(e, o, o.tensor("boundaries"), o.tensor("self"), o.flag("right"))];
};
const searchSorted: Lowering = (e, o) => {
  o.implied("out_int32");
  o.only("sorter", null);
  const [side, right] = [o.textOr("side"), o.flag("right")];
  return [placeAmong(e, o, o.tensor("sorted_sequence"), o.tensor("self"), right || side === "right")];
};

/** Of a source, only what has an index is used. */
const cut = (e: Emitter, v: Ssa, shape: readonly number[]): Ssa =>
  e.slices(
    v,
    shape.map(() => 0),
    shape,
    shape.map(() => 1),
  );

addLowerings({
  "aten::embedding": embedding,
  "aten::embedding_dense_backward": embeddingBackward,
  "aten::index.Tensor": index,
  "aten::_unsafe_index.Tensor": index,
  "aten::index_put": indexPut,
  "aten::_unsafe_index_put": indexPut,
  "aten::_index_put_impl": indexPut,
  "aten::index_select": indexSelect,
  "aten::index_add": indexed("add", "source"),
  "aten::index_copy": indexed("replace", "source"),
  "aten::index_fill.int_Scalar": indexed("replace", "value"),
  "aten::index_fill.int_Tensor": indexed("replace", "value"),
  "aten::gather": gather,
  "aten::scatter.src": scatter("replace", "src"),
  "aten::scatter.value": scatter("replace", "value"),
  "aten::scatter_add": scatter("add", "src"),
  "aten::scatter_reduce.two": scatterReduce,
  "aten::bucketize.Tensor": bucketize,
  "aten::searchsorted.Tensor": searchSorted,
});
