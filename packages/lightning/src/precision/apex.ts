import { atMost, GradScaler, NbitError, optim, scope, tensor, verbatim } from "@nbit/torch";
import {
  checkInitializeOptions,
  ampOf,
  castModel,
  initialize,
  initializeSharded,
  isAffineBatchNorm,
  levelWith,
  type Amp,
  type InitializeOptions,
} from "@nbit/apex";
import type { DType, Tensor, nn } from "@nbit/torch";
import { MisconfigurationError } from "../errors.js";
import type { PrecisionDescription } from "../diagnostics/explain.js";
import type { MemoryLayout, ParameterLayout } from "../diagnostics/memory.js";
import type { ClipAlgorithm } from "./clip.js";
import { ApexScaling } from "./apex-scaling.js";
import type { PrecisionDTypes } from "./facts.js";
import { OWN_GRADIENTS, type GradientAccess } from "./gradient-access.js";
import { ANY_GRAPH, type GraphSupport } from "./graph-support.js";
import type { LossScaling } from "./loss-scaling.js";
import { ALONE, Precision } from "./precision.js";
import type { BackwardParts, PrecisionStep, RankExchange } from "./precision.js";

/** A dynamic scale below it cures no overflow: where `GradScaler` ends too. */
const SMALLEST_SCALE = 2 ** -14;

const GRAPHS: GraphSupport = {
  ...ANY_GRAPH,
  unsupportedReason: "APEX moves gradients between models and masters at every step",
};

/** Options of APEX; the level defaults to "O2", as Lightning's. */
export type ApexPrecisionOptions = InitializeOptions;

/**
 * NVIDIA APEX's opt levels through the Trainer: `ampBackend: "apex", ampLevel`.
 *
 * The module and its direct children are what APEX calls models: under O2 and O3 their inputs are cast to float16 and
 * their outputs back to float32, so that a loss computed from them is float32; under O1 the whole step runs by O1's
 * lists. Checkpoints hold the masters, so that a run that resumes goes on exactly.
 */
export class ApexPrecision extends Precision {
  readonly name = "16-mixed";
  override readonly averagesEveryBatch = true;
  readonly dtypes: PrecisionDTypes;
  readonly options: ApexPrecisionOptions;
  #amp: Amp | null = null;
  /** A backward overflowed since the last update. */
  #overflow = false;
  #scaleOfStep = 1;
  readonly #scaling: ApexScaling;
  /** Parameters are shared out. */
  #shared = false;
  #ranks: RankExchange = ALONE;

  constructor(options: ApexPrecisionOptions = {}) {
    atMost("ApexPrecision", arguments, 1);
    super();
    checkInitializeOptions("ApexPrecision", options);
    this.options = { optLevel: "O2", ...options };
    const { castModelType, patchTorchFunctions, masterWeights } = levelWith(
      this.options.optLevel ?? "O2",
      this.options,
    );
    const enabled = this.options.enabled !== false;
    this.#scaling = new ApexScaling(() => this.#amp, enabled);
    const parameters = enabled ? (castModelType ?? "float32") : "float32";
    const kept = masterWeights === true ? "float32" : parameters;
    this.dtypes = {
      parameters,
      compute: patchTorchFunctions && enabled ? "float16" : parameters,
      gradients: parameters,
      optimizerState: kept,
      checkpoint: kept,
    };
  }

  /** APEX's own object; null before the first run. */
  get amp(): Amp | null {
    return this.#amp;
  }

  /**
   * A second run, of this Trainer or another, begins from the first one's float32 weights: the masters, where it had
   * any.
   */
  override convertModule(module: nn.Module): void {
    this.#amp?.dispose();
    for (const model of [module, ...module.children()]) ampOf(model)?.dispose();
    module.float();
    this.#shared = false;
  }

