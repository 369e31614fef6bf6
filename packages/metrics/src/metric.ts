import {
  ArgumentError,
  atMost,
  checkArguments,
  checkOptions,
  keep,
  kinds,
  nn,
  noGrad,
  program,
  Tensor,
  verbatim,
  type OptionNames,
} from "@nbit/torch";
import { isPlain } from "@nbit/torch/realm";
import { gatherAll, hasOthers } from "./gather.js";
import {
  dimZeroCat,
  dispose,
  keptCopy,
  merged,
  REDUCTIONS,
  reducedOverRanks,
  type DistReduceFx,
  type State,
} from "./states.js";

/** What every metric takes beside its own options. */
export interface MetricOptions {
  /** Whether {@link Metric.compute} is over all processes. Default true; alone it makes no difference. */
  readonly syncOnCompute?: boolean;
  /** Whether {@link Metric.compute} remembers its result until the next update or reset. Default true. */
  readonly computeWithCache?: boolean;
}
export const METRIC_OPTIONS = {
  syncOnCompute: kinds.byDefault(true, kinds.flag),
  computeWithCache: kinds.byDefault(true, kinds.flag),
} satisfies OptionNames<MetricOptions>;

/** The options of every metric among those of one. */
export function optionsOf({ syncOnCompute, computeWithCache }: MetricOptions): MetricOptions {
  return {
    ...(syncOnCompute === undefined ? {} : { syncOnCompute }),
    ...(computeWithCache === undefined ? {} : { computeWithCache }),
  };
}

/** What a metric comes to: a tensor, or several under names or in a list. */
export type MetricValue = Tensor | readonly MetricValue[] | { readonly [name: string]: MetricValue };

interface Declared {
  readonly initial: State;
  readonly fx: DistReduceFx;
  persistent: boolean;
}
type Method = (this: Metric, ...args: unknown[]) => unknown;

/**
 * A number about many batches that no mean of the batches' own numbers gives: its states are what has been seen, added
 * up by {@link update}, and {@link compute} makes the number of them, over all batches whatever their sizes, and over
 * all processes.
 *
 * A metric is a module, so that a model has it as a field; it has no parameters, and its states are in no state dict
 * unless they are {@link persistent}. They follow the tensors of `update` to their device, and keep their dtype whatever
 * the module around them is converted to. Updates record no gradients, and wait for no device unless a metric says so.
 *
 * @example
 * class Share extends Metric {
 *   declare hits: Tensor;
 *   declare total: Tensor;
 *   constructor() {
 *     super();
 *     this.addState("hits", tensor(0), "sum");
 *     this.addState("total", tensor(0), "sum");
 *   }
 *   update(hit: Tensor): void {
 *     this.hits = this.hits.add(hit.sum());
 *     this.total = this.total.add(hit.numel());
 *   }
 *   compute(): Tensor {
 *     return this.hits.div(this.total);
 *   }
 * }
 */
export abstract class Metric extends nn.Module {
  /** Whether greater is better; null: it cannot be said. */
  static readonly higherIsBetter: boolean | null = null;

  private readonly declared: Record<string, Declared> = {};
  private readonly current: Record<string, State> = {};
  private readonly settings: Required<MetricOptions>;
  private updates = 0;
  private computed: { readonly value: MetricValue } | null = null;
  private synced = false;
  private warned = false;

  constructor(options: MetricOptions = {}) {
    super();
    checkOptions(new.target.name, options, METRIC_OPTIONS);
    this.settings = {
      syncOnCompute: options.syncOnCompute ?? true,
      computeWithCache: options.computeWithCache ?? true,
    };
    wrap(this, "update", updating);
    wrap(this, "compute", computing);
    this.registerStateDictPostHook((module, stateDict, prefix) => (module as Metric).saveStates(stateDict, prefix));
    this.registerLoadStateDictPreHook((module, stateDict, prefix, _metadata, strict, missing) =>
      (module as Metric).loadStates(stateDict, prefix, strict, missing),
    );
  }

  /** Take in a batch. */
  abstract update(...args: never[]): void;
  /** The number over all that was taken in since the last reset. All processes must call it where there are several. */
  abstract compute(): MetricValue;

