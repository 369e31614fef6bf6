/** Five families of models, each small: the twins of families.py, line by line. */
import { LightningModule } from "@nbit/lightning";
import type { LightningOptimizer } from "@nbit/lightning";
import { arange, cat, fullLike, nn, optim, randint, randn, zeros } from "@nbit/torch";
import type { Tensor } from "@nbit/torch";

const F = nn.functional;
export const VARIANTS = [
  "plain",
  "accumulation",
  "norm",
  "value",
  "step",
  "epoch",
  "plateau",
  "stopping",
  "averaged",
  "together",
] as const;
export type Variant = (typeof VARIANTS)[number];
export type Pair = [Tensor, Tensor];

const STEPS = 8 * 3;
const SCHEDULED: ReadonlySet<Variant> = new Set(["step", "epoch", "plateau", "together"]);

function schedulerOf(optimizer: optim.Optimizer, variant: Variant) {
  switch (variant) {
    case "step":
      return new optim.OneCycleLR(optimizer, { maxLr: 0.02, totalSteps: STEPS });
    case "epoch":
      return new optim.ExponentialLR(optimizer, 0.5);
    case "plateau":
      return new optim.ReduceLROnPlateau(optimizer, { factor: 0.25, patience: 0, threshold: 0.05 });
    default:
      return new optim.CosineAnnealingLR(optimizer, 5);
  }
}

/** Keeps the loss of every step, and its learning rates where something schedules them. */
export abstract class Recorded extends LightningModule {
  readonly losses: number[] = [];
  readonly rates: number[] = [];
  constructor(readonly variant: Variant) {
    super();
  }
  override onTrainBatchEnd(): void {
    if (!SCHEDULED.has(this.variant)) return;
    for (const optimizer of this.trainer.optimizers)
      this.rates.push(...optimizer.paramGroups.map((group) => Number(group.lr)));
  }
}

/** Predicts classes; how it is optimized and scheduled depends on the variant. */
abstract class Classifier extends Recorded {
  readonly lr: number = 0.01;
  readonly adam: boolean = true;

  abstract override forward(x: Tensor): Tensor;
  loss([x, y]: Pair): [loss: Tensor, scores: Tensor] {
    const scores = this.forward(x);
    return [F.crossEntropy(scores, y), scores];
  }
  override trainingStep(batch: Pair): Tensor {
    const [loss] = this.loss(batch);
    this.losses.push(loss.item());
    this.log("train_loss", loss, { onStep: true, onEpoch: true });
    return loss;
  }
  override validationStep(batch: Pair): void {
    const [loss, scores] = this.loss(batch);
    this.logDict({ val_loss: loss, val_acc: scores.argmax(-1).eq(batch[1]).float().mean() });
  }
  override configureOptimizers() {
    const { variant } = this;
    const lr = this.lr * (variant === "stopping" ? 10 : 1);
    const optimizer = this.adam
      ? new optim.AdamW(this.parameters(), { lr, weightDecay: 0.1 })
      : new optim.SGD(this.parameters(), { lr, momentum: 0.9, weightDecay: 0.01, nesterov: true });
    if (!SCHEDULED.has(variant)) return optimizer;
    return {
      optimizer,
      lrScheduler: {
        scheduler: schedulerOf(optimizer, variant),
        interval: variant === "step" || variant === "together" ? "step" : "epoch",
        ...(variant === "plateau" ? { monitor: "val_loss" } : {}),
        ...(variant === "together" ? { frequency: 2 } : {}),
      },
    } as const;
  }
}

class CNN extends Classifier {
  override readonly lr = 0.05;
  override readonly adam = false;
  layers = new nn.Sequential(
    new nn.Conv2d(1, 6, 3, { padding: 1, bias: false }),
    new nn.BatchNorm2d(6),
    new nn.ReLU(),
    new nn.MaxPool2d(2),
    new nn.Dropout2d(0.1),
    new nn.Conv2d(6, 8, 3),
    new nn.BatchNorm2d(8),
    new nn.SiLU(),
  );
  head = new nn.Linear(8, 4);

  static data(n: number): Pair {
    return [randn([n, 1, 10, 10]), randint(0, 4, [n])];
  }
  override forward(x: Tensor): Tensor {
    return this.head.call((this.layers.call(x) as Tensor).mean([2, 3]));
  }
}

