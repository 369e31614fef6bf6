/** Activations and their gradients. */
import { addLowerings } from "../lower/registry.js";
import type { Emitter } from "../stablehlo/emitter.js";
import { accumulator, type Operand, type Ssa } from "../stablehlo/types.js";
import { asValue, finish, pointwise, reader, type Kernel, type KernelTable, type Reader } from "./kernel.js";

const logistic = (e: Emitter, x: Ssa): Ssa => e.unary("logistic", x);
/** log(1 + eˣ) without overflow. */
const softplus = (e: Emitter, x: Ssa): Ssa =>
  e.add(e.max(x, 0), e.unary("log_plus_one", e.unary("exponential", e.unary("negate", e.unary("abs", x)))));

/** A kernel over one tensor. */
const of =
  (f: (e: Emitter, x: Ssa, r: Reader) => Operand, name = "self"): Kernel =>
  (e, r, element) =>
    f(e, asValue(e, r.x(name), element), r);
/** The gradient of one, given what came in or out of it. */
const gradient =
  (f: (e: Emitter, g: Operand, x: Ssa, r: Reader) => Operand, of = "self"): Kernel =>
  (e, r, element) =>
    f(e, r.x("grad_output"), asValue(e, r.x(of), element), r);

const ROOT = Math.sqrt(2 / Math.PI);
const CUBE = 0.044715;
const phi = (e: Emitter, x: Ssa): Ssa => e.mul(e.add(e.special("erf", e.mul(x, Math.SQRT1_2)), 1), 0.5);
const inner = (e: Emitter, x: Ssa): Ssa => e.unary("tanh", e.mul(e.add(x, e.mul(e.mul(e.mul(x, x), x), CUBE)), ROOT));

const gelu = of((e, x, r) =>
  r.text("approximate") === "tanh" ? e.mul(e.mul(x, 0.5), e.add(inner(e, x), 1)) : e.mul(x, phi(e, x)),
);
const geluBackward = gradient((e, g, x, r) => {
  if (r.text("approximate") !== "tanh") {
    const density = e.mul(e.unary("exponential", e.mul(e.mul(x, x), -0.5)), 1 / Math.sqrt(2 * Math.PI));
    return e.mul(g, e.add(phi(e, x), e.mul(x, density)));
  }
  const t = inner(e, x);
  const slope = e.mul(e.add(e.mul(e.mul(x, x), 3 * CUBE), 1), ROOT);
  const right = e.mul(e.mul(e.mul(x, 0.5), e.sub(1, e.mul(t, t))), slope);
  return e.mul(g, e.add(e.mul(e.add(t, 1), 0.5), right));
});
const siluBackward = gradient((e, g, x) => {
  const s = logistic(e, x);
  return e.mul(g, e.mul(s, e.add(e.mul(x, e.sub(1, s)), 1)));
});
const mishBackward = gradient((e, g, x) => {
  const [s, t] = [logistic(e, x), e.unary("tanh", softplus(e, x))];
  return e.mul(g, e.add(t, e.mul(e.mul(x, s), e.sub(1, e.mul(t, t)))));
});
const elu = of((e, x, r) => {
  const [alpha, scale, within] = [r.number("alpha"), r.number("scale"), r.number("input_scale")];
  const below = e.mul(e.unary("exponential_minus_one", e.mul(x, within)), alpha * scale);
  return e.select(e.compare("GT", x, 0), e.mul(x, scale), below);
});
const eluBackward = gradient((e, g, x, r) => {
  const [alpha, scale, within] = [r.number("alpha"), r.number("scale"), r.number("input_scale")];
  const below = r.flag("is_result")
    ? e.mul(e.add(x, alpha * scale), within)
    : e.mul(e.unary("exponential", e.mul(x, within)), alpha * scale * within);
  return e.mul(g, e.select(e.compare("LE", x, 0), below, scale));
}, "self_or_result");
const softplusOf = of((e, x, r) => {
  const [beta, threshold] = [r.number("beta"), r.number("threshold")];
  const scaled = e.mul(x, beta);
  return e.select(e.compare("GT", scaled, threshold), x, e.div(softplus(e, scaled), beta));
});
const softplusBackward = gradient((e, g, x, r) => {
  const scaled = e.mul(x, r.number("beta"));
  return e.select(e.compare("GT", scaled, r.number("threshold")), g, e.mul(g, logistic(e, scaled)));
});
/** min(max(x / 6 + ½, 0), 1). */
const hardSigmoid = (e: Emitter, x: Ssa): Ssa => e.min(e.max(e.add(e.mul(x, 1 / 6), 0.5), 0), 1);
const between = (e: Emitter, x: Ssa, low: number, high: number): Ssa =>
  e.binary("and", e.compare("GT", x, low), e.compare("LT", x, high));
