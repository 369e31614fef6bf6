/** Training steps by the Trainer, and the memory that they leave. */
import { getHeapStatistics } from "node:v8";
import { DataLoader, Dataset, keep, memory, seedEverything, Tensor, type optim } from "@nbit/torch";
import { Callback, LightningModule, MixedPrecision, Trainer, type TrainerOptions } from "@nbit/lightning";
import type { Job, StepJob } from "../job.js";
import { build, type ModelSpec } from "../models/index.js";
import { optimizerOf } from "./loop.js";
import { Meter } from "./meter.js";

class Endless extends Dataset<Tensor[]> {
  readonly length = 10 ** 7;
  constructor(readonly pair: Tensor[]) {
    super();
  }
  get(): Tensor[] {
    return this.pair;
  }
}

interface Fit {
  readonly model: ModelSpec;
  readonly optimizer: StepJob["optimizer"];
  readonly options: TrainerOptions;
  onLoss?(loss: Tensor, index: number): void;
  /** The loss behind the step: where one that is compiled can be asked for it. */
  onOutputs?(loss: unknown, index: number): void;
  /** With the number of batches done. */
  onBatch(done: number): void;
}

async function fit({ model, optimizer, options, onLoss, onOutputs, onBatch }: Fit): Promise<void> {
  seedEverything(42);
  const workload = build(model);
  class OnBatch extends Callback {
    override onTrainBatchEnd(
      _trainer: unknown,
      _module: unknown,
      outputs: { readonly loss?: unknown },
      _batch: unknown,
      index: number,
    ): void {
      onOutputs?.(outputs.loss, index);
      onBatch(index + 1);
    }
  }
  class Module extends LightningModule {
    readonly net = workload.net;
    override trainingStep([x, y]: [Tensor, Tensor], index: number): Tensor {
      const loss = workload.loss(workload.net.forward(x), y);
      onLoss?.(loss, index);
      return loss;
    }
    override configureOptimizers(): optim.Optimizer {
      return optimizerOf(workload, optimizer);
    }
  }
  const trainer = new Trainer({
    accelerator: "cpu",
    logger: false,
    enableCheckpointing: false,
    enableProgressBar: false,
    enableModelSummary: false,
    callbacks: [new OnBatch()],
    ...options,
  });
  const pair = [keep(workload.x), keep(workload.y)];
  await trainer.fit(new Module(), { trainDataloaders: new DataLoader(new Endless(pair), { batchSize: null }) });
}

export async function trainerSteps(job: StepJob): Promise<object> {
  const meter = new Meter(job);
  const { accumulate = 1, cacheWeightCasts = false } = job;
  await fit({
    model: job.model,
    optimizer: job.optimizer,
    options: {
      ...(job.precision === "bf16"
        ? { plugins: new MixedPrecision({ precision: "bf16-mixed", cacheWeightCasts }) }
        : { precision: 32 }),
      ...(job.side === "eager" ? { replay: false } : job.side === "xla" ? { accelerator: "xla" } : {}),
      accumulateGradBatches: accumulate,
      maxSteps: Math.ceil(meter.plan.total / accumulate),
    },
    [job.side === "xla" ? "onOutputs" : "onLoss"](loss: unknown, index: number) {
      if (index < meter.plan.checked && loss instanceof Tensor) meter.losses.push(loss.item());
    },
    onBatch: (done) => meter.tick(done),
  });
  return meter.result();
}

/** Resident memory after 100 steps, when V8 has grown its heap to what the program needs, and later. */
export async function memoryOfSteps({ steps, model }: Extract<Job, { readonly kind: "memory" }>): Promise<object> {
  const seen: object[] = [];
  await fit({
    model,
    optimizer: { name: "AdamW", fused: true, lr: 1e-3 },
    options: { maxSteps: steps },
    onBatch(done) {
      if (done !== 100 && done !== steps * 0.3 && done !== steps) return;
      const { residentBytes, tensors } = memory();
      const heapMib = getHeapStatistics().total_physical_size / 2 ** 20;
      seen.push({ step: done, mib: residentBytes / 2 ** 20, heapMib, tensors });
    },
  });
  return { first: seen[0], middle: seen[1], last: seen[2] };
}
