/** The base of every layer and model: its fields are its tree. */
import { COPY, copiedByConstruction, copyFields, copyOf, emptyLike, type Copies } from "../deep-copy.js";
import { ArgumentError, NbitError } from "../errors.js";
import { addHook, type HookHandle } from "../hooks.js";
import { callable, filled, flag, instanceOf, orNull, such, text, whole } from "../kinds.js";
import { atMost, checkArguments, optionsFrom, type Given, type OptionNames } from "../options.js";
import { plainText } from "../plain-text.js";
import { isTensor } from "../tensor/handle.js";
import type { DeviceLike } from "../tensor/device.js";
import type { DType } from "../tensor/dtype.js";
import { deviceKind, dtypeKind, tensorKind } from "../tensor/kinds.js";
import { TensorList } from "../tensor/list.js";
import { keep, outsideScopes, scope } from "../tensor/scope.js";
import type { Tensor } from "../tensor/tensor.js";
import { ZERO_GRAD, type ZeroGradOptions } from "../zero-grad.js";
import {
  CallHooks,
  type BackwardHook,
  type BackwardHookOptions,
  type BackwardPreHook,
  type ForwardHook as AnyForwardHook,
  type ForwardHookOptions,
  type ForwardHookWithKwargs,
  type ForwardPreHook as AnyForwardPreHook,
  type PreHookOptions,
} from "./call-hooks.js";
import { Buffer } from "./buffer.js";
import { EXTRA_STATE, extraStateOf, extraStateTensor } from "./extra-state.js";
import { noteClass, registrations } from "./global-hooks.js";
import { declaresParameter, keyOf } from "./keys.js";
import { convertModules, emptyModules, moduleToOptions, type ModuleTarget } from "./module-to.js";
import { Parameter } from "./parameter.js";
import {
  copyOfState,
  LOAD_STATE,
  loadState,
  STATE_DICT,
  stateKind,
  type ExtraState,
  type IncompatibleKeys,
  type LoadResult,
  type LoadStateOptions,
  type StateDict,
  type StateDictOptions,
} from "./state-dict.js";
import { eachState, type StateEntry, type StateVisits } from "./state-entries.js";
import { StateHooks, type LoadPreHook, type StatePostHook, type StatePreHook } from "./state-hooks.js";
import { isUninitialized } from "./uninitialized.js";
import type { WeightCodes } from "./weight-codes.js";
import { below, Tree, type Field, type NamedModulesOptions, type NamedOptions } from "./tree.js";

export type { HookHandle, IncompatibleKeys, LoadResult, LoadStateOptions, StateDict };
export type ForwardPreHook = AnyForwardPreHook<Module>;
export type ForwardHook = AnyForwardHook<Module>;
export interface BufferOptions {
  /** Whether the state dict has it. Default true. */
  readonly persistent?: boolean;
}
export interface SetSubmoduleOptions {
  /** Only in the place of a module that is there. Default false. */
  readonly strict?: boolean;
}
export interface ToEmptyOptions {
  readonly device: DeviceLike;
  /** Those of the modules below too. Default true. */
  readonly recurse?: boolean;
}
const PARAMETER = such<Parameter>("a Parameter", (value) => value instanceof Parameter);
const BUFFER: OptionNames<BufferOptions> = { persistent: flag };
const NAMED: OptionNames<NamedOptions> = { prefix: text, recurse: flag, removeDuplicate: flag };
const NAMED_MODULES: OptionNames<NamedModulesOptions> = { prefix: text, removeDuplicate: flag };
const SET_SUBMODULE: OptionNames<SetSubmoduleOptions> = { strict: flag };
const TO_EMPTY: OptionNames<ToEmptyOptions> = { device: deviceKind, recurse: flag };
type NamedRest = Given<NamedOptions, [prefix: string, recurse?: boolean, removeDuplicate?: boolean]>;

