/**
 * The GPT of models.ts by PyTorch's operators alone, as the baseline computes it: what the fused paths are measured
 * against.
 */
import { embedding, gelu, nn, scaledDotProductAttention, type Tensor } from "@nbit/torch";
import { Gpt } from "./models.js";

const { functional } = nn;
const norm = (x: Tensor, ln: nn.LayerNorm): Tensor =>
  functional.layerNorm(x, ln.normalizedShape, ln.weight, ln.bias, ln.eps);

export class PlainGpt extends Gpt {
  override loss(tokens: Tensor, targets: Tensor): Tensor {
    const { context: t, width: d, heads } = this.config;
    let x = embedding(this.wte.weight, tokens).add(this.wpe.weight.slice(0, 0, t));
    const b = tokens.shape[0] as number;
    for (const block of this.blocks) {
      const parts = functional
        .linear(norm(x, block.ln1), block.attn.weight, block.attn.bias)
        .split(d, 2)
        .map((p) => p.view([b, t, heads, d / heads]).transpose(1, 2));
      const [q, k, v] = parts as [Tensor, Tensor, Tensor];
      const y = scaledDotProductAttention(q, k, v, null, 0, true).transpose(1, 2).reshape([b, t, d]);
      x = x.add(functional.linear(y, block.proj.weight, block.proj.bias));
      const h = gelu(functional.linear(norm(x, block.ln2), block.fc.weight, block.fc.bias));
      x = x.add(functional.linear(h, block.out.weight, block.out.bias));
    }
    const logits = functional.linear(norm(x, this.lnf), this.wte.weight);
    return functional.crossEntropy(logits.view([-1, this.config.vocabulary]), targets.view([-1]));
  }
}
