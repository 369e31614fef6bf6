/** The CPU benchmark's models and batches: the same layers, made and drawn in the same order as in baseline.py. */
import { gelu, nn, randint, randn, scaledDotProductAttention, type Tensor } from "@nbit/torch";

export type ModelName = "mlp" | "medium-mlp" | "large-mlp" | "transformer";

class Block extends nn.Module {
  readonly n1: nn.LayerNorm;
  readonly qkv: nn.Linear;
  readonly o: nn.Linear;
  readonly n2: nn.LayerNorm;
  readonly f1: nn.Linear;
  readonly f2: nn.Linear;
  constructor(
    width: number,
    readonly heads: number,
    hidden: number,
  ) {
    super();
    this.n1 = new nn.LayerNorm(width);
    this.qkv = new nn.Linear(width, 3 * width);
    this.o = new nn.Linear(width, width);
    this.n2 = new nn.LayerNorm(width);
    this.f1 = new nn.Linear(width, hidden);
    this.f2 = new nn.Linear(hidden, width);
  }
  forward(x: Tensor): Tensor {
    const [b, t, d] = x.shape as readonly [number, number, number];
    const heads = this.qkv
      .forward(this.n1.forward(x))
      .chunk(3, -1)
      .map((p) => p.view([b, t, this.heads, d / this.heads]).transpose(1, 2));
    const [q, k, v] = heads as [Tensor, Tensor, Tensor];
    const mixed = scaledDotProductAttention(q, k, v, null, 0, true).transpose(1, 2).reshape([b, t, d]);
    const y = x.add(this.o.forward(mixed));
    return y.add(this.f2.forward(gelu(this.f1.forward(this.n2.forward(y)))));
  }
}

class Transformer extends nn.Module {
  readonly embedding: nn.Embedding;
  readonly position: nn.Parameter;
  readonly blocks: nn.ModuleList<Block>;
  readonly norm: nn.LayerNorm;
  readonly head: nn.Linear;
  constructor(
    readonly vocabulary: number,
    context: number,
    width: number,
    heads: number,
    layers: number,
  ) {
    super();
    this.embedding = new nn.Embedding(vocabulary, width);
    this.position = new nn.Parameter(randn([context, width]).mul(0.05));
    this.blocks = new nn.ModuleList(Array.from({ length: layers }, () => new Block(width, heads, 4 * width)));
    this.norm = new nn.LayerNorm(width);
    this.head = new nn.Linear(width, vocabulary);
  }
  forward(x: Tensor): Tensor {
    let y = this.embedding.forward(x).add(this.position);
    for (const block of this.blocks) y = block.forward(y);
    return this.head.forward(this.norm.forward(y)).view([-1, this.vocabulary]);
  }
}

export interface Workload {
  readonly net: nn.Module & { forward(x: Tensor): Tensor };
  readonly x: Tensor;
  readonly y: Tensor;
  readonly loss: (output: Tensor, target: Tensor) => Tensor;
}

const mlp = (inputs: number, hidden: number, outputs: number): nn.Sequential =>
  new nn.Sequential(
    new nn.Linear(inputs, hidden),
    new nn.ReLU(),
    new nn.Linear(hidden, hidden),
    new nn.ReLU(),
    new nn.Linear(hidden, outputs),
  );

export function build(model: ModelName): Workload {
  switch (model) {
    case "mlp":
      return {
        net: mlp(32, 64, 10),
        x: randn([8, 32]),
        y: randint(0, 10, [8]),
        loss: (o, t) => nn.functional.crossEntropy(o, t),
      };
    case "large-mlp":
      return {
        net: mlp(1024, 2048, 1),
        x: randn([512, 1024]),
        y: randn([512, 1]),
        loss: (o, t) => nn.functional.mseLoss(o, t),
      };
    case "medium-mlp":
      return {
        net: mlp(256, 512, 1),
        x: randn([64, 256]),
        y: randn([64, 1]),
        loss: (o, t) => nn.functional.mseLoss(o, t),
      };
    case "transformer":
      return {
        net: new Transformer(100, 16, 64, 4, 2),
        x: randint(0, 100, [8, 16]),
        y: randint(0, 100, [128]),
        loss: (o, t) => nn.functional.crossEntropy(o, t),
      };
  }
}
