/** Shapes: views, joins, parts. */
import { axisOf, range, type Lowering, type Op, type Operand } from "../op.js";
import type { Size } from "../sizes.js";

const first = (o: Op): Operand => o.t(o.has("self") ? "self" : (Object.keys(o.call.args)[0] ?? "self"));

/** To the shape that the result has. One size that moves needs no arithmetic: it is what is left. */
const reshape: Lowering = (o) => reshaped(o, first(o).name, o.out.sizes);
function reshaped(o: Op, x: string, sizes: readonly Size[]): string {
  const moving = sizes.filter((s) => typeof s !== "number").length;
  return moving === 1 && !sizes.includes(0)
    ? o.g.reshape(x, o.g.ints(sizes.map((s) => (typeof s === "number" ? s : -1))))
    : o.g.reshape(x, o.vector(sizes));
}
const view: Lowering = (o) => {
  if (o.call.overload === "dtype") o.refuse("a view in the same dtype");
  return reshape(o);
};

const transpose: Lowering = (o) => {
  const input = first(o);
  const rank = input.shape.length;
  const [a, b] = ["dim0", "dim1"].map((name, i) => o.dim(o.has(name) ? name : `axis${i}`, rank)) as [number, number];
  const perm = range(rank);
  [perm[a], perm[b]] = [b, a];
  return o.g.transpose(input.name, perm);
};
const permute: Lowering = (o) =>
  o.g.transpose(
    first(o).name,
    o.ints("dims").map((d) => axisOf(d, first(o).shape.length)),
  );
const t: Lowering = (o) => (first(o).shape.length < 2 ? first(o).name : o.g.transpose(first(o).name, [1, 0]));
const movedim: Lowering = (o) => {
  const rank = first(o).shape.length;
  const from = o.ints("source").map((d) => axisOf(d, rank));
  const to = o.ints("destination").map((d) => axisOf(d, rank));
  const rest = range(rank).filter((d) => !from.includes(d));
  const perm = range(rank).map((d) => (to.includes(d) ? (from[to.indexOf(d)] ?? d) : (rest.shift() ?? d)));
  return o.g.transpose(first(o).name, perm);
};

const squeeze: Lowering = (o) => {
  const input = first(o);
  const rank = input.shape.length;
  const axes = o.has("dim") ? o.ints("dim").map((d) => axisOf(d, rank)) : range(rank);
  return o.g.squeeze(
    input.name,
    axes.filter((d) => input.sizes[d] === 1),
  );
};
const unsqueeze: Lowering = (o) => o.g.unsqueeze(first(o).name, [o.dim("dim", first(o).shape.length + 1)]);
const expand: Lowering = (o) => o.node("Expand", [first(o).name, o.vector(o.out.sizes)]);
const broadcast: Lowering = (o) =>
  o.tensors("tensors").map((t, i) => {
    const { sizes } = o.results[i] ?? o.refuse("a tensor for each");
    return o.node("Expand", [t.name, o.vector(sizes)]);
  });
const repeat: Lowering = (o) => {
  const input = first(o);
  const counts = o.sizes("repeats");
  const wide = o.g.unsqueeze(input.name, range(counts.length - input.shape.length));
  return o.node("Tile", [wide, o.vector(counts)]);
};

const cat: Lowering = (o) => {
  const { dtype, shape } = o.out;
  const parts = o.tensors("tensors").filter((p) => !(p.shape.length === 1 && p.shape[0] === 0));
  const axis = o.dim(o.has("dim") ? "dim" : "axis", shape.length);
  return o.node(
    "Concat",
    parts.map((p) => o.cast(p, dtype)),
    { axis },
  );
};
const stack: Lowering = (o) => {
  const { dtype, shape } = o.out;
  const axis = o.dim("dim", shape.length);
  const parts = o.tensors("tensors").map((p) => o.g.unsqueeze(o.cast(p, dtype), [axis]));
  return o.node("Concat", parts, { axis });
};

