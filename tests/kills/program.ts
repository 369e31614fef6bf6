/**
 * One small fit in a process of its own, which a signal meets at a moment that its caller chose: `node program.js
 * '{"folder": …}'`.
 */
import fs from "node:fs";
import { syncBuiltinESMExports } from "node:module";
import { join } from "node:path";
import { setTimeout as pause } from "node:timers/promises";
import {
  AsyncCheckpointIO,
  Callback,
  CSVLogger,
  InterruptError,
  LightningModule,
  ModelCheckpoint,
  RunLog,
  seedEverything,
  TorchCheckpointIO,
  Trainer,
} from "@nbit/lightning";
import type { CheckpointIO, PrecisionInput } from "@nbit/lightning";
import {
  crossEntropyLoss,
  DataLoader,
  Dataset,
  getRngState,
  nn,
  optim,
  randint,
  randn,
  relu,
  setNumThreads,
  type Tensor,
  TensorDataset,
} from "@nbit/torch";
import { digestOf } from "../helpers/digest.js";

/** A file; the same by a thread, while training goes on; a folder of files; a file of Lightning's. */
export type How = "file" | "thread" | "shards" | "lightning";
const WRITERS: Readonly<Record<How, () => CheckpointIO>> = {
  file: () => new TorchCheckpointIO(),
  thread: () => new AsyncCheckpointIO(),
  shards: () => new TorchCheckpointIO({ maxShardSize: 1024 }),
  lightning: () => new TorchCheckpointIO({ format: "lightning" }),
};

export interface Task {
  readonly folder: string;
  readonly precision: PrecisionInput;
  /** How checkpoints are written. */
  readonly how: How;
  /** The checkpoint to go on from. */
  readonly checkpoint: string | null;
  /**
   * Null: nothing happens. `at`: the n-th moment; 0: whenever the caller sends it. `torn`: where the moment is a write,
   * half of it is done.
   */
  readonly kill: { readonly at: number; readonly signal: NodeJS.Signals; readonly torn: boolean } | null;
}

const task = JSON.parse(process.argv[2] ?? "{}") as Task;

// Moments: calls of hooks and of step methods, elements fetched, and everything that changes a file.

let moments = 0;
/** Whether the signal comes now, unless `hold`: then the caller sends it. */
function moment(hold = false): boolean {
  if (++moments !== task.kill?.at) return false;
  if (!hold) process.kill(process.pid, task.kill.signal);
  return true;
}

function watch(
  name: "openSync" | "closeSync" | "fsyncSync" | "renameSync" | "unlinkSync" | "rmSync" | "ftruncateSync" | "mkdirSync",
): void {
  const real: unknown = Reflect.get(fs, name);
  Reflect.set(fs, name, (...args: unknown[]) => {
    moment();
    return Reflect.apply(real as () => unknown, fs, args) as unknown;
  });
}
for (const name of [
  "openSync",
  "closeSync",
  "fsyncSync",
  "renameSync",
  "unlinkSync",
  "rmSync",
  "ftruncateSync",
  "mkdirSync",
] as const)
  watch(name);
type WriteBytes = (fd: number, data: Uint8Array, offset?: number, length?: number, position?: number | null) => number;
const writeBytes: WriteBytes = fs.writeSync;
const watchedWrite: WriteBytes = (fd, data, offset = 0, length = data.length - offset, position = null) => {
  if (!moment(true)) return writeBytes(fd, data, offset, length, position);
  const torn = task.kill?.torn === true ? writeBytes(fd, data, offset, Math.floor(length / 2), position) : 0;
  process.kill(process.pid, task.kill?.signal ?? "SIGKILL");
  return torn + writeBytes(fd, data, offset + torn, length - torn, position === null ? null : position + torn);
};
Reflect.set(fs, "writeSync", watchedWrite);
syncBuiltinESMExports();

const HOOKS = [
  "setup",
  "onFitStart",
  "onFitEnd",
  "onTrainStart",
  "onTrainEnd",
  "onTrainEpochStart",
  "onTrainEpochEnd",
  "onTrainBatchStart",
  "onTrainBatchEnd",
  "onBeforeZeroGrad",
  "onAfterBackward",
  "onBeforeOptimizerStep",
  "onValidationStart",
  "onValidationEnd",
  "onValidationEpochStart",
  "onValidationEpochEnd",
  "onValidationBatchStart",
  "onValidationBatchEnd",
  "teardown",
] as const satisfies readonly (keyof Callback)[];
const SLOW: ReadonlySet<string> = new Set([
  "onTrainEpochEnd",
  "onValidationEpochEnd",
  "onTrainBatchEnd",
  "onTrainEnd",
  "teardown",
]);