class LSTM extends Classifier {
  embedding = new nn.Embedding(12, 8);
  rnn = new nn.LSTM(8, 12, 2, { dropout: 0.1, batchFirst: true });
  head = new nn.Linear(12, 4);

  static data(n: number): Pair {
    return [randint(0, 12, [n, 7]), randint(0, 4, [n])];
  }
  override forward(x: Tensor): Tensor {
    const [hidden] = this.rnn.call(this.embedding.call(x));
    return this.head.call(hidden.select(1, -1));
  }
}

class GPTBlock extends nn.Module {
  norm1: nn.LayerNorm;
  qkv: nn.Linear;
  proj: nn.Linear;
  norm2: nn.LayerNorm;
  mlp: nn.Sequential;
  constructor(
    dim: number,
    readonly heads: number,
  ) {
    super();
    this.norm1 = new nn.LayerNorm(dim);
    this.qkv = new nn.Linear(dim, 3 * dim);
    this.proj = new nn.Linear(dim, dim);
    this.norm2 = new nn.LayerNorm(dim);
    this.mlp = new nn.Sequential(
      new nn.Linear(dim, 4 * dim),
      new nn.GELU({ approximate: "tanh" }),
      new nn.Linear(4 * dim, dim),
      new nn.Dropout(0.1),
    );
  }
  override forward(x: Tensor): Tensor {
    const [b, t, c] = x.shape as [number, number, number];
    const parts = this.qkv.call(this.norm1.call(x)).split(c, 2);
    const [q, k, v] = parts.map((p) => p.view(b, t, this.heads, c / this.heads).transpose(1, 2)) as [
      Tensor,
      Tensor,
      Tensor,
    ];
    const y = F.scaledDotProductAttention(q, k, v, { isCausal: true });
    x = x.add(this.proj.call(y.transpose(1, 2).reshape([b, t, c])));
    return x.add(this.mlp.call(this.norm2.call(x)) as Tensor);
  }
}

/** Its head's weights are those of its embedding. */
class GPT extends Classifier {
  tokens = new nn.Embedding(12, 16);
  positions = new nn.Embedding(8, 16);
  blocks = new nn.Sequential(new GPTBlock(16, 2), new GPTBlock(16, 2));
  norm = new nn.LayerNorm(16);
  head = new nn.Linear(16, 12, { bias: false });
  constructor(variant: Variant) {
    super(variant);
    this.tokens.weight = this.head.weight;
  }

  static data(n: number): Pair {
    const words = randint(0, 12, [n, 9]);
    return [words.narrow(1, 0, 8).contiguous(), words.narrow(1, 1, 8).contiguous()];
  }
  override forward(x: Tensor): Tensor {
    const embedded = this.tokens.call(x).add(this.positions.call(arange(x.size(1))));
    return this.head.call(this.norm.call(this.blocks.call(embedded) as Tensor));
  }
  override loss([x, y]: Pair): [loss: Tensor, scores: Tensor] {
    const scores = this.forward(x);
    return [F.crossEntropy(scores.view(-1, 12), y.view(-1)), scores];
  }
}

class ViTBlock extends nn.Module {
  norm1: nn.LayerNorm;
  attention: nn.MultiheadAttention;
  norm2: nn.LayerNorm;
  mlp: nn.Sequential;
  constructor(dim: number, heads: number) {
    super();
    this.norm1 = new nn.LayerNorm(dim);
    this.attention = new nn.MultiheadAttention(dim, heads, { dropout: 0.1, batchFirst: true });
    this.norm2 = new nn.LayerNorm(dim);
    this.mlp = new nn.Sequential(
      new nn.Linear(dim, 2 * dim),
      new nn.GELU(),
      new nn.Dropout(0.1),
      new nn.Linear(2 * dim, dim),
    );
  }
  override forward(x: Tensor): Tensor {
    const y = this.norm1.call(x);
    x = x.add(this.attention.call(y, y, y, { needWeights: false })[0]);
    return x.add(this.mlp.call(this.norm2.call(x)) as Tensor);
  }
}

class ViT extends Classifier {
  override readonly lr = 0.05;
  override readonly adam = false;
  patches = new nn.Conv2d(3, 16, 4, { stride: 4 });
  classToken = new nn.Parameter(zeros([1, 1, 16]));
  positions = new nn.Parameter(randn([1, 10, 16]).mul(0.02));
  blocks = new nn.Sequential(new ViTBlock(16, 2), new ViTBlock(16, 2));
  norm = new nn.LayerNorm(16);
  head = new nn.Linear(16, 4);

