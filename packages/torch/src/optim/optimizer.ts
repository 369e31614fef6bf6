/** The base of optimizers: parameter groups, state per parameter, and state dicts in PyTorch's form. */
import { noGrad } from "../autograd/modes.js";
import { ArgumentError, NbitError } from "../errors.js";
import { nearest } from "../names.js";
import { isTensor } from "../tensor/handle.js";
import type { DeviceLike } from "../tensor/device.js";
import type { DType } from "../tensor/dtype.js";
import { full } from "../ops/index.js";
import { TensorList } from "../tensor/list.js";
import { outsideScopes, scope } from "../tensor/scope.js";
import type { Tensor } from "../tensor/tensor.js";
import { advanceWeightsEpoch } from "../weights-epoch.js";
import { operator } from "./operators.js";
import { checkRounding, is16Bit, roundsWidely, stepWidely } from "./rounding.js";

/** What an optimizer remembers of one parameter. */
export type ParameterState = Record<string, Tensor | number | null>;
export interface ParamGroup {
  params: Tensor[];
  lr: number;
  /** The learning rate before any scheduler; set by the first one. */
  initialLr?: number;
  [option: string]: unknown;
}
/** Parameters, or groups of them with options of their own. */
export type ParamsLike = Iterable<Tensor> | Iterable<{ readonly params: Iterable<Tensor> | Tensor; readonly [option: string]: unknown }>;

export interface OptimizerState {
  /** By position of the parameter over all groups. */
  readonly state: Readonly<Record<string, ParameterState>>;
  readonly paramGroups: readonly (Readonly<Record<string, unknown>> & { readonly params: readonly number[] })[];
}

/** Lists of one group that do not change from step to step. */
interface Packed {
  readonly source: readonly Tensor[];
  readonly length: number;
  readonly params: TensorList;
  readonly roundsRate: boolean;
}

function parametersOf(fn: string, params: unknown): unknown[] {
  if (isTensor(params)) return [params];
  if (typeof params === "object" && params !== null && Symbol.iterator in params) return [...(params as Iterable<unknown>)];
  throw new ArgumentError(fn, "parameters, or groups { params, … }, as an array or another iterable", params, "Of a module take module.parameters().");
}

/**
 * Base class. Subclasses give defaults and {@link stepGroup}.
 *
 * `step()` runs without recording and allocates nothing that outlives it except state, which is made at a parameter's first gradient and lives outside every scope.
 */
export abstract class Optimizer {
  readonly paramGroups: ParamGroup[] = [];
  readonly state = new Map<Tensor, ParameterState>();
  readonly defaults: Readonly<Record<string, unknown>>;
  /** Given by a loss scaler to fused optimizers: they divide gradients by one and skip when the other is not zero, on the device. */
  gradScale: Tensor | null = null;
  foundInf: Tensor | null = null;
  readonly #packed = new WeakMap<ParamGroup, Packed>();
  readonly #preHooks = new Set<(optimizer: Optimizer) => void>();
  readonly #postHooks = new Set<(optimizer: Optimizer) => void>();

  constructor(params: ParamsLike, defaults: Readonly<Record<string, unknown>>) {
    this.defaults = defaults;
    const list = parametersOf(new.target.name, params);
    if (list.length === 0) throw new ArgumentError(new.target.name, "at least one parameter", list, "Does the module have parameters?");
    if (list.every((p) => isTensor(p))) this.addParamGroup({ params: list });
    else for (const group of list) this.addParamGroup(group as { params: Iterable<Tensor> });
  }

