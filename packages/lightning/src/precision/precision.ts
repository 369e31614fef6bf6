import { atMost, type nn, type optim, type Tensor } from "@nbit/torch";
import { explainPrecision } from "../diagnostics/explain.js";
import type { Explanation, ExplainOptions, PrecisionDescription } from "../diagnostics/explain.js";
import { forecastOf } from "../diagnostics/memory.js";
import type { MemoryForecast, MemoryLayout } from "../diagnostics/memory.js";
import { reportStep } from "../diagnostics/report.js";
import type { ReportOptions } from "../diagnostics/report.js";
import type { StepPrecision } from "../diagnostics/step-precision.js";
import type { Batch } from "../types.js";
import { clipGradients, type ClipAlgorithm } from "./clip.js";
import type { PrecisionContext, PrecisionDTypes } from "./facts.js";
import type { PrecisionName } from "./names.js";

/** Result of an optimizer step that may have been skipped. Fields are read when asked for: on CUDA that waits. */
export interface PrecisionStep {
  readonly stepped: boolean;
  /** The scale that multiplied the loss; 1 without a scaler. */
  readonly lossScale: number;
  /** Names of parameters whose gradients were not finite, when the step was skipped. */
  readonly nonFinite?: readonly string[] | undefined;
  /**
   * For a graph that recorded this step: where the scale lies on the device, memory that is the graph's from here on.
   * Null where there is none; the step tells nothing any more otherwise.
   */
  lend?(): Tensor | null;
}

/** A backward, and what belongs to it. */
export interface BackwardParts {
  /** Called with what backward starts from, before it: `onBeforeBackward`. */
  readonly before?: ((scaled: Tensor) => void) | undefined;
  /** Calls backward. */
  readonly run: (scaled: Tensor) => void;
  /** `unscale` and `step` come next: nobody looks at gradients in between. */
  readonly stepFollows: boolean;
}

/** The step of a precision that never skips. */
export const ALWAYS_STEPPED: PrecisionStep = Object.freeze({ stepped: true, lossScale: 1 });

/**
 * How numbers are represented and where they are converted. One subclass per precision, which overrides only what
 * differs.
 *
 * The training step calls, in this order: `convertInput`, `forward`, `backward` (which calls `scaleLoss`), then at a
 * window's end `unscale`, `mainParams` (to clip), `step`, and once per iteration `update`.
 */
export abstract class Precision {
  constructor() {
    // Classes without a constructor of their own pass on what they are given.
    atMost(new.target.name || "Precision", arguments, 0);
  }

  abstract readonly name: PrecisionName;
  abstract readonly dtypes: PrecisionDTypes;

  context: PrecisionContext | null = null;
  protected module: nn.Module | null = null;
  protected optimizers: readonly optim.Optimizer[] = [];

  /**
   * The Trainer's device type, told when it is made. A plugin that was made for no particular device takes it.
   * @throws {MisconfigurationError} when the plugin was made for another.
   */
  onDevice(_deviceType: string): void {}

  /**
   * Convert parameters and buffers. Called once per run, before a checkpoint's weights are loaded and before optimizers
   * are made.
   */
  convertModule(_module: nn.Module): void {}

  /** Called when module and optimizers exist. */
  connect(module: nn.Module, optimizers: readonly optim.Optimizer[]): void {
    this.module = module;
    this.optimizers = optimizers;
  }

  /** The run that `connect` began is over, however it ended: let go of what only it needs. */
  endRun(): void {}

  /** Run `fn`, which builds layers, so that they are made in the parameters' dtype. */
  moduleInit<T>(fn: () => T): T {
    return fn();
  }

  /** Whether `convertInput` does something, so that it can be left out otherwise. */
  readonly convertsInput: boolean = false;

  convertInput(batch: Batch): Batch {
    return batch;
  }

  /** Run a step method. Only that: backward and optimizers stay outside. */
  forward<T>(fn: () => T): T {
    return fn();
  }

  /** Run `fn`, called from inside `forward`, as if outside it: manual optimization's backward and optimizer steps. */
  outside<T>(fn: () => T): T {
    return fn();
  }

  /** What backward starts from. */
  scaleLoss(loss: Tensor): Tensor {
    return loss;
  }

  /** The same without a backward that follows, for a dry run. */
  previewLoss(loss: Tensor): Tensor {
    return this.scaleLoss(loss);
  }

  /**
   * Run a backward. Precisions that scale losses leave true gradients where `stepFollows` is false: whoever looks at
   * gradients between backwards, clips, sets or clears them, finds what they are in float32.
   */
  backward(loss: Tensor, { before, run }: BackwardParts): void {
    const scaled = this.scaleLoss(loss);
    before?.(scaled);
    run(scaled);
  }

  /** Unscale this optimizer's gradients, where they are scaled. */
  unscale(_optimizer: optim.Optimizer): void {}

  /** This optimizer's gradients were thrown away, or filled with zeros. */
  cleared(_optimizer: optim.Optimizer): void {}

  /** The tensors that an optimizer steps, whose gradients are the ones to clip. */
  mainParams(optimizer: optim.Optimizer): Tensor[] {
    return optimizer.paramGroups.flatMap((group) => [...group.params]);
  }

