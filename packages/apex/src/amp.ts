/** APEX amp without its global state: `initialize` gives an object that holds everything. */
import { ArgumentError, amp as native, NbitError, nn, noGrad, optim, outsideScopes, scope, Tensor, type DType } from "@nbit/torch";
import { castModel, castTensors, wrapForward } from "./casts.js";
import { o1Policy } from "./lists.js";
import { LossScaler, type LossScalerState } from "./loss-scaler.js";
import { MasterWeights } from "./master-weights.js";
import { resolveOptLevel, type OptLevel, type OptOverrides, type OptProperties } from "./opt-levels.js";

export interface InitializeOptions extends OptOverrides {
  /** Default "O1". */
  readonly optLevel?: OptLevel;
  /** false: everything stays as it is, and `scaleLoss` passes the loss through. Default true. */
  readonly enabled?: boolean;
  /** Dtype of the models' outputs. Default: float32 where the model is cast. */
  readonly castModelOutputs?: DType | null;
  /** Losses with a scale of their own. Default 1. */
  readonly numLosses?: number;
  readonly minLossScale?: number | null;
  /** Default 2^24. */
  readonly maxLossScale?: number;
}
export interface ScaleLossOptions {
  /** Which of `numLosses`. Default 0. */
  readonly lossId?: number;
  /** Leave the gradients scaled, for accumulation: unscale in the last backward of a window only. */
  readonly delayUnscale?: boolean;
}
export interface AmpState {
  readonly lossScalers: readonly LossScalerState[];
  /** Masters by optimizer and position, exactly: a run that resumes goes on from these and not from rounded weights. */
  readonly masters: Readonly<Record<string, Tensor>>;
}

const MISUSE = "APEX_MISUSE";

/** What `initialize` made. */
export class Amp {
  readonly optLevel: OptLevel;
  readonly properties: OptProperties;
  readonly enabled: boolean;
  readonly lossScalers: readonly LossScaler[];
  readonly #masters = new Map<optim.Optimizer, MasterWeights>();
  readonly #skip = new Set<optim.Optimizer>();
  readonly #undo: (() => void)[] = [];
  readonly #policy: native.AutocastPolicy | null;
  readonly #device: string;
  #scaling = false;
  /** Optimizer steps skipped since the start. */
  skippedSteps = 0;

  /** @internal Use {@link initialize}. */
  constructor(models: readonly nn.Module[], optimizers: readonly optim.Optimizer[], options: InitializeOptions) {
    this.optLevel = options.optLevel ?? "O1";
    this.properties = resolveOptLevel(this.optLevel, options);
    this.enabled = options.enabled ?? true;
    const n = options.numLosses ?? 1;
    if (!Number.isInteger(n) || n < 1) throw new ArgumentError("apex.initialize", "numLosses to be a whole number ≥ 1", n);
    this.lossScalers = Array.from({ length: n }, () => new LossScaler(this.properties.lossScale, { minLossScale: options.minLossScale ?? null, ...(options.maxLossScale === undefined ? {} : { maxLossScale: options.maxLossScale }) }));
    this.#device = models[0]?.parameters()[0]?.device.type ?? "cpu";
    this.#policy = this.enabled && this.properties.patchTorchFunctions ? o1Policy(this.#device) : null;
    if (!this.enabled) return;
    // APEX makes masters from the rounded weights; ours begin where the float32 model was.
    const originals = new Map<Tensor, Tensor>();
    if (this.properties.masterWeights === true) for (const model of models) for (const p of model.parameters()) if (p.isFloatingPoint()) originals.set(p, p.detach().clone());
    for (const model of models) this.#prepareModel(model, options.castModelOutputs ?? null);
    for (const optimizer of optimizers) this.#prepareOptimizer(optimizer, originals);
    if (this.properties.masterWeights === true) for (const model of models) this.#emitFloat32(model);
  }

