import type { Tensor } from "@nbit/torch";
import type { RankOverflow } from "./diagnostics/non-finite-origin.js";

/** What the user called: `fit`, `validate`, `test` or `predict`. */
export type TrainerFn = "fit" | "validate" | "test" | "predict";

/** What runs at this moment. A `fit` passes through `sanity_check`, `train` and `validate`. */
export type RunningStage = "train" | "sanity_check" | "validate" | "test" | "predict";

export type TrainerStatus = "initializing" | "running" | "finished" | "interrupted";

export interface TrainerState {
  readonly fn: TrainerFn | null;
  readonly status: TrainerStatus;
  readonly stage: RunningStage | null;
}

/** A batch is whatever the loader yields: a tensor, or arrays, plain objects and Maps of tensors and other values. */
export type Batch = unknown;

/**
 * What a `trainingStep` may return under automatic optimization. Null (or nothing) skips backward and step for this
 * batch.
 */
export type StepOutput = Tensor | ({ loss: Tensor } & Record<string, unknown>) | null | undefined | void;

/**
 * What `onTrainBatchEnd` receives: the detached loss, divided by the accumulation window, beside the step's other
 * values. Empty when the step was null.
 */
export type StepResult = Record<string, unknown>;

/** Hooks outside the synchronous step may be asynchronous. The loop awaits only when a promise comes back. */
export type HookResult = void | Promise<void>;

/**
 * What happened to the optimizers in one iteration.
 *
 * The fields are read lazily: reading `stepped`, `gradNorm`, `lossScale` or `nonFinite` waits for the device when the
 * answer is still there (CUDA). On CPU they cost nothing. Read them at your own cadence, not in every step, on CUDA.
 */
export interface StepOutcome {
  /**
   * True when at least one optimizer stepped. False while a window accumulates, after a null step, or when gradients
   * were not finite.
   */
  readonly stepped: boolean;
  /** True when an optimizer was due and was skipped since its gradients were not finite. */
  readonly skipped: boolean;
  /** The scale that multiplied this iteration's loss; 1 without a scaler. */
  readonly lossScale: number;
  /** Norm of the unscaled gradients before clipping, when clipping by norm measured it. */
  readonly gradNorm?: number | undefined;
  /** Names of the parameters whose gradients were not finite, when the step was skipped. */
  readonly nonFinite?: readonly string[] | undefined;
  /**
   * With several processes, when the step was skipped: those whose own batches made what is not finite, the one in which
   * it came first in the order of a step before others. The same in all. Empty where none did by itself: the sum over
   * processes overflowed, or an earlier batch of the window that nobody can replay. Undefined unless `detectNonFinite` is
   * "step" or "gradients" (and on CUDA between log steps, and where a graph replays).
   */
  readonly ranks?: readonly RankOverflow[] | undefined;
}
