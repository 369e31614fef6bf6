/** Products of matrices. */
import { float } from "../graph.js";
import type { Lowering, Op } from "../op.js";

const linear: Lowering = (o) => {
  const [input, weight, bias] = [o.t("input"), o.t("weight"), o.maybe("bias")];
  if (input.shape.length === 2 && weight.shape.length === 2)
    return o.node("Gemm", [input.name, weight.name, bias?.name ?? null], { transB: 1 });
  const made = o.node("MatMul", [
    input.name,
    weight.shape.length === 2 ? o.g.transpose(weight.name, [1, 0]) : weight.name,
  ]);
  return bias === null ? made : o.node("Add", [made, bias.name]);
};
const matmul: Lowering = (o) => {
  const second = ["other", "mat2", "vec", "vec2", "tensor"].find((name) => o.has(name)) ?? "other";
  return o.node("MatMul", [o.t(o.has("self") ? "self" : "input").name, o.t(second).name]);
};
function scaled(o: Op, value: string, name: string): string {
  const factor = o.number(name, 1);
  return factor === 1 ? value : o.node("Mul", [value, o.g.scalar(factor, o.out.dtype)]);
}
const addmm: Lowering = (o) =>
  o.node("Gemm", [o.t("mat1").name, o.t("mat2").name, o.t("self").name], {
    alpha: float(o.number("alpha", 1)),
    beta: float(o.number("beta", 1)),
  });
const baddbmm: Lowering = (o) => {
  const made = o.node("MatMul", [o.t("batch1").name, o.t("batch2").name]);
  return o.node("Add", [scaled(o, o.t("self").name, "beta"), scaled(o, made, "alpha")]);
};
const addmv: Lowering = (o) =>
  o.node("Add", [
    scaled(o, o.t("self").name, "beta"),
    scaled(o, o.node("MatMul", [o.t("mat").name, o.t("vec").name]), "alpha"),
  ]);
const einsum: Lowering = (o) =>
  o.node(
    "Einsum",
    o.tensors("tensors").map((t) => t.name),
    { equation: o.text("equation").replaceAll(" ", "") },
  );
/** y_k = x₁ᵀ A_k x₂ + b_k, by two products: x₁ A_k for all k at once, then with x₂. */
const bilinear: Lowering = (o) => {
  const [a, b, weight, bias] = [o.t("input1"), o.t("input2"), o.t("weight"), o.maybe("bias")];
  const rows = o.g.unsqueeze(o.g.unsqueeze(a.name, [a.shape.length - 1]), [a.shape.length - 1]);
  const left = o.node("MatMul", [rows, weight.name]);
  const right = o.g.unsqueeze(o.g.unsqueeze(b.name, [b.shape.length - 1]), [b.shape.length + 1]);
  const made = o.g.squeeze(o.node("MatMul", [left, right]), [a.shape.length, a.shape.length + 1]);
  return bias === null ? made : o.node("Add", [made, bias.name]);
};
const outer: Lowering = (o) =>
  o.node("Mul", [o.g.unsqueeze(o.t("self").name, [1]), o.g.unsqueeze(o.t("vec2").name, [0])]);

const cosineSimilarity: Lowering = (o) => {
  const [a, b] = [o.t("x1"), o.t("x2")];
  const rank = Math.max(a.shape.length, b.shape.length);
  const axis = o.dim("dim", rank);
  const eps = o.g.scalar(o.number("eps", 1e-8), o.out.dtype);
  const norm = (t: string, r: number): string =>
    o.node("Max", [o.g.reduce("ReduceL2", t, [axis - (rank - r)], true), eps]);
  const unit = (t: string, r: number): string => o.node("Div", [t, norm(t, r)]);
  const product = o.node("Mul", [unit(a.name, a.shape.length), unit(b.name, b.shape.length)]);
  return o.g.reduce("ReduceSum", product, [axis], false);
};
const pairwiseDistance: Lowering = (o) => {
  const { dtype } = o.out;
  const rank = Math.max(o.t("x1").shape.length, o.t("x2").shape.length);
  const apart = o.node("Add", [
    o.node("Sub", [o.t("x1").name, o.t("x2").name]),
    o.g.scalar(o.number("eps", 1e-6), dtype),
  ]);
  return norm(o, apart, o.number("p", 2), [rank - 1], o.flag("keepdim"));
};
/** (Σ |x|ᵖ)^(1/p), and its limits. */
export function norm(o: Op, x: string, p: number, axes: readonly number[], keep: boolean): string {
  if (p === 2) return o.g.reduce("ReduceL2", x, axes, keep);
  const size = o.node("Abs", [x]);
  if (p === 1) return o.g.reduce("ReduceSum", size, axes, keep);
  if (p === Infinity) return o.g.reduce("ReduceMax", size, axes, keep);
  if (p === -Infinity) return o.g.reduce("ReduceMin", size, axes, keep);
  const { dtype } = o.out;
  if (p === 0) {
    const zero = o.node("Equal", [size, o.g.scalar(0, dtype)]);
    return o.g.reduce("ReduceSum", o.g.cast(o.node("Not", [zero]), dtype), axes, keep);
  }
  const sum = o.g.reduce("ReduceSum", o.node("Pow", [size, o.g.scalar(p, dtype)]), axes, keep);
  return o.node("Pow", [sum, o.g.scalar(1 / p, dtype)]);
}
const vectorNorm: Lowering = (o) => {
  const input = o.t("self");
  const x = o.cast(input, o.out.dtype);
  const p = o.has("ord") ? o.number("ord") : o.number("p", 2);
  return norm(o, x, p, o.dims("dim", input.shape.length), o.flag("keepdim"));
};

export const products: Readonly<Record<string, Lowering>> = {
  linear,
  matmul,
  mm: matmul,
  bmm: matmul,
  mv: matmul,
  dot: matmul,
  addmm,
  baddbmm,
  addmv,
  einsum,
  bilinear,
  outer,
  ger: outer,
  cosine_similarity: cosineSimilarity,
  pairwise_distance: pairwiseDistance,
  linalg_vector_norm: vectorNorm,
  norm: vectorNorm,
};
