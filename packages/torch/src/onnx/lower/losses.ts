/** Losses: ONNX's own of classes, the others by their formulas. */
import type { Lowering, Op } from "../op.js";
import { range } from "../op.js";

const WORDS = ["none", "mean", "sum"] as const;

/** Numbers of one dtype, and ours. */
interface Pair {
  readonly x: string;
  readonly y: string;
  readonly number: (value: number) => string;
}
function pair(o: Op, x = "self", y = "target"): Pair {
  const { dtype } = o.out;
  return { x: o.as(x, dtype), y: o.as(y, dtype), number: (value) => o.g.scalar(value, dtype) };
}

/** All numbers, their mean or their sum. */
function reduced(o: Op, name: string, rank: number): string {
  const word = WORDS[o.int("reduction")] ?? o.refuse("a reduction");
  if (word === "none" || rank === 0) return name;
  return o.g.reduce(word === "mean" ? "ReduceMean" : "ReduceSum", name, range(rank), false);
}
const rankOf = (o: Op, x: string, y: string): number => Math.max(o.t(x).shape.length, o.t(y).shape.length);
/** A loss of each number by a formula, then reduced. */
const each =
  (formula: (o: Op, of: Pair) => string, x = "self", y = "target"): Lowering =>
  (o) =>
    reduced(o, formula(o, pair(o, x, y)), rankOf(o, x, y));

const difference = (o: Op, { x, y }: Pair): string => o.node("Sub", [x, y]);
const squared = (o: Op, name: string): string => o.node("Mul", [name, name]);
/** Within `limit` a parabola, beyond it a line; `scale` of both. */
function huber(o: Op, of: Pair, limit: number, scale: number): string {
  const far = o.node("Abs", [difference(o, of)]);
  const near = o.node("Mul", [squared(o, far), of.number(0.5)]);
  const line = o.node("Mul", [o.node("Sub", [far, of.number(limit / 2)]), of.number(limit)]);
  const chosen = o.node("Where", [o.node("Less", [far, of.number(limit)]), near, line]);
  return scale === 1 ? chosen : o.node("Mul", [chosen, of.number(scale)]);
}
const weighted = (o: Op, name: string): string =>
  o.has("weight") ? o.node("Mul", [name, o.as("weight", o.out.dtype)]) : name;

/** As PyTorch has it, logarithms are at least -100. */
function binary(o: Op, { x, y, number }: Pair): string {
  const log = (of: string): string => o.node("Max", [o.node("Log", [of]), number(-100)]);
  const one = number(1);
  const [yes, no] = [
    o.node("Mul", [y, log(x)]),
    o.node("Mul", [o.node("Sub", [one, y]), log(o.node("Sub", [one, x]))]),
  ];
  return weighted(o, o.node("Neg", [o.node("Add", [yes, no])]));
}
/** (1 − y)·x + (1 + (p − 1)·y)·log(1 + e^−x), where the logarithm is of what cannot overflow. */
function withLogits(o: Op, { x, y, number }: Pair): string {
  const one = number(1);
  const zero = number(0);
  const soft = o.node("Add", [
    o.node("Log", [o.node("Add", [o.node("Exp", [o.node("Neg", [o.node("Abs", [x])])]), one])]),
    o.node("Max", [o.node("Neg", [x]), zero]),
  ]);
  const share = o.has("pos_weight")
    ? o.node("Add", [o.node("Mul", [o.node("Sub", [o.as("pos_weight", o.out.dtype), one]), y]), one])
    : null;
  const left = o.node("Mul", [o.node("Sub", [one, y]), x]);
  return weighted(o, o.node("Add", [left, share === null ? soft : o.node("Mul", [share, soft])]));
}
function divergence(o: Op, { x, y, number }: Pair): string {
  if (o.flag("log_target")) return o.node("Mul", [o.node("Exp", [y]), o.node("Sub", [y, x])]);
  const positive = o.node("Greater", [y, number(0)]);
  const safe = o.node("Where", [positive, y, number(1)]);
  return o.node("Sub", [
    o.node("Where", [positive, o.node("Mul", [y, o.node("Log", [safe])]), number(0)]),
    o.node("Mul", [y, x]),
  ]);
}
/** log(1 + e^(−y·x)). */
const softMargin = (o: Op, { x, y }: Pair): string => o.node("Softplus", [o.node("Neg", [o.node("Mul", [x, y])])]);

/** e^x − y·x, or x − y·log(x + ε). */
function poisson(o: Op, { x, y, number }: Pair): string {
  if (o.flag("full")) o.refuse("full to be false, for Stirling's formula is not translated");
  if (o.flag("log_input")) return o.node("Sub", [o.node("Exp", [x]), o.node("Mul", [y, x])]);
  const log = o.node("Log", [o.node("Add", [x, number(o.number("eps", 1e-8))])]);
  return o.node("Sub", [x, o.node("Mul", [y, log])]);
}
/** x where y is 1, max(0, margin − x) where it is −1; both for any other. */
function hinge(o: Op, { x, y, number }: Pair): string {
  const [zero, one] = [number(0), number(1)];
  const beyond = o.node("Max", [o.node("Sub", [number(o.number("margin", 1)), x]), zero]);
  return o.node("Add", [
    o.node("Where", [o.node("Equal", [y, one]), zero, beyond]),
    o.node("Where", [o.node("Equal", [y, number(-1)]), zero, x]),
  ]);
}
const atLeast0 = (o: Op, value: string): string => o.node("Max", [value, o.g.scalar(0, o.out.dtype)]);

