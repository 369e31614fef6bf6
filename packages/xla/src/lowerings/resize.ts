/**
 * Resizing and adaptive pooling: each result is a weighted sum along one dimension after the other, so a product with a
 * matrix of weights, which the program computes. The gradient is the product with its transpose.
 */
import type { Lowering, Operation } from "../lower/operation.js";
import { addLowerings } from "../lower/registry.js";
import type { Emitter } from "../stablehlo/emitter.js";
import { dot } from "../stablehlo/product.js";
import { accumulator, range, type Ssa } from "../stablehlo/types.js";
import { finish } from "./kernel.js";

/** [outputs, inputs] in float32. */
type Weights = (e: Emitter, outputs: number, inputs: number, scale: number | null, alignCorners: boolean) => Ssa;

/** Averages of the inputs i·n/m ≤ j < (i+1)·n/m, rounded outwards. */
const adaptive: Weights = (e, outputs, inputs) => {
  const shape = [outputs, inputs];
  const [i, j] = [e.iota("i64", shape, 0), e.iota("i64", shape, 1)];
  const start = e.div(e.mul(i, inputs), outputs);
  const end = e.div(e.add(e.mul(e.add(i, 1), inputs), outputs - 1), outputs);
  const inside = e.binary("and", e.compare("GE", j, start), e.compare("LT", j, end));
  return e.div(e.convert(inside, "f32"), e.convert(e.sub(end, start), "f32"));
};
/** float32, as libtorch has it: which neighbour is the nearest depends on its rounding. */
const scaleOf = (outputs: number, inputs: number, scale: number | null): number =>
  Math.fround(scale !== null && scale > 0 ? 1 / scale : inputs / outputs);
const nearest =
  (exact: boolean): Weights =>
  (e, outputs, inputs, scale) => {
    const shape = [outputs, inputs];
    const i = e.iota("f32", shape, 0);
    const from = e.unary("floor", e.mul(exact ? e.add(i, 0.5) : i, scaleOf(outputs, inputs, scale)));
    return e.convert(e.compare("EQ", e.iota("f32", shape, 1), e.min(from, inputs - 1)), "f32");
  };
const linear: Weights = (e, outputs, inputs, scale, alignCorners) => {
  const shape = [outputs, inputs];
  const i = e.iota("f32", shape, 0);
  const from = alignCorners
    ? e.mul(i, outputs > 1 ? Math.fround((inputs - 1) / (outputs - 1)) : 0)
    : e.max(e.sub(e.mul(e.add(i, 0.5), scaleOf(outputs, inputs, scale)), 0.5), 0);
  const place = e.min(from, inputs - 1);
  return e.max(e.sub(1, e.unary("abs", e.sub(place, e.iota("f32", shape, 1)))), 0);
};

/** Σⱼ w[i, j] x[…, j, …], or with the transpose. */
function along(e: Emitter, x: Ssa, dim: number, w: Ssa, transposed: boolean): Ssa {
  const made = dot(e, x, w, { contract: [[dim], [transposed ? 0 : 1]] });
  const last = x.shape.length - 1; // where the product puts the new dimension
  return e.permute(
    made,
    range(last + 1).map((d) => (d < dim ? d : d === dim ? last : d - 1)),
  );
}
const scales = (o: Operation, n: number): (number | null)[] => {
  const names = n === 1 ? ["scales"] : n === 2 ? ["scales_h", "scales_w"] : ["scales_d", "scales_h", "scales_w"];
  return names.map((name) => (o.has(name) ? o.numberOr(name) : null));
};
const resized =
  (n: number, weights: Weights, from: string, backward: boolean): Lowering =>
  (e, o) => {
    o.implied("output_size", "input_size", "self");
    const out = o.out(0);
    const corners = o.has("align_corners") ? o.flag("align_corners") : false;
    const given = scales(o, n);
    let x = e.convert(o.tensor(from), accumulator(out.element));
    for (let i = 0; i < n; i++) {
      const dim = x.shape.length - n + i;
      const [outputs, inputs] = backward ? [x.shape[dim], out.shape[dim]] : [out.shape[dim], x.shape[dim]];
      if (outputs === inputs && given[i] === null) continue; // each is itself, whatever the weights
      x = along(e, x, dim, weights(e, outputs, inputs, given[i], corners), backward);
    }
    return [finish(e, x, out)];
  };

const KINDS: Readonly<Record<string, readonly [number, Weights]>> = {
  upsample_nearest1d: [1, nearest(false)],
  upsample_nearest2d: [2, nearest(false)],
  upsample_nearest3d: [3, nearest(false)],
  _upsample_nearest_exact1d: [1, nearest(true)],
  _upsample_nearest_exact2d: [2, nearest(true)],
  upsample_linear1d: [1, linear],
  upsample_bilinear2d: [2, linear],
  upsample_trilinear3d: [3, linear],
};
for (const [name, [n, weights]] of Object.entries(KINDS))
  addLowerings({
    [`aten::${name}`]: resized(n, weights, "self", false),
    [`aten::${name}_backward`]: resized(n, weights, "grad_output", true),
  });
addLowerings({
  "aten::_adaptive_avg_pool2d": resized(2, adaptive, "self", false),
  "aten::_adaptive_avg_pool2d_backward": resized(2, adaptive, "grad_output", true),
  "aten::_adaptive_avg_pool3d": resized(3, adaptive, "self", false),
  "aten::_adaptive_avg_pool3d_backward": resized(3, adaptive, "grad_output", true),
});
