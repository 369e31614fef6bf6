/** The base of optimizers: parameter groups, state per parameter, and state dicts in PyTorch's form. */
import { enableGrad, noGrad } from "../autograd/modes.js";
import { addToMessage, ArgumentError, NbitError, TorchError } from "../errors.js";
import { callable, isPlain } from "../kinds.js";
import type { HookHandle } from "../hooks.js";
import { nearest } from "../names.js";
import { atMost, checkArguments, checkOptions, optionsFrom, type Given, type OptionNames } from "../options.js";
import { iterated } from "../read-once.js";
import { ZERO_GRAD, type ZeroGradOptions } from "../zero-grad.js";
import { isTensor } from "../tensor/handle.js";
import type { DeviceLike } from "../tensor/device.js";
import type { DType } from "../tensor/dtype.js";
import { full } from "../ops/index.js";
import { TensorList } from "../tensor/list.js";
import { outsideScopes } from "../tensor/scope.js";
import type { Tensor } from "../tensor/tensor.js";
import { advanceWeightsEpoch } from "../weights-epoch.js";
import { copyState, disposeState, namesOfNonFinite, warnOfNonFinite } from "./adopt-state.js";
import { isRate } from "./common-options.js";
import { DeviceRates } from "./device-rates.js";
import { GroupLists } from "./group-lists.js";
import { PackedState } from "./packed-state.js";
import { keepState } from "./own-step.js";
import { checkParameter, isNamed, namesAmong, parametersOf } from "./parameters.js";
import { checkRounding, usesFloat32Update } from "./rounding.js";
import {
  readStateDict,
  refusing,
  withNames,
  withOptions,
  writeStateDict,
  type Refuse,
  type SavedParameter,
} from "./saved-state.js";
import type { Shards } from "./shards.js";
import {
  HookList,
  orGiven,
  StepHooks,
  type DictPostHook,
  type DictPreHook,
  type LoadPostHook,
  type LoadPreHook,
  type PostHook,
  type PreHook,
  type StateDictHookOptions,
  type StepOptions,
} from "./step-hooks.js";
import { stepInKinds } from "./step-in-kinds.js";
import {
  COUNTERS,
  type OptimizerState,
  type ParamGroup,
  type ParameterState,
  type ParamsLike,
  type StateFields,
  type StateValue,
} from "./state.js";
import { isPromise, refusePromise } from "../synchronous.js";

export type OptimizerPreHook = PreHook<Optimizer>;
export type OptimizerPostHook = PostHook<Optimizer>;
export type StateDictPreHook = DictPreHook<Optimizer>;
export type StateDictPostHook = DictPostHook<Optimizer>;
export type LoadStateDictPreHook = LoadPreHook<Optimizer>;
export type LoadStateDictPostHook = LoadPostHook<Optimizer>;

/** Hooks of all optimizers. */
const everywhere = new StepHooks<Optimizer>();
/** Have a function called before every step of every optimizer, ahead of the optimizer's own. */
export function registerOptimizerStepPreHook(hook: OptimizerPreHook): HookHandle {
  atMost("registerOptimizerStepPreHook", arguments, 1);
  return everywhere.pre.add("registerOptimizerStepPreHook", hook);
}
/** Have a function called after every step of every optimizer, behind the optimizer's own. */
export function registerOptimizerStepPostHook(hook: OptimizerPostHook): HookHandle {
  atMost("registerOptimizerStepPostHook", arguments, 1);
  return everywhere.post.add("registerOptimizerStepPostHook", hook);
}

const STEP: OptionNames<StepOptions> = { closure: callable };

/**
 * Base class. Classes of one's own give their defaults to the constructor and override `step` alone, as in PyTorch, or
 * {@link stepGroup}, which is given the parameters that have a gradient as lists for `_foreach_` operators.
 *
 * `step()` runs without recording and allocates nothing that outlives it except state, which is made at a parameter's
 * first gradient and lives outside every scope; so does what a `step` of one's own puts into `state`. Hooks are called
 * around either.
 * @example
 * class SignSGD extends optim.Optimizer {
 *   constructor(params: optim.ParamsLike, lr = 1e-3) { super(params, { lr }); }
 *   override step(closure?: () => Tensor): Tensor | null {
 *     const loss = closure === undefined ? null : closure();
 *     noGrad(() => {
 *       for (const { params, lr } of this.paramGroups)
 *         for (const p of params) if (p.grad !== null) p.add_(p.grad.sign(), { alpha: -lr });
 *     });
 *     return loss;
 *   }
 * }
 */