const marginRanking: Lowering = (o) => {
  const { dtype } = o.out;
  const apart = o.node("Sub", [o.as("input1", dtype), o.as("input2", dtype)]);
  const against = o.node("Neg", [o.node("Mul", [o.as("target", dtype), apart])]);
  const loss = atLeast0(o, o.node("Add", [against, o.g.scalar(o.number("margin", 0), dtype)]));
  return reduced(o, loss, Math.max(rankOf(o, "input1", "input2"), o.t("target").shape.length));
};
const cosine: Lowering = (o) => {
  const { dtype } = o.out;
  const rank = rankOf(o, "input1", "input2");
  const [a, b, y] = [o.as("input1", dtype), o.as("input2", dtype), o.as("target", dtype)];
  const sum = (value: string): string => o.g.reduce("ReduceSum", value, [rank - 1], false);
  const length = (of: string): string => o.node("Add", [sum(squared(o, of)), o.g.scalar(1e-12, dtype)]);
  const cos = o.node("Div", [sum(o.node("Mul", [a, b])), o.node("Sqrt", [o.node("Mul", [length(a), length(b)])])]);
  const zero = o.g.scalar(0, dtype);
  const same = o.node("Where", [
    o.node("Equal", [y, o.g.scalar(1, dtype)]),
    o.node("Sub", [o.g.scalar(1, dtype), cos]),
    zero,
  ]);
  const beyond = atLeast0(o, o.node("Sub", [cos, o.g.scalar(o.number("margin", 0), dtype)]));
  const other = o.node("Where", [o.node("Equal", [y, o.g.scalar(-1, dtype)]), beyond, zero]);
  return reduced(o, o.node("Add", [same, other]), rank - 1);
};
const triplet: Lowering = (o) => {
  const { dtype } = o.out;
  const rank = o.t("anchor").shape.length;
  if (o.number("p", 2) !== 2) o.refuse("p of 2");
  const distance = (a: string, b: string): string => {
    const apart = o.node("Add", [o.node("Sub", [a, b]), o.g.scalar(o.number("eps", 1e-6), dtype)]);
    return o.node("Sqrt", [o.g.reduce("ReduceSum", squared(o, apart), [rank - 1], false)]);
  };
  const [anchor, positive, negative] = ["anchor", "positive", "negative"].map((name) => o.as(name, dtype)) as [
    string,
    string,
    string,
  ];
  const near = distance(anchor, positive);
  const plain = distance(anchor, negative);
  const far = o.flag("swap") ? o.node("Min", [plain, distance(positive, negative)]) : plain;
  const loss = atLeast0(o, o.node("Add", [o.node("Sub", [near, far]), o.g.scalar(o.number("margin", 1), dtype)]));
  return reduced(o, loss, rank - 1);
};

/** ONNX's operators of class indices take scores with a first dimension for samples. */
const classes =
  (op: string): Lowering =>
  (o) => {
    const scores = o.t("self");
    const target = o.t("target");
    if (o.g.opset < 12) o.refuse("opset 12 or later");
    if (target.dtype !== "int64" && target.dtype !== "int32")
      o.refuse("class indices: shares of classes are no target");
    if (o.has("label_smoothing") && o.number("label_smoothing") !== 0) o.refuse("labelSmoothing of 0");
    const single = scores.shape.length === 1;
    const x = o.cast(scores, o.out.dtype);
    const weight = o.has("weight") ? [o.as("weight", o.out.dtype)] : [];
    const inputs = single
      ? [o.g.unsqueeze(x, [0]), o.g.unsqueeze(target.name, [0]), ...weight]
      : [x, target.name, ...weight];
    const reduction = WORDS[o.int("reduction")] ?? o.refuse("a reduction");
    const made = o.node(op, inputs, { reduction, ignore_index: o.int("ignore_index") });
    return single && reduction === "none" ? o.g.squeeze(made, [0]) : made;
  };

export const losses: Readonly<Record<string, Lowering>> = {
  mse_loss: each((o, of) => squared(o, difference(o, of))),
  l1_loss: each((o, of) => o.node("Abs", [difference(o, of)])),
  smooth_l1_loss: each((o, of) => {
    const beta = o.number("beta", 1);
    return beta === 0 ? o.node("Abs", [difference(o, of)]) : huber(o, of, beta, 1 / beta);
  }),
  huber_loss: each((o, of) => huber(o, of, o.number("delta", 1), 1)),
  binary_cross_entropy: each(binary),
  binary_cross_entropy_with_logits: each(withLogits),
  kl_div: each(divergence),
  soft_margin_loss: each(softMargin),
  poisson_nll_loss: (o) => reduced(o, poisson(o, pair(o, "input", "target")), rankOf(o, "input", "target")),
  hinge_embedding_loss: each(hinge),
  margin_ranking_loss: marginRanking,
  cosine_embedding_loss: cosine,
  triplet_margin_loss: triplet,
  nll_loss: classes("NegativeLogLikelihoodLoss"),
  nll_loss_nd: classes("NegativeLogLikelihoodLoss"),
  cross_entropy_loss: classes("SoftmaxCrossEntropyLoss"),
};
