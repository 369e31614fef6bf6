/** Elements by their places, and tensors of one number. */
import { range, type Lowering } from "../op.js";

const embedding: Lowering = (o) => o.node("Gather", [o.t("weight").name, o.cast(o.t("indices"), "int64")], { axis: 0 });

/** Bags of one length, which is how those of two dimensions come. */
const embeddingBag: Lowering = (o) => {
  const [weight, indices, offsets] = [o.t("weight"), o.t("indices"), o.t("offsets")];
  if (o.has("padding_idx") && o.number("padding_idx") >= 0) o.refuse("bags without paddingIdx");
  const starts = offsets.fixed?.tolist();
  const bags = offsets.shape[0] ?? 1;
  const length = (indices.shape[0] ?? 0) / Math.max(1, bags);
  const regular = Array.isArray(starts) ? starts.every((s, i) => s === i * length) : offsets.sizes[0] !== bags;
  if (!regular || o.flag("include_last_offset") || !Number.isInteger(length)) o.refuse("bags of one length");
  const rows = o.node("Gather", [weight.name, o.cast(indices, "int64")], { axis: 0 });
  let bag = o.g.reshape(rows, o.g.ints([-1, length, weight.shape[1] ?? 1]));
  const factors = o.maybe("per_sample_weights");
  if (factors !== null) bag = o.node("Mul", [bag, o.g.reshape(factors.name, o.g.ints([-1, length, 1]))]);
  const reduce = ["ReduceSum", "ReduceMean", "ReduceMax"][o.int("mode")] ?? "ReduceSum";
  return [o.g.reduce(reduce, bag, [1], false)];
};

const indexSelect: Lowering = (o) =>
  o.node("Gather", [o.t("self").name, o.cast(o.t("index"), "int64")], { axis: o.dim("dim", o.t("self").shape.length) });
const gather: Lowering = (o) =>
  o.node("GatherElements", [o.t("self").name, o.cast(o.t("index"), "int64")], {
    axis: o.dim("dim", o.t("self").shape.length),
  });
const scatter: Lowering = (o) => {
  const [self, index] = [o.t("self"), o.t("index")];
  const source = o.has("src")
    ? o.as("src", self.dtype)
    : o.node("Expand", [o.as("value", self.dtype), o.vector(index.sizes)]);
  return o.node("ScatterElements", [self.name, o.cast(index, "int64"), source], {
    axis: o.dim("dim", self.shape.length),
  });
};
/** `x[i]`, `x[:, i]`, `x[i, j]`: tensors of whole numbers, side by side. */
const index: Lowering = (o) => {
  const self = o.t("self");
  const given = o.optionals("indices");
  const named = given.flatMap((t, axis) => (t === null ? [] : [{ axis, t }]));
  const [only] = named;
  if (only === undefined) return self.name;
  if (named.some(({ t }) => t.dtype === "bool")) o.refuse("indices that are whole numbers, not masks");
  if (named.length === 1) return o.node("Gather", [self.name, o.cast(only.t, "int64")], { axis: only.axis });
  if (!named.every(({ axis }, i) => axis === only.axis + i)) o.refuse("indices of dimensions side by side");
  // The named dimensions first, for the tuples of places.
  const axes = named.map(({ axis }) => axis);
  const rest = range(self.shape.length).filter((d) => !axes.includes(d));
  const front = o.g.transpose(self.name, [...axes, ...rest]);
  const places = Math.max(...named.map(({ t }) => t.shape.length));
  const shape = o.vector(o.out.sizes.slice(only.axis, only.axis + places));
  const tuples = named.map(({ t }) => o.g.unsqueeze(o.node("Expand", [o.cast(t, "int64"), shape]), [places]));
  const made = o.node("GatherND", [front, o.node("Concat", tuples, { axis: places })]);
  // They stand where the first of them stood.
  const order = [
    ...range(only.axis).map((d) => places + d),
    ...range(places),
    ...range(rest.length - only.axis).map((d) => places + only.axis + d),
  ];
  return o.g.transpose(made, order);
};
const oneHot: Lowering = (o) => {
  const classes = o.number("num_classes", -1);
  if (classes < 0) o.refuse("numClasses");
  return o.node("OneHot", [o.cast(o.t("self"), "int64"), o.g.int(classes), o.g.ints([0, 1])], { axis: -1 });
};

/** A tensor of one number, of the shape that the trace had. */
const filled =
  (of: number | "fill_value"): Lowering =>
  (o) => {
    const { dtype, sizes } = o.out;
    const value =
      of === "fill_value" ? o.as(o.has("fill_value") ? "fill_value" : "value", dtype) : o.g.scalar(of, dtype);
    return sizes.length === 0 ? o.node("Identity", [value]) : o.node("Expand", [value, o.vector(sizes)]);
  };
const arange: Lowering = (o) => {
  const { dtype } = o.out;
  const [start, step] = [
    o.has("start") ? o.as("start", dtype) : o.g.scalar(0, dtype),
    o.has("step") ? o.as("step", dtype) : o.g.scalar(1, dtype),
  ];
  return o.node("Range", [start, o.as("end", dtype), step]);
};

export const indexing: Readonly<Record<string, Lowering>> = {
  embedding,
  embedding_bag: embeddingBag,
  index_select: indexSelect,
  gather,
  scatter,
  scatter_: scatter,
  index,
  one_hot: oneHot,
  zeros: filled(0),
  ones: filled(1),
  full: filled("fill_value"),
  zeros_like: filled(0),
  ones_like: filled(1),
  full_like: filled("fill_value"),
  new_zeros: filled(0),
  new_ones: filled(1),
  new_full: filled("fill_value"),
  fill_: filled("fill_value"),
  zero_: filled(0),
  arange,
};
