/** Adam and AdamW: one arithmetic, two places for the weight decay. */
import { flag } from "../kinds.js";
import { ArgumentError } from "../errors.js";
import { native } from "../native.js";
import { atMost, checkOptions, type OptionNames } from "../options.js";
import { zeros, zerosLike } from "../ops/index.js";
import type { TensorList } from "../tensor/list.js";
import type { Tensor } from "../tensor/tensor.js";
import { count, countSteps, factorOver, operator } from "./operators.js";
import { check, nonNegative } from "./checks.js";
import { Optimizer } from "./optimizer.js";
import type { ParamGroup, ParameterState, ParamsLike, StateFields } from "./state.js";
import { ROUNDING_NAMES, usesFloat32Update, type RoundingOptions } from "./rounding.js";

export interface AdamOptions extends RoundingOptions {
  /** Learning rate, ≥ 0. Default 1e-3. */
  readonly lr?: number;
  /** How much of the running means of g and g² stays at each step, in [0, 1). Default [0.9, 0.999]. */
  readonly betas?: readonly [number, number];
  /** Added to √v. Default 1e-8, which is 0 in float16. */
  readonly eps?: number;
  /** Adam: added to the gradient as weightDecay · p, default 0. AdamW: p ← (1 - lr · weightDecay) p, default 0.01. */
  readonly weightDecay?: number;
  /** Divide by the largest v so far. Default false. */
  readonly amsgrad?: boolean;
  /** Maximize the objective: step along the gradient. Default false. */
  readonly maximize?: boolean;
  /**
   * One kernel for everything: the fastest, and the one that a loss scaler can steer without waiting for the device.
   * Default false.
   */
  readonly fused?: boolean;
}
const NAMES: OptionNames<AdamOptions> = {
  lr: true,
  betas: true,
  eps: true,
  weightDecay: true,
  amsgrad: flag,
  maximize: flag,
  fused: flag,
  ...ROUNDING_NAMES,
};
interface Group extends ParamGroup {
  betas: readonly [number, number];
  eps: number;
  weightDecay: number;
  amsgrad: boolean;
  maximize: boolean;
  fused: boolean;
}
interface Lists {
  readonly expAvg: TensorList;
  readonly expAvgSq: TensorList;
  readonly maxExpAvgSq: TensorList | null;
  readonly steps: TensorList;
}

const MOMENTS = ["expAvg", "expAvgSq", "step"];
const WITH_LARGEST = [...MOMENTS, "maxExpAvgSq"];

abstract class AdamBase extends Optimizer {
  readonly #decoupled: boolean;

  constructor(params: ParamsLike, options: AdamOptions, weightDecay: number, decoupled: boolean) {
    checkOptions(new.target.name, options, NAMES);
    super(params, {
      lr: 1e-3,
      betas: [0.9, 0.999],
      eps: 1e-8,
      weightDecay,
      amsgrad: false,
      maximize: false,
      fused: false,
      ...options,
    });
    this.#decoupled = decoupled;
  }
  override get supportsAmpScaling(): boolean {
    return this.paramGroups.every((g) => (g as Group).fused && !usesFloat32Update(g));
  }
  override get stepsWeightCasts(): boolean {
    return this.supportsAmpScaling && this.paramGroups.every((g) => !(g as Group).amsgrad);
  }
  protected override validate(group: ParamGroup): void {
    const g = group as Group;
    const fn = this.constructor.name;
    check(fn, "lr", g.lr, nonNegative, "≥ 0");
    check(fn, "eps", g.eps, nonNegative, "≥ 0");
    check(fn, "weightDecay", g.weightDecay, nonNegative, "≥ 0");
    if (!Array.isArray(g.betas) || g.betas.length !== 2)
      throw new ArgumentError(fn, "betas to be two numbers", g.betas);
    g.betas.forEach((b, i) => check(fn, `betas[${i}]`, b, (v) => v >= 0 && v < 1, "in [0, 1)"));
    if (g.fused)
      for (const p of g.params)
        if (!p.isFloatingPoint() && !p.isComplex())
          throw new ArgumentError(fn, "floating point parameters with fused", p);
  }
  protected override get algorithm(): string {
    return this.#decoupled ? "AdamW" : "Adam";
  }
  protected override stateFields(group: ParamGroup): StateFields {
    return {
      step: "step",
      expAvg: "like",
      expAvgSq: "squares",
      maxExpAvgSq: group["amsgrad"] === true ? "squares" : "squares?",
    };
  }

