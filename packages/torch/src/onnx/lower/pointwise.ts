/** Operators element by element. */
import type { Lowering, Op } from "../op.js";
import { isFloatingPoint } from "../../tensor/dtype.js";

/** In the dtype of the result, as PyTorch promotes. */
const unary =
  (op: string): Lowering =>
  (o) =>
    o.node(op, [o.cast(o.t("self"), o.out.dtype)]);
/** Of floats as they are; of whole numbers the operator has nothing to do. */
const rounding =
  (op: string): Lowering =>
  (o) =>
    isFloatingPoint(o.t("self").dtype) ? o.node(op, [o.t("self").name]) : o.node("Identity", [o.t("self").name]);
const binary =
  (op: string): Lowering =>
  (o) =>
    o.node(op, [o.as("self", o.out.dtype), o.as("other", o.out.dtype)]);
const comparison =
  (op: string, not = false): Lowering =>
  (o) => {
    const dtype = o.common("self", "other");
    const made = o.node(op, [o.as("self", dtype), o.as("other", dtype)]);
    return not ? o.node("Not", [made]) : made;
  };
const logical =
  (op: string): Lowering =>
  (o) =>
    o.node(op, [truth(o, "self"), truth(o, "other")]);
const truth = (o: Op, name: string): string => o.as(name, "bool");

/** `other` times alpha, where that is not 1. */
function scaled(o: Op, name: string): string {
  const { dtype } = o.out;
  const alpha = o.get("alpha");
  const value = o.as(name, dtype);
  return alpha === undefined || alpha === null || alpha === 1 ? value : o.node("Mul", [value, o.as("alpha", dtype)]);
}
const add: Lowering = (o) =>
  o.out.dtype === "bool"
    ? o.node("Or", [truth(o, "self"), truth(o, "other")])
    : o.node("Add", [o.as("self", o.out.dtype), scaled(o, "other")]);
const sub: Lowering = (o) => o.node("Sub", [o.as("self", o.out.dtype), scaled(o, "other")]);
const rsub: Lowering = (o) => o.node("Sub", [o.as("other", o.out.dtype), scaled(o, "self")]);
const mul: Lowering = (o) =>
  o.out.dtype === "bool"
    ? o.node("And", [truth(o, "self"), truth(o, "other")])
    : o.node("Mul", [o.as("self", o.out.dtype), o.as("other", o.out.dtype)]);

const div: Lowering = (o) => {
  const mode = o.get("rounding_mode");
  const { dtype } = o.out;
  if (mode === undefined || mode === null) return o.node("Div", [o.as("self", dtype), o.as("other", dtype)]);
  if (isFloatingPoint(dtype)) {
    const quotient = o.node("Div", [o.as("self", dtype), o.as("other", dtype)]);
    return mode === "floor" ? o.node("Floor", [quotient]) : truncated(o, quotient);
  }
  // ONNX divides whole numbers towards 0.
  if (mode === "trunc") return o.node("Div", [o.as("self", dtype), o.as("other", dtype)]);
  const quotient = o.node("Div", [o.as("self", "float64"), o.as("other", "float64")]);
  return o.g.cast(o.node("Floor", [quotient]), dtype);
};
const floorDivide: Lowering = (o) => {
  const { dtype } = o.out;
  const wide = isFloatingPoint(dtype) ? dtype : "float64";
  const made = o.node("Floor", [o.node("Div", [o.as("self", wide), o.as("other", wide)])]);
  return wide === dtype ? made : o.g.cast(made, dtype);
};
function truncated(o: Op, value: string): string {
  return o.node("Mul", [o.node("Sign", [value]), o.node("Floor", [o.node("Abs", [value])])]);
}
/** With the sign of the divisor, and of the dividend. */
const remainder: Lowering = (o) => {
  const { dtype } = o.out;
  const [a, b] = [o.as("self", dtype), o.as("other", dtype)];
  if (!isFloatingPoint(dtype)) return o.node("Mod", [a, b]);
  return o.node("Sub", [a, o.node("Mul", [b, o.node("Floor", [o.node("Div", [a, b])])])]);
};
const fmod: Lowering = (o) => o.node("Mod", [o.as("self", o.out.dtype), o.as("other", o.out.dtype)], { fmod: 1 });

const pow: Lowering = (o) => {
  const { dtype } = o.out;
  const exponent = o.has("exponent") ? "exponent" : "other";
  if (o.get(exponent) === 2) return o.node("Mul", [o.as("self", dtype), o.as("self", dtype)]);
  if (o.get(exponent) === 0.5) return o.node("Sqrt", [o.as("self", dtype)]);
  return o.node("Pow", [o.as("self", dtype), o.as(exponent, dtype)]);
};
const clamp: Lowering = (o) => {
  const { dtype } = o.out;
  let made = o.as("self", dtype);
  if (o.has("min")) made = o.node("Max", [made, o.as("min", dtype)]);
  if (o.has("max")) made = o.node("Min", [made, o.as("max", dtype)]);
  return made;
};
const where: Lowering = (o) => {
  const { dtype } = o.out;
  return o.node("Where", [o.cast(o.t("condition"), "bool"), o.as("self", dtype), o.as("other", dtype)]);
};
const maskedFill: Lowering = (o) => {
  const { dtype } = o.out;
  return o.node("Where", [o.cast(o.t("mask"), "bool"), o.as("value", dtype), o.as("self", dtype)]);
};
/** self + value · (a ∘ b). */
const fused =
  (op: string): Lowering =>
  (o) => {
    const { dtype } = o.out;
    const made = o.node(op, [o.as("tensor1", dtype), o.as("tensor2", dtype)]);
    return o.node("Add", [
      o.as("self", dtype),
      o.get("value") === 1 ? made : o.node("Mul", [made, o.as("value", dtype)]),
    ]);
  };
