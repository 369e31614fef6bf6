/**
 * Small fits whose checkpoints are mutated, and that are resumed from what that gives: every part that saves state of
 * its own is in one of them.
 */
import { join } from "node:path";
import {
  Callback,
  CSVLogger,
  EarlyStopping,
  LightningModule,
  ModelCheckpoint,
  RunLog,
  Timer,
  Trainer,
  type TrainerOptions,
  type TrainerView,
} from "@nbit/lightning";
import { AdamW8bit, Lion8bit } from "@nbit/lowbit";
import { DataLoader, Generator, nn, optim, seedEverything, tensor, TensorDataset, type Tensor } from "@nbit/torch";

export interface Recipe {
  readonly name: string;
  readonly options: TrainerOptions;
  readonly configure: (net: Net) => ReturnType<LightningModule["configureOptimizers"]>;
  readonly callbacks: (folder: string) => Callback[];
  readonly loader: () => Iterable<unknown>;
  /** Its metrics go to a table, whose place the checkpoint knows. */
  readonly logs?: boolean;
  /** Batch at whose end the checkpoint is written; null: between the first two epochs. */
  readonly batch: number | null;
}

const X = tensor(
  Array.from({ length: 24 }, (_, i) => Math.sin(i * 1.7)),
  { dtype: "float32" },
).view([8, 3]);
const Y = tensor(
  Array.from({ length: 16 }, (_, i) => Math.cos(i * 1.3)),
  { dtype: "float32" },
).view([8, 2]);

/** Two layers with a norm between: parameters of several shapes, and buffers of two dtypes. */
export class Net extends LightningModule {
  readonly first = new nn.Linear(3, 4);
  readonly norm = new nn.BatchNorm1d(4);
  readonly second = new nn.Linear(4, 2);
  steps = 0;

  constructor(readonly recipe: Recipe) {
    super();
    this.saveHyperparameters({ width: 4, rates: [0.1, 0.2], name: "net" });
  }
  override forward(x: Tensor): Tensor {
    return this.second.forward(this.norm.forward(this.first.forward(x)));
  }
  override trainingStep(batch: unknown): Tensor | null {
    this.steps++;
    const [x, y] = batch as readonly [Tensor, Tensor];
    const loss = this.forward(x).sub(y).square().mean();
    this.log("loss", loss, { onStep: true, onEpoch: true });
    return loss;
  }
  override validationStep(batch: unknown): void {
    const [x, y] = batch as readonly [Tensor, Tensor];
    this.log("val_loss", this.forward(x).sub(y).square().mean());
  }
  override configureOptimizers(): ReturnType<LightningModule["configureOptimizers"]> {
    return this.recipe.configure(this);
  }
}

const shuffled = (): Iterable<unknown> => new DataLoader(new TensorDataset(X, Y), { batchSize: 2, shuffle: true });
const ownGenerator = (): Iterable<unknown> =>
  new DataLoader(new TensorDataset(X, Y), { batchSize: 2, shuffle: true, generator: new Generator().manualSeed(5) });
/** Without state of its own: begun again, and read up to its place. */
const plain = (): Iterable<unknown> => [0, 2, 4, 6].map((i) => [X.narrow(0, i, 2), Y.narrow(0, i, 2)]);

