/** What the tests on a GPU share: the small models, and a run of one by the Trainer. */
import {
  cuda,
  embedding,
  keep,
  nn,
  optim,
  randint,
  randn,
  scaledDotProductAttention,
  seedEverything,
  type Tensor,
} from "@nbit/torch";
import { Callback, LightningModule, Trainer, type OptimizerConfiguration, type TrainerOptions } from "@nbit/lightning";
import { SILENT } from "../helpers/training.js";

export const gpu = cuda.isAvailable();
/** Options of a test that needs a GPU: it says what it skipped. */
export const options = { skip: !gpu && "needs a CUDA device" };
export const where = gpu ? "cuda" : "cpu";
export const on = (t: Tensor): Tensor => t.to(where);

export type MakeOptimizer = (parameters: Iterable<nn.Parameter>) => optim.Optimizer;
export const adamW: MakeOptimizer = (parameters) => new optim.AdamW(parameters, { lr: 3e-3, fused: true });
export const sgd: MakeOptimizer = (parameters) => new optim.SGD(parameters, { lr: 0.1, momentum: 0.9, fused: true });

/** A GPT of one block over 64 tokens, wide enough (16-byte rows, multiples of 16) for float8 and fused attention. */
class GptNet extends nn.Module {
  readonly wte = new nn.Embedding(64, 64);
  readonly ln1 = new nn.LayerNorm(64);
  readonly attn = new nn.Linear(64, 192);
  readonly proj = new nn.Linear(64, 64);
  readonly ln2 = new nn.LayerNorm(64);
  readonly fc = new nn.Linear(64, 256);
  readonly out = new nn.Linear(256, 64);
  constructor() {
    super();
    nn.init.normal_(this.wte.weight, 0, 0.1);
  }
  /** `[B, T]` int64 → logits `[B · T, 64]`. */
  forward(x: Tensor): Tensor {
    const [b, t] = x.shape as readonly [number, number];
    let h = embedding(this.wte.weight, x);
    const [q, k, v] = this.attn
      .call(this.ln1.call(h))
      .split(64, 2)
      .map((p) => p.view([b, t, 4, 16]).transpose(1, 2)) as [Tensor, Tensor, Tensor];
    h = h.add(this.proj.call(scaledDotProductAttention(q, k, v, null, 0, true).transpose(1, 2).reshape([b, t, 64])));
    h = h.add(this.out.call(nn.functional.gelu(this.fc.call(this.ln2.call(h)))));
    return nn.functional.linear(h.view([-1, 64]), this.wte.weight);
  }
}

abstract class Small extends LightningModule {
  abstract readonly net: nn.Module & { forward(x: Tensor): Tensor };
  constructor(readonly makeOptimizer: MakeOptimizer) {
    super();
  }
  override trainingStep(batch: unknown): Tensor {
    const [x, y] = batch as readonly [Tensor, Tensor];
    const loss = nn.functional.crossEntropy(this.net.call(x), y.view([-1]));
    this.log("loss", loss, { onStep: true, onEpoch: true });
    return loss;
  }
  override configureOptimizers(): OptimizerConfiguration {
    return this.makeOptimizer(this.parameters());
  }
}

export class SmallGpt extends Small {
  readonly net = new GptNet();
  constructor(makeOptimizer: MakeOptimizer = adamW) {
    super(makeOptimizer);
  }
  static batches(steps: number, device = where): Tensor[][] {
    seedEverything(1);
    const x = randint(64, [8, 16]);
    return Array.from({ length: steps }, () => [x.to(device), x.roll(-1, 1).to(device)]);
  }
}

class ResidualBlock extends nn.Module {
  readonly conv1: nn.Conv2d;
  readonly bn1: nn.BatchNorm2d;
  readonly conv2: nn.Conv2d;
  readonly bn2: nn.BatchNorm2d;
  constructor(channels: number) {
    super();
    this.conv1 = new nn.Conv2d(channels, channels, 3, { padding: 1, bias: false });
    this.bn1 = new nn.BatchNorm2d(channels);
    this.conv2 = new nn.Conv2d(channels, channels, 3, { padding: 1, bias: false });
    this.bn2 = new nn.BatchNorm2d(channels);
  }
  forward(x: Tensor): Tensor {
    const y = this.bn2.call(this.conv2.call(nn.functional.relu(this.bn1.call(this.conv1.call(x)))));
    return nn.functional.relu(y.add(x));
  }
}

/** A ResNet of two residual blocks over images of 12 × 12. */
class ResNet extends nn.Module {
  readonly stem = new nn.Conv2d(3, 16, 3, { padding: 1, bias: false });
  readonly bn = new nn.BatchNorm2d(16);
  readonly blocks = new nn.ModuleList([new ResidualBlock(16), new ResidualBlock(16)]);
  readonly fc: nn.Linear;
  constructor(classes: number) {
    super();
    this.fc = new nn.Linear(16, classes);
  }
  forward(x: Tensor): Tensor {
    let h = nn.functional.relu(this.bn.call(this.stem.call(x)));
    for (const block of this.blocks) h = block.call(h);
    return this.fc.call(h.mean([2, 3]));
  }
}
export class SmallResNet extends Small {
  readonly net: ResNet;
  constructor(makeOptimizer: MakeOptimizer = adamW, classes = 8) {
    super(makeOptimizer);
    this.net = new ResNet(classes);
  }
  static batches(steps: number, device = where, classes = 8): Tensor[][] {
    seedEverything(1);
    const images = randn([classes, 3, 12, 12]);
    const y = randint(classes, [32]);
    const x = images.indexSelect(0, y).add(randn([32, 3, 12, 12]).mul(0.5));
    return Array.from({ length: steps }, () => [x.to(device), y.to(device)]);
  }
}

/** Keeps every step's loss on the device; reading them is one wait, at the end. */
export class Losses extends Callback {
  readonly values: Tensor[] = [];
  override onTrainBatchEnd(_: unknown, __: unknown, outputs: Readonly<Record<string, unknown>>): void {
    this.values.push(keep((outputs["loss"] as Tensor).detach().float().clone()));
  }
  read(): number[] {
    return this.values.map((v) => v.item());
  }
}

export interface Training {
  readonly losses: number[];
  readonly trainer: Trainer;
  readonly module: LightningModule;
}

/** A run from a fixed seed over batches that lie on the device. */
export async function train(
  make: () => LightningModule,
  batches: readonly unknown[],
  settings: TrainerOptions = {},
): Promise<Training> {
  seedEverything(7);
  const module = make();
  const losses = new Losses();
  const callbacks = settings.callbacks === undefined ? [losses] : [losses, ...[settings.callbacks].flat()];
  const trainer = new Trainer({
    accelerator: gpu ? "gpu" : "cpu",
    devices: 1,
    maxSteps: batches.length,
    maxEpochs: 1,
    ...SILENT,
    ...settings,
    callbacks,
  });
  await trainer.fit(module, { trainDataloaders: batches });
  return { losses: losses.read(), trainer, module };
}
