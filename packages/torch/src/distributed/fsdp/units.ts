/** Which parts of a model are gathered together. */
import { ArgumentError } from "../../errors.js";
import { ModuleList, Sequential } from "../../nn/containers.js";
import type { Module } from "../../nn/module.js";
import type { Parameter } from "../../nn/parameter.js";
import type { ModuleClass, Settings } from "./options.js";

/** A module and the parameters that are its own, not those of units within it. */
export interface UnitPlan {
  readonly name: string;
  readonly module: Module;
  readonly parameters: readonly (readonly [name: string, parameter: Parameter])[];
}

/**
 * Units of a model, the root first, then in order of their names. A parameter that several units reach is the root's.
 */
export function planUnits(root: Module, shardModules: Settings["shardModules"]): UnitPlan[] {
  const isUnit = chooser(root, shardModules);
  const units = new Map<Module, Map<string, Parameter>>([[root, new Map()]]);
  const names = new Map<Module, string>([[root, ""]]);
  const owners = new Map<Parameter, Module>();
  const reached = new Set<Module>();
  const visit = (module: Module, name: string, outer: Module): void => {
    const chosen = module !== root && isUnit(module, name) && module.parameters().length > 0;
    const unit = chosen ? module : outer;
    if (chosen && !units.has(module)) {
      units.set(module, new Map());
      names.set(module, name);
    }
    for (const [, p] of module.namedParameters({ recurse: false })) {
      const owner = owners.get(p);
      owners.set(p, owner === undefined || owner === unit ? unit : root);
    }
    if (reached.has(module)) {
      for (const p of module.parameters()) if (owners.get(p) !== unit) owners.set(p, root);
      return;
    }
    reached.add(module);
    for (const [path, child] of direct(module)) visit(child, name === "" ? path : `${name}.${path}`, unit);
  };
  visit(root, "", root);
  for (const [name, p] of root.namedParameters()) units.get(owners.get(p) ?? root)?.set(name, p);
  return [...units].map(([module, own]) => ({ name: names.get(module) ?? "", module, parameters: [...own] }));
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
