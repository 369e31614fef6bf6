/** One operator over lists of tensors: each element is written as the operator of a single tensor is. */
import type { Lowering, Operation } from "../lower/operation.js";
import { addLowerings } from "../lower/registry.js";
import type { Emitter } from "../stablehlo/emitter.js";
import { accumulator, range, type Operand, type Ssa } from "../stablehlo/types.js";
import { ACTIVATIONS } from "./activation.js";
import { finish, inElement, type Kernel, type Reader } from "./kernel.js";
import { ARITHMETIC } from "./pointwise.js";
import { vectorNorm } from "./reduce.js";

/** Arguments of the operator of one tensor, made from element i of lists, or the same for all. */
type Pick = (e: Emitter, o: Operation, i: number) => Operand;
const listed =
  (name: string): Pick =>
  (_e, o, i) =>
    o.tensors(name)[i];
const number =
  (name: string): Pick =>
  (_e, o) =>
    o.operand(name);
const numberOf =
  (name: string): Pick =>
  (_e, o, i) =>
    o.numbers(name)[i];
/** Element i of a tensor of numbers. */
const elementOf =
  (name: string): Pick =>
  (e, o, i) =>
    e.reshape(e.slice(o.tensor(name), 0, i, i + 1), []);

const SELF: Readonly<Record<string, Pick>> = { self: listed("self") };

function each(kernel: Kernel, picks: Readonly<Record<string, Pick>>): Lowering {
  return (e, o) =>
    o.outs.map((_, i) => {
      const out = o.out(i);
      const element = accumulator(out.element);
      const x = (name: string): Operand => {
        const pick = picks[name];
        return pick === undefined ? o.operand(name) : inElement(e, pick(e, o, i), element);
      };
      const r: Reader = {
        x,
        xOr: x,
        number: (name) => o.number(name),
        flag: (name) => o.flag(name),
        text: (name) => o.text(name),
      };
      return finish(e, kernel(e, r, element), out);
    });
}
const one: Pick = () => 1;

/** `_foreach_name` and `_foreach_name_`: the registry takes the first for both. */
function register(name: string, overload: string, picks: Readonly<Record<string, Pick>>): void {
  const kernel = ARITHMETIC[name] ?? ACTIVATIONS[name];
  addLowerings({ [`aten::_foreach_${name}${overload === "" ? "" : `.${overload}`}`]: each(kernel, picks) });
}

for (const name of [
  ...[
    "neg",
    "abs",
    "sign",
    "exp",
    "expm1",
    "log",
    "log1p",
    "log2",
    "log10",
    "sqrt",
    "rsqrt",
    "reciprocal",
    "sin",
    "cos",
  ],
  ...["tanh", "sigmoid", "erf", "floor", "ceil", "round", "trunc", "frac"],
])
  register(name, "", SELF);
for (const name of ["add", "sub", "mul", "div", "maximum", "minimum", "pow", "clamp_min", "clamp_max"]) {
  // What the operator of one tensor calls its second argument.
  const second = name === "pow" ? "exponent" : name === "clamp_min" ? "min" : name === "clamp_max" ? "max" : "other";
  const plain = { ...SELF, alpha: one };
  register(name, "List", {
    ...SELF,
    ...(name === "add" || name === "sub" ? {} : { alpha: one }),
    [second]: listed(second === "exponent" ? "exponent" : "other"),
  });
  register(name, "Scalar", { ...plain, [second]: number(second === "exponent" ? "exponent" : "scalar") });
  register(name, "ScalarList", { ...plain, [second]: numberOf(second === "exponent" ? "exponent" : "scalars") });
}
register("mul", "Tensor", { ...SELF, other: number("other") });
register("div", "Tensor", { ...SELF, other: number("other") });
register("add", "Tensor", { ...SELF, other: number("other") });
for (const name of ["addcmul", "addcdiv"]) {
  const lists = { ...SELF, tensor1: listed("tensor1"), tensor2: listed("tensor2") };
  register(name, "Scalar", { ...lists, value: number("value") });
  register(name, "ScalarList", { ...lists, value: numberOf("scalars") });
  register(name, "Tensor", { ...lists, value: elementOf("scalars") });
}
register("lerp", "Scalar", { ...SELF, end: listed("tensors1"), weight: number("weight") });
register("lerp", "List", { ...SELF, end: listed("tensors1"), weight: listed("weights") });
register("lerp", "ScalarList", { ...SELF, end: listed("tensors1"), weight: numberOf("weight") });

const up = (e: Emitter, v: Ssa): Ssa => e.convert(v, accumulator(v.element));
const norms: Lowering = (e, o) => {
  const p = o.number("ord");
  return o.tensors("self").map((x, i) => finish(e, vectorNorm(e, up(e, x), p, range(x.shape.length), false), o.out(i)));
};
addLowerings({
  "aten::_foreach_norm.Scalar": norms,
  "aten::_foreach_zero": (e, o) => {
    o.implied("self");
    return o.outs.map((_, i) => finish(e, 0, o.out(i)));
  },
  "aten::_foreach_copy": (e, o) => {
    o.implied("self");
    return o.tensors("src").map((x, i) => finish(e, x, o.out(i)));
  },
});