  /**
   * Take in a batch, and give the number of that batch alone, of this process.
   * @returns Tensors of the scope that is open.
   */
  forward(...args: Parameters<this["update"]>): ReturnType<this["compute"]> {
    const before = this.current;
    const earlier = { ...before };
    const { updates } = this;
    for (const name of Object.keys(before)) before[name] = keptCopy(this.declaredState(name).initial);
    this.updates = 0;
    this.forgetComputed();
    const { syncOnCompute } = this.settings;
    Object.assign(this.settings, { syncOnCompute: false });
    let value: MetricValue;
    try {
      Reflect.apply(this.update, this, args);
      value = Reflect.apply(this.compute, this, []) as MetricValue;
    } catch (error) {
      for (const [name, state] of Object.entries(earlier)) this.assign(name, state);
      this.updates = updates;
      throw error;
    } finally {
      Object.assign(this.settings, { syncOnCompute });
      this.forgetComputed();
    }
    if (!this.mergeInto(earlier, updates)) {
      for (const [name, state] of Object.entries(earlier)) this.assign(name, state);
      this.updates = updates;
      Reflect.apply(this.update, this, args);
    }
    letGo(this.newest);
    this.newest = mapTensors(value, (t) => keep(t.detach().clone()));
    return value as ReturnType<this["compute"]>;
  }
  private newest: MetricValue | null = null;
  /** What the newest batch came to, if it was given by {@link forward}. */
  get batchValue(): MetricValue | null {
    return this.newest;
  }

  /** The batch's states behind those before it. False where these must see the batch themselves. */
  private mergeInto(earlier: Readonly<Record<string, State>>, updates: number): boolean {
    return noGrad(() => {
      const all: Record<string, State> = {};
      for (const [name, state] of Object.entries(earlier)) {
        const fx = this.declaredState(name).fx;
        const both = merged(fx, state, this.current[name] as State, { earlier: updates, later: this.updates });
        if (both === null) return false;
        all[name] = both;
      }
      for (const [name, state] of Object.entries(all)) {
        const [before, batch] = [earlier[name] as State, this.current[name] as State];
        this.replace(name, state);
        dispose(before, tensorsOf(state));
        dispose(batch, tensorsOf(state));
      }
      this.updates += updates;
      return true;
    });
  }

  /**
   * Declare a state: from then on a field of that name, `declare name: Tensor` in the class. What is assigned to it is
   * kept, and so is what is pushed to a list.
   *
   * @param initial - Its value after a reset: a tensor, or `[]` for what is appended to.
   * @param distReduceFx - How the states of several processes, and of batches in {@link forward}, become one.
   */
  addState(
    name: string,
    initial: Tensor | readonly never[],
    distReduceFx: DistReduceFx = null,
    persistent = false,
  ): void {
    atMost("addState", arguments, 4);
    checkArguments("addState", { name, initial, distReduceFx, persistent }, ADD_STATE);
    if (name in this) throw new ArgumentError("addState", "a name that the metric does not have yet", name);
    this.declared[name] = {
      initial: initial instanceof Tensor ? keep(initial.detach().clone()) : [],
      fx: distReduceFx,
      persistent,
    };
    this.current[name] = keptCopy(this.declaredState(name).initial);
    Object.defineProperty(this, name, {
      configurable: true,
      get(this: Metric) {
        return this.current[name];
      },
      set(this: Metric, value: unknown) {
        this.assign(name, value);
      },
    });
  }

  private declaredState(name: string): Declared {
    return this.declared[name] as Declared;
  }
  private assign(name: string, value: unknown): void {
    const isList = Array.isArray(value) && value.every((t) => t instanceof Tensor);
    if (!isList && !(value instanceof Tensor))
      throw new ArgumentError(`${this.constructor.name}.${name}`, "a tensor, or an array of tensors", value);
    const before = this.current[name] as State;
    this.replace(name, value as State);
    dispose(before, tensorsOf(value as State));
  }
  private replace(name: string, state: State): void {
    const values = tensorsOf(state).map((t) => keep(t.requiresGrad ? t.detach() : t));
    this.current[name] = Array.isArray(state) ? values : (values[0] as Tensor);
  }

  /** Names of the states, in the order in which they were added. */
  get stateNames(): readonly string[] {
    return Object.keys(this.declared);
  }
  /** The states as they are. */
  get metricState(): Readonly<Record<string, State>> {
    return { ...this.current };
  }
  /** How often {@link update} was called since the last reset. */
  get updateCount(): number {
    return this.updates;
  }
  get updateCalled(): boolean {
    return this.updates > 0;
  }

  /** Forget all that was taken in. */
  reset(): void {
    atMost("Metric.reset", arguments, 0);
    this.updates = 0;
    this.forgetComputed();
    letGo(this.newest);
    this.newest = null;
    for (const name of this.stateNames) {
      const before = this.current[name] as State;
      const [device] = tensorsOf(before).map((t) => t.device);
      const initial = keptCopy(this.declaredState(name).initial);
      this.current[name] =
        initial instanceof Tensor && device !== undefined && initial.device !== device
          ? moved(initial, device)
          : initial;
      dispose(before);
    }
  }