const hardswishBackward = gradient((e, g, x) => {
  const middle = e.mul(g, e.add(e.mul(x, 1 / 3), 0.5));
  const above = e.select(e.compare("LT", x, 3), middle, g);
  return e.select(e.compare("LE", x, -3), 0, above);
});
const leaky = of((e, x, r) => e.select(e.compare("GT", x, 0), x, e.mul(x, r.x("negative_slope"))));

/** By name; `_foreach_` operators use them too. */
export const ACTIVATIONS: KernelTable = {
  relu: of((e, x) => e.max(x, 0)),
  sigmoid: of(logistic),
  silu: of((e, x) => e.mul(x, logistic(e, x))),
  mish: of((e, x) => e.mul(x, e.unary("tanh", softplus(e, x)))),
  gelu,
  elu,
  softplus: softplusOf,
  leaky_relu: leaky,
  hardtanh: of((e, x, r) => e.min(e.max(x, r.x("min_val")), r.x("max_val"))),
  hardsigmoid: of(hardSigmoid),
  hardswish: of((e, x) => e.mul(x, hardSigmoid(e, x))),
  threshold: of((e, x, r) => e.select(e.compare("LE", x, r.x("threshold")), r.x("value"), x)),
  threshold_backward: gradient((e, g, x, r) => e.select(e.compare("LE", x, r.x("threshold")), 0, g)),
  tanh_backward: gradient((e, g, y) => e.mul(g, e.sub(1, e.mul(y, y))), "output"),
  sigmoid_backward: gradient((e, g, y) => e.mul(g, e.mul(e.sub(1, y), y)), "output"),
  silu_backward: siluBackward,
  mish_backward: mishBackward,
  gelu_backward: geluBackward,
  elu_backward: eluBackward,
  softplus_backward: softplusBackward,
  leaky_relu_backward: gradient((e, g, x, r) => {
    r.flag("self_is_result");
    return e.select(e.compare("GT", x, 0), g, e.mul(g, r.x("negative_slope")));
  }),
  hardtanh_backward: gradient((e, g, x, r) => e.select(between(e, x, r.number("min_val"), r.number("max_val")), g, 0)),
  hardsigmoid_backward: gradient((e, g, x) => e.select(between(e, x, -3, 3), e.mul(g, 1 / 6), 0)),
  hardswish_backward: hardswishBackward,
  _prelu_kernel: of((e, x, r) => e.select(e.compare("GT", x, 0), x, e.mul(x, r.x("weight")))),
  log_sigmoid_backward: gradient((e, g, x) => e.mul(g, logistic(e, e.unary("negate", x)))),
};

addLowerings(
  Object.fromEntries(
    Object.entries(ACTIVATIONS)
      .filter(([name]) => name !== "log_sigmoid_backward")
      .map(([name, kernel]) => [`aten::${name}`, pointwise(kernel)]),
  ),
);
addLowerings({
  "aten::log_sigmoid_forward": (e, o) => {
    const out = o.out(0);
    const x = asValue(e, o.tensor("self"), accumulator(out.element));
    // The second result is the kernel's own memory, which its gradient here does without.
    const buffer = o.out(1);
    return [
      finish(e, e.unary("negate", softplus(e, e.unary("negate", x))), out),
      () => e.full(0, buffer.element, buffer.shape),
    ];
  },
  "aten::log_sigmoid_backward": (e, o) => {
    o.implied("buffer");
    return pointwise(ACTIVATIONS["log_sigmoid_backward"])(e, o);
  },
  "aten::_prelu_kernel_backward": (e, o) => {
    const [grad, weight] = [o.out(0), o.out(1)];
    const r = reader(e, o, accumulator(grad.element));
    const [g, x, w] = [r.x("grad_output"), r.x("self"), r.x("weight")];
    const positive = e.compare("GT", x, 0);
    return [finish(e, e.select(positive, g, e.mul(g, w)), grad), finish(e, e.select(positive, 0, e.mul(g, x)), weight)];
  },
});