/** Into the pieces that the trace has, along an axis. */
const pieces: Lowering = (o) => {
  const input = first(o);
  const axis = o.dim("dim", input.shape.length);
  let at = 0;
  return o.results.map((piece) => {
    const size = piece?.sizes[axis];
    if (typeof size !== "number") return o.refuse("pieces of sizes that are fixed");
    const made = o.g.part(input.name, axis, at, at + size);
    at += size;
    return made;
  });
};
const unbind: Lowering = (o) => {
  const input = first(o);
  const axis = o.dim("dim", input.shape.length);
  if (typeof input.sizes[axis] !== "number") o.refuse("a dimension of fixed size to take apart");
  return o.results.map((_, i) => o.node("Gather", [input.name, o.g.int(i)], { axis }));
};
const select: Lowering = (o) => {
  const input = first(o);
  return o.node("Gather", [input.name, o.as("index", "int64")], { axis: o.dim("dim", input.shape.length) });
};
const slice: Lowering = (o) => {
  const input = first(o);
  const axis = o.dim("dim", input.shape.length);
  const bound = (name: string, standard: number): string =>
    o.has(name) ? o.vector([o.size(name)]) : o.g.ints([standard]);
  const end = o.has("length") ? null : bound("end", 2 ** 62);
  if (end !== null) return o.g.slice(input.name, axis, bound("start", 0), end, o.has("step") ? o.int("step") : 1);
  const start = bound("start", 0);
  return o.g.slice(input.name, axis, start, o.node("Add", [start, o.vector([o.size("length")])]));
};

const flip: Lowering = (o) => {
  const input = first(o);
  const axes = o.ints("dims").map((d) => axisOf(d, input.shape.length));
  return axes.reduce(
    (x, axis) => o.node("Slice", [x, o.g.ints([-1]), o.g.ints([-(2 ** 62)]), o.g.ints([axis]), o.g.ints([-1])]),
    input.name,
  );
};
const roll: Lowering = (o) => {
  const input = first(o);
  const [shifts, dims] = [o.ints("shifts"), o.ints("dims")];
  if (dims.length === 0) o.refuse("dims");
  return dims.reduce((x, dim, i) => {
    const axis = axisOf(dim, input.shape.length);
    const size = input.sizes[axis];
    if (typeof size !== "number") return o.refuse("a roll over a size that is fixed");
    const cut = ((-(shifts[i] ?? 0) % size) + size) % size || 0;
    return o.node("Concat", [o.g.part(x, axis, cut, size), o.g.part(x, axis, 0, cut)], { axis });
  }, input.name);
};

/** Values around the edges: constants, or what is there, mirrored, repeated or from the other side. */
function padded(o: Op, mode: string, value: number): string {
  const input = first(o);
  const pads = o.ints("pad").length > 0 ? o.ints("pad") : o.ints("padding");
  const rank = input.shape.length;
  const before = range(rank).map((d) => pads[2 * (rank - 1 - d)] ?? 0);
  const after = range(rank).map((d) => pads[2 * (rank - 1 - d) + 1] ?? 0);
  if (mode === "circular") return circular(o, input, before, after);
  const at = o.g.ints([...before, ...after]);
  // Only constants may be taken away by negative numbers, which other modes have none of.
  return mode === "constant"
    ? o.node("Pad", [input.name, at, o.g.scalar(value, input.dtype)])
    : o.node("Pad", [input.name, at], { mode: mode === "replicate" ? "edge" : mode });
}
function circular(o: Op, input: Operand, before: readonly number[], after: readonly number[]): string {
  return range(input.shape.length).reduce((x, axis) => {
    const [left, right, size] = [before[axis] ?? 0, after[axis] ?? 0, input.sizes[axis]];
    if (left === 0 && right === 0) return x;
    if (typeof size !== "number" || left < 0 || right < 0) return o.refuse("circular padding of a size that is fixed");
    const parts = [
      ...(left > 0 ? [o.g.part(x, axis, size - left, size)] : []),
      x,
      ...(right > 0 ? [o.g.part(x, axis, 0, right)] : []),
    ];
    return o.node("Concat", parts, { axis });
  }, input.name);
}
const pad =
  (mode?: string): Lowering =>
  (o) =>
    padded(o, mode ?? o.text("mode"), o.number("value", 0));

