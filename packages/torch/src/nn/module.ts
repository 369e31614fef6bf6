/** The base of every layer and model: its fields are its tree. */
import { ArgumentError } from "../errors.js";
import { addHook, type HookHandle } from "../hooks.js";
import { callable, filled, flag, orNull, text, whole } from "../kinds.js";
import { tensorKind } from "../tensor/kinds.js";
import { atMost, checkArguments, optionsFrom, type Given, type OptionNames } from "../options.js";
import { plainText } from "../plain-text.js";
import { isTensor } from "../tensor/handle.js";
import { keep, scope } from "../tensor/scope.js";
import type { DType } from "../tensor/dtype.js";
import type { DeviceLike } from "../tensor/device.js";
import { TensorList } from "../tensor/list.js";
import type { Tensor } from "../tensor/tensor.js";
import { ZERO_GRAD, type ZeroGradOptions } from "../zero-grad.js";
import { snakeCase } from "./keys.js";
import { convertModules, moduleToOptions, type ModuleToOptions } from "./module-to.js";
import { Parameter } from "./parameter.js";
import {
  LOAD_STATE,
  loadState,
  stateKind,
  type LoadResult,
  type LoadStateOptions,
  type StateDict,
} from "./state-dict.js";
import { stateEntries, type StateEntry } from "./state-entries.js";
import type { WeightCodes } from "./weight-codes.js";
import { Tree, type Field, type NamedOptions } from "./tree.js";

export type { HookHandle, LoadResult, LoadStateOptions, StateDict };
export type ForwardPreHook = (module: Module, args: readonly unknown[]) => readonly unknown[] | void;
export type ForwardHook = (module: Module, args: readonly unknown[], output: unknown) => unknown;
export interface BufferOptions {
  /** Whether the state dict has it. Default true. */
  readonly persistent?: boolean;
}
const BUFFER: OptionNames<BufferOptions> = { persistent: flag };
const NAMED: OptionNames<NamedOptions> = { prefix: text, recurse: flag };
type NamedRest = Given<NamedOptions, [prefix: string, recurse?: boolean]>;

function* seconds<T>(pairs: Iterable<readonly [string, T]>): IterableIterator<T> {
  for (const [, value] of pairs) yield value;
}

/**
 * Base class of layers and models.
 *
 * Fields are the tree: every own enumerable field that is a {@link Parameter} or a Module belongs to it, in the order
 * of declaration; tensors registered with {@link registerBuffer} are its buffers. Keys of the state dict are the field
 * names in snake case (`wordEmbeddings` is `word_embeddings`; a name that begins with a capital, such as `LayerNorm`,
 * stays as it is), joined by dots, as PyTorch's; two fields with one key are an error. A parameter or module that is
 * reached twice counts once.
 *
 * @example
 * class Net extends Module {
 *   readonly fc1 = new Linear(4, 8);
 *   readonly fc2 = new Linear(8, 2);
 *   forward(x: Tensor): Tensor { return this.fc2.forward(relu(this.fc1.forward(x))); }
 * }
 */
export abstract class Module {
  /** Dropout, batch normalisation and the like behave differently while true. */
  training = true;
  #buffers: Map<string, boolean> | null = null;
  #preHooks: Set<ForwardPreHook> | null = null;
  #hooks: Set<ForwardHook> | null = null;

  constructor() {
    // Layers without arguments, and modules whose classes have no constructor, pass on what they are given.
    atMost(new.target.name || "Module", arguments, 0);
  }

  /** Compute the module's output. The name is the contract; the types are each module's own. */
  abstract forward(...args: never[]): unknown;

  // ---------------------------------------------------------------- the tree

  static readonly #tree = new Tree<Module>((module) => module.#fields());

