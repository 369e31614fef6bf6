/** Arithmetic element by element. */
import { addLowerings } from "../lower/registry.js";
import type { Emitter } from "../stablehlo/emitter.js";
import { isFloat, type Element, type Operand, type Ssa } from "../stablehlo/types.js";
import { asValue, pointwise, type Kernel, type KernelTable } from "./kernel.js";

const unary =
  (op: string): Kernel =>
  (e, r, element) =>
    e.unary(op, asValue(e, r.x("self"), element));
const special =
  (op: string): Kernel =>
  (e, r, element) =>
    e.special(op, asValue(e, r.x("self"), element));
const binary =
  (op: string): Kernel =>
  (e, r) =>
    e.binary(op, r.x("self"), r.x("other"));

function scaled(e: Emitter, x: Operand, by: Operand): Operand {
  if (by === 1) return x;
  return typeof x === "number" && typeof by === "number" ? x * by : e.mul(x, by);
}
const add: Kernel = (e, r) => e.add(r.x("self"), scaled(e, r.x("other"), r.x("alpha")));
const sub: Kernel = (e, r) => e.sub(r.x("self"), scaled(e, r.x("other"), r.x("alpha")));
const rsub: Kernel = (e, r) => e.sub(r.x("other"), scaled(e, r.x("self"), r.x("alpha")));

/** Towards zero. */
const truncated = (e: Emitter, x: Ssa): Ssa => e.select(e.compare("LT", x, 0), e.unary("ceil", x), e.unary("floor", x));

/** The remainder with the sign of the divisor, as Python's. */
function pythonRemainder(e: Emitter, a: Operand, b: Operand): Ssa {
  const r = e.binary("remainder", a, b);
  const divisor = e.match(r, b)[1];
  const other = e.binary("xor", e.compare("LT", divisor, 0), e.compare("LT", r, 0));
  return e.select(e.binary("and", e.compare("NE", r, 0), other), e.add(r, divisor), r);
}
function floorDivide(e: Emitter, a: Operand, b: Operand, element: Element): Ssa {
  if (isFloat(element)) return e.unary("floor", e.div(a, b));
  const [x, y] = e.match(a, b);
  const q = e.div(x, y);
  const inexact = e.compare("NE", e.mul(q, y), x);
  const negative = e.binary("xor", e.compare("LT", x, 0), e.compare("LT", y, 0));
  return e.select(e.binary("and", inexact, negative), e.sub(q, 1), q);
}
const divideByMode: Kernel = (e, r, element) => {
  const mode = r.text("rounding_mode");
  const [a, b] = [r.x("self"), r.x("other")];
  if (mode === "floor") return floorDivide(e, a, b, element);
  return isFloat(element) ? truncated(e, e.div(a, b)) : e.div(a, b);
};

function power(e: Emitter, x: Operand, exponent: Operand, element: Element): Ssa {
  const value = asValue(e, x, element);
  if (exponent === 1) return value;
  if (exponent === 2) return e.mul(value, value);
  if (exponent === 3) return e.mul(e.mul(value, value), value);
  if (isFloat(element)) {
    if (exponent === 0.5) return e.unary("sqrt", value);
    if (exponent === -0.5) return e.unary("rsqrt", value);
    if (exponent === -1) return e.div(1, value);
    if (exponent === -2) return e.div(1, e.mul(value, value));
  }
  return e.binary("power", value, exponent);
}
const lerp: Kernel = (e, r, element) => {
  const [a, b, w] = [r.x("self"), r.x("end"), r.x("weight")];
  const gap = e.sub(b, a);
  const near = (): Ssa => e.add(a, e.mul(gap, w));
  const far = (): Ssa => e.sub(b, e.mul(gap, typeof w === "number" ? 1 - w : e.sub(1, w)));
  if (typeof w === "number") return Math.abs(w) < 0.5 ? near() : far();
  return e.select(e.compare("LT", e.unary("abs", asValue(e, w, element)), 0.5), near(), far());
};
function clamped(e: Emitter, x: Operand, low: Operand | null, high: Operand | null): Operand {
  const above = low === null ? x : e.max(x, low);
  return high === null ? above : e.min(above, high);
}
const xlogy: Kernel = (e, r, element) => {
  const [x, y] = e.match(asValue(e, r.x("self"), element), asValue(e, r.x("other"), element));
  const product = e.select(e.compare("EQ", x, 0), 0, e.mul(x, e.unary("log", y)));
  return e.select(e.compare("NE", y, y), NaN, product);
};
/** Base of a logarithm other than e. */
const logOf =
  (base: number): Kernel =>
  (e, r, element) =>
    e.mul(e.unary("log", asValue(e, r.x("self"), element)), 1 / Math.log(base));

