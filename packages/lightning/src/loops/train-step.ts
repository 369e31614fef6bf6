import { saveOnCpu, scope, Tensor } from "@nbit/torch";
import type { optim } from "@nbit/torch";
import { isPlainObject } from "../collections.js";
import { MisconfigurationError } from "../errors.js";
import { isOverridden } from "../hooks.js";
import { mustEnd, STEPS_END } from "../promises.js";
import type { HookArgs, HookList } from "../hooks.js";
import type { LightningModule } from "../module.js";
import type { ClipAlgorithm } from "../precision/clip.js";
import type { PrecisionStep } from "../precision/precision.js";
import type { Batch, StepOutcome, StepResult } from "../types.js";
import { LightningOptimizer } from "./lightning-optimizer.js";
import type { NonFiniteWatch } from "./non-finite-watch.js";
import { needsClosure } from "./optimizers.js";
import type { OptimizerRunner } from "./lightning-optimizer.js";
import { BatchExchange } from "../ranks/batch-exchange.js";
import { LossWeights } from "../ranks/loss-weights.js";
import { lossOf } from "./loss-of.js";
import { StepOutcomes } from "./step-outcomes.js";
import type { TrainStepParts } from "./train-step-parts.js";

/** What is known of the batch that is trained on. */
interface BatchInStep {
  batch: Batch;
  readonly batchIdx: number;
  readonly windowEnds: boolean;
  /** The first of a window: it clears the gradients of the one before. */
  readonly opensWindow: boolean;
  readonly result: StepResult;
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
  /**
   * A window's first batch fills gradients with zeros where they lie, instead of forgetting them: for recorded graphs,
   * which know their memory. Sums are the same, except that a first -0 is 0.
   */
  zeroInPlace = false;
  /** Told of each loss, as the step method returned it; null: nobody is. */
  sawLoss: ((loss: Tensor) => void) | null = null;
  /** The latest batch made a loss, and so gradients. */
  hadLoss = false;
  /** What the latest batch did. */
  outcome: StepOutcome | null = null;
  readonly module: LightningModule;
  readonly wrapped: readonly LightningOptimizer[];

  readonly #parts: TrainStepParts;
  readonly #watch: NonFiniteWatch | null;
  readonly #onBeforeZeroGrad: HookList<HookArgs<"onBeforeZeroGrad">>;
  readonly #onBeforeBackward: HookList<HookArgs<"onBeforeBackward">>;
  readonly #onAfterBackward: HookList<HookArgs<"onAfterBackward">>;
  readonly #onBeforeOptimizerStep: HookList<HookArgs<"onBeforeOptimizerStep">>;
  readonly #customOptimizerStep: boolean;
  readonly #customClipping: boolean;
  readonly #wantsResult: boolean;
  readonly outcomes: StepOutcomes;
  readonly #weighs: LossWeights | null;
  readonly #exchange: BatchExchange;
  /** The latest: what hooks after it do counts as done in it. */
  #batch: BatchInStep = { batch: null, batchIdx: 0, windowEnds: false, opensWindow: false, result: {} };

