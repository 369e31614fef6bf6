import { nn } from "@nbit/torch";
import type { Tensor, optim } from "@nbit/torch";
import type { Checkpoint } from "./checkpoint/format.js";
import type { Batch, HookResult, StepResult, TrainerFn } from "./types.js";

/**
 * The hooks of a module, in the order of a run. Each does nothing: override those that you need.
 *
 * Those that return `HookResult` may be async; those that return `void` run inside the synchronous training step and
 * must not be.
 */
export abstract class ModuleHooks extends nn.Module {
  setup(_stage: TrainerFn): HookResult {}
  teardown(_stage: TrainerFn): HookResult {}
  onFitStart(): HookResult {}
  onFitEnd(): HookResult {}
  onTrainStart(): HookResult {}
  onTrainEnd(): HookResult {}
  onTrainEpochStart(): HookResult {}
  onTrainEpochEnd(): HookResult {}
  /** Return -1 to skip the rest of this epoch. */
  onTrainBatchStart(_batch: Batch, _batchIdx: number): HookResult | -1 | Promise<-1> {}
  onTrainBatchEnd(_outputs: StepResult, _batch: Batch, _batchIdx: number): HookResult {}
  onBeforeZeroGrad(_optimizer: optim.Optimizer): void {}
  onBeforeBackward(_loss: Tensor): void {}
  onAfterBackward(): void {}
  onBeforeOptimizerStep(_optimizer: optim.Optimizer): void {}
  onValidationStart(): HookResult {}
  onValidationEnd(): HookResult {}
  onValidationEpochStart(): HookResult {}
  onValidationEpochEnd(): HookResult {}
  onValidationBatchStart(_batch: Batch, _batchIdx: number, _dataloaderIdx: number): HookResult {}
  onValidationBatchEnd(_outputs: unknown, _batch: Batch, _batchIdx: number, _dataloaderIdx: number): HookResult {}
  onTestStart(): HookResult {}
  onTestEnd(): HookResult {}
  onTestEpochStart(): HookResult {}
  onTestEpochEnd(): HookResult {}
  onTestBatchStart(_batch: Batch, _batchIdx: number, _dataloaderIdx: number): HookResult {}
  onTestBatchEnd(_outputs: unknown, _batch: Batch, _batchIdx: number, _dataloaderIdx: number): HookResult {}
  onPredictStart(): HookResult {}
  onPredictEnd(): HookResult {}
  onPredictEpochStart(): HookResult {}
  onPredictEpochEnd(): HookResult {}
  onPredictBatchStart(_batch: Batch, _batchIdx: number, _dataloaderIdx: number): HookResult {}
  onPredictBatchEnd(_outputs: unknown, _batch: Batch, _batchIdx: number, _dataloaderIdx: number): HookResult {}

  /** Change a batch before it goes to the device. */
  onBeforeBatchTransfer(batch: Batch, _dataloaderIdx: number): Batch {
    return batch;
  }
  /** Change a batch on the device (augmentation, for example). */
  onAfterBatchTransfer(batch: Batch, _dataloaderIdx: number): Batch {
    return batch;
  }
  /** Clears gradients before validation inside a fit, to free their memory. */
  onValidationModelZeroGrad(): void {
    this.zeroGrad();
  }

  onSaveCheckpoint(_checkpoint: Checkpoint): void {}
  onLoadCheckpoint(_checkpoint: Checkpoint): void {}
}
