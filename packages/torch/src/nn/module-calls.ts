/** Sees the calls of modules, however they are called. */
import type { Module } from "./module.js";

export interface ModuleCallWatcher {
  /** Before a forward; `name` is the module's path below its root. */
  enter(name: string, module: Module): void;
  /** After it, also where it threw. */
  leave(name: string, module: Module): void;
}

/**
 * Tells of every forward of a module and of those below it, until `stop`: the field `forward` of each instance is
 * wrapped meanwhile. A module that is reached by two names has its first.
 *
 * @param rootName - What the root is called; those below are `rootName.path`, or their paths where it is empty.
 */
export class ModuleCalls {
  readonly #undo: (() => void)[] = [];

  constructor(root: Module, rootName: string, watcher: ModuleCallWatcher) {
    for (const [path, module] of root.namedModules()) {
      const own = Object.getOwnPropertyDescriptor(module, "forward");
      if (own?.configurable === false || !Object.isExtensible(module)) continue;
      const forward: unknown = module.forward;
      if (typeof forward !== "function") continue;
      const name = path === "" ? rootName : rootName === "" ? path : `${rootName}.${path}`;
      const wrapped = (...args: unknown[]): unknown => {
        watcher.enter(name, module);
        try {
          return Reflect.apply(forward, module, args) as unknown;
        } finally {
          watcher.leave(name, module);
        }
      };
      Object.defineProperty(module, "forward", {
        value: wrapped,
        configurable: true,
        writable: true,
        enumerable: false,
      });
      this.#undo.push(() => {
        if (own === undefined) Reflect.deleteProperty(module, "forward");
        else Object.defineProperty(module, "forward", own);
      });
    }
  }

  stop(): void {
    for (const undo of this.#undo.splice(0).reverse()) undo();
  }
}