export abstract class Optimizer {
  readonly paramGroups: ParamGroup[] = [];
  readonly state = new Map<Tensor, ParameterState>();
  readonly defaults: Readonly<Record<string, unknown>>;
  /**
   * Given by a loss scaler to fused optimizers: they divide gradients by one and skip when the other is not zero, on
   * the device.
   */
  gradScale: Tensor | null = null;
  foundInf: Tensor | null = null;
  /** Given by `shardOptimizer`: what is stepped are shards, and norms of whole parameters are sums over all ranks. */
  shards: Shards | null = null;
  readonly #lists = new GroupLists((group) => this.#checkGroup(group));
  readonly #hooks = new StepHooks<Optimizer>();
  readonly #stateDictHooks = { pre: new HookList<StateDictPreHook>(), post: new HookList<StateDictPostHook>() };
  readonly #loadHooks = { pre: new HookList<LoadStateDictPreHook>(), post: new HookList<LoadStateDictPostHook>() };
  /** Steps that call each other: hooks are called around the outermost. */
  #depth = 0;

  constructor(params: ParamsLike, defaults: Readonly<Record<string, unknown>>) {
    atMost(new.target.name, arguments, 2);
    // Plain JavaScript can make an instance of an abstract class, which can do nothing.
    if (new.target === (Optimizer as unknown))
      throw new ArgumentError(
        "Optimizer",
        "one of the optimizers, or a class of one's own that extends this one",
        new.target,
      );
    this.defaults = defaults;
    const list = parametersOf(new.target.name, params);
    if (list.length === 0)
      throw new ArgumentError(new.target.name, "at least one parameter", list, "Does the module have parameters?");
    if (list.every((p) => isTensor(p) || isNamed(p))) this.addParamGroup({ params: list as Iterable<Tensor> });
    else for (const group of list) this.addParamGroup(group as { params: Iterable<Tensor> });
    this.#hookOwnStep();
  }
  /** A class that overrides `step` alone has hooks around it, and state that stays, all the same. */
  #hookOwnStep(): void {
    const own: unknown = Reflect.get(this, "step");
    if (typeof own !== "function" || own === Reflect.get(Optimizer.prototype, "step")) return;
    const kept = new WeakSet();
    const step = (closure?: (() => Tensor) | StepOptions, ...rest: unknown[]): Tensor | null =>
      this.#hooked(closureOf(closure), false, (given) => {
        const loss = Reflect.apply(own, this, [given, ...rest]) as Tensor | null | undefined;
        keepState(this.state, kept);
        return loss ?? null;
      });
    Object.defineProperty(this, "step", { value: step, writable: true, configurable: true });
  }
  #hooked(
    closure: (() => Tensor) | undefined,
    byGradients: boolean,
    step: (closure: (() => Tensor) | undefined) => Tensor | null,
  ): Tensor | null {
    if (this.#depth > 0) return step(closure);
    this.#depth++;
    try {
      const stepped = (given: (() => Tensor) | undefined): Tensor | null => {
        try {
          return step(given);
        } finally {
          advanceWeightsEpoch(byGradients);
        }
      };
      return this.#hooks.around(this, closure, stepped, everywhere);
    } finally {
      this.#depth--;
    }
  }

  readonly #rates = new DeviceRates();
  /**
   * Keep learning rates in tensors on `device`, where a recorded graph reads them. Only fused optimizers do; the
   * numbers in the groups stay what schedulers change: {@link refreshRates} writes them to the device.
   */
  keepRatesOn(device: DeviceLike): void {
    atMost(`${this.constructor.name}.keepRatesOn`, arguments, 1);
    this.#rates.keep(this.paramGroups, device);
  }
  refreshRates(): void {
    atMost(`${this.constructor.name}.refreshRates`, arguments, 0);
    this.#rates.refresh();
  }
  /** @internal Forget them: rates are numbers again. */
  releaseRates(): void {
    this.#rates.release();
  }
  /**
   * The learning rate as kernels take it. On a GPU it is the nearest float32, since that is what a recorded step reads:
   * eager and replayed steps are equal to the last bit. float64 parameters alone keep all of its digits, where none was
   * kept on the device.
   * @internal
   */
  protected rateOf(group: ParamGroup): number | Tensor {
    const kept = this.#rates.of(group);
    if (kept !== null) return kept;
    return this.#lists.of(group).roundsRate ? Math.fround(group.lr) : group.lr;
  }

  /**
   * Bytes of state that a parameter will have; null: as its group's options say (`betas`: two tensors like it,
   * `momentum`: one, …). Optimizers that keep state in another form say it.
   * @param _dtype - The parameter's when it will be stepped, where a precision has yet to convert it.
   */
  expectedStateBytes(_parameter: Tensor, _dtype?: DType): number | null {
    atMost(`${this.constructor.name}.expectedStateBytes`, arguments, 2);
    return null;
  }
  /** Whether 16-bit parameters too are stepped in float32 arithmetic, in which a small eps is not 0. */
  get stepsInFloat32(): boolean {
    return false;
  }
  /** How state is kept, in words; null: in the dtype of the parameters that are stepped. */
  get stateFormat(): string | null {
    return null;
  }

  /** Why a share of a parameter cannot be stepped by itself, in words; null: it can, element by element. */
  get needsWholeParameters(): string | null {
    return null;
  }
  /**
   * @internal How many elements of its parameter one entry of a state tensor stands for; null: it is no part of the
   * parameter, but of all of it.
   */
  elementsPerEntry(name: string, _state: Readonly<Record<string, unknown>>): number | null {
    atMost(`${this.constructor.name}.elementsPerEntry`, arguments, 2);
    return COUNTERS.has(name) ? null : 1;
  }

  /**
   * @internal States by position, as {@link stateDict} has them, of each parameter by itself: for optimizers that keep
   * some of it for all of them together. `numels`: elements of the parameters.
   */
  splitStates(
    states: Readonly<Record<string, ParameterState>>,
    _numels: readonly number[],
  ): Readonly<Record<string, ParameterState>> {
    return states;
  }
  /** @internal States of parameters, each by itself, as {@link loadStateDict} takes them. */
  joinStates(states: Readonly<Record<string, ParameterState>>): Readonly<Record<string, ParameterState>> {
    return states;
  }
  /** @internal What is left of a state on a rank that has nothing of any parameter. */
  adoptWithoutParameters(_state: ParameterState): void {}

  /** Whether `step` itself divides by `gradScale` and skips on `foundInf`. */
  get supportsAmpScaling(): boolean {
    return false;
  }

  /** @internal Whether steps read rates, and count, in tensors once {@link keepRatesOn} was called: they can be recorded. */
  get stepsByTensors(): boolean {
    return this.supportsAmpScaling;
  }

  /** @internal Whether a step on a GPU also writes the casts of weights that are kept (`amp.WeightCasts`). */
  get stepsWeightCasts(): boolean {
    return false;
  }

  addParamGroup(group: { readonly params: Iterable<Tensor> | Tensor; readonly [option: string]: unknown }): void {
    const fn = `${this.constructor.name}.addParamGroup`;
    atMost(fn, arguments, 1);
    if (typeof group !== "object" || group === null || !("params" in group))
      throw new ArgumentError(fn, "a tensor, or a group { params, … }", group);
    const { params, names } = namesAmong(
      fn,
      isTensor(group.params) ? [group.params] : iterated(fn, "params", group.params),
    );
    const known = new Set<unknown>(this.paramGroups.flatMap((g) => g.params));
    for (const p of params) this.#checkParameter(fn, p, known);
    if (this.paramGroups.some((g) => (g["paramNames"] === undefined) !== (names === null)))
      throw new ArgumentError(fn, "names for the parameters of every group, or of none", group);
    // Groups may carry what they like, but not a default under another spelling.
    for (const name in group) {
      const meant = name === "params" || name in this.defaults ? null : nearest(name, Object.keys(this.defaults), 0);
      if (meant !== null) throw new ArgumentError(fn, `the option ${meant}`, name);
    }
    const made = {
      ...this.defaults,
      ...group,
      params,
      ...(names === null ? {} : { paramNames: names }),
    } as unknown as ParamGroup;
    checkRounding(this.constructor.name, made);
    this.validate(made);
    this.paramGroups.push(made);
  }

  /** Where autograd looks on, parameters may be results of operators. */
  #checkParameter(fn: string, p: unknown, known: Set<unknown>): void {
    checkParameter(fn, p, known, this.defaults["differentiable"] === true);
  }
  /** @throws {ArgumentError} for an option out of range. Default: every option is taken as it is. */
  protected validate(_group: ParamGroup): void {}
  /**
   * Step the parameters of a group that have gradients.
   * @param _params - Those parameters; `grads` are in the same order.
   */
  protected stepGroup(_group: ParamGroup, _params: readonly Tensor[], _packed: TensorList, _grads: TensorList): void {
    throw new NbitError(
      `${this.constructor.name}: expected a class of one's own to override step, or stepGroup. Received: one that overrides neither.`,
      "OPTIMIZER_STEP",
    );
  }

  /**
   * Update every parameter that has a gradient. With a closure: call it (with recording) first and return its loss.
   *
   * Formulas run over all parameters one after another, so a step is not atomic: an error of libtorch in its middle,
   * such as memory that does not suffice, says so at its end.
   * @throws {OutOfMemoryError} `… The step of AdamW was interrupted: …`
   */
  step(closure?: (() => Tensor) | StepOptions): Tensor | null {
    atMost("step", arguments, 1);
    return this.#hooked(closureOf(closure), true, this.#stepAll);
  }
  readonly #stepAll = (closure: (() => Tensor) | undefined): Tensor | null => this.stepAll(closure);
  /** All of a step: for optimizers that evaluate the closure more than once. */
  protected stepAll(closure: (() => Tensor) | undefined): Tensor | null {
    const loss = closure === undefined ? null : closure();
    if (isPromise(loss))
      refusePromise(
        loss,
        "step: expected a closure that ends when it returns. " +
          "Received: one that returns a promise: the step would come before its code after an await. " +
          "Wait first, then step.",
        "OPTIMIZER_CLOSURE",
      );
    this.checkGroups();
    this.stepping(this.#stepGroups);
    return loss;
  }
  readonly #stepGroups = (): void =>
    this.defaults["differentiable"] === true ? enableGrad(this.#stepEach) : noGrad(this.#stepEach);
  readonly #stepEach = (): void => {
    for (let i = 0; i < this.paramGroups.length; i++) this.#stepOne(this.paramGroups[i] as ParamGroup, i);
  };

  /** What was put into the groups by hand is checked before anything is stepped. */
  protected checkGroups(): void {
    for (const group of this.paramGroups) {
      if (typeof group.lr !== "number" || !isRate(group.lr)) this.validate(group);
      this.#lists.refresh(group);
    }
  }

  /** What changes parameters and state: an error of libtorch in its course is told to have left an unfinished half. */
  protected stepping(fn: () => void): void {
    try {
      fn();
    } catch (error) {
      if (error instanceof TorchError)
        addToMessage(
          error,
          `The step of ${this.constructor.name} was interrupted: some parameters, or what it remembers of them, may have been stepped and others not. Load the last checkpoint before you go on with them.`,
        );
      throw error;
    }
  }

  /** Groups can be changed by hand: another parameter in one's place begins with state of its own. */
  #checkGroup(group: ParamGroup): void {
    const fn = `${this.constructor.name}.step`;
    const { params } = group as { params: unknown };
    if (!Array.isArray(params)) throw new ArgumentError(fn, "params of a group to be an array of tensors", params);
    const known = new Set<unknown>(this.paramGroups.flatMap((g) => (g === group ? [] : g.params)));
    for (const p of params as readonly unknown[]) this.#checkParameter(fn, p, known);
    checkRounding(this.constructor.name, group);
    this.validate(group);
  }

  #stepOne(group: ParamGroup, index: number): void {
    const lists = this.#lists.of(group);
    if (lists.complex || usesFloat32Update(group))
      return stepInKinds(group, index, this.state, (params, grads) =>
        this.stepGroup(group, params, TensorList.of(params), TensorList.of(grads)),
      );
    this.#lists.withGrads(lists, (params, packed, grads) => this.stepGroup(group, params, packed, grads));
  }

  /** The state of a parameter, made by `make` at its first use, outside every scope. */
  protected stateOf(p: Tensor, make: () => ParameterState): ParameterState {
    let found = this.state.get(p);
    if (found === undefined) {
      found = outsideScopes(make);
      this.state.set(p, found);
    }
    return found;
  }
  readonly #packedState = new PackedState(this.state);
  /**
   * Packed lists of the state of `params`, by name: the same ones for as long as their state consists of the same
   * tensors. Call it with the same array of names. `make`: the state of a parameter that has none yet.
   */
  protected pack(
    params: readonly Tensor[],
    names: readonly string[],
    make: ((p: Tensor) => ParameterState) | null = null,
  ): readonly TensorList[] {
    const known = this.#packedState.current(params, names);
    if (known !== null) return known;
    if (make !== null) for (const p of params) if (!this.state.has(p)) this.stateOf(p, () => make(p));
    return this.#packedState.pack(this.constructor.name, params, names);
  }

  /** Forget gradients (default), or fill them with zeros. */
  zeroGrad(...rest: Given<ZeroGradOptions, [setToNone: boolean]>): void {
    const toNone = rest.length === 0 || (optionsFrom("zeroGrad", 0, rest, ZERO_GRAD, 1).setToNone ?? true);
    for (const group of this.paramGroups) {
      if (toNone) this.#lists.clearGrads(group);
      else this.#lists.zeroGrads(group);
    }
  }
  /** Have a function called before every step; it may give the step another closure. */
  registerStepPreHook(hook: OptimizerPreHook): HookHandle {
    atMost("registerStepPreHook", arguments, 1);
    return this.#hooks.pre.add("registerStepPreHook", hook);
  }
  /** Have a function called after every step. */
  registerStepPostHook(hook: OptimizerPostHook): HookHandle {
    atMost("registerStepPostHook", arguments, 1);
    return this.#hooks.post.add("registerStepPostHook", hook);
  }
  /** Have a function called before {@link stateDict}. */
  registerStateDictPreHook(
    hook: StateDictPreHook,
    ...rest: Given<StateDictHookOptions, [prepend: boolean]>
  ): HookHandle {
    return this.#stateDictHooks.pre.add("registerStateDictPreHook", hook, rest);
  }
  /** Have a function called with what {@link stateDict} made; what it returns takes its place. */
  registerStateDictPostHook(
    hook: StateDictPostHook,
    ...rest: Given<StateDictHookOptions, [prepend: boolean]>
  ): HookHandle {
    return this.#stateDictHooks.post.add("registerStateDictPostHook", hook, rest);
  }
  /** Have a function called with a shallow copy of what {@link loadStateDict} was given; what it returns is loaded. */
  registerLoadStateDictPreHook(
    hook: LoadStateDictPreHook,
    ...rest: Given<StateDictHookOptions, [prepend: boolean]>
  ): HookHandle {
    return this.#loadHooks.pre.add("registerLoadStateDictPreHook", hook, rest);
  }
  /** Have a function called after {@link loadStateDict}. */
  registerLoadStateDictPostHook(
    hook: LoadStateDictPostHook,
    ...rest: Given<StateDictHookOptions, [prepend: boolean]>
  ): HookHandle {
    return this.#loadHooks.post.add("registerLoadStateDictPostHook", hook, rest);
  }

  /**
   * Options of the groups, and state by position of the parameter: what PyTorch's has, in camelCase. Tensors are the
   * optimizer's own, not copies.
   */
  stateDict(): OptimizerState {
    atMost(`${this.constructor.name}.stateDict`, arguments, 0);
    for (const hook of this.#stateDictHooks.pre.all) hook(this);
    let made = writeStateDict(this.paramGroups, this.state, this.algorithm);
    for (const hook of this.#stateDictHooks.post.all) made = orGiven(hook(this, made), made);
    return made;
  }

  /**
   * Load what {@link stateDict}, or PyTorch's `state_dict`, returned; tensors are copied, and moved and cast to their
   * parameters' device and dtype. The whole of it is checked first: every tensor is read once, which waits for its
   * device. Values that are not finite are taken, with one warning (`WARN_OPTIMIZER_STATE`): a run that diverged, or
   * whose squares overflow 16 bits, saves them.
   * @throws {NbitError} `OPTIMIZER_STATE`, with nothing changed: of another algorithm, groups of another number or
   * size, options of another kind or out of range, state under other names, of other shapes or kinds than its
   * parameter, squares below zero, or a count of steps that is none.
   */
  loadStateDict(given: OptimizerState | Readonly<Record<string, unknown>>): void {
    atMost(`${this.constructor.name}.loadStateDict`, arguments, 1);
    let dict: Readonly<Record<string, unknown>> = isPlain(given) ? { ...given } : (given as never);
    for (const hook of this.#loadHooks.pre.all) dict = orGiven(hook(this, dict), dict);
    this.#load(dict);
    for (const hook of this.#loadHooks.post.all) hook(this);
  }
  #load(given: Readonly<Record<string, unknown>>): void {
    const fn = `${this.constructor.name}.loadStateDict`;
    const all = this.paramGroups.flatMap((g) => g.params);
    const called = withNames(all);
    const refuse = refusing(fn, called);
    const saved = readStateDict(refuse, given, this.paramGroups, this.algorithm);
    const groups = saved.options.map((options, i) =>
      withOptions(refuse, this.paramGroups[i] as ParamGroup, i, this.savedOptions(options), this.defaults),
    );
    for (const group of groups) {
      checkRounding(this.constructor.name, group);
      this.validate(group);
    }
    const made: (readonly [Tensor, ParameterState])[] = [];
    const notFinite: string[] = [];
    try {
      for (const one of saved.parameters) {
        const p = all[one.position] as Tensor;
        const state = this.adoptState(refuse, one, p, groups[one.group] as ParamGroup);
        if (Object.keys(state).length > 0) made.push([p, state]);
        for (const name of namesOfNonFinite(state)) notFinite.push(`${name} of parameter ${one.position}`);
      }
    } catch (error) {
      for (const [, state] of made) disposeState(state, this.sharedState);
      throw error;
    }
    groups.forEach((group, i) => Object.assign(this.paramGroups[i] as ParamGroup, group));
    this.state.clear();
    for (const [p, state] of made) this.state.set(p, state);
    if (notFinite.length > 0) warnOfNonFinite(fn, notFinite.map(called));
  }
  /** Which algorithm a state dict is of; null: not known. */
  protected get algorithm(): string | null {
    return null;
  }
  /** What the state of each parameter of a group consists of; null: not known, and not checked. */
  protected stateFields(_group: ParamGroup): StateFields | null {
    return null;
  }
  /** Names of states whose tensors are not one parameter's alone. */
  protected get sharedState(): readonly string[] {
    return [];
  }
  /** Saved options that a group takes over. */
  protected savedOptions(options: Readonly<Record<string, unknown>>): Readonly<Record<string, unknown>> {
    return options;
  }
  /** @internal The state of a parameter, made from a saved one, which stays as it is. `group` has the saved options. */
  protected adoptState(refuse: Refuse, saved: SavedParameter, p: Tensor, group: ParamGroup): ParameterState {
    return copyState(refuse, saved, p, this.stateFields(group), (value, name) => this.counter(value, p, group, name));
  }
  /** The form of a counter in the state of a parameter. */
  protected counter(value: number, p: Tensor, group: ParamGroup, _name: string): StateValue {
    const there = group["fused"] === true || group["capturable"] === true;
    return full([], value, { dtype: "float32", device: there ? p.device : "cpu" });
  }
}

function closureOf(given: unknown): (() => Tensor) | undefined {
  if (given === undefined) return undefined;
  if (isPlain(given)) {
    checkOptions<StepOptions>("step", given, STEP);
    return (given as StepOptions).closure;
  }
  checkArguments("step", { closure: given as () => Tensor }, { closure: callable });
  return given as () => Tensor;
}
