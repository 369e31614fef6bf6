/** Tensors out of nothing, copies and casts. */
import type { Lowering } from "../lower/operation.js";
import { addLowerings } from "../lower/registry.js";
import type { Comparison } from "../stablehlo/emitter.js";
import { sum } from "../stablehlo/reduce.js";
import { accumulator, isFloat } from "../stablehlo/types.js";
import { asValue, finish } from "./kernel.js";

/** One number everywhere. Memory without a defined content is zeros: the program's results stay the same. */
const filled =
  (value: number, ...implied: string[]): Lowering =>
  (e, o) => {
    o.implied("self", ...implied);
    const out = o.out(0);
    return [() => e.full(value, out.element, out.shape)];
  };
const filledWith =
  (name: string): Lowering =>
  (e, o) => {
    o.implied("self");
    const out = o.out(0);
    return [finish(e, asValue(e, o.operand(name), out.element), out)];
  };
/** The same elements, in another dtype perhaps. */
const copied =
  (from: string): Lowering =>
  (e, o) => {
    if (from !== "self") o.implied("self");
    return [finish(e, o.tensor(from), o.out(0))];
  };
const reshaped: Lowering = (e, o) => {
  o.implied("shape", "size");
  return [e.reshape(o.tensor("self"), o.out(0).shape)];
};

/** From `start` in steps of `step`. */
const counted: Lowering = (e, o) => {
  o.implied("end");
  const out = o.out(0);
  const start = o.has("start") ? o.number("start") : 0;
  const step = o.has("step") ? o.number("step") : 1;
  const element = isFloat(out.element) ? accumulator(out.element) : out.element;
  const index = e.iota(element, out.shape, 0);
  const scaled = step === 1 ? index : e.mul(index, step);
  return [finish(e, start === 0 ? scaled : e.add(scaled, start), out)];
};
/** From `start` to `end` in even steps, counted from both ends as libtorch does. */
const spaced: Lowering = (e, o) => {
  const out = o.out(0);
  const [start, end, n] = [o.number("start"), o.number("end"), o.number("steps")];
  const element = accumulator(out.element);
  const step = n > 1 ? (end - start) / (n - 1) : 0;
  const index = e.iota(element, out.shape, 0);
  const up = e.add(e.mul(index, step), start);
  const down = e.sub(end, e.mul(e.sub(n - 1, index), step));
  return [finish(e, e.select(e.compare("LT", index, Math.floor(n / 2)), up, down), out)];
};
/** One side of a diagonal of the last two dimensions; zeros elsewhere. */
const triangle =
  (how: Comparison): Lowering =>
  (e, o) => {
    const x = o.tensor("self");
    const rank = x.shape.length;
    const row = e.iota("i64", x.shape, rank - 2);
    const column = e.iota("i64", x.shape, rank - 1);
    return [e.select(e.compare(how, e.sub(column, row), o.number("diagonal")), x, 0)];
  };
const identity: Lowering = (e, o) => {
  o.implied("n", "m");
  const out = o.out(0);
  return [e.convert(e.compare("EQ", e.iota("i64", out.shape, 0), e.iota("i64", out.shape, 1)), out.element)];
};

addLowerings({
  // It gives a dtype, which the operators after it have in their arguments.
  "aten::promote_types": (_, o) => {
    o.implied("type1", "type2");
    return [];
  },
  "aten::zeros": filled(0),
  "aten::ones": filled(1),
  "aten::empty.memory_format": filled(0),
  "aten::empty_strided": filled(0, "stride"),
  "aten::zeros_like": filled(0),
  "aten::ones_like": filled(1),
  "aten::empty_like": filled(0),
  "aten::new_zeros": filled(0),
  "aten::new_ones": filled(1),
  "aten::new_empty": filled(0),
  "aten::new_empty_strided": filled(0, "stride"),
  "aten::zero": filled(0),
  "aten::full": filledWith("fill_value"),
  "aten::full_like": filledWith("fill_value"),
  "aten::new_full": filledWith("fill_value"),
  "aten::scalar_tensor": filledWith("s"),
  "aten::fill.Scalar": filledWith("value"),
  "aten::fill.Tensor": filledWith("value"),
  "aten::arange": counted,
  "aten::arange.start": counted,
  "aten::arange.start_step": counted,
  "aten::linspace": spaced,
  "aten::eye": identity,
  "aten::eye.m": identity,
  "aten::tril": triangle("LE"),
  "aten::triu": triangle("GE"),
  "aten::_to_copy": copied("self"),
  "aten::clone": copied("self"),
  "aten::contiguous": copied("self"),
  "aten::copy": copied("src"),
  "aten::_copy_from": copied("self"),
  "aten::lift_fresh_copy": copied("self"),
  "aten::reshape": reshaped,
  "aten::_reshape_copy": reshaped,
  "aten::view_copy": reshaped,
  "aten::_unsafe_view": reshaped,
  "aten::trace": (e, o) => {
    const x = o.tensor("self");
    const on = e.compare("EQ", e.iota("i64", x.shape, 0), e.iota("i64", x.shape, 1));
    return [sum(e, e.select(on, x, 0), [0, 1])];
  },
});