/** `[N, C·r², H, W]` → `[N, C, H·r, W·r]`, and back. */
const pixelShuffle: Lowering = (o) => {
  const r = o.int("upscale_factor");
  const input = first(o);
  if (input.shape.length === 4) return o.node("DepthToSpace", [input.name], { blocksize: r, mode: "CRD" });
  const made = o.node("DepthToSpace", [o.g.unsqueeze(input.name, [0])], { blocksize: r, mode: "CRD" });
  return o.g.squeeze(made, [0]);
};
const pixelUnshuffle: Lowering = (o) => {
  const input = first(o);
  const r = o.int("downscale_factor");
  const rank = input.shape.length;
  const [c, h, w] = input.sizes.slice(-3) as [Size, Size, Size];
  if (typeof c !== "number" || typeof h !== "number" || typeof w !== "number") o.refuse("planes of fixed sizes");
  const lead = input.sizes.slice(0, rank - 3);
  const [height, width] = [Number(h) / r, Number(w) / r];
  const apart = reshaped(o, input.name, [...lead, c, height, r, width, r]);
  const n = lead.length;
  const moved = o.g.transpose(apart, [...range(n), n, n + 2, n + 4, n + 1, n + 3]);
  return reshaped(o, moved, o.out.sizes);
};
const channelShuffle: Lowering = (o) => {
  const input = first(o);
  const groups = o.int("groups");
  const [n, c, ...rest] = input.sizes as [Size, Size, ...Size[]];
  if (typeof c !== "number") o.refuse("a fixed number of channels");
  const apart = reshaped(o, input.name, [n, groups, Number(c) / groups, ...rest]);
  const moved = o.g.transpose(apart, [0, 2, 1, ...rest.map((_, d) => d + 3)]);
  return reshaped(o, moved, input.sizes);
};

const triangle =
  (upper: boolean): Lowering =>
  (o) => {
    const diagonal = o.number("diagonal", 0);
    return o.node("Trilu", [first(o).name, o.g.int(diagonal)], { upper: upper ? 1 : 0 });
  };

export const shapes: Readonly<Record<string, Lowering>> = {
  view,
  reshape,
  _unsafe_view: reshape,
  view_as: reshape,
  reshape_as: reshape,
  flatten: reshape,
  unflatten: reshape,
  ravel: reshape,
  transpose,
  swapaxes: transpose,
  swapdims: transpose,
  permute,
  t,
  numpy_T: t,
  movedim,
  moveaxis: movedim,
  squeeze,
  unsqueeze,
  expand,
  broadcast_tensors: broadcast,
  expand_as: expand,
  broadcast_to: expand,
  repeat,
  tile: (o) => {
    const input = first(o);
    const counts = o.sizes("dims");
    const missing = Math.max(0, input.shape.length - counts.length);
    const wide = o.g.unsqueeze(input.name, range(Math.max(0, counts.length - input.shape.length)));
    return o.node("Tile", [wide, o.vector([...range(missing).map(() => 1), ...counts])]);
  },
  cat,
  concat: cat,
  concatenate: cat,
  stack,
  split: pieces,
  split_with_sizes: pieces,
  chunk: pieces,
  tensor_split: pieces,
  unsafe_split: pieces,
  unsafe_chunk: pieces,
  unbind,
  select,
  slice,
  narrow: slice,
  flip,
  roll,
  pad: pad(),
  constant_pad_nd: pad("constant"),
  reflection_pad1d: pad("reflect"),
  reflection_pad2d: pad("reflect"),
  reflection_pad3d: pad("reflect"),
  replication_pad1d: pad("replicate"),
  replication_pad2d: pad("replicate"),
  replication_pad3d: pad("replicate"),
  pixel_shuffle: pixelShuffle,
  pixel_unshuffle: pixelUnshuffle,
  channel_shuffle: channelShuffle,
  native_channel_shuffle: channelShuffle,
  triu: triangle(true),
  tril: triangle(false),
};