  static data(n: number): Pair {
    return [randn([n, 3, 12, 12]), randint(0, 4, [n])];
  }
  override forward(x: Tensor): Tensor {
    const patches = this.patches.call(x).flatten(2).transpose(1, 2);
    const tokens = cat([this.classToken.expand(x.size(0), -1, -1), patches], 1).add(this.positions);
    return this.head.call(this.norm.call((this.blocks.call(tokens) as Tensor).at(":", 0)));
  }
}

/** Optimized by hand: two optimizers in turn, and what the Trainer does for others done here. */
class GAN extends Recorded {
  override automaticOptimization = false;
  generator = new nn.Sequential(
    new nn.Linear(6, 24),
    new nn.BatchNorm1d(24),
    new nn.LeakyReLU(0.2),
    new nn.Linear(24, 16),
    new nn.Tanh(),
  );
  discriminator = new nn.Sequential(new nn.Linear(16, 24), new nn.LeakyReLU(0.2), new nn.Linear(24, 1));

  static data(n: number): Pair {
    return [randn([n, 16]).tanh(), randint(0, 4, [n])];
  }
  get accumulates(): boolean {
    return this.variant === "accumulation" || this.variant === "together";
  }
  override forward(z: Tensor): Tensor {
    return this.generator.call(z) as Tensor;
  }
  judged(x: Tensor, real: boolean): Tensor {
    const scores = this.discriminator.call(x) as Tensor;
    return F.binaryCrossEntropyWithLogits(scores, fullLike(scores, Number(real)));
  }
  override trainingStep([images]: Pair, batchIdx: number): null {
    const noise = randn([images.size(0), 6], { dtype: images.dtype });
    const last = !this.accumulates || batchIdx % 3 === 2 || this.trainer.isLastBatch;
    const [generator, discriminator] = this.optimizers() as readonly [LightningOptimizer, LightningOptimizer];
    const half = (name: string, optimizer: LightningOptimizer, loss: () => Tensor): void => {
      this.toggledOptimizer(optimizer, () => {
        const value = loss();
        this.losses.push(value.item());
        this.log(name, value, { onStep: true, onEpoch: true });
        this.manualBackward(this.accumulates ? value.div(3) : value);
        if (!last) return;
        const { variant } = this;
        if (variant === "value")
          this.clipGradients(optimizer, { gradientClipVal: 0.005, gradientClipAlgorithm: "value" });
        else if (variant === "norm" || variant === "together")
          this.clipGradients(optimizer, { gradientClipVal: 0.1, gradientClipAlgorithm: "norm" });
        optimizer.step();
        optimizer.zeroGrad();
      });
    };
    half("g_loss", generator, () => this.judged(this.forward(noise), true));
    half("d_loss", discriminator, () =>
      this.judged(images, true)
        .add(this.judged(this.forward(noise).detach(), false))
        .div(2),
    );
    if (this.variant === "step" || (this.variant === "together" && last)) this.stepSchedulers();
    return null;
  }
  override validationStep([images]: Pair): void {
    const noise = randn([images.size(0), 6], { dtype: images.dtype });
    this.log("val_loss", this.judged(images, true).add(this.judged(this.forward(noise), false)));
  }
  override onTrainEpochEnd(): void {
    if (this.variant === "epoch") this.stepSchedulers();
    if (this.variant === "plateau") this.stepSchedulers(this.trainer.callbackMetrics.val_loss);
  }
  private stepSchedulers(metric?: number): void {
    for (const scheduler of [this.lrSchedulers() ?? []].flat())
      if (metric === undefined) scheduler.step();
      else scheduler.step(metric);
  }
  override configureOptimizers() {
    const lr = this.variant === "stopping" ? 0.05 : 0.005;
    const optimizers = [this.generator, this.discriminator].map(
      (part) => new optim.Adam(part.parameters(), { lr, betas: [0.5, 0.999] }),
    );
    if (!SCHEDULED.has(this.variant)) return optimizers;
    return [optimizers, optimizers.map((optimizer) => schedulerOf(optimizer, this.variant))] as const;
  }
}

export interface Family {
  new (variant: Variant): Recorded;
  data(n: number): Pair;
}
export const FAMILIES = { cnn: CNN, lstm: LSTM, gpt: GPT, vit: ViT, gan: GAN } satisfies Record<string, Family>;