  /**
   * Clip the true gradients of {@link mainParams}, in place. Returns the norm before clipping, where that was computed.
   */
  clip(optimizer: optim.Optimizer, value: number, algorithm: ClipAlgorithm): Tensor | null {
    return clipGradients(this.mainParams(optimizer), value, algorithm);
  }

  /** Step, or skip when gradients are not finite. `closure` only for optimizers that need one. */
  step(optimizer: optim.Optimizer, closure?: () => Tensor): PrecisionStep {
    if (closure === undefined) optimizer.step();
    else optimizer.step(closure);
    return ALWAYS_STEPPED;
  }

  /** Ends a batch in which these optimizers stepped or were skipped. */
  update(_stepped: readonly optim.Optimizer[] = this.optimizers): void {}

  /** Throws when this optimizer cannot work here. Called before the first batch. */
  checkOptimizer(_optimizer: optim.Optimizer, _needsClosure: boolean): void {}

  /** Current loss scale, null without one. Waits for the device on CUDA. */
  get lossScale(): number | null {
    return null;
  }

  /**
   * Whether gradients that are not finite are the loss scale's affair (a dynamic one skips their step), and no reason
   * to end the run.
   */
  get skipsOverflow(): boolean {
    return this.lossScale !== null;
  }

  /**
   * Steps skipped since this plugin was made (or since its state was loaded, on top of what that says). Waits for the
   * device on CUDA.
   */
  get skippedSteps(): number {
    return 0;
  }

  /** Whether the latest step was skipped. Waits for the device on CUDA. */
  get lastStepSkipped(): boolean {
    return false;
  }

  /**
   * After an iteration that ended a window. Where the outcome of steps stays on the device, an error that `update`
   * would have thrown is thrown here, at times when values are read anyway (`due`), or one iteration after such a time,
   * when that one found cause.
   */
  checkOutcome(_due: boolean): void {}

  /** Whether what steps did stays on the device until somebody asks, where reading it at once would wait. */
  get readsLate(): boolean {
    return false;
  }

  /**
   * A step is about to be recorded by a graph, whose replays tell on the device only what they did. What earlier steps
   * left there is read.
   */
  beginReplays(): void {}

  /**
   * Why graphs cannot replay windows of several batches, whose gradients they keep where they lie between batches;
   * null: they can.
   */
  get graphUnsupportedReason(): string | null {
    return null;
  }

  /** The true gradient of a module's parameter, as precisely as it is held: what a checkpoint within a window keeps. */
  gradientOf(parameter: Tensor): Tensor | null {
    return parameter.grad;
  }
  /** Put back what {@link gradientOf} returned, of a run in this or in another precision. A copy is made. */
  setGradient(parameter: Tensor, gradient: Tensor | null): void {
    parameter.grad =
      gradient === null ? null : gradient.to({ device: parameter.device, dtype: parameter.dtype, copy: true });
  }

  /** State for checkpoints; null when there is none. */
  stateDict(): Record<string, unknown> | null {
    return null;
  }

  loadStateDict(_state: Record<string, unknown>): void {}

  /** What diagnostics say of it beyond its dtypes. */
  describe(): PrecisionDescription {
    return {};
  }

  /** What it holds of a module between two steps, for {@link forecast}. */
  memoryLayout(_module: nn.Module): MemoryLayout {
    return { dtypes: this.dtypes };
  }

  /** Bytes that training will hold between two steps, without activations. */
  forecast(module: nn.Module, optimizers: readonly optim.Optimizer[]): MemoryForecast {
    return forecastOf(this, module, optimizers);
  }

  /**
   * What a training step computed in, module by module: operators with their dtypes and the reason for each, casts and
   * times, and the ranges of activations and gradients against the compute dtype's.
   *
   * With a batch, makes dry runs of a step on it now: two forwards and backwards, after which weights, gradients,
   * buffers and random state are as before. Waits for the device. Without one, returns the latest report, of a {@link
   * PrecisionReport} callback or of an earlier call. Prints it, unless `print` is false.
   *
   * @throws {MisconfigurationError} `report: expected a batch, or a PrecisionReport callback that has run. Received:
   * neither. …`
   * @example trainer.precision.report({ batch }).module("layers.0")?.operators[0]?.dtype; // "bfloat16"
   */
  report(options: ReportOptions = {}): StepPrecision {
    return reportStep(this, this.module, options);
  }

  /**
   * One table: what was asked, what runs and why, dtypes of parameters, compute, gradients, optimizer state and
   * checkpoint, loss scaling, what the device supports, and a forecast of memory in bytes. Prints it, unless `print` is
   * false.
   *
   * @param options.module - The model to forecast for; default: the one in training.
   * @param options.optimizers - Its optimizers, as `configureOptimizers` makes them; default: those in training. They
   * need not have stepped.
   */
  explain(options: ExplainOptions = {}): Explanation {
    atMost("explain", arguments, 1);
    return explainPrecision(this, { module: this.module, optimizers: this.optimizers }, options);
  }
}
