import { LightningModule } from "@nbit/lightning";
import { crossEntropyLoss, nn, optim } from "@nbit/torch";
import type { Tensor } from "@nbit/torch";

type Batch = [images: Tensor, labels: Tensor];

/** Three strided convolutions with batch normalisation, then one linear layer: 8,754 parameters. */
export class Classifier extends LightningModule {
  layers = new nn.Sequential(
    ...block(1, 8, 5),
    ...block(8, 16, 3),
    ...block(16, 24, 3),
    new nn.Flatten(),
    new nn.Linear(24 * 4 * 4, 10),
  );

  override forward(images: Tensor): Tensor {
    return this.layers.forward(images);
  }

  override trainingStep([images, labels]: Batch): Tensor {
    const loss = crossEntropyLoss(this.forward(images), labels);
    this.log("train_loss", loss, { progBar: true });
    return loss;
  }

  override validationStep(batch: Batch): void {
    this.#evaluate(batch, "val");
  }

  override testStep(batch: Batch): void {
    this.#evaluate(batch, "test");
  }

  #evaluate([images, labels]: Batch, stage: string): void {
    const logits = this.forward(images);
    this.log(`${stage}_loss`, crossEntropyLoss(logits, labels));
    this.log(`${stage}_acc`, logits.argmax(1).eq(labels).float().mean(), { progBar: true });
  }

  override configureOptimizers() {
    const optimizer = new optim.AdamW(this.parameters(), { lr: 6e-3 });
    const scheduler = new optim.CosineAnnealingLR(optimizer, this.trainer.estimatedSteppingBatches);
    return { optimizer, lrScheduler: { scheduler, interval: "step" as const } };
  }
}

/** Halves height and width. The convolution needs no bias: batch normalisation subtracts it again. */
function block(inputs: number, outputs: number, size: number) {
  return [
    new nn.Conv2d(inputs, outputs, size, { stride: 2, padding: (size - 1) / 2, bias: false }),
    new nn.BatchNorm2d(outputs),
    new nn.ReLU(),
  ];
}
