/** The base of every layer and model: its fields are its tree. */
import { addToMessage, ArgumentError, NbitError, OutOfMemoryError } from "../errors.js";
import { callable, filled, flag, orNull, record, such, text, whole } from "../kinds.js";
import { deviceKind, dtypeKind, tensorKind } from "../tensor/kinds.js";
import { atMost, checkArguments, checkOptions, optionsFrom, type Given, type OptionNames } from "../options.js";
import { plainText } from "../plain-text.js";
import { noGrad } from "../autograd/modes.js";
import { isTensor } from "../tensor/handle.js";
import { keep, scope } from "../tensor/scope.js";
import { isFloatingPoint, isComplex, isDType, type DType } from "../tensor/dtype.js";
import { Device, type DeviceLike } from "../tensor/device.js";
import { TensorList } from "../tensor/list.js";
import type { Tensor } from "../tensor/tensor.js";
import { ZERO_GRAD, type ZeroGradOptions } from "../zero-grad.js";
import { earlierKey, snakeCase } from "./keys.js";
import { Parameter } from "./parameter.js";
import { loadPlan, type StateEntry } from "./state-dict.js";
import { isMap } from "../realm.js";

export type StateDict = Map<string, Tensor>;
export interface HookHandle {
  remove(): void;
}
export type ForwardPreHook = (module: Module, args: readonly unknown[]) => readonly unknown[] | void;
export type ForwardHook = (module: Module, args: readonly unknown[], output: unknown) => unknown;
export interface BufferOptions {
  /** Whether the state dict has it. Default true. */
  readonly persistent?: boolean;
}
export interface NamedOptions {
  /** Before every name. Default none. */
  readonly prefix?: string;
  /** Those of the modules below too. Default true. */
  readonly recurse?: boolean;
}
export interface LoadStateOptions {
  /** Every name must be on both sides. Default true. */
  readonly strict?: boolean;
}
export interface ModuleToOptions {
  readonly dtype?: DType | undefined;
  readonly device?: DeviceLike | undefined;
  readonly nonBlocking?: boolean | undefined;
}
const BUFFER: OptionNames<BufferOptions> = { persistent: flag };
const NAMED: OptionNames<NamedOptions> = { prefix: text, recurse: flag };
const LOAD: OptionNames<LoadStateOptions> = { strict: flag };
const TO: OptionNames<ModuleToOptions> = { dtype: dtypeKind, device: deviceKind, nonBlocking: flag };
type NamedRest = Given<NamedOptions, [prefix: string, recurse?: boolean]>;

export interface LoadResult {
  readonly missingKeys: readonly string[];
  readonly unexpectedKeys: readonly string[];
}

const STATE = such<ReadonlyMap<string, Tensor> | Readonly<Record<string, Tensor>>>(
  "a state dict: tensors by name, in an object or a Map",
  (v) => isMap(v) || record.accepts(v),
);

