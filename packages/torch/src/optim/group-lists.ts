/** Parameters of groups, and their gradients, as packed lists; kept from step to step. */
import { noGrad } from "../autograd/modes.js";
import { TensorList } from "../tensor/list.js";
import type { Tensor } from "../tensor/tensor.js";
import { operator } from "./operators.js";
import { isLive, sameElements } from "./parameters.js";
import type { ParamGroup } from "./state.js";

/** Lists of one group that do not change from step to step. */
interface GroupList {
  /** The group's parameters when the lists were made: the same array for as long as they stay the same. */
  readonly source: readonly Tensor[];
  readonly params: TensorList;
  /** All on a GPU, and none in float64. */
  readonly roundsRate: boolean;
  readonly complex: boolean;
}

export class GroupLists {
  readonly #lists = new WeakMap<ParamGroup, GroupList>();
  readonly #check: (group: ParamGroup) => void;

  /** @param check - What was put into a group by hand, before lists are made of it. */
  constructor(check: (group: ParamGroup) => void) {
    this.#check = check;
  }

  /** Those of the last `refresh`. */
  of(group: ParamGroup): GroupList {
    return this.#lists.get(group) ?? this.refresh(group);
  }

  /** Those of its parameters now: another one in one's place makes new lists. */
  refresh(group: ParamGroup): GroupList {
    const { params } = group;
    const known = this.#lists.get(group);
    if (known !== undefined && sameElements(known.source, params)) return known;
    this.#check(group);
    const made: GroupList = {
      source: [...params],
      params: TensorList.of(params),
      roundsRate: params.every((p) => p.device.type === "cuda" && p.dtype !== "float64"),
      complex: params.some((p) => p.isComplex()),
    };
    this.#lists.set(group, made);
    return made;
  }

  /** Call `step` with the parameters that have a gradient, if there are any, and their gradients in the same order. */
  withGrads(
    { source, params }: GroupList,
    step: (params: readonly Tensor[], packed: TensorList, grads: TensorList) => void,
  ): void {
    const grads = TensorList.gradsOf(params);
    try {
      const present = positionsOf(grads);
      if (present === null) {
        if (grads.length > 0) step(source, params, grads);
      } else if (present.length > 0)
        step(
          present.map((i) => source[i] as Tensor),
          params.select(present),
          grads.select(present),
        );
    } finally {
      grads.dispose();
    }
  }

  clearGrads(group: ParamGroup): void {
    this.#live(group).clearGrads();
  }
  /** Fill the gradients with zeros together: one kernel or few on a GPU. */
  zeroGrads(group: ParamGroup): void {
    const grads = TensorList.gradsOf(this.#live(group));
    try {
      const positions = positionsOf(grads);
      const present = positions === null ? grads : grads.select(positions);
      if (present.length > 0) noGrad(() => foreachZero_(present));
    } finally {
      grads.dispose();
    }
  }
  /** Its parameters: the list of the last step, while they are the same live ones. */
  #live(group: ParamGroup): TensorList {
    const known = this.#lists.get(group);
    return known !== undefined && sameElements(known.source, group.params) && known.source.every(isLive)
      ? known.params
      : TensorList.of(group.params);
  }
}

/** Where a list has tensors; null: everywhere. */
function positionsOf(list: TensorList): readonly number[] | null {
  if (list.missing.length === 0) return null;
  const missing = new Set(list.missing);
  return Array.from({ length: list.length }, (_, i) => i).filter((i) => !missing.has(i));
}

const foreachZero_ = operator("_foreach_zero_");
