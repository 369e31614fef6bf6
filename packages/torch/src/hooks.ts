/** Hooks: functions that users have called at a moment of a module's or an optimizer's work. */
import { callable } from "./kinds.js";
import { checkArguments } from "./options.js";

export interface HookHandle {
  remove(): void;
}

/** Checks a hook and has it called after those that are there, until the handle's `remove()`. */
export function addHook<F extends (...args: never[]) => unknown>(fn: string, hooks: Set<F>, hook: F): HookHandle {
  checkArguments(fn, { hook }, { hook: callable });
  hooks.add(hook);
  return { remove: () => void hooks.delete(hook) };
}
