/** Stochastic gradient descent. */
import { byDefault, flag, orNull, real } from "../kinds.js";
import { ArgumentError } from "../errors.js";
import type { OptionNames } from "../options.js";
import { zerosLike } from "../ops/index.js";
import { signature, type Call, type Values } from "../signature.js";
import { TensorList } from "../tensor/list.js";
import { outsideScopes } from "../tensor/scope.js";
import type { Tensor } from "../tensor/tensor.js";
import { operator } from "./operators.js";
import {
  checkGroup,
  COMPUTE_ROWS,
  FLAG,
  NON_NEGATIVE,
  PARAMS,
  paramsAndDefaults,
  ROUNDING_ROWS,
  type ComputeOptions,
} from "./common-options.js";
import { inPlace, Temporaries } from "./lists.js";
import { Optimizer } from "./optimizer.js";
import type { ParamGroup, ParamsLike, StateFields } from "./state.js";
import { is16Bit, usesFloat32Update, type RoundingOptions } from "./rounding.js";

export interface SGDOptions extends ComputeOptions, RoundingOptions {
  /** Learning rate, ≥ 0. Default 1e-3. */
  readonly lr?: number;
  /** How much of the velocity stays at each step, ≥ 0. Default 0: no velocity, no state. */
  readonly momentum?: number;
  /** How much of the gradient does not enter the velocity. Default 0. */
  readonly dampening?: number;
  /** Added to the gradient as weightDecay · p, ≥ 0. Default 0. */
  readonly weightDecay?: number;
  /** Look ahead along the velocity; needs momentum > 0 and dampening 0. Default false. */
  readonly nesterov?: boolean;
  /** One kernel for everything. Default false. */
  readonly fused?: boolean | null;
}
export interface SGDArguments extends SGDOptions {
  readonly params: ParamsLike;
}
const ROWS = {
  params: PARAMS,
  lr: byDefault(1e-3, NON_NEGATIVE),
  momentum: byDefault(0, NON_NEGATIVE),
  dampening: byDefault(0, real()),
  weightDecay: byDefault(0, NON_NEGATIVE),
  nesterov: FLAG,
  ...COMPUTE_ROWS,
  fused: byDefault(false, orNull(flag)),
  ...ROUNDING_ROWS,
} satisfies OptionNames<SGDArguments>;
const read = signature("SGD", ROWS, 6);
type SGDCall = Call<
  SGDArguments,
  ["params", "lr", "momentum", "dampening", "weightDecay", "nesterov"],
  [params: ParamsLike, lr?: number, momentum?: number, dampening?: number, weightDecay?: number, nesterov?: boolean]
>;
const VELOCITY = ["momentumBuffer"];
type Group = ParamGroup & Values<typeof ROWS>;

/**
 * g ← g + weightDecay · p; b ← momentum · b + (1 - dampening) · g; p ← p - lr · (b, or g + momentum · b with nesterov).
 *
 * Results equal PyTorch's bit for bit on CPU: lists of tensors go through the same kernels, one native call per
 * formula.
 * @throws {ArgumentError} `SGD: expected lr to be a number ≥ 0. Received: -1.`
 */
export class SGD extends Optimizer {
  constructor(...given: SGDCall) {
    super(...paramsAndDefaults(read(given, new.target.name)));
  }
  override get supportsAmpScaling(): boolean {
    return this.paramGroups.every(
      (g) => (g as Group).fused === true && !usesFloat32Update(g) && !g.params.some(fusedIsWrong),
    );
  }
  protected override validate(group: ParamGroup): void {
    const g = group as Group;
    checkGroup(this.constructor.name, group, ROWS);
    if (g.fused === true && (g.differentiable || g.foreach === true))
      throw new ArgumentError("SGD", "fused without foreach or differentiable", group);
    if (g.fused === true)
      for (const p of g.params)
        if (!p.isFloatingPoint() && !p.isComplex())
          throw new ArgumentError("SGD", "floating point parameters with fused", p);
    if (g.nesterov && (g.momentum <= 0 || g.dampening !== 0))
      throw new ArgumentError("SGD", "momentum > 0 and dampening 0 with nesterov", {
        momentum: g.momentum,
        dampening: g.dampening,
      });
  }

  protected override get algorithm(): string {
    return "SGD";
  }
  protected override stateFields(): StateFields {
    return { momentumBuffer: "like?" };
  }

