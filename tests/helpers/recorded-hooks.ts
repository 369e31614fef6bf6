import { LightningModule } from "@nbit/lightning";
import type { optim } from "@nbit/torch";

/** A module whose hooks around a step write down that they were called. */
export abstract class RecordedHooks extends LightningModule {
  constructor(readonly calls: string[]) {
    super();
  }
  override onTrainBatchStart(): void {
    this.calls.push("onTrainBatchStart");
  }
  override onBeforeZeroGrad(): void {
    this.calls.push("onBeforeZeroGrad");
  }
  override optimizerZeroGrad(epoch: number, batchIdx: number, optimizer: optim.Optimizer): void {
    this.calls.push("optimizerZeroGrad");
    super.optimizerZeroGrad(epoch, batchIdx, optimizer);
  }
  override onAfterBackward(): void {
    this.calls.push("onAfterBackward");
  }
  override lrSchedulerStep(...args: Parameters<LightningModule["lrSchedulerStep"]>): void {
    this.calls.push("lrSchedulerStep");
    super.lrSchedulerStep(...args);
  }
  override onTrainBatchEnd(): void {
    this.calls.push("onTrainBatchEnd");
  }
}
