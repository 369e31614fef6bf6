/** Pooling, unpooling, and sliding windows. */
import { range, type Lowering, type Op, type Operand } from "../op.js";

/** ONNX's pooling takes a batch. */
function batched(o: Op, rank: number, make: (x: string) => string): string {
  const input = o.t("self");
  return input.shape.length === rank + 2 ? make(input.name) : o.g.squeeze(make(o.g.unsqueeze(input.name, [0])), [0]);
}
function windows(
  o: Op,
  rank: number,
): { kernel_shape: number[]; strides: number[]; pads: number[]; ceil_mode: number } {
  const kernel = o.ints("kernel_size", rank);
  const stride = o.ints("stride", rank);
  const padding = o.ints("padding", rank);
  return {
    kernel_shape: kernel,
    strides: stride.length === 0 ? kernel : stride,
    pads: [...padding, ...padding],
    ceil_mode: o.flag("ceil_mode") ? 1 : 0,
  };
}

const maxPool =
  (rank: number, indices: boolean): Lowering =>
  (o) => {
    const input = o.t("self");
    const attributes = { ...windows(o, rank), dilations: o.ints("dilation", rank) };
    if (!indices) return batched(o, rank, (x) => o.node("MaxPool", [x], attributes));
    if (input.shape.length !== rank + 2) o.refuse("a batch, where indices are wanted");
    const [values, places] = o.g.nodes("MaxPool", [input.name], attributes, 2) as [string, string];
    // Counted from the beginning of the tensor there, of the channel here.
    const plane = input.shape.slice(2).reduce((a, b) => a * b, 1);
    return [values, o.node("Mod", [places, o.g.int(plane)])];
  };

const avgPool =
  (rank: number): Lowering =>
  (o) => {
    const { ceil_mode, ...attributes } = windows(o, rank);
    if (ceil_mode === 1 && o.g.opset < 19) o.refuse("opsetVersion 19 or later for average pooling with ceilMode");
    const divisor = o.get("divisor_override");
    const include = o.flag("count_include_pad") || typeof divisor === "number";
    const make = (x: string): string =>
      o.node("AveragePool", [x], {
        ...attributes,
        ...(ceil_mode === 1 ? { ceil_mode } : {}),
        count_include_pad: include ? 1 : 0,
      });
    const made = batched(o, rank, make);
    if (typeof divisor !== "number") return made;
    const size = attributes.kernel_shape.reduce((a, b) => a * b, 1);
    return o.node("Mul", [made, o.g.scalar(size / divisor, o.out.dtype)]);
  };

/** Along each dimension by itself, which is what it comes to: windows begin and end as PyTorch cuts them. */
function adaptive(o: Op, rank: number, reduce: "ReduceMean" | "ReduceMax"): string {
  const input = o.t("self");
  const wanted = o.ints("output_size", rank);
  const first = input.shape.length - rank;
  let made = input.name;
  range(rank).forEach((d) => {
    const [size, out] = [input.shape[first + d] ?? 1, wanted[d] ?? 1];
    if (size !== out) made = along(o, made, input, first + d, size, out, reduce);
  });
  return made;
}
function along(
  o: Op,
  x: string,
  input: Operand,
  axis: number,
  size: number,
  out: number,
  reduce: "ReduceMean" | "ReduceMax",
): string {
  if (typeof input.sizes[axis] !== "number") o.refuse("adaptive pooling over sizes that are fixed");
  if (out === 1) return o.g.reduce(reduce, x, [axis], true);
  const parts = range(out).map((i) => {
    const [start, end] = [Math.floor((i * size) / out), Math.ceil(((i + 1) * size) / out)];
    return o.g.reduce(reduce, o.g.part(x, axis, start, end), [axis], true);
  });
  return o.node("Concat", parts, { axis });
}
const adaptiveAvg =
  (rank: number): Lowering =>
  (o) =>
    adaptive(o, rank, "ReduceMean");
const adaptiveMax =
  (rank: number): Lowering =>
  (o) => [adaptive(o, rank, "ReduceMax")];

