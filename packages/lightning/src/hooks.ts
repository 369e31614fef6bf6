import { Callback } from "./callbacks/callback.js";
import { waitFor } from "./loops/pending.js";
import type { MaybePending } from "./loops/pending.js";
import { LightningModule } from "./module.js";
import { isPromise, mustEnd, named } from "./promises.js";
import type { Profiling } from "./profilers/profiling.js";
import type { TrainerView } from "./trainer-view.js";

/** Hooks that callbacks have, and modules too where the names meet. */
export type HookName =
  | Exclude<Extract<keyof Callback, `on${string}`>, "onSaveCheckpoint" | "onLoadCheckpoint" | "onException">
  | "setup"
  | "teardown";

/** What a hook takes after `trainer` and `module`. */
export type HookArgs<N extends HookName> = Callback[N] extends (
  trainer: TrainerView,
  module: LightningModule,
  ...args: infer A
) => unknown
  ? A
  : never;

/** Where hooks run: see {@link Run.within}. */
export interface HookHost {
  within<T>(hook: string, fn: () => T): T;
  /** Each call of a hook is an action of it. Null or left out: nothing is profiled. */
  readonly profiling?: Profiling | null;
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

  /**
   * Call all in a batch, one after the other, stopping at each that returns a promise; then go on with what the last
   * one returned.
   */
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

/**
 * Finds, once per run, which callbacks and which module override which hook.
 *
 * Callbacks come first, then the module, as in Lightning; but callbacks that act on what others produced (`runsLast`:
 * checkpoints, early stopping) come after the module in hooks that end something, so that a checkpoint holds what the
 * module's own hook did.
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
      const action = `[Callback]${callback.stateKey}.${name}`;
      (callback.runsLast && name.endsWith("End") ? last : first).push(this.#profiled(action, entry));
    }
    const own = moduleHook(this.module, name);
    const action = `[LightningModule]${this.module.constructor.name}.${name}`;
    const middle: Entry[] =
      own === null ? [] : [this.#profiled(action, (...args: HookArgs<N>) => Reflect.apply(own, this.module, args))];
    return new HookList<HookArgs<N>>(name, [...first, ...middle, ...last], this.host);
  }

  #profiled<A extends readonly unknown[]>(action: string, entry: (...args: A) => unknown): (...args: A) => unknown {
    const profiling = this.host.profiling ?? null;
    return profiling === null ? entry : (...args) => profiling.run(action, () => entry(...args));
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
