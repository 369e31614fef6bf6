/** A vision transformer: Dosovitskiy et al., 2020. */
import { cat, nn, zeros } from "@nbit/torch";
import type { Tensor } from "@nbit/torch";

export interface ViTOptions {
  readonly imageSize: number;
  readonly patchSize: number;
  readonly numClasses: number;
  readonly dim: number;
  readonly depth: number;
  readonly heads: number;
  readonly mlpDim: number;
  readonly channels?: number;
  readonly dropout?: number;
}

class Block extends nn.Module {
  norm1: nn.LayerNorm;
  attention: nn.MultiheadAttention;
  norm2: nn.LayerNorm;
  mlp: nn.Sequential;

  constructor({ dim, heads, mlpDim, dropout = 0 }: ViTOptions) {
    super();
    this.norm1 = new nn.LayerNorm(dim);
    this.attention = new nn.MultiheadAttention(dim, heads, { dropout, batchFirst: true });
    this.norm2 = new nn.LayerNorm(dim);
    this.mlp = new nn.Sequential(
      new nn.Linear(dim, mlpDim),
      new nn.GELU(),
      new nn.Dropout(dropout),
      new nn.Linear(mlpDim, dim),
      new nn.Dropout(dropout),
    );
  }

  override forward(x: Tensor): Tensor {
    const normed = this.norm1.call(x);
    const [attended] = this.attention.call(normed, normed, normed, { needWeights: false });
    x = x.add(attended);
    return x.add(this.mlp.call(this.norm2.call(x)) as Tensor);
  }
}

export class ViT extends nn.Module {
  patches: nn.Conv2d;
  classToken: nn.Parameter;
  positions: nn.Parameter;
  dropout: nn.Dropout;
  blocks: nn.Sequential;
  norm: nn.LayerNorm;
  head: nn.Linear;

  constructor(options: ViTOptions) {
    super();
    const { imageSize, patchSize, numClasses, dim, depth, channels = 3, dropout = 0 } = options;
    const numPatches = (imageSize / patchSize) ** 2;
    this.patches = new nn.Conv2d(channels, dim, { kernelSize: patchSize, stride: patchSize });
    this.classToken = new nn.Parameter(zeros([1, 1, dim]));
    this.positions = new nn.Parameter(zeros([1, numPatches + 1, dim]));
    nn.init.truncNormal_(this.positions, { std: 0.02 });
    this.dropout = new nn.Dropout(dropout);
    this.blocks = new nn.Sequential(...Array.from({ length: depth }, () => new Block(options)));
    this.norm = new nn.LayerNorm(dim);
    this.head = new nn.Linear(dim, numClasses);
  }

  /** Scores `[N, numClasses]` for images `[N, channels, imageSize, imageSize]`. */
  override forward(images: Tensor): Tensor {
    const patches = this.patches.call(images).flatten(2).transpose(1, 2);
    const tokens = cat([this.classToken.expand(images.size(0), -1, -1), patches], 1).add(this.positions);
    const encoded = this.blocks.call(this.dropout.call(tokens)) as Tensor;
    return this.head.call(this.norm.call(encoded.at(":", 0)));
  }
}
