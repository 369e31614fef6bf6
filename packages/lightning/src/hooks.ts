import { words } from "@nbit/torch";
import { MisconfigurationError } from "./errors.js";
import { Callback } from "./callbacks/callback.js";
import { LightningModule } from "./module.js";
import type { TrainerView } from "./trainer-view.js";

/** Hooks that callbacks have, and modules too where the names meet. */
export type HookName = Exclude<Extract<keyof Callback, `on${string}`>, "onSaveCheckpoint" | "onLoadCheckpoint" | "onException"> | "setup" | "teardown";

/** What a hook takes after `trainer` and `module`. */
export type HookArgs<N extends HookName> = Callback[N] extends (trainer: TrainerView, module: LightningModule, ...args: infer A) => unknown ? A : never;

/** Where the name of the hook that runs is kept, for `log`. */
export interface HookHost {
  currentHook: string | null;
}

/** The implementations of one hook, in the order in which they are called. Empty lists cost one length check. */
export class HookList<A extends readonly unknown[]> {
  constructor(
    readonly name: string,
    readonly entries: readonly ((...args: A) => unknown)[],
    readonly host: HookHost,
  ) {}

  get length(): number {
    return this.entries.length;
  }

  /** Call all, inside a synchronous step. */
  call(...args: A): void {
    const before = this.host.currentHook;
    this.host.currentHook = this.name;
    try {
      for (const entry of this.entries) {
        if (isPromise(entry(...args))) throw asyncHook(this.name);
      }
    } finally {
      this.host.currentHook = before;
    }
  }

  /** Call all, one after the other, waiting for each that returns a promise. Gives what the last one returned. */
  run(...args: A): unknown {
    const before = this.host.currentHook;
    this.host.currentHook = this.name;
    let result: unknown;
    try {
      for (let i = 0; i < this.entries.length; i++) {
        result = this.entries[i]?.(...args);
        if (isPromise(result)) {
          const rest = this.#runRest(result, i + 1, args, before);
          return rest;
        }
      }
    } catch (error) {
      this.host.currentHook = before;
      throw error;
    }
    this.host.currentHook = before;
    return result;
  }

  async #runRest(first: Promise<unknown>, from: number, args: A, before: string | null): Promise<unknown> {
    try {
      let result = await first;
      for (let i = from; i < this.entries.length; i++) result = await this.entries[i]?.(...args);
      return result;
    } finally {
      this.host.currentHook = before;
    }
  }
}

export function isPromise(value: unknown): value is Promise<unknown> {
  return typeof value === "object" && value !== null && "then" in value && typeof value.then === "function";
}

function asyncHook(name: string): MisconfigurationError {
  return new MisconfigurationError(name, "a hook that ends when it returns", words("a promise"), "It runs inside the training step, which is synchronous. Do asynchronous work in onTrainBatchStart or onTrainBatchEnd.", "ERR_ASYNC_HOOK");
}

/**
 * Finds, once per run, which callbacks and which module override which hook.
 *
 * Callbacks come first, then the module, as in Lightning; but callbacks that act on what others produced (`runsLast`:
 * checkpoints, early stopping) come after the module in hooks that end something, so that a checkpoint holds what the module's
 * own hook did.
 */
export class Hooks {
  readonly #lists: { [K in HookName]?: HookList<HookArgs<K>> } = {};

  constructor(
    readonly trainer: TrainerView,
    readonly module: LightningModule,
    readonly callbacks: readonly Callback[],
    readonly host: HookHost,
  ) {}

  get<N extends HookName>(name: N): HookList<HookArgs<N>> {
    const known: { [K in HookName]?: HookList<HookArgs<K>> }[N] = this.#lists[name];
    if (known !== undefined) return known;
    const list = this.#collect(name);
    Object.assign(this.#lists, { [name]: list });
    return list;
  }

  #collect<N extends HookName>(name: N): HookList<HookArgs<N>> {
    type Entry = (...args: HookArgs<N>) => unknown;
    const first: Entry[] = [];
    const last: Entry[] = [];
    for (const callback of this.callbacks) {
      const method = callback[name];
      if (method === Callback.prototype[name]) continue;
      const entry: Entry = (...args) => Reflect.apply(method, callback, [this.trainer, this.module, ...args]);
      (callback.runsLast && name.endsWith("End") ? last : first).push(entry);
    }
    const own = moduleHook(this.module, name);
    const middle: Entry[] = own === null ? [] : [(...args) => Reflect.apply(own, this.module, args)];
    return new HookList<HookArgs<N>>(name, [...first, ...middle, ...last], this.host);
  }
}

function moduleHook(module: LightningModule, name: HookName): ((...args: never[]) => unknown) | null {
  const method: unknown = Reflect.get(module, name);
  if (typeof method !== "function" || method === Reflect.get(LightningModule.prototype, name)) return null;
  return method as (...args: never[]) => unknown;
}

/** Whether a module (or callback) brings its own implementation of a method of its base class. */
export function isOverridden(object: LightningModule, name: keyof LightningModule): boolean {
  return object[name] !== LightningModule.prototype[name];
}
