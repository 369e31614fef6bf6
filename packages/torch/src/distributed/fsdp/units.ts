/** Which parts of a model are gathered together. */
import { ArgumentError } from "../../errors.js";
import { ModuleList, Sequential } from "../../nn/containers.js";
import type { Module } from "../../nn/module.js";
import type { Tensor } from "../../tensor/tensor.js";
import type { ModuleClass, Settings } from "./options.js";

/** A module and the parameters that are its own, not those of units within it. */
export interface UnitPlan {
  readonly name: string;
  readonly module: Module;
  readonly parameters: readonly (readonly [name: string, parameter: Tensor])[];
}

/**
 * Units of a model, the root first, then in order of their names. A parameter that several units reach is the root's.
 * Frozen codes are parameters here where these are shared out (stage 3).
 */
export function planUnits(root: Module, shardModules: Settings["shardModules"], stage: 1 | 2 | 3): UnitPlan[] {
  const isUnit = chooser(root, shardModules);
  const weights = (module: Module, recurse: boolean): (readonly [string, Tensor])[] => [
    ...module.namedParameters({ recurse }),
    ...(stage === 3 ? codesOf(module, recurse) : []),
  ];
  const units = new Map<Module, Map<string, Tensor>>([[root, new Map()]]);
  const names = new Map<Module, string>([[root, ""]]);
  const owners = new Map<Tensor, Module>();
  const reached = new Set<Module>();
  const visit = (module: Module, name: string, outer: Module): void => {
    const chosen = module !== root && isUnit(module, name) && weights(module, true).length > 0;
    const unit = chosen ? module : outer;
    if (chosen && !units.has(module)) {
      units.set(module, new Map());
      names.set(module, name);
    }
    for (const [, p] of weights(module, false)) {
      const owner = owners.get(p);
      owners.set(p, owner === undefined || owner === unit ? unit : root);
    }
    if (reached.has(module)) {
      for (const [, p] of weights(module, true)) if (owners.get(p) !== unit) owners.set(p, root);
      return;
    }
    reached.add(module);
    for (const [path, child] of direct(module)) visit(child, name === "" ? path : `${name}.${path}`, unit);
  };
  visit(root, "", root);
  for (const [name, p] of weights(root, true)) units.get(owners.get(p) ?? root)?.set(name, p);
  return [...units].map(([module, own]) => ({ name: names.get(module) ?? "", module, parameters: [...own] }));
}

/** Buffers that are weights. */
function* codesOf(module: Module, recurse: boolean): Iterable<readonly [string, Tensor]> {
  for (const [path, m] of recurse ? module.namedModules() : [["", module] as const]) {
    const { weightBuffers } = m;
    if (weightBuffers.length === 0) continue;
    const tensors = weightBuffers.map((field): unknown => Reflect.get(m, field));
    for (const [name, t] of m.namedBuffers({ recurse: false }))
      if (tensors.includes(t)) yield [path === "" ? name : `${path}.${name}`, t];
  }
}

function* direct(module: Module): Iterable<[string, Module]> {
  for (const [path, child] of module.namedModules()) if (path !== "" && !path.includes(".")) yield [path, child];
}

function chooser(root: Module, given: Settings["shardModules"]): (module: Module, name: string) => boolean {
  if (typeof given === "function") return given;
  if (given !== null && given !== undefined) {
    const classes: readonly ModuleClass[] = given;
    const found = [...root.modules()].some((m) => classes.some((c) => m instanceof c));
    if (!found)
      throw new ArgumentError("fullyShard", "shardModules to be classes of modules that are in the model", given);
    return (module) => classes.some((c) => module instanceof c);
  }
  const chosen = new Set<Module>();
  const choose = (module: Module): void => {
    const children = [...module.children()];
    const repeated = (m: Module): boolean =>
      [...m.children()].length > 0 && children.filter((other) => other.constructor === m.constructor).length > 1;
    for (const child of children) {
      if (module instanceof ModuleList || module instanceof Sequential || repeated(child)) chosen.add(child);
      else choose(child);
    }
  };
  choose(root);
  return (module) => chosen.has(module);
}
