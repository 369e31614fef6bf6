/** Batch, layer, group and root-mean-square normalisation, and their gradients. */
import type { Lowering, Operation, Result } from "../lower/operation.js";
import { addLowerings } from "../lower/registry.js";
import type { Emitter } from "../stablehlo/emitter.js";
import { sum } from "../stablehlo/reduce.js";
import { accumulator, range, sizeOf, type Ssa } from "../stablehlo/types.js";
import { squaresAround } from "./reduce.js";

const up = (e: Emitter, v: Ssa): Ssa => e.convert(v, accumulator(v.element));
const count = (x: Ssa, dims: readonly number[]): number => sizeOf(dims.map((d) => x.shape[d]));
/** [C] along dimension 1. */
const channels = (e: Emitter, v: Ssa, x: Ssa): Ssa => e.broadcast(e.convert(v, x.element), x.shape, [1]);
function fit(e: Emitter, o: Operation, i: number, v: Ssa): Ssa {
  const out = o.out(i);
  return e.convert(e.reshape(v, out.shape), out.element);
}
/** A result that was asked for. */
const asked = (e: Emitter, o: Operation, i: number, make: () => Ssa): Result =>
  o.outs[i] === null ? null : fit(e, o, i, make());
/** Nothing is in it: it has no elements. */
const empty = (e: Emitter, o: Operation, i: number): Ssa => e.full(0, o.out(i).element, o.out(i).shape);

interface Moments {
  readonly n: number;
  readonly mean: Ssa;
  readonly centred: Ssa;
  readonly variance: Ssa;
  readonly inverse: Ssa;
}
function moments(e: Emitter, x: Ssa, dims: readonly number[], eps: number): Moments {
  const { mean, centred, squares } = squaresAround(e, x, dims);
  const n = count(x, dims);
  const variance = e.div(squares, n);
  return { n, mean, centred, variance, inverse: e.unary("rsqrt", e.add(variance, eps)) };
}

const batchNorm: Lowering = (e, o) => {
  const x = up(e, o.tensor("input"));
  const [weight, bias] = [o.optional("weight"), o.optional("bias")];
  const [mean, variance] = [o.optional("running_mean"), o.optional("running_var")];
  const [eps, momentum, training] = [o.number("eps"), o.number("momentum"), o.flag("training")];
  const scaled = (v: Ssa): Ssa => {
    const s = weight === null ? v : e.mul(v, channels(e, weight, x));
    return fit(e, o, 0, bias === null ? s : e.add(s, channels(e, bias, x)));
  };
  if (!training) {
    if (mean === null || variance === null) return o.refuse("running_mean", "there in evaluation");
    const inverse = e.unary("rsqrt", e.add(up(e, variance), eps));
    const y = scaled(e.mul(e.sub(x, channels(e, mean, x)), channels(e, inverse, x)));
    return [y, empty(e, o, 1), empty(e, o, 2), mean, variance];
  }
  const dims = range(x.shape.length).filter((d) => d !== 1);
  const m = moments(e, x, dims, eps);
  const own = (v: Ssa): Ssa => e.reshape(v, [x.shape[1]]);
  const moved = (old: Ssa, now: Ssa): Ssa =>
    e.convert(e.add(e.mul(up(e, old), 1 - momentum), e.mul(own(now), momentum)), old.element);
  return [
    scaled(e.mul(m.centred, m.inverse)),
    fit(e, o, 1, own(m.mean)),
    fit(e, o, 2, own(m.inverse)),
    ...(mean === null ? [] : [moved(mean, m.mean)]),
    // Running variances are of the population's estimate.
    ...(variance === null ? [] : [moved(variance, e.mul(m.variance, m.n / (m.n - 1)))]),
  ];
};
const batchNormBackward: Lowering = (e, o) => {
  const [x, g, weight] = [up(e, o.tensor("input")), up(e, o.tensor("grad_out")), o.optional("weight")];
  o.implied("output_mask");
  const training = o.flag("train");
  const dims = range(x.shape.length).filter((d) => d !== 1);
  const [mean, inverse] = training
    ? (o.implied("running_mean", "running_var", "eps"), [o.tensor("save_mean"), o.tensor("save_invstd")])
    : (o.implied("save_mean", "save_invstd"),
      [o.tensor("running_mean"), e.unary("rsqrt", e.add(up(e, o.tensor("running_var")), o.number("eps")))]);
  const normal = e.mul(e.sub(x, channels(e, mean, x)), channels(e, inverse, x));
  const [toBias, toWeight] = [sum(e, g, dims), sum(e, e.mul(g, normal), dims)];
  const toInput = (): Ssa => {
    const s = channels(e, inverse, x);
    const scale = weight === null ? s : e.mul(channels(e, weight, x), s);
    if (!training) return e.mul(g, scale);
    const along = e.add(channels(e, toBias, x), e.mul(normal, channels(e, toWeight, x)));
    return e.mul(scale, e.sub(g, e.div(along, count(x, dims))));
  };
  return [asked(e, o, 0, toInput), asked(e, o, 1, () => toWeight), asked(e, o, 2, () => toBias)];
};