  *#fields(): IterableIterator<Field<Module>> {
    for (const [name, value] of Object.entries(this) as [string, unknown][]) {
      if (value instanceof Module) yield { kind: "module", name, value };
      else if (!isTensor(value)) continue;
      else if (value instanceof Parameter) yield { kind: "parameter", name, value };
      else {
        const persistent = this.#buffers?.get(name);
        if (persistent !== undefined) yield { kind: "buffer", name, value, persistent };
      }
    }
  }

  /** Register a tensor that belongs to the state but is not learned. Its field holds it. */
  registerBuffer(name: string, tensor: Tensor | null, ...rest: Given<BufferOptions, [persistent: boolean]>): void {
    const options = optionsFrom("registerBuffer", 2, rest, BUFFER, 1);
    checkArguments("registerBuffer", { name, tensor }, { name: filled, tensor: orNull(tensorKind) });
    this.#checkBufferName(name);
    if (tensor !== null) keep(tensor);
    (this.#buffers ??= new Map()).set(name, options.persistent ?? true);
    Object.defineProperty(this, name, { value: tensor, writable: true, configurable: true, enumerable: true });
  }

  #checkBufferName(name: string): void {
    const taken: unknown = Reflect.get(this, name);
    if (name.includes("."))
      throw new ArgumentError("registerBuffer", "a name without dots, which separate modules in keys", name);
    if (taken !== undefined && taken !== null && (!isTensor(taken) || taken instanceof Parameter))
      throw new ArgumentError("registerBuffer", "the name of a field that is not taken by something else", name);
    const others = [...Array.from(this.#fields(), (field) => field.name), ...(this.#buffers?.keys() ?? [])];
    const other = others.find((each) => each !== name && snakeCase(each) === snakeCase(name));
    if (other !== undefined)
      throw new ArgumentError("registerBuffer", `a name whose key "${snakeCase(name)}" is not that of ${other}`, name);
  }

  /** Direct submodules with their names, in order. */
  namedChildren(): IterableIterator<[string, Module]> {
    atMost("namedChildren", arguments, 0);
    return Module.#tree.children(this);
  }
  children(): IterableIterator<Module> {
    atMost("children", arguments, 0);
    return seconds(Module.#tree.children(this));
  }
  /** This module and all below it, parents first; each once, so that cycles end. */
  namedModules(prefix = ""): IterableIterator<[string, Module]> {
    atMost("namedModules", arguments, 1);
    checkArguments("namedModules", { prefix }, { prefix: text });
    return Module.#tree.modules(this, prefix);
  }
  modules(): IterableIterator<Module> {
    atMost("modules", arguments, 0);
    return seconds(Module.#tree.modules(this));
  }
  namedParameters(...rest: NamedRest): IterableIterator<[string, Parameter]> {
    return Module.#tree.parameters(this, optionsFrom("namedParameters", 0, rest, NAMED, 2));
  }
  parameters(recurse = true): Parameter[] {
    atMost("parameters", arguments, 1);
    checkArguments("parameters", { recurse }, { recurse: flag });
    return Array.from(this.namedParameters({ recurse }), ([, p]) => p);
  }
  namedBuffers(...rest: NamedRest): IterableIterator<[string, Tensor]> {
    return Module.#tree.buffers(this, optionsFrom("namedBuffers", 0, rest, NAMED, 2));
  }
  buffers(recurse = true): Tensor[] {
    atMost("buffers", arguments, 1);
    checkArguments("buffers", { recurse }, { recurse: flag });
    return Array.from(this.namedBuffers({ recurse }), ([, b]) => b);
  }
  /** The module at a path such as `layers.0.fc`. */
  getSubmodule(path: string): Module {
    atMost("getSubmodule", arguments, 1);
    for (const [name, m] of this.namedModules()) if (name === path) return m;
    throw new ArgumentError(
      "getSubmodule",
      `the path of a submodule (${Array.from(this.namedModules(), ([n]) => n)
        .slice(1, 8)
        .join(", ")}, …)`,
      path,
    );
  }
  getParameter(path: string): Parameter {
    atMost("getParameter", arguments, 1);
    for (const [name, p] of this.namedParameters()) if (name === path) return p;
    throw new ArgumentError("getParameter", "the path of a parameter", path);
  }

  // ---------------------------------------------------------------- state

  /** Parameters and persistent buffers by path; the tensors themselves, not copies. */
  stateDict(): StateDict {
    atMost("stateDict", arguments, 0);
    const state: StateDict = new Map();
    for (const { key, tensor } of this.#entries("stateDict")) state.set(key, tensor);
    return state;
  }
  #entries(fn: string): StateEntry[] {
    return stateEntries(fn, Module.#tree, this, (module) => module.optionalState);
  }
  /** @internal How its weight is gathered where it is shared out; null: as it is. */
  get weightCodes(): WeightCodes | null {
    return null;
  }
  /** @internal Names of buffers that are weights: sharding makes shares of them, as of parameters. */
  get weightBuffers(): readonly string[] {
    return [];
  }
  /**
   * Fields of own buffers that a state dict may lack: what files from before there was one are still loaded without.
   */
  protected get optionalState(): readonly string[] {
    return [];
  }
  /**
   * What of a given state this module cannot take, beside shapes, in words that follow the module's path; null:
   * nothing. `given` has the module's own keys.
   */
  protected stateProblem(_given: (key: string) => Tensor | undefined): string | null {
    return null;
  }
  /**
   * Copy values into parameters and buffers by name.
   * @param options.strict - Every name must be on both sides. Default true. Keys that versions up to 0.1 wrote
   * (`Layer_norm` for a field `LayerNorm`) are read where they can mean one field only.
   * @throws {NbitError} `STATE_DICT_MISMATCH`, listing everything missing, unexpected, of another shape, or of a dtype
   * whose values would be lost (complex into real, fractions into whole numbers, codes of low-bit weights into anything
   * else), before anything is copied. `STATE_DICT_KEY` when two fields have one key.
   */
  loadStateDict(
    state: ReadonlyMap<string, Tensor> | Readonly<Record<string, Tensor>>,
    ...rest: Given<LoadStateOptions, [strict: boolean]>
  ): LoadResult {
    const options = optionsFrom("loadStateDict", 1, rest, LOAD_STATE, 1);
    checkArguments("loadStateDict", { state }, { state: stateKind });
    // The tensors themselves, also where a wrapper makes stateDict() return copies.
    const entries = this.#entries("loadStateDict");
    return loadState(this.constructor.name || "module", entries, state, options, (given) => this.#stateProblems(given));
  }
  *#stateProblems(given: ReadonlyMap<string, Tensor>): IterableIterator<string> {
    for (const [path, module] of Module.#tree.modules(this)) {
      const problem = module.stateProblem((key) => {
        const value = given.get(path === "" ? key : `${path}.${key}`);
        return isTensor(value) && !value.disposed ? value : undefined;
      });
      if (problem !== null) yield `${path === "" ? this.constructor.name : path} ${problem}`;
    }
  }

  // ---------------------------------------------------------------- modes, devices, dtypes

  train(mode = true): this {
    atMost("train", arguments, 1);
    checkArguments("train", { mode }, { mode: flag });
    for (const m of this.modules()) m.training = mode;
    return this;
  }
  eval(): this {
    atMost("eval", arguments, 0);
    return this.train(false);
  }
  /**
   * Call `fn` for every module: children in the order of their declaration, then their parent. One that stands in
   * several places is met in each.
   */
  apply(fn: (module: Module) => void): this {
    atMost("apply", arguments, 1);
    checkArguments("apply", { fn }, { fn: callable });
    Module.#tree.childrenFirst(this, fn);
    return this;
  }
  requiresGrad_(on = true): this {
    atMost("requiresGrad_", arguments, 1);
    checkArguments("requiresGrad_", { on }, { on: flag });
    for (const p of this.parameters()) p.requiresGrad_(on);
    return this;
  }
  zeroGrad(...rest: Given<ZeroGradOptions, [setToNone: boolean]>): void {
    const options = optionsFrom("zeroGrad", 0, rest, ZERO_GRAD, 1);
    if (options.setToNone ?? true) TensorList.of(this.parameters()).clearGrads();
    else for (const p of this.parameters()) p.grad?.detach().zero_();
  }
  /**
   * Move and cast parameters, gradients and buffers; the parameters keep their identity, so optimizers keep theirs. A
   * real dtype casts what is in real floating point; what is complex, which would lose its imaginary part, stays as it
   * is. A complex dtype casts both. Whole numbers stay.
   */
  to(target: DType | DeviceLike | ModuleToOptions): this {
    atMost("Module.to", arguments, 1);
    convertModules(Module.#tree, this.modules(), moduleToOptions(target));
    return this;
  }
  float(): this {
    atMost("Module.float", arguments, 0);
    return this.to("float32");
  }
  double(): this {
    atMost("Module.double", arguments, 0);
    return this.to("float64");
  }
  half(): this {
    atMost("Module.half", arguments, 0);
    return this.to("float16");
  }
  bfloat16(): this {
    atMost("Module.bfloat16", arguments, 0);
    return this.to("bfloat16");
  }
  cpu(): this {
    atMost("Module.cpu", arguments, 0);
    return this.to("cpu");
  }
  cuda(index?: number): this {
    atMost("Module.cuda", arguments, 1);
    if (index !== undefined) checkArguments("Module.cuda", { index }, { index: whole("[0, ∞)") });
    return this.to(index === undefined ? "cuda" : `cuda:${index}`);
  }

  // ---------------------------------------------------------------- hooks

  /** Called before forward by {@link call}; may return other arguments. */
  registerForwardPreHook(hook: ForwardPreHook): HookHandle {
    atMost("registerForwardPreHook", arguments, 1);
    return addHook("registerForwardPreHook", (this.#preHooks ??= new Set()), hook);
  }
  /** Called after forward by {@link call}; may return another output. */
  registerForwardHook(hook: ForwardHook): HookHandle {
    atMost("registerForwardHook", arguments, 1);
    return addHook("registerForwardHook", (this.#hooks ??= new Set()), hook);
  }
  /** @internal The hooks of another module, whose place this one takes, are this one's too. */
  takeHooksOf(other: Module): void {
    this.#preHooks = other.#preHooks;
    this.#hooks = other.#hooks;
  }
  /**
   * Forward with hooks, in a `scope` of its own: what the module made on the way and backward does not need is freed
   * when it returns, as Python frees local variables. Use it for the larger parts of a model; `forward` itself costs
   * nothing more than its operators.
   */
  call<M extends Module>(this: M, ...args: Parameters<M["forward"]>): ReturnType<M["forward"]> {
    if (typeof (this.forward as unknown) !== "function")
      throw new ArgumentError(`${this.constructor.name}.call`, "a module with a forward", this);
    return this.callWithHooks(args) as ReturnType<M["forward"]>;
  }
  /** @internal */
  callWithHooks(args: readonly unknown[]): unknown {
    let inputs = args;
    if (this.#preHooks !== null) for (const hook of this.#preHooks) inputs = hook(this, inputs) ?? inputs;
    let output: unknown = scope(() =>
      Reflect.apply(this.forward as (...a: readonly unknown[]) => unknown, this, inputs === args ? args : [...inputs]),
    );
    if (this.#hooks !== null)
      for (const hook of this.#hooks) {
        const changed = hook(this, inputs, output);
        if (changed !== undefined) output = changed;
      }
    return output;
  }

  // ---------------------------------------------------------------- printing

  /** What stands between the parentheses of the printed module. */
  extraRepr(): string {
    return "";
  }
  toString(): string {
    const lines = Array.from(
      this.namedChildren(),
      ([name, child]) => `  (${plainText(snakeCase(name))}): ${child.toString().replaceAll("\n", "\n  ")}`,
    );
    const extra = this.extraRepr();
    const type = plainText(this.constructor.name);
    if (lines.length === 0) return `${type}(${extra})`;
    return `${type}(\n${extra === "" ? "" : `  ${extra}\n`}${lines.join("\n")}\n)`;
  }
  [Symbol.for("nodejs.util.inspect.custom")](): string {
    return this.toString();
  }
}
