/** Adam and AdamW: one arithmetic, two places for the weight decay. */
import { byDefault, flag, orNull } from "../kinds.js";
import { ArgumentError } from "../errors.js";
import { native } from "../native.js";
import type { OptionNames } from "../options.js";
import { zeros, zerosLike } from "../ops/index.js";
import { signature, type Call, type Values } from "../signature.js";
import type { TensorList } from "../tensor/list.js";
import type { Tensor } from "../tensor/tensor.js";
import {
  BETAS,
  CAPTURABLE_ROWS,
  checkGroup,
  COMPUTE_ROWS,
  FLAG,
  NON_NEGATIVE,
  PARAMS,
  paramsAndDefaults,
  ROUNDING_ROWS,
  type CapturableOptions,
  type ComputeOptions,
} from "./common-options.js";
import { addQuotients_, inPlace, Temporaries, type List } from "./lists.js";
import { count, countSteps, operator } from "./operators.js";
import { Optimizer } from "./optimizer.js";
import type { ParamGroup, ParameterState, ParamsLike, StateFields } from "./state.js";
import { usesFloat32Update, type RoundingOptions } from "./rounding.js";

export interface AdamOptions extends ComputeOptions, CapturableOptions, RoundingOptions {
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
  /**
   * One kernel for everything: the fastest, and the one that a loss scaler can steer without waiting for the device.
   * Default false.
   */
  readonly fused?: boolean | null;
}
export interface AdamWArguments extends AdamOptions {
  readonly params: ParamsLike;
}
export interface AdamArguments extends AdamWArguments {
  /** p ← (1 - lr · weightDecay) p first, instead of a part of the gradient: AdamW. Default false. */
  readonly decoupledWeightDecay?: boolean;
}
const ROWS = {
  params: PARAMS,
  lr: byDefault(1e-3, NON_NEGATIVE),
  betas: byDefault([0.9, 0.999] as const, BETAS),
  eps: byDefault(1e-8, NON_NEGATIVE),
  weightDecay: byDefault(0, NON_NEGATIVE),
  amsgrad: FLAG,
  ...COMPUTE_ROWS,
  ...CAPTURABLE_ROWS,
  fused: byDefault(false, orNull(flag)),
  ...ROUNDING_ROWS,
} satisfies OptionNames<AdamWArguments>;
const ADAM_ROWS = { ...ROWS, decoupledWeightDecay: FLAG } satisfies OptionNames<AdamArguments>;
const ADAMW_ROWS = { ...ROWS, weightDecay: byDefault(1e-2, NON_NEGATIVE) };
const readAdam = signature("Adam", ADAM_ROWS, 6);
const readAdamW = signature("AdamW", ADAMW_ROWS, 6);
type Order = ["params", "lr", "betas", "eps", "weightDecay", "amsgrad"];
type Positions = [
  params: ParamsLike,
  lr?: number,
  betas?: readonly [number, number],
  eps?: number,
  weightDecay?: number,
  amsgrad?: boolean,
];
type AdamCall = Call<AdamArguments, Order, Positions>;
type AdamWCall = Call<AdamWArguments, Order, Positions>;
type Group = ParamGroup & Values<typeof ADAM_ROWS>;
interface Lists {
  readonly expAvg: TensorList;
  readonly expAvgSq: TensorList;
  readonly maxExpAvgSq: TensorList | null;
  readonly steps: TensorList;
}

const MOMENTS = ["expAvg", "expAvgSq", "step"];
const WITH_LARGEST = [...MOMENTS, "maxExpAvgSq"];

