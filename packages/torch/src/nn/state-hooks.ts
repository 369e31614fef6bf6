/** Hooks of a module around saving and loading state dicts. */
import type { Tensor } from "../tensor/tensor.js";
import type { IncompatibleKeys, StateDict } from "./state-dict.js";

export type StatePreHook<M> = (module: M, prefix: string, keepVars: boolean) => void;
/** `localMetadata` is empty: state dicts have no versions. */
export type StatePostHook<M> = (module: M, stateDict: StateDict, prefix: string, localMetadata: object) => void;
export type LoadPreHook<M> = (
  module: M,
  stateDict: Map<string, Tensor>,
  prefix: string,
  localMetadata: object,
  strict: boolean,
  missingKeys: string[],
  unexpectedKeys: string[],
  errorMsgs: string[],
) => void;
export type LoadPostHook<M> = (module: M, incompatibleKeys: IncompatibleKeys) => void;

interface Found extends IncompatibleKeys {
  readonly errors: string[];
}

export class StateHooks<M> {
  readonly save = new Set<StatePreHook<M>>();
  readonly saved = new Set<StatePostHook<M>>();
  readonly load = new Set<LoadPreHook<M>>();
  readonly loaded = new Set<LoadPostHook<M>>();

  beforeSave(module: M, prefix: string, keepVars: boolean): void {
    for (const hook of this.save) hook(module, prefix, keepVars);
  }
  afterSave(module: M, state: StateDict, prefix: string): void {
    for (const hook of this.saved) hook(module, state, prefix, {});
  }
  beforeLoad(module: M, state: StateDict, prefix: string, strict: boolean, found: Found): void {
    for (const hook of this.load)
      hook(module, state, prefix, {}, strict, found.missingKeys, found.unexpectedKeys, found.errors);
  }
  get hasAfterLoad(): boolean {
    return this.loaded.size > 0;
  }
  afterLoad(module: M, keys: IncompatibleKeys): void {
    for (const hook of this.loaded) hook(module, keys);
  }
  copy(): StateHooks<M> {
    const copy = new StateHooks<M>();
    for (const name of ["save", "saved", "load", "loaded"] as const)
      for (const hook of this[name]) (copy[name] as Set<unknown>).add(hook);
    return copy;
  }
}
