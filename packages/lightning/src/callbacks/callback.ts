import { atMost } from "@nbit/torch";
import type { Tensor, optim } from "@nbit/torch";
import type { Checkpoint } from "../checkpoint/format.js";
import type { LightningModule } from "../module.js";
import type { TrainerView } from "../trainer-view.js";
import type { Batch, HookResult, StepResult, TrainerFn } from "../types.js";

/**
 * Base class of callbacks: every hook does nothing. Override those that you need.
 *
 * The Trainer looks once, at the start of a run, at which hooks are overridden; a hook left alone costs nothing per
 * step. Hooks that return `HookResult` may be async. Those that return `void` run inside the synchronous step and must
 * not be. Tensors made in a training-batch hook are freed when the iteration ends; `keep(t)` what you store.
 */
export class Callback {
  constructor() {
    // Classes without a constructor of their own pass on what they are given.
    atMost(new.target.name || "Callback", arguments, 0);
  }

  /** Names this callback's entry in a checkpoint. Override it when two callbacks of one class need separate states. */
  get stateKey(): string {
    return this.constructor.name;
  }

  /**
   * True for callbacks that act on what others produced (checkpoints, early stopping): they come after the module in
   * hooks named `…End`.
   */
  get runsLast(): boolean {
    return false;
  }

  setup(_trainer: TrainerView, _module: LightningModule, _stage: TrainerFn): HookResult {}
  teardown(_trainer: TrainerView, _module: LightningModule, _stage: TrainerFn): HookResult {}

  onFitStart(_trainer: TrainerView, _module: LightningModule): HookResult {}
  onFitEnd(_trainer: TrainerView, _module: LightningModule): HookResult {}
  onSanityCheckStart(_trainer: TrainerView, _module: LightningModule): HookResult {}
  onSanityCheckEnd(_trainer: TrainerView, _module: LightningModule): HookResult {}

  onTrainStart(_trainer: TrainerView, _module: LightningModule): HookResult {}
  onTrainEnd(_trainer: TrainerView, _module: LightningModule): HookResult {}
  onTrainEpochStart(_trainer: TrainerView, _module: LightningModule): HookResult {}
  onTrainEpochEnd(_trainer: TrainerView, _module: LightningModule): HookResult {}
  onTrainBatchStart(_trainer: TrainerView, _module: LightningModule, _batch: Batch, _batchIdx: number): HookResult {}
  /**
   * `outputs.loss` is detached and divided by the accumulation window; `trainer.lastOutcome` says whether a step was
   * made.
   */
  onTrainBatchEnd(
    _trainer: TrainerView,
    _module: LightningModule,
    _outputs: StepResult,
    _batch: Batch,
    _batchIdx: number,
  ): HookResult {}

  onValidationStart(_trainer: TrainerView, _module: LightningModule): HookResult {}
  onValidationEnd(_trainer: TrainerView, _module: LightningModule): HookResult {}
  onValidationEpochStart(_trainer: TrainerView, _module: LightningModule): HookResult {}
  onValidationEpochEnd(_trainer: TrainerView, _module: LightningModule): HookResult {}
  onValidationBatchStart(
    _trainer: TrainerView,
    _module: LightningModule,
    _batch: Batch,
    _batchIdx: number,
    _dataloaderIdx: number,
  ): HookResult {}
  onValidationBatchEnd(
    _trainer: TrainerView,
    _module: LightningModule,
    _outputs: unknown,
    _batch: Batch,
    _batchIdx: number,
    _dataloaderIdx: number,
  ): HookResult {}

  onTestStart(_trainer: TrainerView, _module: LightningModule): HookResult {}
  onTestEnd(_trainer: TrainerView, _module: LightningModule): HookResult {}
  onTestEpochStart(_trainer: TrainerView, _module: LightningModule): HookResult {}
  onTestEpochEnd(_trainer: TrainerView, _module: LightningModule): HookResult {}
  onTestBatchStart(
    _trainer: TrainerView,
    _module: LightningModule,
    _batch: Batch,
    _batchIdx: number,
    _dataloaderIdx: number,
  ): HookResult {}
  onTestBatchEnd(
    _trainer: TrainerView,
    _module: LightningModule,
    _outputs: unknown,
    _batch: Batch,
    _batchIdx: number,
    _dataloaderIdx: number,
  ): HookResult {}

  onPredictStart(_trainer: TrainerView, _module: LightningModule): HookResult {}
  onPredictEnd(_trainer: TrainerView, _module: LightningModule): HookResult {}
  onPredictEpochStart(_trainer: TrainerView, _module: LightningModule): HookResult {}
  onPredictEpochEnd(_trainer: TrainerView, _module: LightningModule): HookResult {}
  onPredictBatchStart(
    _trainer: TrainerView,
    _module: LightningModule,
    _batch: Batch,
    _batchIdx: number,
    _dataloaderIdx: number,
  ): HookResult {}
  onPredictBatchEnd(
    _trainer: TrainerView,
    _module: LightningModule,
    _outputs: unknown,
    _batch: Batch,
    _batchIdx: number,
    _dataloaderIdx: number,
  ): HookResult {}

  /** Inside the step. `optimizer` is the one whose gradients are about to be cleared. */
  onBeforeZeroGrad(_trainer: TrainerView, _module: LightningModule, _optimizer: optim.Optimizer): void {}
  /** Inside the step. `loss` is divided by the accumulation window and already multiplied by the loss scale. */
  onBeforeBackward(_trainer: TrainerView, _module: LightningModule, _loss: Tensor): void {}
  /** Inside the step. Gradients are still multiplied by the loss scale here. */
  onAfterBackward(_trainer: TrainerView, _module: LightningModule): void {}
  /** Inside the step. Gradients are unscaled and not clipped yet. */
  onBeforeOptimizerStep(_trainer: TrainerView, _module: LightningModule, _optimizer: optim.Optimizer): void {}

  /** Any error that ends a run, an interrupt (Ctrl-C) included. */
  onException(_trainer: TrainerView, _module: LightningModule, _error: unknown): HookResult {}

  /**
   * State that a checkpoint should carry: plain values (numbers, strings, booleans, null, arrays, objects) and tensors.
   */
  stateDict(): Record<string, unknown> {
    return {};
  }
  loadStateDict(_state: Record<string, unknown>): void {}
  /** A chance to add to, or change, the checkpoint that is about to be written. */
  onSaveCheckpoint(_trainer: TrainerView, _module: LightningModule, _checkpoint: Checkpoint): void {}
  onLoadCheckpoint(_trainer: TrainerView, _module: LightningModule, _checkpoint: Checkpoint): void {}
}