abstract class AdamBase extends Optimizer {
  override get supportsAmpScaling(): boolean {
    return this.paramGroups.every((g) => (g as Group).fused === true && !usesFloat32Update(g));
  }
  override get stepsWeightCasts(): boolean {
    return this.supportsAmpScaling && this.paramGroups.every((g) => !(g as Group).amsgrad);
  }
  protected override validate(group: ParamGroup): void {
    const g = group as Group;
    const fn = this.constructor.name;
    checkGroup(fn, group, ADAM_ROWS);
    if (g.fused === true && (g.differentiable || g.foreach === true))
      throw new ArgumentError(fn, "fused without foreach or differentiable", group);
    if (g.fused === true)
      for (const p of g.params)
        if (!p.isFloatingPoint() && !p.isComplex())
          throw new ArgumentError(fn, "floating point parameters with fused", p);
  }
  protected override get algorithm(): string {
    return this.defaults["decoupledWeightDecay"] === true ? "AdamW" : "Adam";
  }
  /** How weights decay is the algorithm, which stays what it is. */
  protected override savedOptions({
    decoupledWeightDecay: _,
    ...options
  }: Readonly<Record<string, unknown>>): Readonly<Record<string, unknown>> {
    return options;
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
      step: zeros([], { dtype: "float32", device: g.fused === true || g.capturable ? p.device : "cpu" }),
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
    if (g.fused === true) {
      count(s.steps);
      if (!g.amsgrad && params[0]?.device.type === "cuda") this.#onGpu(g, packed, grads, s);
      else
        (g.decoupledWeightDecay ? fusedAdamW_ : fusedAdam_)(
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
    const t = new Temporaries(g.differentiable, g.foreach === true ? [] : params);
    try {
      this.#byFormulas(g, params, packed, grads, s, t);
    } finally {
      t.dispose();
    }
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
      g.decoupledWeightDecay,
      g.maximize,
      this.gradScale,
      this.foundInf,
    );
  }

  #byFormulas(
    g: Group,
    params: readonly Tensor[],
    packed: TensorList,
    grads: TensorList,
    s: Lists,
    t: Temporaries,
  ): void {
    const [beta1, beta2] = g.betas;
    let counts: ArrayLike<number> | null = countSteps(s.steps);
    if (!g.capturable) counts ??= params.map((p) => (this.state.get(p)?.["step"] as Tensor).item());
    const decay = g.decoupledWeightDecay ? 0 : g.weightDecay;
    if (g.decoupledWeightDecay && g.weightDecay !== 0) t.scale(packed, 1 - g.lr * g.weightDecay);
    const grad = t.gradients(grads, packed, { maximize: g.maximize, weightDecay: decay });
    inPlace.lerp(s.expAvg, grad, 1 - beta1);
    t.scale(s.expAvgSq, beta2);
    inPlace.addcmul(s.expAvgSq, grad, grad, 1 - beta2);
    if (s.maxExpAvgSq !== null) inPlace.maximum(s.maxExpAvgSq, s.expAvgSq);
    const root = t.sqrt(s.maxExpAvgSq ?? s.expAvgSq);
    if (counts === null) return this.#onDevice(g, packed, root, s, t);
    const size: number[] = [];
    const corrections: number[] = [];
    // The C library's pow, which Python uses: JavaScript's may differ in the last bit.
    for (let i = 0; i < counts.length; i++) {
      const n = counts[i] as number;
      const same = i > 0 && n === counts[i - 1];
      size.push(same ? (size[i - 1] as number) : -(g.lr / (1 - native.pow(beta1, n))));
      corrections.push(same ? (corrections[i - 1] as number) : native.pow(1 - native.pow(beta2, n), 0.5));
    }
    addQuotients_(packed, s.expAvg, t.add(t.div(root, corrections), g.eps), size);
  }
  /** By counts that stay where the parameters are. */
  #onDevice(g: Group, packed: TensorList, root: List, s: Lists, t: Temporaries): void {
    const [beta1, beta2] = g.betas;
    const size = t.reciprocal(t.div(t.sub(t.power(beta1, s.steps), 1), g.lr));
    const correction = t.sqrt(t.neg(t.sub(t.power(beta2, s.steps), 1)));
    const denominator = t.div(t.add(t.div(root, correction), g.eps), size);
    inPlace.addcdiv(packed, s.expAvg, denominator);
  }
}

/**
 * Adam. Kingma and Ba, 2015. m ← β₁m + (1-β₁)g; v ← β₂v + (1-β₂)g²; p ← p - lr · m̂ / (√v̂ + eps), weight decay added
 * to the gradient, or with `decoupledWeightDecay` as in {@link AdamW}.
 *
 * State: `step`, `expAvg`, `expAvgSq` (and `maxExpAvgSq` with amsgrad), in the parameter's dtype. Equal to PyTorch's
 * bit for bit on CPU, fused and not.
 *
 * `rounding` keeps what bfloat16 and float16 parameters would round away: with "kahan", choose betas[1] ≤ 0.99, since
 * the moments themselves round to nearest.
 */
export class Adam extends AdamBase {
  constructor(...given: AdamCall) {
    super(...paramsAndDefaults(readAdam(given, new.target.name)));
  }
}
/** Adam with decoupled weight decay: p ← (1 - lr · weightDecay) p first. Loshchilov and Hutter, 2019. */
export class AdamW extends AdamBase {
  constructor(...given: AdamWCall) {
    const [params, defaults] = paramsAndDefaults(readAdamW(given, new.target.name));
    super(params, { ...defaults, decoupledWeightDecay: true });
  }
}

const foreachSub_ = operator("_foreach_sub_");
const fusedAdam_ = operator("_fused_adam_");
const fusedAdamW_ = operator("_fused_adamw_");
const nbitAdam_ = operator("fused_adam_", "nbit");
