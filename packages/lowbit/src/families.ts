/** The arithmetic of each family of optimizers, written once, in float32. */
import { scope, type Tensor } from "@nbit/torch";
import { FAMILY_NUMBERS, HYPERPARAMETERS } from "./generated/families.js";
import { biasCorrection, decayed, inverseRoot, minus, over, times, type StepScalar } from "./scalars.js";

/** `Rate` of numbers; of a step that is recorded for another device, of tensors that change from step to step. */
export interface Hyper<Rate extends StepScalar = number> {
  readonly lr: Rate;
  readonly betas: readonly [number, number];
  readonly beta3: number;
  readonly alpha: number;
  readonly eps: number;
  readonly weightDecay: number;
  readonly nesterov: boolean;
  readonly trustCoefficient: number;
  readonly maxUnorm: number;
  /** This step's number, from 1. */
  readonly step: Rate;
}
export interface Family {
  readonly name: string;
  /** Whether each state is signed. */
  readonly states: readonly boolean[];
  /** The family's number in the fused kernels; null: the reference runs. */
  readonly fused: number | null;
  /** Whether its step is scaled by norms of the whole parameter and its update. */
  readonly layerwise?: true;
  /**
   * New parameter and states. `g` has no values that are not finite; results are new tensors.
   * @param p - float32, as everything.
   */
  update(
    p: Tensor,
    g: Tensor,
    states: readonly Tensor[],
    h: Hyper<StepScalar>,
  ): { readonly p: Tensor; readonly states: readonly Tensor[] };
}

function moments(g: Tensor, m: Tensor, v: Tensor, h: Hyper<StepScalar>): { m: Tensor; v: Tensor; direction: Tensor } {
  const [b1, b2] = h.betas;
  const m1 = m.mul(b1).add(g, { alpha: 1 - b1 });
  const v1 = v.mul(b2).add(g.mul(g), { alpha: 1 - b2 });
  const c1 = biasCorrection(b1, h.step);
  const c2 = biasCorrection(b2, h.step);
  return { m: m1, v: v1, direction: over(m1, c1).div(times(v1.sqrt(), inverseRoot(c2)).add(h.eps)) };
}
const [M, V] = [true, false];

