/** Softmax, its logarithm, and their gradients. */
import type { Lowering, Operation } from "../lower/operation.js";
import { addLowerings } from "../lower/registry.js";
import type { Emitter } from "../stablehlo/emitter.js";
import { reduce, sum } from "../stablehlo/reduce.js";
import { accumulator, axisOf, type Ssa } from "../stablehlo/types.js";
import { finish } from "./kernel.js";

/** A single number is a row of one. */
const axes = (o: Operation, x: Ssa): number[] => {
  const dim = o.number("dim");
  return x.shape.length === 0 ? [] : [axisOf(dim, x.shape.length)];
};
/** Both forward operators see their input minus its greatest. */
function shifted(e: Emitter, o: Operation): { z: Ssa; total: Ssa } {
  o.implied("half_to_float");
  const x = e.convert(o.tensor("self"), accumulator(o.out(0).element));
  const dims = axes(o, x);
  const z = e.sub(x, reduce(e, "maximum", x, dims, true));
  return { z, total: sum(e, e.unary("exponential", z), dims, true) };
}
const softmax: Lowering = (e, o) => {
  const { z, total } = shifted(e, o);
  return [finish(e, e.div(e.unary("exponential", z), total), o.out(0))];
};
/** A row of -∞ alone is zeros. */
const safeSoftmax: Lowering = (e, o) => {
  o.implied("dtype");
  const x = e.convert(o.tensor("self"), accumulator(o.out(0).element));
  const dims = axes(o, x);
  const greatest = reduce(e, "maximum", x, dims, true);
  const none = e.compare("EQ", greatest, -Infinity);
  const p = e.unary("exponential", e.sub(x, e.select(none, 0, greatest)));
  return [finish(e, e.select(none, 0, e.div(p, sum(e, p, dims, true))), o.out(0))];
};
const logSoftmax: Lowering = (e, o) => {
  const { z, total } = shifted(e, o);
  return [finish(e, e.sub(z, e.unary("log", total)), o.out(0))];
};
const backward =
  (gradient: (e: Emitter, g: Ssa, y: Ssa, dims: readonly number[]) => Ssa): Lowering =>
  (e, o) => {
    o.implied("input_dtype");
    const [grad, output] = [o.tensor("grad_output"), o.tensor("output")];
    const [g, y] = [e.convert(grad, accumulator(grad.element)), e.convert(output, accumulator(output.element))];
    return [finish(e, gradient(e, g, y, axes(o, y)), o.out(0))];
  };

addLowerings({
  "aten::_softmax": softmax,
  "aten::_safe_softmax": safeSoftmax,
  "aten::_log_softmax": logSoftmax,
  "aten::_softmax_backward_data": backward((e, g, y, dims) => {
    const gy = e.mul(g, y);
    return e.sub(gy, e.mul(y, sum(e, gy, dims, true)));
  }),
  "aten::_log_softmax_backward_data": backward((e, g, y, dims) =>
    e.sub(g, e.mul(e.unary("exponential", y), sum(e, g, dims, true))),
  ),
});
