/** Methods that nobody calls, since their names are almost those of hooks. */
import { nearest } from "@nbit/torch/names";
import type { WarnOnce } from "./warnings.js";

/** What else of a base class is called by the Trainer, beside what begins with `on`. */
const CALLED =
  /^(on[A-Z]\w*|setup|teardown|prepareData|\w+Step|\w+Dataloader|configure\w+|transferBatchToDevice|optimizerZeroGrad|lossWeight|stateDict|loadStateDict)$/;

/** By class, and by names that an object has itself: they do not change from run to run. */
const found = new WeakMap<object, readonly (readonly [name: string, hook: string])[]>();

/**
 * Warns of methods of `object` that are one edit away from a hook of `base`, its class of ours: `train_dataloader`,
 * `onTrainEpochEnds`. Case and underscores are no edits.
 */
export function warnOfMisspeltHooks(object: object, base: { readonly prototype: object }, warnings: WarnOnce): void {
  const type: object = Object.getPrototypeOf(object) as object;
  let ofType = found.get(type);
  if (ofType === undefined) found.set(type, (ofType = misspelt(methodsBetween(type, base.prototype), base)));
  const own = Object.keys(object).filter((name) => typeof Reflect.get(object, name) === "function");
  for (const [name, hook] of [...ofType, ...misspelt(own, base)])
    warnings.warn(
      "WARN_HOOK_NAME",
      `${object.constructor.name}.${name} is called by nobody: the hook is ${hook}. Rename it.`,
    );
}

function misspelt(names: readonly string[], base: { readonly prototype: object }): [string, string][] {
  const hooks = hooksOf(base.prototype);
  return names.flatMap((name): [string, string][] => {
    if (name in base.prototype) return [];
    const hook = nearest(name, hooks, 1);
    return hook === null ? [] : [[name, hook]];
  });
}

/** Names of functions from a prototype up to one that is ours, without that. */
function methodsBetween(from: object, end: object): string[] {
  const names: string[] = [];
  for (let at: object | null = from; at !== null && at !== end; at = Object.getPrototypeOf(at) as object | null)
    for (const [name, { value }] of Object.entries(Object.getOwnPropertyDescriptors(at)))
      if (name !== "constructor" && typeof value === "function") names.push(name);
  return names;
}

const known = new WeakMap<object, readonly string[]>();
function hooksOf(prototype: object): readonly string[] {
  let hooks = known.get(prototype);
  if (hooks === undefined) {
    hooks = methodsBetween(prototype, Object.prototype).filter((name) => CALLED.test(name));
    known.set(prototype, hooks);
  }
  return hooks;
}
