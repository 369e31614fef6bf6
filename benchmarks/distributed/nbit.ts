/**
 * One measurement of nbit in each of its processes: node nbit.js <model> <precision> <how> <mode> <steps>. Rank 0 prints
 * a line of JSON. Every process has a batch of its own, of the same size as one process alone.
 *
 * How: alone, ddp, ddp-bf16 (gradients travel as bfloat16), ddp:100 (MiB of a bucket), or fsdp1 to fsdp3 (a stage; under
 * bf16 parameters are gathered as bfloat16). Mode: eager or graph.
 */
import {
  cuda,
  cudaAvailable,
  device as deviceOf,
  nn,
  optim,
  randint,
  randn,
  seedEverything,
  type Tensor,
} from "@nbit/torch";
import * as dist from "@nbit/torch/distributed";
import {
  DDPStrategy,
  FSDPStrategy,
  LightningModule,
  Trainer,
  type PrecisionInput,
  type Strategy,
} from "@nbit/lightning";
import { Meter } from "../gpu/meter.js";
import { Gpt, ResNet50, type GptConfig } from "../gpu/models.js";
import { GPTS, Mlp, MLP } from "./models.js";

const [model = "gpt-cpu", precision = "32", how = "alone", mode = "eager", count = "50"] = process.argv.slice(2);
const steps = Number(count);
const warmUp = Math.max(15, Math.floor(steps / 5));
const chunk = Math.max(1, Math.floor(steps / 5));
const total = warmUp + 5 * chunk;
const gpu = cudaAvailable() && !model.endsWith("-cpu");
const cluster = how === "alone" ? null : dist.clusterEnvironment();
const where = deviceOf(gpu ? `cuda:${cluster?.localRank ?? 0}` : "cpu");
if (gpu) cuda.setDevice(where);

class Lit extends LightningModule {
  readonly net: Gpt | ResNet50 | Mlp;
  constructor() {
    super();
    const config: GptConfig | undefined = GPTS[model];
    this.net = config !== undefined ? new Gpt(config) : model === "resnet50" ? new ResNet50("auto") : new Mlp();
  }
  override trainingStep(batch: unknown): Tensor {
    const [x, y] = batch as readonly [Tensor, Tensor];
    return this.net instanceof ResNet50 ? nn.functional.crossEntropy(this.net.forward(x), y) : this.net.loss(x, y);
  }
  override configureOptimizers(): optim.Optimizer {
    if (this.net instanceof ResNet50) return new optim.SGD(this.parameters(), { lr: 0.01, momentum: 0.9, fused: true });
    return new optim.AdamW(this.parameters(), { lr: 3e-4, betas: [0.9, 0.95], weightDecay: 0.1, fused: true });
  }
}

seedEverything(42);
const lit = new Lit();
seedEverything(42 + (cluster?.rank ?? 0));
let batch: Tensor[];
if (lit.net instanceof Gpt) {
  const { batch: b, context, vocabulary } = lit.net.config;
  const tokens = randint(vocabulary, [b, context + 1]);
  batch = [tokens.slice(1, 0, context).contiguous().to(where), tokens.slice(1, 1).contiguous().to(where)];
} else if (lit.net instanceof Mlp) {
  batch = [randn([MLP.batch, MLP.width]).to(where), randn([MLP.batch, MLP.width]).to(where)];
} else {
  const n = gpu ? 256 : 4;
  batch = [randn([n, 3, 224, 224]).to({ device: where, memoryFormat: "channelsLast" }), randint(1000, [n]).to(where)];
  for (const p of lit.parameters())
    if (p.ndim === 4) p.setData(p.detach().contiguous({ memoryFormat: "channelsLast" }));
}

const meter = new Meter({ warmUp, chunk, total, gpu });
const data = {
  length: total,
  *[Symbol.iterator]() {
    for (let i = 0; i < total; i++) yield batch;
  },
};
function strategyOf(): string | Strategy {
  if (how === "alone") return "single_device";
  if (how === "ddp") return "ddp";
  if (how === "ddp-bf16") return new DDPStrategy(where, { reduceDtype: "bfloat16" });
  if (how.startsWith("ddp:")) return new DDPStrategy(where, { bucketCapMb: Number(how.slice(4)) });
  const stage = Number(how.slice(4)) as 1 | 2 | 3;
  return new FSDPStrategy(where, { stage, ...(precision === "bf16" ? { paramDtype: "bfloat16" } : {}) });
}
const trainer = new Trainer({
  accelerator: gpu ? "gpu" : "cpu",
  precision: precision as PrecisionInput,
  strategy: strategyOf(),
  maxSteps: total,
  maxEpochs: -1,
  logger: false,
  enableCheckpointing: false,
  enableProgressBar: false,
  enableModelSummary: false,
  callbacks: [meter],
  ...(mode === "graph" ? { cudaGraph: true } : {}),
});
await trainer.fit(lit, { trainDataloaders: data as never });
if (trainer.globalRank === 0) {
  const memory = gpu ? cuda.memoryStats() : null;
  console.log(
    JSON.stringify({
      side: "nbit",
      model,
      precision,
      how,
      mode,
      ranks: trainer.worldSize,
      ...meter.milliseconds,
      losses: meter.losses,
      replayed: trainer.replayedBatches,
      allocatedMiB: memory ? memory.peakAllocated / 2 ** 20 : null,
      reservedMiB: memory ? memory.peakReserved / 2 ** 20 : null,
    }),
  );
}