  readonly #rates = new Map<ParamGroup, { readonly tensor: Tensor; value: number }>();
  /**
   * Keep learning rates in tensors on `device`, where a recorded graph reads them. Only fused optimizers do; the numbers in the groups stay what schedulers change:
   * {@link refreshRates} writes them to the device.
   */
  keepRatesOn(device: DeviceLike): void {
    for (const g of this.paramGroups) if (!this.#rates.has(g)) this.#rates.set(g, { tensor: outsideScopes(() => full([], g.lr, { dtype: "float32", device })), value: g.lr });
  }
  refreshRates(): void {
    for (const [g, rate] of this.#rates) {
      if (rate.value === g.lr) continue;
      rate.tensor.fill_(g.lr);
      rate.value = g.lr;
    }
  }
  /** @internal */
  /** Forget them: rates are numbers again. */
  releaseRates(): void {
    for (const { tensor } of this.#rates.values()) tensor.dispose();
    this.#rates.clear();
  }
  /**
   * The learning rate as kernels take it. On a GPU it is the nearest float32, since that is what a recorded step reads: eager and replayed steps are equal to the last bit. float64 parameters alone keep all
   * of its digits, where none was kept on the device.
   * @internal
   */
  protected rateOf(group: ParamGroup): number | Tensor {
    const kept = this.#rates.get(group);
    if (kept !== undefined) return kept.tensor;
    return this.#packedOf(group).roundsRate ? Math.fround(group.lr) : group.lr;
  }

  /**
   * Bytes of state that a parameter will have; null: as its group's options say (`betas`: two tensors like it, `momentum`: one, …). Optimizers that keep state in another form say it.
   * @param _dtype - The parameter's when it will be stepped, where a precision has yet to convert it.
   */
  expectedStateBytes(_parameter: Tensor, _dtype?: DType): number | null {
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

  /** Whether `step` itself divides by `gradScale` and skips on `foundInf`. */
  get supportsAmpScaling(): boolean {
    return false;
  }

  addParamGroup(group: { readonly params: Iterable<Tensor> | Tensor; readonly [option: string]: unknown }): void {
    const fn = `${this.constructor.name}.addParamGroup`;
    if (typeof group !== "object" || group === null || !("params" in group)) throw new ArgumentError(fn, "a tensor, or a group { params, … }", group);
    const params = isTensor(group.params) ? [group.params] : [...group.params];
    const known = new Set(this.paramGroups.flatMap((g) => g.params));
    for (const p of params) {
      if (!isTensor(p)) throw new ArgumentError(fn, "params to be tensors", p);
      if (!p.isLeaf) throw new ArgumentError(fn, "leaf tensors", p, "An optimizer can only change leaves.");
      if (known.has(p)) throw new ArgumentError(fn, "every parameter in one place only", p, "It is in this or another group already.");
      known.add(p);
    }
    // Groups may carry what they like, but not a default under another spelling.
    for (const name in group) {
      const meant = name === "params" || name in this.defaults ? null : nearest(name, Object.keys(this.defaults), 0);
      if (meant !== null) throw new ArgumentError(fn, `the option ${meant}`, name);
    }
    const made: ParamGroup = { ...this.defaults, ...group, params } as ParamGroup;
    checkRounding(this.constructor.name, made);
    this.validate(made);
    this.paramGroups.push(made);
  }

  /** @throws {ArgumentError} for an option out of range. */
  protected abstract validate(group: ParamGroup): void;

  /**
   * Step the parameters of a group that have gradients.
   * @param params - Those parameters; `grads` are in the same order.
   */
  protected abstract stepGroup(group: ParamGroup, params: readonly Tensor[], packed: TensorList, grads: TensorList): void;

  /** Update every parameter that has a gradient. With a closure: call it (with recording) first and return its loss. */
  step(closure?: () => Tensor): Tensor | null {
    for (const hook of this.#preHooks) hook(this);
    const loss = closure === undefined ? null : closure();
    noGrad(() => {
      this.paramGroups.forEach((group, i) => this.#stepOne(group, i));
    });
    advanceWeightsEpoch(true);
    for (const hook of this.#postHooks) hook(this);
    return loss;
  }

  #packedOf(group: ParamGroup): Packed {
    const known = this.#packed.get(group);
    if (known !== undefined && known.source === group.params && known.length === group.params.length) return known;
    const roundsRate = group.params.every((p) => p.device.type === "cuda" && p.dtype !== "float64");
    const packed: Packed = { source: group.params, length: group.params.length, params: TensorList.of(group.params), roundsRate };
    this.#packed.set(group, packed);
    return packed;
  }

  #stepOne(group: ParamGroup, index: number): void {
    if (roundsWidely(group)) return this.#stepRounded(group, index);
    const packed = this.#packedOf(group);
    const grads = TensorList.gradsOf(packed.params);
    try {
      if (grads.missing.length === 0) {
        if (grads.length > 0) this.stepGroup(group, group.params, packed.params, grads);
        return;
      }
      const absent = new Set(grads.missing);
      const present = group.params.map((_, i) => i).filter((i) => !absent.has(i));
      if (present.length > 0)
        this.stepGroup(
          group,
          present.map((i) => group.params[i] as Tensor),
          packed.params.select(present),
          grads.select(present),
        );
    } finally {
      grads.dispose();
    }
  }

  /** Parameters of 16 bits in float32 and back; the others as ever. */
  #stepRounded(group: ParamGroup, index: number): void {
    scope(() => {
      const pairs = group.params.flatMap((p): (readonly [Tensor, Tensor])[] => {
        const { grad } = p;
        return grad === null ? [] : [[p, grad]];
      });
      const run = (list: readonly (readonly [Tensor, Tensor])[]): void => {
        if (list.length === 0) return;
        const params = list.map(([p]) => p);
        this.stepGroup(group, params, TensorList.of(params), TensorList.of(list.map(([, g]) => g)));
      };
      run(pairs.filter(([p]) => !is16Bit(p.dtype)));
      const narrow = pairs.filter(([p]) => is16Bit(p.dtype));
      stepWidely(group, index, narrow.map(([p]) => p), narrow.map(([, g]) => g), this.state, (wide, gradients) => run(wide.map((w, i) => [w, gradients[i] as Tensor])));
    });
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
  /** A packed list of one kind of state. */
  protected pack(params: readonly Tensor[], name: string): TensorList {
    return TensorList.of(
      params.map((p) => {
        const value = this.state.get(p)?.[name];
        if (!isTensor(value)) throw new NbitError(`${this.constructor.name}: expected state "${name}" to be a tensor. Received: ${String(value)}. Was a state dict of another optimizer loaded?`, "OPTIMIZER_STATE");
        return value;
      }),
    );
  }

  /** Forget gradients (default), or fill them with zeros. */
  zeroGrad(options: { readonly setToNone?: boolean } = {}): void {
    for (const group of this.paramGroups) {
      if (options.setToNone ?? true) TensorList.of(group.params).clearGrads();
      else this.#fillWithZeros(group);
    }
  }

  /** Together: one kernel or few on a GPU. */
  #fillWithZeros(group: ParamGroup): void {
    const grads = TensorList.gradsOf(TensorList.of(group.params));
    try {
      const absent = new Set(grads.missing);
      const present = absent.size === 0 ? grads : grads.select(group.params.map((_, i) => i).filter((i) => !absent.has(i)));
      if (present.length > 0) noGrad(() => foreachZero_(present));
    } finally {
      grads.dispose();
    }
  }

  registerStepPreHook(hook: (optimizer: Optimizer) => void): { remove(): void } {
    this.#preHooks.add(hook);
    return { remove: () => void this.#preHooks.delete(hook) };
  }
  registerStepPostHook(hook: (optimizer: Optimizer) => void): { remove(): void } {
    this.#postHooks.add(hook);
    return { remove: () => void this.#postHooks.delete(hook) };
  }

  /** Options of the groups, and state by position of the parameter: what PyTorch's has, in camelCase. Tensors are the optimizer's own, not copies. */
  stateDict(): OptimizerState {
    const all = this.paramGroups.flatMap((g) => g.params);
    const position = new Map(all.map((p, i) => [p, i]));
    const state: Record<string, ParameterState> = {};
    all.forEach((p, i) => {
      const s = this.state.get(p);
      if (s !== undefined) state[String(i)] = { ...s };
    });
    return { state, paramGroups: this.paramGroups.map(({ params, ...options }) => ({ ...options, params: params.map((p) => position.get(p) as number) })) };
  }

  /** Load what {@link stateDict} gave; tensors are copied. @throws {NbitError} `OPTIMIZER_STATE` when groups differ in number or size. */
  loadStateDict(given: OptimizerState | Readonly<Record<string, unknown>>): void {
    const dict = given as OptimizerState;
    const sizes = (groups: readonly { readonly params: readonly unknown[] }[]): string => groups.map((g) => g.params.length).join(", ");
    if (!Array.isArray(dict.paramGroups) || sizes(dict.paramGroups) !== sizes(this.paramGroups))
      throw new NbitError(`loadStateDict: expected groups of ${sizes(this.paramGroups)} parameters. Received: ${Array.isArray(dict.paramGroups) ? sizes(dict.paramGroups) : "no paramGroups"}. Build the optimizer with the same parameters first.`, "OPTIMIZER_STATE");
    const all = this.paramGroups.flatMap((g) => g.params);
    dict.paramGroups.forEach((saved, i) => {
      const { params: _, ...options } = saved;
      Object.assign(this.paramGroups[i] as ParamGroup, options);
    });
    const order = dict.paramGroups.flatMap((g) => g.params);
    this.state.clear();
    this.packedStateChanged();
    // Fused kernels count steps where the parameters are, the others on the CPU.
    const fused = new Set(this.paramGroups.flatMap((g) => (g["fused"] === true ? g.params : [])));
    order.forEach((saved, i) => {
      const s = dict.state[String(saved)];
      const p = all[i] as Tensor;
      if (s === undefined) return;
      const copy: ParameterState = {};
      for (const [name, value] of Object.entries(s)) copy[name] = isTensor(value) ? outsideScopes(() => (name === "step" ? value.detach().to({ device: fused.has(p) ? p.device : "cpu", copy: true }) : value.detach().to({ device: p.device, dtype: value.isFloatingPoint() && p.isFloatingPoint() ? p.dtype : value.dtype, copy: true }))) : value;
      this.state.set(p, copy);
    });
  }
  /** Subclasses that keep packed lists of state drop them. */
  protected packedStateChanged(): void {}
}

const foreachZero_ = operator("_foreach_zero_");

/** @internal One check per option. */
export function check(fn: string, name: string, value: unknown, valid: (v: number) => boolean, expected: string): void {
  if (typeof value !== "number" || !valid(value)) throw new ArgumentError(fn, `${name} to be ${expected}`, value);
}
export const nonNegative = (v: number): boolean => v >= 0 && v < Infinity;