function* named(
  fields: Iterable<{ readonly name: string; readonly value: Module }>,
): IterableIterator<[string, Module]> {
  for (const { name, value } of fields) yield [name, value];
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
 * stays as it is), or what the class says in {@link Module.stateKeys}, joined by dots, as PyTorch's; two fields with one
 * key are an error, and so is a plain tensor in a field that held a parameter. A parameter or module that is reached
 * twice counts once: weights are tied by `this.head.weight = this.embedding.weight`.
 *
 * @example
 * class Net extends Module {
 *   readonly fc1 = new Linear(4, 8);
 *   readonly fc2 = new Linear(8, 2);
 *   forward(x: Tensor): Tensor { return this.fc2.forward(relu(this.fc1.forward(x))); }
 * }
 */
export abstract class Module {
  /**
   * Keys of fields whose own names are not PyTorch's in camelCase: `static override readonly stateKeys = { wB: "wB" }`
   * keeps `wB`, which would be `w_b`. Classes that extend the class have them too.
   */
  static readonly stateKeys: Readonly<Record<string, string>> = {};

  /** Dropout, batch normalisation and the like behave differently while true. */
  training = true;
  #buffers: Map<string, boolean> | null = null;
  /** Fields that held a parameter. */
  #parameters: Set<string> | null = null;
  #hooks: CallHooks | null = null;
  #stateHooks: StateHooks<Module> | null = null;

  constructor() {
    // Layers without arguments, and modules whose classes have no constructor, pass on what they are given.
    atMost(new.target.name || "Module", arguments, 0);
    noteClass(new.target.prototype);
  }

  /** Compute the module's output. The name is the contract; the types are each module's own. */
  abstract forward(...args: never[]): unknown;

  // ---------------------------------------------------------------- the tree

  static readonly #tree = new Tree<Module>((module) => module.#fields());