  protected override stepGroup(
    group: ParamGroup,
    params: readonly Tensor[],
    packed: TensorList,
    grads: TensorList,
  ): void {
    const g = group as Group;
    if (g.fused === true && !params.some(fusedIsWrong)) return this.#fused(g, params, packed, grads);
    const t = new Temporaries(g.differentiable, g.foreach === true ? [] : params);
    try {
      this.#byFormulas(g, params, packed, grads, t);
    } finally {
      t.dispose();
    }
  }
  #byFormulas(g: Group, params: readonly Tensor[], packed: TensorList, grads: TensorList, t: Temporaries): void {
    let d = t.gradients(grads, packed, g);
    if (g.momentum !== 0) {
      const fresh = params.filter((p) => this.state.get(p)?.["momentumBuffer"] === undefined);
      if (fresh.length > 0) {
        // The first buffer is the first gradient itself, as in PyTorch.
        const list: readonly Tensor[] = d instanceof TensorList ? d.toArray() : d;
        const update: Tensor[] = [];
        params.forEach((p, i) => {
          const first = list[i] as Tensor;
          const existing = this.state.get(p)?.["momentumBuffer"];
          if (existing === undefined)
            (this.state.get(p) ?? this.stateOf(p, () => ({})))["momentumBuffer"] = outsideScopes(() =>
              first.detach().clone(),
            );
          else (existing as Tensor).mul_(g.momentum).add_(first, { alpha: 1 - g.dampening });
          update.push(this.state.get(p)?.["momentumBuffer"] as Tensor);
        });
        d = g.nesterov ? t.add(d, update, g.momentum) : update;
      } else {
        const buffers = this.#velocities(params);
        t.scale(buffers, g.momentum);
        inPlace.add(buffers, d, { alpha: 1 - g.dampening });
        d = g.nesterov ? t.add(d, buffers, g.momentum) : buffers;
      }
    }
    inPlace.add(packed, d, { alpha: -g.lr });
  }

  #velocities(params: readonly Tensor[]): TensorList {
    return this.pack(params, VELOCITY)[0] as TensorList;
  }
  /** One kernel for those that have a velocity, and one for those that begin theirs, with the gradient itself. */
  #fused(g: Group, params: readonly Tensor[], packed: TensorList, grads: TensorList): void {
    if (g.momentum === 0) return this.#fusedOver(g, packed, grads, [], false);
    const fresh: number[] = [];
    for (let i = 0; i < params.length; i++)
      if (this.state.get(params[i] as Tensor)?.["momentumBuffer"] === undefined) fresh.push(i);
    if (fresh.length === 0) return this.#fusedOver(g, packed, grads, this.#velocities(params), false);
    const begun = params.map((_, i) => i).filter((i) => !fresh.includes(i));
    const at = (which: readonly number[]): Tensor[] => which.map((i) => params[i] as Tensor);
    if (begun.length > 0)
      this.#fusedOver(g, packed.select(begun), grads.select(begun), this.#velocities(at(begun)), false);
    // A step that is skipped must not count as the first: with dampening the next one would take a part of its gradient
    // only. One wait for the device, at the first steps alone.
    if (g.dampening !== 0 && this.foundInf !== null && this.foundInf.item() !== 0) return;
    for (const p of at(fresh))
      (this.state.get(p) ?? this.stateOf(p, () => ({})))["momentumBuffer"] = outsideScopes(() =>
        zerosLike(p, { memoryFormat: "preserveFormat" }),
      );
    this.#fusedOver(g, packed.select(fresh), grads.select(fresh), this.#velocities(at(fresh)), true);
  }
  #fusedOver(
    g: Group,
    packed: TensorList,
    grads: TensorList,
    buffers: TensorList | readonly Tensor[],
    isFirstStep: boolean,
  ): void {
    fusedSgd_(packed, grads, buffers, {
      weightDecay: g.weightDecay,
      momentum: g.momentum,
      lr: this.rateOf(g),
      dampening: g.dampening,
      nesterov: g.nesterov,
      maximize: g.maximize,
      isFirstStep,
      gradScale: this.gradScale,
      foundInf: this.foundInf,
    });
  }
}

/**
 * libtorch's fused kernel for 16-bit parameters on the CPU writes other velocities from run to run, NaN among them
 * (2.13): where it would run, the plain formulas do.
 */
const fusedIsWrong = (p: Tensor): boolean => is16Bit(p.dtype) && p.device.type === "cpu";

const fusedSgd_ = operator("_fused_sgd_");
