/** Hooks around a module's forward, and how they are called whoever calls it. */
import { BackwardHooks, type Gradients, type Replaced } from "./backward-hooks.js";
import { callable, flag } from "../kinds.js";
import { checkArguments, optionsFrom, type OptionNames } from "../options.js";
import { isPlain } from "../realm.js";
import { scope } from "../tensor/scope.js";
import type { HookHandle } from "../hooks.js";

export type ForwardPreHook<M> = (module: M, args: readonly unknown[], kwargs?: object) => unknown;
export type ForwardHook<M> = (module: M, args: readonly unknown[], output: unknown) => unknown;
export type ForwardHookWithKwargs<M> = (
  module: M,
  args: readonly unknown[],
  kwargs: Readonly<Record<string, unknown>>,
  output: unknown,
) => unknown;
export type BackwardHook<M> = (module: M, gradInput: Gradients, gradOutput: Gradients) => Replaced;
export type BackwardPreHook<M> = (module: M, gradOutput: Gradients) => Replaced;

export interface PreHookOptions {
  /** Before the hooks that are there, instead of behind them. Default false. */
  readonly prepend?: boolean;
  /**
   * The hook gets the options of the call, its last plain object, apart: `hook(module, args, kwargs)`, or `hook(module,
   * args, kwargs, output)`; one before forward returns both: `[args, kwargs]`. Default false.
   */
  readonly withKwargs?: boolean;
}
export interface ForwardHookOptions extends PreHookOptions {
  /** Called, with an output of undefined, also when forward throws. Default false. */
  readonly alwaysCall?: boolean;
}
export interface BackwardHookOptions {
  /** Before the hooks that are there, instead of behind them. Default false. */
  readonly prepend?: boolean;
}
const PRE: OptionNames<PreHookOptions> = { prepend: flag, withKwargs: flag };
const POST: OptionNames<ForwardHookOptions> = { ...PRE, alwaysCall: flag };
const BACKWARD: OptionNames<BackwardHookOptions> = { prepend: flag };
export const HOOK_OPTIONS = { pre: PRE, post: POST, backward: BACKWARD, backwardPre: BACKWARD } as const;
export type HookKind = keyof typeof HOOK_OPTIONS;

type AnyHook = (...args: readonly unknown[]) => unknown;
interface Registered {
  readonly hook: AnyHook;
  readonly withKwargs: boolean;
  readonly alwaysCall: boolean;
}
export type Forward = (...args: readonly unknown[]) => unknown;
export type HookLists = Readonly<Record<HookKind, Registered[]>>;
const noHooks = (): HookLists => ({ pre: [], post: [], backward: [], backwardPre: [] });
export const isWithoutHooks = (lists: HookLists): boolean => Object.values(lists).every((list) => list.length === 0);

/** @internal Hooks of all modules: before those of each (global-hooks.ts). */
export const globalLists = noHooks();
/** @internal Forwards of classes, by what stands in their place while there are such hooks. */
export const forwardBehind = new WeakMap<Forward, Forward>();

/** @internal Adds a hook to a list; `emptied` is called when a hook was taken away again. */
export function addCallHook(
  fn: string,
  lists: HookLists,
  kind: HookKind,
  hook: (...args: never[]) => unknown,
  rest: readonly unknown[],
  emptied: () => void,
): HookHandle {
  checkArguments(fn, { hook }, { hook: callable });
  const options: ForwardHookOptions = optionsFrom<ForwardHookOptions>(
    fn,
    1,
    rest,
    HOOK_OPTIONS[kind] as typeof POST,
    kind.startsWith("backward") ? 1 : 0,
  );
  const list = lists[kind];
  const entry: Registered = {
    hook: hook as AnyHook,
    withKwargs: options.withKwargs ?? false,
    alwaysCall: options.alwaysCall ?? false,
  };
  if (options.prepend === true) list.unshift(entry);
  else list.push(entry);
  return {
    remove: () => {
      const at = list.indexOf(entry);
      if (at >= 0) list.splice(at, 1);
      emptied();
    },
  };
}

/** The hooks of one module. */
export class CallHooks {
  readonly #lists = noHooks();
  readonly #module: object;
  /** What stands in the field `forward` for as long as there are hooks; and what stood there before. */
  #armed: { readonly wrapped: Forward; readonly before: PropertyDescriptor | undefined } | null = null;
  #scoped = false;

  constructor(module: object) {
    this.#module = module;
  }

