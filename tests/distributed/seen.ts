/** A module that writes down what it is given, for tests of which data each rank sees. */
import { LightningModule, Trainer, type TrainerOptions } from "@nbit/lightning";
import { type DataLoader, dropout, nn, ones, optim, tensor, type Tensor } from "@nbit/torch";
import * as dist from "@nbit/torch/distributed";
import { SILENT } from "../helpers/training.js";

export const numbers = (n: number): Tensor => tensor([...Array(n).keys()].map((i) => [i]));
/** Of all ranks, in the order of ranks. */
export const everywhere = <T>(mine: T): T[] => dist.allGatherObject(mine);
export const first = (n: number): number[] => [...Array(n).keys()];

/** Writes down what it is given. */
export class Seen extends LightningModule {
  readonly train_: number[] = [];
  readonly val: number[] = [];
  readonly masks: string[] = [];
  readonly sizes: number[] = [];
  readonly net = new nn.Linear(1, 1);
  override configureOptimizers(): optim.Optimizer {
    return new optim.SGD(this.parameters(), { lr: 1e-6 });
  }
  #valuesOf(batch: unknown): [Tensor, number[]] {
    const x = (Array.isArray(batch) ? batch[0] : batch) as Tensor;
    return [x.reshape([-1, 1]).float(), x.flatten().tolist() as number[]];
  }
  override trainingStep(batch: unknown): Tensor {
    const [x, values] = this.#valuesOf(batch);
    this.train_.push(...values);
    this.sizes.push(values.length);
    this.masks.push(String(dropout(ones([16]), 0.5, true).tolist()));
    return this.net.forward(x).mean();
  }
  override validationStep(batch: unknown): void {
    const [, values] = this.#valuesOf(batch);
    this.val.push(...values);
    this.log(
      "sum",
      values.reduce((a, b) => a + b, 0),
      { reduceFx: "sum" },
    );
    this.log("mean", values.reduce((a, b) => a + b, 0) / values.length);
  }
  override predictStep(batch: unknown): unknown {
    return { twice: (batch as [Tensor])[0].mul(2) };
  }
}

export const trainer = (options: TrainerOptions = {}): Trainer =>
  new Trainer({ accelerator: "cpu", strategy: "ddp", maxEpochs: 1, ...SILENT, numSanityValSteps: 0, ...options });

export async function fit(
  loader: DataLoader<unknown> | Iterable<unknown>,
  options: TrainerOptions = {},
): Promise<Seen> {
  const module = new Seen();
  await trainer(options).fit(module, { trainDataloaders: loader });
  return module;
}
