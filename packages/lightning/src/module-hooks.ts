import { nn } from "@nbit/torch";
import type { Device, Tensor, optim } from "@nbit/torch";
import type { Checkpoint } from "./checkpoint/format.js";
import { onDevice } from "./collections.js";
import type { DataHooks } from "./data-hooks.js";
import type { CallbackView } from "./callback-view.js";
import type { Batch, HookResult, StepResult, TrainerFn } from "./types.js";

/**
 * The hooks of a module, in the order of a run. Each does nothing: override those that you need.
 *
 * Those that return `HookResult` may be async; those that return `void` run inside the synchronous training step and
 * must not be.
 */
export abstract class ModuleHooks extends nn.Module implements DataHooks {
  /** True: `prepareData` once on every machine. False: once, on the first, for file systems that all share. */
  prepareDataPerNode = true;

  /**
   * Callbacks that this model wants, for as long as it is trained: they join those of the Trainer, and take the place of
   * those whose class, or a class below it, they are of.
   */
  configureCallbacks(): CallbackView | readonly CallbackView[] {
    return [];
  }
  /** Download, unpack, tokenize: what is done once for a machine, by one process, while the others wait. */
  prepareData(): HookResult {}
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
  /** Move a batch to the device. Default: every tensor in arrays, objects and Maps. */
  transferBatchToDevice(batch: Batch, device: Device, _dataloaderIdx: number): Batch {
    return onDevice(batch, device);
  }
  /** Change a batch on the device (augmentation, for example). */
  onAfterBatchTransfer(batch: Batch, _dataloaderIdx: number): Batch {
    return batch;
  }
  // Evaluation and training mode, around validation, testing and prediction.

  onValidationModelEval(): void {
    this.eval();
  }
  /** Default: every part is as it was before validation. */
  onValidationModelTrain(): void {
    this.train();
  }
  onTestModelEval(): void {
    this.eval();
  }
  /** Default: every part is as it was before testing. */
  onTestModelTrain(): void {
    this.train();
  }
  onPredictModelEval(): void {
    this.eval();
  }
  /** Clears gradients before validation inside a fit, to free their memory. */
  onValidationModelZeroGrad(): void {
    this.zeroGrad();
  }

  // Loaders, when neither they nor a data module are passed: a loader, or several in a list, an object or a CombinedLoader.

  trainDataloader(): unknown {
    return null;
  }
  valDataloader(): unknown {
    return null;
  }
  testDataloader(): unknown {
    return null;
  }
  predictDataloader(): unknown {
    return null;
  }

  onSaveCheckpoint(_checkpoint: Checkpoint): void {}
  onLoadCheckpoint(_checkpoint: Checkpoint): void {}
}
