/**
 * `nn.modules.module`: hooks of all modules there are, for looking on while one searches an error or measures. A process
 * without them pays nothing.
 */
import type { HookHandle } from "../hooks.js";
import { flag } from "../kinds.js";
import { atMost, optionsFrom, type Given, type OptionNames } from "../options.js";
import type { Tensor } from "../tensor/tensor.js";
import type {
  BackwardHook,
  BackwardPreHook,
  ForwardHook,
  ForwardHookOptions,
  ForwardHookWithKwargs,
  ForwardPreHook,
} from "./call-hooks.js";
import { addGlobalHook, addRegistrationHook } from "./global-hooks.js";
import type { Module } from "./module.js";
import type { Parameter } from "./parameter.js";

export type RegistrationHook<T> = (module: Module, name: string, value: T) => T | null | undefined | void;

/**
 * Called before every forward of every module, before the module's own hooks: `hook(module, args)`. May return other
 * arguments. A `forward` that is a field of an instance, rather than a method of its class, is not seen.
 */
export function registerModuleForwardPreHook(hook: ForwardPreHook<Module>): HookHandle {
  atMost("registerModuleForwardPreHook", arguments, 1);
  return addGlobalHook("registerModuleForwardPreHook", "pre", hook);
}
export type GlobalForwardHookOptions = Omit<ForwardHookOptions, "prepend">;
const FORWARD: OptionNames<GlobalForwardHookOptions> = { withKwargs: flag, alwaysCall: flag };
/**
 * Called after every forward of every module, before the module's own hooks: `hook(module, args, output)`. May return
 * another output. `keep(t)` what it is to hold.
 */
export function registerModuleForwardHook(
  hook: ForwardHookWithKwargs<Module>,
  options: GlobalForwardHookOptions & { readonly withKwargs: true },
): HookHandle;
export function registerModuleForwardHook(
  hook: ForwardHook<Module>,
  options?: GlobalForwardHookOptions & { readonly withKwargs?: false },
): HookHandle;
export function registerModuleForwardHook(
  hook: ForwardHook<Module> | ForwardHookWithKwargs<Module>,
  ...rest: Given<GlobalForwardHookOptions, []>
): HookHandle {
  const fn = "registerModuleForwardHook";
  optionsFrom<GlobalForwardHookOptions>(fn, 1, rest, FORWARD, 0);
  return addGlobalHook(fn, "post", hook, rest);
}
/** As `Module.registerFullBackwardHook`, for every module, before the module's own hooks. */
export function registerModuleFullBackwardHook(hook: BackwardHook<Module>): HookHandle {
  atMost("registerModuleFullBackwardHook", arguments, 1);
  return addGlobalHook("registerModuleFullBackwardHook", "backward", hook);
}
/** As `Module.registerFullBackwardPreHook`, for every module, before the module's own hooks. */
export function registerModuleFullBackwardPreHook(hook: BackwardPreHook<Module>): HookHandle {
  atMost("registerModuleFullBackwardPreHook", arguments, 1);
  return addGlobalHook("registerModuleFullBackwardPreHook", "backwardPre", hook);
}

/**
 * Called for every parameter of every module: `hook(module, name, parameter)`, by `registerParameter` at once, for a field
 * that a class assigns when the module's fields are looked at next (`parameters()`, `stateDict()`, `to(…)`). May return
 * another parameter.
 */
export function registerModuleParameterRegistrationHook(hook: RegistrationHook<Parameter>): HookHandle {
  atMost("registerModuleParameterRegistrationHook", arguments, 1);
  return addRegistrationHook("registerModuleParameterRegistrationHook", "parameter", hook);
}
/** As {@link registerModuleParameterRegistrationHook}, for buffers; null for one that is registered without a tensor. */
export function registerModuleBufferRegistrationHook(hook: RegistrationHook<Tensor>): HookHandle {
  atMost("registerModuleBufferRegistrationHook", arguments, 1);
  return addRegistrationHook("registerModuleBufferRegistrationHook", "buffer", hook);
}
/** As {@link registerModuleParameterRegistrationHook}, for modules below a module. */
export function registerModuleModuleRegistrationHook(hook: RegistrationHook<Module>): HookHandle {
  atMost("registerModuleModuleRegistrationHook", arguments, 1);
  return addRegistrationHook("registerModuleModuleRegistrationHook", "module", hook);
}
