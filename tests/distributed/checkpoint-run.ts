/** A small training in several processes, with all that a checkpoint has to remember: for tests of checkpoints. */
import { createHash } from "node:crypto";
import { DataLoader, DistributedSampler, manualSeed, mseLoss, nn, optim, randn, type Tensor } from "@nbit/torch";
import { AdamW8bit } from "@nbit/lowbit";
import { temporaryFolder } from "../helpers/temporary-folder.js";
import {
  Callback,
  LightningModule,
  ModelCheckpoint,
  Trainer,
  type FitOptions,
  type TrainerOptions,
} from "@nbit/lightning";

const FOLDER = "NBIT_TEST_FOLDER";
/** One folder for the ranks of a test file: that of the process that starts them. */
export function folderOfAll(name: string): string {
  return (process.env[FOLDER] ??= temporaryFolder(name));
}

export const ROWS = 96;

/** Samples that know their number. */
class Rows {
  readonly length = ROWS;
  readonly #x: Tensor;
  readonly #y: Tensor;
  constructor() {
    manualSeed(1);
    this.#x = randn([ROWS, 12]);
    this.#y = randn([ROWS, 5]);
  }
  get(i: number): [Tensor, Tensor, number] {
    return [this.#x.select(0, i), this.#y.select(0, i), i];
  }
}

export interface NetOptions {
  /** Random numbers and statistics that differ by process. */
  readonly noisy?: boolean;
  readonly optimizer?: "AdamW" | "AdamW8bit";
  /** The loss of this step is infinite, on the last rank. */
  readonly overflowAt?: number;
  /** Its process ends at this step, in the middle of it. */
  readonly killAt?: number;
  /** `score` is so much more with each step. */
  readonly score?: number;
}

export class Net extends LightningModule {
  readonly losses: number[] = [];
  /** Samples of each batch. */
  readonly samples: number[][] = [];
  readonly net: nn.Sequential;
  readonly #options: NetOptions;

  constructor(options: NetOptions = {}) {
    super();
    this.#options = options;
    const { noisy = true } = options;
    this.net = new nn.Sequential(
      new nn.Linear(12, 72),
      ...(noisy ? [new nn.BatchNorm1d(72), new nn.Dropout(0.2)] : []),
      new nn.Tanh(),
      new nn.Linear(72, 72),
      new nn.Linear(72, 5),
    );
  }
  override configureOptimizers(): { optimizer: optim.Optimizer; lrScheduler: optim.LRScheduler } {
    const { optimizer: name } = this.#options;
    const Kind = name === "AdamW8bit" ? AdamW8bit : optim.AdamW;
    const optimizer = new Kind(this.parameters(), { lr: 0.01 });
    return { optimizer, lrScheduler: new optim.StepLR(optimizer, 1, 0.7) };
  }
  override trainingStep(batch: unknown): Tensor {
    const [x, y, numbers] = batch as [Tensor, Tensor, Tensor];
    const { globalStep, globalRank, worldSize } = this.trainer;
    if (this.#options.killAt === globalStep) process.kill(process.pid, "SIGKILL");
    const loss = mseLoss(this.net.forward(x), y);
    this.losses.push(loss.item());
    this.samples.push([...numbers.toTypedArray()].map(Number));
    this.log("loss", loss, { onEpoch: true });
    if (this.#options.score !== undefined) this.log("score", this.#options.score * globalStep);
    return this.#options.overflowAt === globalStep && globalRank === worldSize - 1 ? loss.mul(Infinity) : loss;
  }
}

/** Saves when so many batches are done; and, where asked, when an epoch ends. */
export class SaveAfter extends Callback {
  #batches = 0;
  constructor(
    readonly batches: number,
    readonly path: string,
  ) {
    super();
  }
  override onTrainBatchEnd(trainer: Trainer): void {
    if (++this.#batches === this.batches) trainer.saveCheckpoint(this.path);
  }
}

export interface RunOptions {
  readonly trainer?: TrainerOptions;
  readonly fit?: FitOptions;
  readonly net?: NetOptions;
  readonly rank: number;
  readonly world: number;
  /** Samples in a batch of all processes. */
  readonly batch?: number;
  readonly Module?: new (options?: NetOptions) => Net;
}

/** Random numbers differ by rank; weights, until process 0's are everybody's, too. */
export async function run({
  trainer: options,
  fit,
  net,
  rank,
  world,
  batch = 16,
  Module = Net,
}: RunOptions): Promise<{ readonly module: Net; readonly trainer: Trainer }> {
  const data = new Rows();
  const sampler = new DistributedSampler(data, { numReplicas: world, rank, seed: 3 });
  manualSeed(7 + rank);
  const module = new Module(net);
  const trainer = new Trainer({
    accelerator: "cpu",
    strategy: world > 1 ? "ddp" : "single_device",
    maxEpochs: 3,
    logger: false,
    enableCheckpointing: [options?.callbacks ?? []].flat().some((one) => one instanceof ModelCheckpoint),
    enableProgressBar: false,
    enableModelSummary: false,
    ...options,
  });
  const loader = new DataLoader(data, { batchSize: batch / world, sampler });
  await trainer.fit(module, { trainDataloaders: loader, ...fit });
  return { module, trainer };
}

/** Of every bit of weights and statistics. */
export function fingerprint(module: nn.Module): string {
  const hash = createHash("sha256");
  for (const [name, t] of module.stateDict())
    hash.update(name).update(new Uint8Array(t.detach().cpu().contiguous().toBytes()));
  return hash.digest("hex");
}