  /**
   * @internal Parameters are shared out next. Those without masters are cast here; of others shards are the masters, and
   * what this returns says in what to gather them, and whose to leave as they are.
   */
  shareWeights(module: nn.Module): {
    readonly paramDtype: DType | null;
    readonly except: ((module: nn.Module) => boolean) | null;
  } {
    atMost("ApexPrecision.shareWeights", arguments, 1);
    this.#shared = true;
    const { castModelType, keepBatchnormFp32, masterWeights } = levelWith(this.options.optLevel ?? "O2", this.options);
    const none = { paramDtype: null, except: null };
    if (castModelType === null || this.options.enabled === false) return none;
    if (masterWeights === true)
      return { paramDtype: castModelType, except: keepBatchnormFp32 === true ? isAffineBatchNorm : null };
    scope(() => castModel(module, castModelType, keepBatchnormFp32 === true));
    return none;
  }
  /** @internal Parameters are whole again: the module is as before the run, in float32. */
  weightsAreWhole(): void {
    atMost("ApexPrecision.weightsAreWhole", arguments, 0);
    if (this.#shared) this.#amp?.dispose();
  }

  override connect(module: nn.Module, optimizers: readonly optim.Optimizer[], ranks: RankExchange = ALONE): void {
    super.connect(module, optimizers, ranks);
    const models = [module, ...module.children()];
    this.#amp = (this.#shared ? initializeSharded : initialize)(models, optimizers, this.options);
    this.#ranks = ranks;
    this.#overflow = false;
  }

  #ready(): Amp {
    if (this.#amp === null)
      throw new MisconfigurationError(
        "ApexPrecision",
        "to be used by a Trainer",
        verbatim("a plugin without a module"),
        "Pass it in plugins, or use initialize from @nbit/apex.",
        "ERR_PRECISION_PLUGIN",
      );
    return this.#amp;
  }

  override forward<T>(fn: () => T): T {
    return this.#ready().run(fn);
  }

  override scaleLoss(loss: Tensor): Tensor {
    return this.#ready().scale(loss);
  }

  override backward(loss: Tensor, { before, run }: BackwardParts): void {
    this.#settle();
    this.#agreed.clear();
    this.#scaling.overflowed = false;
    const scaled = this.scaling.preview(loss);
    before?.(scaled);
    this.#ready().begin();
    try {
      run(scaled);
    } finally {
      this.#settle();
    }
  }
  #settle(): void {
    if (!this.#ready().settle()) this.#overflow = true;
  }

  override unscale(optimizer: optim.Optimizer): void {
    this.#settle();
    this.#ready().sync(optimizer);
    this.#agree(optimizer);
  }

  override clip(optimizer: optim.Optimizer, value: number, algorithm: ClipAlgorithm): Tensor | null {
    const norm = super.clip(optimizer, value, algorithm);
    this.#ready().sync(optimizer);
    return norm;
  }

  override mainParams(optimizer: optim.Optimizer): Tensor[] {
    return this.#ready().masterParams(optimizer);
  }

  override step(optimizer: optim.Optimizer, closure?: () => Tensor): PrecisionStep {
    if (closure !== undefined)
      throw new MisconfigurationError(
        'ampBackend: "apex"',
        "an optimizer that steps once per backward",
        optimizer,
        "Use the native backend without a scaler, or another optimizer.",
        "ERR_PRECISION_CLOSURE",
      );
    this.unscale(optimizer);
    const finite = !this.#ready().willSkip(optimizer);
    this.#scaleOfStep = this.lossScale ?? 1;
    optimizer.step(); // which skips by itself
    this.#scaling.stepped(finite);
    const nonFinite = finite ? undefined : this.#nonFinite(optimizer);
    return { stepped: finite, lossScale: this.#scaleOfStep, ...(nonFinite === undefined ? {} : { nonFinite }) };
  }

  /** Those whose gradients all ranks have looked at since the latest backward. */
  readonly #agreed = new Set<optim.Optimizer>();
  /** Each rank looked at its shards: an overflow on one is one on all, of this step and since the last update. */
  #agree(optimizer: optim.Optimizer): void {
    const { reduceFoundInf } = this.#ranks;
    if (reduceFoundInf === null || !this.#scaling.dynamic || this.#agreed.has(optimizer)) return;
    this.#agreed.add(optimizer);
    const amp = this.#ready();
    scope(() => {
      const device = this.module?.parameters()[0]?.device ?? "cpu";
      const found = tensor([Number(amp.willSkip(optimizer)), Number(this.#overflow)], { dtype: "float32", device });
      reduceFoundInf(found);
      const [skips, overflow] = found.tolist() as number[];
      if (skips !== 0) {
        amp.skipNext(optimizer);
        this.#scaling.overflowed = true;
      }
      this.#overflow = overflow !== 0;
    });
  }

  #nonFinite(optimizer: optim.Optimizer): string[] {
    const names = new Map<Tensor, string>();
    if (this.module !== null) for (const [name, p] of this.module.namedParameters()) names.set(p, name);
    const models = this.#ready().modelParams(optimizer);
    return this.mainParams(optimizer).flatMap((m, i) => {
      const grad = m.grad;
      if (grad === null || scope(() => optim.isFiniteGradient(grad))) return [];
      const model = models[i];
      return [(model === undefined ? undefined : names.get(optim.parameterOfMaster(model))) ?? `parameter ${i}`];
    });
  }

  override get graphs(): GraphSupport {
    return GRAPHS;
  }

  override update(stepped: readonly optim.Optimizer[] = this.optimizers): void {
    if (stepped.length === 0) return;
    const overflow = this.#overflow;
    this.#overflow = false;
    const scaler = this.#ready().lossScalers[0];
    if (scaler === undefined) return;
    if (overflow && this.#scaling.dynamic && scaler.lossScale <= Math.max(scaler.minLossScale, SMALLEST_SCALE))
      throw this.#floorReached(scaler.lossScale);
    scaler.update(overflow);
  }

  #floorReached(scale: number): NbitError {
    const names = new Set(this.optimizers.flatMap((o) => this.#nonFinite(o)));
    return new NbitError(
      `ampBackend "apex": expected finite gradients at the smallest loss scale. Received: gradients that are not finite at scale ${scale}${names.size === 0 ? "" : `, of ${[...names].join(", ")}`}. The loss or a layer yields NaN or infinity: look there, or lower minLossScale.`,
      "LOSS_SCALE_FLOOR",
    );
  }

  override checkOptimizer(optimizer: optim.Optimizer, needsClosure: boolean): void {
    if (!needsClosure) return;
    throw new MisconfigurationError(
      'ampBackend: "apex"',
      "an optimizer that steps once per backward",
      optimizer,
      "A loss scaler cannot follow one that evaluates the loss several times per step.",
      "ERR_PRECISION_CLOSURE",
    );
  }

  override get scaling(): LossScaling {
    return this.#scaling;
  }
  override describe(): PrecisionDescription {
    return { lossScaling: this.#scalingInWords(), memory: (module) => this.#memoryOf(module) };
  }
  #scalingInWords(): string {
    if (this.options.enabled === false) return "none: APEX is not enabled";
    const scaler = this.#amp?.lossScalers[0];
    if (scaler === undefined) return `APEX ${this.options.optLevel}`;
    return `${scaler.dynamic ? "dynamic, now" : "static"} ${scaler.lossScale}`;
  }

  /** By level: a float16 model with or without float32 masters, which then have the gradients and the state. */
  #memoryOf(module: nn.Module): MemoryLayout {
    const { castModelType, keepBatchnormFp32, masterWeights } = levelWith(this.options.optLevel ?? "O2", this.options);
    const kept = new Set<Tensor>();
    if (keepBatchnormFp32 === true)
      for (const m of module.modules()) if (isAffineBatchNorm(m)) for (const p of m.parameters()) kept.add(p);
    const wide: ParameterLayout = { parameter: "float32", master: null, gradient: "float32", state: "float32" };
    const dtype = castModelType ?? "float32";
    const cast: ParameterLayout =
      dtype === "float16" && masterWeights === true
        ? { ...wide, parameter: dtype, master: "float32", shownGradient: dtype }
        : { parameter: dtype, master: null, gradient: dtype, state: dtype };
    const parameters = new Map<Tensor, Tensor>();
    const amp = this.#amp;
    if (amp !== null)
      for (const o of this.optimizers)
        this.mainParams(o).forEach((m, i) => parameters.set(m, amp.modelParams(o)[i] ?? m));
    return { dtypes: (p) => (kept.has(p) ? wide : cast), parameterOf: (p) => parameters.get(p) ?? p };
  }

  override get gradients(): GradientAccess {
    return this.#gradients;
  }
  readonly #gradients: GradientAccess = {
    ...OWN_GRADIENTS,
    of: (parameter) => this.#amp?.gradientOf(parameter) ?? null,
    set: (parameter, gradient) => {
      this.#ready().setGradient(parameter, gradient);
    },
  };

  override stateDict(): Record<string, unknown> | null {
    return this.#amp === null
      ? null
      : { ...this.#amp.stateDict(), dynamic: this.#scaling.dynamic, skippedSteps: this.skippedSteps };
  }
  /**
   * Also reads the scaler of a run without APEX, of PyTorch's and Lightning's too, and the state of another level. A
   * static scale stays: it is this run's own setting. Masters of a level that has none are left out: the module's state
   * dict, which is float32, holds their values.
   */
  override loadStateDict(state: Record<string, unknown>): void {
    const amp = this.#ready();
    const own = amp.stateDict();
    const given = isRecord(state.amp_scaling_state) ? state.amp_scaling_state : state;
    const { masters } = given;
    const keys = (value: unknown): string => (isRecord(value) ? Object.keys(value).sort().join() : "");
    const scalers = this.#scalers(given, amp);
    amp.loadStateDict({
      ...own,
      ...scalers,
      masters: isRecord(masters) && keys(masters) === keys(own.masters) ? masters : undefined,
    });
    if (typeof state.skippedSteps === "number") this.#scaling.skipped = state.skippedSteps;
  }

  /** What the given state says of each of this run's scalers: one that it does not know has the first one's scale. */
  #scalers(given: Readonly<Record<string, unknown>>, amp: Amp): Record<string, unknown> {
    if (!this.#scaling.dynamic || given.dynamic === false) return {};
    const first = isRecord(given.loss_scaler0) ? given.loss_scaler0 : nativeScaler(given);
    if (first === null) return {};
    return Object.fromEntries(
      amp.lossScalers.map((_, i): [string, unknown] => [`loss_scaler${i}`, given[`loss_scaler${i}`] ?? first]),
    );
  }
}

const isRecord = (value: unknown): value is Readonly<Record<string, unknown>> =>
  typeof value === "object" && value !== null;

/**
 * A native scaler's scale and count under APEX's names; null for a state without them. @throws {ArgumentError} for one
 * with wrong values.
 */
function nativeScaler(state: Readonly<Record<string, unknown>>): Record<string, unknown> | null {
  const reader = new GradScaler({ minScale: 0, maxScale: 2 ** 100 });
  const before = reader.stateDict();
  const { skippedSteps: _, dynamic: __, masters: ___, ...given } = state;
  reader.loadStateDict(given);
  const after = reader.stateDict();
  return Object.keys(given).length === 0 || !("scale" in after) || !("scale" in before)
    ? null
    : { loss_scale: after.scale, unskipped: after.growthTracker };
}