export const RECIPES: readonly Recipe[] = [
  {
    name: "adam, open window",
    options: { precision: 32, accumulateGradBatches: 2 },
    configure: (net) => {
      const optimizer = new optim.Adam(net.parameters(), { lr: 0.01, amsgrad: true });
      return { optimizer, lrScheduler: { scheduler: new optim.StepLR(optimizer, 2), interval: "step" } };
    },
    callbacks: () => [],
    loader: shuffled,
    batch: 2,
  },
  {
    name: "sgd in 16, callbacks, between epochs",
    options: { precision: 16 },
    configure: (net) => {
      const optimizer = new optim.SGD(
        [
          { params: net.first.parameters(), lr: 0.02 },
          { params: [...net.norm.parameters(), ...net.second.parameters()] },
        ],
        { lr: 0.01, momentum: 0.9 },
      );
      return {
        optimizer,
        lrScheduler: { scheduler: new optim.ReduceLROnPlateau(optimizer, { patience: 1 }), monitor: "val_loss" },
      };
    },
    callbacks: (folder) => [
      new EarlyStopping({ monitor: "val_loss", patience: 3, verbose: false }),
      new Timer({ duration: "00:01:00:00" }),
      new RunLog({ path: join(folder, "run.jsonl"), everyNSteps: 1 }),
      new ModelCheckpoint({ dirpath: join(folder, "kept"), monitor: "val_loss", saveLast: true, everyNEpochs: 2 }),
    ],
    logs: true,
    loader: ownGenerator,
    batch: null,
  },
  {
    name: "adamw in bf16, plain loader",
    options: { precision: "bf16" },
    configure: (net) => {
      const optimizer = new optim.AdamW(net.parameters(), { lr: 0.01 });
      return [[optimizer], [new optim.CosineAnnealingLR(optimizer, 10), new optim.LinearLR(optimizer, 0.5, 1, 4)]];
    },
    callbacks: () => [],
    loader: plain,
    batch: 1,
  },
  {
    name: "apex O2",
    options: { precision: 16, ampBackend: "apex", ampLevel: "O2" },
    configure: (net) => new optim.Adam(net.parameters(), { lr: 0.01 }),
    callbacks: () => [],
    loader: shuffled,
    batch: 2,
  },
  {
    name: "adamw8bit",
    options: { precision: 32 },
    configure: (net) => new AdamW8bit(net.parameters(), { lr: 0.01, min8bitSize: 4, blockSize: 64 }),
    callbacks: () => [],
    loader: shuffled,
    batch: 2,
  },
  {
    name: "lion8bit and lbfgs, manual",
    options: { precision: 32 },
    configure: (net) => [
      new Lion8bit(net.first.parameters(), { min8bitSize: 4, blockSize: 64 }),
      new optim.LBFGS(net.second.parameters(), { lr: 0.1, maxIter: 2 }),
    ],
    callbacks: () => [],
    loader: plain,
    batch: 1,
  },
];

/** Manual optimization, as several optimizers need. */
class Manual extends Net {
  constructor(recipe: Recipe) {
    super(recipe);
    this.automaticOptimization = false;
  }
  override trainingStep(batch: unknown): null {
    const [x, y] = batch as readonly [Tensor, Tensor];
    this.steps++;
    for (const optimizer of [this.optimizers()].flat()) {
      optimizer.step(() => {
        optimizer.zeroGrad();
        const loss = this.forward(x).sub(y).square().mean();
        this.manualBackward(loss);
        return loss;
      });
    }
    return null;
  }
}

export function netOf(recipe: Recipe): Net {
  seedEverything(3);
  return recipe.name.endsWith("manual") ? new Manual(recipe) : new Net(recipe);
}

export async function fitOf(
  recipe: Recipe,
  net: Net,
  folder: string,
  ckptPath: string | null,
  extra: readonly Callback[] = [],
): Promise<Trainer> {
  const callbacks = [...recipe.callbacks(folder), ...extra];
  const trainer = new Trainer({
    accelerator: "cpu",
    logger: recipe.logs === true ? new CSVLogger(folder, { name: "", version: "log" }) : false,
    enableProgressBar: false,
    enableModelSummary: false,
    enableCheckpointing: callbacks.some((c) => c instanceof ModelCheckpoint),
    detectNonFinite: false,
    defaultRootDir: folder,
    maxEpochs: 3,
    maxSteps: 8,
    ...recipe.options,
    callbacks,
  });
  await trainer.fit(net, { trainDataloaders: recipe.loader(), valDataloaders: plain(), ckptPath });
  return trainer;
}

/** A checkpoint of a fit that is under way. */
export async function makeCheckpoint(recipe: Recipe, folder: string, path: string): Promise<void> {
  class Save extends Callback {
    override onTrainBatchEnd(trainer: TrainerView): void {
      if (recipe.batch === trainer.batchIdx && trainer.currentEpoch === 0) trainer.saveCheckpoint(path);
    }
    override onTrainEpochStart(trainer: TrainerView): void {
      if (recipe.batch === null && trainer.currentEpoch === 1) trainer.saveCheckpoint(path);
    }
  }
  await fitOf(recipe, netOf(recipe), folder, null, [new Save()]);
}
