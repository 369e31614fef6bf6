/** Scaled dot product attention as CPUs record it. The scores are made whole. */
import type { Lowering, Operation } from "../lower/operation.js";
import { addLowerings } from "../lower/registry.js";
import type { Emitter } from "../stablehlo/emitter.js";
import { dot } from "../stablehlo/product.js";
import { reduce, sum } from "../stablehlo/reduce.js";
import { accumulator, type Ssa } from "../stablehlo/types.js";
import { finish } from "./kernel.js";

const HEADS: readonly [readonly number[], readonly number[]] = [
  [0, 1],
  [0, 1],
];

/** q kᵀ · scale, masked: [N, heads, targets, sources] in float32. */
function scoresOf(e: Emitter, o: Operation): { scores: Ssa; scale: number } {
  const [q, k, mask] = [o.tensor("query"), o.tensor("key"), o.optional("attn_mask")];
  o.only("dropout_p", 0);
  const scale = o.numberOr("scale") ?? 1 / Math.sqrt(q.shape[3]);
  let scores = e.mul(dot(e, q, k, { batch: HEADS, contract: [[3], [3]] }), scale);
  if (mask !== null)
    scores =
      mask.element === "i1"
        ? e.select(e.expand(mask, scores.shape), scores, -Infinity)
        : e.add(scores, e.convert(mask, scores.element));
  if (o.flag("is_causal")) {
    const plane = scores.shape.slice(2);
    const seen = e.compare("GE", e.iota("i32", plane, 0), e.iota("i32", plane, 1));
    scores = e.select(e.expand(seen, scores.shape), scores, -Infinity);
  }
  return { scores, scale };
}
const forward: Lowering = (e, o) => {
  const { scores } = scoresOf(e, o);
  const value = o.tensor("value");
  const greatest = reduce(e, "maximum", scores, [3], true);
  const p = e.unary("exponential", e.sub(scores, greatest));
  const total = sum(e, p, [3], true);
  const y = dot(e, e.convert(e.div(p, total), value.element), value, { batch: HEADS, contract: [[3], [2]] });
  const norm = o.out(1);
  return [finish(e, y, o.out(0)), () => finish(e, e.reshape(e.add(greatest, e.unary("log", total)), norm.shape), norm)];
};
const backward: Lowering = (e, o) => {
  const { scores, scale } = scoresOf(e, o);
  const [q, k, v, g] = [o.tensor("query"), o.tensor("key"), o.tensor("value"), o.tensor("grad_out")];
  const norm = e.reshape(e.convert(o.tensor("logsumexp"), scores.element), [...scores.shape.slice(0, 3), 1]);
  const p = e.unary("exponential", e.sub(scores, norm));
  const up = (x: Ssa): Ssa => e.convert(x, accumulator(x.element));
  const toV = dot(e, e.convert(p, v.element), g, { batch: HEADS, contract: [[2], [2]] });
  const toP = dot(e, g, v, { batch: HEADS, contract: [[3], [3]] });
  const own = sum(e, e.mul(up(g), up(o.tensor("out"))), [3], true);
  const toScores = e.convert(e.mul(e.mul(p, e.sub(toP, own)), scale), q.element);
  const toQ = dot(e, toScores, k, { batch: HEADS, contract: [[3], [2]] });
  const toK = dot(e, toScores, q, { batch: HEADS, contract: [[2], [2]] });
  return [toQ, toK, toV].map((x, i) => finish(e, x, o.out(i)));
};

addLowerings({
  "aten::_scaled_dot_product_flash_attention_for_cpu": forward,
  "aten::_scaled_dot_product_flash_attention_for_cpu_backward": backward,
});
