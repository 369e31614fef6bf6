/** What the other examples train: a small network that learns sin(3x) from 512 points. */
import { LightningModule } from "@nbit/lightning";
import { DataLoader, linspace, mseLoss, nn, optim, TensorDataset } from "@nbit/torch";
import type { Tensor } from "@nbit/torch";

export class Regressor extends LightningModule {
  layers = new nn.Sequential(new nn.Linear(1, 32), new nn.Tanh(), new nn.Linear(32, 1));

  override forward(x: Tensor): Tensor {
    return this.layers.forward(x);
  }

  override trainingStep([x, y]: [Tensor, Tensor]): Tensor {
    const loss = mseLoss(this.forward(x), y);
    this.log("loss", loss, { progBar: true });
    return loss;
  }

  override configureOptimizers() {
    return new optim.AdamW(this.parameters(), { lr: 1e-2 });
  }
}

export function waves(batchSize: number): DataLoader<[Tensor, Tensor]> {
  const x = linspace(-1, 1, 512).unsqueeze(1);
  return new DataLoader(new TensorDataset(x, x.mul(3).sin()), { batchSize, shuffle: true });
}

/** Quiet: the examples print what they are about. */
export const QUIET = {
  accelerator: "cpu",
  logger: false,
  enableCheckpointing: false,
  enableProgressBar: false,
  enableModelSummary: false,
} as const;
