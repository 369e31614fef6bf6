import { NbitError, scope, Tensor } from "@nbit/torch";
import type { optim } from "@nbit/torch";
import { isPlainObject } from "../collections.js";
import { MisconfigurationError } from "../errors.js";
import { isOverridden, mustEnd, STEPS_END } from "../hooks.js";
import type { HookArgs, HookList, Hooks } from "../hooks.js";
import type { LightningModule, ModuleHost } from "../module.js";
import type { ClipAlgorithm } from "../precision/clip.js";
import type { Precision, PrecisionStep } from "../precision/precision.js";
import type { Batch, StepOutcome, StepResult } from "../types.js";
import type { WarnOnce } from "../warnings.js";
import { LightningOptimizer } from "./lightning-optimizer.js";
import type { NonFiniteWatch } from "./non-finite-watch.js";
import { needsClosure } from "./optimizers.js";
import type { OptimizerRunner } from "./lightning-optimizer.js";
import { LateNorms, Outcome, ScaleInForce } from "./outcome.js";
import type { FitProgress } from "./progress.js";

/** What a training step works with. */
export interface TrainStepParts {
  readonly module: LightningModule;
  readonly host: ModuleHost;
  readonly hooks: Hooks;
  readonly precision: Precision;
  readonly optimizers: readonly optim.Optimizer[];
  readonly progress: FitProgress;
  readonly warnings: WarnOnce;
  readonly gradientClipVal: number | null;
  readonly gradientClipAlgorithm: ClipAlgorithm;
  /** Looks out for NaN; null: nobody does. */
  readonly watch?: NonFiniteWatch | null;
}

/**
 * One batch of training, in the order in which it happens. The loop has moved the batch to the device and called
 * `onTrainBatchStart`; it steps the schedulers and calls `onTrainBatchEnd` when this returns.
 *
 * Synchronous; runs inside a tensor scope. Hooks that nobody overrides are lists of length zero.
 */
export class TrainStep implements OptimizerRunner {
  /** Batches per optimizer step. A callback may change it between epochs. */
  accumulate = 1;
  /** A window's first batch fills gradients with zeros where they lie, instead of forgetting them: for recorded graphs, which know their memory. Sums are the same, except that a first -0 is 0. */
  zeroInPlace = false;
  /** The latest batch gave a loss, and so gradients. */
  hadLoss = false;
  /** What the latest iteration did. */
  outcome: StepOutcome | null = null;
  readonly module: LightningModule;
  readonly wrapped: readonly LightningOptimizer[];

  readonly #parts: TrainStepParts;
  readonly #onBeforeZeroGrad: HookList<HookArgs<"onBeforeZeroGrad">>;
  readonly #onBeforeBackward: HookList<HookArgs<"onBeforeBackward">>;
  readonly #onAfterBackward: HookList<HookArgs<"onAfterBackward">>;
  readonly #onBeforeOptimizerStep: HookList<HookArgs<"onBeforeOptimizerStep">>;
  readonly #customOptimizerStep: boolean;
  readonly #customClipping: boolean;
  readonly #wantsResult: boolean;
  /** Nothing waits for a device when its numbers are read at once. */
  readonly #readsNow: boolean;
  readonly #norms: LateNorms | null;
  #scaleInForce: ScaleInForce | null = null;
  #batch: Batch = null;
  #batchIdx = 0;
  #result: StepResult = {};
  #current = new Outcome();
  /** Nobody sees gradients between backward and the step. */
  #stepFollows = false;
  /** This batch is the first of a window: it clears the gradients of the one before. */
  #opensWindow = true;
  readonly #stepped = new Set<optim.Optimizer>();
  readonly #watch: NonFiniteWatch | null;

  constructor(parts: TrainStepParts) {
    const { module, hooks } = parts;
    this.#parts = parts;
    this.#watch = parts.watch ?? null;
    this.module = module;
    this.wrapped = parts.optimizers.map((optimizer) => new LightningOptimizer(optimizer, this));
    this.#onBeforeZeroGrad = hooks.get("onBeforeZeroGrad");
    this.#onBeforeBackward = hooks.get("onBeforeBackward");
    this.#onAfterBackward = hooks.get("onAfterBackward");
    this.#beforeBackward = this.#onBeforeBackward.length === 0 ? undefined : (scaled) => this.#onBeforeBackward.call(scaled);
    this.#onBeforeOptimizerStep = hooks.get("onBeforeOptimizerStep");
    const device = parts.optimizers[0]?.paramGroups[0]?.params[0]?.device;
    this.#readsNow = device?.type === "cpu" && !parts.precision.readsLate;
    this.#norms = this.#readsNow || device === undefined ? null : new LateNorms(device);
    this.#wantsResult = hooks.get("onTrainBatchEnd").length > 0;
    this.#customOptimizerStep = isOverridden(module, "optimizerStep");
    this.#customClipping = isOverridden(module, "configureGradientClipping");
    for (const optimizer of parts.optimizers) parts.precision.checkOptimizer(optimizer, needsClosure(optimizer));
  }

