/** Matrix products. */
import type { Lowering, Operation } from "../lower/operation.js";
import { addLowerings } from "../lower/registry.js";
import type { Emitter } from "../stablehlo/emitter.js";
import { dot, type DotDims } from "../stablehlo/product.js";
import { accumulator, isFloat, type Ssa } from "../stablehlo/types.js";
import { finish } from "./kernel.js";

const MATRIX: DotDims = { contract: [[1], [0]] };
const BATCHED: DotDims = { batch: [[0], [0]], contract: [[2], [1]] };
const VECTOR: DotDims = { contract: [[1], [0]] };
const INNER: DotDims = { contract: [[0], [0]] };

const product =
  (a: string, b: string, dims: DotDims): Lowering =>
  (e, o) => {
    const [x, y, out] = [o.tensor(a), o.tensor(b), o.out(0)];
    return [finish(e, dot(e, x, y, dims, x.element === out.element ? out.element : undefined), out)];
  };

function scaled(e: Emitter, v: Ssa, by: number): Ssa {
  return by === 1 ? v : e.mul(v, by);
}
/** β · self + α · the product, rounded once. With β = 0 self is not looked at, NaN or not. */
function plus(e: Emitter, o: Operation, made: Ssa): Ssa {
  const [alpha, beta] = [o.number("alpha"), o.number("beta")];
  const out = o.out(0);
  const self = o.tensor("self");
  const term = scaled(e, made, alpha);
  if (beta === 0) return finish(e, term, out);
  const element = isFloat(out.element) ? accumulator(out.element) : out.element;
  return finish(e, e.add(scaled(e, e.convert(self, element), beta), e.convert(term, element)), out);
}
const productPlus =
  (a: string, b: string, dims: DotDims): Lowering =>
  (e, o) => [plus(e, o, dot(e, o.tensor(a), o.tensor(b), dims))];
const outer: Lowering = (e, o) => {
  const element = accumulator(o.out(0).element);
  const [a, b] = [e.convert(o.tensor("vec1"), element), e.convert(o.tensor("vec2"), element)];
  return [plus(e, o, e.mul(e.reshape(a, [a.shape[0], 1]), b))];
};
/** Products of a batch, added up. */
const addbmm: Lowering = (e, o) => [
  plus(
    e,
    o,
    dot(e, o.tensor("batch1"), o.tensor("batch2"), {
      contract: [
        [0, 2],
        [0, 1],
      ],
    }),
  ),
];

/**
 * Of float8 codes, with a factor for each tensor, or for each row of the first and column of the second. Codes become
 * bfloat16, which has all of their values: what multiplies float8 itself finds that in the program.
 */
const scaledProduct: Lowering = (e, o) => {
  o.implied("out_dtype", "use_fast_accum");
  o.only("scale_result", null);
  const [a, b, bias] = [o.tensor("self"), o.tensor("mat2"), o.optional("bias")];
  const made = dot(e, e.convert(a, "bf16"), e.convert(b, "bf16"), MATRIX);
  const factor = (name: string, place: 0 | 1): Ssa => {
    const scale = o.tensor(name);
    const [rows, columns] = made.shape as [number, number];
    if (scale.shape.reduce((x, y) => x * y, 1) === 1) return e.reshape(scale, []);
    return e.expand(e.reshape(scale, place === 0 ? [rows, 1] : [1, columns]), made.shape);
  };
  const value = e.mul(e.mul(made, factor("scale_a", 0)), factor("scale_b", 1));
  return [finish(e, bias === null ? value : e.add(value, e.convert(bias, value.element)), o.out(0))];
};

addLowerings({
  "aten::_scaled_mm": scaledProduct,
  "aten::mm": product("self", "mat2", MATRIX),
  "aten::bmm": product("self", "mat2", BATCHED),
  "aten::mv": product("self", "vec", VECTOR),
  "aten::dot": product("self", "tensor", INNER),
  "aten::vdot": product("self", "other", INNER),
  "aten::addmm": productPlus("mat1", "mat2", MATRIX),
  "aten::baddbmm": productPlus("batch1", "batch2", BATCHED),
  "aten::addmv": productPlus("mat", "vec", VECTOR),
  "aten::addr": outer,
  "aten::addbmm": addbmm,
});
