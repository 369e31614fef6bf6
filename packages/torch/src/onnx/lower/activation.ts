/** Activations. Where ONNX has none of a name, by the formula. */
import type { Lowering, Op } from "../op.js";
import { float } from "../graph.js";
import { axisOf, range } from "../op.js";

const direct =
  (op: string): Lowering =>
  (o) =>
    o.node(op, [o.t("self").name]);
const number = (o: Op, value: number): string => o.g.scalar(value, o.t("self").dtype);
const x = (o: Op): string => o.t("self").name;

const hardtanh: Lowering = (o) =>
  o.node("Min", [o.node("Max", [x(o), number(o, o.number("min_val", 0))]), number(o, o.number("max_val", 6))]);

const elu: Lowering = (o) => {
  const [alpha, scale, inner] = [o.number("alpha", 1), o.number("scale", 1), o.number("input_scale", 1)];
  if (scale === 1 && inner === 1) return o.node("Elu", [x(o)], { alpha: float(alpha) });
  const zero = number(o, 0);
  const low = o.node("Sub", [
    o.node("Exp", [o.node("Mul", [o.node("Min", [x(o), zero]), number(o, inner)])]),
    number(o, 1),
  ]);
  const made = o.node("Add", [o.node("Max", [x(o), zero]), o.node("Mul", [low, number(o, alpha)])]);
  return o.node("Mul", [made, number(o, scale)]);
};

const gelu: Lowering = (o) => {
  const half = o.node("Mul", [x(o), number(o, 0.5)]);
  const inner =
    o.get("approximate") === "tanh"
      ? o.node("Tanh", [
          o.node("Mul", [
            number(o, Math.sqrt(2 / Math.PI)),
            o.node("Add", [
              x(o),
              o.node("Mul", [number(o, 0.044715), o.node("Mul", [x(o), o.node("Mul", [x(o), x(o)])])]),
            ]),
          ]),
        ])
      : o.node("Erf", [o.node("Mul", [x(o), number(o, Math.SQRT1_2)])]);
  return o.node("Mul", [half, o.node("Add", [inner, number(o, 1)])]);
};

/** log(1 + e^(βx)) / β, and x itself above the threshold. */
const softplus: Lowering = (o) => {
  const [beta, threshold] = [o.number("beta", 1), o.number("threshold", 20)];
  const scaled = beta === 1 ? x(o) : o.node("Mul", [x(o), number(o, beta)]);
  const made = o.node("Softplus", [scaled]);
  const soft = beta === 1 ? made : o.node("Div", [made, number(o, beta)]);
  return o.node("Where", [o.node("Greater", [scaled, number(o, threshold)]), x(o), soft]);
};

const hardshrink: Lowering = (o) => {
  const far = o.node("Greater", [o.node("Abs", [x(o)]), number(o, o.number("lambd", 0.5))]);
  return o.node("Where", [far, x(o), number(o, 0)]);
};
const softshrink: Lowering = (o) => {
  const away = o.node("Max", [o.node("Sub", [o.node("Abs", [x(o)]), number(o, o.number("lambd", 0.5))]), number(o, 0)]);
  return o.node("Mul", [o.node("Sign", [x(o)]), away]);
};
const threshold: Lowering = (o) =>
  o.node("Where", [o.node("Greater", [x(o), number(o, o.number("threshold"))]), x(o), number(o, o.number("value"))]);

const prelu: Lowering = (o) => {
  const { shape } = o.t("self");
  const weight = o.t("weight");
  const broadcast = shape.length < 2 ? [] : [weight.shape[0] ?? 1, ...range(shape.length - 2).map(() => 1)];
  return o.node("PRelu", [x(o), o.g.reshape(weight.name, o.g.ints(broadcast))]);
};
const rrelu: Lowering = (o) => {
  if (o.flag("training")) o.refuse("a model in evaluation: call model.eval()");
  return o.node("LeakyRelu", [x(o)], { alpha: float((o.number("lower") + o.number("upper")) / 2) });
};
const glu: Lowering = (o) => {
  const { shape } = o.t("self");
  const axis = o.dim("dim", shape.length);
  const size = shape[axis] ?? 0;
  const [a, b] = [o.g.part(x(o), axis, 0, size / 2), o.g.part(x(o), axis, size / 2, size)];
  return o.node("Mul", [a, o.node("Sigmoid", [b])]);
};

/** Before 13, over all axes from one on: the axis goes last. */
const softmax =
  (op: string): Lowering =>
  (o) => {
    const input = o.t("self");
    const rank = input.shape.length;
    const value = o.cast(input, o.out.dtype);
    if (rank === 0) return o.g.squeeze(o.node(op, [o.g.unsqueeze(value, [0])], { axis: 0 }), [0]);
    const axis = o.dim("dim", rank);
    if (o.g.opset >= 13 || axis === rank - 1) return o.node(op, [value], { axis: o.g.opset >= 13 ? axis : rank - 1 });
    const perm = range(rank).filter((d) => d !== axis);
    perm.push(axis);
    const back = range(rank).map((d) => perm.indexOf(d));
    return o.g.transpose(o.node(op, [o.g.transpose(value, perm)], { axis: axisOf(-1, rank) }), back);
  };

const table: Readonly<Record<string, Lowering>> = {
  relu: direct("Relu"),
  relu6: hardtanh,
  hardtanh,
  leaky_relu: (o) => o.node("LeakyRelu", [x(o)], { alpha: float(o.number("negative_slope", 0.01)) }),
  elu,
  selu: (o) => o.node("Selu", [x(o)], { alpha: float(1.6732632423543772), gamma: float(1.0507009873554805) }),
  celu: (o) => o.node("Celu", [x(o)], { alpha: float(o.number("alpha", 1)) }),
  gelu,
  sigmoid: direct("Sigmoid"),
  tanh: direct("Tanh"),
  silu: (o) => o.node("Mul", [x(o), o.node("Sigmoid", [x(o)])]),
  mish: (o) => o.node("Mul", [x(o), o.node("Tanh", [o.node("Softplus", [x(o)])])]),
  softplus,
  log_sigmoid: (o) => o.node("Neg", [o.node("Softplus", [o.node("Neg", [x(o)])])]),
  hardsigmoid: (o) => o.node("HardSigmoid", [x(o)], { alpha: float(1 / 6), beta: float(0.5) }),
  hardswish: (o) => o.node("Mul", [x(o), o.node("HardSigmoid", [x(o)], { alpha: float(1 / 6), beta: float(0.5) })]),
  hardshrink,
  softshrink,
  threshold,
  prelu,
  rrelu,
  glu,
  softmax: softmax("Softmax"),
  log_softmax: softmax("LogSoftmax"),
};
export const activation: Readonly<Record<string, Lowering>> = Object.fromEntries(
  Object.entries(table).flatMap(([name, lower]) => [
    [name, lower],
    [`${name}_`, lower],
  ]),
);
