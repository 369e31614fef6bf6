/** Losses and their gradients. */
import type { Lowering, Operation } from "../lower/operation.js";
import { addLowerings } from "../lower/registry.js";
import type { Emitter } from "../stablehlo/emitter.js";
import { sum } from "../stablehlo/reduce.js";
import { accumulator, range, sizeOf, type Ssa } from "../stablehlo/types.js";
import { finish } from "./kernel.js";

const [NONE, MEAN, SUM] = [0, 1, 2];
function reductionOf(o: Operation): number {
  const reduction = o.number("reduction");
  o.need([NONE, MEAN, SUM].includes(reduction), "reduction", "0, 1 or 2");
  return reduction;
}
function reduced(e: Emitter, each: Ssa, reduction: number): Ssa {
  if (reduction === NONE) return each;
  const total = sum(e, each, range(each.shape.length));
  return reduction === MEAN ? e.div(total, sizeOf(each.shape)) : total;
}
interface Pair {
  readonly x: Ssa;
  readonly y: Ssa;
}
function pair(e: Emitter, o: Operation): Pair {
  const element = accumulator(o.out(0).element);
  const [x, y] = e.match(e.convert(o.tensor("self"), element), e.convert(o.tensor("target"), element));
  return { x, y };
}
/** A loss of two tensors, element by element. */
const loss =
  (each: (e: Emitter, p: Pair, o: Operation) => Ssa): Lowering =>
  (e, o) => [finish(e, reduced(e, each(e, pair(e, o), o), reductionOf(o)), o.out(0))];
/** Its gradient for `self`, times what came back. */
const lossBackward =
  (slope: (e: Emitter, p: Pair, o: Operation) => Ssa): Lowering =>
  (e, o) => {
    const p = pair(e, o);
    const g = e.convert(o.tensor("grad_output"), p.x.element);
    const share = reductionOf(o) === MEAN ? e.div(g, sizeOf(p.x.shape)) : g;
    return [finish(e, e.mul(slope(e, p, o), share), o.out(0))];
  };

const apart = (e: Emitter, { x, y }: Pair): Ssa => e.sub(x, y);
function weighted(e: Emitter, o: Operation, each: Ssa): Ssa {
  const weight = o.optional("weight");
  return weight === null ? each : e.mul(each, e.convert(weight, each.element));
}
const smoothL1 = (e: Emitter, p: Pair, o: Operation): Ssa => {
  const [d, beta] = [e.unary("abs", apart(e, p)), o.number("beta")];
  if (beta === 0) return d;
  return e.select(e.compare("LT", d, beta), e.div(e.mul(e.mul(d, d), 0.5), beta), e.sub(d, 0.5 * beta));
};
const smoothL1Slope = (e: Emitter, p: Pair, o: Operation): Ssa => {
  const [d, beta] = [apart(e, p), o.number("beta")];
  if (beta === 0) return e.unary("sign", d);
  return e.max(e.min(e.div(d, beta), 1), -1);
};
const huber = (e: Emitter, p: Pair, o: Operation): Ssa => {
  const [d, delta] = [e.unary("abs", apart(e, p)), o.number("delta")];
  return e.select(e.compare("LE", d, delta), e.mul(e.mul(d, d), 0.5), e.mul(e.sub(d, 0.5 * delta), delta));
};
const huberSlope = (e: Emitter, p: Pair, o: Operation): Ssa => {
  const delta = o.number("delta");
  return e.max(e.min(apart(e, p), delta), -delta);
};
/** Logarithms are at least -100, as in libtorch: a wrong certainty has a finite loss. */
const crossEntropyOfTwo = (e: Emitter, { x, y }: Pair, o: Operation): Ssa => {
  const log = (v: Ssa): Ssa => e.max(e.unary("log", v), -100);
  const right = e.mul(y, log(x));
  const wrong = e.mul(e.sub(1, y), e.max(e.unary("log_plus_one", e.unary("negate", x)), -100));
  return weighted(e, o, e.unary("negate", e.add(right, wrong)));
};
const crossEntropyOfTwoSlope = (e: Emitter, { x, y }: Pair, o: Operation): Ssa =>
  weighted(e, o, e.div(e.sub(x, y), e.max(e.mul(e.sub(1, x), x), 1e-12)));