const lerp: Lowering = (o) => {
  const { dtype } = o.out;
  const start = o.as("self", dtype);
  return o.node("Add", [start, o.node("Mul", [o.as("weight", dtype), o.node("Sub", [o.as("end", dtype), start])])]);
};
/** `f(x)` by nodes over the value in the result's dtype. */
const composed =
  (make: (o: Op, x: string, number: (n: number) => string) => string): Lowering =>
  (o) =>
    make(o, o.cast(o.t("self"), o.out.dtype), (n) => o.g.scalar(n, o.out.dtype));
const scaledLog = (base: number): Lowering =>
  composed((o, x, number) => o.node("Mul", [o.node("Log", [x]), number(1 / Math.log(base))]));

const same: Lowering = (o) => {
  const [name] = Object.keys(o.call.args);
  return o.cast(o.t(name ?? "self"), o.out.dtype);
};
/** Regularisation does nothing in evaluation. */
const dropout: Lowering = (o) => {
  const x = o.maybe("input") ?? o.t("self");
  if (o.flag("train") && o.number("p") > 0) o.refuse("a model in evaluation: call model.eval()");
  return x.name;
};
/** A copy over another's elements: its values, in its shape and dtype. */
const copy: Lowering = (o) => o.node("Expand", [o.as("src", o.out.dtype), o.vector(o.out.sizes)]);

const both = (table: Readonly<Record<string, Lowering>>): Record<string, Lowering> =>
  Object.fromEntries(
    Object.entries(table).flatMap(([name, lower]) => [
      [name, lower],
      [`${name}_`, lower],
    ]),
  );

export const pointwise: Readonly<Record<string, Lowering>> = both({
  add,
  sub,
  subtract: sub,
  rsub,
  mul,
  multiply: mul,
  div,
  divide: div,
  true_divide: div,
  floor_divide: floorDivide,
  remainder,
  fmod,
  pow,
  clamp,
  clip: clamp,
  clamp_min: clamp,
  clamp_max: clamp,
  minimum: binary("Min"),
  maximum: binary("Max"),
  fmin: binary("Min"),
  fmax: binary("Max"),
  neg: unary("Neg"),
  negative: unary("Neg"),
  abs: unary("Abs"),
  absolute: unary("Abs"),
  exp: unary("Exp"),
  log: unary("Log"),
  log2: scaledLog(2),
  log10: scaledLog(10),
  log1p: composed((o, x, number) => o.node("Log", [o.node("Add", [x, number(1)])])),
  expm1: composed((o, x, number) => o.node("Sub", [o.node("Exp", [x]), number(1)])),
  exp2: composed((o, x, number) => o.node("Pow", [number(2), x])),
  sqrt: unary("Sqrt"),
  rsqrt: composed((o, x) => o.node("Reciprocal", [o.node("Sqrt", [x])])),
  square: composed((o, x) => o.node("Mul", [x, x])),
  reciprocal: unary("Reciprocal"),
  sin: unary("Sin"),
  cos: unary("Cos"),
  tan: unary("Tan"),
  asin: unary("Asin"),
  acos: unary("Acos"),
  atan: unary("Atan"),
  sinh: unary("Sinh"),
  cosh: unary("Cosh"),
  asinh: unary("Asinh"),
  acosh: unary("Acosh"),
  atanh: unary("Atanh"),
  erf: unary("Erf"),
  sign: unary("Sign"),
  floor: rounding("Floor"),
  ceil: rounding("Ceil"),
  round: rounding("Round"),
  trunc: composed(truncated),
  eq: comparison("Equal"),
  ne: comparison("Equal", true),
  not_equal: comparison("Equal", true),
  lt: comparison("Less"),
  less: comparison("Less"),
  gt: comparison("Greater"),
  greater: comparison("Greater"),
  le: comparison("Greater", true),
  less_equal: comparison("Greater", true),
  ge: comparison("Less", true),
  greater_equal: comparison("Less", true),
  logical_and: logical("And"),
  logical_or: logical("Or"),
  logical_xor: logical("Xor"),
  logical_not: (o) => o.node("Not", [truth(o, "self")]),
  bitwise_not: (o) =>
    o.out.dtype === "bool" ? o.node("Not", [truth(o, "self")]) : o.refuse("bitwise operators of booleans"),
  bitwise_and: (o) => (o.out.dtype === "bool" ? logical("And")(o) : o.refuse("bitwise operators of booleans")),
  bitwise_or: (o) => (o.out.dtype === "bool" ? logical("Or")(o) : o.refuse("bitwise operators of booleans")),
  isnan: (o) => o.node("IsNaN", [o.t("self").name]),
  isinf: (o) => o.node("IsInf", [o.t("self").name]),
  where,
  masked_fill: maskedFill,
  addcmul: fused("Mul"),
  addcdiv: fused("Div"),
  lerp,
  copy,
  detach: same,
  alias: same,
  clone: same,
  contiguous: same,
  positive: same,
  lift_fresh: same,
  _to_copy: same,
  type_as: same,
  dropout,
  alpha_dropout: dropout,
  feature_dropout: dropout,
  feature_alpha_dropout: dropout,
});
