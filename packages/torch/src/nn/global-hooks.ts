/** How hooks of all modules are called (global-module.ts): the classes of modules get another `forward` while there are any. */
import { addHook, type HookHandle } from "../hooks.js";
import {
  addCallHook,
  forwardBehind,
  globalLists,
  isWithoutHooks,
  runWithGlobalHooks,
  type Forward,
  type HookKind,
} from "./call-hooks.js";

// ---------------------------------------------------------------- around forward and backward

const known = new WeakSet();
const classes: WeakRef<object>[] = [];
/** What ends it, by the prototype that has another forward now. */
const armed = new Map<object, () => void>();

/** @internal A class of which there are modules, and those that it extends. */
export function noteClass(prototype: object): void {
  for (let at: object | null = prototype; at !== null && at !== Object.prototype; at = Reflect.getPrototypeOf(at)) {
    if (known.has(at)) return;
    known.add(at);
    classes.push(new WeakRef(at));
    if (armed.size > 0) arm(at);
  }
}

/** Calls hooks for modules of this class alone: what a class that extends it calls by `super` is not called by anybody. */
function arm(prototype: object): void {
  if (armed.has(prototype)) return;
  const own = Object.getOwnPropertyDescriptor(prototype, "forward");
  const forward: unknown = own?.value ?? Reflect.get(Reflect.getPrototypeOf(prototype) ?? {}, "forward");
  if (typeof forward !== "function" || own?.get !== undefined) return;
  const behind = forwardBehind.get(forward as Forward) ?? (forward as Forward);
  const wrapped = function (this: object, ...args: readonly unknown[]): unknown {
    return Reflect.getPrototypeOf(this) === prototype
      ? runWithGlobalHooks(this, behind, args)
      : Reflect.apply(behind, this, args);
  };
  forwardBehind.set(wrapped, behind);
  Object.defineProperty(prototype, "forward", {
    value: wrapped,
    configurable: true,
    writable: true,
    enumerable: false,
  });
  armed.set(prototype, () => {
    // Somebody has put another one there meanwhile.
    if (Object.getOwnPropertyDescriptor(prototype, "forward")?.value !== wrapped) return;
    if (own === undefined) Reflect.deleteProperty(prototype, "forward");
    else Object.defineProperty(prototype, "forward", own);
  });
}
function disarm(): void {
  if (!isWithoutHooks(globalLists)) return;
  for (const end of armed.values()) end();
  armed.clear();
}
/** @internal A hook of all modules that there are and will be. */
export function addGlobalHook(
  fn: string,
  kind: HookKind,
  hook: (...args: never[]) => unknown,
  rest: readonly unknown[] = [],
): HookHandle {
  const handle = addCallHook(fn, globalLists, kind, hook, rest, disarm);
  for (const each of classes) {
    const prototype = each.deref();
    if (prototype !== undefined) arm(prototype);
  }
  return handle;
}

// ---------------------------------------------------------------- registration

type Kind = "parameter" | "buffer" | "module";
type AnyRegistrationHook = (module: never, name: string, value: never) => unknown;
const hooks: Readonly<Record<Kind, Set<AnyRegistrationHook>>> = {
  parameter: new Set(),
  buffer: new Set(),
  module: new Set(),
};
let seen = new WeakMap<object, Map<string, WeakRef<object>>>();

/** @internal How modules tell of what is registered with them. */
export const registrations = {
  get active(): boolean {
    return hooks.parameter.size + hooks.buffer.size + hooks.module.size > 0;
  },
  /** Whether a field with this value has not been told of; from now on it has. */
  isNew(module: object, name: string, value: object): boolean {
    let fields = seen.get(module);
    if (fields === undefined) seen.set(module, (fields = new Map()));
    if (fields.get(name)?.deref() === value) return false;
    fields.set(name, new WeakRef(value));
    return true;
  },
  /** @returns What is to be registered instead; the value itself where no hook says so. */
  tell(kind: Kind, module: object, name: string, value: object | null): unknown {
    let now: object | null = value;
    for (const hook of hooks[kind])
      now = (hook(module as never, name, now as never) as object | null | undefined) ?? now;
    if (now !== null && registrations.active) registrations.isNew(module, name, now);
    return now;
  },
};
/** @internal A hook of what is registered with any module. */
export function addRegistrationHook(fn: string, kind: Kind, hook: AnyRegistrationHook): HookHandle {
  const handle = addHook(fn, hooks[kind], hook);
  return {
    remove: () => {
      handle.remove();
      if (!registrations.active) seen = new WeakMap();
    },
  };
}
