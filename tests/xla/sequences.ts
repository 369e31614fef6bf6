/** Networks over sequences, and one over images as sequences. */
import {
  arange,
  cat,
  gelu,
  gru,
  lstm,
  nn,
  randn,
  scaledDotProductAttention,
  softmax,
  zeros,
  type Tensor,
} from "@nbit/torch";

const bound = (hidden: number, ...shape: number[]): nn.Parameter =>
  new nn.Parameter(randn(shape).mul(1 / Math.sqrt(hidden)));

export class Recurrent extends nn.Module {
  readonly weights: nn.ModuleList<RecurrentWeights>;
  readonly head = new nn.Linear(12, 5);
  constructor(readonly kind: "lstm" | "gru") {
    super();
    const gates = kind === "lstm" ? 4 : 3;
    this.weights = new nn.ModuleList([new RecurrentWeights(gates, 6), new RecurrentWeights(gates, 12)]);
  }
  forward(x: Tensor): Tensor {
    const start = zeros([2, x.shape[0] ?? 0, 12]);
    const all = [...this.weights].flatMap((w) => w.forward());
    const [out] =
      this.kind === "lstm"
        ? lstm(x, [start, start], all, true, 2, 0, true, false, true)
        : gru(x.transpose(0, 1), start, all, true, 2, 0, true, false, false);
    return this.head.forward(out.select(this.kind === "lstm" ? 1 : 0, -1));
  }
}
class RecurrentWeights extends nn.Module {
  readonly ih: nn.Parameter;
  readonly hh: nn.Parameter;
  readonly bi: nn.Parameter;
  readonly bh: nn.Parameter;
  constructor(gates: number, inputs: number) {
    super();
    [this.ih, this.hh] = [bound(12, gates * 12, inputs), bound(12, gates * 12, 12)];
    [this.bi, this.bh] = [bound(12, gates * 12), bound(12, gates * 12)];
  }
  forward(): readonly nn.Parameter[] {
    return [this.ih, this.hh, this.bi, this.bh];
  }
}

export type Attention = "plain" | "fused" | "causal";
class Block extends nn.Module {
  readonly norm1 = new nn.LayerNorm(32);
  /** Without biases: that of keys changes nothing, so its gradient is rounding alone, of which Adam makes whole steps. */
  readonly qkv = new nn.Linear(32, 96, { bias: false });
  readonly out = new nn.Linear(32, 32);
  readonly norm2 = new nn.LayerNorm(32);
  readonly up = new nn.Linear(32, 64);
  readonly down = new nn.Linear(64, 32);
  constructor(
    readonly attention: Attention,
    readonly approximate: "none" | "tanh",
  ) {
    super();
  }
  forward(x: Tensor): Tensor {
    const [b, t] = x.shape as readonly [number, number];
    const [q, k, v] = this.qkv
      .forward(this.norm1.forward(x))
      .chunk(3, -1)
      .map((part) => part.view([b, t, 4, 8]).transpose(1, 2)) as [Tensor, Tensor, Tensor];
    const mixed =
      this.attention === "plain"
        ? softmax(q.matmul(k.transpose(-2, -1)).div(Math.sqrt(8)), -1).matmul(v)
        : scaledDotProductAttention(q, k, v, null, 0, this.attention === "causal");
    const y = x.add(this.out.forward(mixed.transpose(1, 2).reshape([b, t, 32])));
    return y.add(this.down.forward(gelu(this.up.forward(this.norm2.forward(y)), { approximate: this.approximate })));
  }
}
const blocks = (attention: Attention, approximate: "none" | "tanh" = "none"): nn.Sequential =>
  new nn.Sequential(new Block(attention, approximate), new Block(attention, approximate));

/** A classifier of sequences of vectors. */
export class Transformer extends nn.Module {
  readonly first = new nn.Linear(6, 32);
  readonly blocks = blocks("plain");
  readonly head = new nn.Linear(32, 5);
  forward(x: Tensor): Tensor {
    return this.head.forward(this.blocks.forward(this.first.forward(x)).mean([1]));
  }
}
/** With one table of words for both ends. */
export class Gpt extends nn.Module {
  readonly words = new nn.Embedding(17, 32);
  readonly places = new nn.Embedding(8, 32);
  readonly blocks = blocks("causal", "tanh");
  readonly norm = new nn.LayerNorm(32);
  constructor() {
    super();
    for (const table of [this.words, this.places]) nn.init.normal_(table.weight, 0, 0.02);
  }
  forward(x: Tensor): Tensor {
    const y = this.words.forward(x).add(this.places.forward(arange(8)));
    return this.norm.forward(this.blocks.forward(y)).matmul(this.words.weight.t()).view([-1, 17]);
  }
}
export class Vit extends nn.Module {
  readonly patches = new nn.Conv2d(3, 32, 4, { stride: 4 });
  readonly token = new nn.Parameter(randn([1, 1, 32]).mul(0.1));
  readonly places = new nn.Parameter(randn([17, 32]).mul(0.1));
  readonly blocks = blocks("fused");
  readonly norm = new nn.RMSNorm(32);
  readonly head = new nn.Linear(32, 5);
  forward(x: Tensor): Tensor {
    const parts = this.patches.forward(x).flatten(2).transpose(1, 2);
    const first = this.token.expand([x.shape[0] ?? 0, 1, 32]).to(parts.dtype);
    const y = this.blocks.forward(cat([first, parts], 1).add(this.places));
    return this.head.forward(this.norm.forward(y).select(1, 0));
  }
}
