/** ViT-B/16, Dosovitskiy et al., 2020, arXiv:2010.11929: the same layers as in baseline.py, drawn in the same order. */
import { cat, nn, zeros, type Tensor } from "@nbit/torch";
import { Block, drawWeights, throughBlocks } from "./models.js";

export const VIT = { layers: 12, width: 768, heads: 12, patch: 16, image: 224, classes: 1000, batch: 128 } as const;

export class Vit extends nn.Module {
  readonly patches = new nn.Conv2d(3, VIT.width, VIT.patch, { stride: VIT.patch });
  readonly token = new nn.Parameter(zeros([1, 1, VIT.width]));
  readonly positions = new nn.Parameter(zeros([1, (VIT.image / VIT.patch) ** 2 + 1, VIT.width]));
  readonly blocks = new nn.ModuleList(
    Array.from({ length: VIT.layers }, () => new Block({ width: VIT.width, heads: VIT.heads, causal: false })),
  );
  readonly lnf = new nn.LayerNorm(VIT.width);
  readonly head = new nn.Linear(VIT.width, VIT.classes);
  constructor() {
    super();
    drawWeights(this);
    nn.init.normal_(this.positions, 0, 0.02);
  }
  /** `[B, 3, 224, 224]`, int64 `[B]` → the mean cross entropy. */
  loss(images: Tensor, targets: Tensor): Tensor {
    const patches = this.patches.forward(images).flatten(2).transpose(1, 2);
    const all = cat([this.token.expand([images.size(0), 1, VIT.width]), patches], 1);
    const x = throughBlocks(all.add(this.positions), this.blocks, this.lnf);
    return nn.functional.crossEntropy(this.head.forward(x.select(1, 0)), targets);
  }
  forward(images: Tensor): Tensor {
    return this.patches.forward(images);
  }
}