function moduleToOptions(target: DType | DeviceLike | ModuleToOptions): ModuleToOptions {
  if (typeof target === "string" && !isDType(target))
    checkArguments("Module.to", { target: target as DeviceLike }, { target: deviceKind });
  const options: ModuleToOptions =
    typeof target === "string"
      ? isDType(target)
        ? { dtype: target }
        : { device: target }
      : target instanceof Device
        ? { device: target }
        : target;
  checkOptions("Module.to", options, TO);
  if (options.dtype !== undefined && !isFloatingPoint(options.dtype) && !isComplex(options.dtype))
    throw new ArgumentError("Module.to", "dtype to be a floating point or complex dtype", options.dtype);
  return options;
}

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

  /** Register a tensor that belongs to the state but is not learned. Its field holds it. */
  registerBuffer(name: string, tensor: Tensor | null, ...rest: Given<BufferOptions, [persistent: boolean]>): void {
    const options = optionsFrom("registerBuffer", 2, rest, BUFFER, 1);
    checkArguments("registerBuffer", { name, tensor }, { name: filled, tensor: orNull(tensorKind) });
    this.#checkBufferName(name);
    if (tensor !== null) keep(tensor);
    (this.#buffers ??= new Map()).set(name, options.persistent ?? true);
    this.#set(name, tensor);
  }

  #checkBufferName(name: string): void {
    const taken: unknown = Reflect.get(this, name);
    if (name.includes("."))
      throw new ArgumentError("registerBuffer", "a name without dots, which separate modules in keys", name);
    if (taken !== undefined && taken !== null && (!isTensor(taken) || taken instanceof Parameter))
      throw new ArgumentError("registerBuffer", "the name of a field that is not taken by something else", name);
    for (const [other, value] of Object.entries(this))
      if (
        other !== name &&
        snakeCase(other) === snakeCase(name) &&
        (value instanceof Module || value instanceof Parameter || this.#buffers?.has(other) === true)
      )
        throw new ArgumentError(
          "registerBuffer",
          `a name whose key "${snakeCase(name)}" is not that of ${other}`,
          name,
        );
  }
  #set(name: string, value: unknown): void {
    Object.defineProperty(this, name, { value, writable: true, configurable: true, enumerable: true });
  }

  /** Direct submodules with their names, in order. */
  namedChildren(): IterableIterator<[string, Module]> {
    atMost("namedChildren", arguments, 0);
    return this.#namedChildren();
  }
  *#namedChildren(): IterableIterator<[string, Module]> {
    const seen = new Set<Module>();
    for (const [name, value] of Object.entries(this)) {
      if (value instanceof Module && !seen.has(value)) {
        seen.add(value);
        yield [name, value];
      }
    }
  }
  children(): IterableIterator<Module> {
    atMost("children", arguments, 0);
    return seconds(this.#namedChildren());
  }
  /** This module and all below it, parents first; each once, so that cycles end. */
  namedModules(prefix = ""): IterableIterator<[string, Module]> {
    atMost("namedModules", arguments, 1);
    checkArguments("namedModules", { prefix }, { prefix: text });
    return this.#namedModules(prefix, new Set());
  }
  *#namedModules(prefix: string, seen: Set<Module>): IterableIterator<[string, Module]> {
    if (seen.has(this)) return;
    seen.add(this);
    yield [prefix, this];
    for (const [name, child] of this.#namedChildren())
      yield* child.#namedModules(prefix === "" ? snakeCase(name) : `${prefix}.${snakeCase(name)}`, seen);
  }
  modules(): IterableIterator<Module> {
    atMost("modules", arguments, 0);
    return seconds(this.#namedModules("", new Set()));
  }
  *#own(kind: "parameter" | "buffer"): IterableIterator<[string, Tensor]> {
    for (const [name, value] of Object.entries(this)) {
      if (!isTensor(value)) continue;
      const isParameter = value instanceof Parameter;
      if (kind === "parameter" ? isParameter : !isParameter && this.#buffers?.has(name) === true) yield [name, value];
    }
  }
  *#named(
    kind: "parameter" | "buffer",
    { prefix = "", recurse = true }: NamedOptions,
  ): IterableIterator<[string, Tensor]> {
    const seen = new Set<Tensor>();
    const modules: Iterable<[string, Module]> = recurse ? this.#namedModules(prefix, new Set()) : [[prefix, this]];
    for (const [path, m] of modules)
      for (const [name, t] of m.#own(kind)) {
        if (seen.has(t)) continue;
        seen.add(t);
        yield [path === "" ? snakeCase(name) : `${path}.${snakeCase(name)}`, t];
      }
  }
  namedParameters(...rest: NamedRest): IterableIterator<[string, Parameter]> {
    return this.#named("parameter", optionsFrom("namedParameters", 0, rest, NAMED, 2)) as IterableIterator<
      [string, Parameter]
    >;
  }
  parameters(recurse = true): Parameter[] {
    atMost("parameters", arguments, 1);
    checkArguments("parameters", { recurse }, { recurse: flag });
    return Array.from(this.namedParameters({ recurse }), ([, p]) => p);
  }
  namedBuffers(...rest: NamedRest): IterableIterator<[string, Tensor]> {
    return this.#named("buffer", optionsFrom("namedBuffers", 0, rest, NAMED, 2));
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
    const entries: StateEntry[] = [];
    this.#collect(fn, ["", ""], entries, new Set());
    return entries;
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
  // PyTorch's order: a module's own parameters, its own buffers, then its children. Shared tensors appear under every
  // name.
  #collect(
    fn: string,
    [prefix, earlierPrefix]: readonly [string, string],
    entries: StateEntry[],
    path: Set<Module>,
  ): void {
    if (path.has(this))
      throw new NbitError(
        `${fn}: expected a tree of modules. Received: a cycle at "${prefix}". A module must not contain itself.`,
        "MODULE_CYCLE",
      );
    path.add(this);
    this.#checkKeys(fn, prefix);
    const optional = new Set(this.optionalState);
    const add = (name: string, tensor: Tensor): void =>
      void entries.push({
        key: prefix + snakeCase(name),
        earlier: earlierPrefix + earlierKey(name),
        tensor,
        optional: optional.has(name),
      });
    for (const [name, p] of this.#own("parameter")) add(name, p);
    for (const [name, b] of this.#own("buffer")) if (this.#buffers?.get(name) === true) add(name, b);
    for (const [name, value] of Object.entries(this))
      if (value instanceof Module)
        value.#collect(fn, [`${prefix}${snakeCase(name)}.`, `${earlierPrefix}${earlierKey(name)}.`], entries, path);
    path.delete(this);
  }
  /** Every field of the tree has a key of its own: two under one would be saved and loaded as one. */
  #checkKeys(fn: string, prefix: string): void {
    const fields = new Map<string, string>();
    for (const [name, value] of Object.entries(this)) {
      if (!(
        value instanceof Module ||
        value instanceof Parameter ||
        (isTensor(value) && this.#buffers?.has(name) === true)
      ))
        continue;
      const key = snakeCase(name);
      const other = fields.get(key);
      if (other !== undefined)
        throw new NbitError(
          `${fn}: expected every field to have a key of its own. Received: ${other} and ${name}, both "${prefix}${key}". Rename one of them.`,
          "STATE_DICT_KEY",
        );
      if (name.includes("."))
        throw new NbitError(
          `${fn}: expected names of fields without dots, which separate modules in keys. Received: "${name}"${prefix === "" ? "" : ` in "${prefix.slice(0, -1)}"`}.`,
          "STATE_DICT_KEY",
        );
      fields.set(key, name);
    }
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
    const options = optionsFrom("loadStateDict", 1, rest, LOAD, 1);
    checkArguments("loadStateDict", { state }, { state: STATE });
    const given: ReadonlyMap<string, Tensor> = isMap(state)
      ? (state as ReadonlyMap<string, Tensor>)
      : new Map(Object.entries(state));
    // The tensors themselves, also where a wrapper makes stateDict() return copies.
    const { copies, missing, unexpected, problems: wrong } = loadPlan(this.#entries("loadStateDict"), given);
    const problems: string[] = [];
    if (options.strict ?? true) {
      if (missing.length > 0) problems.push(`missing: ${missing.join(", ")}`);
      if (unexpected.length > 0) problems.push(`unexpected: ${unexpected.join(", ")}`);
    }
    problems.push(...wrong);
    for (const [path, m] of this.#namedModules("", new Set())) {
      const problem = m.stateProblem((key) => {
        const value = given.get(path === "" ? key : `${path}.${key}`);
        return isTensor(value) && !value.disposed ? value : undefined;
      });
      if (problem !== null) problems.push(`${path === "" ? this.constructor.name : path} ${problem}`);
    }
    if (problems.length > 0)
      throw new NbitError(
        plainText(
          `loadStateDict: expected the state of this ${this.constructor.name || "module"}. Received: a state with ${problems.join("; ")}. Pass { strict: false } to load what fits by name.`,
        ),
        "STATE_DICT_MISMATCH",
      );
    noGrad(() => {
      for (const [target, source] of copies) target.copy_(source);
    });
    return { missingKeys: missing, unexpectedKeys: unexpected };
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
    this.#apply(fn, new Set());
    return this;
  }
  #apply(fn: (module: Module) => void, path: Set<Module>): void {
    if (path.has(this)) return; // a cycle
    path.add(this);
    for (const [, child] of this.#namedChildren()) child.#apply(fn, path);
    fn(this);
    path.delete(this);
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
    const options = moduleToOptions(target);
    const complex = options.dtype !== undefined && isComplex(options.dtype);
    const convert = (t: Tensor): Tensor =>
      t
        .detach()
        .to(isFloatingPoint(t.dtype) || (complex && isComplex(t.dtype)) ? options : { ...options, dtype: undefined });
    let done = 0;
    try {
      for (const m of this.modules()) {
        for (const [, p] of m.#own("parameter")) {
          const next = convert(p);
          const { grad } = p;
          const nextGrad = grad === null ? null : convert(grad);
          if (grad !== null) p.grad = null;
          p.setData(next);
          if (grad !== null) p.grad = nextGrad;
          done++;
        }
        for (const [name, b] of m.#own("buffer")) {
          const next = convert(b);
          if (next.dtype !== b.dtype || next.device !== b.device) b.setData(next);
          else m.#set(name, b);
          done++;
        }
      }
    } catch (error) {
      if (error instanceof OutOfMemoryError && done > 0)
        addToMessage(
          error,
          `Module.to was interrupted: ${done} parameters and buffers are converted, the others are not. Call it again when there is room.`,
        );
      throw error;
    }
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
    checkArguments("registerForwardPreHook", { hook }, { hook: callable });
    const hooks = (this.#preHooks ??= new Set());
    hooks.add(hook);
    return { remove: () => void hooks.delete(hook) };
  }
  /** Called after forward by {@link call}; may return another output. */
  registerForwardHook(hook: ForwardHook): HookHandle {
    atMost("registerForwardHook", arguments, 1);
    checkArguments("registerForwardHook", { hook }, { hook: callable });
    const hooks = (this.#hooks ??= new Set());
    hooks.add(hook);
    return { remove: () => void hooks.delete(hook) };
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
