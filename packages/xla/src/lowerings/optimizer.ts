/** Fused optimizers of libtorch. They return nothing and write lists, in the schema's order. */
import type { Lowering, Operation } from "../lower/operation.js";
import { addLowerings } from "../lower/registry.js";
import type { Emitter } from "../stablehlo/emitter.js";
import { accumulator, type Operand, type Ssa } from "../stablehlo/types.js";
import { asValue } from "./kernel.js";

/** 1 - βⁿ. In float32 the difference would be 3e-5 off for β = 0.999 at first: libtorch computes it in double. */
function correction(e: Emitter, beta: number, step: Ssa): Ssa {
  if (beta === 0) return e.full(1, step.element);
  return e.unary("negate", e.unary("exponential_minus_one", e.mul(step, Math.log(beta))));
}

/** What all of them do with a gradient first, and with everything where a gradient was not finite. */
class Common {
  readonly #scale: Ssa | null;
  readonly #foundInf: Ssa | null;
  readonly #maximize: boolean;
  readonly decay: number;
  readonly #rate: Operand;
  constructor(
    readonly e: Emitter,
    readonly o: Operation,
  ) {
    this.#scale = o.has("grad_scale") ? o.optional("grad_scale") : null;
    this.#foundInf = o.has("found_inf") ? o.optional("found_inf") : null;
    this.#maximize = o.flag("maximize");
    this.decay = o.number("weight_decay");
    this.#rate = o.operand("lr");
  }
  /** As a value, in a parameter's arithmetic. */
  rate(element: Ssa["element"]): Ssa {
    return this.e.reshape(asValue(this.e, this.#rate, element), []);
  }
  /** Without the loss scale; it is what the kernel leaves in the gradient. */
  unscaled(gradient: Ssa): Ssa {
    const { e } = this;
    const g = e.convert(gradient, accumulator(gradient.element));
    return this.#scale === null ? g : e.div(g, e.reshape(e.convert(this.#scale, g.element), []));
  }
  direction(unscaled: Ssa): Ssa {
    return this.#maximize ? this.e.unary("negate", unscaled) : unscaled;
  }
  /** The new value in the old one's type; the old one where the step is skipped. */
  take(before: Ssa, after: Ssa): Ssa {
    const { e } = this;
    const made = e.convert(e.expand(after, before.shape), before.element);
    if (this.#foundInf === null) return made;
    const found = e.compare("NE", e.reshape(e.convert(this.#foundInf, "f32"), []), 0);
    return e.select(e.expand(found, before.shape), before, made);
  }
}
const up = (e: Emitter, v: Ssa): Ssa => e.convert(v, accumulator(v.element));

const adam =
  (decoupled: boolean): Lowering =>
  (e, o) => {
    const c = new Common(e, o);
    const [params, grads] = [o.tensors("self"), o.tensors("grads")];
    const [averages, squares] = [o.tensors("exp_avgs"), o.tensors("exp_avg_sqs")];
    const [largest, steps] = [o.tensors("max_exp_avg_sqs"), o.tensors("state_steps")];
    const [beta1, beta2, eps, amsgrad] = [o.number("beta1"), o.number("beta2"), o.number("eps"), o.flag("amsgrad")];
    const out: Record<"p" | "g" | "m" | "v" | "w", Ssa[]> = { p: [], g: [], m: [], v: [], w: [] };
    params.forEach((param, i) => {
      const unscaled = c.unscaled(grads[i]);
      let [p, g] = [up(e, param), c.direction(unscaled)];
      const element = p.element;
      g = e.convert(g, element);
      const [rate, step] = [c.rate(element), e.reshape(e.convert(steps[i], element), [])];
      if (c.decay !== 0)
        if (decoupled) p = e.mul(p, e.sub(1, e.mul(rate, c.decay)));
        else g = e.add(g, e.mul(p, c.decay));
      const before = up(e, averages[i]);
      const m = e.add(before, e.mul(e.sub(g, before), 1 - beta1));
      const v = e.add(e.mul(up(e, squares[i]), beta2), e.mul(e.mul(g, g), 1 - beta2));
      const w = amsgrad ? e.max(up(e, largest[i]), v) : v;
      const root = e.unary("sqrt", correction(e, beta2, step));
      const size = e.div(rate, correction(e, beta1, step));
      const step_ = e.div(e.mul(m, size), e.add(e.div(e.unary("sqrt", w), root), eps));
      out.p.push(c.take(param, e.sub(p, step_)));
      out.g.push(c.take(grads[i], unscaled));
      out.m.push(c.take(averages[i], m));
      out.v.push(c.take(squares[i], v));
      if (amsgrad) out.w.push(c.take(largest[i], w));
    });
    return [...out.p, ...out.g, ...out.m, ...out.v, ...out.w];
  };

const sgd: Lowering = (e, o) => {
  const c = new Common(e, o);
  const [params, grads, buffers] = [o.tensors("self"), o.tensors("grads"), o.tensors("momentum_buffer_list")];
  const [momentum, dampening] = [o.number("momentum"), o.number("dampening")];
  const [nesterov, first] = [o.flag("nesterov"), o.flag("is_first_step")];
  const out: Record<"p" | "g" | "b", Ssa[]> = { p: [], g: [], b: [] };
  params.forEach((param, i) => {
    const unscaled = c.unscaled(grads[i]);
    const p = up(e, param);
    let g = e.convert(c.direction(unscaled), p.element);
    if (c.decay !== 0) g = e.add(g, e.mul(p, c.decay));
    if (momentum !== 0) {
      const b = first ? g : e.add(e.mul(up(e, buffers[i]), momentum), e.mul(g, 1 - dampening));
      out.b.push(c.take(buffers[i], b));
      g = nesterov ? e.add(g, e.mul(b, momentum)) : b;
    }
    out.p.push(c.take(param, e.sub(p, e.mul(g, c.rate(p.element)))));
    out.g.push(c.take(grads[i], unscaled));
  });
  return [...out.p, ...out.g, ...out.b];
};

const adagrad: Lowering = (e, o) => {
  const c = new Common(e, o);
  const [params, grads] = [o.tensors("self"), o.tensors("grads")];
  const [sums, steps] = [o.tensors("state_sums"), o.tensors("state_steps")];
  const [slower, eps] = [o.number("lr_decay"), o.number("eps")];
  const out: Record<"p" | "g" | "s", Ssa[]> = { p: [], g: [], s: [] };
  params.forEach((param, i) => {
    const unscaled = c.unscaled(grads[i]);
    const p = up(e, param);
    let g = e.convert(c.direction(unscaled), p.element);
    if (c.decay !== 0) g = e.add(g, e.mul(p, c.decay));
    const step = e.reshape(e.convert(steps[i], p.element), []);
    const rate = e.div(c.rate(p.element), e.add(e.mul(e.sub(step, 1), slower), 1));
    const s = e.add(up(e, sums[i]), e.mul(g, g));
    out.s.push(c.take(sums[i], s));
    out.p.push(c.take(param, e.sub(p, e.div(e.mul(g, rate), e.add(e.unary("sqrt", s), eps)))));
    out.g.push(c.take(grads[i], unscaled));
  });
  return [...out.p, ...out.g, ...out.s, ...steps];
};

addLowerings({
  "aten::_fused_adam_": adam(false),
  "aten::_fused_adam_.tensor_lr": adam(false),
  "aten::_fused_adamw_": adam(true),
  "aten::_fused_adamw_.tensor_lr": adam(true),
  "aten::_fused_sgd_": sgd,
  "aten::_fused_sgd_.tensor_lr": sgd,
  "aten::_fused_adagrad_": adagrad,
  "aten::_fused_adagrad_.tensor_lr": adagrad,
});
