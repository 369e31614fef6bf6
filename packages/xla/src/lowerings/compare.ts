/** Comparisons, logic and choice. */
import { finfo } from "@nbit/torch";
import type { Lowering } from "../lower/operation.js";
import { addLowerings } from "../lower/registry.js";
import type { Comparison } from "../stablehlo/emitter.js";
import { dtypeOf, isFloat, isUnsigned, type Ssa } from "../stablehlo/types.js";
import { asValue, finish, pointwise, promoted, type Kernel } from "./kernel.js";

const compared =
  (how: Comparison): Lowering =>
  (e, o) => {
    const [a, b] = [o.operand("self"), o.operand("other")];
    const element = promoted([a, b]);
    return [finish(e, e.compare(how, asValue(e, a, element), asValue(e, b, element)), o.out(0))];
  };
const logical =
  (op: string): Lowering =>
  (e, o) => [finish(e, e.binary(op, e.convert(o.tensor("self"), "i1"), e.convert(o.tensor("other"), "i1")), o.out(0))];
const bitwise =
  (op: string): Kernel =>
  (e, r) =>
    e.binary(op, r.x("self"), r.x("other"));
/** NaN and infinities as numbers; those that are not given are 0, and the largest of the type. */
const finite: Lowering = (e, o) => {
  const x = o.tensor("self");
  if (!isFloat(x.element)) {
    o.implied("nan", "posinf", "neginf");
    return [x];
  }
  const most = finfo(dtypeOf(x.element)).max;
  const given = (name: string, otherwise: number): Ssa => e.full(o.numberOr(name) ?? otherwise, x.element, x.shape);
  const high = e.select(e.compare("EQ", x, Infinity), given("posinf", most), x);
  const low = e.select(e.compare("EQ", x, -Infinity), given("neginf", -most), high);
  return [finish(e, e.select(e.compare("NE", x, x), given("nan", 0), low), o.out(0))];
};
/** Where a condition holds one, elsewhere the other. */
const where: Lowering = (e, o) => {
  const out = o.out(0);
  const [a, b] = [o.operand("self"), o.operand("other")].map((v) => asValue(e, v, out.element));
  return [finish(e, e.select(e.convert(o.tensor("condition"), "i1"), a, b), out)];
};
const masked: Lowering = (e, o) => {
  const out = o.out(0);
  const value = asValue(e, o.operand("value"), out.element);
  const self = e.convert(o.tensor("self"), out.element);
  return [finish(e, e.select(o.tensor("mask"), value, self), out)];
};

const COMPARISONS: Readonly<Record<string, Comparison>> = {
  eq: "EQ",
  ne: "NE",
  lt: "LT",
  le: "LE",
  gt: "GT",
  ge: "GE",
};
for (const [name, how] of Object.entries(COMPARISONS))
  addLowerings({ [`aten::${name}.Tensor`]: compared(how), [`aten::${name}.Scalar`]: compared(how) });
for (const op of ["and", "or", "xor"])
  addLowerings({
    [`aten::logical_${op}`]: logical(op),
    [`aten::bitwise_${op}.Tensor`]: pointwise(bitwise(op)),
    [`aten::bitwise_${op}.Scalar`]: pointwise(bitwise(op)),
  });

for (const [name, op] of [
  ["left", "shift_left"],
  ["right", "shift_right"],
] as const) {
  // Of signed numbers, the sign comes in from the left.
  const shifted: Kernel = (e, r, element) =>
    e.binary(
      op === "shift_left" ? op : isUnsigned(element) ? "shift_right_logical" : "shift_right_arithmetic",
      asValue(e, r.x("self"), element),
      r.x("other"),
    );
  addLowerings({
    [`aten::bitwise_${name}_shift.Tensor`]: pointwise(shifted),
    [`aten::bitwise_${name}_shift.Tensor_Scalar`]: pointwise(shifted),
  });
}

addLowerings({
  "aten::logical_not": (e, o) => [finish(e, e.unary("not", e.convert(o.tensor("self"), "i1")), o.out(0))],
  "aten::bitwise_not": pointwise((e, r, element) => e.unary("not", asValue(e, r.x("self"), element))),
  "aten::isnan": (e, o) => [e.compare("NE", o.tensor("self"), o.tensor("self"))],
  "aten::isinf": (e, o) => [e.compare("EQ", e.unary("abs", o.tensor("self")), Infinity)],
  "aten::nan_to_num": finite,
  "aten::isfinite": (e, o) => [e.isFinite(o.tensor("self"))],
  "aten::where.self": where,
  "aten::where.ScalarSelf": where,
  "aten::where.ScalarOther": where,
  "aten::where.Scalar": where,
  "aten::masked_fill.Scalar": masked,
  "aten::masked_fill.Tensor": masked,
});
