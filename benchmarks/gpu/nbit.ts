/**
 * One measurement of nbit in a process of its own: node nbit.js <model> <precision> <mode> <steps> → one line of JSON.
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
  setSwitch,
  type Tensor,
} from "@nbit/torch";
import {
  Float8Precision,
  LightningModule,
  MixedPrecision,
  Trainer,
  type PrecisionInput,
  type TrainerOptions,
} from "@nbit/lightning";
import { AdamW8bit } from "@nbit/lowbit";
import { native } from "@nbit/native";
import { Meter } from "./meter.js";
import { Gpt, GPT2, GPT2_LONG, GPT2_MEDIUM, ResNet50, TINY, type GptConfig } from "./models.js";
import { PlainGpt } from "./plain.js";
import { sinceStart } from "./started.js";
import { Vit, VIT } from "./vit.js";
import { Wide, WIDE } from "./wide.js";

// A precision as rows.ts spells it: "bf16", "bf16, AdamW8bit", or "bf16, 4 to a step, kept casts".
const [model = "tiny", label = "bf16", mode = "eager", count = "100"] = process.argv.slice(2);
const [precision = "bf16", ...variants] = label.split(", ");
const variant = variants.find((v) => !v.endsWith(" to a step")) ?? "";
const accumulate = Number.parseInt(variants.find((v) => v.endsWith(" to a step")) ?? "1");
const steps = Number(count);
/** Batches of a stretch: whole windows, of at least as many. */
const windows = (batches: number): number => Math.ceil(batches / accumulate) * accumulate;
const warmUp = windows(Math.max(12, Math.floor(steps / 5)));
const chunk = windows(Math.max(1, Math.floor(steps / 5)));
const total = warmUp + 5 * chunk;
const gpu = cudaAvailable();
const where = gpu ? "cuda" : "cpu";

const GPTS: Readonly<Record<string, GptConfig>> = {
  tiny: TINY,
  gpt2: GPT2,
  "gpt2-32k": GPT2_LONG,
  "gpt2-350m": GPT2_MEDIUM,
};

class Lit extends LightningModule {
  readonly net: Gpt | ResNet50 | Vit | Wide;
  constructor() {
    super();
    const config = GPTS[model] ?? TINY;
    this.net =
      model === "resnet50"
        ? new ResNet50(variant === "plain operators" ? "reference" : "auto")
        : model === "vit"
          ? new Vit()
          : model === "wide"
            ? new Wide()
            : variant === "plain operators"
              ? new PlainGpt(config)
              : new Gpt(config, { recompute: variant === "recomputed", narrowStream: variant === "bf16 stream" });
  }
  override trainingStep(batch: unknown): Tensor {
    const [x, y] = batch as readonly [Tensor, Tensor];
    if (!(this.net instanceof ResNet50)) return this.net.loss(x, y);
    return nn.functional.crossEntropy(this.net.forward(x), y);
  }
  override configureOptimizers(): optim.Optimizer {
    if (this.net instanceof ResNet50) return new optim.SGD(this.parameters(), { lr: 0.01, momentum: 0.9, fused: true });
    if (variant === "AdamW8bit")
      return new AdamW8bit(this.parameters(), { lr: 3e-4, betas: [0.9, 0.95], weightDecay: 0.1 });
    return new optim.AdamW(this.parameters(), { lr: 3e-4, betas: [0.9, 0.95], weightDecay: 0.1, fused: true });
  }
}

seedEverything(42);
const lit = new Lit();
let batch: Tensor[];
if (lit.net instanceof Gpt) {
  const { batch: b, context, vocabulary } = lit.net.config;
  const tokens = randint(vocabulary, [b, context + 1]);
  batch = [tokens.slice(1, 0, context).contiguous().to(where), tokens.slice(1, 1).contiguous().to(where)];
} else if (lit.net instanceof Wide) {
  const dtype = precision === "bf16" ? "float32" : "bfloat16";
  const make = (): Tensor => randn([WIDE.tokens, WIDE.width]).to(where);
  batch = [make().to(dtype), make()];
} else if (lit.net instanceof Vit) {
  const n = gpu ? VIT.batch : 4;
  batch = [randn([n, 3, VIT.image, VIT.image]).to(where), randint(VIT.classes, [n]).to(where)];
} else {
  const n = gpu ? 256 : 4;
  batch = [randn([n, 3, 224, 224]).to({ device: where, memoryFormat: "channelsLast" }), randint(1000, [n]).to(where)];
  for (const p of lit.parameters())
    if (p.ndim === 4) p.setData(p.detach().contiguous({ memoryFormat: "channelsLast" }));
}
if (process.env["NBIT_BENCH_TF32"] === "1") {
  setSwitch("tf32Matmul", true);
  setSwitch("tf32Cudnn", true);
}
if (model === "resnet50") setSwitch("cudnnBenchmark", true);
if (process.env["NBIT_BENCH_MIXED"] === "0") native.setMixedLinear(false); // gradients of weights in 16 bits, cast back
// Multiply-adds up to which a layer's gradients run side by side in a graph: 0 none.
if (process.env["NBIT_BENCH_BRANCHES"] !== undefined)
  native.setLinearBranches(Number(process.env["NBIT_BENCH_BRANCHES"]));

const meter = new Meter({ warmUp, chunk, total, accumulate, gpu });
const data = {
  length: total,
  *[Symbol.iterator]() {
    for (let i = 0; i < total; i++) yield batch;
  },
};
// Left out, they are kept where the step that is recorded writes them.
const casts = variant === "kept casts" ? { cacheWeightCasts: true } : {};
function howOf(): TrainerOptions {
  // A scale at which the first step has finite gradients, as on the baseline's side.
  if (precision === "16")
    return { plugins: new MixedPrecision({ device: where, scaler: { initScale: 1024 }, ...casts }) };
  if (precision === "float8") return { plugins: new Float8Precision({ recipe: "tensorwise" }) };
  if (variant === "kept casts")
    return { plugins: new MixedPrecision({ device: where, precision: "bf16-mixed", ...casts }) };
  return { precision: precision as PrecisionInput };
}
const trainer = new Trainer({
  accelerator: gpu ? "gpu" : "cpu",
  devices: 1,
  ...howOf(),
  accumulateGradBatches: accumulate,
  maxSteps: total / accumulate,
  maxEpochs: -1,
  logger: false,
  enableCheckpointing: false,
  enableProgressBar: false,
  enableModelSummary: false,
  callbacks: [meter],
  ...(mode === "graph" ? { cudaGraph: true } : {}),
});
await trainer.fit(lit, { trainDataloaders: data as never });
if (gpu && mode === "graph" && trainer.replayedBatches < 5 * chunk)
  throw new Error(`expected every timed batch to be replayed. Received: ${trainer.replayedBatches} of ${5 * chunk}.`);
const memory = gpu ? cuda.memoryStats() : null;
console.log(
  JSON.stringify({
    side: "nbit",
    model,
    precision: label,
    mode,
    ...meter.milliseconds,
    losses: meter.losses,
    startupMs: sinceStart(meter.first),
    span: meter.span,
    allocatedMiB: memory ? memory.peakAllocated / 2 ** 20 : null,
    reservedMiB: memory ? memory.peakReserved / 2 ** 20 : null,
    device: deviceOf(where).toString(),
  }),
);