  /** `windowEnds`: gradients are complete after this batch, so the optimizer steps. */
  run(batch: Batch, batchIdx: number, windowEnds: boolean): StepResult {
    const { module, optimizers, progress } = this.#parts;
    this.#batch = batch;
    this.#batchIdx = batchIdx;
    this.#result = {};
    this.#current = new Outcome();
    this.#opensWindow = !progress.windowOpen;
    this.#stepFollows = windowEnds && optimizers[0] !== undefined && !this.#customOptimizerStep && this.#onAfterBackward.length === 0;
    this.hadLoss = false;
    this.#watch?.begin(batch, batchIdx, this.accumulate);

    if (!module.automaticOptimization) this.#manual();
    else if (optimizers[0] === undefined || !windowEnds) this.#forwardBackward();
    else if (this.#customOptimizerStep) this.#overriddenOptimizerStep(optimizers[0]);
    else this.stepOptimizer(optimizers[0], this.#closure);

    if (this.#stepped.size > 0) {
      this.#update(); // once, however many optimizers stepped
      this.#stepped.clear();
    } else {
      this.#current.scaleIs(this.#readsNow ? this.#scaleNow() : (this.#scaleInForce ??= new ScaleInForce(this.#scaleNow)));
    }
    this.outcome = this.#current;
    this.#batch = null;
    this.#watch?.end();
    return this.#result;
  }

  #update(): void {
    try {
      this.#parts.precision.update();
    } catch (error) {
      throw this.#withOrigin(error);
    }
  }

  /** The scale is at its floor: with where the overflow began, when somebody looks out for that. */
  #withOrigin(error: unknown): unknown {
    return this.#watch !== null && error instanceof NbitError && error.code === "LOSS_SCALE_FLOOR" ? this.#watch.atFloor(error) : error;
  }

  /** Forward to backward; several times where the optimizer evaluates the loss itself. Gives the loss, or null when the step method returned none. */
  #forwardBackward(): Tensor | null {
    const { precision, progress } = this.#parts;

