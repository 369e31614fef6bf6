/** State dicts of bitsandbytes, brought into our form. */
import { atMost, ArgumentError, checkArguments, isTensor, kinds, type optim, type Tensor } from "@nbit/torch";
import { elementsOf } from "@nbit/torch/files";
import { isPlain } from "@nbit/torch/realm";

type Dict = Readonly<Record<string, unknown>>;
const WRAPPED = "__bnb_optimizer_quant_state__";

/**
 * A state dict of a bitsandbytes optimizer (as `torch.save` has it, or flattened into a file of tensors) in the form
 * that {@link LowBitOptimizer.loadStateDict} reads.
 *
 * The tensors are taken as they are: codes in uint8 with `absmax` and `qmap`, or float32. Keys of groups become
 * camelCase (`weight_decay` → `weightDecay`). AdEMAMix's two averages, which upstream stacks in `state1`, become
 * `state1` and `state2`.
 * @param dict - `{ state, param_groups }`, with states by position; or `{ "state.0.state1": tensor, … }` as safetensors
 * has it.
 * @param groups - The `param_groups` of a flattened dict; parsed JSON.
 * @returns A dict that shares its tensors with the given one.
 * @throws {ArgumentError} `fromBitsandbytes: expected a state dict with state and param_groups. Received: …`
 * @example
 * const { tensors, metadata } = await loadSafetensors("optimizer.safetensors");
 * optimizer.loadStateDict(fromBitsandbytes(tensors, JSON.parse(metadata.param_groups)));
 */
export function fromBitsandbytes(dict: Dict, groups?: readonly Dict[]): optim.OptimizerState {
  atMost("fromBitsandbytes", arguments, 2);
  checkArguments(
    "fromBitsandbytes",
    { dict, groups },
    {
      dict: kinds.record,
      groups: kinds.either(
        kinds.listOf(kinds.record),
        kinds.such<undefined>("left out", (v) => v === undefined),
      ),
    },
  );
  const paramGroups = groups ?? dict["param_groups"];
  const given = "state" in dict ? dict["state"] : nested(dict);
  if (typeof given !== "object" || given === null || !Array.isArray(paramGroups))
    throw new ArgumentError("fromBitsandbytes", "a state dict with state and param_groups", dict);
  const state: Record<string, optim.ParameterState> = {};
  for (const [position, value] of Object.entries(given as Dict)) state[position] = parameterState(value);
  return {
    state,
    paramGroups: elementsOf(paramGroups as readonly unknown[], "fromBitsandbytes", "param_groups").map(groupOf),
  };
}

function nested(flat: Dict): Record<string, Record<string, unknown>> {
  const state: Record<string, Record<string, unknown>> = {};
  for (const [key, value] of Object.entries(flat)) {
    const [, position = "", name = ""] = /^state\.(\d+)\.(?:__bnb_optimizer_quant_state__\.)?(\w+)$/.exec(key) ?? [];
    if (name !== "") (state[position] ??= {})[name] = value;
  }
  return state;
}

function parameterState(value: unknown): optim.ParameterState {
  if (typeof value !== "object" || value === null)
    throw new ArgumentError("fromBitsandbytes", "every state to be an object", value);
  const { [WRAPPED]: wrapped, ...plain } = value as Dict;
  const all: Dict = { ...plain, ...(typeof wrapped === "object" && wrapped !== null ? wrapped : {}) };
  const state: optim.ParameterState = {};
  for (const [name, item] of Object.entries(all)) if (isTensor(item) || typeof item === "number") state[name] = item;
  return unstacked(state);
}

/** Upstream's AdEMAMix has both averages in `state1`, one after the other, and its second moment in `state2`. */
function unstacked(s: optim.ParameterState): optim.ParameterState {
  const { state1, state2, absmax1, absmax2, qmap1, qmap2 } = s;
  if (!isTensor(state1) || !isTensor(state2) || state1.dim() !== state2.dim() + 1) return s;
  const half = (t: optim.StateValue | undefined, i: number): Record<string, Tensor> =>
    isTensor(t) ? { [`absmax${i + 1}`]: t.reshape([2, -1]).select(0, i) } : {};
  return {
    ...s,
    state1: state1.select(0, 0),
    state2: state1.select(0, 1),
    state3: state2,
    ...half(absmax1, 0),
    ...half(absmax1, 1),
    ...(isTensor(absmax2) ? { absmax3: absmax2 } : {}),
    ...(isTensor(qmap1) ? { qmap2: qmap1 } : {}),
    ...(isTensor(qmap2) ? { qmap3: qmap2 } : {}),
  };
}

const RENAMED: Readonly<Record<string, string>> = {
  weight_decay: "weightDecay",
  initial_lr: "initialLr",
  trust_coefficient: "trustCoefficient",
};
/** Options that we have; what only upstream knows stays out. */
const KNOWN = new Set([
  "lr",
  "betas",
  "eps",
  "weightDecay",
  "momentum",
  "nesterov",
  "alpha",
  "initialLr",
  "trustCoefficient",
]);
function groupOf(group: unknown): optim.OptimizerState["paramGroups"][number] {
  if (!isPlain(group)) throw new ArgumentError("fromBitsandbytes", "every group to be an object", group);
  if (group["betas"] !== undefined && group["betas"] !== null && !Array.isArray(group["betas"]))
    throw new ArgumentError("fromBitsandbytes", "betas to be an array", group["betas"]);
  const options: Record<string, unknown> = {};
  for (const [name, value] of Object.entries(group)) {
    const ours = RENAMED[name] ?? name;
    if (KNOWN.has(ours) && value !== null && value !== undefined)
      options[ours] = ours === "betas" ? (value as readonly number[]).slice(0, 2) : value;
  }
  const [, , beta3] = Array.isArray(group["betas"]) ? (group["betas"] as number[]) : [];
  return { ...options, ...(typeof beta3 === "number" ? { beta3 } : {}), params: group["params"] as number[] };
}