/** The last dimensions, as many as are normalised. */
function lastDims(o: Operation, x: Ssa): number[] {
  const rank = o.numbers("normalized_shape").length;
  return range(rank).map((i) => x.shape.length - rank + i);
}
const layerNorm: Lowering = (e, o) => {
  const x = up(e, o.tensor("input"));
  const [weight, bias] = [o.optional("weight"), o.optional("bias")];
  const m = moments(e, x, lastDims(o, x), o.number("eps"));
  let y = e.mul(m.centred, m.inverse);
  if (weight !== null) y = e.mul(y, e.convert(weight, x.element));
  if (bias !== null) y = e.add(y, e.convert(bias, x.element));
  return [fit(e, o, 0, y), fit(e, o, 1, m.mean), fit(e, o, 2, m.inverse)];
};
const layerNormBackward: Lowering = (e, o) => {
  const [x, g, weight] = [up(e, o.tensor("input")), up(e, o.tensor("grad_out")), o.optional("weight")];
  o.implied("bias", "output_mask");
  const dims = lastDims(o, x);
  const others = range(x.shape.length).filter((d) => !dims.includes(d));
  const inverse = up(e, o.tensor("rstd"));
  const normal = e.mul(e.sub(x, up(e, o.tensor("mean"))), inverse);
  const average = (v: Ssa): Ssa => e.div(sum(e, v, dims, true), count(x, dims));
  const toInput = (): Ssa => {
    const gw = weight === null ? g : e.mul(g, up(e, weight));
    const along = e.sub(e.sub(gw, average(gw)), e.mul(normal, average(e.mul(gw, normal))));
    return e.mul(along, inverse);
  };
  return [
    asked(e, o, 0, toInput),
    asked(e, o, 1, () => sum(e, e.mul(g, normal), others)),
    asked(e, o, 2, () => sum(e, g, others)),
  ];
};

/** [N, groups, C / groups, the rest]. */
function grouped(e: Emitter, o: Operation, v: Ssa): Ssa {
  const [n, c, rest, groups] = [o.number("N"), o.number("C"), o.number("HxW"), o.number("group")];
  return e.reshape(up(e, v), [n, groups, c / groups, rest]);
}
/** [C] as [1, groups, C / groups, 1]. */
const ofGroups = (e: Emitter, v: Ssa, x: Ssa): Ssa =>
  e.reshape(e.convert(v, x.element), [1, x.shape[1], x.shape[2], 1]);
const groupNorm: Lowering = (e, o) => {
  const x = grouped(e, o, o.tensor("input"));
  const [weight, bias] = [o.optional("weight"), o.optional("bias")];
  const m = moments(e, x, [2, 3], o.number("eps"));
  let y = e.mul(m.centred, m.inverse);
  if (weight !== null) y = e.mul(y, ofGroups(e, weight, x));
  if (bias !== null) y = e.add(y, ofGroups(e, bias, x));
  return [fit(e, o, 0, y), fit(e, o, 1, m.mean), fit(e, o, 2, m.inverse)];
};
const groupNormBackward: Lowering = (e, o) => {
  const [x, g] = [grouped(e, o, o.tensor("input")), grouped(e, o, o.tensor("grad_out"))];
  const weight = o.optional("weight");
  o.implied("output_mask");
  const each = (name: string): Ssa => e.reshape(up(e, o.tensor(name)), [x.shape[0], x.shape[1], 1, 1]);
  const inverse = each("rstd");
  const normal = e.mul(e.sub(x, each("mean")), inverse);
  const average = (v: Ssa): Ssa => e.div(sum(e, v, [2, 3], true), count(x, [2, 3]));
  const toInput = (): Ssa => {
    const gw = weight === null ? g : e.mul(g, ofGroups(e, weight, x));
    return e.mul(e.sub(e.sub(gw, average(gw)), e.mul(normal, average(e.mul(gw, normal)))), inverse);
  };
  return [
    asked(e, o, 0, toInput),
    asked(e, o, 1, () => sum(e, e.mul(g, normal), [0, 3])),
    asked(e, o, 2, () => sum(e, g, [0, 3])),
  ];
};

const rmsNorm: Lowering = (e, o) => {
  const [x, weight] = [up(e, o.tensor("input")), o.optional("weight")];
  const dims = lastDims(o, x);
  const squares = e.div(sum(e, e.mul(x, x), dims, true), count(x, dims));
  const inverse = e.unary("rsqrt", e.add(squares, o.numberOr("eps") ?? 2 ** -23));
  const y = e.mul(x, inverse);
  return [fit(e, o, 0, weight === null ? y : e.mul(y, up(e, weight))), fit(e, o, 1, inverse)];
};
const rmsNormBackward: Lowering = (e, o) => {
  const [x, g, weight] = [up(e, o.tensor("input")), up(e, o.tensor("grad_out")), o.optional("weight")];
  o.implied("output_mask");
  const dims = lastDims(o, x);
  const others = range(x.shape.length).filter((d) => !dims.includes(d));
  const inverse = up(e, o.tensor("rstd"));
  const normal = e.mul(x, inverse);
  const toInput = (): Ssa => {
    const gw = weight === null ? g : e.mul(g, up(e, weight));
    const average = e.div(sum(e, e.mul(gw, normal), dims, true), count(x, dims));
    return e.mul(e.sub(gw, e.mul(normal, average)), inverse);
  };
  return [asked(e, o, 0, toInput), asked(e, o, 1, () => sum(e, e.mul(g, normal), others))];
};

addLowerings({
  "aten::native_batch_norm": batchNorm,
  "aten::native_batch_norm_backward": batchNormBackward,
  "aten::native_layer_norm": layerNorm,
  "aten::native_layer_norm_backward": layerNormBackward,
  "aten::native_group_norm": groupNorm,
  "aten::native_group_norm_backward": groupNormBackward,
  "aten::_fused_rms_norm": rmsNorm,
  "aten::_fused_rms_norm_backward": rmsNormBackward,
});