  /** Whether states are in state dicts, under their names in snake case. Default: as each was added. */
  persistent(mode = true): void {
    atMost("persistent", arguments, 1);
    checkArguments("persistent", { mode }, { mode: kinds.flag });
    for (const each of Object.values(this.declared)) each.persistent = mode;
  }

  /** @internal Metrics of one key count the same: one of a collection is updated for all. Null: nobody knows. */
  groupKey(): string | null {
    return null;
  }
  /** @internal Another of the same key was updated. */
  follow(leader: Metric): void {
    for (const [name, state] of Object.entries(leader.current))
      if (state instanceof Tensor) this.assign(name, state.clone());
    this.updates = leader.updates;
    this.forgetComputed();
  }

  /** @internal The states as plain data, for checkpoints that are to go on exactly: tensors in lists. */
  saveProgress(): MetricProgress {
    const states = Object.entries(this.current).map(([name, state]) => {
      return { name, tensors: tensorsOf(state), isList: Array.isArray(state) };
    });
    return { updates: this.updates, states };
  }
  /** @internal */
  loadProgress({ updates, states }: MetricProgress): void {
    for (const { name, tensors, isList } of states) {
      if (this.declared[name] === undefined)
        throw new ArgumentError(
          `${this.constructor.name}.loadProgress`,
          `states among ${this.stateNames.join(", ")}`,
          name,
          "The checkpoint is of another metric under the same name.",
          "ERR_METRIC_STATE",
        );
      const copies = tensors.map((t) => t.clone());
      this.assign(name, isList ? copies : (copies[0] as Tensor));
    }
    this.updates = updates;
    this.forgetComputed();
  }

  private saveStates(stateDict: Record<string, Tensor> | Map<string, Tensor>, prefix: string): void {
    for (const [name, { persistent }] of Object.entries(this.declared)) {
      if (!persistent) continue;
      const state = this.current[name] as State;
      const one = Array.isArray(state) ? (state.length === 0 ? null : dimZeroCat(state)) : state;
      if (one === null) continue;
      const key = prefix + this.stateKey(name);
      if (stateDict instanceof Map) stateDict.set(key, one.detach());
      else stateDict[key] = one.detach();
    }
  }
  private loadStates(stateDict: Map<string, Tensor>, prefix: string, strict: boolean, missing: string[]): void {
    for (const [name, { persistent, initial }] of Object.entries(this.declared)) {
      const key = prefix + this.stateKey(name);
      const saved = stateDict.get(key);
      if (saved !== undefined) {
        stateDict.delete(key);
        this.assign(name, Array.isArray(initial) ? [saved.clone()] : saved.clone());
        this.updates = Math.max(this.updates, 1);
      } else if (persistent && strict && !Array.isArray(initial)) missing.push(key);
    }
  }

  // What surrounds update and compute of every class.

  /** @internal */
  beforeUpdate(args: readonly unknown[]): void {
    if (this.synced)
      throw new ArgumentError(
        `${this.constructor.name}.update`,
        "states of this process",
        verbatim("those of all"),
        "Call unsync first.",
        "ERR_METRIC_SYNC",
      );
    this.forgetComputed();
    program.refuseRecording(`${this.constructor.name} counts in JavaScript what it takes in`);
    const target = args.find((arg) => arg instanceof Tensor)?.device;
    if (target === undefined) return;
    for (const [name, state] of Object.entries(this.current)) {
      if (tensorsOf(state).every((t) => t.device === target)) continue;
      this.current[name] = Array.isArray(state) ? state.map((t) => moved(t, target)) : moved(state, target);
    }
  }
  /** @internal */
  afterUpdate(): void {
    this.updates++;
    // What was pushed to lists belongs to the scope of who pushed it.
    for (const state of Object.values(this.current)) if (Array.isArray(state)) for (const t of state) keep(t);
  }
  /** @internal */
  computeWith(compute: () => MetricValue): MetricValue {
    if (this.computed !== null) return mapTensors(this.computed.value, (t) => t.clone());
    if (this.updates === 0 && !this.warned && this.stateNames.length > 0 && !hasOthers()) {
      this.warned = true;
      process.emitWarning(`${this.constructor.name}.compute was called before update: its value is that of no batch.`, {
        type: "NbitWarning",
        code: "WARN_METRIC_EMPTY",
      });
    }
    const shared = this.settings.syncOnCompute && !this.synced && hasOthers();
    if (shared) this.sync();
    try {
      const value = squeezed(noGrad(compute));
      if (this.settings.computeWithCache) this.remember(value);
      return value;
    } finally {
      if (shared) this.unsync();
    }
  }
  private remember(value: MetricValue): void {
    this.forgetComputed();
    this.computed = { value: mapTensors(value, (t) => keep(t.detach().clone())) };
  }
  private forgetComputed(): void {
    letGo(this.computed?.value ?? null);
    this.computed = null;
  }

