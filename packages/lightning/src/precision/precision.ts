import { atMost, type nn, type optim, type Tensor } from "@nbit/torch";
import { explainPrecision } from "../diagnostics/explain.js";
import type { Explanation, ExplainOptions, PrecisionDescription } from "../diagnostics/explain.js";
import { forecastOf } from "../diagnostics/memory.js";
import type { MemoryForecast } from "../diagnostics/memory-forecast.js";
import { reportStep } from "../diagnostics/report.js";
import type { ReportOptions } from "../diagnostics/report.js";
import type { StepPrecision } from "../diagnostics/step-precision.js";
import type { Batch } from "../types.js";
import { clipGradients, type ClipAlgorithm } from "./clip.js";
import type { PrecisionContext, PrecisionDTypes } from "./facts.js";
import { OWN_GRADIENTS, type GradientAccess } from "./gradient-access.js";
import { ANY_GRAPH, type GraphSupport } from "./graph-support.js";
import { NO_LOSS_SCALING, type LossScaling } from "./loss-scaling.js";
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

/** What a precision asks of the other processes. */
export interface RankExchange {
  /**
   * How ranks tell each other that a gradient is not finite, where each steps shards; null where each has all gradients.
   */
  readonly reduceFoundInf: ((found: Tensor) => void) | null;
}
export const ALONE: RankExchange = Object.freeze({ reduceFoundInf: null });

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

  /**
   * Called when module and optimizers exist. Whoever skips steps hands `ranks` to its scaler.
   * @param _recorded - The run records its steps as CUDA graphs.
   */
  connect(
    module: nn.Module,
    optimizers: readonly optim.Optimizer[],
    _ranks: RankExchange = ALONE,
    _recorded = false,
  ): void {
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

  /**
   * Run a backward. Precisions that scale losses leave unscaled gradients where `stepFollows` is false: whoever looks at
   * gradients between backwards, clips, sets or clears them, finds what they are in float32.
   */
  backward(loss: Tensor, { before, run }: BackwardParts): void {
    const scaled = this.scaleLoss(loss);
    before?.(scaled);
    run(scaled);
  }

  /** Unscale this optimizer's gradients, where they are scaled. */
  unscale(_optimizer: optim.Optimizer): void {}

  /** The tensors that an optimizer steps, whose gradients are the ones to clip. */
  mainParams(optimizer: optim.Optimizer): Tensor[] {
    return optimizer.paramGroups.flatMap((group) => [...group.params]);
  }

  /**
   * Clip the unscaled gradients of {@link mainParams}, in place. Returns the norm before clipping, where that was computed.
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

  /**
   * Gradients of a window's earlier batches are elsewhere while backward runs: processes average those of every batch,
   * instead of their sum at its end.
   */
  readonly averagesEveryBatch: boolean = false;

  /** Throws when this optimizer cannot work here. Called before the first batch. */
  checkOptimizer(_optimizer: optim.Optimizer, _needsClosure: boolean): void {}

  /** The loss scale and what it did to steps. */
  get scaling(): LossScaling {
    return NO_LOSS_SCALING;
  }

  /** Gradients of the module's parameters. */
  get gradients(): GradientAccess {
    return OWN_GRADIENTS;
  }

  /** What CUDA graphs that replay its steps must know. */
  get graphs(): GraphSupport {
    return ANY_GRAPH;
  }

  /** State for checkpoints; null when there is none. */
  stateDict(): Record<string, unknown> | null {
    return null;
  }

  loadStateDict(_state: Record<string, unknown>): void {}

  /** What diagnostics say of it beyond its dtypes: words for tables, and what it holds of a module between two steps. */
  describe(): PrecisionDescription {
    return {};
  }

  // For users: what belongs to other objects and functions.

  /** Current loss scale, null without one. Waits for the device on CUDA. */
  get lossScale(): number | null {
    return this.scaling.scale;
  }

  /** Steps skipped, as {@link LossScaling.skippedSteps}. Waits for the device on CUDA. */
  get skippedSteps(): number {
    return this.scaling.skippedSteps;
  }

  /** Whether the latest step was skipped. Waits for the device on CUDA. */
  get lastStepSkipped(): boolean {
    return this.scaling.lastStepSkipped;
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