  #fields(): Field<Module>[] {
    const fields: Field<Module>[] = [];
    for (const name of this.fieldNames()) {
      let value: unknown = Reflect.get(this, name);
      if (typeof value !== "object" || value === null) continue;
      if (registrations.active) value = this.#seen(name, value);
      if (value instanceof Module) {
        this.#parameters?.delete(name);
        fields.push({ kind: "module", name, key: this.stateKey(name), value });
      } else if (!isTensor(value)) continue;
      else if (value instanceof Parameter) {
        (this.#parameters ??= new Set()).add(name);
        fields.push({ kind: "parameter", name, key: this.stateKey(name), value });
      } else {
        // Once seen, the field is a buffer's, also when a plain tensor takes its place.
        if (value instanceof Buffer && this.#buffers?.has(name) !== true)
          (this.#buffers ??= new Map()).set(name, value.persistent);
        const persistent = this.#buffers?.get(name);
        if (persistent !== undefined)
          fields.push({ kind: "buffer", name, key: this.stateKey(name), value, persistent });
        else if (this.#isForParameter(name) && "value" in (Object.getOwnPropertyDescriptor(this, name) ?? {}))
          fields.push({ kind: "misplaced", name, key: this.stateKey(name), value });
      }
    }
    return fields;
  }

  /** Tells hooks of all modules of a field, the first time that it is looked at with this value. */
  #seen(name: string, value: object): unknown {
    const kind =
      value instanceof Module
        ? "module"
        : value instanceof Parameter
          ? "parameter"
          : isTensor(value) && (value instanceof Buffer || this.#buffers?.has(name) === true)
            ? "buffer"
            : null;
    if (kind === null || !registrations.isNew(this, name, value)) return value;
    const given = registrations.tell(kind, this, name, value);
    if (given !== value) Reflect.set(this, name, given);
    return given;
  }

  /** Own fields in the order of the tree. Containers whose names are numbers, which JavaScript puts first, have theirs. */
  protected fieldNames(): readonly string[] {
    return Object.keys(this);
  }

  #isForParameter(name: string): boolean {
    return this.#parameters?.has(name) === true || declaresParameter(this.constructor, name);
  }

  /** The part of a field in names of state dicts, parameters and modules: see {@link Module.stateKeys}. */
  stateKey(name: string): string {
    atMost("stateKey", arguments, 1);
    return keyOf(this.constructor, name);
  }

  /** Register a tensor that belongs to the state but is not learned. Its field holds it. */
  registerBuffer(name: string, tensor: Tensor | null, ...rest: Given<BufferOptions, [persistent: boolean]>): void {
    const options = optionsFrom("registerBuffer", 2, rest, BUFFER, 1);
    checkArguments("registerBuffer", { name, tensor }, { name: filled, tensor: orNull(tensorKind) });
    this.#checkName("registerBuffer", name, (taken) => isTensor(taken) && !(taken instanceof Parameter));
    const given = registrations.tell("buffer", this, name, tensor) as Tensor | null;
    if (given !== null) keep(given);
    (this.#buffers ??= new Map()).set(name, options.persistent ?? true);
    this.#define(name, given);
  }
  /** The field `name` with a parameter; null: with none, as layers without a bias have it. */
  registerParameter(name: string, param: Parameter | null): void {
    atMost("registerParameter", arguments, 2);
    checkArguments("registerParameter", { name, param }, { name: filled, param: orNull(PARAMETER) });
    this.#checkName("registerParameter", name, (taken) => taken instanceof Parameter);
    (this.#parameters ??= new Set()).add(name);
    this.#define(name, param === null ? null : registrations.tell("parameter", this, name, param));
  }
  /** The field `name` with a module below this one; null: with none. */
  registerModule(name: string, module: Module | null): void {
    atMost("registerModule", arguments, 2);
    this.#register("registerModule", name, module);
  }
  /** The same as {@link registerModule}, under PyTorch's older name. */
  addModule(name: string, module: Module | null): void {
    atMost("addModule", arguments, 2);
    this.#register("addModule", name, module);
  }
  #register(fn: string, name: string, module: Module | null): void {
    checkArguments(fn, { name, module }, { name: filled, module: orNull(instanceOf("a Module", Module)) });
    this.#checkName(fn, name, (taken) => taken instanceof Module);
    this.#define(name, registrations.tell("module", this, name, module));
  }
  #define(name: string, value: unknown): void {
    Object.defineProperty(this, name, { value, writable: true, configurable: true, enumerable: true });
  }
  /** @internal The field is no parameter any more: it may hold what is computed from others. */
  forgetParameter(name: string): void {
    this.#parameters?.delete(name);
    Reflect.deleteProperty(this, name);
  }

  #checkName(fn: string, name: string, mayReplace: (taken: unknown) => boolean): void {
    const taken: unknown = Reflect.get(this, name);
    if (name.includes(".")) throw new ArgumentError(fn, "a name without dots, which separate modules in keys", name);
    if (taken !== undefined && taken !== null && !mayReplace(taken))
      throw new ArgumentError(fn, "the name of a field that is not taken by something else", name);
    const others = [...this.#fields().map((field) => field.name), ...(this.#buffers?.keys() ?? [])];
    const key = this.stateKey(name);
    const other = others.find((each) => each !== name && this.stateKey(each) === key);
    if (other !== undefined) throw new ArgumentError(fn, `a name whose key "${key}" is not that of ${other}`, name);
  }

  /** Direct submodules with the names of their fields, in order. */
  namedChildren(): IterableIterator<[string, Module]> {
    atMost("namedChildren", arguments, 0);
    return named(Module.#tree.children("namedChildren", this));
  }
  children(): IterableIterator<Module> {
    atMost("children", arguments, 0);
    return seconds(named(Module.#tree.children("children", this)));
  }
  /** This module and all below it, parents first; each once, so that cycles end, unless `removeDuplicate` is false. */
  namedModules(...rest: Given<NamedModulesOptions, [prefix: string]>): IterableIterator<[string, Module]> {
    const { prefix = "", removeDuplicate = true } = optionsFrom("namedModules", 0, rest, NAMED_MODULES, 1);
    return removeDuplicate
      ? Module.#tree.modules("namedModules", this, prefix)
      : Module.#tree.everyModule("namedModules", this, prefix);
  }
  modules(): IterableIterator<Module> {
    atMost("modules", arguments, 0);
    return seconds(Module.#tree.modules("modules", this));
  }
  namedParameters(...rest: NamedRest): IterableIterator<[string, Parameter]> {
    const fn = "namedParameters";
    return Module.#tree.parameters(fn, this, optionsFrom(fn, 0, rest, NAMED, 3));
  }
  parameters(recurse = true): Parameter[] {
    atMost("parameters", arguments, 1);
    checkArguments("parameters", { recurse }, { recurse: flag });
    return Array.from(Module.#tree.parameters("parameters", this, { recurse }), ([, p]) => p);
  }
  namedBuffers(...rest: NamedRest): IterableIterator<[string, Tensor]> {
    const fn = "namedBuffers";
    return Module.#tree.buffers(fn, this, optionsFrom(fn, 0, rest, NAMED, 3));
  }
  buffers(recurse = true): Tensor[] {
    atMost("buffers", arguments, 1);
    checkArguments("buffers", { recurse }, { recurse: flag });
    return Array.from(Module.#tree.buffers("buffers", this, { recurse }), ([, b]) => b);
  }
  /** The module at a path such as `layers.0.fc`; this one at "". */
  getSubmodule(path: string): Module {
    atMost("getSubmodule", arguments, 1);
    if (path === "") return this;
    const field = typeof path === "string" ? Module.#tree.find("getSubmodule", this, path) : null;
    if (field?.kind === "module") return field.value;
    throw new ArgumentError(
      "getSubmodule",
      `the path of a submodule (${Array.from(this.namedModules(), ([n]) => n)
        .slice(1, 8)
        .join(", ")}, …)`,
      path,
    );
  }
  /**
   * Put a module where a path says, in the place of the one there, or in a new field of the module above.
   * @throws {ArgumentError} when there is no module above, when something else than a module is in the place, and with
   * `strict` when there is none.
   */
  setSubmodule(path: string, module: Module, ...rest: Given<SetSubmoduleOptions, [strict: boolean]>): void {
    const fn = "setSubmodule";
    const { strict = false } = optionsFrom(fn, 2, rest, SET_SUBMODULE, 1);
    checkArguments(fn, { path, module }, { path: filled, module: instanceOf("a Module", Module) });
    const parts = path.split(".");
    const last = parts.pop() as string;
    const parent = this.getSubmodule(parts.join("."));
    const there = Module.#tree.find(fn, parent, last);
    const name = there?.name ?? last;
    if (there?.kind !== "module" && (strict || (Reflect.get(parent, name) ?? null) !== null))
      throw new ArgumentError(fn, `the path of a submodule${strict ? "" : ", or of a free field"}`, path);
    if (there === null) parent.registerModule(name, module);
    else Reflect.set(parent, name, module);
  }
  getParameter(path: string): Parameter {
    atMost("getParameter", arguments, 1);
    const field = typeof path === "string" ? Module.#tree.find("getParameter", this, path) : null;
    if (field?.kind === "parameter") return field.value;
    throw new ArgumentError("getParameter", "the path of a parameter", path);
  }
  getBuffer(path: string): Tensor {
    atMost("getBuffer", arguments, 1);
    const field = typeof path === "string" ? Module.#tree.find("getBuffer", this, path) : null;
    if (field?.kind === "buffer") return field.value;
    throw new ArgumentError("getBuffer", "the path of a buffer", path);
  }

  // ---------------------------------------------------------------- state

  /**
   * Parameters and persistent buffers by path, and extra state. The tensors share memory with the module's: copy them
   * (`deepcopy`) to keep values. They are detached and live outside every scope, or, with `keepVars`, the module's own.
   */
  stateDict(...rest: Given<StateDictOptions, []>): StateDict {
    const { prefix = "", keepVars = false } = optionsFrom("stateDict", 0, rest, STATE_DICT, 0);
    const state: StateDict = new Map();
    this.#eachState("stateDict", prefix, ({ key, tensor }) => state.set(key, keepVars ? tensor : apart(tensor)), {
      before: (module, front) => module.#stateHooks?.beforeSave(module, front, keepVars),
      own: (module, front) => {
        if (module.#hasExtraState)
          state.set(front + EXTRA_STATE, extraStateTensor(module.constructor.name, module.getExtraState()));
      },
      after: (module, front) => module.#stateHooks?.afterSave(module, state, front),
    });
    return state;
  }
  #eachState(fn: string, prefix: string, add: (entry: StateEntry<Module>) => void, visits?: StateVisits<Module>): void {
    eachState(fn, Module.#tree, this, prefix, (module) => module.optionalState, add, visits);
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
  get #hasExtraState(): boolean {
    return this.getExtraState !== Module.prototype.getExtraState;
  }
  /**
   * What belongs to the state beside parameters and buffers: a tensor, or plain data (numbers, strings, booleans, null,
   * and arrays, objects, Maps and Sets of those). Override it together with {@link setExtraState}. The state dict has it
   * under `_extra_state`, behind the module's path: plain data as the bytes of a text, in a tensor, which `.pt` files hold
   * as the values themselves, as PyTorch's do.
   */
  getExtraState(): unknown {
    atMost("getExtraState", arguments, 0);
    throw new NbitError(`${this.constructor.name}.getExtraState: expected to be overridden.`, "NO_EXTRA_STATE");
  }
  /** Takes what {@link getExtraState} gave, when a state dict is loaded. */
  setExtraState(_state: unknown): void {
    atMost("setExtraState", arguments, 1);
    throw new NbitError(`${this.constructor.name}.setExtraState: expected to be overridden.`, "NO_EXTRA_STATE");
  }
  /**
   * Copy values into parameters and buffers by name.
   * @param options.strict - Every name must be on both sides. Default true. Keys that versions up to 0.1 wrote
   * (`Layer_norm` for a field `LayerNorm`) are read where they can mean one field only.
   * @param options.assign - Put the given tensors into the fields instead. Default false.
   * @throws {NbitError} `STATE_DICT_MISMATCH`, listing everything missing, unexpected, of another shape, or of a dtype
   * whose values would be lost (complex into real, fractions into whole numbers, codes of low-bit weights into anything
   * else), before anything is copied; only where there are hooks after the load, which may forgive missing and
   * unexpected keys, are these looked at behind it. `STATE_DICT_KEY` when two fields have one key.
   */
  loadStateDict(
    state: ReadonlyMap<string, Tensor> | Readonly<Record<string, Tensor>>,
    ...rest: Given<LoadStateOptions, [strict: boolean, assign?: boolean]>
  ): LoadResult {
    const options = optionsFrom("loadStateDict", 1, rest, LOAD_STATE, 2);
    checkArguments("loadStateDict", { state }, { state: stateKind });
    const given = copyOfState(state);
    const found = { missingKeys: [] as string[], unexpectedKeys: [] as string[], errors: [] as string[] };
    const strict = options.strict ?? true;
    const entries: StateEntry<Module>[] = [];
    const extras: ExtraState[] = [];
    const afterwards: ((keys: IncompatibleKeys) => void)[] = [];
    // The tensors themselves, also where a wrapper makes stateDict() return copies.
    this.#eachState("loadStateDict", "", (entry) => entries.push(entry), {
      before: (module, front) => module.#stateHooks?.beforeLoad(module, given, front, strict, found),
      own: (module, front) => {
        if (module.#hasExtraState)
          extras.push({ key: front + EXTRA_STATE, set: (extra) => module.setExtraState(extraStateOf(extra)) });
      },
      after: (module) => {
        const hooks = module.#stateHooks;
        if (hooks?.hasAfterLoad === true) afterwards.push((keys) => hooks.afterLoad(module, keys));
      },
    });
    const type = this.constructor.name || "module";
    const problems = (): Iterable<string> => this.#stateProblems(given);
    return loadState({ type, entries, extras, given, found, problems, afterwards }, options);
  }
  *#stateProblems(given: ReadonlyMap<string, Tensor>): IterableIterator<string> {
    for (const [path, module] of Module.#tree.modules("loadStateDict", this)) {
      const problem = module.stateProblem((key) => {
        const value = given.get(below(path, key));
        return isTensor(value) && !value.disposed ? value : undefined;
      });
      if (problem !== null) yield `${path === "" ? this.constructor.name : path} ${problem}`;
    }
  }
  /** Called by {@link stateDict} before the module's tensors are collected: `hook(module, prefix, keepVars)`. */
  registerStateDictPreHook(hook: StatePreHook<Module>): HookHandle {
    atMost("registerStateDictPreHook", arguments, 1);
    return addHook("registerStateDictPreHook", (this.#stateHooks ??= new StateHooks<Module>()).save, hook);
  }
  /** Called when all below the module is collected; may change the Map: `hook(module, stateDict, prefix, localMetadata)`. */
  registerStateDictPostHook(hook: StatePostHook<Module>): HookHandle {
    atMost("registerStateDictPostHook", arguments, 1);
    return addHook("registerStateDictPostHook", (this.#stateHooks ??= new StateHooks<Module>()).saved, hook);
  }
  /**
   * Called by {@link loadStateDict} before anything is compared; may change the Map, which is a copy of what was given:
   * `hook(module, stateDict, prefix, localMetadata, strict, missingKeys, unexpectedKeys, errorMsgs)`.
   */
  registerLoadStateDictPreHook(hook: LoadPreHook<Module>): HookHandle {
    atMost("registerLoadStateDictPreHook", arguments, 1);
    return addHook("registerLoadStateDictPreHook", (this.#stateHooks ??= new StateHooks<Module>()).load, hook);
  }
  /**
   * Called when everything is loaded: `hook(module, { missingKeys, unexpectedKeys })`. What it takes out of the lists is
   * no error any more.
   */
  registerLoadStateDictPostHook(hook: (module: Module, incompatibleKeys: IncompatibleKeys) => void): HookHandle {
    atMost("registerLoadStateDictPostHook", arguments, 1);
    return addHook("registerLoadStateDictPostHook", (this.#stateHooks ??= new StateHooks<Module>()).loaded, hook);
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
    Module.#tree.childrenFirst("apply", this, fn);
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
   * is. A complex dtype casts both. Whole numbers stay. `memoryFormat: "channelsLast"` lays what has 4 dimensions so.
   * @example net.to("cuda"); net.to("cuda", "float64"); net.to(other); net.to({ memoryFormat: "channelsLast" })
   */
  to(...target: ModuleTarget): this {
    convertModules(Module.#tree, this.modules(), moduleToOptions(target));
    for (const module of this.modules()) module.converted();
    return this;
  }
  /** @internal Called when parameters have got other memory. */
  protected converted(): void {
    atMost("converted", arguments, 0);
  }
  /** Cast parameters and buffers: `to(dtype)`. */
  type(dtype: DType): this {
    atMost("Module.type", arguments, 1);
    checkArguments("Module.type", { dtype }, { dtype: dtypeKind });
    return this.to(dtype);
  }
  /**
   * Give parameters and buffers memory on a device, without their values: for modules that were made on the device
   * "meta".
   */
  toEmpty(...rest: Given<ToEmptyOptions, [device: DeviceLike, recurse?: boolean]>): this {
    const { device, recurse = true } = optionsFrom("toEmpty", 0, rest, TO_EMPTY, 2);
    checkArguments("toEmpty", { device }, { device: deviceKind });
    emptyModules(Module.#tree, recurse ? this.modules() : [this], device);
    return this;
  }
  /**
   * Does nothing, and is here for programs that call it: one process trains with its parameters where they are, and
   * processes exchange tensors by `distributed`.
   */
  shareMemory(): this {
    atMost("shareMemory", arguments, 0);
    return this;
  }
  /** Does nothing, whatever the options: operators run as they are called. The Trainer records and replays steps. */
  compile(..._options: unknown[]): this {
    return this;
  }
  /**
   * A deep copy: every parameter, buffer and module below has a copy of its own, what is tied stays tied, hooks are the
   * same functions, other fields are copied as `deepcopy` does. Gradients of parameters are not copied.
   * @throws {NbitError} `DEEPCOPY` for a class with private fields (`#name`).
   */
  clone(): this {
    atMost("clone", arguments, 0);
    return copyOf(this, new Map()) as this;
  }
  /** @internal */
  [COPY](copies: Copies): unknown {
    const copy = emptyLike("clone", this) as this;
    copies.set(this, copy);
    copy.#buffers = this.#buffers === null ? null : new Map(this.#buffers);
    copy.#parameters = this.#parameters === null ? null : new Set(this.#parameters);
    for (const name of Object.keys(copy)) if (!Object.hasOwn(this, name)) Reflect.deleteProperty(copy, name);
    // What wraps forward for a time, as hooks do, is this module's alone.
    const wraps = (name: PropertyKey): boolean => {
      const own = name === "forward" ? Object.getOwnPropertyDescriptor(this, name) : undefined;
      return own !== undefined && (!(own.enumerable ?? false) || this.#hooks?.isOwn(own) === true);
    };
    copyFields(this, copy, copies, wraps);
    for (const value of Object.values(copy) as unknown[]) if (isTensor(value)) keep(value);
    copy.#hooks = this.#hooks?.copyFor(copy) ?? null;
    copy.#stateHooks = this.#stateHooks?.copy() ?? null;
    copy.copiedFrom(this);
    return copy;
  }
  /** @internal Takes over what private fields hold, in a class whose copies are made by its constructor. */
  protected copiedFrom(_original: this): void {
    atMost("copiedFrom", arguments, 1);
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

  /**
   * Called before forward, however it is called; may return other arguments, as an array, or one that is none. From
   * then on the module has a field `forward` of its own, until the hook is removed; without hooks nothing is slower.
   */
  registerForwardPreHook(hook: ForwardPreHook, ...rest: Given<PreHookOptions, []>): HookHandle {
    return this.#callHooks.add("registerForwardPreHook", "pre", hook, rest);
  }
  /**
   * Called after forward, however it is called; may return another output. It sees what forward returned: `keep(t)` what
   * it is to hold beyond the scope of the call.
   */
  registerForwardHook(
    hook: ForwardHookWithKwargs<Module>,
    options: ForwardHookOptions & { readonly withKwargs: true },
  ): HookHandle;
  registerForwardHook(hook: ForwardHook, options?: ForwardHookOptions & { readonly withKwargs?: false }): HookHandle;
  registerForwardHook(hook: ForwardHook | ForwardHookWithKwargs<Module>, ...rest: readonly unknown[]): HookHandle {
    return this.#callHooks.add("registerForwardHook", "post", hook, rest);
  }
  /**
   * Called in backward when the gradients with respect to the module's inputs are there: `hook(module, gradInput,
   * gradOutput)`, arrays by position with null for what is no tensor. May return other gradients of the inputs. Where no
   * input needs a gradient, it is called when those of the outputs are there.
   */
  registerFullBackwardHook(
    hook: BackwardHook<Module>,
    ...rest: Given<BackwardHookOptions, [prepend: boolean]>
  ): HookHandle {
    return this.#callHooks.add("registerFullBackwardHook", "backward", hook, rest);
  }
  /**
   * Called in backward when the gradients with respect to the module's outputs are there: `hook(module, gradOutput)`. May
   * return others.
   */
  registerFullBackwardPreHook(
    hook: BackwardPreHook<Module>,
    ...rest: Given<BackwardHookOptions, [prepend: boolean]>
  ): HookHandle {
    return this.#callHooks.add("registerFullBackwardPreHook", "backwardPre", hook, rest);
  }
  get #callHooks(): CallHooks {
    return (this.#hooks ??= new CallHooks(this));
  }
  /** @internal The hooks of another module, whose place this one takes, are this one's too. */
  takeHooksOf(other: Module): void {
    this.#hooks = other.#hooks?.copyFor(this) ?? null;
  }
  /**
   * Forward in a `scope` of its own: what the module made on the way and backward does not need is freed when it
   * returns, as Python frees local variables. Use it for the larger parts of a model; `forward` itself costs nothing
   * more than its operators.
   */
  call<M extends Module>(this: M, ...args: Parameters<M["forward"]>): ReturnType<M["forward"]> {
    if (typeof (this.forward as unknown) !== "function")
      throw new ArgumentError(`${this.constructor.name}.call`, "a module with a forward", this);
    const hooks = (this as Module).#hooks;
    const run = (): unknown =>
      Reflect.apply(this.forward as (...a: readonly unknown[]) => unknown, this, args as readonly unknown[]);
    return (hooks === null ? scope(run) : hooks.scoped(run)) as ReturnType<M["forward"]>;
  }

  // ---------------------------------------------------------------- printing

  /** What stands between the parentheses of the printed module. */
  extraRepr(): string {
    return "";
  }
  toString(): string {
    const lines = Array.from(
      this.namedChildren(),
      ([name, child]) => `  (${plainText(this.stateKey(name))}): ${child.toString().replaceAll("\n", "\n  ")}`,
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
copiedByConstruction(Module);

/** Without a graph, beyond every scope. */
function apart(t: Tensor): Tensor {
  if (isUninitialized(t)) return t;
  return outsideScopes(() => t.detach());
}