    // Forward: only the step method runs under the precision.
    const loss = this.#lossOf(this.#trainingStep());
    if (loss !== null) this.#watch?.loss(loss);
    const divided = loss === null || this.accumulate === 1 ? loss : loss.div(this.accumulate);
    if (divided !== null && this.#wantsResult) this.#result.loss = divided.detach();

    const optimizer = this.#parts.optimizers[0];
    if (this.#opensWindow && optimizer !== undefined) this.#zeroGrad(optimizer);
    if (divided === null) return null;
    this.hadLoss = true;
    progress.windowOpen = true;

    // Backward, outside autocast.
    precision.backward(divided, { before: this.#beforeBackward, run: this.#backward, stepFollows: this.#stepFollows });
    this.#watch?.backwardDone();
    if (this.#onAfterBackward.length > 0) this.#onAfterBackward.call();
    return divided;
  }

  readonly #scaleNow = (): number => this.#parts.precision.lossScale ?? 1;

  readonly #beforeBackward: ((scaled: Tensor) => void) | undefined;
  readonly #backward = (scaled: Tensor): void => {
    mustEnd("backward", this.module.backward(scaled));
  };

  readonly #closure = (): Tensor | null => this.#forwardBackward();

  /** Gradients to weights: run `closure` for the gradients, make them true, clip, step or skip. */
  stepOptimizer(optimizer: optim.Optimizer, closure?: () => Tensor | null): void {
    const { precision, progress } = this.#parts;
    if (this.#stepped.has(optimizer)) this.#update(); // a second step of one optimizer in one iteration begins anew

    let step: PrecisionStep;
    if (closure !== undefined && needsClosure(optimizer)) {
      step = precision.step(optimizer, () => {
        const loss = closure();
        if (loss === null) throw new MisconfigurationError("trainingStep", `a loss, since ${optimizer.constructor.name} evaluates it several times per step`, loss, undefined, "ERR_NULL_LOSS");
        this.#beforeOptimizerStep(optimizer);
        return loss;
      });
    } else {
      if (closure !== undefined && closure() === null && this.module.automaticOptimization) return; // nothing to step with; earlier gradients stay
      step = this.module.automaticOptimization ? this.#stepNow(optimizer) : precision.outside(() => this.#stepNow(optimizer));
    }
    this.#stepped.add(optimizer);
    progress.globalStep++;
    progress.windowOpen = false;
    this.#current.add(step);
    this.#scaleInForce?.endedBy(step);
    this.#scaleInForce = null;
  }

  #stepNow(optimizer: optim.Optimizer): PrecisionStep {
    this.#beforeOptimizerStep(optimizer);
    return this.#parts.precision.step(optimizer);
  }

  #beforeOptimizerStep(optimizer: optim.Optimizer): void {
    const { precision, module, gradientClipVal, gradientClipAlgorithm } = this.#parts;
    precision.unscale(optimizer);
    this.#watch?.gradients();
    if (this.#onBeforeOptimizerStep.length > 0) this.#onBeforeOptimizerStep.call(optimizer);
    if (!module.automaticOptimization) return;
    if (this.#customClipping) this.#within("configureGradientClipping", () => module.configureGradientClipping(optimizer, gradientClipVal, gradientClipAlgorithm));
    else if (gradientClipVal !== null) this.clip(optimizer, gradientClipVal, gradientClipAlgorithm);
  }

  /** Clips true gradients: unscales first where that has not been done. */
  clip(optimizer: optim.Optimizer, value: number, algorithm: ClipAlgorithm): void {
    const { precision } = this.#parts;
    precision.unscale(optimizer);
    const norm = precision.clip(optimizer, value, algorithm);
    if (norm !== null) this.#current.gradNormIs(norm, this.#norms);
  }

  /** Before a recording, which must not be interrupted: read what earlier steps left on the device. */
  beginReplays(): void {
    this.#norms?.readAll();
    this.#parts.precision.beginReplays();
  }

  /** After a window. At log steps (`due`) reads what was seen of NaN and what became of the scale, where that is still on the device. */
  checkOutcome(batch: Batch, batchIdx: number, due: boolean): void {
    if (due) this.#watch?.read(batch, batchIdx);
    try {
      this.#parts.precision.checkOutcome(due);
    } catch (error) {
      this.#watch?.lookAt(batch, batchIdx);
      throw this.#withOrigin(error);
    }
  }

  // Manual optimization: the step method calls these through its module.

  #manual(): void {
    const output: unknown = this.#trainingStep();
    if (isPlainObject(output)) Object.assign(this.#result, output);
    else if (output !== null && output !== undefined) this.#result.loss = output;
    if (this.#result.loss instanceof Tensor) this.#result.loss = this.#result.loss.detach();
  }

  manualBackward(loss: Tensor): void {
    const { precision } = this.#parts;
    this.#watch?.loss(loss);
    precision.outside(() => {
      precision.backward(loss, { before: this.#beforeBackward, run: this.#backward, stepFollows: false });
      this.#watch?.backwardDone();
      if (this.#onAfterBackward.length > 0) this.#onAfterBackward.call();
    });
  }

  /** Somebody threw gradients away. */
  cleared(optimizer: optim.Optimizer): void {
    this.#parts.precision.cleared(optimizer);
  }

  // Parts.

  #trainingStep(): unknown {
    const { host, precision } = this.#parts;
    const before = host.currentHook;
    host.currentHook = "trainingStep";
    try {
      // What backward does not need is freed before it runs, as a function's local variables would be.
      return scope(() => precision.forward(this.#callTrainingStep));
    } finally {
      host.currentHook = before;
    }
  }

  readonly #callTrainingStep = (): unknown => mustEnd("trainingStep", this.module.trainingStep(this.#batch, this.#batchIdx), STEPS_END, "ERR_ASYNC_STEP");

  /** The loss in what a step method returned; other values of an object go to `onTrainBatchEnd`. */
  #lossOf(output: unknown): Tensor | null {
    if (output === null || output === undefined) {
      this.#parts.warnings.warn("WARN_NULL_LOSS", "trainingStep returned null: no backward and no step for that batch. Nothing to do if this was meant.");
      return null;
    }
    if (output instanceof Tensor) return output;
    if (isPlainObject(output) && output.loss instanceof Tensor) {
      this.#result = { ...output };
      return output.loss;
    }
    throw new MisconfigurationError("trainingStep", "a tensor, an object with a tensor named loss, or null", output, undefined, "ERR_STEP_OUTPUT");
  }

  #zeroGrad(optimizer: optim.Optimizer): void {
    if (this.#onBeforeZeroGrad.length > 0) this.#onBeforeZeroGrad.call(optimizer);
    if (this.zeroInPlace) optimizer.zeroGrad({ setToNone: false });
    else mustEnd("optimizerZeroGrad", this.module.optimizerZeroGrad(this.#parts.progress.epoch, this.#batchIdx, optimizer));
  }

  #overriddenOptimizerStep(optimizer: optim.Optimizer): void {
    const wrapped = this.wrapped.find((w) => w.optimizer === optimizer);
    if (wrapped === undefined) return;
    this.#within("optimizerStep", () => this.module.optimizerStep(this.#parts.progress.epoch, this.#batchIdx, wrapped, this.#closure));
  }

  #within(hook: string, fn: () => unknown): void {
    const { host } = this.#parts;
    const before = host.currentHook;
    host.currentHook = hook;
    try {
      mustEnd(hook, fn());
    } finally {
      host.currentHook = before;
    }
  }
}
