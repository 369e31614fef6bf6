/** Fits that write checkpoints in Lightning's format: the same ones for fixtures, which Lightning has read, and for tests. */
import { join } from "node:path";
import {
  Callback,
  EarlyStopping,
  LightningDataModule,
  LightningModule,
  ModelCheckpoint,
  seedEverything,
  TorchCheckpointIO,
  Trainer,
  type TrainerOptions,
  type TrainerView,
} from "@nbit/lightning";
import { DataLoader, nn, optim, tanh, tensor, type Tensor } from "@nbit/torch";
import { QUIET } from "../helpers/training.js";

export class Net extends LightningModule {
  readonly hidden: nn.Linear;
  readonly head: nn.Linear;
  readonly losses: number[] = [];
  constructor({ hiddenSize = 4, learningRate = 0.1 } = {}) {
    super();
    this.saveHyperparameters({ hiddenSize, learningRate });
    this.hidden = new nn.Linear(2, hiddenSize);
    this.head = new nn.Linear(hiddenSize, 1);
  }
  override forward(x: Tensor): Tensor {
    return this.head.forward(tanh(this.hidden.forward(x)));
  }
  override trainingStep(x: Tensor): Tensor {
    const loss = this.forward(x).sub(1).square().mean();
    this.losses.push(loss.item());
    return loss;
  }
  override validationStep(x: Tensor): void {
    this.log("val_loss", this.forward(x).sub(1).square().mean());
  }
  protected optimizer(): optim.Optimizer {
    return new optim.AdamW(this.parameters(), { lr: Number(this.hparams.learningRate), weightDecay: 0.01 });
  }
  override configureOptimizers() {
    const optimizer = this.optimizer();
    return {
      optimizer,
      lrScheduler: { scheduler: new optim.ExponentialLR(optimizer, 0.9), interval: "step" as const },
    };
  }
}

/** One of the user's own. */
export class Counter extends Callback {
  seenBatches = 0;
  override onTrainBatchEnd(): void {
    this.seenBatches++;
  }
  override stateDict(): Record<string, unknown> {
    return { seenBatches: this.seenBatches };
  }
  override loadStateDict(state: Record<string, unknown>): void {
    this.seenBatches = Number(state.seenBatches);
  }
}

export class Data extends LightningDataModule {
  timesAsked = 0;
  constructor({ batches = 5 } = {}) {
    super();
    this.saveHyperparameters({ batches });
  }
  #loader(): DataLoader<Tensor> {
    const data = Array.from({ length: Number(this.hparams.batches) }, (_, i) =>
      tensor([
        [i * 0.5 - 1, 0.25 * i],
        [1 - 0.125 * i, 0.5],
      ]),
    );
    return new DataLoader(data, { batchSize: null });
  }
  override trainDataloader(): DataLoader<Tensor> {
    this.timesAsked++;
    return this.#loader();
  }
  override valDataloader(): DataLoader<Tensor> {
    return this.#loader();
  }
  override stateDict(): Record<string, unknown> {
    return { timesAsked: this.timesAsked };
  }
  override loadStateDict(state: Record<string, unknown>): void {
    this.timesAsked = Number(state.timesAsked);
  }
}

/** After step 8, within the second epoch. */
class SaveAtStep extends Callback {
  readonly #path: string;
  constructor(path: string) {
    super();
    this.#path = path;
  }
  override onTrainBatchEnd(trainer: TrainerView): void {
    if (trainer.globalStep === 8) trainer.saveCheckpoint(this.#path, { format: "lightning" });
  }
}

export const callbacksOf = (
  dirpath: string,
): { readonly saver: ModelCheckpoint; readonly stopping: EarlyStopping; readonly counter: Counter } => ({
  saver: new ModelCheckpoint({ dirpath, filename: "epoch", monitor: "val_loss", enableVersionCounter: false }),
  stopping: new EarlyStopping({ monitor: "val_loss", patience: 7 }),
  counter: new Counter(),
});

/** `step.ckpt`, `epoch.ckpt`, the best by validation, and `end.ckpt` in `folder`, and `scaled.ckpt` with a loss scale. */
export async function writeCheckpoints(folder: string): Promise<void> {
  const options: TrainerOptions = {
    ...QUIET,
    cpuKernels: "libtorch",
    enableCheckpointing: true,
    plugins: new TorchCheckpointIO({ format: "lightning" }),
  };
  seedEverything(7);
  const { saver, stopping, counter } = callbacksOf(folder);
  const trainer = new Trainer({
    ...options,
    maxEpochs: 2,
    callbacks: [saver, stopping, counter, new SaveAtStep(join(folder, "step.ckpt"))],
  });
  await trainer.fit(new Net(), { datamodule: new Data() });
  trainer.saveCheckpoint(join(folder, "end.ckpt"));

  const scaled = new Trainer({ ...options, enableCheckpointing: false, maxEpochs: 1, precision: "16-mixed" });
  await scaled.fit(new Net(), { datamodule: new Data() });
  scaled.saveCheckpoint(join(folder, "scaled.ckpt"));
}
