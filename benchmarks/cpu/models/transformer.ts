/** A decoder of text, and a vision transformer. */
import { nn, randn, type Tensor } from "@nbit/torch";
import { AttentionBlock } from "./block.js";

const blocksOf = (layers: number, width: number, heads: number, causal: boolean): nn.ModuleList<AttentionBlock> =>
  new nn.ModuleList(Array.from({ length: layers }, () => new AttentionBlock(width, heads, causal)));

export class Transformer extends nn.Module {
  readonly embedding: nn.Embedding;
  readonly position: nn.Parameter;
  readonly blocks: nn.ModuleList<AttentionBlock>;
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
    this.blocks = blocksOf(layers, width, heads, true);
    this.norm = new nn.LayerNorm(width);
    this.head = new nn.Linear(width, vocabulary);
  }
  forward(x: Tensor): Tensor {
    let y = this.embedding.forward(x).add(this.position);
    for (const block of this.blocks) y = block.forward(y);
    return this.head.forward(this.norm.forward(y)).view([-1, this.vocabulary]);
  }
}

/** Patches of 4×4 of images of 32×32, and the mean over them. */
export class Vit extends nn.Module {
  readonly patches: nn.Conv2d;
  readonly position: nn.Parameter;
  readonly blocks: nn.ModuleList<AttentionBlock>;
  readonly norm: nn.LayerNorm;
  readonly head: nn.Linear;
  constructor(width: number, heads: number, layers: number) {
    super();
    this.patches = new nn.Conv2d(3, width, 4, { stride: 4 });
    this.position = new nn.Parameter(randn([64, width]).mul(0.05));
    this.blocks = blocksOf(layers, width, heads, false);
    this.norm = new nn.LayerNorm(width);
    this.head = new nn.Linear(width, 10);
  }
  forward(x: Tensor): Tensor {
    let y = this.patches.forward(x).flatten(2).transpose(1, 2).add(this.position);
    for (const block of this.blocks) y = block.forward(y);
    return this.head.forward(this.norm.forward(y).mean([1]));
  }
}
