import { LightningModule, Trainer, type TrainerOptions } from "@nbit/lightning";
import { DataLoader, manualSeed, nn, optim, TensorDataset } from "@nbit/torch";
import type { Tensor } from "@nbit/torch";
import { accelerator, type Curves, type RunOptions } from "../shared/options.js";
import { digits, labels } from "../shared/pictures.js";
import { ViT } from "./model.js";

class LitViT extends LightningModule {
  model = new ViT({
    imageSize: 28,
    patchSize: 7,
    numClasses: 10,
    dim: 64,
    depth: 4,
    heads: 4,
    mlpDim: 128,
    channels: 1,
    dropout: 0.1,
  });
  readonly losses: number[] = [];
  constructor(readonly say: (line: string) => void) {
    super();
  }

  override trainingStep([images, targets]: [Tensor, Tensor]): Tensor {
    const loss = nn.functional.crossEntropy(this.model.call(images), targets);
    this.losses.push(loss.item());
    if (this.losses.length % 20 === 1) this.say(`step ${this.losses.length}: loss ${this.losses.at(-1)?.toFixed(4)}`);
    return loss;
  }
  override configureOptimizers() {
    const optimizer = new optim.AdamW(this.parameters(), { lr: 1e-3, weightDecay: 0.05 });
    const scheduler = new optim.lrScheduler.OneCycleLR(optimizer, { maxLr: 2e-3, totalSteps: 400 });
    return { optimizer, lrScheduler: { scheduler, interval: "step" } };
  }
}

/** The loss of each step. */
export async function train({ precision = 32, steps = 240, log = () => {} }: RunOptions = {}): Promise<Curves> {
  manualSeed(1);
  const loader = new DataLoader(new TensorDataset(digits(4096), labels(4096)), { batchSize: 64, shuffle: true });
  const module = new LitViT(log);
  const quiet: TrainerOptions = {
    logger: false,
    enableCheckpointing: false,
    enableProgressBar: false,
    enableModelSummary: false,
  };
  const trainer = new Trainer({ accelerator: accelerator(), precision, maxSteps: steps, maxEpochs: -1, ...quiet });
  await trainer.fit(module, { trainDataloaders: loader });
  return { loss: module.losses };
}
