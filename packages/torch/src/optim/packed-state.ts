/** State of parameters as packed lists for libtorch's operators on lists, kept from step to step. */
import { NbitError } from "../errors.js";
import { isTensor } from "../tensor/handle.js";
import { TensorList } from "../tensor/list.js";
import type { Tensor } from "../tensor/tensor.js";
import { COUNTERS, type ParameterState } from "./state.js";

/** State of several parameters, by kind. */
interface StateLists {
  readonly names: readonly string[];
  readonly states: readonly (ParameterState | undefined)[];
  readonly values: readonly (readonly Tensor[])[];
  readonly lists: readonly TensorList[];
}

export class PackedState {
  readonly #state: ReadonlyMap<Tensor, ParameterState>;
  readonly #lists = new WeakMap<readonly Tensor[], StateLists>();

  constructor(state: ReadonlyMap<Tensor, ParameterState>) {
    this.#state = state;
  }

  /** The lists that were packed for the same arrays; null where the state consists of other tensors by now. */
  current(params: readonly Tensor[], names: readonly string[]): readonly TensorList[] | null {
    const known = this.#lists.get(params);
    return known !== undefined && known.names === names && this.#isCurrent(known, params) ? known.lists : null;
  }
  #isCurrent({ names, states, values }: StateLists, params: readonly Tensor[]): boolean {
    for (let i = 0; i < params.length; i++) {
      const s = this.#state.get(params[i] as Tensor);
      if (s === undefined || s !== states[i]) return false;
      for (let k = 0; k < names.length; k++)
        if (s[names[k] as string] !== (values[k] as readonly Tensor[])[i]) return false;
    }
    return true;
  }

  /** One list for each name. */
  pack(optimizer: string, params: readonly Tensor[], names: readonly string[]): readonly TensorList[] {
    const states = params.map((p) => this.#state.get(p));
    const values = names.map((name) => params.map((p, i) => tensorOf(optimizer, p, states[i], name)));
    const lists = values.map((v) => TensorList.of(v));
    this.#lists.set(params, { names, states, values, lists });
    return lists;
  }
}

function tensorOf(optimizer: string, p: Tensor, state: ParameterState | undefined, name: string): Tensor {
  const value = state?.[name];
  if (!isTensor(value))
    throw new NbitError(
      `${optimizer}: expected state "${name}" to be a tensor. Received: ${String(value)}. Was a state dict of another optimizer loaded?`,
      "OPTIMIZER_STATE",
    );
  if (!COUNTERS.has(name) && value.numel() !== p.numel())
    throw new NbitError(
      `${optimizer}: expected state "${name}" to have its parameter's shape [${p.shape.join(", ")}]. Received: shape [${value.shape.join(", ")}].`,
      "OPTIMIZER_STATE",
    );
  return value;
}
