/** Joining, padding, turning around; gradients of views. Views themselves need no lowering. */
import type { Lowering } from "../lower/operation.js";
import { addLowerings } from "../lower/registry.js";
import type { Emitter } from "../stablehlo/emitter.js";
import { scatterAt } from "../stablehlo/gather.js";
import { sum } from "../stablehlo/reduce.js";
import { accumulator, axisOf, range, same, sizeOf, type Ssa } from "../stablehlo/types.js";
import { finish } from "./kernel.js";

const cat: Lowering = (e, o) => {
  const out = o.out(0);
  // Tensors of shape [0] join anything, as of old.
  const parts = o.tensors("tensors").filter((v) => !same(v.shape, [0]) || out.shape.length === 1);
  const dim = axisOf(o.number("dim"), out.shape.length);
  return [
    e.concat(
      parts.map((v) => e.convert(v, out.element)),
      dim,
    ),
  ];
};
const stack: Lowering = (e, o) => {
  const out = o.out(0);
  const dim = axisOf(o.number("dim"), out.shape.length);
  const one = out.shape.map((n, i) => (i === dim ? 1 : n));
  const parts = o.tensors("tensors").map((v) => e.reshape(e.convert(v, out.element), one));
  return [e.concat(parts, dim)];
};
const selectBackward: Lowering = (e, o) => {
  o.implied("input_sizes");
  const { shape } = o.out(0);
  const dim = axisOf(o.number("dim"), shape.length);
  const index = o.number("index");
  const at = index < 0 ? index + shape[dim] : index;
  const one = e.reshape(
    o.tensor("grad_output"),
    shape.map((n, i) => (i === dim ? 1 : n)),
  );
  const edge = (n: number): number[] => shape.map((_, i) => (i === dim ? n : 0));
  return [e.pad(one, edge(at), edge(shape[dim] - at - 1))];
};
const sliceBackward: Lowering = (e, o) => {
  o.implied("input_sizes", "end");
  const { shape } = o.out(0);
  const grad = o.tensor("grad_output");
  const dim = axisOf(o.number("dim"), shape.length);
  const [n, step, given] = [shape[dim], o.number("step"), o.numberOr("start") ?? 0];
  if (grad.shape[dim] === 0) return [e.full(0, grad.element, shape)];
  const start = Math.min(n, Math.max(0, given < 0 ? given + n : given));
  const reach = (grad.shape[dim] - 1) * step + 1;
  const edge = (k: number): number[] => shape.map((_, i) => (i === dim ? k : 0));
  return [e.pad(grad, edge(start), edge(n - start - reach), edge(step - 1))];
};
const flip: Lowering = (e, o) => {
  const x = o.tensor("self");
  return [
    e.reverse(
      x,
      o.numbers("dims").map((d) => axisOf(d, x.shape.length)),
    ),
  ];
};
const roll: Lowering = (e, o) => {
  const x = o.tensor("self");
  const [shifts, dims] = [o.numbers("shifts"), o.numbers("dims")];
  const turn = (v: Ssa, dim: number, shift: number): Ssa => {
    const n = v.shape[dim];
    const by = n === 0 ? 0 : ((shift % n) + n) % n;
    return by === 0 ? v : e.concat([e.slice(v, dim, n - by, n), e.slice(v, dim, 0, n - by)], dim);
  };
  if (dims.length === 0) return [e.reshape(turn(e.reshape(x, [sizeOf(x.shape)]), 0, shifts[0]), x.shape)];
  return [dims.reduce((v, d, i) => turn(v, axisOf(d, x.shape.length), shifts[i]), x)];
};
/** Each dimension so many times over. */
const repeat: Lowering = (e, o) => {
  const x = o.tensor("self");
  const times = o.numbers("repeats");
  const own = [...times.slice(x.shape.length).map(() => 1), ...x.shape];
  const spread = times.flatMap((n, i) => [n, own[i]]);
  const whole = e.broadcast(
    e.reshape(x, own),
    spread,
    own.map((_, i) => 2 * i + 1),
  );
  return [
    e.reshape(
      whole,
      times.map((n, i) => n * own[i]),
    ),
  ];
};
const constantPad: Lowering = (e, o) => {
  const x = o.tensor("self");
  const given = o.numbers("pad");
  const rank = x.shape.length;
  // Pairs, of the last dimension first.
  const edge = (which: 0 | 1): number[] => range(rank).map((i) => given[2 * (rank - 1 - i) + which] ?? 0);
  return [
    e.pad(
      x,
      edge(0),
      edge(1),
      x.shape.map(() => 0),
      e.full(o.number("value"), x.element),
    ),
  ];
};
/** The strip beyond one edge, inwards: mirrored without the edge itself, or the edge repeated. */
function strip(e: Emitter, x: Ssa, dim: number, n: number, low: boolean, mirrored: boolean): Ssa {
  const size = x.shape[dim];
  if (mirrored) return e.reverse(low ? e.slice(x, dim, 1, n + 1) : e.slice(x, dim, size - 1 - n, size - 1), [dim]);
  const edge = low ? e.slice(x, dim, 0, 1) : e.slice(x, dim, size - 1, size);
  return e.expand(
    edge,
    x.shape.map((k, i) => (i === dim ? n : k)),
  );
}
const edgePad =
  (mirrored: boolean): Lowering =>
  (e, o) => {
    let x = o.tensor("self");
    const given = o.numbers("padding");
    const rank = x.shape.length;
    for (let i = 0; i < given.length / 2; i++) {
      const dim = rank - 1 - i;
      const [low, high] = [given[2 * i], given[2 * i + 1]];
      o.need(low >= 0 && high >= 0, "padding", "none below 0");
      const parts = [
        ...(low > 0 ? [strip(e, x, dim, low, true, mirrored)] : []),
        x,
        ...(high > 0 ? [strip(e, x, dim, high, false, mirrored)] : []),
      ];
      x = e.concat(parts, dim);
    }
    return [x];
  };
