/** The small training that `nbit doctor --xla` runs on the host and on a device: images like MNIST's, drawn from a seed. */
import { LightningModule, Logger, Trainer, type Metrics, type TrainerOptions } from "@nbit/lightning";
import { crossEntropyLoss, full, nn, noGrad, optim, randint, randn, seedEverything, type Tensor } from "@nbit/torch";

type Batch = [images: Tensor, labels: Tensor];

/** The network of the MNIST example: three strided convolutions with batch normalisation, and a linear layer. */
export class Digits extends LightningModule {
  readonly layers = new nn.Sequential(
    ...block(1, 8, 5),
    ...block(8, 16, 3),
    ...block(16, 24, 3),
    new nn.Flatten(),
    new nn.Linear(24 * 4 * 4, 10),
  );
  override trainingStep([images, labels]: Batch): Tensor {
    const loss = crossEntropyLoss(this.layers.forward(images), labels);
    this.log("loss", loss);
    return loss;
  }
  override configureOptimizers(): optim.Optimizer {
    return new optim.AdamW(this.parameters(), { lr: 3e-3, fused: true });
  }
}
function block(inputs: number, outputs: number, size: number): [nn.Conv2d, nn.BatchNorm2d, nn.ReLU] {
  const convolution = new nn.Conv2d(inputs, outputs, size, { stride: 2, padding: (size - 1) / 2, bias: false });
  return [convolution, new nn.BatchNorm2d(outputs), new nn.ReLU()];
}

/** A class is a bright bar at a height of its own, in noise. */
function batches(count: number): Batch[] {
  return Array.from({ length: count }, (): Batch => {
    const labels = randint(10, [32]);
    const images = randn([32, 1, 28, 28]);
    for (let i = 0; i < 32; i++) {
      const from = 4 + 2 * labels.select(0, i).item();
      images
        .select(0, i)
        .slice(1, from, from + 2)
        .add_(full([1], 2));
    }
    return [images, labels];
  });
}

class Losses extends Logger {
  readonly name = "losses";
  readonly version = 0;
  readonly values: number[] = [];
  override logMetrics({ loss }: Metrics): void {
    if (loss !== undefined) this.values.push(loss);
  }
}

export interface Trained {
  readonly losses: readonly number[];
  readonly trainer: Trainer;
  readonly seconds: number;
}

/** From the same weights, on the same batches, wherever it runs. */
export async function trainDigits(steps: number, options: TrainerOptions): Promise<Trained> {
  seedEverything(42);
  const module = new Digits();
  const trainDataloaders = noGrad(() => batches(steps));
  const losses = new Losses();
  const trainer = new Trainer({
    maxEpochs: 1,
    logEveryNSteps: 1,
    logger: losses,
    enableCheckpointing: false,
    enableProgressBar: false,
    enableModelSummary: false,
    ...options,
  });
  const began = performance.now();
  await trainer.fit(module, { trainDataloaders });
  return { losses: losses.values, trainer, seconds: (performance.now() - began) / 1000 };
}