class Moments extends Callback {
  constructor() {
    super();
    for (const name of HOOKS) {
      Reflect.set(
        this,
        name,
        SLOW.has(name)
          ? async () => {
              moment();
              await pause(1);
            }
          : () => void moment(),
      );
    }
  }
}

// The fit: shuffled elements that come late, batch norm, dropout, accumulation, a schedule, validation, metrics of
// every kind, checkpoints of every kind.

type Pair = [Tensor, Tensor];
setNumThreads(1);
seedEverything(11);
const features = randn([40, 6]);
const labels = randint(0, 3, [40]);

class Late extends Dataset<Pair> {
  readonly length = 40;
  async get(i: number): Promise<Pair> {
    moment();
    await pause(i % 3);
    return [features.at(i), labels.at(i)];
  }
}

class Net extends LightningModule {
  readonly hidden = new nn.Linear(6, 12);
  readonly norm = new nn.BatchNorm1d(12);
  readonly dropout = new nn.Dropout(0.3);
  readonly head = new nn.Linear(12, 3);

  override forward(x: Tensor): Tensor {
    return this.head.forward(this.dropout.forward(relu(this.norm.forward(this.hidden.forward(x)))));
  }
  override trainingStep([x, y]: Pair, batchIdx: number): Tensor {
    moment();
    const loss = crossEntropyLoss(this.forward(x), y);
    this.log("loss", loss, { onStep: true, onEpoch: true });
    this.log("batch", batchIdx / 3);
    return loss;
  }
  override validationStep([x, y]: Pair): void {
    moment();
    this.log("val_loss", crossEntropyLoss(this.forward(x), y), { onStep: true, onEpoch: true });
  }
  override onTrainEpochEnd(): void {
    this.log("epoch_end", this.currentEpoch + 0.1);
  }
  override configureOptimizers() {
    const optimizer = new optim.AdamW(this.parameters(), { lr: 0.02 });
    return { optimizer, lrScheduler: { scheduler: new optim.StepLR(optimizer, 3, 0.9), interval: "step" as const } };
  }
}

const checkpoints = join(task.folder, "checkpoints");
const model = new Net();
const trainer = new Trainer({
  accelerator: "cpu",
  precision: task.precision,
  maxEpochs: 3,
  accumulateGradBatches: 2,
  gradientClipVal: 1,
  valCheckInterval: 5,
  numSanityValSteps: 1,
  logEveryNSteps: 2,
  enableProgressBar: false,
  enableModelSummary: false,
  defaultRootDir: task.folder,
  plugins: WRITERS[task.how](),
  logger: new CSVLogger(task.folder, { name: "log", version: 0, flushLogsEveryNSteps: 3 }),
  callbacks: [
    new Moments(),
    new RunLog({ path: join(task.folder, "run.jsonl") }),
    new ModelCheckpoint({ dirpath: join(checkpoints, "steps"), everyNTrainSteps: 2, saveLast: true }),
    new ModelCheckpoint({
      dirpath: join(checkpoints, "best"),
      monitor: "val_loss",
      saveTopK: 2,
      saveOnTrainEpochEnd: false,
      everyNEpochs: 1,
    }),
    new ModelCheckpoint({ dirpath: join(checkpoints, "epochs"), saveOnTrainEpochEnd: true, everyNEpochs: 1 }),
  ],
});
const trainDataloaders = new DataLoader(new Late(), { batchSize: 4, shuffle: true, concurrency: 2 });
const valDataloaders = new DataLoader(new TensorDataset(features, labels), { batchSize: 16 });

process.stdout.write("ready\n");
try {
  await trainer.fit(model, { trainDataloaders, valDataloaders, ckptPath: task.checkpoint });
  process.stdout.write(
    `done ${JSON.stringify({ moments, digest: digestOfAll(), metrics: { ...trainer.callbackMetrics }, steps: trainer.globalStep, skipped: trainer.skippedSteps })}\n`,
  );
} catch (error) {
  if (!(error instanceof InterruptError)) throw error;
  process.exitCode = error.exitCode;
}

/** Of the weights, the optimizer's state, the schedule's and the random numbers that would come next. */
function digestOfAll(): string {
  const optimizers = trainer.optimizers.map((optimizer) => optimizer.stateDict());
  const schedulers = trainer.lrSchedulerConfigs.map(({ scheduler }) => scheduler.stateDict());
  return digestOf(model.stateDict(), ...optimizers, ...schedulers, getRngState());
}
