/** The base of every layer and model: its fields are its tree. */
import { ArgumentError, NbitError } from "../errors.js";
import { noGrad } from "../autograd/modes.js";
import { isTensor } from "../tensor/handle.js";
import { keep, scope } from "../tensor/scope.js";
import { isFloatingPoint, isComplex, isDType, type DType } from "../tensor/dtype.js";
import { Device, type DeviceLike } from "../tensor/device.js";
import { TensorList } from "../tensor/list.js";
import type { Tensor } from "../tensor/tensor.js";
import { Parameter } from "./parameter.js";

export type StateDict = Map<string, Tensor>;
export interface HookHandle {
  remove(): void;
}
export type ForwardPreHook = (module: Module, args: readonly unknown[]) => readonly unknown[] | void;
export type ForwardHook = (module: Module, args: readonly unknown[], output: unknown) => unknown;
export interface LoadResult {
  readonly missingKeys: readonly string[];
  readonly unexpectedKeys: readonly string[];
}

/** `runningMean` → `running_mean`: the keys of state dicts are PyTorch's, so that checkpoints go both ways. */
export function snakeCase(name: string): string {
  return name.replace(/(?<=[a-z0-9])([A-Z])/g, (c) => `_${c.toLowerCase()}`);
}

/**
 * Base class of layers and models.
 *
 * Fields are the tree: every own enumerable field that is a {@link Parameter} or a Module belongs to it, in the order of declaration; tensors registered with
 * {@link registerBuffer} are its buffers. Keys of the state dict are the field names in snake case, joined by dots, as PyTorch's. A parameter or module that is reached twice counts once.
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

  /** Compute the module's output. The name is the contract; the types are each module's own. */
  abstract forward(...args: never[]): unknown;

  // ---------------------------------------------------------------- the tree

  /** Register a tensor that belongs to the state but is not learned. Its field holds it. */
  registerBuffer(name: string, tensor: Tensor | null, options: { readonly persistent?: boolean } = {}): void {
    if (tensor !== null && !isTensor(tensor)) throw new ArgumentError("registerBuffer", `${name} to be a tensor or null`, tensor);
    if (tensor !== null) keep(tensor);
    (this.#buffers ??= new Map()).set(name, options.persistent ?? true);
    this.#set(name, tensor);
  }

  #set(name: string, value: unknown): void {
    Object.defineProperty(this, name, { value, writable: true, configurable: true, enumerable: true });
  }

  /** Direct submodules with their names, in order. */
  *namedChildren(): IterableIterator<[string, Module]> {
    const seen = new Set<Module>();
    for (const [name, value] of Object.entries(this)) {
      if (value instanceof Module && !seen.has(value)) {
        seen.add(value);
        yield [name, value];
      }
    }
  }
  *children(): IterableIterator<Module> {
    for (const [, child] of this.namedChildren()) yield child;
  }
  /** This module and all below it, parents first; each once, so that cycles end. */
  *namedModules(prefix = "", seen: Set<Module> = new Set()): IterableIterator<[string, Module]> {
    if (seen.has(this)) return;
    seen.add(this);
    yield [prefix, this];
    for (const [name, child] of this.namedChildren()) yield* child.namedModules(prefix === "" ? snakeCase(name) : `${prefix}.${snakeCase(name)}`, seen);
  }
  *modules(): IterableIterator<Module> {
    for (const [, m] of this.namedModules()) yield m;
  }
  *#own(kind: "parameter" | "buffer"): IterableIterator<[string, Tensor]> {
    for (const [name, value] of Object.entries(this)) {
      if (!isTensor(value)) continue;
      const isParameter = value instanceof Parameter;
      if (kind === "parameter" ? isParameter : !isParameter && this.#buffers?.has(name) === true) yield [name, value];
    }
  }
  *namedParameters(options: { readonly prefix?: string; readonly recurse?: boolean } = {}): IterableIterator<[string, Parameter]> {
    const seen = new Set<Tensor>();
    const modules: Iterable<[string, Module]> = options.recurse === false ? [[options.prefix ?? "", this]] : this.namedModules(options.prefix ?? "");
    for (const [path, m] of modules)
      for (const [name, p] of m.#own("parameter")) {
        if (seen.has(p)) continue;
        seen.add(p);
        yield [path === "" ? snakeCase(name) : `${path}.${snakeCase(name)}`, p as Parameter];
      }
  }
  parameters(): Parameter[] {
    return Array.from(this.namedParameters(), ([, p]) => p);
  }
  *namedBuffers(): IterableIterator<[string, Tensor]> {
    const seen = new Set<Tensor>();
    for (const [path, m] of this.namedModules())
      for (const [name, b] of m.#own("buffer")) {
        if (seen.has(b)) continue;
        seen.add(b);
        yield [path === "" ? snakeCase(name) : `${path}.${snakeCase(name)}`, b];
      }
  }
  buffers(): Tensor[] {
    return Array.from(this.namedBuffers(), ([, b]) => b);
  }
  /** The module at a path such as `layers.0.fc`. */
  getSubmodule(path: string): Module {
    for (const [name, m] of this.namedModules()) if (name === path) return m;
    throw new ArgumentError("getSubmodule", `the path of a submodule (${Array.from(this.namedModules(), ([n]) => n).slice(1, 8).join(", ")}, …)`, path);
  }
  getParameter(path: string): Parameter {
    for (const [name, p] of this.namedParameters()) if (name === path) return p;
    throw new ArgumentError("getParameter", "the path of a parameter", path);
  }

  // ---------------------------------------------------------------- state

  /** Parameters and persistent buffers by path; the tensors themselves, not copies. */
  stateDict(): StateDict {
    const state: StateDict = new Map();
    this.#collect("", state, new Set());
    return state;
  }
  // PyTorch's order: a module's own parameters, its own buffers, then its children. Shared tensors appear under every name.
  #collect(prefix: string, state: StateDict, path: Set<Module>): void {
    if (path.has(this)) throw new NbitError(`stateDict: expected a tree of modules. Received: a cycle at "${prefix}". A module must not contain itself.`, "MODULE_CYCLE");
    path.add(this);
    for (const [name, p] of this.#own("parameter")) state.set(prefix + snakeCase(name), p);
    for (const [name, b] of this.#own("buffer")) if (this.#buffers?.get(name) === true) state.set(prefix + snakeCase(name), b);
    for (const [name, value] of Object.entries(this)) if (value instanceof Module) value.#collect(`${prefix}${snakeCase(name)}.`, state, path);
    path.delete(this);
  }

  /**
   * Copy values into parameters and buffers by name.
   * @param options.strict - Every name must be on both sides. Default true.
   * @throws {NbitError} `STATE_DICT_MISMATCH`, listing everything missing, unexpected or of another shape, before anything is copied.
   */
  loadStateDict(state: ReadonlyMap<string, Tensor> | Readonly<Record<string, Tensor>>, options: { readonly strict?: boolean } = {}): LoadResult {
    const given: ReadonlyMap<string, Tensor> = state instanceof Map ? state : new Map(Object.entries(state));
    // The tensors themselves, also where a wrapper makes stateDict() give copies.
    const own = Module.prototype.stateDict.call(this);
    const missingKeys = [...own.keys()].filter((k) => !given.has(k));
    const unexpectedKeys = [...given.keys()].filter((k) => !own.has(k));
    const problems: string[] = [];
    if (options.strict ?? true) {
      if (missingKeys.length > 0) problems.push(`missing: ${missingKeys.join(", ")}`);
      if (unexpectedKeys.length > 0) problems.push(`unexpected: ${unexpectedKeys.join(", ")}`);
    }
    for (const [key, target] of own) {
      const source = given.get(key);
      if (source === undefined) continue;
      if (!isTensor(source)) problems.push(`${key} is not a tensor`);
      else if (String(source.shape) !== String(target.shape)) problems.push(`${key} has shape [${source.shape.join(", ")}], expected [${target.shape.join(", ")}]`);
    }
    if (problems.length > 0) throw new NbitError(`loadStateDict: expected the state of this ${this.constructor.name || "module"}. Received: a state with ${problems.join("; ")}. Pass { strict: false } to load what fits by name.`, "STATE_DICT_MISMATCH");
    noGrad(() => {
      for (const [key, target] of own) {
        const source = given.get(key);
        if (source !== undefined) target.copy_(source);
      }
    });
    return { missingKeys, unexpectedKeys };
  }

  // ---------------------------------------------------------------- modes, devices, dtypes

  train(mode = true): this {
    for (const m of this.modules()) m.training = mode;
    return this;
  }
  eval(): this {
    return this.train(false);
  }
  /** Call `fn` for every module, children first. */
  apply(fn: (module: Module) => void): this {
    for (const m of [...this.modules()].reverse()) fn(m);
    return this;
  }
  requiresGrad_(on = true): this {
    for (const p of this.parameters()) p.requiresGrad_(on);
    return this;
  }
  zeroGrad(options: { readonly setToNone?: boolean } = {}): void {
    if (options.setToNone ?? true) TensorList.of(this.parameters()).clearGrads();
    else for (const p of this.parameters()) p.grad?.detach().zero_();
  }
  /** Move and cast parameters, gradients and buffers; only floating point and complex ones are cast. The parameters keep their identity, so optimizers keep theirs. */
  to(target: DType | DeviceLike | { readonly dtype?: DType | undefined; readonly device?: DeviceLike | undefined; readonly nonBlocking?: boolean | undefined }): this {
    const options = typeof target === "string" ? (isDType(target) ? { dtype: target } : { device: target }) : target instanceof Device ? { device: target } : target;
    if (options.dtype !== undefined && !isFloatingPoint(options.dtype) && !isComplex(options.dtype)) throw new ArgumentError("Module.to", "dtype to be a floating point or complex dtype", options.dtype);
    const convert = (t: Tensor): Tensor => t.detach().to(isFloatingPoint(t.dtype) || isComplex(t.dtype) ? options : { ...options, dtype: undefined });
    for (const m of this.modules()) {
      for (const [, p] of m.#own("parameter")) {
        const next = convert(p);
        const grad = p.grad;
        if (grad !== null) p.grad = null;
        p.setData(next);
        if (grad !== null) p.grad = convert(grad);
      }
      for (const [name, b] of m.#own("buffer")) {
        const next = convert(b);
        if (next.dtype !== b.dtype || next.device !== b.device) b.setData(next);
        else m.#set(name, b);
      }
    }
    return this;
  }
  float(): this {
    return this.to("float32");
  }
  double(): this {
    return this.to("float64");
  }
  half(): this {
    return this.to("float16");
  }
  bfloat16(): this {
    return this.to("bfloat16");
  }
  cpu(): this {
    return this.to("cpu");
  }
  cuda(index?: number): this {
    return this.to(index === undefined ? "cuda" : `cuda:${index}`);
  }

  // ---------------------------------------------------------------- hooks

  /** Called before forward by {@link call}; may return other arguments. */
  registerForwardPreHook(hook: ForwardPreHook): HookHandle {
    const hooks = (this.#preHooks ??= new Set());
    hooks.add(hook);
    return { remove: () => void hooks.delete(hook) };
  }
  /** Called after forward by {@link call}; may return another output. */
  registerForwardHook(hook: ForwardHook): HookHandle {
    const hooks = (this.#hooks ??= new Set());
    hooks.add(hook);
    return { remove: () => void hooks.delete(hook) };
  }
  /**
   * Forward with hooks, in a {@link scope} of its own: what the module made on the way and backward does not need is freed when it returns, as Python frees local variables.
   * Use it for the larger parts of a model; `forward` itself costs nothing more than its operators.
   */
  call<M extends Module>(this: M, ...args: Parameters<M["forward"]>): ReturnType<M["forward"]> {
    return this.callWithHooks(args) as ReturnType<M["forward"]>;
  }
  /** @internal */
  callWithHooks(args: readonly unknown[]): unknown {
    let inputs = args;
    if (this.#preHooks !== null) for (const hook of this.#preHooks) inputs = hook(this, inputs) ?? inputs;
    let output: unknown = scope(() => (this.forward as (...a: readonly unknown[]) => unknown).apply(this, [...inputs]));
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
    const lines = Array.from(this.namedChildren(), ([name, child]) => `  (${snakeCase(name)}): ${child.toString().replaceAll("\n", "\n  ")}`);
    const extra = this.extraRepr();
    if (lines.length === 0) return `${this.constructor.name}(${extra})`;
    return `${this.constructor.name}(\n${extra === "" ? "" : `  ${extra}\n`}${lines.join("\n")}\n)`;
  }
  [Symbol.for("nodejs.util.inspect.custom")](): string {
    return this.toString();
  }
}
