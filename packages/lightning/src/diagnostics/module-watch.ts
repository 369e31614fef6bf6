import { traceMark } from "@nbit/torch";
import type { nn } from "@nbit/torch";

/** From event `from` on, `module` (its dotted name) is the innermost that runs; null: none, the step method itself. */
export interface ModuleSwitch {
  readonly from: number;
  readonly module: string | null;
}

export interface ModuleWatcher {
  /** Also for outputs inside arrays and objects; the watcher takes them apart. */
  onOutput?(name: string, output: unknown): void;
}

/**
 * Sees every module's forward, however it is called: `forward` of each instance is wrapped until `stop`. Notes which
 * module runs in terms of the running trace.
 */
export class ModuleWatch {
  readonly switches: ModuleSwitch[] = [{ from: 0, module: null }];
  readonly #undo: (() => void)[] = [];
  readonly #stack: string[] = [];

  constructor(root: nn.Module, watcher: ModuleWatcher = {}) {
    for (const [name, module] of root.namedModules()) {
      const own = Object.getOwnPropertyDescriptor(module, "forward");
      if (own?.configurable === false || !Object.isExtensible(module)) continue;
      const forward: unknown = module.forward;
      if (typeof forward !== "function") continue;
      const wrapped = (...args: unknown[]): unknown => {
        this.#enter(name);
        try {
          const output: unknown = Reflect.apply(forward, module, args);
          watcher.onOutput?.(name, output);
          return output;
        } finally {
          this.#leave();
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

  /** The innermost module that runs now. */
  get current(): string | null {
    return this.#stack.at(-1) ?? null;
  }

  #enter(name: string): void {
    this.#stack.push(name);
    this.switches.push({ from: traceMark(), module: name });
  }

  #leave(): void {
    this.#stack.pop();
    this.switches.push({ from: traceMark(), module: this.current });
  }

  stop(): void {
    for (const undo of this.#undo.splice(0).reverse()) undo();
  }
}
