import { ArgumentError, verbatim } from "@nbit/torch";
import { MisconfigurationError } from "./errors.js";
import { Callback } from "./callbacks/callback.js";
import { waitFor } from "./loops/pending.js";
import type { MaybePending } from "./loops/pending.js";
import { LightningModule } from "./module.js";
import type { TrainerView } from "./trainer-view.js";
import { isError } from "@nbit/torch/realm";

/** Hooks that callbacks have, and modules too where the names meet. */
export type HookName = Exclude<Extract<keyof Callback, `on${string}`>, "onSaveCheckpoint" | "onLoadCheckpoint" | "onException"> | "setup" | "teardown";

/** What a hook takes after `trainer` and `module`. */
export type HookArgs<N extends HookName> = Callback[N] extends (trainer: TrainerView, module: LightningModule, ...args: infer A) => unknown ? A : never;

/** Where hooks run: see {@link Run.within}. */
export interface HookHost {
  within<T>(hook: string, fn: () => T): T;
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
    this.host.within(this.name, () => {
      for (const entry of this.entries) mustEnd(this.name, entry(...args));
    });
  }

  /** Call all in a batch, one after the other, stopping at each that returns a promise; then go on with what the last one returned. */
  chain<T>(then: (result: unknown) => MaybePending<T>, ...args: A): MaybePending<T> {
    return this.#chain(0, undefined, args, then);
  }

  #chain<T>(from: number, last: unknown, args: A, then: (result: unknown) => MaybePending<T>): MaybePending<T> {
    let result = last;
    for (let i = from; i < this.entries.length; i++) {
      result = this.#enter(i, args);
      if (isPromise(result)) return waitFor(named(this.name, result), (value) => this.#chain(i + 1, value, args, then));
    }
    return then(result);
  }

  /** Call all between batches, one after the other, waiting for each that returns a promise. */
  async run(...args: A): Promise<void> {
    for (let i = 0; i < this.entries.length; i++) {
      const result = this.#enter(i, args);
      if (isPromise(result)) await named(this.name, result);
    }
  }

  #enter(i: number, args: A): unknown {
    return this.host.within(this.name, () => (this.entries[i] as (...args: A) => unknown)(...args));
  }
}

export function isPromise(value: unknown): value is Promise<unknown> {
  // One load, which V8 remembers for values of many shapes; `in` it does not.
  return typeof value === "object" && value !== null && typeof (value as { readonly then?: unknown }).then === "function";
}

/** What a method returned that has to end when it returns. @throws {MisconfigurationError} `ERR_ASYNC_HOOK` for a promise, whose own failure is then of no interest. */
export function mustEnd<T>(name: string, result: T, why = IN_STEP, code = "ERR_ASYNC_HOOK"): T {
  if (!isPromise(result)) return result;
  result.then(undefined, () => undefined);
  throw new MisconfigurationError(name, code === "ERR_ASYNC_STEP" ? "a step that ends when it returns" : "a hook that ends when it returns", verbatim("a promise"), why, code);
}
const IN_STEP = "It runs inside the training step, which is synchronous. Do asynchronous work in onTrainBatchStart or onTrainBatchEnd.";
/** Where to wait instead, in what runs before training. */
export const BEFORE_TRAINING = "Do what waits in setup, which may be asynchronous.";
/** Where to wait instead, in what writes and reads checkpoints. */
export const AT_ONCE = "A checkpoint is written and read at one moment of training. Do asynchronous work in hooks named …Start or …End.";
/** Why steps are synchronous. */
export const STEPS_END = "Autocast and tensor scopes end when it returns. Load data in the loader, and wait in hooks.";

/** The promise of a hook, or of what else a run waits for, whose error says what that was: a stack that went through an await may not. */
export async function named<T>(hook: string, promise: PromiseLike<T>): Promise<T> {
  try {
    return await promise;
  } catch (error) {
    if (!isError(error)) {
      const made = new ArgumentError(hook, "to fail, if at all, with an Error", error, "", "ERR_HOOK_REJECTED");
      made.cause = error;
      throw made;
    }
    if (error.stack?.includes(hook) === false) Reflect.set(error, "stack", `${error.stack}\n    in ${hook}`);
    throw error;
  }
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
