/**
 * A small training in several processes, of which one may be killed: `node training.js '{"folder": …}'`, once per rank.
 * It goes on from the newest checkpoint in its folder.
 */
import { existsSync } from "node:fs";
import { join } from "node:path";
import { Callback, DDPStrategy, FSDPStrategy, LightningModule, ModelCheckpoint, Trainer } from "@nbit/lightning";
import {
  crossEntropyLoss,
  DataLoader,
  device,
  DistributedSampler,
  loadCheckpoint,
  manualSeed,
  mseLoss,
  nn,
  optim,
  randint,
  randn,
  relu,
  saveCheckpoint,
  type Tensor,
  TensorDataset,
} from "@nbit/torch";
import * as dist from "@nbit/torch/distributed";
import { digestOf } from "../../helpers/digest.js";

export interface Task {
  /** "windows": data parallel, with checkpoints from within accumulation windows and from their ends. */
  readonly mode: "loop" | "ddp" | "windows" | "fsdp";
  readonly folder: string;
  /** `at`: its n-th moment; 0: whoever started it kills it. */
  readonly kill: { readonly rank: number; readonly at: number } | null;
}

interface Saved {
  readonly step: number;
  readonly bucketOrder: readonly string[] | null;
  readonly model: Map<string, Tensor>;
  readonly optimizer: optim.OptimizerState;
}

const task = JSON.parse(process.argv[2] ?? "{}") as Task;
const rank = Number(process.env.RANK);
const LIMITS = { timeout: 20_000, heartbeatTimeout: 8000, connectTimeout: 8000 };

let moments = 0;
function moment(): void {
  if (++moments === task.kill?.at && task.kill.rank === rank) process.kill(process.pid, "SIGKILL");
}

/** Seeds of each step make what is drawn the same after a restart. */
async function loop(): Promise<string> {
  await dist.initProcessGroup(LIMITS);
  console.log("ready");
  manualSeed(5);
  const hidden = new nn.Linear(16, 48);
  const model = new nn.Sequential(hidden, new nn.ReLU(), new nn.Dropout(0.2), new nn.Linear(48, 8));
  const optimizer = new optim.AdamW(model.parameters(), { lr: 0.01 });
  const path = join(task.folder, "last.ckpt");
  const resumes = dist.broadcastObject(rank === 0 ? existsSync(path) : null) === true;
  let step = 0;
  let bucketOrder: readonly string[] | null = null;
  if (resumes) {
    const saved = loadCheckpoint(path) as Saved;
    step = saved.step;
    bucketOrder = saved.bucketOrder;
    model.loadStateDict(saved.model);
    optimizer.loadStateDict(saved.optimizer);
  }
  // Backwards, so that gradients do not arrive in the order in which buckets have them at first.
  const parameters = [...model.namedParameters()].reverse();
  const reducer = new dist.Reducer(parameters, { bucketBytes: 2000, firstBucketBytes: 1000, bucketOrder });
  for (; step < 24; step++) {
    dist.setStep(step);
    manualSeed(1000 * step + rank);
    moment();
    reducer.beforeForward(true);
    moment();
    const x = randn([8, 16]);
    const between = relu(hidden.forward(x));
    between.registerHook(() => moment());
    const loss = mseLoss(model.forward(x).add(between.mean()), randn([8, 8]));
    reducer.beforeBackward([loss]);
    loss.backward();
    reducer.afterBackward();
    moment();
    optimizer.step();
    optimizer.zeroGrad();
    dist.allReduce(loss.detach(), { op: "avg" });
    if ((step + 1) % 4 !== 0) continue;
    moment();
    // Written beside and renamed: whoever is killed leaves the one before.
    const states = { model: model.stateDict(), optimizer: optimizer.stateDict() };
    if (rank === 0) saveCheckpoint(path, { step: step + 1, bucketOrder: reducer.bucketOrder, ...states });
    dist.barrier();
  }
  const digest = digestOf(model.stateDict(), optimizer.stateDict());
  await dist.destroyProcessGroup();
  return digest;
}

class Net extends LightningModule {
  readonly norm = new nn.BatchNorm1d(24);
  readonly head = new nn.Linear(24, 3);
  readonly hidden = new nn.Linear(6, 24);

  override trainingStep(batch: unknown): Tensor {
    moment();
    const [x, y] = batch as [Tensor, Tensor];
    const hidden = relu(this.norm.forward(this.hidden.forward(x)));
    hidden.registerHook(() => moment());
    const loss = crossEntropyLoss(this.head.forward(hidden), y);
    this.log("loss", loss, { onStep: true, onEpoch: true });
    return loss;
  }
  override onTrainBatchEnd(): void {
    moment();
  }
  override onTrainEpochEnd(): void {
    moment();
  }
  override configureOptimizers(): optim.Optimizer {
    return new optim.AdamW(this.parameters(), { lr: 0.02 });
  }
}

class SaveBatches extends Callback {
  constructor(readonly path: string) {
    super();
  }
  override onTrainBatchEnd(trainer: Trainer, _module: LightningModule, _outputs: unknown, _batch: unknown, i: number) {
    if (i % 3 === 2) trainer.saveCheckpoint(this.path);
  }
}

async function trainer(): Promise<string> {
  manualSeed(11);
  const data = new TensorDataset(randn([144, 6]), randint(0, 3, [144]));
  const module = new Net();
  const dirpath = task.folder;
  const path = join(dirpath, "last.ckpt");
  const windows = task.mode === "windows";
  const fit = new Trainer({
    accelerator: "cpu",
    devices: Number(process.env.WORLD_SIZE),
    strategy: new (task.mode === "fsdp" ? FSDPStrategy : DDPStrategy)(device("cpu"), LIMITS),
    maxEpochs: 3,
    accumulateGradBatches: windows ? 2 : 1,
    gradientClipVal: 1,
    logger: false,
    enableProgressBar: false,
    enableModelSummary: false,
    defaultRootDir: task.folder,
    callbacks: [
      windows ? new SaveBatches(path) : new ModelCheckpoint({ dirpath, everyNTrainSteps: 3, saveLast: true }),
    ],
  });
  const numReplicas = Number(process.env.WORLD_SIZE);
  const sampler = new DistributedSampler(data, { numReplicas, rank, seed: 3 });
  console.log("ready");
  await fit.fit(module, {
    trainDataloaders: new DataLoader(data, { batchSize: 4, sampler }),
    ckptPath: !existsSync(path) ? null : windows ? path : "last",
  });
  return digestOf(module.stateDict(), ...fit.optimizers.map((o) => o.stateDict()), fit.globalStep);
}

const began = performance.now();
const digest = task.mode === "loop" ? await loop() : await trainer();
console.log(JSON.stringify({ digest, moments, ms: performance.now() - began }));