  #fresh(p: Tensor, g: Group): ParameterState {
    return {
      step: zeros([], { dtype: "float32", device: g.fused ? p.device : "cpu" }),
      expAvg: zerosLike(p, { memoryFormat: "preserveFormat" }),
      expAvgSq: zerosLike(p, { memoryFormat: "preserveFormat" }),
      ...(g.amsgrad ? { maxExpAvgSq: zerosLike(p, { memoryFormat: "preserveFormat" }) } : {}),
    };
  }

  protected override stepGroup(
    group: ParamGroup,
    params: readonly Tensor[],
    packed: TensorList,
    grads: TensorList,
  ): void {
    const g = group as Group;
    const lists = this.pack(params, g.amsgrad ? WITH_LARGEST : MOMENTS, (p) => this.#fresh(p, g));
    const s: Lists = {
      expAvg: lists[0] as TensorList,
      expAvgSq: lists[1] as TensorList,
      steps: lists[2] as TensorList,
      maxExpAvgSq: lists[3] ?? null,
    };
    // The step counters are tensors because fused kernels and checkpoints want them so.
    if (g.fused) {
      count(s.steps);
      if (!g.amsgrad && params[0]?.device.type === "cuda") this.#onGpu(g, packed, grads, s);
      else
        (this.#decoupled ? fusedAdamW_ : fusedAdam_)(
          packed,
          grads,
          s.expAvg,
          s.expAvgSq,
          s.maxExpAvgSq ?? [],
          s.steps,
          {
            lr: this.rateOf(g),
            beta1: g.betas[0],
            beta2: g.betas[1],
            weightDecay: g.weightDecay,
            eps: g.eps,
            amsgrad: g.amsgrad,
            maximize: g.maximize,
            gradScale: this.gradScale,
            foundInf: this.foundInf,
          },
        );
      // A skipped step does not count.
      if (this.foundInf !== null) foreachSub_(s.steps, new Array<Tensor>(params.length).fill(this.foundInf));
      return;
    }
    this.#foreach(
      g,
      params,
      packed,
      grads,
      s,
      countSteps(s.steps) ?? params.map((p) => (this.state.get(p)?.["step"] as Tensor).item()),
    );
  }

  /** By libtorch's arithmetic, in a kernel that also writes the casts of weights that are kept (`amp.WeightCasts`). */
  #onGpu(g: Group, packed: TensorList, grads: TensorList, s: Lists): void {
    const rate = this.rateOf(g);
    const byNumber = typeof rate === "number";
    nbitAdam_(
      packed,
      grads,
      s.expAvg,
      s.expAvgSq,
      s.steps,
      byNumber ? null : rate,
      byNumber ? rate : g.lr,
      g.betas[0],
      g.betas[1],
      g.weightDecay,
      g.eps,
      this.#decoupled,
      g.maximize,
      this.gradScale,
      this.foundInf,
    );
  }

  #foreach(
    g: Group,
    params: readonly Tensor[],
    packed: TensorList,
    gradients: TensorList,
    s: Lists,
    counts: ArrayLike<number>,
  ): void {
    const [beta1, beta2] = g.betas;
    let grads: TensorList | readonly Tensor[] = gradients;
    const temporaries: Tensor[] = [];
    if (g.maximize) temporaries.push(...(grads = foreachNeg(grads)));
    if (g.weightDecay !== 0) {
      if (this.#decoupled) foreachMul_(packed, factorOver(params, 1 - g.lr * g.weightDecay));
      else temporaries.push(...(grads = foreachAdd(grads, packed, { alpha: g.weightDecay })));
    }
    foreachLerp_(s.expAvg, grads, 1 - beta1);
    foreachMul_(s.expAvgSq, factorOver(params, beta2));
    foreachAddcmul_(s.expAvgSq, grads, grads, 1 - beta2);
    if (s.maxExpAvgSq !== null) foreachMaximum_(s.maxExpAvgSq, s.expAvgSq);
    const denominators = foreachSqrt(s.maxExpAvgSq ?? s.expAvgSq);
    const size: number[] = [];
    const root: number[] = [];
    // The C library's pow, which Python uses: JavaScript's may differ in the last bit.
    for (let i = 0; i < counts.length; i++) {
      const n = counts[i] as number;
      const same = i > 0 && n === counts[i - 1];
      size.push(same ? (size[i - 1] as number) : -(g.lr / (1 - native.pow(beta1, n))));
      root.push(same ? (root[i - 1] as number) : native.pow(1 - native.pow(beta2, n), 0.5));
    }
    foreachDiv_(denominators, root);
    foreachAddScalar_(denominators, g.eps);
    foreachAddcdiv_(packed, s.expAvg, denominators, size);
    for (const t of denominators) t.dispose();
    for (const t of temporaries) t.dispose();
  }
}

/**
 * Adam. Kingma and Ba, 2015. m ← β₁m + (1-β₁)g; v ← β₂v + (1-β₂)g²; p ← p - lr · m̂ / (√v̂ + eps), weight decay added
 * to the gradient.
 *
 * State: `step`, `expAvg`, `expAvgSq` (and `maxExpAvgSq` with amsgrad), in the parameter's dtype. Equal to PyTorch's
 * bit for bit on CPU, fused and not.
 *
 * `rounding` keeps what bfloat16 and float16 parameters would round away: with "kahan", choose betas[1] ≤ 0.99, since
 * the moments themselves round to nearest.
 */
export class Adam extends AdamBase {
  constructor(params: ParamsLike, options: AdamOptions = {}) {
    atMost("Adam", arguments, 2);
    super(params, options, 0, false);
  }
}

/** Adam with decoupled weight decay: p ← (1 - lr · weightDecay) p first. Loshchilov and Hutter, 2019. */
export class AdamW extends AdamBase {
  constructor(params: ParamsLike, options: AdamOptions = {}) {
    atMost("AdamW", arguments, 2);
    super(params, options, 1e-2, true);
  }
}

const foreachNeg = operator("_foreach_neg");
const foreachAdd = operator("_foreach_add");
const foreachAddScalar_ = operator("_foreach_add_");
const foreachSub_ = operator("_foreach_sub_");
const foreachMul_ = operator("_foreach_mul_");
const foreachDiv_ = operator("_foreach_div_");
const foreachLerp_ = operator("_foreach_lerp_");
const foreachAddcmul_ = operator("_foreach_addcmul_");
const foreachAddcdiv_ = operator("_foreach_addcdiv_");
const foreachSqrt = operator("_foreach_sqrt");
const foreachMaximum_ = operator("_foreach_maximum_");
const fusedAdam_ = operator("_fused_adam_");
const fusedAdamW_ = operator("_fused_adamw_");
const nbitAdam_ = operator("fused_adam_", "nbit");