/** By name without overload; `_foreach_` operators use them too. */
export const ARITHMETIC: KernelTable = {
  neg: unary("negate"),
  abs: unary("abs"),
  sign: unary("sign"),
  sgn: unary("sign"),
  exp: unary("exponential"),
  expm1: unary("exponential_minus_one"),
  exp2: (e, r, element) => e.binary("power", e.full(2, element), asValue(e, r.x("self"), element)),
  log: unary("log"),
  log1p: unary("log_plus_one"),
  log2: logOf(2),
  log10: logOf(10),
  sqrt: unary("sqrt"),
  rsqrt: unary("rsqrt"),
  reciprocal: (e, r) => e.div(1, r.x("self")),
  square: (e, r) => e.mul(r.x("self"), r.x("self")),
  sin: unary("sine"),
  cos: unary("cosine"),
  tan: unary("tan"),
  tanh: unary("tanh"),
  atan: (e, r) => e.binary("atan2", r.x("self"), 1),
  sinh: special("sinh"),
  cosh: special("cosh"),
  erf: special("erf"),
  erfc: special("erfc"),
  erfinv: special("erf_inv"),
  floor: unary("floor"),
  ceil: unary("ceil"),
  round: unary("round_nearest_even"),
  trunc: (e, r, element) => truncated(e, asValue(e, r.x("self"), element)),
  frac: (e, r, element) => e.sub(r.x("self"), truncated(e, asValue(e, r.x("self"), element))),
  add,
  sub,
  rsub,
  mul: binary("multiply"),
  div: binary("divide"),
  maximum: binary("maximum"),
  minimum: binary("minimum"),
  atan2: binary("atan2"),
  fmod: binary("remainder"),
  remainder: (e, r) => pythonRemainder(e, r.x("self"), r.x("other")),
  floor_divide: (e, r, element) => floorDivide(e, r.x("self"), r.x("other"), element),
  pow: (e, r, element) => power(e, r.x("self"), r.x("exponent"), element),
  hypot: (e, r) => e.unary("sqrt", e.add(e.mul(r.x("self"), r.x("self")), e.mul(r.x("other"), r.x("other")))),
  xlogy,
  addcmul: (e, r) => e.add(r.x("self"), scaled(e, e.mul(r.x("tensor1"), r.x("tensor2")), r.x("value"))),
  addcdiv: (e, r) => e.add(r.x("self"), scaled(e, e.div(r.x("tensor1"), r.x("tensor2")), r.x("value"))),
  lerp,
  clamp: (e, r) => clamped(e, r.x("self"), r.xOr("min"), r.xOr("max")),
  clamp_min: (e, r) => clamped(e, r.x("self"), r.x("min"), null),
  clamp_max: (e, r) => clamped(e, r.x("self"), null, r.x("max")),
};

/** Overloads that are more than the bare name; those without are in {@link ARITHMETIC} alone. */
const OVERLOADS: Readonly<Record<string, readonly string[]>> = {
  add: ["Tensor", "Scalar"],
  sub: ["Tensor", "Scalar"],
  rsub: ["Tensor", "Scalar"],
  mul: ["Tensor", "Scalar"],
  div: ["Tensor", "Scalar"],
  fmod: ["Tensor", "Scalar"],
  remainder: ["Tensor", "Scalar", "Scalar_Tensor"],
  floor_divide: ["", "Scalar"],
  pow: ["Tensor_Tensor", "Tensor_Scalar", "Scalar"],
  xlogy: ["Tensor", "OutScalar_Other", "Scalar_Self", "Scalar_Other"],
  lerp: ["Scalar", "Tensor"],
  clamp: ["", "Tensor"],
  clamp_min: ["", "Tensor"],
  clamp_max: ["", "Tensor"],
};

const key = (name: string, overload: string): string => `aten::${name}${overload === "" ? "" : `.${overload}`}`;
addLowerings(
  Object.fromEntries(
    Object.entries(ARITHMETIC).flatMap(([name, kernel]) =>
      (OVERLOADS[name] ?? [""]).map((overload) => [key(name, overload), pointwise(kernel)] as const),
    ),
  ),
);
addLowerings({
  "aten::div.Tensor_mode": pointwise(divideByMode),
  "aten::div.Scalar_mode": pointwise(divideByMode),
  // In place, names end before the overload; `pow_` has other ones.
  "aten::pow_.Scalar": pointwise(ARITHMETIC["pow"]),
  "aten::pow_.Tensor": pointwise(ARITHMETIC["pow"]),
});
