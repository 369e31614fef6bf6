/** The base of optimizers whose step is formulas over lists, and whose options are a table. */
import { NbitError } from "../errors.js";
import type { Kind } from "../kinds.js";
import { atMost, checkArguments } from "../options.js";
import { dtypeKind, tensorKind } from "../tensor/kinds.js";
import { getDefaultDtype } from "../tensor/default-dtype.js";
import { itemSize, type DType } from "../tensor/dtype.js";
import { full, zerosLike } from "../ops/index.js";
import type { TensorList } from "../tensor/list.js";
import type { Tensor } from "../tensor/tensor.js";
import { checkGroup } from "./common-options.js";
import { Temporaries, type List } from "./lists.js";
import { Optimizer } from "./optimizer.js";
import { count, countSteps } from "./operators.js";
import { is16Bit, usesFloat32Update } from "./rounding.js";
import type { ParamGroup, ParameterState, StateValue } from "./state.js";

/** @internal The dtype of counters: PyTorch's default one, but never of 16 bits. */
export function counterDType(): DType {
  return getDefaultDtype() === "float64" ? "float64" : "float32";
}

/** What a step of one group is made with. */
export interface ListStep<G extends ParamGroup> {
  readonly group: G;
  /** Parameters that have a gradient, and the same packed; gradients in the same order. */
  readonly params: readonly Tensor[];
  readonly packed: TensorList;
  readonly grads: TensorList;
  readonly t: Temporaries;
  /** Whether to compute as PyTorch does over lists, where that differs in the last bits. */
  readonly overLists: boolean;
}

/** Options are checked by their table; state is made at the first gradient, and lives in the parameter's dtype. */
export abstract class ListOptimizer<G extends ParamGroup> extends Optimizer {
  /** Kinds of the options of a group. On the prototype: groups are checked while the base is made. */
  protected abstract get rows(): Readonly<Record<string, Kind<never>>>;
  protected abstract override get algorithm(): string;
  protected abstract stepLists(step: ListStep<G>): void;

  protected override validate(group: ParamGroup): void {
    checkGroup(this.constructor.name, group, this.rows);
  }
  protected override stepGroup(
    group: ParamGroup,
    params: readonly Tensor[],
    packed: TensorList,
    grads: TensorList,
  ): void {
    const { differentiable, foreach } = group;
    const overLists =
      typeof foreach === "boolean" ? foreach : differentiable !== true && params[0]?.device.type === "cuda";
    const t = new Temporaries(differentiable === true, overLists ? NONE : params);
    try {
      this.stepLists({ group: group as G, params, packed, grads, t, overLists });
    } finally {
      t.dispose();
    }
  }

  /** State that is zero like its parameter. */
  protected zeros(p: Tensor): Tensor {
    return zerosLike(p, { memoryFormat: "preserveFormat" });
  }
  /** State by name, packed; made by `make` where a parameter has none. */
  protected lists(
    params: readonly Tensor[],
    names: readonly string[],
    make: (p: Tensor) => ParameterState,
  ): readonly List[] {
    return this.pack(params, names, (p) => {
      this.requireDense(p);
      return make(p);
    });
  }
  /** @throws {NbitError} `GRADIENT_LAYOUT`, before the parameter has any state. */
  protected requireDense(p: Tensor): void {
    const layout = p.grad?.layout ?? "strided";
    if (layout !== "strided")
      throw new NbitError(
        `${this.constructor.name}: expected dense gradients. Received: one of layout ${layout}, of a parameter of shape [${p.shape.join(", ")}]. SGD, Adagrad and SparseAdam take sparse ones.`,
        "GRADIENT_LAYOUT",
      );
  }
  /** One number of state, as it begins or as it was saved. */
  protected override counter(value: number, p: Tensor, group: ParamGroup): StateValue {
    const there = group["fused"] === true || group["capturable"] === true;
    return full([], value, { dtype: counterDType(), device: there ? p.device : "cpu" });
  }
  /** Counts a step, and says how many each parameter has made. */
  protected counts(steps: List, params: readonly Tensor[]): ArrayLike<number> {
    return countSteps(steps as TensorList) ?? params.map((p) => (this.state.get(p)?.["step"] as Tensor).item());
  }
  /** Counts a step, and waits for no device. */
  protected count(steps: List): void {
    count(steps as TensorList);
  }

  override expectedStateBytes(p: Tensor, given?: DType): number {
    const dtype = steppedDType(this, arguments, p, given);
    const group = this.paramGroups.find((g) => g.params.includes(p)) ?? this.paramGroups[0];
    const fields = group === undefined ? {} : (this.stateFields(group) ?? {});
    const each = Object.values(fields).filter((kind) => kind === "like" || kind === "squares").length;
    const compensated = group !== undefined && usesFloat32Update(group) && group.rounding === "kahan" && is16Bit(dtype);
    return (each + (compensated ? 1 : 0)) * p.numel() * itemSize(dtype);
  }
}

const NONE: readonly Tensor[] = [];

/** @internal The dtype that a parameter will be stepped in. Looks at the arguments of `expectedStateBytes`. */
export function steppedDType(of: Optimizer, all: ArrayLike<unknown>, parameter: Tensor, given?: DType): DType {
  const fn = `${of.constructor.name}.expectedStateBytes`;
  atMost(fn, all, 2);
  checkArguments(fn, { parameter }, { parameter: tensorKind });
  const dtype = given ?? parameter.dtype;
  checkArguments(fn, { dtype }, { dtype: dtypeKind });
  return dtype;
}

/** A number for each parameter, from its count of steps: made once where all are the same. */
export function fromCounts(counts: ArrayLike<number>, make: (n: number) => number): number[] {
  const made: number[] = [];
  for (let i = 0; i < counts.length; i++)
    made.push(i > 0 && counts[i] === counts[i - 1] ? (made[i - 1] as number) : make(counts[i] as number));
  return made;
}
