/** APEX amp without its global state: `initialize` returns an object that holds everything. */
import {
  amp as native,
  ArgumentError,
  atMost,
  checkOptions,
  type DType,
  kinds,
  NbitError,
  type nn,
  optim,
} from "@nbit/torch";
import { type OptionNames, outsideScopes, scope, Tensor } from "@nbit/torch";
import { type AmpState, ampStateOf, loadAmpState } from "./amp-state.js";
import { castForward, castModel } from "./casts.js";
import { exchangeFloat32 } from "./float32-state.js";
import { disableCasts, withCasts } from "./functions.js";
import { checkInitialize, type InitializeOptions } from "./initialize-arguments.js";
import { o1Policy } from "./lists.js";
import { type LossScaler, lossScalersOf } from "./loss-scaler.js";
import { MasterWeights } from "./master-weights.js";
import { MISUSE } from "./misuse.js";
import { levelWith, type OptLevel, type OptProperties } from "./opt-levels.js";
import { Originals } from "./originals.js";
import type { Pair } from "./pairs.js";
import { wrapOptimizer } from "./wrap-optimizer.js";

export interface ScaleLossOptions {
  /** Which of `numLosses`. Default 0. */
  readonly lossId?: number;
  /** Leave the gradients scaled, for accumulation: unscale in the last backward of a window only. */
  readonly delayUnscale?: boolean;
}
const SCALE_NAMES: OptionNames<ScaleLossOptions> = { lossId: kinds.whole("[0, ∞)"), delayUnscale: kinds.flag };

/** What is initialized now: a model or an optimizer belongs to one Amp at a time. */
const owners = new WeakMap<nn.Module | optim.Optimizer, Amp>();

/** The Amp that a model or an optimizer is initialized by; null when it is not. */
export function ampOf(target: nn.Module | optim.Optimizer): Amp | null {
  atMost("ampOf", arguments, 1);
  return owners.get(target) ?? null;
}

/** What `initialize` made. */
export class Amp {
  readonly optLevel: OptLevel;
  readonly properties: OptProperties;
  readonly enabled: boolean;
  readonly lossScalers: readonly LossScaler[];
  readonly #weights: MasterWeights;
  readonly #originals = new Originals();
  readonly #skip = new Set<optim.Optimizer>();
  readonly #models: readonly nn.Module[];
  /** Somebody else casts parameters, and keeps masters of them. */
  readonly #shared: boolean;
  readonly #undo: (() => void)[] = [];
  readonly #o1: ReturnType<typeof o1Policy> | null;
  readonly #device: string;
  #scaling = false;
  #disposed = false;
  /** Optimizer steps skipped since the start. */
  skippedSteps = 0;

  /** @internal Use {@link initialize}. */
  constructor(
    models: readonly nn.Module[],
    optimizers: readonly optim.Optimizer[],
    options: InitializeOptions,
    shared = false,
  ) {
    atMost("Amp", arguments, 4);
    this.#shared = shared;
    this.optLevel = options.optLevel ?? "O1";
    this.properties = levelWith(this.optLevel, options);
    this.enabled = options.enabled ?? true;
    this.lossScalers = lossScalersOf(this.properties.lossScale, options);
    this.#weights = new MasterWeights(this.#hasMasters);
    this.#device = models[0]?.parameters()[0]?.device.type ?? "cpu";
    this.#models = models;
    this.#o1 = this.enabled && this.properties.patchTorchFunctions ? o1Policy(this.#device) : null;
    if (this.enabled) this.#begin(optimizers, options.castModelOutputs ?? null);
  }

