/**
 * A small training in several processes, of which one may be killed: `node training.js '{"folder": …}'`, once per rank.
 * It goes on from the newest checkpoint in its folder.
 */
import { existsSync } from "node:fs";
import { join } from "node:path";
import { DDPStrategy, LightningModule, ModelCheckpoint, Trainer } from "@nbit/lightning";
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
  readonly mode: "loop" | "trainer";
  readonly folder: string;
  /** `at`: its n-th moment; 0: whoever started it kills it. */
  readonly kill: { readonly rank: number; readonly at: number } | null;
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
  if (resumes) {
    const saved = loadCheckpoint(path) as { step: number; model: Map<string, Tensor>; optimizer: optim.OptimizerState };
    step = saved.step;
    model.loadStateDict(saved.model);
    optimizer.loadStateDict(saved.optimizer);
  }
  const options = { bucketBytes: 2000, firstBucketBytes: 1000 };
  let reducer = new dist.Reducer([...model.namedParameters()], options);
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
    if (rank === 0)
      saveCheckpoint(path, { step: step + 1, model: model.stateDict(), optimizer: optimizer.stateDict() });
    dist.barrier();
    // Buckets are laid out anew after the first backward, and a ring of more than two ranks adds up in the order of
    // places in them: a training that goes on from here does so too.
    reducer.free();
    reducer = new dist.Reducer([...model.namedParameters()], options);
  }
  const digest = digestOf(model.stateDict(), optimizer.stateDict());
  await dist.destroyProcessGroup();
  return digest;
}

class Net extends LightningModule {
  readonly hidden = new nn.Linear(6, 24);
  readonly norm = new nn.BatchNorm1d(24);
  readonly head = new nn.Linear(24, 3);

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

async function trainer(): Promise<string> {
  manualSeed(11);
  const data = new TensorDataset(randn([96, 6]), randint(0, 3, [96]));
  const module = new Net();
  const fit = new Trainer({
    accelerator: "cpu",
    devices: Number(process.env.WORLD_SIZE),
    strategy: new DDPStrategy(device("cpu"), LIMITS),
    maxEpochs: 3,
    gradientClipVal: 1,
    logger: false,
    enableProgressBar: false,
    enableModelSummary: false,
    defaultRootDir: task.folder,
    callbacks: [new ModelCheckpoint({ dirpath: task.folder, everyNTrainSteps: 3, saveLast: true })],
  });
  const numReplicas = Number(process.env.WORLD_SIZE);
  const sampler = new DistributedSampler(data, { numReplicas, rank, seed: 3 });
  console.log("ready");
  const last = existsSync(join(task.folder, "last.ckpt"));
  await fit.fit(module, {
    trainDataloaders: new DataLoader(data, { batchSize: 4, sampler }),
    ckptPath: last ? "last" : null,
  });
  return digestOf(module.stateDict(), ...fit.optimizers.map((o) => o.stateDict()), fit.globalStep);
}

const began = performance.now();
const digest = task.mode === "loop" ? await loop() : await trainer();
console.log(JSON.stringify({ digest, moments, ms: performance.now() - began }));
