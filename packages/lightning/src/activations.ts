/** Modules whose forward runs again in backward, instead of keeping activations. */
import { checkpoint, type nn } from "@nbit/torch";
import { MisconfigurationError } from "./errors.js";
import type { ModuleClass } from "./module-classes.js";

type Forward = (...args: readonly unknown[]) => unknown;

export const namesOf = (classes: readonly ModuleClass[]): string => classes.map(({ name }) => name).join(", ");

/** Forwards that are checkpointed. */
const wrapped = new WeakSet<Forward>();

/**
 * Has every module inside `root` that is of one of these classes run its forward again in backward, in training. Those
 * within another such module run again with it, and keep nothing for themselves in the meantime.
 *
 * @returns what takes that back.
 * @throws {MisconfigurationError} ERR_ACTIVATION_CHECKPOINTING for a class of which there is no module.
 */
export function checkpointModules(root: nn.Module, classes: readonly ModuleClass[]): () => void {
  const inside = [...root.modules()].filter((module) => module !== root);
  for (const one of classes)
    if (!inside.some((module) => module instanceof one))
      throw new MisconfigurationError(
        "Trainer",
        `activationCheckpointing to name classes of modules inside ${root.constructor.name}`,
        one.name,
        `It has modules of ${[...new Set(inside.map((module) => module.constructor.name))].slice(0, 12).join(", ")}.`,
        "ERR_ACTIVATION_CHECKPOINTING",
      );
  const undo: (() => void)[] = [];
  for (const module of inside)
    if (classes.some((one) => module instanceof one) && !wrapped.has(module.forward as Forward))
      undo.push(wrap(module));
  return () => {
    for (const back of undo.splice(0).reverse()) back();
  };
}

/** Those of a run: they are checkpointed until `end`. */
export class CheckpointedModules {
  readonly classes: readonly ModuleClass[];
  readonly #root: nn.Module;
  #undo: (() => void) | null = null;

  constructor(root: nn.Module, classes: readonly ModuleClass[]) {
    this.#root = root;
    this.classes = classes;
    this.begin();
  }
  begin(): void {
    this.#undo ??= checkpointModules(this.#root, this.classes);
  }
  end(): void {
    this.#undo?.();
    this.#undo = null;
  }
  /** Run `fn` as if there were none. */
  without<T>(fn: () => T): T {
    const active = this.#undo !== null;
    this.end();
    try {
      return fn();
    } finally {
      if (active) this.begin();
    }
  }
}

function wrap(module: nn.Module): () => void {
  const own = Object.getOwnPropertyDescriptor(module, "forward");
  const original = module.forward as Forward;
  const bound: Forward = (...args) => original.apply(module, [...args]);
  const forward: Forward = (...args) => (module.training ? checkpoint(bound, ...args) : bound(...args));
  wrapped.add(forward);
  Object.defineProperty(module, "forward", { value: forward, configurable: true, writable: true, enumerable: false });
  return () => {
    if (own === undefined) Reflect.deleteProperty(module, "forward");
    else Object.defineProperty(module, "forward", own);
  };
}