/** What fell on the strips goes back to where they came from, the last dimension that was padded first. */
const edgePadBackward =
  (mirrored: boolean): Lowering =>
  (e, o) => {
    o.implied("self");
    const out = o.out(0);
    let g = e.convert(o.tensor("grad_output"), accumulator(out.element));
    const given = o.numbers("padding");
    const rank = g.shape.length;
    for (let i = given.length / 2 - 1; i >= 0; i--) {
      const dim = rank - 1 - i;
      const [low, high, n] = [given[2 * i], given[2 * i + 1], out.shape[dim]];
      let inside = e.slice(g, dim, low, low + n);
      const put = (from: number, to: number, isLow: boolean): void => {
        if (from === to) return;
        const piece = e.slice(g, dim, from, to);
        const back = mirrored ? e.reverse(piece, [dim]) : sum(e, piece, [dim], true);
        const width = to - from;
        const at = mirrored ? (isLow ? 1 : n - 1 - width) : isLow ? 0 : n - 1;
        const edge = (k: number): number[] => g.shape.map((_, d) => (d === dim ? k : 0));
        inside = e.add(inside, e.pad(back, edge(at), edge(n - at - back.shape[dim])));
      };
      put(0, low, true);
      put(low + n, low + n + high, false);
      g = inside;
    }
    return [finish(e, g, out)];
  };
/** Elements of a view put back where it saw them; several on one place are added up. */
const unfoldBackward: Lowering = (e, o) => {
  o.implied("input_sizes");
  const out = o.out(0);
  const g = e.convert(o.tensor("grad_in"), accumulator(out.element));
  const dim = axisOf(o.number("dim"), out.shape.length);
  const step = o.number("step");
  o.implied("size");
  const rank = g.shape.length;
  // Window w and place k in it came from w · step + k.
  const coordinates = out.shape.map((_, d) => {
    const index = e.iota("i32", g.shape, d);
    return d === dim ? e.add(e.mul(index, step), e.iota("i32", g.shape, rank - 1)) : index;
  });
  const index = e.concat(
    coordinates.map((c) => e.reshape(c, [...g.shape, 1])),
    rank,
  );
  return [finish(e, scatterAt(e, e.full(0, g.element, out.shape), index, g, "add"), out)];
};

/** A diagonal put back among zeros. */
const diagonalBackward: Lowering = (e, o) => {
  o.implied("input_sizes");
  const { shape } = o.out(0);
  const [a, b] = [axisOf(o.number("dim1"), shape.length), axisOf(o.number("dim2"), shape.length)];
  const offset = o.number("offset");
  const g = o.tensor("grad_output");
  const others = range(shape.length).filter((d) => d !== a && d !== b);
  const on = e.compare("EQ", e.sub(e.iota("i64", shape, b), e.iota("i64", shape, a)), offset);
  // Places on the diagonal are counted along its row, from where it begins.
  const along = offset >= 0 ? a : b;
  const n = g.shape[g.shape.length - 1];
  const grown = e.pad(
    g,
    g.shape.map(() => 0),
    g.shape.map((_, i) => (i === g.shape.length - 1 ? shape[along] - n : 0)),
  );
  return [e.select(on, e.broadcast(grown, shape, [...others, along]), 0)];
};

/** `[…, c · r², h, w]` to `[…, c, h · r, w · r]`, and back. */
const pixelShuffle: Lowering = (e, o) => {
  const [x, r] = [o.tensor("self"), o.number("upscale_factor")];
  const { shape } = o.out(0);
  const lead = x.shape.slice(0, -3);
  const [h, w] = x.shape.slice(-2) as [number, number];
  const split = e.reshape(x, [...lead, shape[shape.length - 3], r, r, h, w]);
  const n = lead.length;
  return [e.reshape(e.permute(split, [...range(n), n, n + 3, n + 1, n + 4, n + 2]), shape)];
};
const pixelUnshuffle: Lowering = (e, o) => {
  const [x, r] = [o.tensor("self"), o.number("downscale_factor")];
  const { shape } = o.out(0);
  const lead = x.shape.slice(0, -3);
  const [h, w] = shape.slice(-2) as [number, number];
  const split = e.reshape(x, [...lead, x.shape[x.shape.length - 3], h, r, w, r]);
  const n = lead.length;
  return [e.reshape(e.permute(split, [...range(n), n, n + 2, n + 4, n + 1, n + 3]), shape)];
};

addLowerings({
  "aten::pixel_shuffle": pixelShuffle,
  "aten::pixel_unshuffle": pixelUnshuffle,
  "aten::cat": cat,
  "aten::diagonal_backward": diagonalBackward,
  "aten::stack": stack,
  "aten::select_backward": selectBackward,
  "aten::slice_backward": sliceBackward,
  "aten::flip": flip,
  "aten::roll": roll,
  "aten::repeat": repeat,
  "aten::constant_pad_nd": constantPad,
  "aten::unfold_backward": unfoldBackward,
});
for (const n of [1, 2, 3])
  addLowerings({
    [`aten::reflection_pad${n}d`]: edgePad(true),
    [`aten::reflection_pad${n}d_backward`]: edgePadBackward(true),
    [`aten::replication_pad${n}d`]: edgePad(false),
    [`aten::replication_pad${n}d_backward`]: edgePadBackward(false),
  });
