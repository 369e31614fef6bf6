/** Parameters that several layers hold: found, and tied again where a copy has parted them. */
import { ArgumentError, atMost, checkArguments, kinds, nn } from "@nbit/torch";

const module = kinds.such<nn.Module>("a module", (v) => v instanceof nn.Module);
const lists = kinds.such<readonly (readonly string[])[]>(
  "lists of names, as findSharedParameters gives them",
  (v) => Array.isArray(v) && v.every((names) => Array.isArray(names) && names.every((n) => typeof n === "string")),
);

/**
 * Names of parameters that are one tensor, by tensor: `[["encoder.weight", "decoder.weight"]]`. They are those of the
 * state dict, in its order.
 */
export function findSharedParameters(model: nn.Module): string[][] {
  atMost("findSharedParameters", arguments, 1);
  checkArguments("findSharedParameters", { model }, { model: module });
  const names = new Map<nn.Parameter, string[]>();
  for (const [name, parameter] of model.namedParameters({ removeDuplicate: false }))
    names.set(parameter, [...(names.get(parameter) ?? []), name]);
  return [...names.values()].filter((those) => those.length > 1);
}

/**
 * Make the parameters of each list one again, the first of it, as {@link findSharedParameters} found them before a copy
 * parted them.
 *
 * @returns The module.
 * @throws {ArgumentError} for a name that no parameter has; nothing is tied then.
 */
export function setSharedParameters<M extends nn.Module>(model: M, shared: readonly (readonly string[])[]): M {
  atMost("setSharedParameters", arguments, 2);
  checkArguments("setSharedParameters", { model, shared }, { model: module, shared: lists });
  const ties = shared.map((names) => names.map((name) => placeOf(model, name)));
  for (const [first, ...others] of ties)
    for (const { owner, field } of others) Reflect.set(owner, field, first?.parameter);
  return model;
}

/** The module and its field behind a name of the state dict. */
function placeOf(model: nn.Module, name: string): { owner: nn.Module; field: string; parameter: nn.Parameter } {
  const at = name.lastIndexOf(".");
  const owner = at < 0 ? model : model.getSubmodule(name.slice(0, at));
  for (const [field, value] of Object.entries(owner))
    if (value instanceof nn.Parameter && owner.stateKey(field) === name.slice(at + 1))
      return { owner, field, parameter: value };
  throw new ArgumentError("setSharedParameters", "names of parameters of the module", name);
}
