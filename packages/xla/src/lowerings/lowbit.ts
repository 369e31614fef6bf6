/**
 * The kernel of the optimizers of `@nbit/lowbit`, of those whose state is float32 and whose step does not depend on its
 * number. Once their rates are kept in tensors (`keepRatesOn`) they step by plain operators, in every format.
 */
import type { Lowering, Operation } from "../lower/operation.js";
import { addLowerings } from "../lower/registry.js";
import type { Emitter } from "../stablehlo/emitter.js";
import { accumulator, type Ssa } from "../stablehlo/types.js";

interface Numbers {
  readonly lr: number;
  readonly beta1: number;
  readonly beta2: number;
  readonly eps: number;
  readonly decay: number;
  readonly nesterov: boolean;
  /** The first step begins a velocity. */
  readonly first: boolean;
}
type Family = (e: Emitter, p: Ssa, g: Ssa, state: Ssa, n: Numbers) => { p: Ssa; state: Ssa };

const decayed = (e: Emitter, p: Ssa, g: Ssa, n: Numbers): Ssa => (n.decay === 0 ? g : e.add(g, e.mul(p, n.decay)));
const momentum: Family = (e, p, g, b, n) => {
  const grad = decayed(e, p, g, n);
  const state = n.first ? grad : e.add(e.mul(b, n.beta1), grad);
  const step = n.nesterov ? e.add(grad, e.mul(state, n.beta1)) : state;
  return { p: e.sub(p, e.mul(step, n.lr)), state };
};
const lion: Family = (e, p, g, m, n) => {
  const direction = e.unary("sign", e.add(e.mul(m, n.beta1), e.mul(g, 1 - n.beta1)));
  return {
    p: e.sub(e.mul(p, 1 - n.lr * n.decay), e.mul(direction, n.lr)),
    state: e.add(e.mul(m, n.beta2), e.mul(g, 1 - n.beta2)),
  };
};
const bySquares =
  (keep: (n: Numbers) => readonly [number, number]): Family =>
  (e, p, g, v, n) => {
    const grad = decayed(e, p, g, n);
    const [old, fresh] = keep(n);
    const state = e.add(e.mul(v, old), e.mul(e.mul(grad, grad), fresh));
    return { p: e.sub(p, e.mul(e.div(grad, e.add(e.unary("sqrt", state), n.eps)), n.lr)), state };
  };
/** By the place in the list of families. */
const FAMILIES: readonly Family[] = [
  momentum,
  lion,
  bySquares(({ beta1 }) => [beta1, 1 - beta1]),
  bySquares(() => [1, 1]),
];

const CALL = 'Call optimizer.keepRatesOn("cpu") before its first step';

const step: Lowering = (e: Emitter, o: Operation) => {
  o.implied("block_size", "keep_positive");
  const family = FAMILIES[o.number("family")];
  if (family === undefined)
    return o.refuse(
      "family",
      `0 to 3 (SGD, Lion, RMSprop, Adagrad): the others count steps with a constant of the recording. ${CALL}`,
    );
  const states = o.tensors("states");
  o.need(
    o.tensors("maps").length === 0 && o.tensors("absmax").length === 0,
    "maps",
    `none, so state in float32. ${CALL}`,
  );
  const [lr, beta1, beta2, , , eps, decay] = o.numbers("hyperparameters");
  const n = { lr, beta1, beta2, eps, decay, nesterov: o.flag("nesterov"), first: o.number("step") === 1 };
  const p = o.tensor("p");
  const element = accumulator(p.element);
  const made = family(e, e.convert(p, element), e.convert(o.tensor("g"), element), states[0], n);
  return [e.convert(made.p, p.element), made.state];
};

addLowerings({ "nbit::low_bit_step_": step });