/** Windows of a padded plane, one behind the other: `[N, C·k, L]`. */
const im2col: Lowering = (o) => {
  const input = o.t("self");
  const [kernel, dilation, padding, stride] = ["kernel_size", "dilation", "padding", "stride"].map((name) =>
    o.ints(name, 2),
  ) as [number[], number[], number[], number[]];
  const rank = input.shape.length;
  const plane = input.shape.slice(-2).map((s, d) => s + 2 * (padding[d] ?? 0));
  const counts = plane.map(
    (s, d) => Math.floor((s - (dilation[d] ?? 1) * ((kernel[d] ?? 1) - 1) - 1) / (stride[d] ?? 1)) + 1,
  );
  const pads = [...range(rank - 2).map(() => 0), ...padding];
  const padded = o.node("Pad", [input.name, o.g.ints([...pads, ...pads])]);
  const flat = o.g.reshape(padded, o.g.ints([...range(rank - 2).map(() => 0), -1]));
  const places: number[] = [];
  for (const i of range(kernel[0] ?? 1))
    for (const j of range(kernel[1] ?? 1))
      for (const y of range(counts[0] ?? 1))
        for (const z of range(counts[1] ?? 1))
          places.push(
            (y * (stride[0] ?? 1) + i * (dilation[0] ?? 1)) * (plane[1] ?? 1) +
              z * (stride[1] ?? 1) +
              j * (dilation[1] ?? 1),
          );
  const taken = o.node("Gather", [flat, o.g.ints(places)], { axis: rank - 2 });
  return o.g.reshape(taken, o.vector(o.out.sizes));
};
const col2im: Lowering = (o) => {
  const input = o.t("self");
  if (o.g.opset < 18) o.refuse("opsetVersion 18 or later");
  const padding = o.ints("padding", 2);
  const make = (x: string): string =>
    o.node("Col2Im", [x, o.g.ints(o.ints("output_size", 2)), o.g.ints(o.ints("kernel_size", 2))], {
      dilations: o.ints("dilation", 2),
      strides: o.ints("stride", 2),
      pads: [...padding, ...padding],
    });
  return input.shape.length === 3 ? make(input.name) : o.g.squeeze(make(o.g.unsqueeze(input.name, [0])), [0]);
};

/** Each value goes back to where it was the largest; zeros elsewhere. */
const maxUnpool: Lowering = (o) => {
  const { dtype, sizes } = o.out;
  const rank = o.t("self").shape.length;
  const spatial = o.ints("output_size").length;
  const lead = range(rank - spatial).map(() => 0);
  const plane = o.ints("output_size").reduce((a, b) => a * b, 1);
  const flatShape = o.vector([...sizes.slice(0, rank - spatial), plane]);
  const zeros = o.node("Expand", [o.g.scalar(0, dtype), flatShape]);
  const flat = (name: string): string => o.g.reshape(o.t(name).name, o.g.ints([...lead, -1]));
  const made = o.node("ScatterElements", [zeros, flat("indices"), flat("self")], { axis: rank - spatial });
  return o.g.reshape(made, o.vector(sizes));
};

export const pooling: Readonly<Record<string, Lowering>> = {
  max_pool1d: maxPool(1, false),
  max_pool2d: maxPool(2, false),
  max_pool3d: maxPool(3, false),
  max_pool1d_with_indices: maxPool(1, true),
  max_pool2d_with_indices: maxPool(2, true),
  max_pool3d_with_indices: maxPool(3, true),
  avg_pool1d: avgPool(1),
  avg_pool2d: avgPool(2),
  avg_pool3d: avgPool(3),
  adaptive_avg_pool1d: adaptiveAvg(1),
  adaptive_avg_pool2d: adaptiveAvg(2),
  adaptive_avg_pool3d: adaptiveAvg(3),
  adaptive_max_pool1d: adaptiveMax(1),
  adaptive_max_pool2d: adaptiveMax(2),
  adaptive_max_pool3d: adaptiveMax(3),
  max_unpool2d: maxUnpool,
  max_unpool3d: maxUnpool,
  im2col,
  col2im,
};
