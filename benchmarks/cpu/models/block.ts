/** The transformer's block: attention and two layers, each behind a norm and beside a sum. */
import { gelu, nn, scaledDotProductAttention, type Tensor } from "@nbit/torch";

export class AttentionBlock extends nn.Module {
  readonly n1: nn.LayerNorm;
  readonly qkv: nn.Linear;
  readonly o: nn.Linear;
  readonly n2: nn.LayerNorm;
  readonly f1: nn.Linear;
  readonly f2: nn.Linear;
  constructor(
    width: number,
    readonly heads: number,
    readonly causal: boolean,
  ) {
    super();
    this.n1 = new nn.LayerNorm(width);
    this.qkv = new nn.Linear(width, 3 * width);
    this.o = new nn.Linear(width, width);
    this.n2 = new nn.LayerNorm(width);
    this.f1 = new nn.Linear(width, 4 * width);
    this.f2 = new nn.Linear(4 * width, width);
  }
  forward(x: Tensor): Tensor {
    const [b, t, d] = x.shape as readonly [number, number, number];
    const heads = this.qkv
      .forward(this.n1.forward(x))
      .chunk(3, -1)
      .map((p) => p.view([b, t, this.heads, d / this.heads]).transpose(1, 2));
    const [q, k, v] = heads as [Tensor, Tensor, Tensor];
    const mixed = scaledDotProductAttention(q, k, v, null, 0, this.causal).transpose(1, 2).reshape([b, t, d]);
    const y = x.add(this.o.forward(mixed));
    return y.add(this.f2.forward(gelu(this.f1.forward(this.n2.forward(y)))));
  }
}