  private own: Record<string, State> | null = null;
  /** The states become those of all processes, until {@link unsync}. Every process must call it; blocks. */
  sync(): void {
    atMost("sync", arguments, 0);
    if (this.synced)
      throw new ArgumentError("sync", "states of this process", verbatim("those of all"), undefined, "ERR_METRIC_SYNC");
    if (!hasOthers()) return;
    this.own = { ...this.current };
    noGrad(() => {
      for (const name of this.stateNames) {
        const state = this.current[name] as State;
        const isList = Array.isArray(state);
        const mine = isList ? (state.length === 0 ? null : dimZeroCat(state)) : state;
        const device = mine?.device.toString() ?? "cpu";
        this.replace(name, reducedOverRanks(this.declaredState(name).fx, gatherAll(mine, device), isList));
      }
    });
    this.synced = true;
  }
  /** The states become this process's again. */
  unsync(): void {
    atMost("unsync", arguments, 0);
    if (this.own === null) return;
    for (const [name, state] of Object.entries(this.own)) {
      dispose(this.current[name] as State, tensorsOf(state));
      this.current[name] = state;
    }
    this.own = null;
    this.synced = false;
  }

  protected override copiedFrom(original: this): void {
    super.copiedFrom(original);
    for (const state of [...Object.values(this.current), ...Object.values(this.declared).map((d) => d.initial)])
      for (const t of tensorsOf(state)) keep(t);
    this.computed = null;
    this.newest = null;
    this.own = null;
  }
}

/** States of a metric as a checkpoint has them: name, tensors, and whether they are a list. */
export interface MetricProgress {
  readonly updates: number;
  readonly states: readonly { readonly name: string; readonly tensors: readonly Tensor[]; readonly isList: boolean }[];
}

const ADD_STATE = {
  name: kinds.filled,
  initial: kinds.such<Tensor | readonly never[]>(
    "a tensor, or []",
    (v) => v instanceof Tensor || (Array.isArray(v) && v.length === 0),
  ),
  distReduceFx: kinds.such<DistReduceFx>(
    '"sum", "mean", "cat", "min", "max", null or a function',
    (v) => typeof v === "function" || REDUCTIONS.includes(v),
  ),
  persistent: kinds.flag,
};

function moved(t: Tensor, device: Tensor["device"]): Tensor {
  const there = keep(t.to(device));
  if (there !== t) t.dispose();
  return there;
}

function tensorsOf(state: State): readonly Tensor[] {
  return Array.isArray(state) ? state : [state];
}

/** The method of the class, within what every class has around it. Copies of the metric take the wrapper along. */
function wrap(metric: Metric, name: "update" | "compute", around: (inner: Method) => Method): void {
  const inner = Reflect.get(metric, name) as Method | undefined;
  if (typeof inner !== "function")
    throw new ArgumentError(metric.constructor.name, `a method ${name}`, inner, `Define ${name} in the class.`);
  Object.defineProperty(metric, name, { value: around(inner), configurable: true, writable: true });
}
const updating = (inner: Method): Method =>
  function (this: Metric, ...args) {
    this.beforeUpdate(args);
    noGrad(() => Reflect.apply(inner, this, args));
    this.afterUpdate();
  };
const computing = (inner: Method): Method =>
  function (this: Metric, ...args) {
    atMost(`${this.constructor.name}.compute`, args, 0);
    return this.computeWith(() => Reflect.apply(inner, this, []) as MetricValue);
  };

/** A value with every tensor in it replaced. */
export function mapTensors(value: MetricValue, fn: (t: Tensor) => Tensor): MetricValue {
  if (value instanceof Tensor) return fn(value);
  if (Array.isArray(value)) return (value as readonly MetricValue[]).map((each) => mapTensors(each, fn));
  if (!isPlain(value)) throw new ArgumentError("compute", "to return tensors, alone, in arrays or in objects", value);
  return Object.fromEntries(Object.entries(value).map(([name, each]) => [name, mapTensors(each as MetricValue, fn)]));
}

/** Frees what was kept of a value. */
function letGo(value: MetricValue | null): void {
  if (value !== null) mapTensors(value, (t) => (t.dispose(), t));
}

/** One element has no dimensions, as in torchmetrics. */
function squeezed(value: MetricValue): MetricValue {
  return mapTensors(value, (t) => (t.numel() === 1 ? t.squeeze() : t));
}
