/** Random numbers: other bits than libtorch's, of the same distributions. */
import type { Lowering, Operation, Out } from "../lower/operation.js";
import { addLowerings } from "../lower/registry.js";
import type { Emitter } from "../stablehlo/emitter.js";
import { sizeOf, type Ssa } from "../stablehlo/types.js";
import { asValue, finish, inElement } from "./kernel.js";

/** Draws for the one result. The program has one generator: which one was recorded makes no difference. */
const drawn =
  (draw: (e: Emitter, o: Operation, out: Out) => Ssa): Lowering =>
  (e, o) => {
    o.implied("generator", "self", "names");
    return [finish(e, draw(e, o, o.out(0)), o.out(0))];
  };
const uniform = drawn((e, o, { shape }) => o.random.uniform(e, shape));
const normal = drawn((e, o, { shape }) => o.random.normal(e, shape));
const below = drawn((e, o, { shape }) => {
  const low = o.has("low") ? o.number("low") : 0;
  return e.add(o.random.below(e, o.number("high") - low, shape), low);
});
/** Between two whole numbers; up to what the dtype holds where no end is given. */
const between = drawn((e, o, { shape }) => {
  const [from, to] = [o.number("from"), o.numberOr("to")];
  if (to === null) return o.refuse("to", "a number");
  return e.add(o.random.below(e, to - from, shape), from);
});
const normalInto = drawn((e, o, { shape }) =>
  e.add(e.mul(o.random.normal(e, shape), o.number("std")), o.number("mean")),
);
const uniformInto = drawn((e, o, { shape }) => {
  const [from, to] = [o.number("from"), o.number("to")];
  return e.add(e.mul(o.random.uniform(e, shape), to - from), from);
});
/** -log(u) / λ, u in (0, 1]. */
const exponential = drawn((e, o, { shape }) => {
  const u = e.sub(1, o.random.uniform(e, shape));
  return e.div(e.unary("negate", e.unary("log", u)), o.number("lambd"));
});
const chance = drawn((e, o, { shape }) => o.random.chance(e, o.number("p"), shape));
/** With a probability for each element. */
const chances =
  (name: string): Lowering =>
  (e, o) => {
    o.implied("generator", "self");
    const { shape } = o.out(0);
    const p = e.expand(asValue(e, o.operand(name), "f32"), shape);
    return [finish(e, e.compare("LT", o.random.uniform(e, shape), p), o.out(0))];
  };
/** Zeros with probability p, the others grow; with the mask that the gradient uses. */
const dropout: Lowering = (e, o) => {
  const [x, p] = [o.tensor("input"), o.number("p")];
  const training = o.operator.arguments["train"] !== false;
  o.implied("train");
  if (!training) return [x, e.full(1, "i1", x.shape)];
  const kept = o.random.chance(e, 1 - p, x.shape);
  const scale = p >= 1 ? 0 : 1 / (1 - p);
  const scaled = e.mul(inElement(e, x, "f32"), scale);
  return [finish(e, e.select(kept, scaled, 0), o.out(0)), kept];
};
const dropoutBackward: Lowering = (e, o) => {
  const [g, mask, scale] = [o.tensor("grad_output"), o.tensor("mask"), o.number("scale")];
  const scaled = e.mul(e.convert(g, "f32"), scale);
  return [finish(e, e.select(e.convert(mask, "i1"), scaled, 0), o.out(0))];
};
/** Each order is as likely: numbers of 32 bits, sorted. */
const permutation: Lowering = (e, o) => {
  o.implied("generator", "n");
  const { shape } = o.out(0);
  if (sizeOf(shape) === 0) return [finish(e, 0, o.out(0))];
  return [finish(e, o.random.order(e, shape[0]), o.out(0))];
};

addLowerings({
  "aten::rand": uniform,
  "aten::rand.generator": uniform,
  "aten::rand_like": uniform,
  "aten::randn": normal,
  "aten::randn.generator": normal,
  "aten::randn_like": normal,
  "aten::randint": below,
  "aten::randint.generator": below,
  "aten::randint.low": below,
  "aten::randint.low_generator": below,
  "aten::randint_like": below,
  "aten::randint_like.low_dtype": below,
  "aten::random.from": between,
  "aten::normal_": normalInto,
  "aten::normal_functional": normalInto,
  "aten::normal.float_float": normalInto,
  "aten::uniform_": uniformInto,
  "aten::uniform": uniformInto,
  "aten::exponential_": exponential,
  "aten::exponential": exponential,
  "aten::bernoulli": chances("self"),
  "aten::bernoulli.p": chance,
  "aten::bernoulli_.float": chance,
  "aten::bernoulli_.Tensor": chances("p"),
  "aten::native_dropout": dropout,
  "aten::native_dropout_backward": dropoutBackward,
  "aten::randperm": permutation,
  "aten::randperm.generator": permutation,
});
