/** Modules that are as small as can be, for tests of what happens around them. */
import { LightningModule, type OptimizerConfiguration } from "@nbit/lightning";
import { nn, optim, type Tensor } from "@nbit/torch";

/** A linear layer from 2 numbers to 1 that learns to give 0, by SGD at 0.1. */
export class Line extends LightningModule {
  readonly layer = new nn.Linear(2, 1);
  override forward(x: Tensor): Tensor {
    return this.layer.forward(x);
  }
  override trainingStep(batch: Tensor, _batchIdx: number): Tensor | null {
    return this.forward(batch).float().square().mean();
  }
  override configureOptimizers(): OptimizerConfiguration {
    return new optim.SGD(this.parameters(), { lr: 0.1 });
  }
}