  #prepareModel(model: nn.Module, outputs: DType | null): void {
    const { castModelType, keepBatchnormFp32 } = this.properties;
    if (this.#policy !== null) {
      this.#undo.push(wrapForward(model, (forward) => (...args) => this.run(() => forward(...args))));
      return;
    }
    if (castModelType === null) return;
    castModel(model, castModelType, keepBatchnormFp32 === true);
    if (castModelType === "float32") return;
    this.#undo.push(wrapForward(model, (forward) => (...args) => castTensors(forward(...args.map((a) => castTensors(a, castModelType))), outputs ?? "float32")));
  }

  #prepareOptimizer(optimizer: optim.Optimizer, originals: ReadonlyMap<Tensor, Tensor>): void {
    if (optimizer.state.size > 0) throw new NbitError("apex.initialize: expected an optimizer that has not stepped. Received: one with state, whose tensors belong to the parameters that masters replace. Initialize right after making it.", MISUSE);
    const weights = new MasterWeights(optimizer, this.properties.masterWeights === true, originals);
    this.#masters.set(optimizer, weights);
    const step = optimizer.step.bind(optimizer);
    const zeroGrad = optimizer.zeroGrad.bind(optimizer);
    Object.assign(optimizer, {
      step: (closure?: () => Tensor): Tensor | null => {
        if (closure !== undefined) throw new NbitError("apex: expected step(). Received: step(closure). Under loss scaling the loss cannot be evaluated inside the step.", MISUSE);
        if (this.#skip.delete(optimizer)) {
          this.skippedSteps++;
          return null;
        }
        const result = step();
        weights.copyToModel();
        return result;
      },
      zeroGrad: (o?: { readonly setToNone?: boolean }): void => {
        zeroGrad(o);
        for (const [p, m] of weights.pairs) if (p !== m) p.grad = null;
      },
    });
    this.#undo.push(() => {
      Object.assign(optimizer, { step, zeroGrad });
    });
  }

  // The state dict of a float16 model is float32: from the masters, so that nothing is lost.
  #emitFloat32(model: nn.Module): void {
    const masterOf = new Map<Tensor, Tensor>([...this.#masters.values()].flatMap((w) => w.pairs.map(([p, m]) => [p, m] as const)));
    const original = nn.Module.prototype.stateDict;
    Object.defineProperty(model, "stateDict", {
      configurable: true,
      writable: true,
      enumerable: false,
      value: (): nn.StateDict => new Map([...original.call(model)].map(([name, t]) => [name, masterOf.get(t) ?? (t.dtype === "float16" ? t.detach().to("float32") : t)])),
    });
  }

  /** Run `fn` by O1's lists: the loss belongs inside too. At other levels it just runs. The models' forward does this by itself. */
  run<T>(fn: () => T): T {
    const policy = this.#policy;
    if (policy === null) return fn();
    return native.autocast({ deviceType: this.#device, dtype: "float16", cacheEnabled: false }, () => policy.run(fn));
  }

  /**
   * Scale a loss, let `fn` call backward on it, and bring true gradients to the masters.
   *
   * When a gradient is not finite, the next `step()` of these optimizers is skipped and the scale halved. Reads the gradients: waits for the device.
   * @param fn - `(scaled) => scaled.backward()`.
   * @throws {NbitError} `APEX_MISUSE` inside another `scaleLoss`, or for an optimizer that was not given to `initialize`.
   */
  scaleLoss(loss: Tensor, optimizers: optim.Optimizer | readonly optim.Optimizer[], fn: (scaled: Tensor) => void, options: ScaleLossOptions = {}): void {
    if (!this.enabled) return fn(loss);
    if (this.#scaling) throw new NbitError("scaleLoss: expected one loss at a time. Received: scaleLoss inside scaleLoss. Scale them one after the other.", MISUSE);
    if (!(loss instanceof Tensor)) throw new ArgumentError("scaleLoss", "loss to be a tensor", loss);
    const id = options.lossId ?? 0;
    const scaler = this.lossScalers[id];
    if (scaler === undefined) throw new ArgumentError("scaleLoss", `lossId below numLosses (${this.lossScalers.length})`, id);
    const weights = (Array.isArray(optimizers) ? (optimizers as readonly optim.Optimizer[]) : [optimizers as optim.Optimizer]).map((o) => this.#weightsOf("scaleLoss", o));
    const delay = options.delayUnscale === true;
    const stashed = delay ? [] : weights.map((w) => w.stash());
    this.#scaling = true;
    try {
      fn(loss.to("float32").mul(scaler.lossScale));
    } finally {
      this.#scaling = false;
    }
    if (delay) return;
    let finite = true;
    weights.forEach((w, i) => {
      finite = w.collect(stashed[i] ?? [], scaler.lossScale, scaler.dynamic) && finite;
    });
    if (scaler.update(!finite)) for (const w of weights) this.#skip.add(w.optimizer);
  }

  /** The loss times the scale, in float32: one half of {@link scaleLoss}, for loops that call backward themselves. */
  scale(loss: Tensor, lossId = 0): Tensor {
    const scaler = this.lossScalers[lossId];
    return !this.enabled || scaler === undefined ? loss : loss.to("float32").mul(scaler.lossScale);
  }
  /** The other half: true gradients to the masters of an optimizer whose gradients are scaled. Gives whether all were finite. */
  unscale(optimizer: optim.Optimizer, lossId = 0): boolean {
    const scaler = this.lossScalers[lossId];
    if (!this.enabled || scaler === undefined) return true;
    return this.#weightsOf("unscale", optimizer).collect([], scaler.lossScale, scaler.dynamic);
  }
  /** Let the next step of an optimizer be skipped. */
  skipNext(optimizer: optim.Optimizer): void {
    this.#skip.add(optimizer);
  }

  #weightsOf(fn: string, optimizer: optim.Optimizer): MasterWeights {
    const found = this.#masters.get(optimizer);
    if (found === undefined) throw new NbitError(`${fn}: expected an optimizer that was given to initialize. Received: ${optimizer.constructor.name}. Pass all optimizers to initialize.`, MISUSE);
    return found;
  }

  /** Whether the next step of an optimizer will be skipped. */
  willSkip(optimizer: optim.Optimizer): boolean {
    return this.#skip.has(optimizer);
  }

  /** What an optimizer steps, and whose gradients to clip: masters in float32 where there are any. */
  masterParams(optimizer: optim.Optimizer): Tensor[] {
    return this.enabled ? this.#weightsOf("masterParams", optimizer).masters() : optimizer.paramGroups.flatMap((g) => g.params);
  }

  /** The models' parameters, in the order of {@link masterParams}. */
  modelParams(optimizer: optim.Optimizer): Tensor[] {
    return this.#weightsOf("modelParams", optimizer).pairs.map(([p]) => p);
  }

  stateDict(): AmpState {
    const masters: Record<string, Tensor> = {};
    [...this.#masters.values()].forEach((w, o) => w.pairs.forEach(([p, m], i) => {
      if (p !== m) masters[`${o}.${i}`] = m;
    }));
    return { lossScalers: this.lossScalers.map((s) => s.stateDict()), masters };
  }

  /** @throws {ArgumentError} when the number of losses or the masters differ. */
  loadStateDict(state: AmpState | Readonly<Record<string, unknown>>): void {
    const { lossScalers, masters } = state as AmpState;
    if (!Array.isArray(lossScalers) || lossScalers.length !== this.lossScalers.length) throw new ArgumentError("apex.loadStateDict", `${this.lossScalers.length} loss scalers`, lossScalers);
    this.lossScalers.forEach((s, i) => s.loadStateDict(lossScalers[i] as Readonly<Record<string, unknown>>));
    const own = this.stateDict().masters;
    const given = masters ?? {};
    if (Object.keys(own).join() !== Object.keys(given).join()) throw new ArgumentError("apex.loadStateDict", `masters of ${Object.keys(own).length} parameters`, Object.keys(given).length, "Was it saved at another opt level?");
    noGrad(() => scope(() => {
      for (const [key, m] of Object.entries(own)) m.detach().copy_(given[key] as Tensor);
    }));
    for (const w of this.#masters.values()) w.copyToModel();
  }

  /** Put models' forward and optimizers' step back. Casts stay. */
  dispose(): void {
    for (const undo of this.#undo.splice(0).reverse()) undo();
    this.#policy?.dispose();
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
 * @throws {ArgumentError} for an unknown level or contradicting overrides.
 * @throws {NbitError} `APEX_MISUSE` for an optimizer that has stepped, and for models whose parameters are not float32.
 */
export function initialize(models: nn.Module | readonly nn.Module[], optimizers: optim.Optimizer | readonly optim.Optimizer[] = [], options: InitializeOptions = {}): Amp {
  const list = Array.isArray(models) ? (models as readonly nn.Module[]) : [models as nn.Module];
  const opts = Array.isArray(optimizers) ? (optimizers as readonly optim.Optimizer[]) : [optimizers as optim.Optimizer];
  for (const m of list) {
    if (!(m instanceof nn.Module)) throw new ArgumentError("apex.initialize", "models to be Modules", m);
    for (const [name, p] of m.namedParameters())
      if (p.isFloatingPoint() && p.dtype !== "float32") throw new NbitError(`apex.initialize: expected float32 parameters. Received: ${name} in ${p.dtype}. initialize casts by itself: do not call half() before it.`, MISUSE);
  }
  for (const o of opts) if (!(o instanceof optim.Optimizer)) throw new ArgumentError("apex.initialize", "optimizers to be Optimizers", o);
  return outsideScopes(() => new Amp(list, opts, options));
}