/** Adam, with the decay in the gradient or beside it. Kingma and Ba, 2015; Loshchilov and Hutter, 2019. */
const adam = (decoupled: boolean): Family => ({
  name: decoupled ? "AdamW" : "Adam",
  states: [M, V],
  fused: decoupled ? FAMILY_NUMBERS.adamw : FAMILY_NUMBERS.adam,
  update(p, g, [m, v], h) {
    const grad = decoupled ? g : g.add(p, { alpha: h.weightDecay });
    const r = moments(grad, m as Tensor, v as Tensor, h);
    return { p: minus(decoupled ? decayed(p, h.lr, h.weightDecay) : p, r.direction, h.lr), states: [r.m, r.v] };
  },
});
/** b ← βb + g, b = g at first; p ← p - lr · b. */
const momentum: Family = {
  name: "SGD",
  states: [M],
  fused: FAMILY_NUMBERS.momentum,
  update(p, g, [b], h) {
    const grad = g.add(p, { alpha: h.weightDecay });
    // Where the count is a tensor, the first step finds zeros, and so does the same.
    const b1 = h.step === 1 ? grad.clone() : (b as Tensor).mul(h.betas[0]).add(grad);
    return { p: minus(p, h.nesterov ? grad.add(b1, { alpha: h.betas[0] }) : b1, h.lr), states: [b1] };
  },
};
/** The sign of an interpolation. Chen et al., 2023, arXiv:2302.06675. */
const lion: Family = {
  name: "Lion",
  states: [M],
  fused: FAMILY_NUMBERS.lion,
  update(p, g, [m], h) {
    const [b1, b2] = h.betas;
    const direction = (m as Tensor)
      .mul(b1)
      .add(g, { alpha: 1 - b1 })
      .sign();
    return {
      p: minus(decayed(p, h.lr, h.weightDecay), direction, h.lr),
      states: [(m as Tensor).mul(b2).add(g, { alpha: 1 - b2 })],
    };
  },
};
const rmsprop: Family = {
  name: "RMSprop",
  states: [V],
  fused: FAMILY_NUMBERS.rmsprop,
  update(p, g, [v], h) {
    const grad = g.add(p, { alpha: h.weightDecay });
    const v1 = (v as Tensor).mul(h.betas[0]).add(grad.mul(grad), { alpha: 1 - h.betas[0] });
    return { p: minus(p, grad.div(v1.sqrt().add(h.eps)), h.lr), states: [v1] };
  },
};
const adagrad: Family = {
  name: "Adagrad",
  states: [V],
  fused: FAMILY_NUMBERS.adagrad,
  update(p, g, [v], h) {
    const grad = g.add(p, { alpha: h.weightDecay });
    const v1 = (v as Tensor).add(grad.mul(grad));
    return { p: minus(p, grad.div(v1.sqrt().add(h.eps)), h.lr), states: [v1] };
  },
};
/** Adam whose step is scaled per tensor by |p| / |step|. You et al., 2020, arXiv:1904.00962. */
const lamb: Family = {
  name: "LAMB",
  layerwise: true,
  states: [M, V],
  fused: FAMILY_NUMBERS.lamb,
  update(p, g, [m, v], h) {
    const r = moments(g, m as Tensor, v as Tensor, h);
    const step = r.direction.add(p, { alpha: h.weightDecay });
    return { p: minus(p, step.mul(trust(p, step, 1, h.maxUnorm)), h.lr), states: [r.m, r.v] };
  },
};
/** Momentum whose gradient is scaled per tensor. You et al., 2017, arXiv:1708.03888. */
const lars: Family = {
  name: "LARS",
  layerwise: true,
  states: [M],
  fused: FAMILY_NUMBERS.lars,
  update(p, g, [b], h) {
    const grad = g.add(p, { alpha: h.weightDecay });
    const scaled = grad.mul(trust(p, grad, h.trustCoefficient, 0));
    const b1 = h.step === 1 ? scaled.clone() : (b as Tensor).mul(h.betas[0]).add(scaled);
    return { p: minus(p, h.nesterov ? scaled.add(b1, { alpha: h.betas[0] }) : b1, h.lr), states: [b1] };
  },
};
/** Adam with a second, slow average of gradients. Pagliardini et al., 2024, arXiv:2409.03137. */
const ademamix: Family = {
  name: "AdEMAMix",
  states: [M, M, V],
  fused: FAMILY_NUMBERS.ademamix,
  update(p, g, [fast, slow, v], h) {
    const r = moments(g, fast as Tensor, v as Tensor, h);
    const slow1 = (slow as Tensor).mul(h.beta3).add(g, { alpha: 1 - h.beta3 });
    const root = inverseRoot(biasCorrection(h.betas[1], h.step));
    const direction = r.direction.add(slow1.mul(h.alpha).div(times(r.v.sqrt(), root).add(h.eps)));
    return { p: minus(decayed(p, h.lr, h.weightDecay), direction, h.lr), states: [r.m, slow1, r.v] };
  },
};

function trust(p: Tensor, step: Tensor, coefficient: number, max: number): Tensor {
  const a = p.norm();
  const b = step.norm();
  const ratio = a.mul(coefficient).div(b);
  const safe = ratio.where(a.gt(0).logicalAnd(b.gt(0)), ratio.mul(0).nanToNum(0).add(1));
  return max > 0 ? safe.clamp({ max }) : safe;
}

export const FAMILIES = Object.freeze({
  adam: adam(false),
  adamw: adam(true),
  momentum,
  lion,
  rmsprop,
  adagrad,
  lamb,
  lars,
  ademamix,
});
export type FamilyName = keyof typeof FAMILIES;

/** The numbers of a native step, each at its place. LARS has no limit of its ratio. */
export function hyperparametersOf(family: Family, h: Omit<Hyper, "step">): number[] {
  const values: Readonly<Record<(typeof HYPERPARAMETERS)[number], number>> = {
    ...h,
    beta1: h.betas[0],
    beta2: h.betas[1],
    maxUnorm: family.name === "LARS" ? 0 : h.maxUnorm,
  };
  return HYPERPARAMETERS.map((name) => values[name]);
}

/** One step with elements whose gradient is not finite left as they were, in parameter and state. */
export function guardedUpdate(
  family: Family,
  p: Tensor,
  g: Tensor,
  states: readonly Tensor[],
  h: Hyper<StepScalar>,
): { readonly p: Tensor; readonly states: readonly Tensor[] } {
  return scope(() => {
    const finite = g.isfinite();
    const clean = g.nanToNum(0, 0, 0);
    const next = family.update(p, clean, states, h);
    return { p: next.p.where(finite, p), states: next.states.map((s, i) => s.where(finite, states[i] as Tensor)) };
  });
}