  get #hasMasters(): boolean {
    return this.properties.masterWeights === true && !this.#shared;
  }

  /** All or nothing. */
  #begin(optimizers: readonly optim.Optimizer[], outputs: DType | null): void {
    const groups = optimizers.flatMap((o) => o.paramGroups.map((group) => ({ group, params: group.params })));
    try {
      // APEX makes masters from the rounded weights; ours begin where the float32 model was.
      if (this.#hasMasters) this.#originals.keep(this.#models);
      this.#prepare(optimizers, outputs);
    } catch (error) {
      for (const { group, params } of groups) group.params = params;
      this.#abandon();
      throw error;
    }
    for (const owned of [...this.#models, ...optimizers]) owners.set(owned, this);
  }

  /** Preparing failed, of memory that did not suffice: what was cast gets its own values back, which takes none. */
  #abandon(): void {
    this.#disposed = true;
    for (const undo of this.#undo.splice(0).reverse()) undo();
    this.#originals.abandon();
    this.#o1?.release();
  }

  #prepare(optimizers: readonly optim.Optimizer[], outputs: DType | null): void {
    for (const model of this.#models) this.#prepareModel(model, outputs);
    for (const optimizer of optimizers) this.#prepareOptimizer(optimizer);
    for (const model of this.#models) this.#weights.adoptFree(model.parameters());
    if (!this.#hasMasters) return;
    const state = { weights: this.#weights, originals: this.#originals, castTo: this.properties.castModelType };
    for (const model of this.#models) this.#undo.push(...exchangeFloat32(model, state));
    this.#originals.release(new Set(this.#weights.withMaster.map(({ parameter }) => parameter)));
  }

  #prepareOptimizer(optimizer: optim.Optimizer): void {
    for (const group of optimizer.paramGroups) this.#weights.adopt(optimizer, group, this.#originals);
    const skips = {
      next: (): boolean => this.willSkip(optimizer),
      forget: (): void => void this.#skip.delete(optimizer),
      count: (): void => void this.skippedSteps++,
    };
    this.#undo.push(wrapOptimizer(optimizer, this.#weights, skips));
  }

  /** O1 casts by its lists inside the forward; a model that is cast takes and gives what its users have. */
  #prepareModel(model: nn.Module, outputs: DType | null): void {
    const { castModelType: dtype, keepBatchnormFp32 } = this.properties;
    const byLists = this.#o1 !== null;
    if (!byLists && dtype !== null) {
      castModel(model, dtype, keepBatchnormFp32 === true, this.#shared ? "buffers" : "all");
    }
    const undo = castForward(model, {
      run: byLists ? (fn) => this.run(fn) : null,
      dtype,
      outputs: outputs ?? (byLists || dtype === null ? null : "float32"),
    });
    if (undo !== null) this.#undo.push(undo);
  }

  /**
   * Run `fn` by O1's lists: the loss belongs inside too. At other levels it just runs. The models' forward does this by
   * itself.
   */
  run<T>(fn: () => T): T {
    atMost("Amp.run", arguments, 1);
    const o1 = this.#o1;
    if (o1 === null || this.#disposed) return fn();
    return withCasts(true, () =>
      native.autocast({ deviceType: this.#device, dtype: "float16", cacheEnabled: false }, () => o1.policy.run(fn)),
    );
  }

  /** Run `fn`, called inside {@link run} or a model's forward, without O1's casts. */
  disableCasts<T>(fn: () => T): T {
    atMost("Amp.disableCasts", arguments, 1);
    return disableCasts(fn, this.#device);
  }

  /**
   * Scale a loss, let `fn` call backward on it, and bring the unscaled gradients to the masters.
   *
   * When a gradient is not finite, the next `step()` of these optimizers is skipped and the scale halved. Reads the
   * gradients: waits for the device.
   * @param fn - `(scaled) => scaled.backward()`. When it throws, gradients of earlier backwards are as they were.
   * @throws {NbitError} `APEX_MISUSE` inside another `scaleLoss`, for an optimizer that was not given to `initialize`,
   * and for another loss than that of a delayed backward.
   */
  scaleLoss(
    loss: Tensor,
    optimizers: optim.Optimizer | readonly optim.Optimizer[],
    fn: (scaled: Tensor) => void,
    options: ScaleLossOptions = {},
  ): void {
    atMost("Amp.scaleLoss", arguments, 4);
    checkOptions("Amp.scaleLoss", options, SCALE_NAMES);
    if (!(loss instanceof Tensor)) throw new ArgumentError("scaleLoss", "loss to be a tensor", loss);
    if (typeof fn !== "function")
      throw new ArgumentError("scaleLoss", "a function that calls backward: (scaled) => scaled.backward()", fn);
    if (!this.enabled) return fn(loss);
    if (this.#disposed)
      throw new NbitError("scaleLoss: expected an Amp in use. Received: one that was disposed of.", MISUSE);
    if (this.#scaling)
      throw new NbitError(
        "scaleLoss: expected one loss at a time. Received: scaleLoss inside scaleLoss. Scale them one after the other.",
        MISUSE,
      );
    const id = options.lossId ?? 0;
    const scaler = this.lossScalers[id];
    if (scaler === undefined)
      throw new ArgumentError(
        "scaleLoss",
        `lossId below numLosses (${this.lossScalers.length})`,
        id,
        "Pass numLosses to initialize.",
      );
    const named = Array.isArray(optimizers)
      ? (optimizers as readonly optim.Optimizer[])
      : [optimizers as optim.Optimizer];
    for (const o of named) this.#require("scaleLoss", o);
    const abort = this.#weights.begin(named, { lossId: id, scale: scaler.lossScale });
    this.#scaling = true;
    try {
      fn(this.#scaled(loss, scaler));
    } catch (error) {
      abort();
      throw error;
    } finally {
      this.#scaling = false;
    }
    const overflow = this.#weights.collect(scaler.dynamic, options.delayUnscale === true ? named : []);
    if (options.delayUnscale === true) return;
    if (scaler.update(overflow)) this.#weights.markOverflow(named);
  }

  #scaled(loss: Tensor, scaler: LossScaler): Tensor {
    return loss.to("float32").mul(scaler.lossScale);
  }

  /** The loss times the scale, in float32, as {@link scale} returns it, where no backward follows that counts. */
  preview(loss: Tensor, lossId = 0): Tensor {
    atMost("Amp.preview", arguments, 2);
    const scaler = this.lossScalers[lossId];
    return !this.enabled || scaler === undefined ? loss : this.#scaled(loss, scaler);
  }
  /**
   * The loss times the scale, in float32: one half of {@link scaleLoss}, for loops that call backward themselves.
   * Unscaled gradients are out of its way until {@link unscale}.
   */
  scale(loss: Tensor, lossId = 0): Tensor {
    atMost("Amp.scale", arguments, 2);
    this.begin(lossId);
    return this.preview(loss, lossId);
  }
  /** A backward of a scaled loss comes. */
  begin(lossId = 0): void {
    atMost("Amp.begin", arguments, 1);
    const scaler = this.lossScalers[lossId];
    if (this.enabled && scaler !== undefined)
      this.#weights.begin(this.#weights.optimizers, { lossId, scale: scaler.lossScale });
  }
  /**
   * It is over: all gradients are unscaled, and with the masters. Returns whether all that are new were finite; does
   * nothing where no backward was scaled.
   */
  settle(lossId = 0): boolean {
    atMost("Amp.settle", arguments, 1);
    return !this.#weights.collect(this.lossScalers[lossId]?.dynamic ?? false);
  }
  /**
   * The other half of {@link scale}: unscaled gradients to the masters. Returns whether those of this optimizer are
   * finite.
   */
  unscale(optimizer: optim.Optimizer, lossId = 0): boolean {
    atMost("Amp.unscale", arguments, 2);
    if (!this.enabled) return true;
    this.#require("unscale", optimizer);
    this.settle(lossId);
    this.#weights.sync(optimizer);
    return !this.#weights.overflowed(optimizer);
  }
  /** Let the next step of an optimizer be skipped. */
  skipNext(optimizer: optim.Optimizer): void {
    atMost("Amp.skipNext", arguments, 1);
    this.#require("skipNext", optimizer);
    this.#skip.add(optimizer);
  }

  #require(fn: string, optimizer: optim.Optimizer): void {
    if (this.#weights.has(optimizer)) return;
    if (!(optimizer instanceof optim.Optimizer))
      throw new ArgumentError(fn, "optimizers that were given to initialize", optimizer);
    throw new NbitError(
      `${fn}: expected an optimizer that was given to initialize. Received: ${optimizer.constructor.name}. ` +
        "Pass all optimizers to initialize.",
      MISUSE,
    );
  }

  /** Whether the next step of an optimizer will be skipped. */
  willSkip(optimizer: optim.Optimizer): boolean {
    atMost("Amp.willSkip", arguments, 1);
    return this.#skip.has(optimizer) || this.#weights.overflowed(optimizer);
  }

  /** What an optimizer steps, and whose gradients to clip: masters in float32 where there are any. */
  masterParams(optimizer: optim.Optimizer): Tensor[] {
    atMost("Amp.masterParams", arguments, 1);
    return (
      this.#pairsOf("masterParams", optimizer)?.map(({ master }) => master) ??
      optimizer.paramGroups.flatMap((g) => g.params)
    );
  }

  /** The models' parameters, in the order of {@link masterParams}. */
  modelParams(optimizer: optim.Optimizer): Tensor[] {
    atMost("Amp.modelParams", arguments, 1);
    return this.#pairsOf("modelParams", optimizer)?.map(({ parameter }) => parameter) ?? this.masterParams(optimizer);
  }
  #pairsOf(fn: string, optimizer: optim.Optimizer): readonly Pair[] | null {
    if (!this.enabled) return null;
    this.#require(fn, optimizer);
    this.#weights.sync(optimizer);
    return this.#weights.pairsOf(optimizer);
  }
  /** After gradients of masters were changed by hand, as by clipping: the model's parameters show them. */
  sync(optimizer: optim.Optimizer): void {
    atMost("Amp.sync", arguments, 1);
    this.#pairsOf("sync", optimizer);
  }

  /** The unscaled gradient of a model's parameter: its master's, in float32, where it has one. */
  gradientOf(parameter: Tensor): Tensor | null {
    atMost("Amp.gradientOf", arguments, 1);
    return this.#weights.gradientOf(parameter);
  }
  /** Give a model's parameter an unscaled gradient, in the dtype of {@link gradientOf}. */
  setGradient(parameter: Tensor, gradient: Tensor | null): void {
    atMost("Amp.setGradient", arguments, 2);
    this.#weights.setGradient(parameter, gradient);
  }

  /** Loss scales under APEX's names, and the masters: the live tensors, not copies. */
  stateDict(): AmpState {
    atMost("Amp.stateDict", arguments, 0);
    return ampStateOf(this.lossScalers, this.#weights);
  }

  /**
   * Load what {@link stateDict} returned, or a state of APEX itself. Without masters (APEX saves none) they stay: load the
   * model's float32 state dict, which sets them exactly.
   * @throws {ArgumentError} when the number of losses or the masters differ; nothing is changed then.
   */
  loadStateDict(state: AmpState | Readonly<Record<string, unknown>>): void {
    atMost("Amp.loadStateDict", arguments, 1);
    loadAmpState(state, this.lossScalers, this.#weights);
  }

  /**
   * Undo `initialize`: models and optimizers are as any others, in float32, with the masters' exact values where there
   * were masters. The optimizers keep their state. Safe to call twice.
   */
  dispose(): void {
    atMost("Amp.dispose", arguments, 0);
    if (this.#disposed) return;
    this.#disposed = true;
    for (const undo of this.#undo.splice(0).reverse()) undo();
    if (!this.enabled) return;
    const { optimizers } = this.#weights;
    this.#weights.restore();
    this.#originals.restore();
    for (const model of this.#models)
      if (this.properties.castModelType !== null) scope(() => castModel(model, "float32", false));
    for (const owned of [...this.#models, ...optimizers]) owners.delete(owned);
    this.#o1?.release();
  }
  [Symbol.dispose](): void {
    this.dispose();
  }
}

/**
 * Prepare models and optimizers for an opt level, in place.
 *
 * @example
 * const amp = initialize(model, optimizer, { optLevel: "O2" });
 * const loss = amp.run(() => functional.crossEntropy(model.forward(x), y));
 * amp.scaleLoss(loss, optimizer, (scaled) => scaled.backward());
 * optimizer.step();
 * @throws {ArgumentError} for an unknown level or option, and for contradicting overrides.
 * @throws {NbitError} `APEX_MISUSE` for models or optimizers that are initialized already, for an optimizer that has
 * stepped, and for models whose parameters are not float32.
 */
export function initialize(
  models: nn.Module | readonly nn.Module[],
  optimizers: optim.Optimizer | readonly optim.Optimizer[] = [],
  options: InitializeOptions = {},
): Amp {
  atMost("initialize", arguments, 3);
  const list = Array.isArray(models) ? (models as readonly nn.Module[]) : [models as nn.Module];
  const opts = Array.isArray(optimizers) ? (optimizers as readonly optim.Optimizer[]) : [optimizers as optim.Optimizer];
  checkInitialize(list, opts, options, (target) => owners.has(target));
  return outsideScopes(() => new Amp(list, opts, options));
}

/**
 * @internal The same for models whose parameters are shared out over ranks: whoever gathers them casts them, and shards
 * are the masters. `dispose` comes when parameters are whole.
 */
export function initializeSharded(
  models: readonly nn.Module[],
  optimizers: readonly optim.Optimizer[],
  options: InitializeOptions,
): Amp {
  atMost("initializeSharded", arguments, 3);
  checkInitialize(models, optimizers, options, (target) => owners.has(target), true);
  return outsideScopes(() => new Amp(models, optimizers, options, true));
}
