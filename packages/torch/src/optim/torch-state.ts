/** State dicts of PyTorch's optimizers: names of groups, options and state in our form, and back. */
import { atMost } from "../options.js";
import { ArgumentError } from "../errors.js";

type Dict = Readonly<Record<string, unknown>>;

/** What only PyTorch's classes have: how they compute, which is no state. */
const ONLY_THEIRS: ReadonlySet<string> = new Set(["foreach", "capturable", "differentiable", "al"]);
/** Names that no rule makes. */
const SPECIAL: Readonly<Record<string, string>> = { H_diag: "hDiag", rounding_step: "roundingStep" };
const BACK: Readonly<Record<string, string>> = Object.fromEntries(
  Object.entries(SPECIAL).map(([theirs, ours]) => [ours, theirs]),
);

const camel = (name: string): string =>
  SPECIAL[name] ?? name.replaceAll(/_([a-z])/g, (_, c: string) => c.toUpperCase());
const snake = (name: string): string => BACK[name] ?? name.replaceAll(/[A-Z]/g, (c) => `_${c.toLowerCase()}`);

function renamed(dict: unknown, rename: (name: string) => string): Record<string, unknown> {
  if (typeof dict !== "object" || dict === null) return {};
  return Object.fromEntries(
    Object.entries(dict)
      .filter(([name, value]) => !ONLY_THEIRS.has(name) && !(name === "fused" && value === null))
      .map(([name, value]) => [rename(name), value]),
  );
}
function eachOf(dict: unknown, rename: (name: string) => string): unknown {
  if (typeof dict !== "object" || dict === null) return dict;
  return Object.fromEntries(
    Object.entries(dict).map(([key, value]) => [
      key,
      typeof value === "object" && value !== null ? renamed(value, rename) : value,
    ]),
  );
}

/**
 * A state dict of one of PyTorch's optimizers (`{ state, param_groups }`, `exp_avg`, `weight_decay`, …) in our names.
 * `loadStateDict` reads both, so that this is seldom needed by itself. Tensors are the given ones. What only says how
 * PyTorch computes (`foreach`, `capturable`, …) is left out.
 * @throws {ArgumentError} `fromTorch: expected a state dict with state and param_groups. Received: …`
 */
export function fromTorch(dict: Dict): Record<string, unknown> {
  atMost("fromTorch", arguments, 1);
  if (typeof dict !== "object" || dict === null)
    throw new ArgumentError("fromTorch", "a state dict with state and param_groups", dict);
  const groups = dict["param_groups"];
  if (!Array.isArray(groups)) throw new ArgumentError("fromTorch", "a state dict with state and param_groups", dict);
  const [first] = groups as readonly unknown[];
  const decoupled: unknown =
    typeof first === "object" && first !== null && "decoupled_weight_decay" in first && "amsgrad" in first
      ? first.decoupled_weight_decay
      : undefined;
  return {
    ...(typeof decoupled === "boolean" ? { algorithm: decoupled ? "AdamW" : "Adam" } : {}),
    state: eachOf(dict["state"], camel),
    paramGroups: groups.map((g: unknown) => (typeof g === "object" && g !== null ? renamed(g, camel) : g)),
  };
}

/**
 * A state dict of SGD, Adam, AdamW or LBFGS in PyTorch's names, for its `load_state_dict`: keys of `state` are
 * positions, as there. Tensors are the given ones.
 * @throws {ArgumentError} `toTorch: expected a state dict with state and paramGroups. Received: …`
 */
export function toTorch(dict: Dict | { readonly state: unknown; readonly paramGroups: unknown }): {
  state: unknown;
  param_groups: unknown[];
} {
  atMost("toTorch", arguments, 1);
  if (typeof dict !== "object" || dict === null)
    throw new ArgumentError("toTorch", "a state dict with state and paramGroups", dict);
  const { state, paramGroups } = dict as Dict;
  if (!Array.isArray(paramGroups)) throw new ArgumentError("toTorch", "a state dict with state and paramGroups", dict);
  return { state: eachOf(state, snake), param_groups: paramGroups.map((g: unknown) => renamed(g, snake)) };
}