  add(fn: string, kind: HookKind, hook: (...args: never[]) => unknown, rest: readonly unknown[]): HookHandle {
    const handle = addCallHook(fn, this.#lists, kind, hook, rest, () => {
      if (isWithoutHooks(this.#lists)) this.#disarm();
    });
    this.arm();
    return handle;
  }

  /** The same functions around another module. */
  copyFor(module: object): CallHooks {
    const copy = new CallHooks(module);
    for (const kind of KINDS) copy.#lists[kind].push(...this.#lists[kind]);
    copy.arm();
    return copy;
  }

  /** From now on the field `forward` of the module calls the hooks; `super.forward` in a class is as before. */
  arm(): void {
    if (isWithoutHooks(this.#lists)) return;
    const now = Object.getOwnPropertyDescriptor(this.#module, "forward");
    // Whoever wrapped it meanwhile calls what was there.
    if (this.#armed !== null && now !== undefined) return;
    const forward: unknown = Reflect.get(this.#module, "forward");
    if (typeof forward !== "function") return;
    // Hooks of all modules are called here, too: in the right order, and once.
    const own = forwardBehind.get(forward as Forward) ?? (forward as Forward);
    const wrapped: Forward = (...args) => {
      const scoped = this.#scoped;
      this.#scoped = false;
      return runWithHooks(this.#module, joined(this.#lists), own, args, scoped);
    };
    this.#armed = { wrapped, before: now };
    Object.defineProperty(this.#module, "forward", {
      value: wrapped,
      enumerable: now?.enumerable ?? false,
      configurable: true,
      writable: true,
    });
  }
  #disarm(): void {
    if (this.#armed === null) return;
    const { wrapped, before } = this.#armed;
    // Wrapped by somebody else: what is left hands through.
    if (Object.getOwnPropertyDescriptor(this.#module, "forward")?.value !== wrapped) return;
    this.#armed = null;
    if (before === undefined) Reflect.deleteProperty(this.#module, "forward");
    else Object.defineProperty(this.#module, "forward", before);
  }
  /** @returns Whether a descriptor of the field `forward` is what hooks put there. */
  isOwn(descriptor: PropertyDescriptor): boolean {
    return this.#armed !== null && descriptor.value === this.#armed.wrapped;
  }

  /** The next forward runs in a scope, the hooks around it. */
  scoped<T>(fn: () => T): T {
    this.arm();
    this.#scoped = this.#armed !== null && !isWithoutHooks(this.#lists);
    if (!this.#scoped) return scope(fn);
    try {
      return fn();
    } finally {
      this.#scoped = false;
    }
  }
}

const KINDS = ["pre", "post", "backward", "backwardPre"] as const;
/** Those of all modules, then a module's own. As they are now: a hook may add others. */
function joined(own: HookLists): HookLists {
  const lists = noHooks();
  for (const kind of KINDS) lists[kind].push(...globalLists[kind], ...own[kind]);
  return lists;
}

/** @internal A forward, with hooks around it. */
export function runWithHooks(
  module: object,
  lists: HookLists,
  forward: Forward,
  given: readonly unknown[],
  scoped: boolean,
): unknown {
  const { pre, post } = lists;
  let args = given;
  const called = new Set<Registered>();
  try {
    for (const each of pre) args = before(module, each, args);
    const around = hooksAround(module, lists);
    if (around !== null) args = around.inputs(args);
    const run = (): unknown => Reflect.apply(forward, module, [...args]);
    let output = scoped ? scope(run) : run();
    for (const each of post) {
      called.add(each);
      output = after(module, each, args, output);
    }
    return around === null ? output : around.outputs(output);
  } catch (error) {
    for (const each of post)
      if (each.alwaysCall && !called.has(each))
        try {
          after(module, each, args, undefined);
        } catch {
          // The first error is the one that counts.
        }
    throw error;
  }
}
/** @internal Around a forward of a module without hooks of its own. */
export function runWithGlobalHooks(module: object, forward: Forward, args: readonly unknown[]): unknown {
  return runWithHooks(module, joined(noHooks()), forward, args, false);
}

/** Its functions share no variables with a call, whose tensors the graph would hold for good. */
function hooksAround(module: object, { backward, backwardPre }: HookLists): BackwardHooks | null {
  if (backward.length + backwardPre.length === 0) return null;
  return new BackwardHooks(
    `${module.constructor.name}.forward`,
    backward.map(
      ({ hook }) =>
        (gradInput, gradOutput) =>
          hook(module, gradInput, gradOutput) as Replaced,
    ),
    backwardPre.map(
      ({ hook }) =>
        (gradOutput) =>
          hook(module, gradOutput) as Replaced,
    ),
  );
}
function before(module: object, { hook, withKwargs }: Registered, args: readonly unknown[]): readonly unknown[] {
  if (!withKwargs) {
    const changed = hook(module, args);
    if (changed === undefined || changed === null) return args;
    return Array.isArray(changed) ? (changed as readonly unknown[]) : [changed];
  }
  const [positional, kwargs] = apart(args);
  const changed = hook(module, positional, kwargs);
  if (changed === undefined || changed === null) return args;
  const pair: readonly unknown[] = Array.isArray(changed) ? changed : [];
  checkArguments(
    "forward pre-hook",
    { result: changed },
    {
      result: {
        words: "[args, kwargs], or nothing",
        accepts: () => pair.length === 2 && Array.isArray(pair[0]) && isPlain(pair[1]),
      },
    },
  );
  const options = pair[1] as object;
  return Object.keys(options).length === 0 ? (pair[0] as unknown[]) : [...(pair[0] as unknown[]), options];
}
function after(module: object, { hook, withKwargs }: Registered, args: readonly unknown[], output: unknown): unknown {
  const changed = withKwargs ? hook(module, ...apart(args), output) : hook(module, args, output);
  return changed ?? output;
}

/** The arguments by position, and the options behind them. */
function apart(args: readonly unknown[]): readonly [readonly unknown[], Readonly<Record<string, unknown>>] {
  const last = args.at(-1);
  return isPlain(last) ? [args.slice(0, -1), last] : [args, {}];
}
