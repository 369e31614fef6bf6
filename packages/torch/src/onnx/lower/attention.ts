/** Attention: softmax(q kᵀ · scale + mask) v. */
import { isFloatingPoint } from "../../tensor/dtype.js";
import { range, type Lowering, type Op, type Operand } from "../op.js";

/** -∞ above the diagonal that begins at the first row and column. */
function causal(o: Op, q: Operand, k: Operand): string {
  const { dtype } = q;
  const [rows, columns] = [q.sizes.at(-2) ?? 1, k.sizes.at(-2) ?? 1];
  const ones = o.node("Expand", [o.g.scalar(-Infinity, dtype), o.vector([rows, columns])]);
  const kept = o.node("Trilu", [o.node("Expand", [o.g.scalar(1, dtype), o.vector([rows, columns])]), o.g.int(0)], {
    upper: 0,
  });
  return o.node("Where", [o.g.cast(kept, "bool"), o.g.scalar(0, dtype), ones]);
}
/** Heads of keys and values that several of the queries share, once for each. */
function repeated(o: Op, x: Operand, times: number): string {
  if (times === 1) return x.name;
  const rank = x.shape.length;
  const sizes = [...x.sizes];
  const wide = [...sizes.slice(0, rank - 2), times, ...sizes.slice(rank - 2)];
  const made = o.node("Expand", [o.g.unsqueeze(x.name, [rank - 2]), o.vector(wide)]);
  const heads = x.sizes[rank - 3];
  if (typeof heads !== "number") return o.refuse("a fixed number of heads");
  return o.g.reshape(made, o.vector([...sizes.slice(0, rank - 3), heads * times, ...sizes.slice(rank - 2)]));
}

const attention: Lowering = (o) => {
  const [q, k, v] = [o.t("query"), o.t("key"), o.t("value")];
  if (o.number("dropout_p", 0) > 0) o.refuse("attention without dropout: call model.eval()");
  const { dtype } = q;
  const scale = o.number("scale", 1 / Math.sqrt(q.shape.at(-1) ?? 1));
  const share = o.flag("enable_gqa") ? (q.shape.at(-3) ?? 1) / (k.shape.at(-3) ?? 1) : 1;
  const [keys, values] = [repeated(o, k, share), repeated(o, v, share)];
  const rank = k.shape.length;
  const turned = o.g.transpose(keys, [...range(rank - 2), rank - 1, rank - 2]);
  let scores = o.node("MatMul", [o.node("Mul", [q.name, o.g.scalar(scale, dtype)]), turned]);
  const mask = o.maybe("attn_mask");
  if (mask !== null)
    scores = isFloatingPoint(mask.dtype)
      ? o.node("Add", [scores, o.cast(mask, dtype)])
      : o.node("Where", [o.cast(mask, "bool"), scores, o.g.scalar(-Infinity, dtype)]);
  if (o.flag("is_causal")) scores = o.node("Add", [scores, causal(o, q, k)]);
  const weights = o.node("Softmax", [scores], { axis: o.g.opset >= 13 ? -1 : q.shape.length - 1 });
  return o.node("MatMul", [weights, values]);
};

export const attentions: Readonly<Record<string, Lowering>> = { scaled_dot_product_attention: attention };