  constructor(parts: TrainStepParts) {
    const { module, hooks } = parts;
    this.#parts = parts;
    this.#watch = parts.watch ?? null;
    this.#exchange = new BatchExchange(parts.strategy ?? null, this.#watch);
    this.module = module;
    this.wrapped = parts.optimizers.map((optimizer) => new LightningOptimizer(optimizer, this));
    this.#onBeforeZeroGrad = hooks.get("onBeforeZeroGrad");
    this.#onBeforeBackward = hooks.get("onBeforeBackward");
    this.#onAfterBackward = hooks.get("onAfterBackward");
    this.#onBeforeOptimizerStep = hooks.get("onBeforeOptimizerStep");
    this.#beforeBackward =
      this.#onBeforeBackward.length === 0 ? undefined : (scaled) => this.#onBeforeBackward.call(scaled);
    const device = parts.optimizers[0]?.paramGroups[0]?.params[0]?.device;
    this.outcomes = new StepOutcomes(parts.precision, this.#watch, device, {
      alone: (parts.strategy?.collectives ?? null) === null,
      compiled: parts.compiled === true,
    });
    this.#wantsResult = hooks.get("onTrainBatchEnd").length > 0;
    this.#weighs = LossWeights.of(module, parts.host, parts.strategy ?? null);
    this.#customOptimizerStep = isOverridden(module, "optimizerStep");
    this.#customClipping = isOverridden(module, "configureGradientClipping");
    for (const optimizer of parts.optimizers) parts.precision.checkOptimizer(optimizer, needsClosure(optimizer));
  }

  /** `windowEnds`: gradients are complete after this batch, so the optimizer steps. */
  run(batch: Batch, batchIdx: number, windowEnds: boolean): StepResult {
    const opensWindow = !this.#parts.progress.windowOpen;
    const now: BatchInStep = { batch, batchIdx, windowEnds, opensWindow, result: {} };
    this.#batch = now;
    this.outcomes.begin();
    this.hadLoss = false;
    // Gradients travel where they are complete: not within a window.
    const { automaticOptimization } = this.module;
    this.#exchange.begin(windowEnds || !automaticOptimization || this.#parts.precision.averagesEveryBatch === true);
    this.#watch?.begin(batch, batchIdx, this.accumulate, windowEnds);
    this.#parts.strategy?.step?.(this.#parts.progress.globalStep);

    if (automaticOptimization) this.#automatic();
    else this.#manual();

    this.outcome = this.outcomes.end(); // updates the loss scale, once
    now.batch = null;
    this.#watch?.end();
    return now.result;
  }

  #automatic(): void {
    const optimizer = this.#parts.optimizers[0];
    const steps = this.#batch.windowEnds && optimizer !== undefined;
    const profiling = this.#parts.profiling ?? null;
    // An action of the module's, as in Lightning, of which forward and backward are a part.
    if (profiling === null || !steps || this.#customOptimizerStep) return this.#forwardBackwardStep(optimizer, steps);
    profiling.run(profiling.ofModule("optimizerStep"), () => this.#forwardBackwardStep(optimizer, steps));
  }

  #forwardBackwardStep(optimizer: optim.Optimizer | undefined, steps: boolean): void {
    // A step of the user's, and one that evaluates the loss several times, call forward and backward themselves.
    if (optimizer !== undefined && steps && this.#customOptimizerStep) return this.#overriddenOptimizerStep(optimizer);
    if (optimizer !== undefined && steps && needsClosure(optimizer))
      return this.stepOptimizer(optimizer, this.#forwardBackward);

    const loss = this.#forwardBackward();
    if (!steps || optimizer === undefined || !this.#hasGradients(loss)) return; // earlier gradients stay
    this.#prepareGradients(optimizer);
    this.#ended(optimizer, this.#parts.precision.step(optimizer)); // or skipped
  }

  /** There is something to step with: of this batch, of other processes, or of a window that this batch closes. */
  #hasGradients(loss: Tensor | null): boolean {
    return loss !== null || this.#exchange.othersHadLoss || (this.#exchange.isAlone && !this.#batch.opensWindow);
  }

  /** Forward, then backward; null where the step method returned no loss. */
  readonly #forwardBackward = (): Tensor | null => {
    const replays = this.#parts.replays ?? null;
    if (replays === null) return this.#computeGradients();
    replays.open(this.#batch.batch, this.#batch.opensWindow, this.#batch.windowEnds);
    try {
      return this.#computeGradients();
    } finally {
      replays.close();
    }
  };
  #computeGradients(): Tensor | null {
    const loss = this.#exchange.unlessOthersLack(this.#forward());
    const optimizer = this.#parts.optimizers[0];
    if (this.#batch.opensWindow && optimizer !== undefined) this.#zeroGrad(optimizer);
    if (loss !== null) this.#backward(loss);
    else this.#backwardForOthers();
    return loss;
  }

  /** The loss, divided by the batches of a window. */
  #forward(): Tensor | null {
    const { result } = this.#batch;
    const output = this.#trainingStep();
    const loss = lossOf(output);
    const { batch, batchIdx } = this.#batch;
    const weight = this.#weighs === null ? null : this.#weighs.factor(loss, batch, batchIdx);
    if (loss === null) {
      this.#parts.warnings.warnOfThisRank(
        "WARN_NULL_LOSS",
        "trainingStep returned null: no backward and no step for that batch. Nothing to do if this was meant.",
      );
      return null;
    }
    this.sawLoss?.(loss);
    if (isPlainObject(output)) Object.assign(result, output);
    this.#exchange.watchLoss(loss);
    const divided = this.accumulate === 1 ? loss : loss.div(this.accumulate);
    if (this.#wantsResult) result.loss = divided.detach();
    return weight === null ? divided : divided.mul(weight);
  }

  /**
   * Only the step method runs under the precision. What backward does not need is freed before it runs, as a function's
   * local variables would be.
   */
  #trainingStep(): unknown {
    const { host, precision } = this.#parts;
    this.#exchange.beforeForward();
    const step = (): unknown => precision.forward(() => host.within("trainingStep", this.#callTrainingStep));
    return scope(this.#parts.savesOnCpu === true ? () => saveOnCpu(step) : step);
  }
  readonly #callTrainingStep = (): unknown =>
    mustEnd(
      "trainingStep",
      this.module.trainingStep(this.#batch.batch, this.#batch.batchIdx),
      STEPS_END,
      "ERR_ASYNC_STEP",
    );

  #zeroGrad(optimizer: optim.Optimizer): void {
    if (this.#onBeforeZeroGrad.length > 0) this.#onBeforeZeroGrad.call(optimizer);
    if (this.zeroInPlace) optimizer.zeroGrad({ setToNone: false });
    else {
      const profiling = this.#parts.profiling ?? null;
      const zero = (): unknown =>
        this.module.optimizerZeroGrad(this.#parts.progress.epoch, this.#batch.batchIdx, optimizer);
      mustEnd(
        "optimizerZeroGrad",
        profiling === null ? zero() : profiling.run(profiling.ofModule("optimizerZeroGrad"), zero),
      );
    }
  }

  /** This process has no loss, and others may have one. */
  #backwardForOthers(): void {
    this.#exchange.joinOthers(!this.#batch.opensWindow, (zero) => this.#scaledBackward(zero, false));
    if (this.#exchange.othersHadLoss) this.#parts.progress.windowOpen = true;
  }

  /** Scales the loss and calls backward, outside autocast. */
  #backward(loss: Tensor): void {
    this.hadLoss = true;
    this.#parts.progress.windowOpen = true;
    // Nobody sees gradients between backward and the step.
    const stepFollows =
      this.#batch.windowEnds &&
      this.#parts.optimizers.length > 0 &&
      !this.#customOptimizerStep &&
      this.#onAfterBackward.length === 0;
    this.#scaledBackward(loss, stepFollows);
  }
  #scaledBackward(loss: Tensor, stepFollows: boolean): void {
    const profiling = this.#parts.profiling ?? null;
    const backward = (): void => {
      this.#parts.precision.backward(loss, { before: this.#beforeBackward, run: this.#callBackward, stepFollows });
      this.#exchange.afterBackward();
      if (this.#onAfterBackward.length > 0) this.#onAfterBackward.call();
    };
    if (profiling === null) backward();
    else profiling.run(profiling.ofStrategy("backward"), backward);
  }
  readonly #beforeBackward: ((scaled: Tensor) => void) | undefined;
  readonly #callBackward = (scaled: Tensor): void => {
    this.#exchange.backward(scaled, this.#moduleBackward);
    this.#parts.replays?.close();
  };
  readonly #moduleBackward = (loss: Tensor): void => void mustEnd("backward", this.module.backward(loss));

  /** Unscales, calls the hook, clips. */
  #prepareGradients(optimizer: optim.Optimizer): void {
    const { precision, module, host, gradientClipVal, gradientClipAlgorithm } = this.#parts;
    precision.unscale(optimizer);
    this.#watch?.gradients();
    if (this.#onBeforeOptimizerStep.length > 0) this.#onBeforeOptimizerStep.call(optimizer);
    if (!module.automaticOptimization) return;
    if (this.#customClipping)
      host.within("configureGradientClipping", () =>
        mustEnd(
          "configureGradientClipping",
          module.configureGradientClipping(optimizer, gradientClipVal, gradientClipAlgorithm),
        ),
      );
    else if (gradientClipVal !== null) this.clip(optimizer, gradientClipVal, gradientClipAlgorithm);
  }

  /** Clips unscaled gradients: unscales first where that has not been done. */
  clip(optimizer: optim.Optimizer, value: number, algorithm: ClipAlgorithm): void {
    const { precision } = this.#parts;
    precision.unscale(optimizer);
    const norm =
      this.#parts.strategy?.clip === undefined
        ? precision.clip(optimizer, value, algorithm)
        : this.#parts.strategy.clip(optimizer, precision.mainParams(optimizer), value, algorithm);
    if (norm !== null) this.outcomes.gradNorm(norm);
  }

  /** The optimizer has stepped, or skipped. */
  #ended(optimizer: optim.Optimizer, step: PrecisionStep): void {
    const { progress } = this.#parts;
    progress.globalStep++;
    progress.windowOpen = false;
    this.outcomes.add(optimizer, step);
  }

  // A step of the user's, and of optimizers that evaluate the loss themselves.

  #overriddenOptimizerStep(optimizer: optim.Optimizer): void {
    const wrapped = this.wrapped.find((w) => w.optimizer === optimizer);
    if (wrapped === undefined) return;
    const { host, progress } = this.#parts;
    const { batchIdx } = this.#batch;
    host.within("optimizerStep", () =>
      mustEnd("optimizerStep", this.module.optimizerStep(progress.epoch, batchIdx, wrapped, this.#forwardBackward)),
    );
  }

  /** What `LightningOptimizer.step` calls. `closure` makes the gradients; without one they are there. */
  stepOptimizer(optimizer: optim.Optimizer, closure?: () => Tensor | null): void {
    const { precision } = this.#parts;
    const { automaticOptimization } = this.module;
    this.outcomes.beforeStep(optimizer);
    if (closure !== undefined && needsClosure(optimizer))
      return this.#ended(
        optimizer,
        precision.step(optimizer, () => this.#evaluate(optimizer, closure)),
      );
    if (closure !== undefined && !this.#hasGradients(closure()) && automaticOptimization) return; // earlier gradients stay
    const step = (): PrecisionStep => {
      this.#prepareGradients(optimizer);
      return precision.step(optimizer);
    };
    this.#ended(optimizer, automaticOptimization ? step() : precision.outside(step));
  }
  #evaluate(optimizer: optim.Optimizer, closure: () => Tensor | null): Tensor {
    const loss = closure();
    if (loss === null)
      throw new MisconfigurationError(
        "trainingStep",
        `a loss, since ${optimizer.constructor.name} evaluates it several times per step`,
        loss,
        undefined,
        "ERR_NULL_LOSS",
      );
    this.#prepareGradients(optimizer);
    return this.#exchange.lossOfAll(loss);
  }

  // Manual optimization: the step method calls these through its module.

  #manual(): void {
    const { result } = this.#batch;
    const output = this.#trainingStep();
    if (isPlainObject(output)) Object.assign(result, output);
    else if (output !== null && output !== undefined) result.loss = output;
    if (result.loss instanceof Tensor) result.loss = result.loss.detach();
  }

  manualBackward(loss: Tensor): void {
    this.#watch?.loss(loss);
    this.#parts.precision.outside(() => this.#scaledBackward(loss, false));
  }

  /** Somebody threw gradients away. */
  cleared(optimizer: optim.Optimizer): void {
    this.#parts.precision.gradients.cleared(optimizer);
  }
}