/** (1 - y) x - p log σ(x), where p = 1 + (posWeight - 1) y. */
const crossEntropyOfLogits = (e: Emitter, { x, y }: Pair, o: Operation): Ssa => {
  const small = e.unary("log_plus_one", e.unary("exponential", e.unary("negate", e.unary("abs", x))));
  const minusLog = e.add(small, e.max(e.unary("negate", x), 0)); // -log σ(x)
  const positive = o.optional("pos_weight");
  const factor = positive === null ? null : e.add(e.mul(e.sub(e.convert(positive, x.element), 1), y), 1);
  return weighted(e, o, e.add(e.mul(e.sub(1, y), x), factor === null ? minusLog : e.mul(factor, minusLog)));
};

interface Classes {
  /** Which class is the target, in the shape of the scores: none where it is ignored. */
  readonly hit: Ssa;
  /** In the shape of the targets. */
  readonly valid: Ssa;
  /** Of each target's class, 0 where it is ignored. */
  readonly weight: Ssa;
  /** Dimension of the classes. */
  readonly dim: number;
}
/**
 * Scores [C], [N, C] or [N, C, …] and their targets. Comparing instead of looking up keeps it on each device when the
 * batch is split.
 */
function classesOf(e: Emitter, o: Operation): Classes {
  const [x, target, weight] = [o.tensor("self"), o.tensor("target"), o.optional("weight")];
  const dim = x.shape.length === 1 ? 0 : 1;
  const ones = x.shape.map((n, i) => (i === dim ? 1 : n));
  const column = e.reshape(target, ones);
  const valid = e.compare("NE", target, o.number("ignore_index"));
  const match = e.compare("EQ", e.iota(target.element, x.shape, dim), column);
  const hit = e.binary("and", match, e.expand(e.reshape(valid, ones), x.shape));
  const element = accumulator(x.element);
  if (weight === null) return { hit, valid, weight: e.convert(valid, element), dim };
  const of = e.select(hit, e.broadcast(e.convert(weight, element), x.shape, [dim]), 0);
  return { hit, valid, weight: e.reshape(sum(e, of, [dim]), target.shape), dim };
}
const nll: Lowering = (e, o) => {
  const [x, reduction] = [o.tensor("self"), reductionOf(o)];
  const c = classesOf(e, o);
  const picked = e.select(c.hit, e.convert(x, accumulator(x.element)), 0);
  const each = e.mul(e.unary("negate", e.reshape(sum(e, picked, [c.dim]), c.valid.shape)), c.weight);
  const total = sum(e, c.weight, range(c.weight.shape.length));
  if (reduction === NONE) return [finish(e, each, o.out(0)), finish(e, e.full(0, total.element), o.out(1))];
  const all = sum(e, each, range(each.shape.length));
  return [finish(e, reduction === MEAN ? e.div(all, total) : all, o.out(0)), finish(e, total, o.out(1))];
};
const nllBackward: Lowering = (e, o) => {
  const out = o.out(0);
  const element = accumulator(out.element);
  const reduction = reductionOf(o);
  const c = classesOf(e, o);
  let g = e.convert(o.tensor("grad_output"), element);
  if (reduction === MEAN) g = e.div(g, e.convert(o.tensor("total_weight"), element));
  else o.implied("total_weight");
  const each = e.mul(e.unary("negate", c.weight), g);
  const ones = out.shape.map((n, i) => (i === c.dim ? 1 : n));
  return [finish(e, e.select(c.hit, e.expand(e.reshape(e.convert(each, element), ones), out.shape), 0), out)];
};

addLowerings({
  "aten::mse_loss": loss((e, p) => e.mul(apart(e, p), apart(e, p))),
  "aten::mse_loss_backward": lossBackward((e, p) => e.mul(apart(e, p), 2)),
  "aten::smooth_l1_loss": loss(smoothL1),
  "aten::smooth_l1_loss_backward": lossBackward(smoothL1Slope),
  "aten::huber_loss": loss(huber),
  "aten::huber_loss_backward": lossBackward(huberSlope),
  "aten::binary_cross_entropy": loss(crossEntropyOfTwo),
  "aten::binary_cross_entropy_backward": lossBackward(crossEntropyOfTwoSlope),
  "aten::binary_cross_entropy_with_logits": loss(crossEntropyOfLogits),
  "aten::soft_margin_loss": loss((e, { x, y }) =>
    e.unary("log_plus_one", e.unary("exponential", e.unary("negate", e.mul(x, y)))),
  ),
  "aten::soft_margin_loss_backward": lossBackward((e, { x, y }) =>
    e.mul(e.unary("negate", y), e.unary("logistic", e.unary("negate", e.mul(x, y)))),
  ),
  "aten::nll_loss_forward": nll,
  "aten::nll_loss_backward": nllBackward,
  "aten::nll_loss2d_forward": nll,
  "aten::nll_loss2d_backward": nllBackward,
});
