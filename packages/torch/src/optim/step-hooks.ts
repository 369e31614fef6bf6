/** Functions that users have called around steps and state dicts of optimizers, of one and of all. */
import { ArgumentError } from "../errors.js";
import { callable, flag, isPlain } from "../kinds.js";
import { checkArguments, optionsFrom, type Given, type OptionNames } from "../options.js";
import type { HookHandle } from "../hooks.js";
import type { Tensor } from "../tensor/tensor.js";
import type { OptimizerState } from "./state.js";

/** What `step` was called with. */
export type StepArguments = readonly [closure?: () => Tensor];
/** What stands by name in a call of `step`. */
export interface StepOptions {
  readonly closure?: () => Tensor;
}
/** Called before a step; an array `[arguments, options]` that it returns takes the place of those of the call. */
export type PreHook<O> = (optimizer: O, args: StepArguments, options: StepOptions) => unknown;
/** Called after a step, with what it was called with. */
export type PostHook<O> = (optimizer: O, args: StepArguments, options: StepOptions) => unknown;
export type DictPreHook<O> = (optimizer: O) => unknown;
/** An object that it returns takes the place of the state dict. */
export type DictPostHook<O> = (optimizer: O, stateDict: OptimizerState) => unknown;
/** An object that it returns is loaded instead. */
export type LoadPreHook<O> = (optimizer: O, stateDict: Readonly<Record<string, unknown>>) => unknown;
export type LoadPostHook<O> = (optimizer: O) => unknown;

/** What a hook made of a state dict; what it was given, where it returned none. */
export function orGiven<T extends object>(made: unknown, given: T): T {
  return isPlain(made) ? (made as T) : given;
}

export interface StateDictHookOptions {
  /** Call it before the hooks that are there. Default false. */
  readonly prepend?: boolean;
}
const PREPEND: OptionNames<StateDictHookOptions> = { prepend: flag };

/** Hooks of one moment, in the order in which they are called; each may stand there several times. */
export class HookList<F extends (...args: never[]) => unknown> {
  #hooks: readonly { readonly hook: F }[] = [];

  get all(): readonly F[] {
    return this.#hooks.map(({ hook }) => hook);
  }
  get empty(): boolean {
    return this.#hooks.length === 0;
  }
  add(fn: string, hook: F, rest: Given<StateDictHookOptions, [prepend: boolean]> = []): HookHandle {
    checkArguments(fn, { hook }, { hook: callable });
    const { prepend = false } = optionsFrom(fn, 1, rest, PREPEND, 1);
    const entry = { hook };
    this.#hooks = prepend ? [entry, ...this.#hooks] : [...this.#hooks, entry];
    return { remove: () => void (this.#hooks = this.#hooks.filter((each) => each !== entry)) };
  }
}

/** Hooks around steps. */
export class StepHooks<O extends object> {
  readonly pre = new HookList<PreHook<O>>();
  readonly post = new HookList<PostHook<O>>();

  /** Run a step between its hooks; those of all optimizers stand around them. */
  around(
    optimizer: O,
    closure: (() => Tensor) | undefined,
    step: (closure: (() => Tensor) | undefined) => Tensor | null,
    outer: StepHooks<O>,
  ): Tensor | null {
    if (this.pre.empty && this.post.empty && outer.pre.empty && outer.post.empty) return step(closure);
    let args: StepArguments = closure === undefined ? [] : [closure];
    let options: StepOptions = {};
    for (const hook of [...outer.pre.all, ...this.pre.all]) {
      const made: unknown = hook(optimizer, args, options);
      if (Array.isArray(made)) [args, options] = replaced(optimizer, made);
    }
    const loss = step(args[0] ?? options.closure);
    for (const hook of [...this.post.all, ...outer.post.all]) hook(optimizer, args, options);
    return loss;
  }
}

function replaced(optimizer: object, made: readonly unknown[]): [StepArguments, StepOptions] {
  const [args, options] = made.length === 2 ? made : [];
  const closure: unknown = Array.isArray(args) && args.length <= 1 ? (args as readonly unknown[])[0] : null;
  const named: unknown = isPlain(options) ? Reflect.get(options, "closure") : null;
  const isClosure = (value: unknown): value is () => Tensor => typeof value === "function";
  const valid = [closure, named].every((each) => each === undefined || isClosure(each));
  if (!valid)
    throw new ArgumentError(
      `${optimizer.constructor.name}.step`,
      "a hook before it to return the step's arguments as [[closure], {}], where it returns an array",
      made,
    );
  return [isClosure(closure) ? [closure] : [], isClosure(named) ? { closure: named } : {}];
}
